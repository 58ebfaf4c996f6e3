"""The same runs on a server: a client of ``wardian serve``, with the standard library alone."""

from __future__ import annotations

import asyncio
import base64
import codecs
import contextlib
import datetime
import http.client
import json
import os
import pathlib
import socket
import typing

from ._exec import ExecResult, Globals, finish_call, finish_exec, prepare_call, prepare_exec
from ._options import Content, Files, Time, count, listed, seconds, size, strings, text, variables
from ._run import Chunk, Job
from ._transport import MOST_BYTES, Call, Transport, header, in_thread, problem
from .errors import ServerError, UsageError
from .report import Report, loads

__all__ = ["Client"]

#: Bytes that globals may take as JSON, each way: what the answers and bodies of a server that is not configured hold.
SIZE = 8 << 20
_LIMITS = ("wall", "cpu", "memory", "processes", "disk", "output")


class Client:
    """Runs programs on a server at ``http://``, ``https://`` or ``unix:/path``.

    Every call makes its own connection: a client is used by any number of threads at once.
    """

    def __init__(
        self, url: str, *, key: typing.Optional[str] = None, timeout: typing.Optional[float] = 120.0
    ) -> None:
        """``key`` is one that the server takes; ``timeout`` is how long a connection may be silent, in seconds."""
        self._transport = Transport(url, key, timeout)

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
        **limits: Time,
    ) -> Report:
        """Runs a program there; arguments as for :func:`wardian.run`, ``policy`` and ``environment`` by name.

        Raises :class:`ServerError` for what the server refuses, with its status.
        """
        body = _body(code, files, entry, args, stdin, env, collect, policy, environment, limits)
        return self._post(body, Call(), idempotency_key)

    async def run_async(
        self, code: typing.Optional[str] = None, *, idempotency_key: typing.Optional[str] = None, **more: typing.Any
    ) -> Report:
        """As :meth:`run`, in an event loop; cancelling the task ends the run."""
        body = _named_body(code, more)
        return await in_thread(None, lambda call: self._post(body, call, idempotency_key))

    def stream(self, code: typing.Optional[str] = None, **more: typing.Any) -> RemoteStream:
        """As :meth:`run`, with the output as it comes; the answer's ``report`` is there after the last piece."""
        return RemoteStream(self._transport, _named_body(code, more))

    def safe_exec(
        self,
        code: str,
        globals: typing.Optional[Globals] = None,
        *,
        filename: str = "<string>",
        size: int = SIZE,
        strict: bool = False,
        files: Files = (),
        stdin: typing.Union[None, str, bytes] = None,
        env: typing.Optional[typing.Mapping[str, str]] = None,
        collect: typing.Iterable[str] = (),
        policy: typing.Optional[str] = None,
        environment: typing.Optional[str] = None,
        **limits: Time,
    ) -> ExecResult:
        """As :func:`wardian.safe_exec`, there, with at most 8 MiB unless ``size`` says otherwise."""
        values = {} if globals is None else globals
        job, missing = prepare_exec(code, values, filename, size, {}, None, (), (), strict)
        body = _body(job.code, files, None, (), stdin, env, collect, policy, environment, limits)
        return finish_exec(self._post(_with_channels(body, job), Call()), values, missing, strict)

    async def safe_exec_async(
        self,
        code: str,
        globals: typing.Optional[Globals] = None,
        *,
        filename: str = "<string>",
        size: int = SIZE,
        strict: bool = False,
        **more: typing.Any,
    ) -> ExecResult:
        """As :meth:`safe_exec`, in an event loop; cancelling the task ends the run."""
        values = {} if globals is None else globals
        job, missing = prepare_exec(code, values, filename, size, {}, None, (), (), strict)
        body = _with_channels(_named_body(job.code, more), job)
        return finish_exec(await in_thread(None, lambda call: self._post(body, call)), values, missing, strict)

    def call(self, code: str, function: str, /, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        """As :meth:`wardian.Sandbox.call`, there: under its first policy, in its first environment."""
        return finish_call(self._post(_call_body(code, function, args, kwargs), Call()))

    async def call_async(self, code: str, function: str, /, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        """As :meth:`call`, in an event loop; cancelling the task ends the run."""
        body = _call_body(code, function, args, kwargs)
        return finish_call(await in_thread(None, lambda call: self._post(body, call)))

    def environments(self) -> typing.Any:
        """What the server has: interpreters, their policies, what is loaded ahead."""
        return self._answer("GET", "/v1/environments", None, {})

    def healthy(self) -> bool:
        """Whether the server contains programs: it tries."""
        try:
            status, _ = self._transport.request("GET", "/readyz", None, {})
        except ServerError:
            return False
        return status == 200

    def _post(
        self, body: typing.Mapping[str, typing.Any], call: Call, key: typing.Optional[str] = None
    ) -> Report:
        headers = {"Idempotency-Key": header("idempotency_key", key)} if key else {}
        return Report.from_json(self._answer("POST", "/v1/run", body, headers, call))

    def _answer(
        self,
        method: str,
        path: str,
        body: typing.Optional[typing.Mapping[str, typing.Any]],
        headers: typing.Mapping[str, str],
        call: typing.Optional[Call] = None,
    ) -> typing.Any:
        status, text = self._transport.request(method, path, body, headers, call)
        if status != 200:
            raise problem(status, text)
        try:
            return loads(text)
        except (ValueError, RecursionError) as error:
            raise ServerError(f"the server's answer is not JSON: {error}", status=status) from error


class RemoteStream:
    """Output of a run on a server, as it comes: for ``for`` and for ``async for``.

    Leaving ``with`` or ``async with`` ends the run, and so does cancelling the task that waits for its output.
    """

    #: The report, once the iteration has come to its end.
    report: typing.Optional[Report] = None

    def __init__(self, transport: Transport, body: typing.Mapping[str, typing.Any]) -> None:
        self._transport = transport
        self._body = body
        self._call = Call()
        self._chunks: typing.Optional[typing.Generator[Chunk, None, None]] = None

    def __iter__(self) -> typing.Iterator[Chunk]:
        if self._chunks is None:
            self._chunks = self._iterate()
        return self._chunks

    def __aiter__(self) -> typing.AsyncIterator[Chunk]:
        return self._iterate_async()

    def close(self) -> None:
        """Goes away, which ends the run."""
        self._call.end()
        if self._chunks is not None:
            # Another thread that is in it is on its way out.
            with contextlib.suppress(ValueError):
                self._chunks.close()

    async def aclose(self) -> None:
        """As :meth:`close`."""
        self.close()

    def __enter__(self) -> RemoteStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> RemoteStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def _iterate_async(self) -> typing.AsyncGenerator[Chunk, None]:
        loop = asyncio.get_running_loop()
        chunks = iter(self)
        try:
            while True:
                chunk = await loop.run_in_executor(None, next, chunks, None)
                if chunk is None:
                    return
                yield chunk
        finally:
            # Wakes the thread that waits for the next piece.
            self.close()

    def _iterate(self) -> typing.Generator[Chunk, None, None]:
        connection = self._transport.connect()
        decode = {
            name: codecs.getincrementaldecoder("utf-8")("replace").decode for name in ("stdout", "stderr")
        }
        try:
            connection.connect()
            self._call.begin(connection)
            headers = {"Accept": "text/event-stream"}
            response = self._transport.send(connection, "POST", "/v1/run/stream", self._body, headers)
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
        except socket.timeout as error:
            raise self._transport.silent() from error
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(f"the server is gone: {error or type(error).__name__}") from error
        finally:
            connection.close()
        for name in decode:
            # What began as a character and was none.
            left = decode[name](b"", True)
            if left:
                yield Chunk(name, b"", left)
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
    limits: typing.Mapping[str, typing.Any],
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
        body["entry"] = text("entry", entry)
    body["files"] = [_file(name, content) for name, content in _named(files)]
    body["args"] = strings("args", args)
    body["collect"] = strings("collect", collect)
    if isinstance(stdin, (bytes, bytearray, memoryview)):
        body["stdin_base64"] = base64.b64encode(stdin).decode("ascii")
    elif isinstance(stdin, str):
        _check_text("stdin", stdin)
        body["stdin"] = stdin
    elif stdin is not None:
        raise UsageError(f"stdin: {type(stdin).__name__}", "bytes or text")
    if env:
        body["env"] = variables(env)
    for name, value in (("policy", policy), ("environment", environment)):
        if value is not None:
            body[name] = text(name, value)
    body["limits"] = _limits(limits)
    return body


def _named_body(code: typing.Optional[str], more: typing.Dict[str, typing.Any]) -> typing.Dict[str, typing.Any]:
    """As :func:`_body`, of what was given by name; what is none of its arguments is a limit."""
    arguments: typing.Dict[str, typing.Any] = {
        "files": (), "entry": None, "args": (), "stdin": None, "env": None, "collect": (), "policy": None,
        "environment": None,
    }
    arguments.update((name, more.pop(name)) for name in list(more) if name in arguments)
    return _body(code, limits=more, **arguments)


def _call_body(
    code: str, function: str, args: typing.Tuple[typing.Any, ...], kwargs: typing.Dict[str, typing.Any]
) -> typing.Dict[str, typing.Any]:
    job = prepare_call(code, function, args, kwargs, {}, SIZE)
    return _with_channels(_named_body(job.code, {}), job)


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


def _limits(limits: typing.Mapping[str, typing.Any]) -> typing.Dict[str, typing.Any]:
    if limits.keys() >= {"cpu", "cpu_time"}:
        raise TypeError("`cpu` and `cpu_time` are the same: give one of them")
    named = {("cpu" if name == "cpu_time" else name): value for name, value in limits.items() if value is not None}
    for name, value in named.items():
        if name not in _LIMITS:
            also = "; send the file with `files`, and name it with `entry`" if name == "path" else ""
            known = ", ".join(_LIMITS).replace("cpu", "cpu_time")
            raise TypeError(f"there is no limit {name!r} of a server{also}; there are {known}")
        if name in ("wall", "cpu"):
            checked = seconds(name, value)
            named[name] = checked if isinstance(value, datetime.timedelta) else value
        elif name == "processes":
            count(name, value)
        else:
            size(name, value)
    return named


def _named(files: Files) -> typing.Iterator[typing.Tuple[str, Content]]:
    if isinstance(files, typing.Mapping):
        yield from files.items()
        return
    for path in listed(files):
        yield os.path.basename(path), pathlib.Path(path)


def _file(name: str, content: Content) -> typing.Dict[str, str]:
    if isinstance(content, os.PathLike):
        try:
            with open(content, "rb") as source:
                content = source.read()
        except OSError as error:
            raise UsageError(f"files: {name!r}: {error}") from error
    if isinstance(content, str):
        _check_text(f"files: {name!r}", content)
        return {"path": text("files", name), "text": content}
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise UsageError(f"files: {name!r} is {type(content).__name__}", "bytes, text, or a pathlib.Path")
    return {"path": text("files", name), "base64": base64.b64encode(content).decode("ascii")}
