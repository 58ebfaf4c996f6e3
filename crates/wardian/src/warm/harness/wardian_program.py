# The beginning of a program: everything as it would be at the interpreter's start.
import _io as io
import sys

IGNORE_COOKIE = 0x800  # PyCF_IGNORE_COOKIE, as for the code of `-c`


def new_main():
    """A `__main__` that the garbage collector does not take for frozen: it is emptied at the end."""
    old = sys.modules["__main__"].__dict__
    new = type(sys)("__main__")
    new.__dict__.clear()
    new.__dict__.update(old)
    if "__annotations__" in old:
        new.__dict__["__annotations__"] = {}
    sys.modules["__main__"] = new


def begin(os, native, partial, mode, target, args, environment):
    """Answers what runs the program."""
    for variable in environment:
        name, _, value = os.fsdecode(variable).partition("=")
        os.environ[name] = value
    text = os.fsdecode(target)
    start, path, shown = {
        b"file": ([text], None, text),
        b"code": (["-c", text], "", "-c"),
        b"module": (["-m", text], None, "-m"),
        b"stdin": (["-"], "", "-"),
    }[mode]
    args = [os.fsdecode(arg) for arg in args]
    sys.argv[:] = [shown, *args]
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[:] = [sys.orig_argv[0], *start, *args]
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        if mode == b"file":
            path = os.path.dirname(os.path.realpath(text))
        elif mode == b"module":
            path = os.getcwd()
        sys.path[0] = path
    if mode == b"file":
        return partial(native.run_file, native.open(target), target, 1)
    if mode == b"stdin":
        return partial(native.run_file, native.input(), b"<stdin>", 0)
    if mode == b"module":
        return module(text)
    if sys.version_info >= (3, 13):
        import linecache

        lines = (text + "\n").splitlines(True)
        linecache.cache["<string>"] = (len(text), None, lines, "<string>")
    cookie = IGNORE_COOKIE if sys.version_info >= (3, 10) else 0
    return partial(native.run_code, target + b"\n", cookie, sys.version_info.minor)


def rehearse(os, native, partial):
    """Begins a program of nothing, and leaves everything as it was."""
    lists = [found for found in (sys.argv, getattr(sys, "orig_argv", None), sys.path) if found is not None]
    before = [found[:] for found in lists]
    begin(os, native, partial, b"file", b"/dev/null", [], [])()
    for found, old in zip(lists, before):
        found[:] = old
    native.ended_well()


def module(name):
    import runpy

    find = runpy._get_module_details

    def once(_, *error):
        runpy._get_module_details = find
        return find(name, *error)

    runpy._get_module_details = once
    return runpy._run_module_as_main


def unbuffer(os):
    """In place: a preloaded module may hold them. Interpreters that the program starts are told by the variable."""
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        raw = io.open(number, "wb", buffering=0, closefd=False)
        raw.name = f"<{name}>"
        stream.__init__(raw, stream.encoding, stream.errors, "\n", False, True)
        stream.mode = "w"
