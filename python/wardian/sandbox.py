"""A sandbox: options said once, and functions called inside."""

from __future__ import annotations

import typing

from ._exec import (
    SIZE,
    ExecResult,
    Globals,
    finish_call,
    prepare_call,
    safe_exec,
    safe_exec_async,
)
from ._options import Options, Size, check_names
from ._run import Live, execute, execute_async, run, run_async, stream
from .report import Report

if typing.TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Sandbox"]


class Sandbox:
    """The same options for many runs; each run is a sandbox of its own, used once.

    ::

        with wardian.Sandbox(memory="256M", wall=2) as box:
            box.run("print(1)")
            box.call("def double(x): return x * 2", "double", 21)

    Options of a single call win over those of the sandbox. Used by any number of threads and tasks at once.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        check_names(options)
        self._options = options
        self._closed = False

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Sandbox:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets nothing more be run."""
        self._closed = True

    def _with(self, options: Options) -> Options:
        if self._closed:
            raise ValueError("the sandbox is closed")
        merged: typing.Dict[str, typing.Any] = {**self._options, **options}
        return typing.cast(Options, merged)

    def run(self, code: typing.Optional[str] = None, **more: typing.Any) -> Report:
        """As :func:`wardian.run`."""
        return run(code, **self._merge(more))

    async def run_async(self, code: typing.Optional[str] = None, **more: typing.Any) -> Report:
        """As :func:`wardian.run_async`."""
        return await run_async(code, **self._merge(more))

    def stream(self, code: typing.Optional[str] = None, **more: typing.Any) -> Live:
        """As :func:`wardian.stream`."""
        return stream(code, **self._merge(more))

    def safe_exec(
        self, code: str, globals: typing.Optional[Globals] = None, **more: typing.Any
    ) -> ExecResult:
        """As :func:`wardian.safe_exec`."""
        return safe_exec(code, globals, **self._merge(more))

    async def safe_exec_async(
        self, code: str, globals: typing.Optional[Globals] = None, **more: typing.Any
    ) -> ExecResult:
        """As :func:`wardian.safe_exec_async`."""
        return await safe_exec_async(code, globals, **self._merge(more))

    def _merge(self, more: typing.Mapping[str, typing.Any]) -> typing.Dict[str, typing.Any]:
        if self._closed:
            raise ValueError("the sandbox is closed")
        return {**self._options, **more}

    def call(self, code: str, function: str, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        """Executes ``code``, calls its ``function``, and answers what that returns.

        Arguments and answer are plain values, as for :func:`wardian.safe_exec`. Raises :class:`CallError` if the
        function raises, or returns what cannot be carried out.
        """
        with prepare_call(code, function, args, kwargs, self._with({}), self.size) as command:
            report = execute(command)
        return finish_call(report)

    async def call_async(
        self, code: str, function: str, *args: typing.Any, **kwargs: typing.Any
    ) -> typing.Any:
        """As :meth:`call`, in an event loop."""
        with prepare_call(code, function, args, kwargs, self._with({}), self.size) as command:
            report = await execute_async(command)
        return finish_call(report)

    #: Bytes that arguments, and what is returned, may take.
    size: Size = SIZE
