# The harness of a zygote; Python imports it as `sitecustomize`, before any program.
#
# Python is started as `python -m wardian`, and asks the module `runpy` for the function that runs it. A stand-in
# answers: it loads what is to be preloaded, forks a child for each order, and returns in the child, with a C function
# that runs the program. So nothing of the harness is below the program on the stack: C calls C calls the program, and
# the interpreter ends as it always does.
import _io as io
import sys

DIRECTORY = "/opt/wardian-start"
SOCKET = 3
RESULT = 3
# Where the native part keeps its descriptors: wardian-init's zygote.rs.
OWN = 100, 101
MOST_COPIED = 1 << 20
NOT_ONLY_READ = 0o10000003  # O_PATH and O_ACCMODE
MESSAGE_BYTES = 96
READY = (8).to_bytes(8, "little") + bytes(MESSAGE_BYTES - 8)
TWISTER_WORDS = 624
# Numbers of the interpreter's state to look through.
STATE = 48
IGNORE_COOKIE = 0x800  # PyCF_IGNORE_COOKIE, as for the code of `-c`
# Before, what a finaliser prints at the end would not be written out.
KEEPS_MODULES = sys.version_info >= (3, 11)
# Those in memory need no closing; the others have no more to do once they are closed.
MEMORY = io.BytesIO, io.StringIO
FILES = {io.FileIO, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper, *MEMORY}
REHEARSAL = """\
import sys
class Rehearsal:
    def __init__(self, n):
        self.n = n
    def write(self, text):
        self.n += len(text)
    def flush(self):
        pass
def rehearse(to):
    items = [i * i for i in range(50) if i % 3]
    words = {str(i): f"{i:>4} {i / 7:.3f}" for i in items}
    print("hello", *sorted(words.values()), sep=", ", file=to)
    try:
        raise ValueError(len(words))
    except ValueError as error:
        return error.args[0]
rehearse(Rehearsal(0))
"""


def rehearse_numpy():
    numpy = sys.modules["numpy"]
    square = numpy.arange(16.0).reshape(4, 4)
    (square * square + square[1:, :2].sum()).mean()
    str(numpy.array([1, 2, 3]))


REHEARSALS = {"numpy": rehearse_numpy}


def strings(frame):
    """A frame is a count, then as many byte strings, each after its length."""
    found, at = [], 4
    for _ in range(int.from_bytes(frame[:4], "little")):
        end = at + 4 + int.from_bytes(frame[at : at + 4], "little")
        found.append(frame[at + 4 : end])
        at = end
    return found


def is_done(thing):
    """Whether it is a file whose finaliser does nothing more."""
    return type(thing) in FILES and (type(thing) in MEMORY or thing.closed)


