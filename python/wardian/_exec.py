"""``exec()`` and function calls, contained: values go in through a private file and out through a private channel."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import marshal
import os
import typing

from . import _values
from ._options import Files, Options, Stdin
from ._run import Job
from .errors import CallError, ProgramError, UsageError
from .report import Report

if typing.TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["ExecResult", "safe_exec", "safe_exec_async"]

#: Bytes that globals may take as JSON, each way.
SIZE = 16 << 20
#: The channel's own limit.
_LARGEST = 64 << 20
_INPUT = ".wardian-input"

Globals = typing.MutableMapping[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class ExecResult:
    """What came of code that ran to its end; the globals are in the caller's dictionary already."""

    #: What happened, with ``stdout`` and ``stderr``.
    report: Report
    #: Globals that were not carried in, and why.
    not_carried_in: typing.Mapping[str, str]
    #: Globals that were not carried out, and why; the caller's dictionary keeps what it had.
    not_carried_out: typing.Mapping[str, str]

    @property
    def stdout(self) -> str:
        """What the code wrote to standard output."""
        return str(self.report.stdout)

    @property
    def stderr(self) -> str:
        """What the code wrote to standard error."""
        return str(self.report.stderr)


def safe_exec(
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
    """Executes code as ``exec(code, globals)`` would, contained: afterwards ``globals`` has what the code made of it.

    Carried in and out, exactly: None, booleans, numbers, text, bytes, and lists, tuples, sets and dictionaries of
    them, at most ``size`` bytes and 50 levels deep. Anything else stays where it is, **without an exception**: it is
    named in ``not_carried_in`` and ``not_carried_out`` of the answer. With ``strict`` a value that cannot be carried in
    is a :class:`UsageError`, and one that cannot be carried out a :class:`ProgramError`; modules, classes, functions and
    annotations are no values, and stay where they are. Values are copied: what two names share outside they do not share inside.

    Raises :class:`ProgramError` if the code raises, exits with a code other than 0, or is ended by a limit;
    ``globals`` is untouched then. Hostile code decides what its own globals are, and nothing else.
    """
    values = {} if globals is None else globals
    job, missing = prepare_exec(code, values, filename, size, options, stdin, files, collect, strict)
    return finish_exec(job.run(), values, missing, strict)


async def safe_exec_async(
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
    """As :func:`safe_exec`, in an event loop."""
    values = {} if globals is None else globals
    job, missing = prepare_exec(code, values, filename, size, options, stdin, files, collect, strict)
    return finish_exec(await job.run_async(), values, missing, strict)


def prepare_exec(
    code: str,
    values: Globals,
    filename: str,
    size: int,
    options: Options,
    stdin: Stdin,
    files: Files,
    collect: typing.Iterable[str],
    strict: bool,
) -> typing.Tuple[Job, typing.Dict[str, str]]:
    """The job that executes some code, and which globals are not carried in."""
    job, missing = _prepare(code, values, "exec", filename, size, {}, options, stdin, files, collect)
    lost = [name for name in missing if not _values.is_code(name, values.get(name))]
    if strict and lost:
        raise UsageError(f"globals that cannot be carried in: {_told_names(lost, missing)}", "take strict=True away")
    return job, missing


def prepare_call(
    code: str,
    function: str,
    args: typing.Sequence[typing.Any],
    kwargs: typing.Mapping[str, typing.Any],
    options: Options,
    size: int = SIZE,
) -> Job:
    """The job that calls a function of some code."""
    if not isinstance(function, str) or not function.isidentifier():
        raise UsageError(f"{function!r} is no function's name")
    budget = [_bytes(size)]
    more: typing.Dict[str, typing.Any] = {"function": function}
    for name, value in (("args", tuple(args)), ("kwargs", dict(kwargs))):
        try:
            more[name] = _values.pack(value, budget)
        except _values.Problem as problem:
            raise UsageError(f"the {name} of {function!r} cannot be carried in: {problem}") from None
    job, _ = _prepare(code, {}, "call", "<string>", size, more, options)
    return job


def finish_call(report: Report) -> typing.Any:
    """What a called function has returned."""
    answer = _answer(report, CallError)
    if "value" not in answer:
        why = str(answer.get("missing", "it did not return"))[:200]
        raise CallError(f"what it returned cannot be carried out: {why}", report)
    try:
        return _values.unpack(answer["value"])
    except _values.Problem as problem:
        raise CallError(f"what it returned cannot be read: {problem}", report) from None


#: Takes the harness from the private file: compiled, if the Python inside is of the version that compiled it.
_START = f"""\
import marshal, os
from _frozen_importlib_external import MAGIC_NUMBER
with open({_INPUT!r}, "rb") as source:
    data = source.read()
try:
    os.unlink({_INPUT!r})
except OSError:
    pass
code = 12 + int.from_bytes(data[4:8], "little")
end = code + int.from_bytes(data[8:12], "little")
del source
exec(marshal.loads(data[12:code]) if data[:4] == MAGIC_NUMBER else data[code:end])
main(data[end:])
"""
#: Where the harness is a module that is loaded already, as in sandboxes that are ready.
MODULE = "wardian_exec"
_LONGEST_ORDER = 32 << 10


def harness_source() -> bytes:
    """The program that runs inside."""
    here = os.path.dirname(os.path.abspath(__file__))
    parts = []
    for name in ("_values.py", "_harness.py"):
        with open(os.path.join(here, name), "rb") as file:
            parts.append(file.read())
    return b"\n".join(parts)


def ready_source() -> str:
    """The program that is loaded ahead."""
    told = {"mode": "exec", "code": "y = x + 1", "name": "<string>", "globals": ["d", ["x", 1]], "size": 1000}
    return f"{harness_source().decode()}\ndef wardian_rehearse():\n    rehearse({json.dumps(told).encode()!r})\n"


@functools.lru_cache(maxsize=None)
def _harness() -> bytes:
    """That, compiled and as it is."""
    source = harness_source()
    code = marshal.dumps(compile(source, "<string>", "exec", dont_inherit=True, optimize=2))
    sizes = b"".join(len(part).to_bytes(4, "little") for part in (code, source))
    return importlib.util.MAGIC_NUMBER + sizes + code + source


def _bytes(size: int) -> int:
    # It is counted here, piece by piece: what sizes are as text only the program says.
    if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= _LARGEST:
        raise UsageError(f"size: {size!r} is no whole number between 1 and {_LARGEST}", "bytes: 32 << 20")
    return size


def _prepare(
    code: str,
    values: typing.Mapping[str, typing.Any],
    mode: str,
    filename: str,
    size: int,
    more: typing.Mapping[str, typing.Any],
    options: Options,
    stdin: Stdin = None,
    files: Files = (),
    collect: typing.Iterable[str] = (),
) -> typing.Tuple[Job, typing.Dict[str, str]]:
    if not isinstance(code, str):
        raise UsageError(f"code is {type(code).__name__}, not str")
    if not isinstance(filename, str):
        raise UsageError(f"filename is {type(filename).__name__}, not str")
    if not isinstance(values, typing.MutableMapping):
        raise UsageError(f"globals is {type(values).__name__}, not a dict")
    limit = _bytes(size)
    packed, missing = _pack_globals(values, limit)
    order = {"mode": mode, "code": code, "name": filename, "globals": packed, "size": limit, **more}
    told = json.dumps(order).encode("ascii")
    job = Job(
        options,
        _START,
        stdin=stdin,
        files=files,
        collect=collect,
        result_size=min(2 * limit, _LARGEST),
        private=(_INPUT, _harness() + told),
        ready_code=f"import {MODULE}\n{MODULE}.main({told!r})" if len(told) <= _LONGEST_ORDER else None,
    )
    return job, missing


def _pack_globals(
    values: typing.Mapping[str, typing.Any], limit: int
) -> typing.Tuple[typing.List[typing.Any], typing.Dict[str, str]]:
    budget = [limit]
    packed: typing.List[typing.Any] = ["d"]
    missing = {}
    for name, value in list(values.items()):
        if name == "__builtins__":
            continue
        if type(name) is not str:
            missing[repr(name)] = "its name is no text"
            continue
        try:
            packed.append([_values.pack(name, budget), _values.pack(value, budget)])
        except _values.Problem as problem:
            if budget[0] < 0:
                raise UsageError(
                    f"the globals are larger than {limit} bytes (at {name!r})", "a larger size=, or a file"
                ) from None
            missing[name] = str(problem)
    return packed, missing


def _answer(report: Report, error: typing.Type[ProgramError]) -> typing.Dict[str, typing.Any]:
    """What the harness wrote, if the program let it."""
    raw = report.result
    answer = raw if isinstance(raw, dict) else {}
    told = answer.get("error")
    if isinstance(told, dict):
        raise _told(report, told, error)
    if report.verdict not in ("ok", "nonzero_exit"):
        raise error(report.message, report)
    if not answer:
        why = report.result_missing or "not a value of ours"
        raise error(
            f"it ended (exit code {report.exit_code}) before its values could be read back ({why})", report
        )
    if report.verdict != "ok":
        raise error(f"it ended with exit code {report.exit_code} after its end", report)
    return answer


def _told(
    report: Report, told: typing.Mapping[str, typing.Any], error: typing.Type[ProgramError]
) -> ProgramError:
    def text(name: str) -> typing.Optional[str]:
        value = told.get(name)
        # Halves of characters cannot be printed, and an error is there to be printed.
        return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else None

    def number(name: str) -> typing.Optional[int]:
        value = told.get(name)
        return value if type(value) is int else None

    kind, message = text("type") or "Exception", text("message") or ""
    return error(
        f"{kind}: {message}" if message else kind,
        report,
        type_name=kind,
        traceback=text("traceback"),
        line=number("line"),
        offset=number("offset"),
    )


def _told_names(names: typing.Sequence[str], why: typing.Mapping[str, str]) -> str:
    more = f", and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]!r} ({why[names[0]]}){more}"


def finish_exec(report: Report, values: Globals, missing_in: typing.Dict[str, str], strict: bool) -> ExecResult:
    """Puts what came back into ``values``."""
    answer = _answer(report, ProgramError)
    kept, missing, gone = answer.get("globals"), answer.get("missing"), answer.get("gone")
    if not isinstance(kept, list) or not isinstance(missing, list) or not isinstance(gone, list):
        raise ProgramError("its globals are not what the harness writes", report)
    missing_out, lost = _not_carried(missing)
    new: typing.Dict[str, typing.Any] = {}
    for entry in kept:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
            raise ProgramError("its globals are not what the harness writes", report)
        try:
            new[entry[0]] = _values.unpack(entry[1])
        except _values.Problem as problem:
            missing_out[entry[0]] = str(problem)
            lost.append(entry[0])
    if strict and lost:
        raise ProgramError(f"values that cannot be carried out: {_told_names(lost, missing_out)}", report)
    for name in gone:
        if isinstance(name, str) and name not in missing_in and name != "__builtins__":
            values.pop(name, None)
    values.update(new)
    return ExecResult(report, missing_in, missing_out)


def _not_carried(missing: typing.Iterable[typing.Any]) -> typing.Tuple[typing.Dict[str, str], typing.List[str]]:
    """What the harness has left out and why, and those of the names that are values."""
    reasons: typing.Dict[str, str] = {}
    lost: typing.List[str] = []
    for entry in missing:
        if isinstance(entry, list) and len(entry) == 3 and all(isinstance(text, str) for text in entry[:2]):
            reasons[entry[0]] = entry[1]
            if entry[2] is not True:
                lost.append(entry[0])
    return reasons, lost
