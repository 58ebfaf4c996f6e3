"""Run code in a jail: any configured command, in a directory with its files."""

from __future__ import annotations

import errno
import logging
import os
import os.path
import resource
import sys
import typing

from ._ready import contents_of
from .proxy import run_subprocess_through_proxy
from .subproc import Jailed, run_jailed, run_ready

log = logging.getLogger("codejail")

Command = typing.Dict[str, typing.Any]
LimitsDict = typing.Dict[str, typing.Any]

#: The commands configured, by abstract name: how the command line starts, and the user, who is nobody's matter here.
COMMANDS: typing.Dict[str, Command] = {}


def configure(command: str, bin_path: str, user: typing.Optional[str] = None) -> None:
    """Names the program that an abstract command is.

    ``user`` is accepted and remembered; the sandbox has a user of its own, and needs neither this one nor ``sudo``.
    """
    start = [bin_path]
    if command == "python":
        # No variables of the environment, no bytecode files.
        start.extend(["-E", "-B"])
    COMMANDS[command] = {"cmdline_start": start, "user": user}


def is_configured(command: str) -> bool:
    """Whether the command was configured."""
    return command in COMMANDS


def _configure_from_surroundings() -> None:
    """In a virtual environment: a sandbox beside it, or one that the tests' variables name."""
    if not (hasattr(sys, "real_prefix") or sys.base_prefix != sys.prefix):
        return
    user, environment = os.getenv("CODEJAIL_TEST_USER"), os.getenv("CODEJAIL_TEST_VENV")
    beside = sys.prefix + "-sandbox"
    if user and environment:
        configure("python", f"{environment}/bin/python", user)
    elif os.path.isdir(beside):
        configure("python", f"{beside}/bin/python", "sandbox")


_configure_from_surroundings()

#: Limits as long as nobody says otherwise. 0 is none, but for FSIZE, where it is that nothing may be written.
DEFAULT_LIMITS: LimitsDict = {
    # Seconds of CPU time.
    "CPU": 1,
    # Seconds on the clock.
    "REALTIME": 1,
    # Bytes of address space of each process.
    "VMEM": 0,
    # Bytes of each file.
    "FSIZE": 0,
    # Processes and threads of the sandbox; of this sandbox alone.
    "NPROC": 15,
    # Whether a process of its own starts the jails; None asks the variable CODEJAIL_PROXY.
    "PROXY": None,
}

#: Limits that CodeJail does not have: ``set_limit`` sets them too. They hold whatever the others say.
OWN_LIMITS: LimitsDict = {
    # Bytes of memory of all processes together; more where VMEM is more.
    "MEMORY": 512 << 20,
    # Bytes that may be written in all; 64 MiB, or MEMORY if that is less.
    "DISK": 64 << 20,
    # Files that may be written in all.
    "FILES": 200,
    # Bytes of each output stream.
    "OUTPUT": 16 << 20,
    # Sandboxes that wait for Python programs, for each set of limits: 0 for none.
    "READY": 0,
}

LIMITS: LimitsDict = DEFAULT_LIMITS.copy()

#: Limits that differ, by context.
LIMIT_OVERRIDES: typing.Dict[typing.Any, LimitsDict] = {}


def set_limit(limit_name: str, value: typing.Any) -> None:
    """Sets a limit for all jails of this process from now on."""
    LIMITS[limit_name] = value


def get_effective_limits(overrides_context: typing.Any = None) -> LimitsDict:
    """The limits that hold in a context."""
    overrides = LIMIT_OVERRIDES.get(overrides_context, {}) if overrides_context else {}
    return {**LIMITS, **overrides}


def override_limit(limit_name: str, value: typing.Any, limit_overrides_context: typing.Any) -> None:
    """Sets a limit in one context. PROXY is the same for all."""
    if limit_name == "PROXY" and LIMITS["PROXY"] != value:
        log.error(
            "Tried to override value of PROXY to %s. "
            "Overriding PROXY on a per-context basis is not permitted. "
            "Will use globally-configured value instead: %s.",
            value,
            LIMITS["PROXY"],
        )
        return
    LIMIT_OVERRIDES.setdefault(limit_overrides_context, {})[limit_name] = value


def create_rlimits(
    effective_limits: typing.Mapping[str, typing.Any],
) -> typing.List[typing.Tuple[int, typing.Tuple[int, int]]]:
    """The limits of each process, as ``resource.setrlimit`` takes them."""
    rlimits = []
    nproc, cpu = effective_limits["NPROC"], effective_limits["CPU"]
    vmem, fsize = effective_limits["VMEM"], effective_limits["FSIZE"]
    if nproc:
        rlimits.append((resource.RLIMIT_NPROC, (nproc, nproc)))
    if cpu:
        # The soft one sends SIGXCPU, which tells what happened.
        rlimits.append((resource.RLIMIT_CPU, (cpu, cpu + 1)))
    if vmem:
        rlimits.append((resource.RLIMIT_AS, (vmem, vmem)))
    rlimits.append((resource.RLIMIT_FSIZE, (fsize, fsize)))
    return rlimits


