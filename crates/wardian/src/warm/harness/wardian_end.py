# The end of a program.
#
# At the end the interpreter takes every module apart, and so writes to most of the memory that it shares with the zygote:
# that would be most of what a short program costs. Nobody needs that of the zygote's own modules.
#
# A program may put anything in the place of what it can reach: what is used at the end is taken at the beginning, and
# types are asked past whatever their own types would answer.
import _io as io
import sys
from builtins import BaseException, all, any, bool, frozenset, id, issubclass, len, list, str, type

# Before, what a finaliser prints at the end would not be written out.
KEEPS_MODULES = sys.version_info >= (3, 11)
# So many objects are looked at, and no more: a program pays for no longer look than it had a run.
MOST_OBJECTS = 20_000
# Those in memory need no closing; the others have no more to do once they are closed.
MEMORY = frozenset([id(io.BytesIO), id(io.StringIO)])
OPEN = io.FileIO, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper
FILES = frozenset([*MEMORY, *(id(kind) for kind in OPEN)])
# Modules of C, by their first name, whose objects do nothing that shows when they go. The garbage collector does not
# know all of those.
QUIET = frozenset(
    """
    _abc _ast _asyncio _bisect _blake2 _bz2 _codecs _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw
    _collections _contextvars _csv _ctypes _datetime _decimal _elementtree _functools _hashlib _heapq _hmac _imp _io _json
    _locale _lzma _md5 _multibytecodec _multiprocessing _opcode _operator _pickle _posixshmem _posixsubprocess _queue
    _random _sha1 _sha2 _sha256 _sha3 _sha512 _signal _socket _sre _ssl _stat _statistics _string _struct _suggestions
    _symtable _sysconfig _thread _tokenize _types _typing _uuid _warnings _weakref _zoneinfo array atexit audioop binascii
    builtins cmath errno fcntl gc grp itertools marshal math mmap posix pwd pyexpat resource select sys termios time
    unicodedata zlib
    PIL contourpy kiwisolver matplotlib numpy pandas scipy
    """.split()
)
BUILTIN = frozenset(sys.builtin_module_names)

bases = type.__dict__["__mro__"].__get__
namespace = type.__dict__["__dict__"].__get__
contents = type(sys).__dict__["__dict__"].__get__


def has_finaliser(kind):
    return any(["__del__" in namespace(base) for base in bases(kind)])


def is_done(thing):
    """Whether it is a file whose finaliser does nothing more."""
    return id(type(thing)) in MEMORY or thing.closed


def is_quiet(name, module):
    """Whether nothing that is made of a module does anything when it goes, but what Python code of its own does."""
    if type(name) is not str:
        return False
    # `typing.io` is a class; nothing that is no module is one of C.
    file = contents(module).get("__file__") if issubclass(type(module), type(sys)) else None
    is_native = name in BUILTIN or (type(file) is str and file.endswith(".so"))
    return not is_native or name.partition(".")[0] in QUIET


class End:
    def __init__(self, os, native):
        """Before anything is preloaded: the first callback registered is the last one called."""
        had = set(sys.modules)
        import _weakref
        import atexit
        import gc

        for name in {"atexit", "gc", "_weakref"} - had:
            del sys.modules[name]
        self.native, self.exit, self.ref = native, os._exit, _weakref.ref
        self.proxies = frozenset([id(_weakref.ProxyType), id(_weakref.CallableProxyType)])
        self.callback = _weakref.ref.__dict__["__callback__"].__get__
        self.get_objects, self.get_count, self.get_stats = gc.get_objects, gc.get_count, gc.get_stats
        self.generation = gc.get_threshold()[0]
        self.modules, self.kept, self.names, self.is_known = sys.modules, {}, [], False
        # The program's own, as it begins.
        self.streams = self.mark = None
        traces = sys.gettrace, sys.settrace, sys.getprofile, sys.setprofile
        atexit.register(native.quietly, *traces, self.leave)

    def keep_modules(self):
        """Those that there are now; the program's go as always."""
        others = "sys", "builtins", "__main__"
        self.kept = {name: module for name, module in self.modules.items() if name not in others}
        self.native.hold(self.kept)
        self.names = list(self.modules)
        self.is_known = all(is_quiet(name, module) for name, module in self.kept.items())

    def rehearse(self):
        """Touches what the end touches, ahead of time."""
        self.begin()
        self.nothing_is_left()
        self.streams = self.mark = None

    def begin(self):
        self.streams = sys.stdout, sys.stderr
        # What the program may take out of the collector's sight, this goes with.
        self.mark = []
        self.collections = self.get_stats()[0]["collections"]

    def leave(self):
        try:
            at_once = self.native.ended_well() and self.nothing_is_left()
        except BaseException:
            # The interpreter tries again, and complains.
            at_once = False
        if at_once:
            self.native.flush()
            self.exit(0)
        # Modules that stay may hold the streams, which finalisers still write to.
        for stream in self.streams or ():
            self.native.flush_last(stream)
        self.streams = None
        for name, module in self.kept.items():
            if self.modules.get(name) is module:
                del self.modules[name]

    def nothing_is_left(self):
        """Whether nothing is left to happen: the program has ended well, its threads and callbacks are done, its
        output is out, nothing that it made has a finaliser, and no C library but ours was loaded by hand."""
        out, err = self.streams
        if sys.stdout is not out or sys.stderr is not err or not self.is_small() or not self.knows_the_modules():
            return False
        out.flush()
        err.flush()
        made = self.get_objects()
        kinds = {id(type(thing)): type(thing) for thing in made}
        kinds.update([(id(thing), thing) for thing in made if issubclass(type(thing), type)])
        final = frozenset([number for number, kind in kinds.items() if has_finaliser(kind)])
        # What a proxy calls in the end, it does not say.
        if final - FILES or self.proxies & kinds.keys() or self.loaded_a_library(kinds.values()):
            return False
        if not any([thing is self.mark for thing in made]):
            return False
        if any([id(type(thing)) in final and not is_done(thing) for thing in made]):
            return False
        return not any([issubclass(type(thing), self.ref) and self.callback(thing) for thing in made])

    def is_small(self):
        collections = self.get_stats()[0]["collections"] - self.collections
        return self.get_count()[0] + collections * self.generation < MOST_OBJECTS

    def knows_the_modules(self):
        names, count = list(self.modules), len(self.names)
        if not self.is_known or names[:count] != self.names:
            return False
        return not any([not is_quiet(name, self.modules[name]) for name in names[count:]])

    def loaded_a_library(self, kinds):
        libraries = self.modules.get("ctypes")
        if libraries is not self.kept.get("ctypes"):
            return True
        return bool(libraries) and any([issubclass(kind, libraries.CDLL) for kind in kinds])
