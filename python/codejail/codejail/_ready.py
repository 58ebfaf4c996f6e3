"""Jails that are ready ahead of demand: sandboxes of the same policy that wait, with Python started in them."""

from __future__ import annotations

import os
import threading
import typing

from wardian._options import Options
from wardian._ready import Ready
from wardian._run import Job
from wardian.report import Report

from . import _json_safe

#: Each set of limits has sandboxes of its own; who has more sets than this has the rest run cold.
_MOST_SETS = 4
#: How ``jail_code`` starts Python.
_FLAGS = ("-E", "-B")
#: What it starts warm: other programs would see their name in another form.
_PROGRAM = "jailed_code"

_Key = typing.Tuple[str, str, int]
_sets: typing.Dict[_Key, Ready] = {}
_lock = threading.Lock()


class Started(typing.NamedTuple):
    """A report, and the process that all ready jails belong to."""

    report: Report
    pid: int


def run(
    cmd: typing.Sequence[str],
    stdin: bytes,
    files: typing.Mapping[str, bytes],
    policy: typing.Mapping[str, typing.Any],
    ready: int,
    result_size: typing.Optional[int],
) -> typing.Optional[Started]:
    """Runs the Python code that is one of ``files`` warm; None for what only a cold run can be."""
    if tuple(cmd[1:4]) != (*_FLAGS, _PROGRAM) or _PROGRAM not in files:
        return None
    kept = _kept(os.path.abspath(cmd[0]), policy, ready)
    if kept is None:
        return None
    job = Job({}, entry=_PROGRAM, args=cmd[4:], stdin=stdin, files=files, result_size=result_size)
    report = kept.run(job)
    return None if report is None else Started(report, kept.start().pid)


def _kept(python: str, policy: typing.Mapping[str, typing.Any], ready: int) -> typing.Optional[Ready]:
    key = (python, repr(policy), ready)
    with _lock:
        if key not in _sets and len(_sets) < _MOST_SETS:
            variables = {"PYTHONDONTWRITEBYTECODE": "1", **policy["environment"]["set"]}
            options: Options = {"python": python, "policy": {**policy, "environment": {"set": variables}}}
            _sets[key] = Ready(options, _preload(), ready)
        return _sets.get(key)


def _preload() -> typing.List[str]:
    """What ``safe_exec`` has run in a jail, where it is a file."""
    path = _json_safe.__file__
    return [path] if os.path.isfile(path) else []


def contents_of(paths: typing.Mapping[str, str]) -> typing.Optional[typing.Dict[str, bytes]]:
    """What files contain, by name; None where there are other than plain files."""
    files: typing.Dict[str, bytes] = {}
    for name, path in paths.items():
        if os.path.islink(path) or not os.path.isfile(path):
            return None
        try:
            with open(path, "rb") as file:
                files[name] = file.read()
        except OSError:
            return None
    return files