class Harness:
    def __init__(self, os):
        self.os = os
        self.rehearsals = []
        self.kept_open = []

    def refuse(self, reason):
        self.os.write(2, reason.encode("utf-8", "backslashreplace"))
        self.os._exit(3)

    def vanish(self):
        """Takes every trace of the harness's own import away, and does what `site` would have done instead."""
        paths = self.os.environ["PYTHONPATH"].split(":")[1:]
        if paths:
            self.os.environ["PYTHONPATH"] = ":".join(paths)
        else:
            del self.os.environ["PYTHONPATH"]
        sys.path[:] = [path for path in sys.path if path != DIRECTORY]
        sys.path_importer_cache.pop(DIRECTORY, None)
        for name in ("runpy", "sitecustomize"):
            sys.modules.pop(name, None)
        try:
            import sitecustomize
        except ImportError as error:
            if error.name != "sitecustomize":
                raise

    def with_low_numbers_taken(self, function, *args):
        """What it opens and keeps gets a descriptor that no sandbox uses. libffi, of `ctypes`, may keep its own file open,
        to make callbacks of."""
        os, taken = self.os, []
        try:
            while not taken or taken[-1] < OWN[-1]:
                taken.append(os.dup(2))
        except OSError:
            # So many are not allowed.
            while taken:
                os.close(taken.pop())
        function(*args)
        for number in taken:
            os.close(number)

    def load_native(self):
        import _functools
        import _imp

        external = sys.modules["_frozen_importlib_external"]
        path = DIRECTORY + "/wardian_zygote.so"
        try:
            self.native = _imp.create_dynamic(external.spec_from_file_location("wardian_zygote", path))
        except (ImportError, AttributeError) as error:
            self.refuse(f"this Python cannot load an extension module, which warm starts need: {error}")
        sys.modules.pop("wardian_zygote", None)
        self.partial = _functools.partial

    def find_depth(self):
        """Until Python 3.11 calls from C to C count as recursion, and a program begins two deeper than it would cold.
        Where the interpreter counts, and in which direction, shows by trying."""
        self.depth = None
        if sys.version_info >= (3, 12):
            return

        def deeper(n):
            return deeper(n - 1) if n else [self.native.state_at(at) for at in range(STATE)]

        base, five, nine = deeper(0), deeper(5), deeper(9)
        both = zip(base, five, nine)
        found = [(at, b - a) for at, (a, b, c) in enumerate(both) if abs(b - a) == 5 and (c - a) * 5 == (b - a) * 9]
        if len(found) == 1:
            at, change = found[0]
            self.depth = at, change // 5

    def level(self):
        """The two calls that lead to the program count for nothing."""
        if self.depth:
            at, step = self.depth
            self.native.add_to_state(at, -2 * step)

    def preload(self, names):
        for name in names:
            try:
                self.load_file(name) if name.endswith(".py") else __import__(name)
                self.note_rehearsal(name)
            except BaseException as error:
                import traceback

                last = traceback.format_exception_only(type(error), error)[-1].strip()
                self.refuse(f"cannot preload `{name}`: {last}")

    def load_file(self, name):
        """A file of the host, as the module of its name; it lies beside the harness."""
        find = sys.modules["_frozen_importlib_external"].spec_from_file_location
        sys.modules["_frozen_importlib"]._load(find(name[:-3], f"{DIRECTORY}/{name}"))

    def note_rehearsal(self, name):
        """A file may say what its programs will touch. The first times are here: failures are told, and Python rewrites
        code that has run some times."""
        if name.endswith(".py"):
            rehearsal = getattr(sys.modules[name[:-3]], "wardian_rehearse", None)
        else:
            rehearsal = REHEARSALS.get(name)
        if rehearsal:
            for _ in range(20):
                rehearsal()
            self.rehearsals.append(rehearsal)

    def find_twister(self, names):
        """Where numpy's global generator keeps its words, and how many of them it has given out. Any words will do, and
        writing them costs a child a tenth of what a call of `seed` does."""
        self.twister = None
        if any(name.endswith(".py") for name in names):
            # It may draw numbers in a handler of the fork, and leave half of a pair.
            return
        try:
            random = sys.modules["numpy.random"]
            # Of normal numbers two are made at a time: none is kept for later.
            random.seed()
            generator = random.mtrand._rand._bit_generator
            ctypes = sys.modules["ctypes"]
            state, place = generator.state, generator.ctypes.state_address
        except (KeyError, AttributeError):
            return
        if state["bit_generator"] == "MT19937":
            words = (ctypes.c_char * (4 * TWISTER_WORDS)).from_address(place)
            position = ctypes.c_int.from_address(place + len(words))
            if words.raw == state["state"]["key"].tobytes() and position.value == state["state"]["pos"]:
                self.twister = words, position

    def check(self):
        """A child gets what the zygote has: it must be nothing that runs, and nothing that children would share."""
        os = self.os
        # The handlers of a fork are where libraries stop their threads (OpenBLAS).
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        if self.native.alone(0) != 0:
            self.refuse("a preloaded module runs threads, which no fork survives")
        for number in range(SOCKET, 1024):
            if number in OWN:
                continue
            try:
                status = os.fstat(number)
            except OSError:
                continue
            try:
                name = os.readlink(f"/proc/self/fd/{number}")
            except OSError:
                name = "unknown"
            try:
                has_own = self.can_be_opened_anew(number, status, name)
            except OSError:
                has_own = False
            if not has_own:
                self.refuse(f"a preloaded module keeps a descriptor open, which runs would share: {name}")
        shared = self.shared_mapping()
        if shared:
            self.refuse(f"a preloaded module maps memory that runs would share: {shared}")

    def shared_mapping(self):
        """One that a child could write to, if need be after `mprotect`: `sh` and `mw` of smaps' VmFlags."""
        mapping = ""
        try:
            with open("/proc/self/smaps") as lines:
                for line in lines:
                    words = line.split()
                    if not words[0].endswith(":"):
                        mapping = line.strip()
                    elif words[0] == "VmFlags:" and {"sh", "mw"} <= set(words):
                        return mapping
            return None
        except OSError:
            pass
        try:
            # A kernel without smaps does not say which could be written to: none is taken.
            with open("/proc/self/maps") as lines:
                return next((line.strip() for line in lines if line.split()[1].endswith("s")), None)
        except OSError:
            # There is no `/proc`; docs/threat-model.md says so.
            return None

    def can_be_opened_anew(self, number, status, name):
        """A file that is only read, or has no name any more: each child gets a descriptor of its own."""
        os = self.os
        if status.st_mode & 0o170000 != 0o100000 or number <= OWN[-1]:
            return False
        offset = os.lseek(number, 0, os.SEEK_CUR)
        if status.st_nlink == 0 and status.st_size <= MOST_COPIED and self.may_copy:
            anew = self.partial(self.copy, os.pread(number, status.st_size, 0))
        elif self.is_only_read(number, status, name):
            anew = self.partial(self.open_again, name, status)
        else:
            return False
        self.kept_open.append((number, offset, anew))
        return True

    def is_only_read(self, number, status, name):
        """Of a library or the interpreter: what others may change, or replace, is not taken."""
        os = self.os
        with open(f"/proc/self/fdinfo/{number}") as lines:
            flags = [int(line.split()[1], 8) for line in lines if line.startswith("flags:")]
        libraries = tuple(path + "/" for path in {"/usr", "/lib", "/lib64", sys.prefix, sys.base_prefix})
        return (
            os.path.samestat(os.stat(name), status)
            and name.startswith(libraries)
            and os.statvfs(name).f_flag & os.ST_RDONLY != 0
            and flags[0] & NOT_ONLY_READ == 0
        )

    def copy(self, content):
        file = self.os.memfd_create("copy")
        if self.os.write(file, content) != len(content):
            raise OSError("a short copy")
        return file

    def open_again(self, name, status):
        file = self.os.open(name, self.os.O_RDONLY | self.os.O_NONBLOCK | self.os.O_NOFOLLOW)
        if not self.os.path.samestat(self.os.fstat(file), status):
            raise OSError(f"{name} is another file now")
        return file

    def open_anew(self):
        """The sandbox has closed what the zygote had."""
        os = self.os
        try:
            for number, offset, anew in self.kept_open:
                file = anew()
                os.lseek(file, offset, os.SEEK_SET)
                os.dup2(file, number, False)
                os.close(file)
        except OSError as error:
            reason = f"it has changed ({error}), or `limits.open_files` is too small for its number"
            self.refuse(f"a sandbox cannot open file {number} that a preloaded module keeps open: {reason}")

    def keep_modules(self, atexit, gc, ref):
        """At the end of a program the interpreter takes every module apart, and so writes to most of the memory that
        it shares with the zygote: that would be most of what a short program costs. Nobody needs that of the zygote's
        own modules. The first callback registered is the last one called; the program's modules go as always."""
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

    def serve(self):
        """Returns in each child, which gives back as little as it can: that would be written to shared memory."""
        self.get_ready()
        os, native = self.os, self.native
        native.ready(0)
        while True:
            rehearses = native.next(0)
            if rehearses < 0:
                os._exit(4)
            try:
                child = os.fork()
            except OSError as failure:
                native.forked(-failure.errno)
                continue
            if child == 0:
                return self.become(rehearses)
            native.forked(child)

    def get_ready(self):
        os, before = self.os, set(sys.modules)
        self.vanish()
        self.load_native()
        memfd, *names = [name.decode() for name in strings(os.read(SOCKET, 1 << 16))]
        # Python has it since 3.8, if its C library does.
        self.may_copy = memfd and hasattr(os, "memfd_create")
        error = self.native.start(SOCKET)
        if error:
            self.refuse(f"the zygote cannot begin: {os.strerror(-error)}")
        harness_only = () if names else set(sys.modules) - before - {"sitecustomize"}
        self.with_low_numbers_taken(self.preload, names)
        self.check()
        self.find_depth()
        self.rehearse()
        self.find_twister(names)
        for name in harness_only:
            del sys.modules[name]
        places = ("/box", "/tmp", "/home/guest", "/dev/shm")
        for path in [path for path in sys.path_importer_cache if path.startswith(places)]:
            del sys.path_importer_cache[path]
        had = set(sys.modules)
        import _weakref
        import atexit
        import gc

        for name in {"atexit", "gc", "_weakref"} - had:
            del sys.modules[name]
        if KEEPS_MODULES:
            self.keep_modules(atexit, gc, _weakref.ref)
        gc.collect()
        gc.freeze()
        self.native.trim()

    def become(self, rehearses):
        """In the child: everything up to the program."""
        os = self.os
        channel = self.native.enter(0)
        if channel < 0:
            os._exit(127)
        self.open_anew()
        self.renew()
        if rehearses:
            self.rehearse()
        self.new_main()
        os.write(channel, READY)
        mode, target, unbuffered, result, args, environment = strings(self.receive(channel))
        if not result:
            os.close(RESULT)
        run = self.begin(mode, target, strings(args), strings(environment))
        if unbuffered:
            self.unbuffer()
        if KEEPS_MODULES:
            self.streams = sys.stdout, sys.stderr
        if mode != b"module":
            self.level()
        os.close(channel)
        return run

    def receive(self, channel):
        packet = self.os.read(channel, 1 << 16)
        if not packet:
            # The sandbox is not needed.
            self.os._exit(0)
        left = int.from_bytes(packet[:8], "little") - len(packet) + 8
        frame = packet[8:]
        while left > 0:
            packet = self.os.read(channel, 1 << 16)
            if not packet:
                self.os._exit(0)
            left -= len(packet)
            frame += packet
        return frame

    def new_main(self):
        """A `__main__` that the garbage collector does not take for frozen: it is emptied at the end."""
        old = sys.modules["__main__"].__dict__
        new = type(sys)("__main__")
        new.__dict__.clear()
        new.__dict__.update(old)
        if "__annotations__" in old:
            new.__dict__["__annotations__"] = {}
        sys.modules["__main__"] = new

    def renew(self):
        """What must not be the same in two children; `random` does it by itself."""
        modules, urandom = sys.modules, self.os.urandom
        if "numpy.random" in modules:
            if self.twister:
                words, position = self.twister
                words.raw, position.value = urandom(len(words)), TWISTER_WORDS
            else:
                modules["numpy.random"].seed()
        if "ssl" in modules:
            modules["ssl"].RAND_add(urandom(32), 32.0)
        if "tempfile" in modules:
            modules["tempfile"]._name_sequence = None
            modules["tempfile"].tempdir = None
        if "multiprocessing.process" in modules:
            process = modules["multiprocessing.process"]
            process.current_process().authkey = urandom(32)

    def rehearse(self):
        """Touches what every program touches, ahead of time."""
        exec(compile(REHEARSAL, "<rehearsal>", "exec"), {"__name__": "rehearsal"})
        self.os.path.realpath("/box/program.py")
        nothing = b"/dev/null"
        self.native.run_file(self.native.open(nothing), nothing, 1)
        self.native.ended_well()
        for rehearsal in self.rehearsals:
            rehearsal()

    def begin(self, mode, target, args, environment):
        """Makes everything what it would be at the start; answers what runs the program."""
        os = self.os
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
            return self.partial(self.native.run_file, self.native.open(target), target, 1)
        if mode == b"stdin":
            return self.partial(self.native.run_file, self.native.input(), b"<stdin>", 0)
        if mode == b"module":
            return self.module(text)
        if sys.version_info >= (3, 13):
            import linecache

            lines = (text + "\n").splitlines(True)
            linecache.cache["<string>"] = (len(text), None, lines, "<string>")
        cookie = IGNORE_COOKIE if sys.version_info >= (3, 10) else 0
        return self.partial(self.native.run_code, target + b"\n", cookie, sys.version_info.minor)

    def module(self, name):
        import runpy

        find = runpy._get_module_details

        def once(_, *error):
            runpy._get_module_details = find
            return find(name, *error)

        runpy._get_module_details = once
        return runpy._run_module_as_main

    def unbuffer(self):

        for name, number in (("stdout", 1), ("stderr", 2)):
            old = getattr(sys, name)
            raw = io.open(number, "wb", buffering=0, closefd=False)
            raw.name = f"<{name}>"
            new = io.TextIOWrapper(raw, old.encoding, old.errors, "\n", False, True)
            new.mode = "w"
            setattr(sys, name, new)
            setattr(sys, f"__{name}__", new)


class Door:
    """Stands in for `runpy` until the program begins."""

    __spec__ = None

    def __getattr__(self, name):
        if name != "_run_module_as_main":
            raise AttributeError(name)
        return Harness(sys.modules["os"]).serve()


sys.modules["runpy"] = Door()
