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
        self.os = os
        self.native = native
        # The program's own, as it begins.
        self.streams = None

    def keep_modules(self, atexit, gc, ref):
        """The first callback registered is the last one called; the program's modules go as always."""
        kept = {name: module for name, module in sys.modules.items() if name not in ("sys", "builtins", "__main__")}
        self.native.hold(kept)

        def leave(modules=sys.modules):
            if self.may_leave_at_once(kept, gc, ref):
                self.native.flush()
                self.os._exit(0)
            # What is written from here on goes out when the streams go.
            self.streams = None
            for name, module in kept.items():
                if modules.get(name) is module:
                    del modules[name]

        atexit.register(leave)

    def may_leave_at_once(self, kept, gc, ref):
        """Whether nothing is left to happen: the program has ended well, its threads and callbacks are done, its
        output is out, nothing that it made has a finaliser, and no C library but ours was loaded by hand."""
        if not self.native.ended_well():
            return False
        out, err = self.streams
        if sys.stdout is not out or sys.stderr is not err:
            return False
        libraries = sys.modules.get("ctypes")
        if libraries is not kept.get("ctypes"):
            return False
        try:
            out.flush()
            err.flush()
        except BaseException:
            # The interpreter tries again, and complains.
            return False
        made = gc.get_objects()
        kinds = {type(thing) for thing in made}
        kinds.update(thing for thing in made if isinstance(thing, type))
        final = {kind for kind in kinds if hasattr(kind, "__del__")}
        if any(type(thing) in final and not is_done(thing) for thing in made) or final - FILES:
            return False
        if libraries and any(issubclass(kind, libraries.CDLL) for kind in kinds):
            return False
        return not any(type(thing) is ref and thing.__callback__ for thing in made)
