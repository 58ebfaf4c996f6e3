"""``%%wardian`` in a notebook: ``%load_ext wardian`` once, then cells that run contained.

::

    %%wardian --memory 256M --wall 5 --collect *.png
    import matplotlib.pyplot as plt
    plt.plot([1, 2, 3]); plt.savefig("plot.png")
"""

from __future__ import annotations

import shlex
import typing

from ._options import NAMES
from ._run import run
from .errors import UsageError
from .report import Report


#: Options that may be there several times, and their arguments of ``run``.
_LISTS = {"collect": "collect", "file": "files", "mount": "mounts", "require": "require"}


def parse(line: str) -> typing.Dict[str, typing.Any]:
    """The options of a cell's first line: arguments of :func:`wardian.run`, with a value each."""
    options: typing.Dict[str, typing.Any] = {}
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"%%wardian: {error}") from None
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise UsageError(f"%%wardian: {word!r} is no option", "write --memory 256M")
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        if not equals:
            if not words:
                raise UsageError(f"%%wardian: --{name} has no value")
            value = words.pop(0)
        if name in _LISTS:
            options.setdefault(_LISTS[name], []).append(value)
        elif name == "env":
            variable, _, content = value.partition("=")
            options.setdefault("env", {})[variable] = content
        elif name in ("processes", "open_files"):
            options[name] = int(value) if value.isdigit() else value
        elif name in NAMES:
            options[name] = value
        else:
            raise UsageError(f"%%wardian: there is no option --{name}")
    return options


def cell(line: str, body: str) -> Report:
    """Runs a cell; its report shows verdict, output, images and usage."""
    return run(body, **parse(line))


def load_ipython_extension(shell: typing.Any) -> None:
    """For ``%load_ext wardian``."""
    shell.register_magic_function(cell, "cell", "wardian")
