"""Runs inside, before the program: trusted by nobody. See ``wardian.guard``."""

import builtins
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import typing


def _main() -> None:
    with open(".wardian-input", "rb") as source:
        order = json.loads(source.read().decode("ascii"))
    try:
        os.unlink(".wardian-input")
    except OSError:
        pass
    sys.argv = ["main.py"] + order["args"]
    code = order["code"]
    names = {"__name__": "__main__", "__builtins__": _builtins(order["modules"], order["removed"])}
    try:
        exec(compile(code, "main.py", "exec"), names)
    except SystemExit:
        raise
    except BaseException as error:
        _tell(error, code)


def _builtins(modules: "typing.Any", removed: "typing.Any") -> "typing.Dict[str, typing.Any]":
    own = dict(vars(builtins))
    for name in removed:
        own[name] = _refusing(name)
    if modules is not None:
        own["__import__"] = _importer(modules)
    return own


def _refusing(name: str) -> "typing.Any":
    def refuse(*_: object, **__: object) -> None:
        raise NameError("'%s' is not allowed here" % name)

    refuse.__name__ = refuse.__qualname__ = name
    return refuse


def _importer(modules: "typing.List[str]") -> "typing.Any":
    real = builtins.__import__
    allowed = set(modules)

    def importer(name: str, globals: "typing.Any" = None, locals: "typing.Any" = None, fromlist: "typing.Any" = (), level: int = 0) -> "typing.Any":
        # What an allowed module imports for itself comes with builtins of its own, and does not ask here.
        if level == 0 and name.partition(".")[0] not in allowed:
            raise ImportError("module '%s' is not allowed here" % name, name=name)
        return real(name, globals, locals, fromlist, level)

    return importer


def _tell(error: BaseException, code: str) -> None:
    import linecache
    import traceback

    linecache.cache["main.py"] = (len(code), None, code.splitlines(True), "main.py")
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != "main.py":
        trace = trace.tb_next
    sys.stdout.flush()
    for line in _own_lines(traceback.format_exception(type(error), error, trace)):
        sys.stderr.write(line)
    sys.exit(1)


def _own_lines(lines: "typing.List[str]") -> "typing.List[str]":
    """Without the frames of the guard, which come last where it refuses."""
    return [line for line in lines if not line.startswith('  File "<string>"')]


_main()
