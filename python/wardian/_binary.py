"""Where the ``wardian`` program is: beside the package, where the wheel put it, or in ``PATH``."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import threading
import typing

from .errors import BinaryError

#: Names another binary; for development and tests.
VARIABLE = "WARDIAN_BIN"

#: Seconds in which it says its version, on the busiest machine.
_PATIENCE = 30.0

_lock = threading.Lock()
_checked: typing.Dict[str, str] = {}


def find() -> str:
    """The program's path.

    Raises :class:`BinaryError` if there is none.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if os.access(named, os.X_OK):
            return os.path.abspath(named)
        raise BinaryError(f"{VARIABLE} names {named!r}, which is no program", f"unset {VARIABLE}, or name one")
    for candidate in _candidates():
        if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    found = shutil.which("wardian")
    if found:
        return os.path.abspath(found)
    raise BinaryError(
        "there is no `wardian` program",
        f"reinstall the package for your platform, put `wardian` in PATH, or set {VARIABLE}",
    )


def _candidates() -> typing.Iterator[str]:
    yield os.path.join(sysconfig.get_path("scripts"), "wardian")
    if sys.prefix != sys.base_prefix or os.name == "posix":
        user = sysconfig.get_preferred_scheme("user") if sys.version_info >= (3, 10) else "posix_user"
        yield os.path.join(sysconfig.get_path("scripts", scheme=user), "wardian")
    # pip install --target DIR
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    yield os.path.join(here, "bin", "wardian")


def checked(version: str) -> str:
    """The program's path, once it has said that it is of this version.

    Raises :class:`BinaryError` if it is of another, or says nothing.
    """
    path = find()
    try:
        key = f"{path}:{os.stat(path).st_mtime_ns}"
    except OSError as error:
        raise BinaryError(f"cannot use {path!r}: {error.strerror}") from error
    with _lock:
        if _checked.get(key) == version:
            return path
    found = _version(path)
    if found != version:
        raise BinaryError(
            f"{path!r} is wardian {found or 'of no known version'}, this package is for {version}",
            "install both from the same wheel",
        )
    with _lock:
        _checked[key] = version
    return path


def _version(path: str) -> str:
    from ._process import Process

    process = Process([path, "--version"])
    text = process.read_to_end(_PATIENCE).decode("utf-8", "replace").split()
    process.end()
    return text[1] if len(text) == 2 and text[0] == "wardian" else ""
