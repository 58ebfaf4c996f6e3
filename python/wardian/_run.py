"""Runs of a program: at once, in an event loop, and with live output."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import dataclasses
import os
import threading
import typing
import weakref

from . import _binary
from ._interpreter import chosen
from ._options import Command, Files, Options, Stdin, check_names, listed, named, strings
from ._process import FIRST, Process
from ._version import __version__
from .errors import SandboxError, UsageError
from .report import Report

if typing.TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Chunk", "Live", "run", "run_async", "stream"]

#: Runs at once in one process; more wait. Each holds some descriptors, of which a process often has but 1024.
MOST_RUNS = 64
_CHUNK = 1 << 16

_turns = threading.BoundedSemaphore(MOST_RUNS)


def _all_turns() -> None:
    global _turns
    _turns = threading.BoundedSemaphore(MOST_RUNS)


# Threads that had a turn are not in a fork of ours.
os.register_at_fork(after_in_child=_all_turns)
_loop_turns: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]" = (
    weakref.WeakKeyDictionary()
)

Path = typing.Union[str, "os.PathLike[str]"]


@dataclasses.dataclass
class Job:
    """A program and what it gets, however it is run."""

    options: Options
    code: typing.Optional[str] = None
    path: typing.Optional[Path] = None
    module: typing.Optional[str] = None
    entry: typing.Optional[str] = None
    args: typing.Iterable[str] = ()
    stdin: Stdin = None
    files: Files = ()
    collect: typing.Iterable[str] = ()
    #: Bytes that it may write to its result channel, if it has one.
    result_size: typing.Optional[int] = None
    #: A file of ours.
    private: typing.Optional[typing.Tuple[str, bytes]] = None
    #: The same as ``code`` and ``private``, where our own module is loaded already.
    ready_code: typing.Optional[str] = None

    def __post_init__(self) -> None:
        self.options = named(self.options)
        check_names(self.options)
        # They are looked at more than once.
        self.args = strings("args", self.args)
        self.collect = strings("collect", self.collect)
        if not isinstance(self.files, typing.Mapping):
            self.files = listed(self.files)

    def run(self) -> Report:
        """Runs it, cold."""
        return execute(self.prepare)

    async def run_async(self) -> Report:
        """As :meth:`run`, in an event loop."""
        return await execute_async(self.prepare)

    def prepare(self, *, json: bool = True) -> Command:
        """The command of a cold run; whoever gets it closes it."""
        with contextlib.ExitStack() as stack:
            command = stack.enter_context(Command())
            command.apply(chosen(self.options))
            command.files(self.files)
            command.feed(self.stdin)
            for glob in self.collect:
                command.option("collect", glob)
            if self.private is not None:
                command.file(*self.private)
            words, command.words = command.words, []
            command.program(self.code, self.path, self.module, self.entry, self.args)
            program, command.words = command.words, words
            finish(command, program, json=json, result_size=self.result_size)
            stack.pop_all()
            return command


def run(
    code: typing.Optional[str] = None,
    *,
    path: typing.Optional[Path] = None,
    module: typing.Optional[str] = None,
    entry: typing.Optional[str] = None,
    args: typing.Iterable[str] = (),
    stdin: Stdin = None,
    files: Files = (),
    collect: typing.Iterable[str] = (),
    **options: Unpack[Options],
) -> Report:
    """Runs a program contained, and reports.

    Exactly one of ``code``, ``path`` (a file of the host), ``module`` and ``entry`` (one of ``files``) says what.
    ``files`` are copied in: ``{name: bytes | str | Path}``, or a list of paths. ``collect`` names files to get
    back, as globs. All other arguments are :class:`Options`, the policy and what is laid over it: ``policy``; the limits
    ``wall``, ``cpu_time`` (or ``cpu``), ``cpus``, ``memory``, ``processes``, ``disk``, ``output``, ``open_files``,
    ``file_size``, ``stack``; ``network``, ``outside``, ``level``, ``require``, ``python``, ``venv``, ``env``, ``mounts``,
    ``cwd``. Without ``python``
    and ``venv`` the interpreter of this process runs inside, with its packages.

    Whatever the program does is in the report. Raises :class:`SandboxError` if wardian could not run it,
    :class:`UsageError` for an argument that cannot be, :class:`BinaryError` if there is no ``wardian``.
    """
    return _guarded(Job(options, code, path, module, entry, args, stdin, files, collect)).run()


async def run_async(
    code: typing.Optional[str] = None,
    *,
    path: typing.Optional[Path] = None,
    module: typing.Optional[str] = None,
    entry: typing.Optional[str] = None,
    args: typing.Iterable[str] = (),
    stdin: Stdin = None,
    files: Files = (),
    collect: typing.Iterable[str] = (),
    **options: Unpack[Options],
) -> Report:
    """As :func:`run`, in an event loop; cancelling the task ends the run and everything inside."""
    return await _guarded(Job(options, code, path, module, entry, args, stdin, files, collect)).run_async()


def stream(
    code: typing.Optional[str] = None,
    *,
    path: typing.Optional[Path] = None,
    module: typing.Optional[str] = None,
    entry: typing.Optional[str] = None,
    args: typing.Iterable[str] = (),
    stdin: Stdin = None,
    files: Files = (),
    collect: typing.Iterable[str] = (),
    **options: Unpack[Options],
) -> Live:
    """As :func:`run`, with the output as it comes: ``async for chunk in wardian.stream(code)``.

    Nothing is started before the first step of the iteration; the answer's ``report`` is there after the last.
    """
    job = _guarded(Job(options, code, path, module, entry, args, stdin, files, collect))
    return Live(lambda: job.prepare(json=False))


def _guarded(job: Job) -> Job:
    """The job, behind the courtesy layer if its policy says so."""
    from . import guard

    return guard.guarded(job) if guard.is_guarded(job) else job


def finish(
    command: Command,
    program: typing.Sequence[str],
    *,
    stdin: Stdin = None,
    json: bool = True,
    result_size: typing.Optional[int] = None,
) -> None:
    """Adds what is known only when all descriptors are, then the program."""
    command.feed(stdin)
    # Whoever does not wait for a report wants output as it comes.
    command.flag("json" if json else "unbuffered")
    if result_size is not None:
        command.flag("result")
        command.option("result-size", str(result_size))
    number = FIRST + len(command.given)
    if not json:
        command.option("report", f"/proc/self/fd/{number}")
        number += 1
    command.option("lifeline", f"/proc/self/fd/{number}")
    command.words.extend(program)


def _start(make: typing.Callable[[], Command], outputs: int = 0) -> Process:
    """Starts a command; its descriptors are the child's alone from then on."""
    with make() as command:
        return Process(
            [_binary.checked(__version__), "run", *command.words],
            stdin=command.stdin,
            given=command.given,
            outputs=outputs,
            lifeline=True,
        )


