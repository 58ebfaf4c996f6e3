"""Execute code as ``exec`` does, in a jail: JSON-safe globals go in and come back."""

from __future__ import annotations

import functools
import json
import logging
import os.path
import pkgutil
import shutil
import sys
import typing

from codejail import _json_safe, jail_code
from codejail.util import change_directory, temp_directory

log = logging.getLogger("codejail")

#: Logs code, globals and results, at DEBUG.
LOG_ALL_CODE = False

#: Runs everything in this very process, without any containment: for debugging on one's own machine only.
ALWAYS_BE_UNSAFE = False

#: Bytes of the globals that come back.
MOST_RESULT = 64 << 20
_ENDED_EARLY = "the code ended before its globals could be read back"
_TOO_LARGE = f"the globals that came back are larger than {MOST_RESULT} bytes"


class SafeExecException(Exception):
    """The code in the jail failed; the message has its output, with the traceback."""


def safe_exec(
    code: str,
    globals_dict: typing.Dict[str, typing.Any],
    files: typing.Optional[typing.Iterable[str]] = None,
    python_path: typing.Optional[typing.Iterable[str]] = None,
    limit_overrides_context: typing.Any = None,
    slug: typing.Optional[str] = None,
    extra_files: typing.Optional[typing.Iterable[typing.Tuple[str, bytes]]] = None,
) -> None:
    """Executes ``code`` with ``globals_dict``, and updates that with the JSON-safe globals afterwards.

    ``files`` are copied beside the code; ``python_path`` names directories and zip files that are copied too (unless
    one of ``extra_files`` has that name) and can be imported from. Raises :class:`SafeExecException` if the code
    raises, exits, or is ended; nothing is updated then.
    """
    if ALWAYS_BE_UNSAFE:
        not_safe_exec(
            code,
            globals_dict,
            files=files,
            python_path=python_path,
            limit_overrides_context=limit_overrides_context,
            slug=slug,
            extra_files=extra_files,
        )
        return
    if not jail_code.is_configured("python"):
        raise RuntimeError("safe_exec has not been configured for Python")
    if isinstance(code, bytes):
        raise TypeError("code is bytes, not str")
    if not isinstance(globals_dict, typing.MutableMapping):
        raise TypeError(f"globals_dict is {type(globals_dict).__name__}, not dict")
    files, extra_files = list(files or ()), list(extra_files or ())
    extra_names = {name for name, _ in extra_files}
    bases = []
    for path in python_path or ():
        base = os.path.basename(path)
        bases.append(base)
        if base not in extra_names:
            files.append(path)
    jailed_code = _jailed_code()
    stdin = json.dumps({"code": code, "globals_dict": json_safe(globals_dict), "python_path": bases})
    if LOG_ALL_CODE:
        log.debug("Jailed code: %s", jailed_code)
        log.debug("Exec: %s", code)
        log.debug("Stdin: %s", stdin)
    jailed = jail_code.run(
        "python", jailed_code, files, extra_files, None, stdin, limit_overrides_context, slug, MOST_RESULT
    )
    if LOG_ALL_CODE:
        log.debug("Status: %s", jailed.status)
        log.debug("Stdout: %s", jailed.stdout)
        log.debug("Stderr: %s", jailed.stderr)
    stderr = jailed.stderr
    if jailed.status == 0 and not isinstance(jailed.result, str):
        stderr = stderr + (_TOO_LARGE if jailed.missing == "too_large" else _ENDED_EARLY).encode()
    elif jailed.status == 0:
        try:
            # Text within the result: NaN and Infinity, which JSON does not have, come through.
            globals_dict.update(json.loads(jailed.result))
            return
        except (ValueError, TypeError, RecursionError):
            stderr = stderr + b"the globals that came back are no JSON object"
    raise SafeExecException(
        f"Couldn't execute jailed code: stdout: {jailed.stdout!r}, "
        f"stderr: {stderr!r} with status code: {jailed.status}"
    )


@functools.lru_cache(maxsize=None)
def _jailed_code() -> str:
    """What runs in the jail."""
    helper, program = ((pkgutil.get_data(__package__, name) or b"").decode() for name in ("_json_safe.py", "_program.py"))
    return f"JSON_SAFE = {helper!r}\n{program}"


def json_safe(d: typing.Any) -> typing.Any:
    """The part of a dictionary that goes through JSON."""
    return _json_safe.json_safe(d)  # type: ignore[no-untyped-call]


def not_safe_exec(
    code: str,
    globals_dict: typing.Dict[str, typing.Any],
    files: typing.Optional[typing.Iterable[str]] = None,
    python_path: typing.Optional[typing.Iterable[str]] = None,
    limit_overrides_context: typing.Any = None,
    slug: typing.Optional[str] = None,
    extra_files: typing.Optional[typing.Iterable[typing.Tuple[str, bytes]]] = None,
) -> None:
    """As :func:`safe_exec`, in this process and without any containment. Not thread-safe."""
    log.warning("DANGER: Executing code with `not_safe_exec` for %s", slug)
    g_dict = json_safe(globals_dict)
    with temp_directory() as tmpdir, change_directory(tmpdir):
        for filename in files or ():
            shutil.copyfile(filename, os.path.join(tmpdir, os.path.basename(filename)))
        for name, contents in extra_files or ():
            with open(os.path.join(tmpdir, jail_code.check_name(name)), "wb") as extra:
                extra.write(contents)
        sys.path.extend(python_path or ())
        try:
            exec(code, g_dict)
        except Exception as error:
            raise SafeExecException(f"{type(error).__name__}: {error}") from None
    globals_dict.update(json_safe(g_dict))
