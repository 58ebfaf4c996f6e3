"""A sandbox: options said once, functions called inside, and sandboxes that are ready ahead."""

from __future__ import annotations

import os
import pathlib
import typing

from ._exec import (
    SIZE,
    ExecResult,
    Globals,
    finish_call,
    finish_exec,
    prepare_call,
    prepare_exec,
)
from ._interpreter import laid_over
from ._options import Files, Options, Stdin, check_names, listed, named, several
from ._run import Job, Live, Path, stream
from .report import Report

if typing.TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._ready import Ready

__all__ = ["Sandbox"]


class Sandbox:
    """The same options for many runs; each run is a sandbox of its own, used once.

    ::

        with wardian.Sandbox(memory="256M", wall=2, preload=["numpy"]) as box:
            box.run("print(1)")
            box.call("def double(x): return x * 2", "double", 21)

    With ``preload`` (modules that are imported ahead; what ends with ``.py`` is a file of the host, and becomes the
    module of its name) or ``ready`` (a number) so many sandboxes wait for programs, in a process that ends with ours:
    runs start warm then. What a ready sandbox cannot be (other options than lower limits and variables, standard
    input from a descriptor, live output) is run cold, with the same report.

    Options of a single call win over those of the sandbox. Used by any number of threads and tasks at once.
    """

    def __init__(
        self,
        *,
        preload: typing.Iterable[str] = (),
        ready: typing.Optional[int] = None,
        **options: Unpack[Options],
    ) -> None:
        options = named(options)
        check_names(options)
        preload = several("preload", preload)
        self._options = options
        self._ready: typing.Optional[Ready] = None
        if preload or ready:
            from ._ready import Ready

            self._ready = Ready(options, preload, 2 if ready is None else ready)
        self._closed = False

    def __enter__(self) -> Sandbox:
        if self._ready is not None:
            self._ready.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Sandbox:
        if self._ready is not None:
            import asyncio

            await asyncio.get_running_loop().run_in_executor(None, self._ready.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets nothing more be run, and ends what is ready."""
        self._closed = True
        if self._ready is not None:
            self._ready.close()

    def run(
        self,
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
        """As :func:`wardian.run`."""
        return self._run(Job(options, code, path, module, entry, args, stdin, files, collect))

    async def run_async(
        self,
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
        """As :func:`wardian.run_async`."""
        return await self._run_async(Job(options, code, path, module, entry, args, stdin, files, collect))

    def stream(self, code: typing.Optional[str] = None, **more: typing.Any) -> Live:
        """As :func:`wardian.stream`."""
        self._check_open()
        files = self._with_modules(more.pop("files", ()))
        return stream(code, files=files, **laid_over(self._options, more))

    def safe_exec(
        self,
        code: str,
        globals: typing.Optional[Globals] = None,
        *,
        filename: str = "<string>",
        size: int = SIZE,
        strict: bool = False,
        stdin: Stdin = None,
        files: Files = (),
        collect: typing.Iterable[str] = (),
        **options: Unpack[Options],
    ) -> ExecResult:
        """As :func:`wardian.safe_exec`."""
        values = {} if globals is None else globals
        job, missing = prepare_exec(code, values, filename, size, options, stdin, files, collect, strict)
        return finish_exec(self._run(job), values, missing, strict)

    async def safe_exec_async(
        self,
        code: str,
        globals: typing.Optional[Globals] = None,
        *,
        filename: str = "<string>",
        size: int = SIZE,
        strict: bool = False,
        stdin: Stdin = None,
        files: Files = (),
        collect: typing.Iterable[str] = (),
        **options: Unpack[Options],
    ) -> ExecResult:
        """As :func:`wardian.safe_exec_async`."""
        values = {} if globals is None else globals
        job, missing = prepare_exec(code, values, filename, size, options, stdin, files, collect, strict)
        return finish_exec(await self._run_async(job), values, missing, strict)

    def call(self, code: str, function: str, /, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        """Executes ``code``, calls its ``function``, and answers what that returns.

        Arguments and answer are plain values, as for :func:`wardian.safe_exec`. Raises :class:`CallError` if the
        function raises, or returns what cannot be carried out, or if the code defines none of that name.
        """
        return finish_call(self._run(prepare_call(code, function, args, kwargs, {}, self.size)))

    async def call_async(
        self, code: str, function: str, /, *args: typing.Any, **kwargs: typing.Any
    ) -> typing.Any:
        """As :meth:`call`, in an event loop."""
        return finish_call(await self._run_async(prepare_call(code, function, args, kwargs, {}, self.size)))

    #: Bytes that arguments, and what is returned, may take.
    size: int = SIZE

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the sandbox is closed")

    def _run(self, job: Job) -> Report:
        self._check_open()
        report = None if self._ready is None else self._ready.run(job)
        return self._cold(job).run() if report is None else report

    async def _run_async(self, job: Job) -> Report:
        self._check_open()
        report = None if self._ready is None else await self._ready.run_async(job)
        return await self._cold(job).run_async() if report is None else report

    def _cold(self, job: Job) -> Job:
        """The job with the sandbox's own options below its own."""
        job.options = typing.cast(Options, laid_over(self._options, job.options))
        job.files = self._with_modules(job.files)
        return job

    def _with_modules(self, files: Files) -> Files:
        """A cold run's files: what is loaded ahead elsewhere lies beside its program."""
        if self._ready is None or not self._ready.modules:
            return files
        if not isinstance(files, typing.Mapping):
            files = {os.path.basename(path): pathlib.Path(path) for path in listed(files)}
        modules = {name: pathlib.Path(path) for name, path in self._ready.modules.items()}
        return {**modules, **files}
