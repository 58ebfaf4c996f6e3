"""A command in a sandbox, with CodeJail's limits and answers."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import resource
import signal
import stat
import subprocess
import threading
import time
import typing

from wardian import _process, _run
from wardian._options import Command, Options
from wardian._toml import dumps
from wardian.errors import BinaryError
from wardian.report import Report, bytes_of

from . import _ready

log = logging.getLogger("codejail")

Rlimits = typing.Iterable[typing.Tuple[int, typing.Tuple[int, int]]]

#: Names a weaker level of containment, where the operator has chosen it (``landlock``); see ``wardian doctor``.
LEVEL_VARIABLE = "CODEJAIL_LEVEL"
#: As good as no limit.
_NO_TIME = 7 * 24 * 3600
_NO_NUMBER = 1024
_PAGE = resource.getpagesize()
_TOO_LONG = "Killing process %r (group %r), ran too long: %.1fs"
#: A directory with more files than this is shown, and not copied.
_MOST_COPIES = 200
_DEFAULTS = {"MEMORY": 512 << 20, "DISK": 64 << 20, "FILES": 200, "OUTPUT": 16 << 20}


@dataclasses.dataclass(frozen=True)
class Jailed:
    """What came of a command in a sandbox."""

    status: int
    stdout: bytes
    stderr: bytes
    #: What it wrote to its result channel, where it has one.
    result: typing.Any = None
    #: Why there is none.
    missing: typing.Optional[str] = None


def run_subprocess(
    cmd: typing.Sequence[str],
    stdin: typing.Optional[bytes] = None,
    cwd: typing.Optional[str] = None,
    env: typing.Optional[typing.Mapping[str, str]] = None,
    rlimits: typing.Optional[Rlimits] = None,
    realtime: typing.Optional[float] = None,
    slug: typing.Optional[str] = None,
) -> typing.Tuple[int, bytes, bytes]:
    """Runs a command in a sandbox that shows the directory ``cwd``, and answers status, stdout and stderr."""
    jailed = run_jailed(cmd, stdin, cwd, env, rlimits, realtime, slug)
    return jailed.status, jailed.stdout, jailed.stderr


def set_process_limits(rlimits: Rlimits) -> None:
    """Sets limits of this very process, in a session of its own: for use in a child."""
    os.setsid()
    for limit, value in rlimits:
        resource.setrlimit(limit, value)


class ProcessKillerThread(threading.Thread):
    """Kills a process of the caller's own, with its group, when it is still there after ``limit`` seconds.

    Sandboxes do not need it: wardian ends them.
    """

    def __init__(self, subproc: typing.Any, limit: float) -> None:
        super().__init__()
        self.subproc = subproc
        self.limit = limit

    def run(self) -> None:
        start = time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.subproc.wait(timeout=self.limit)
            return
        pid = self.subproc.pid
        # Between the look and the kill it may have ended.
        with contextlib.suppress(ProcessLookupError):
            group = os.getpgid(pid)
            log.warning(_TOO_LONG, pid, group, time.monotonic() - start)
            os.killpg(group, signal.SIGKILL)


def run_jailed(
    cmd: typing.Sequence[str],
    stdin: typing.Optional[bytes] = None,
    cwd: typing.Optional[str] = None,
    env: typing.Optional[typing.Mapping[str, str]] = None,
    rlimits: typing.Optional[Rlimits] = None,
    realtime: typing.Optional[float] = None,
    slug: typing.Optional[str] = None,
    limits: typing.Optional[typing.Mapping[str, int]] = None,
    result_size: typing.Optional[int] = None,
    paths: typing.Optional[typing.Mapping[str, str]] = None,
    contents: typing.Optional[typing.Mapping[str, bytes]] = None,
) -> Jailed:
    """As :func:`run_subprocess`, with the limits that CodeJail does not have, and a result channel.

    Its directory also has what ``paths`` names, and files with ``contents``: nothing is written outside.
    """
    own = {**_DEFAULTS, **(limits or {})}
    policy = _policy(dict(rlimits or ()), realtime, own, dict(env or {}))
    level = os.environ.get(LEVEL_VARIABLE)
    program = [os.path.abspath(cmd[0]) if "/" in cmd[0] else cmd[0], *cmd[1:]]

    def make() -> Command:
        with contextlib.ExitStack() as stack:
            command = stack.enter_context(Command())
            policy["files"] = {"mounts": _show(command, {**_entries(cwd), **(paths or {})}, contents or {})}
            options: Options = {"level": level} if level else {}
            command.apply(options)
            command.option("policy", command.memory("policy", dumps(policy).encode()))
            command.flag("exec")
            _run.finish(command, ["--", *program], stdin=stdin or b"", result_size=result_size)
            stack.pop_all()
            return command

    return _execute(make, cwd or "memory", slug)


def run_ready(
    cmd: typing.Sequence[str],
    stdin: typing.Optional[bytes],
    files: typing.Mapping[str, bytes],
    rlimits: Rlimits,
    realtime: typing.Optional[float],
    slug: typing.Optional[str],
    limits: typing.Mapping[str, int],
    result_size: typing.Optional[int],
) -> typing.Optional[Jailed]:
    """As :func:`run_jailed`, in a sandbox that was ready; None for what only a cold run can be."""
    if os.environ.get(LEVEL_VARIABLE):
        return None
    policy = _policy(dict(rlimits), realtime, limits, {})
    started = _ready.run(cmd, stdin or b"", files, policy, limits["READY"], result_size)
    if started is None:
        return None
    _log_start(slug, "memory", started.pid)
    return _jailed(started.report, slug, started.pid)


def _execute(make: typing.Callable[[], Command], cwd: str, slug: typing.Optional[str]) -> Jailed:
    pids: typing.List[int] = []

    def started(process: _process.Process) -> None:
        pids.append(process.pid)
        _log_start(slug, cwd, process.pid)

    return _jailed(_run.execute(make, started), slug, pids[0])


def _log_start(slug: typing.Optional[str], cwd: str, pid: int) -> None:
    if slug:
        log.info("Executed jailed code %s in %s, with PID %s", slug, cwd, pid)


def _jailed(report: Report, slug: typing.Optional[str], pid: int) -> Jailed:
    if report.reason == "wall_time":
        log.warning(_TOO_LONG, pid, pid, report.usage.wall_us / 1e6)
    elif report.verdict not in ("ok", "nonzero_exit", "signaled"):
        log.warning("Jailed code %s was ended: %s", slug, report.message)
    status = status_of(report)
    stderr = bytes_of(report.stderr)
    if status:
        stderr += _quota(report)
    return Jailed(status, bytes_of(report.stdout), stderr, report.result, report.result_missing)


def _quota(report: Report) -> bytes:
    """Says that the jail was full, where it was: the program heard ``No space left on device`` only."""
    used, limits = report.usage, report.limits
    full = (used.disk_inodes or 0) >= limits.disk_inodes or (used.disk_bytes or 0) + _PAGE > limits.disk_bytes
    if not full:
        return b""
    text = f"IOError: a jail holds {limits.disk_inodes} files and {limits.disk_bytes} bytes (limits FILES and DISK)\n"
    return text.encode()


def status_of(report: Report) -> int:
    """An exit code, or a signal's number below 0."""
    if report.exit_code is not None:
        return report.exit_code
    if report.reason == "cpu_time":
        return -signal.SIGXCPU
    if report.verdict == "not_executable":
        raise BinaryError(f"the configured command cannot be executed: {report.message}")
    if report.signal is not None:
        return -report.signal.number
    return -signal.SIGKILL


