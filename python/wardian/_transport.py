"""Requests to a server, with the standard library alone."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import http.client
import json
import os
import select
import socket
import threading
import time
import typing
import urllib.parse

from .errors import ServerError, UsageError
from .report import loads

#: An answer is a report: two streams and the files, which the server bounds; more is no answer of ours.
MOST_BYTES = 256 << 20
#: Connections that are kept for the next requests, and for how long: a server ends idle ones after some seconds.
_MOST_IDLE = 16
_IDLE_SECONDS = 2.0
Result = typing.TypeVar("Result")


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

    def finish(self) -> None:
        """Has its answer: its connection is another's from here on."""
        with self._lock:
            self._connection = None

    def is_ended(self) -> bool:
        """Whether somebody has ended it."""
        with self._lock:
            return self._ended

    def end(self) -> None:
        """Goes away, or does not even begin."""
        with self._lock:
            self._ended = True
            sock = None if self._connection is None else self._connection.sock
        if sock is not None:
            # Closing alone would wake nobody who waits for the answer.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


async def in_thread(
    executor: typing.Optional[concurrent.futures.Executor], make: typing.Callable[[Call], Result]
) -> Result:
    """What ``make`` makes of a call, in a thread of ``executor``; cancelling the task ends the call."""
    call = Call()
    answer = asyncio.get_running_loop().run_in_executor(executor, make, call)
    try:
        return await asyncio.shield(answer)
    except asyncio.CancelledError:
        call.end()
        # Nobody is left to be told of what becomes of it.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise


class Transport:
    """The way to a server at ``http://``, ``https://`` or ``unix:/path``.

    Every request has a connection for itself: any number of threads use it at once.
    """

    def __init__(self, url: str, key: typing.Optional[str], timeout: typing.Optional[float]) -> None:
        parts = _address(url)
        if parts is None or parts.scheme not in ("http", "https", "unix") or not (parts.hostname or parts.path):
            raise UsageError(f"{url!r} is no server's address", "http://host:8060, or unix:/run/wardian.sock")
        self._parts = parts
        self._prefix = "" if parts.scheme == "unix" else parts.path.rstrip("/")
        self._key = key or (urllib.parse.unquote(parts.password) if parts.password else None)
        if self._key:
            header("key", self._key)
        self._timeout = timeout
        self._idle = _Idle()

    def request(
        self,
        method: str,
        path: str,
        body: typing.Optional[typing.Mapping[str, typing.Any]],
        headers: typing.Mapping[str, str],
        call: typing.Optional[Call] = None,
    ) -> typing.Tuple[int, bytes]:
        """Status and body of the answer."""
        connection = self._idle.take() or self.connect()
        kept = False
        try:
            if call is not None:
                if connection.sock is None:
                    connection.connect()
                call.begin(connection)
            response = self.send(connection, method, path, body, headers)
            text = response.read(MOST_BYTES + 1)
            if len(text) > MOST_BYTES:
                raise ServerError(f"the server's answer has more than {MOST_BYTES} bytes", status=response.status)
            if call is not None:
                call.finish()
            if connection.sock is not None and response.isclosed():
                kept = self._idle.put(connection)
            return response.status, text
        except socket.timeout as error:
            raise self.silent() from error
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(f"cannot reach the server: {error or type(error).__name__}") from error
        finally:
            if not kept:
                connection.close()

    def silent(self) -> ServerError:
        """The server has said nothing for as long as it may."""
        return ServerError(f"the server has been silent for {self._timeout} seconds", "give it a longer `timeout`")

    def send(
        self,
        connection: _Connection,
        method: str,
        path: str,
        body: typing.Optional[typing.Mapping[str, typing.Any]],
        headers: typing.Mapping[str, str],
    ) -> http.client.HTTPResponse:
        """The answer, its body still to be read."""
        sent = {"Accept": "application/json", **headers}
        if self._key:
            sent["Authorization"] = f"Bearer {self._key}"
        connection.body = b"" if body is None else json.dumps(body).encode("ascii")
        if body is not None:
            sent["Content-Type"] = "application/json"
            sent["Content-Length"] = str(len(connection.body))
        # A server that refuses a body may answer, and close, before it has taken all of it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, self._prefix + path, headers=sent)
        return connection.getresponse()

    def connect(self) -> _Connection:
        """A connection that is made when it is first used."""
        parts = self._parts
        if parts.scheme == "unix":
            return _UnixConnection(parts.path, self._timeout)
        kind = _SecureConnection if parts.scheme == "https" else _Connection
        port = parts.port or (443 if parts.scheme == "https" else 8060 if parts.scheme == "http" else None)
        return kind(parts.hostname or "", port, timeout=self._timeout)


def _address(url: str) -> typing.Optional[urllib.parse.SplitResult]:
    try:
        parts = urllib.parse.urlsplit(url)
        # It is read when it is asked for.
        _ = parts.port
    except (ValueError, AttributeError, TypeError):
        return None
    return parts


def header(name: str, value: str) -> str:
    """A value that can stand in a request's header."""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise UsageError(f"{name} has characters that no header can have, or is no text")
    return value


class _Connection(http.client.HTTPConnection):
    """Sends the head of a request together with its body: a server then reads once."""

    body = b""

    def send(self, data: typing.Any) -> None:
        super().send(data + self.body)


class _SecureConnection(_Connection, http.client.HTTPSConnection):
    pass


class _UnixConnection(_Connection):
    def __init__(self, path: str, timeout: typing.Optional[float]) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Idle:
    """Connections that have had their answer and wait for the next request."""

    def __init__(self) -> None:
        self._waiting: typing.List[typing.Tuple[float, int, _Connection]] = []

    def put(self, connection: _Connection) -> bool:
        """Whether there is room for it."""
        if len(self._waiting) >= _MOST_IDLE:
            return False
        self._waiting.append((time.monotonic(), os.getpid(), connection))
        return True

    def __del__(self) -> None:
        for _, _, connection in self._waiting:
            connection.close()

    def take(self) -> typing.Optional[_Connection]:
        """One that the server has not ended, and no fork of our process has a copy of."""
        while True:
            try:
                since, owner, connection = self._waiting.pop()
            except IndexError:
                return None
            if owner == os.getpid() and time.monotonic() - since < _IDLE_SECONDS and not _is_readable(connection.sock):
                return connection
            connection.close()


def _is_readable(sock: socket.socket) -> bool:
    """Whether something has come, which between two requests is the end."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


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