def execute(
    make: typing.Callable[[], Command], started: typing.Optional[typing.Callable[[Process], None]] = None
) -> Report:
    """Makes a command when its turn has come, and runs it to its end; ``started`` hears of its process first."""
    with _turns:
        process = _start(make)
        if started is not None:
            started(process)
        try:
            text = process.read_to_end()
        except BaseException:
            process.end()
            raise
        process.wait()
    return answer(text, process)


def answer(text: bytes, process: Process) -> Report:
    """The report, or the exception that says why there is none."""
    words = process.words()
    if not text.strip():
        raise SandboxError(words or "wardian ended without a report")
    report = Report.from_text(text)
    if report.verdict == "sandbox_error":
        _, _, hint = words.partition("\nhint: ")
        kind = UsageError if report.reason == "usage" else SandboxError
        raise kind(report.message, hint.strip() or None)
    return report


def _turn() -> asyncio.Semaphore:
    loop = asyncio.get_running_loop()
    turns = _loop_turns.get(loop)
    if turns is None:
        turns = _loop_turns[loop] = asyncio.Semaphore(MOST_RUNS)
    return turns


class _Reader:
    """What comes from some descriptors, in an event loop, without a thread."""

    def __init__(self, descriptors: typing.Iterable[int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._news: "asyncio.Queue[typing.Tuple[int, bytes]]" = asyncio.Queue()
        self._open = set(descriptors)
        for descriptor in self._open:
            os.set_blocking(descriptor, False)
            self._loop.add_reader(descriptor, self._ready, descriptor)

    def _ready(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        if not data:
            self._loop.remove_reader(descriptor)
        self._news.put_nowait((descriptor, data))

    async def next(self) -> typing.Optional[typing.Tuple[int, bytes]]:
        """The next piece, or None when all are at their end."""
        while self._open:
            descriptor, data = await self._news.get()
            if data:
                return descriptor, data
            self._open.discard(descriptor)
        return None

    def close(self) -> None:
        """Looks no more."""
        for descriptor in self._open:
            self._loop.remove_reader(descriptor)
        self._open.clear()


async def _gone(process: Process) -> None:
    """Waits until a child that has closed its ends is gone: it is ending already."""
    pause = 0.0
    while not process.try_reap():
        await asyncio.sleep(pause)
        pause = min(pause + 0.0005, 0.01)
    process.wait()


async def _end(process: Process) -> None:
    """Ends a run whatever else happens meanwhile."""
    loop = asyncio.get_running_loop()
    await asyncio.shield(loop.run_in_executor(None, process.end))


async def execute_async(make: typing.Callable[[], Command]) -> Report:
    """As :func:`execute`, in an event loop."""
    async with _turn():
        process = _start(make)
        out, words = bytearray(), bytearray()
        try:
            reader = _Reader((process.stdout, process.stderr))
            try:
                stdout = process.stdout
                while True:
                    piece = await reader.next()
                    if piece is None:
                        break
                    (out if piece[0] == stdout else words).extend(piece[1])
            finally:
                reader.close()
            await _gone(process)
        except BaseException:
            await _end(process)
            raise
    process.remember_words(bytes(words))
    return answer(bytes(out), process)


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A piece of output as it came: from ``stdout`` or ``stderr``."""

    stream: str
    data: bytes
    text: str


class Live:
    """A run under way: an asynchronous iterator over its output."""

    #: The report, once the iteration has come to its end.
    report: typing.Optional[Report] = None

    def __init__(self, make: typing.Callable[[], Command]) -> None:
        self._make = make
        self._chunks: typing.Optional[typing.AsyncGenerator[Chunk, None]] = None

    def __aiter__(self) -> Live:
        return self

    def __iter__(self) -> typing.NoReturn:
        """Not without an event loop."""
        raise TypeError("write `async for chunk in wardian.stream(...)`; for a plain `for` there is `Client.stream`")

    async def __anext__(self) -> Chunk:
        if self._chunks is None:
            self._chunks = self._iterate()
        return await self._chunks.__anext__()

    async def aclose(self) -> None:
        """Ends the run, if it is still under way."""
        if self._chunks is not None:
            await self._chunks.aclose()

    async def __aenter__(self) -> Live:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _iterate(self) -> typing.AsyncGenerator[Chunk, None]:
        async with _turn():
            process = _start(self._make, outputs=1)
            names = {process.stdout: "stdout", process.stderr: "stderr"}
            decode = {
                name: codecs.getincrementaldecoder("utf-8")("replace").decode for name in names.values()
            }
            report, words = bytearray(), bytearray()
            try:
                reader = _Reader((*names, *process.outputs))
                try:
                    while True:
                        piece = await reader.next()
                        if piece is None:
                            break
                        name = names.get(piece[0])
                        if name is None:
                            report += piece[1]
                            continue
                        if name == "stderr":
                            words = (words + piece[1])[-_CHUNK:]
                        yield Chunk(name, piece[1], decode[name](piece[1]))
                    for name in names.values():
                        # What began as a character and was none.
                        left = decode[name](b"", True)
                        if left:
                            yield Chunk(name, b"", left)
                finally:
                    reader.close()
                await _gone(process)
            except BaseException:
                await _end(process)
                raise
        process.remember_words(bytes(words))
        self.report = answer(bytes(report), process)