def _policy(
    rlimits: typing.Mapping[int, typing.Tuple[int, int]],
    realtime: typing.Optional[float],
    own: typing.Mapping[str, int],
    env: typing.Mapping[str, str],
) -> typing.Dict[str, typing.Any]:
    def soft(name: int) -> typing.Optional[int]:
        return rlimits[name][0] if name in rlimits else None

    space, size = soft(resource.RLIMIT_AS), soft(resource.RLIMIT_FSIZE)
    memory = max(own["MEMORY"], space or 0)
    policy: typing.Dict[str, typing.Any] = {
        "extends": "codejail",
        "name": "codejail",
        "limits": {
            "wall": f"{realtime or _NO_TIME}s",
            "cpu_time": f"{soft(resource.RLIMIT_CPU) or _NO_TIME}s",
            "memory": memory,
            "processes": soft(resource.RLIMIT_NPROC) or _NO_NUMBER,
            "disk": min(own["DISK"], memory),
            "inodes": max(16, own["FILES"]),
            "output": own["OUTPUT"],
            "file_size": size,
        },
        "environment": {"set": dict(env)},
    }
    if space:
        policy["rlimits"] = {"address_space": space}
    return policy


def _entries(directory: typing.Optional[str]) -> typing.Dict[str, str]:
    names = sorted(os.listdir(directory)) if directory else ()
    return {name: os.path.join(directory or "", name) for name in names}


def _show(
    command: Command, paths: typing.Mapping[str, str], contents: typing.Mapping[str, bytes]
) -> typing.List[typing.Dict[str, typing.Any]]:
    """Puts all into the sandbox's working directory: files as copies, links as links."""
    mounts: typing.List[typing.Dict[str, typing.Any]] = []
    for name, path in paths.items():
        _put(command, mounts, os.path.join(os.getcwd(), path), name)
    for name, content in contents.items():
        command.file(name, content, 0o644)
    return mounts


def _put(
    command: Command, mounts: typing.List[typing.Dict[str, typing.Any]], path: str, name: str
) -> None:
    mode = os.lstat(path).st_mode
    place = f"/box/{name}"
    if stat.S_ISLNK(mode):
        mounts.append({"type": "symlink", "src": os.readlink(path), "dst": place})
    elif stat.S_ISREG(mode):
        command.words.append(f"--file=src={path},dst={name}")
    elif stat.S_ISDIR(mode):
        inside = sorted(os.listdir(path))
        if not inside and name != "tmp":
            mounts.append({"type": "tmpfs", "dst": place, "size": 4096})
        elif _count(path) > _MOST_COPIES:
            mounts.append({"type": "bind", "src": path, "dst": place})
        else:
            for child in inside:
                _put(command, mounts, os.path.join(path, child), f"{name}/{child}")
    else:
        raise ValueError(f"{path!r} is no file, link or directory")


def _count(path: str) -> int:
    return sum(len(files) + len(directories) for _, directories, files in os.walk(path))
