# The harness of a zygote; Python imports it as `sitecustomize`, before any program.
#
# Python is started as `python -m wardian`, and asks the module `runpy` for the function that runs it. A stand-in
# answers: it loads what is to be preloaded, forks a child for each order, and returns in the child, with a C function
# that runs the program. So nothing of the harness is below the program on the stack: C calls C calls the program, and
# the interpreter ends as it always does.
import sys

import wardian_end
import wardian_open_files
import wardian_program
import wardian_rehearsal
import wardian_renewal

PARTS = wardian_end, wardian_open_files, wardian_program, wardian_rehearsal, wardian_renewal
DIRECTORY = "/opt/wardian-start"
SOCKET = 3
RESULT = 3
MESSAGE_BYTES = 96
READY = (8).to_bytes(8, "little") + bytes(MESSAGE_BYTES - 8)
# Numbers of the interpreter's state to look through.
STATE = 48
LARGE_PAGE_SHIFT = 21


def strings(frame):
    """A frame is a count, then as many byte strings, each after its length."""
    found, at = [], 4
    for _ in range(int.from_bytes(frame[:4], "little")):
        end = at + 4 + int.from_bytes(frame[at : at + 4], "little")
        found.append(frame[at + 4 : end])
        at = end
    return found


class Harness:
    def __init__(self, os):
        self.os = os
        self.rehearsal = wardian_rehearsal.Rehearsal(os)
        self.twister = None
        self.end = None

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
        for name in ["runpy", "sitecustomize", *(part.__name__ for part in PARTS)]:
            sys.modules.pop(name, None)
        try:
            import sitecustomize
        except ImportError as error:
            if error.name != "sitecustomize":
                raise

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
                self.rehearsal.add(name)
            except BaseException as error:
                import traceback

                last = traceback.format_exception_only(type(error), error)[-1].strip()
                self.refuse(f"cannot preload `{name}`: {last}")

    def load_file(self, name):
        """A file of the host, as the module of its name; it lies beside the harness."""
        find = sys.modules["_frozen_importlib_external"].spec_from_file_location
        sys.modules["_frozen_importlib"]._load(find(name[:-3], f"{DIRECTORY}/{name}"))

    def check(self):
        """A child gets what the zygote has: it must be nothing that runs, and nothing open that children would share.
        For shared memory the supervisor looks, from outside."""
        os = self.os
        # The handlers of a fork are where libraries stop their threads (OpenBLAS).
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        if self.native.alone(0) != 0:
            self.refuse("a preloaded module runs threads, which no fork survives")
        shared = self.open_files.find_shared(SOCKET)
        if shared:
            self.refuse(f"a preloaded module keeps a descriptor open, which runs would share: {shared}")

    def serve(self):
        """Returns in each child, which gives back as little as it can: that would be written to shared memory."""
        self.get_ready()
        os, native = self.os, self.native
        self.fall_silent()
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

    def fall_silent(self):
        """Nobody reads any more what is written at a fork, say: a pipe would be full in the end, and the zygote wait."""
        os = self.os
        null = os.open("/dev/null", os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(null, stream)
        os.close(null)

    def get_ready(self):
        os, before = self.os, set(sys.modules)
        self.vanish()
        self.load_native()
        memfd, *names = [name.decode() for name in strings(os.read(SOCKET, 1 << 16))]
        # Python has it since 3.8, if its C library does.
        may_copy = memfd and hasattr(os, "memfd_create")
        self.open_files = wardian_open_files.OpenFiles(os, {sys.prefix, sys.base_prefix}, self.partial, may_copy)
        error = self.native.start(SOCKET)
        if error:
            self.refuse(f"the zygote cannot begin: {os.strerror(-error)}")
        harness_only = () if names else set(sys.modules) - before - {"sitecustomize"}
        if wardian_end.KEEPS_MODULES:
            self.end = wardian_end.End(os, self.native)
        wardian_open_files.with_low_numbers_taken(os, self.preload, names)
        self.check()
        self.find_depth()
        self.rehearsal.rehearse(self.native, self.partial)
        # A file may draw numbers in a handler of the fork, and leave half of a pair.
        if not any(name.endswith(".py") for name in names):
            self.twister = wardian_renewal.find_twister()
        for name in harness_only:
            del sys.modules[name]
        places = ("/box", "/tmp", "/home/guest", "/dev/shm")
        for path in [path for path in sys.path_importer_cache if path.startswith(places)]:
            del sys.path_importer_cache[path]
        if self.end:
            self.end.keep_modules()
        self.freeze()
        if self.end:
            for _ in range(wardian_rehearsal.TIMES):
                self.end.rehearse()
        self.native.trim()
        self.gather()

    def gather(self):
        """Memory in large pages costs a child less, to get it and to give it back. Where most of it is used already, that
        takes little more."""
        try:
            maps = open("/proc/self/smaps", "rb")
        except OSError:
            return
        with maps:
            for line in maps:
                key, value, *rest = line.split()
                if b"-" in key:
                    start, end = (int(edge, 16) for edge in key.split(b"-"))
                    is_anonymous = value == b"rw-p" and rest[2] == b"0"
                elif key == b"Rss:" and is_anonymous and int(value) << 11 >= end - start:
                    for number in range(-(-start >> LARGE_PAGE_SHIFT), end >> LARGE_PAGE_SHIFT):
                        # Not every kernel and every place has them: then it is as it was.
                        self.native.gather(number)

    def freeze(self):
        had = "gc" in sys.modules
        import gc

        if not had:
            del sys.modules["gc"]
        gc.collect()
        gc.freeze()

    def become(self, rehearses):
        """In the child: everything up to the program."""
        os = self.os
        channel = self.native.enter(0)
        if channel < 0:
            os._exit(127)
        changed = self.open_files.open_anew()
        if changed:
            self.refuse(changed)
        wardian_renewal.renew(os.urandom, self.twister)
        if rehearses:
            self.rehearsal.rehearse(self.native, self.partial)
            if self.end:
                self.end.rehearse()
        wardian_program.new_main()
        os.write(channel, READY)
        held, mode, target, unbuffered, result, args, environment = strings(self.receive(channel))
        if held and not os.read(channel, 1):
            # What it needs could not be brought in.
            os._exit(0)
        # The supervisor sees the program begin. From here on what is imported may be the program's own.
        os.close(channel)
        if not result:
            os.close(RESULT)
        native, partial = self.native, self.partial
        run = wardian_program.begin(os, native, partial, mode, target, strings(args), strings(environment))
        if unbuffered:
            wardian_program.unbuffer(self.os)
        if self.end:
            self.end.begin()
        if mode != b"module":
            self.level()
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


class Door:
    """Stands in for `runpy` until the program begins."""

    __spec__ = None

    def __getattr__(self, name):
        if name != "_run_module_as_main":
            raise AttributeError(name)
        return Harness(sys.modules["os"]).serve()


sys.modules["runpy"] = Door()
