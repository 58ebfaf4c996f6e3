"""A courtesy layer: an import allow-list and restricted builtins, with messages that a learner understands.

It is **no boundary**: anybody who wants to gets around it (through ``().__class__.__base__.__subclasses__()``, to
begin with), and gains nothing: behind it is the same sandbox as always, which is the boundary.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import tokenize
import typing

from ._options import Options, strings
from ._run import Job
from .errors import UsageError
from .report import Report

if typing.TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["ALLOWED_MODULES", "POLICY", "REMOVED_BUILTINS", "Guard", "exec_str", "run"]

#: The policy by whose name :func:`wardian.run` puts the usual guard in front of a program; else it is ``python``.
POLICY = "python_guard"

#: What a lesson needs.
ALLOWED_MODULES = (
    "__future__", "abc", "array", "bisect", "calendar", "cmath", "collections", "copy", "dataclasses", "datetime",
    "decimal", "doctest", "enum", "fractions", "functools", "hashlib", "heapq", "io", "itertools", "json", "locale",
    "math", "operator", "pickle", "pprint", "random", "re", "statistics", "string", "struct", "textwrap", "time",
    "types", "typing", "unittest",
)  # fmt: skip
#: What a lesson has no use for.
REMOVED_BUILTINS = ("breakpoint", "compile", "eval", "exec", "exit", "help", "open", "quit")


@dataclasses.dataclass(frozen=True)
class Guard:
    """What a guarded program may name."""

    #: Modules it may import, with everything below them; None for all.
    modules: typing.Optional[typing.Sequence[str]] = ALLOWED_MODULES
    #: Builtins it does not find.
    removed: typing.Sequence[str] = REMOVED_BUILTINS


def run(
    code: str,
    guard: Guard = Guard(),
    *,
    stdin: typing.Union[None, str, bytes] = None,
    args: typing.Sequence[str] = (),
    **options: Unpack[Options],
) -> Report:
    """As :func:`wardian.run`, with a :class:`Guard` in front of the program."""
    return guarded(Job(options, code, args=args, stdin=stdin), guard).run()


def guarded(job: Job, guard: Guard = Guard()) -> Job:
    """The same job with a guard in front of its program."""
    if job.module is not None or job.entry is not None or (job.code is None) == (job.path is None):
        raise UsageError("a guard stands before code or path", "give one of them, and neither module nor entry")
    code = _source(job.path) if job.path is not None else job.code
    if not isinstance(code, str):
        raise UsageError(f"code is {type(code).__name__}, not str")
    order = {
        "code": code,
        "modules": None if guard.modules is None else strings("modules", guard.modules),
        "removed": strings("removed", guard.removed),
        "args": list(job.args),
    }
    private = (".wardian-input", json.dumps(order).encode("ascii"))
    options = typing.cast(Options, {**job.options, "policy": "python"}) if is_guarded(job) else job.options
    return dataclasses.replace(job, options=options, code=_prelude(), path=None, args=(), private=private)


def is_guarded(job: Job) -> bool:
    """Whether a job's policy asks for a guard."""
    return job.options.get("policy") == POLICY


def _source(path: typing.Union[str, os.PathLike[str]]) -> str:
    """The text of a program, in the encoding that it names."""
    try:
        with tokenize.open(path) as source:
            return source.read()
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise UsageError(f"path: {os.fspath(path)!r} cannot be read: {error}") from error


def exec_str(script: str, **options: typing.Any) -> str:
    """One line of JSON, ``{"code", "user_stdout", "user_stderr"}``, whatever the program does: what visualisers and
    ``simple_pysandbox`` callers read. A limit that ended the program is told at the end of ``user_stderr``."""
    report = run(script, **options)
    errors = str(report.stderr)
    if report.verdict not in ("ok", "nonzero_exit"):
        errors += ("\n" if errors and not errors.endswith("\n") else "") + report.message + "\n"
    return json.dumps({"code": script, "user_stdout": str(report.stdout), "user_stderr": errors})


@functools.lru_cache(maxsize=None)
def _prelude() -> str:
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "_guard.py"), encoding="utf-8") as source:
        return source.read()
