"""The same runs on a server: a client of ``wardian serve``, with the standard library alone."""

from __future__ import annotations

import asyncio
import base64
import codecs
import contextlib
import functools
import http.client
import json
import os
import socket
import threading
import typing
import urllib.parse

from ._exec import SIZE, ExecResult, Globals, finish_call, finish_exec, prepare_call, prepare_exec
from ._options import Content, Files, Size, to_bytes
from ._run import Chunk, Job
from .errors import ServerError, UsageError
from .report import Report, loads

__all__ = ["Client"]

#: An answer is a report: two streams and the files, which the server bounds; more is no answer of ours.
MOST_BYTES = 256 << 20
_LIMITS = ("wall", "cpu", "memory", "processes", "disk", "output")


class Call:
    """A request that another thread may end; who goes away ends its run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: typing.Optional[http.client.HTTPConnection] = None
        self._ended = False

    def begin(self, connection: http.client.HTTPConnection) -> None:
        """Is on its way, over a connection that stands."""
        with self._lock:
            if self._ended:
                raise ServerError("the request was cancelled")
            self._connection = connection

    def end(self) -> None:
        """Goes away, or does not even begin."""
        with self._lock:
            self._ended = True
            sock = None if self._connection is None else self._connection.sock
        if sock is not None:
            # Closing alone would wake nobody who waits for the answer.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class Client:
    """Runs programs on a server at ``http://``, ``https://`` or ``unix:/path``.

    Every call makes its own connection: a client is used by any number of threads at once.
    """

    def __init__(
        self, url: str, *, token: typing.Optional[str] = None, timeout: typing.Optional[float] = 120.0
    ) -> None:
        """``token`` is the server's key; ``timeout`` is how long a connection may be silent, in seconds."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https", "unix") or not (parts.hostname or parts.path):
            raise UsageError(f"{url!r} is no server's address", "http://host:8060, or unix:/run/wardian.sock")
        self._parts = parts
        self._prefix = "" if parts.scheme == "unix" else parts.path.rstrip("/")
        self._token = token or (urllib.parse.unquote(parts.password) if parts.password else None)
        self._timeout = timeout

    def run(
        self,
        code: typing.Optional[str] = None,
        *,
        files: Files = (),
        entry: typing.Optional[str] = None,
        args: typing.Iterable[str] = (),
        stdin: typing.Union[None, str, bytes] = None,
        env: typing.Optional[typing.Mapping[str, str]] = None,
        collect: typing.Iterable[str] = (),
        policy: typing.Optional[str] = None,
        environment: typing.Optional[str] = None,
        idempotency_key: typing.Optional[str] = None,
        **limits: typing.Union[int, float, str],
    ) -> Report:
        """Runs a program there; arguments as for :func:`wardian.run`, ``policy`` and ``environment`` by name.

        Raises :class:`ServerError` for what the server refuses, with its status.
        """
        body = _body(code, files, entry, args, stdin, env, collect, policy, environment, limits)
        return self._post(body, idempotency_key)

    async def run_async(self, code: typing.Optional[str] = None, **more: typing.Any) -> Report:
        """As :meth:`run`, in an event loop (the request is made in a thread)."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, functools.partial(self.run, code, **more))

    def stream(self, code: typing.Optional[str] = None, **more: typing.Any) -> RemoteStream:
        """As :meth:`run`, with the output as it comes; the answer's ``report`` is there after the last piece."""
        arguments: typing.Dict[str, typing.Any] = {
            "files": (), "entry": None, "args": (), "stdin": None, "env": None, "collect": (), "policy": None,
            "environment": None,
        }
        arguments.update((name, more.pop(name)) for name in list(more) if name in arguments)
        body = _body(code, limits=more, **arguments)
        return RemoteStream(self, body)

    def safe_exec(
        self,
        code: str,
        globals: typing.Optional[Globals] = None,
        *,
        filename: str = "<string>",
        size: Size = SIZE,
        files: Files = (),
        stdin: typing.Union[None, str, bytes] = None,
        env: typing.Optional[typing.Mapping[str, str]] = None,
        collect: typing.Iterable[str] = (),
        policy: typing.Optional[str] = None,
        environment: typing.Optional[str] = None,
        **limits: typing.Union[int, float, str],
    ) -> ExecResult:
        """As :func:`wardian.safe_exec`, there."""
        values = {} if globals is None else globals
        job, missing = prepare_exec(code, values, filename, size, {}, None, (), ())
        body = _body(job.code, files, None, (), stdin, env, collect, policy, environment, limits)
        return finish_exec(self._post(_with_channels(body, job), None), values, missing)

    async def safe_exec_async(
        self, code: str, globals: typing.Optional[Globals] = None, **more: typing.Any
    ) -> ExecResult:
        """As :meth:`safe_exec`, in an event loop (the request is made in a thread)."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, functools.partial(self.safe_exec, code, globals, **more))

    def call(self, code: str, function: str, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        """As :meth:`wardian.Sandbox.call`, there: under its first policy, in its first environment."""
        job = prepare_call(code, function, args, kwargs, {})
        body = _body(job.code, (), None, (), None, None, (), None, None, {})
        return finish_call(self._post(_with_channels(body, job), None))

    async def call_async(self, code: str, function: str, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        """As :meth:`call`, in an event loop (the request is made in a thread)."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, functools.partial(self.call, code, function, *args, **kwargs))

    def environments(self) -> typing.Any:
        """What the server has: interpreters, their policies, what is loaded ahead."""
        return self._answer("GET", "/v1/environments", None, {})

    def healthy(self) -> bool:
        """Whether the server contains programs: it tries."""
        try:
            status, _ = self._request("GET", "/readyz", None, {})
        except ServerError:
            return False
        return status == 200

    def post(
        self, path: str, body: typing.Mapping[str, typing.Any], call: Call
    ) -> typing.Tuple[int, bytes]:
        """Status and body of an answer."""
        return self._request("POST", path, body, {}, call)

    def _post(self, body: typing.Mapping[str, typing.Any], key: typing.Optional[str]) -> Report:
        headers = {"Idempotency-Key": key} if key else {}
        return Report.from_json(self._answer("POST", "/v1/run", body, headers))

    def _answer(
        self,
        method: str,
        path: str,
        body: typing.Optional[typing.Mapping[str, typing.Any]],
        headers: typing.Mapping[str, str],
    ) -> typing.Any:
        status, text = self._request(method, path, body, headers)
        if status != 200:
            raise problem(status, text)
        try:
            return loads(text)
        except (ValueError, RecursionError) as error:
            raise ServerError(f"the server's answer is not JSON: {error}", status=status) from error

    def _request(
        self,
        method: str,
        path: str,
        body: typing.Optional[typing.Mapping[str, typing.Any]],
        headers: typing.Mapping[str, str],
        call: typing.Optional[Call] = None,
    ) -> typing.Tuple[int, bytes]:
        connection = self._connect()
        try:
            if call is not None:
                connection.connect()
                call.begin(connection)
            response = self._send(connection, method, path, body, headers)
            text = response.read(MOST_BYTES + 1)
            if len(text) > MOST_BYTES:
                raise ServerError(f"the server's answer has more than {MOST_BYTES} bytes", status=response.status)
            return response.status, text
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(f"cannot reach the server: {error or type(error).__name__}") from error
        finally:
            connection.close()

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: typing.Optional[typing.Mapping[str, typing.Any]],
        headers: typing.Mapping[str, str],
    ) -> http.client.HTTPResponse:
        sent = {"Accept": "application/json", **headers}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        content = None
        if body is not None:
            content = json.dumps(body).encode("ascii")
            sent["Content-Type"] = "application/json"
        connection.request(method, self._prefix + path, body=content, headers=sent)
        return connection.getresponse()

    def _connect(self) -> http.client.HTTPConnection:
        parts = self._parts
        if parts.scheme == "unix":
            return _UnixConnection(parts.path, self._timeout)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        port = parts.port or (443 if parts.scheme == "https" else 8060 if parts.scheme == "http" else None)
        return kind(parts.hostname or "", port, timeout=self._timeout)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: typing.Optional[float]) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class RemoteStream:
    """Output of a run on a server, as it comes: for ``for`` and for ``async for``."""

    #: The report, once the iteration has come to its end.
    report: typing.Optional[Report] = None

    def __init__(self, client: Client, body: typing.Mapping[str, typing.Any]) -> None:
        self._client = client
        self._body = body
        self._chunks: typing.Optional[typing.Generator[Chunk, None, None]] = None

    def __iter__(self) -> typing.Iterator[Chunk]:
        if self._chunks is None:
            self._chunks = self._iterate()
        return self._chunks

    def __aiter__(self) -> typing.AsyncIterator[Chunk]:
        return self._iterate_async()

    def close(self) -> None:
        """Goes away, which ends the run."""
        if self._chunks is not None:
            self._chunks.close()

    async def _iterate_async(self) -> typing.AsyncGenerator[Chunk, None]:
        loop = asyncio.get_running_loop()
        chunks = iter(self)
        while True:
            chunk = await loop.run_in_executor(None, next, chunks, None)
            if chunk is None:
                return
            yield chunk

    def _iterate(self) -> typing.Generator[Chunk, None, None]:
        connection = self._client._connect()
        decode = {
            name: codecs.getincrementaldecoder("utf-8")("replace").decode for name in ("stdout", "stderr")
        }
        try:
            headers = {"Accept": "text/event-stream"}
            response = self._client._send(connection, "POST", "/v1/run/stream", self._body, headers)
            if response.status != 200:
                raise problem(response.status, response.read(1 << 20))
            for event, data in _events(response):
                if event in decode:
                    content = _content(data)
                    yield Chunk(event, content, decode[event](content))
                elif event == "report":
                    self.report = Report.from_json(data)
                elif event == "problem":
                    raise problem(int(data.get("status", 500)), json.dumps(data).encode())
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(f"the server is gone: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if self.report is None:
            raise ServerError("the server ended the stream without a report")


def _events(response: http.client.HTTPResponse) -> typing.Iterator[typing.Tuple[str, typing.Dict[str, typing.Any]]]:
    """Server-sent events: lines of `event:` and `data:`, an empty one between events."""
    event = "message"
    data: typing.List[bytes] = []
    while True:
        line = response.readline(MOST_BYTES)
        if not line:
            return
        name, _, value = line.rstrip(b"\r\n").partition(b":")
        if not line.strip():
            if data:
                try:
                    parsed = loads(b"\n".join(data))
                except (ValueError, RecursionError) as error:
                    raise ServerError(f"the server's event is not JSON: {error}") from error
                if isinstance(parsed, dict):
                    yield event, parsed
            event, data = "message", []
        elif name == b"event":
            event = value.strip().decode("utf-8", "replace")
        elif name == b"data":
            data.append(value[1:] if value.startswith(b" ") else value)


def _content(data: typing.Mapping[str, typing.Any]) -> bytes:
    if isinstance(data.get("base64"), str):
        return base64.b64decode(data["base64"])
    return str(data.get("text", "")).encode("utf-8", "surrogatepass")


def problem(status: int, text: bytes) -> ServerError:
    """The exception that an answer with a problem is."""
    try:
        data = loads(text)
        detail = data.get("detail") or data.get("title") or ""
        field, hint = data.get("field"), data.get("hint")
        named = f"{field}: {detail}" if field else str(detail)
    except (ValueError, RecursionError, AttributeError):
        named, hint = text[:200].decode("utf-8", "replace"), None
    return ServerError(f"the server answers {status}: {named}".rstrip(": "), hint, status=status)


def _body(
    code: typing.Optional[str],
    files: Files,
    entry: typing.Optional[str],
    args: typing.Iterable[str],
    stdin: typing.Union[None, str, bytes],
    env: typing.Optional[typing.Mapping[str, str]],
    collect: typing.Iterable[str],
    policy: typing.Optional[str],
    environment: typing.Optional[str],
    limits: typing.Mapping[str, typing.Union[int, float, str]],
) -> typing.Dict[str, typing.Any]:
    body: typing.Dict[str, typing.Any] = {}
    if (code is None) == (entry is None):
        raise UsageError("exactly one of code and entry says what to run")
    if code is not None:
        if not isinstance(code, str):
            raise UsageError(f"code is {type(code).__name__}, not str")
        _check_text("code", code)
        body["code"] = code
    if entry is not None:
        body["entry"] = entry
    body["files"] = [_file(name, content) for name, content in _named(files)]
    body["args"] = [str(arg) for arg in args]
    body["collect"] = list(collect)
    if isinstance(stdin, bytes):
        body["stdin_base64"] = base64.b64encode(stdin).decode("ascii")
    elif stdin is not None:
        _check_text("stdin", stdin)
        body["stdin"] = stdin
    for name, value in (("env", dict(env) if env else None), ("policy", policy), ("environment", environment)):
        if value is not None:
            body[name] = value
    body["limits"] = _limits(limits)
    return body


def _with_channels(body: typing.Dict[str, typing.Any], job: Job) -> typing.Dict[str, typing.Any]:
    """A request whose program gets its values as a private file, and gives them back on its result channel."""
    if job.private is not None:
        body["files"].append(_file(*job.private))
    body["command"], body["result"] = body.pop("code"), job.result_size
    return body


def _check_text(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{name} contains {value[error.start]!r}, which is half a character") from None


def _limits(limits: typing.Mapping[str, typing.Union[int, float, str]]) -> typing.Dict[str, typing.Any]:
    named = {("cpu" if name == "cpu_time" else name): value for name, value in limits.items() if value is not None}
    for name, value in named.items():
        if name not in _LIMITS:
            raise TypeError(f"there is no limit {name!r} of a server; there are {', '.join(_LIMITS)}")
        if name in ("memory", "disk", "output") and isinstance(value, (int, str)):
            to_bytes(value)
    return named


def _named(files: Files) -> typing.Iterator[typing.Tuple[str, Content]]:
    if isinstance(files, typing.Mapping):
        yield from files.items()
        return
    if isinstance(files, (str, bytes)):
        raise UsageError("files is one string", "a list of paths, or {name: content}")
    for path in files:
        with open(path, "rb") as source:
            yield os.path.basename(path), source.read()


def _file(name: str, content: Content) -> typing.Dict[str, str]:
    if isinstance(content, os.PathLike):
        try:
            with open(content, "rb") as source:
                content = source.read()
        except OSError as error:
            raise UsageError(f"files: {name!r}: {error}") from error
    if isinstance(content, str):
        _check_text(f"files: {name!r}", content)
        return {"path": name, "text": content}
    return {"path": name, "base64": base64.b64encode(bytes(content)).decode("ascii")}


