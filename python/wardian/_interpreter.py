"""Which Python runs inside where nobody says: the caller's own."""

from __future__ import annotations

import os
import sys
import typing

from ._options import Options, named

#: What names an interpreter; either one says it all.
NAMES = ("python", "venv")


def chosen(options: Options) -> Options:
    """The options, with the interpreter of this process where they name none."""
    if any(options.get(name) is not None for name in NAMES):
        return options
    own = typing.cast(Options, _own())
    return {**options, **own}


def laid_over(
    options: typing.Mapping[str, object], own: typing.Mapping[str, object]
) -> typing.Dict[str, typing.Any]:
    """Options of a sandbox, and of one of its runs over them: one interpreter takes the place of the other."""
    own = named(typing.cast(Options, own))
    renamed = any(own.get(name) is not None for name in NAMES)
    kept = {name: value for name, value in options.items() if not (renamed and name in NAMES)}
    return {**kept, **own}


def _own() -> typing.Dict[str, str]:
    """Names the interpreter of this process; empty where it is none that can be started once more."""
    if sys.implementation.name != "cpython":
        return {}
    if sys.prefix != sys.base_prefix and os.path.isfile(os.path.join(sys.prefix, "pyvenv.cfg")):
        return {"venv": sys.prefix}
    # Where Python is part of another program (uWSGI, a frozen application), that program is what this names.
    executable = sys.executable or ""
    if os.path.basename(executable).startswith("python") and os.path.isfile(executable):
        return {"python": executable}
    return {}
