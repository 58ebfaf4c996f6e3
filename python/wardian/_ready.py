"""Sandboxes that are ready ahead of demand: a service of our own, at a socket that only we can open."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import os
import tempfile
import threading
import time
import typing
import weakref

from . import _binary
from ._exec import MODULE, ready_source
from ._interpreter import NAMES as PLACES
from ._interpreter import chosen
from ._options import LONGEST_CODE, Content, Files, Options, Time, listed, seconds, size, strings, text, variables
from ._process import FIRST, Process
from ._run import MOST_RUNS, Job
from ._toml import dumps
from ._transport import Call, Transport, in_thread, problem
from ._version import __version__
from .errors import SandboxError, ServerError, UsageError
from .report import Report, loads

#: Options that a run may have of its own and still start warm, as requests call them.
_LIMITS = {
    "wall": "wall",
    "cpu_time": "cpu",
    "memory": "memory",
    "processes": "processes",
    "disk": "disk",
    "output": "output",
}
#: What belongs to the policy, by its places there; limits beside.
_LAYERS = ("network", "outside")
_POLICY_LIMITS = ("wall", "cpu_time", "cpus", "memory", "processes", "disk", "output", "open_files", "file_size", "stack")
#: What our own program inside imports.
_OWN_PRELOAD = ("binascii", "json", "marshal", f"@DIRECTORY@/{MODULE}.py")
#: A service that says so cannot run it warm, nor cold: too large a request, and limits above the policy's.
_NOT_HERE = (413, 422)
_NOBODY_LISTENS = (ConnectionRefusedError, FileNotFoundError)
_KEPT_WORDS = 1 << 16
#: How the service begins to say why it ends.
_ERROR = "wardian: error: "
#: How long starting may take: the imports of everything that is preloaded.
_START_SECONDS = 120.0
#: How long a process that was killed may take to end.
_END_SECONDS = 1.0


class Ready:
    """Keeps sandboxes ready, from the first use to :meth:`close`; used by any number of threads and tasks at once."""

    def __init__(self, options: Options, preload: typing.Iterable[str], ready: int) -> None:
        if isinstance(ready, bool) or not isinstance(ready, int) or not 0 < ready <= 100:
            raise UsageError(f"ready: {ready!r} is not between 1 and 100")
        names = strings("preload", preload)
        self._options = options
        #: Files of the host that are modules inside; a cold run gets them as files.
        self.modules = {os.path.basename(name): os.path.abspath(name) for name in names if name.endswith(".py")}
        loaded = [os.path.abspath(name) if name.endswith(".py") else name for name in names]
        self._files = {f"{MODULE}.py": ready_source(), **_configuration(options, loaded, ready)}
        self._lock = threading.Lock()
        self._service: typing.Optional[_Service] = None
        self._threads: typing.Optional[concurrent.futures.ThreadPoolExecutor] = None
        self._threads_of = 0
        self._closed = False

    def start(self) -> _Service:
        """The service; starts it, and again if it has ended."""
        with self._lock:
            if self._closed:
                raise ValueError("the sandbox is closed")
            if self._service is None or not self._service.is_alive():
                self._service = self._started()
            return self._service

    def _started(self) -> _Service:
        try:
            return _Service(self._files)
        except SandboxError:
            # Its words are for people; a cold run tells whether the options are what is wrong.
            with contextlib.suppress(SandboxError):
                Job(self._options, "").run()
            raise

    def run(self, job: Job) -> typing.Optional[Report]:
        """The report of a warm run; None for what only a cold one can be."""
        body = request(job)
        return None if body is None else self._post(body, Call())

    async def run_async(self, job: Job) -> typing.Optional[Report]:
        """As :meth:`run`, in an event loop; cancelling the task ends the run."""
        body = request(job)
        if body is None:
            return None
        return await in_thread(self._workers(), lambda call: self._post(body, call))

    def _workers(self) -> concurrent.futures.ThreadPoolExecutor:
        with self._lock:
            if self._closed:
                raise ValueError("the sandbox is closed")
            if self._threads is None or self._threads_of != os.getpid():
                # A fork of our process has the executor, and none of its threads.
                self._threads = concurrent.futures.ThreadPoolExecutor(MOST_RUNS, "wardian-ready")
                self._threads_of = os.getpid()
            return self._threads

    def _post(self, body: typing.Mapping[str, typing.Any], call: Call) -> typing.Optional[Report]:
        service = self.start()
        try:
            status, answer = service.transport.request("POST", "/v1/run", body, {}, call)
        except ServerError as error:
            if not isinstance(error.__cause__, _NOBODY_LISTENS):
                if not call.is_ended():
                    # One that is ending takes connections for a moment: the next run is to find it gone.
                    service.wait_for_end(_END_SECONDS)
                raise _no_answer(error) from error
            # It has just ended, and took nothing from us.
            service.close()
            try:
                status, answer = self.start().transport.request("POST", "/v1/run", body, {}, call)
            except ServerError as another:
                raise _no_answer(another) from another
        if status in _NOT_HERE:
            return None
        if status != 200:
            failure = problem(status, answer)
            raise SandboxError(str(failure.args[0]), failure.hint)
        return Report.from_json(loads(answer))

    def close(self) -> None:
        """Ends the service and every run in it."""
        with self._lock:
            self._closed = True
            service, self._service = self._service, None
            threads, self._threads = self._threads, None
        if service is not None:
            service.close()
        if threads is not None:
            threads.shutdown(wait=False)


def _no_answer(error: ServerError) -> SandboxError:
    return SandboxError(f"the service that keeps sandboxes ready does not answer: {error}")


class _Service:
    """One service process. Nothing of it is in the file system once it listens, so nothing can stay there."""

    def __init__(self, files: typing.Mapping[str, str]) -> None:
        with tempfile.TemporaryDirectory(prefix="wardian-", dir=_short_directory()) as directory:
            socket = os.path.join(directory, "socket")
            for name, content in files.items():
                with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                    file.write(content.replace("@DIRECTORY@", directory))
            command = [_binary.checked(__version__), "serve", "--unix", socket]
            command += ["--config", os.path.join(directory, "config.toml"), "--lifeline", f"/proc/self/fd/{FIRST}"]
            self._process = Process(command, lifeline=True)
            #: Its process id.
            self.pid = self._process.pid
            self._words = bytearray()
            self._listens = threading.Event()
            self._listen()
            held: typing.List[int] = []
            self._end = weakref.finalize(self, _end, self._process, held, os.getpid())
            self._await_start()
            held.append(os.open(socket, os.O_PATH | os.O_CLOEXEC))
            self.transport = Transport(f"unix:/proc/self/fd/{held[0]}", None, timeout=None)

    def _listen(self) -> None:
        listener = threading.Thread(
            target=_listen, args=(self._process.stderr, self._words, self._listens), name="wardian-ready", daemon=True
        )
        listener.start()

    def _await_start(self) -> None:
        heard = self._listens.wait(_START_SECONDS)
        if heard and self.is_alive() and b"listening" in self._words:
            return
        self.close()
        words = self._words.decode("utf-8", "replace").strip()
        said, _, hint = words.partition("\nhint: ")
        silence = "it ended without a word" if heard else f"it said nothing for {_START_SECONDS:.0f} seconds"
        # An error may have several lines, and words of the log before it.
        why = said.rpartition(_ERROR)[2] if _ERROR in said else said.rpartition("\n")[2]
        raise SandboxError(f"no sandbox can be kept ready: {why or silence}", hint or None)

    def is_alive(self) -> bool:
        """Whether it is still there."""
        return not self._process.try_reap()

    def wait_for_end(self, seconds: float) -> None:
        """Waits until it is gone, but no longer than this."""
        until = time.monotonic() + seconds
        while self.is_alive() and time.monotonic() < until:
            time.sleep(0.005)

    def close(self) -> None:
        """Ends it, once."""
        self._end()


def _listen(descriptor: int, words: bytearray, listens: threading.Event) -> None:
    """Reads what the service says, for as long as it says anything."""
    with contextlib.suppress(OSError):
        descriptor = os.dup(descriptor)
        with open(descriptor, "rb", buffering=0) as stderr:
            while True:
                piece = stderr.read(4096)
                if not piece:
                    break
                words += piece
                del words[:-_KEPT_WORDS]
                if b"listening" in words:
                    listens.set()
    listens.set()


def _end(process: Process, held: typing.List[int], owner: int) -> None:
    # A fork of our process has a copy of everything but the child.
    if os.getpid() == owner:
        process.end()
    for descriptor in held:
        os.close(descriptor)


def _short_directory() -> typing.Optional[str]:
    """Where a socket's path is not too long for the kernel (108 bytes)."""
    return None if len(os.fsencode(tempfile.gettempdir())) < 70 else "/tmp"