class JailResult:
    """What came of a run: bytes, bytes, and 0, an exit code, or a signal's number below 0."""

    def __init__(self) -> None:
        self.stdout: typing.Optional[bytes] = None
        self.stderr: typing.Optional[bytes] = None
        self.status: typing.Optional[int] = None


def jail_code(
    command: str,
    code: typing.Optional[str] = None,
    files: typing.Optional[typing.Iterable[str]] = None,
    extra_files: typing.Optional[typing.Iterable[typing.Tuple[str, bytes]]] = None,
    argv: typing.Optional[typing.Sequence[str]] = None,
    stdin: typing.Optional[str] = None,
    limit_overrides_context: typing.Any = None,
    slug: typing.Optional[str] = None,
) -> JailResult:
    """Runs a configured command in a jail.

    ``code`` becomes the file ``jailed_code``, the first argument; without it ``argv`` names one of the files.
    ``files`` are copied beside it by their last name (links as links, directories whole), ``extra_files`` are pairs
    of a plain name and bytes. ``stdin`` is what it reads. Nothing outside can be read, nothing written but in
    ``tmp``, nothing reached, and nothing stays.
    """
    jailed = run(command, code, files, extra_files, argv, stdin, limit_overrides_context, slug)
    result = JailResult()
    result.status, result.stdout, result.stderr = jailed.status, jailed.stdout, jailed.stderr
    return result


def run(
    command: str,
    code: typing.Optional[str],
    files: typing.Optional[typing.Iterable[str]],
    extra_files: typing.Optional[typing.Iterable[typing.Tuple[str, bytes]]],
    argv: typing.Optional[typing.Sequence[str]],
    stdin: typing.Optional[str],
    context: typing.Any,
    slug: typing.Optional[str],
    result_size: typing.Optional[int] = None,
) -> Jailed:
    """As :func:`jail_code`, with a result channel for :func:`codejail.safe_exec.safe_exec`."""
    if not is_configured(command):
        raise Exception("jail_code needs to be configured for %r" % command)
    paths = _paths(files or ())
    arguments = list(argv or [])
    contents: typing.Dict[str, bytes] = {}
    if code:
        contents["jailed_code"] = code.encode("utf8")
        arguments.insert(0, "jailed_code")
    for name, content in extra_files or ():
        _add(contents, check_name(name), content)
    clashing = paths.keys() & contents.keys()
    if clashing:
        raise _clash(clashing.pop())
    limits = get_effective_limits(context)
    if slug:
        log.info(
            "Preparing to execute jailed code %r (overrides context = %r, resource limits = %r).",
            slug,
            context,
            limits,
        )
    cmd = [*COMMANDS[command]["cmdline_start"], *arguments]
    data = stdin.encode("utf-8") if stdin else None
    rlimits, realtime = create_rlimits(limits), limits["REALTIME"]
    own = {**OWN_LIMITS, **{name: limits[name] for name in OWN_LIMITS if name in limits}}
    if own["READY"]:
        read = contents_of(paths)
        if read is not None:
            together = {**read, **contents}
            jailed = run_ready(cmd, data, together, rlimits, realtime, slug, own, result_size)
            if jailed is not None:
                return jailed
    through_proxy = limits["PROXY"]
    if through_proxy is None:
        through_proxy = int(os.environ.get("CODEJAIL_PROXY", "0"))
    run_it = run_subprocess_through_proxy if through_proxy else run_jailed
    return run_it(
        cmd=cmd,
        stdin=data,
        env={},
        rlimits=rlimits,
        realtime=realtime,
        slug=slug,
        limits=own,
        result_size=result_size,
        paths=paths,
        contents=contents,
    )


def check_name(name: str) -> str:
    """A plain file name: one that stays in the directory."""
    if not isinstance(name, str) or name in ("", ".", "..", "tmp", "jailed_code") or "/" in name or "\0" in name:
        raise ValueError(f"extra_files: {name!r} is no plain name of a file in the jail")
    return name


def _paths(files: typing.Iterable[str]) -> typing.Dict[str, str]:
    """Full paths by the names that they have in the jail; of two files of one name the last is there."""
    paths: typing.Dict[str, str] = {}
    for filename in files:
        path = os.path.join(os.getcwd(), filename)
        name = os.path.basename(os.path.normpath(path))
        if name in paths and not (_is_plain(path) and _is_plain(paths[name])):
            raise _clash(name)
        paths[name] = path
    return paths


def _is_plain(path: str) -> bool:
    return os.path.isfile(path) and not os.path.islink(path)


def _add(contents: typing.Dict[str, bytes], name: str, content: bytes) -> None:
    if name in contents:
        raise _clash(name)
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise TypeError(f"extra_files: {name!r} is {type(content).__name__}, not bytes")
    contents[name] = bytes(content)


def _clash(name: str) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "two files of one name in the jail", name)
