"""What can go wrong on wardian's side; what the program does is in its report."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from .report import Report

__all__ = [
    "BinaryError",
    "CallError",
    "ProgramError",
    "SandboxError",
    "ServerError",
    "UsageError",
    "VerdictError",
    "WardianError",
]


class WardianError(Exception):
    """Any error of this package; ``hint`` says what to do about it, where that is known."""

    hint: typing.Optional[str]

    def __init__(self, message: str, hint: typing.Optional[str] = None) -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text} (hint: {self.hint})" if self.hint else text

    def __reduce__(self) -> typing.Tuple[typing.Any, ...]:
        # Copies go to other processes: a pool of them waits for ever for one that cannot be made again.
        return _again, (type(self), self.args, self.__dict__)


def _again(
    kind: typing.Type[WardianError], args: typing.Tuple[typing.Any, ...], fields: typing.Dict[str, typing.Any]
) -> WardianError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class UsageError(WardianError, ValueError):
    """An argument that cannot be what it is, on any host; nothing was run."""


class BinaryError(WardianError):
    """The ``wardian`` program is not there, cannot be started, or is of another version."""


class SandboxError(WardianError):
    """Wardian could not run the program here: never the program's doing, nor that of an argument alone."""


class ServerError(WardianError):
    """A server could not be reached, or refused; ``status`` is its HTTP status, if it answered."""

    status: typing.Optional[int]

    def __init__(
        self,
        message: str,
        hint: typing.Optional[str] = None,
        status: typing.Optional[int] = None,
    ) -> None:
        super().__init__(message, hint)
        self.status = status


class VerdictError(WardianError):
    """The program did not end well: see ``report``."""

    report: Report

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


class ProgramError(VerdictError):
    """What :func:`safe_exec` or :meth:`Sandbox.call` ran has raised, exited early, or was ended by a limit.

    ``type_name``, ``traceback``, ``line`` and ``offset`` are the program's own words: text, and nothing else.
    """

    type_name: typing.Optional[str]
    traceback: typing.Optional[str]
    line: typing.Optional[int]
    offset: typing.Optional[int]

    def __init__(
        self,
        message: str,
        report: Report,
        *,
        type_name: typing.Optional[str] = None,
        traceback: typing.Optional[str] = None,
        line: typing.Optional[int] = None,
        offset: typing.Optional[int] = None,
    ) -> None:
        super().__init__(message, report)
        self.type_name = type_name
        self.traceback = traceback
        self.line = line
        self.offset = offset


class CallError(ProgramError):
    """A called function raised, or returned what JSON cannot carry."""