def _configuration(options: Options, preload: typing.List[str], ready: int) -> typing.Dict[str, str]:
    """The service's files, by name."""
    values = _given(chosen(options))
    policy, files = _policy(values)
    loaded = [*_OWN_PRELOAD, *(name for name in preload if name not in _OWN_PRELOAD)]
    environment: typing.Dict[str, typing.Any] = {"name": "ready", "preload": loaded, "ready": ready}
    for name in PLACES:
        if name in values:
            place = text(name, values.pop(name))
            environment[name] = os.path.abspath(place) if os.sep in place or name == "venv" else place
    if values:
        raise UsageError(f"{next(iter(values))}: no sandbox can be kept ready with it", "leave out preload and ready")
    config = {
        "listen": [],
        "policies": [policy],
        # As many as cold.
        "runs": {"at_once": MOST_RUNS, "queue": 65536, "queue_time": "24h", "drain_time": "0s"},
        "requests": {"body": "256M", "memory": "1G", "files": 10000, "body_time": "10m", "write_time": "10m"},
        "collect": {"files": 1000, "bytes": "64M"},
        "environments": [environment],
    }
    return {**files, "config.toml": dumps(config)}


def _given(options: Options) -> typing.Dict[str, typing.Any]:
    return {name: value for name, value in options.items() if value is not None}


