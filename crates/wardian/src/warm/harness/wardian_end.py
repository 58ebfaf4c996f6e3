# The end of a program.
#
# At the end the interpreter takes every module apart, and so writes to most of the memory that it shares with the zygote:
# that would be most of what a short program costs. Nobody needs that of the zygote's own modules.
import _io as io
import sys

# Before, what a finaliser prints at the end would not be written out.
KEEPS_MODULES = sys.version_info >= (3, 11)
# Those in memory need no closing; the others have no more to do once they are closed.
MEMORY = io.BytesIO, io.StringIO
FILES = {io.FileIO, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper, *MEMORY}


def is_done(thing):
    """Whether it is a file whose finaliser does nothing more."""
    return type(thing) in FILES and (type(thing) in MEMORY or thing.closed)


class End:
    def __init__(self, os, native):
        """Before anything is preloaded: the first callback registered is the last one called."""
        had = set(sys.modules)
        import _weakref
        import atexit
        import gc

        for name in {"atexit", "gc", "_weakref"} - had:
            del sys.modules[name]
        self.os, self.native, self.gc, self.ref = os, native, gc, _weakref.ref
        self.kept = {}
        # The program's own, as it begins.
        self.streams = None
        atexit.register(self.leave)

    def keep_modules(self):
        """Those that there are now; the program's go as always."""
        others = "sys", "builtins", "__main__"
        self.kept = {name: module for name, module in sys.modules.items() if name not in others}
        self.native.hold(self.kept)

    def leave(self, modules=sys.modules):
        if self.may_leave_at_once():
            self.native.flush()
            self.os._exit(0)
        # What is written from here on goes out when the streams go.
        self.streams = None
        for name, module in self.kept.items():
            if modules.get(name) is module:
                del modules[name]

    def may_leave_at_once(self):
        """Whether nothing is left to happen: the program has ended well, its threads and callbacks are done, its
        output is out, nothing that it made has a finaliser, and no C library but ours was loaded by hand."""
        if not self.native.ended_well():
            return False
        out, err = self.streams
        if sys.stdout is not out or sys.stderr is not err:
            return False
        libraries = sys.modules.get("ctypes")
        if libraries is not self.kept.get("ctypes"):
            return False
        try:
            out.flush()
            err.flush()
        except BaseException:
            # The interpreter tries again, and complains.
            return False
        made = self.gc.get_objects()
        kinds = {type(thing) for thing in made}
        kinds.update(thing for thing in made if isinstance(thing, type))
        final = {kind for kind in kinds if hasattr(kind, "__del__")}
        if any(type(thing) in final and not is_done(thing) for thing in made) or final - FILES:
            return False
        if libraries and any(issubclass(kind, libraries.CDLL) for kind in kinds):
            return False
        return not any(type(thing) is self.ref and thing.__callback__ for thing in made)