def _policy(values: typing.Dict[str, typing.Any]) -> typing.Tuple[str, typing.Dict[str, str]]:
    """The policy's name or path, and its file if it is ours; takes from ``values`` what is in it."""
    policy = values.pop("policy", "python")
    laid: typing.Dict[str, typing.Any] = {}
    limits = {name: _limit(name, values.pop(name)) for name in _POLICY_LIMITS if name in values}
    laid.update((name, text(name, values.pop(name))) for name in _LAYERS if name in values)
    env = variables(values.pop("env", {}))
    if not isinstance(policy, typing.Mapping):
        path = text("policy", policy)
        if not isinstance(policy, str) or os.sep in path or path.endswith(".toml"):
            if limits or laid or env:
                said = next(iter([*limits, *laid, "env"]))
                raise UsageError(f"{said} cannot be laid over a policy's file for sandboxes that are ready", "say it there")
            return os.path.abspath(path), {}
        policy = {"extends": path}
    merged = {"name": "sandbox", **policy, **laid}
    for table, more in (("limits", limits), ("environment", {"set": env} if env else {})):
        inner = dict(merged.get(table) or {})
        if table == "environment" and more:
            more = {"set": {**dict(inner.get("set") or {}), **env}}
        inner.update(more)
        if inner:
            merged[table] = inner
    return "@DIRECTORY@/policy.toml", {"policy.toml": dumps(merged)}


def _limit(name: str, value: typing.Any) -> typing.Any:
    if name in ("wall", "cpu_time"):
        return seconds(name, value)
    return value if name in ("cpus", "processes", "open_files") else size(name, value)


def request(job: Job) -> typing.Optional[typing.Dict[str, typing.Any]]:
    """The body of a request for a warm run; None for what only a cold one can be."""
    options = _given(job.options)
    limits = {name: options.pop(name) for name in _LIMITS if name in options}
    env = options.pop("env", {})
    if options or not isinstance(job.stdin, (str, bytes, bytearray, memoryview, type(None))):
        return None
    body: typing.Dict[str, typing.Any] = {
        "args": list(job.args),
        "collect": list(job.collect),
        "env": variables(env),
        "limits": {_LIMITS[name]: _request_limit(name, value) for name, value in limits.items()},
        "stdin_base64": _base64(job.stdin or b""),
    }
    try:
        files = _say_program(job, body) + _contents(job.files)
        # Bytes that are no text are arguments of a program, and of no request.
        "".join([*body["args"], *body["collect"], *body["env"], *body["env"].values()]).encode()
    except (OSError, UnicodeEncodeError, _OnlyCold):
        # The cold run takes it, or says what is wrong with it.
        return None
    if job.private is not None and job.ready_code is None:
        files.append(job.private)
    body["files"] = [{"path": text("files", name), "base64": _base64(content)} for name, content in files]
    if job.result_size is not None:
        body["result"] = job.result_size
    return body


class _OnlyCold(Exception):
    """No request can say this."""


def _base64(content: typing.Union[str, bytes, bytearray, memoryview]) -> str:
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else bytes(content)
    return base64.b64encode(data).decode("ascii")


def _say_program(
    job: Job, body: typing.Dict[str, typing.Any]
) -> typing.List[typing.Tuple[str, typing.Union[str, bytes]]]:
    """Says what is to be run; answers the files that it needs."""
    chosen = [value for value in (job.code, job.path, job.module, job.entry) if value is not None]
    if len(chosen) != 1:
        raise _OnlyCold
    if job.code is not None:
        if not isinstance(job.code, str):
            raise _OnlyCold
        code = job.ready_code or job.code
        body["command" if len(code.encode()) <= LONGEST_CODE else "code"] = code
    elif job.path is not None:
        name = os.path.basename(text("path", job.path))
        body["entry"] = name
        return [(name, _read(job.path))]
    else:
        body["module" if job.module is not None else "entry"] = text("module", chosen[0])
    return []


def _contents(files: Files) -> typing.List[typing.Tuple[str, typing.Union[str, bytes]]]:
    if isinstance(files, typing.Mapping):
        return [(name, _content(content)) for name, content in files.items()]
    return [(os.path.basename(path), _read(path)) for path in listed(files)]


def _content(content: Content) -> typing.Union[str, bytes]:
    if isinstance(content, os.PathLike):
        return _read(content)
    if isinstance(content, (str, bytes)):
        return content
    if isinstance(content, (bytearray, memoryview)):
        return bytes(content)
    raise _OnlyCold


def _read(path: typing.Union[str, "os.PathLike[str]"]) -> bytes:
    with open(path, "rb") as source:
        return source.read()


def _request_limit(name: str, value: typing.Union[int, Time]) -> typing.Any:
    if name in ("wall", "cpu_time"):
        return seconds(name, value)
    return value if name == "processes" else size(name, typing.cast(int, value))
