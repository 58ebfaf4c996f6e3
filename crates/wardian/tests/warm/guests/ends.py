# The ways in which a program ends; its first argument names one.
import atexit
import os
import signal
import sys
import threading
import time

how = sys.argv[1]
atexit.register(print, "at exit")
print("begin")
print("error stream", file=sys.stderr)
if how == "_exit":
    os._exit(7)
elif how == "exit":
    sys.exit(3)
elif how == "large":
    sys.exit(300)
elif how == "negative":
    sys.exit(-1)
elif how == "text":
    sys.exit("a reason")
elif how == "none":
    sys.exit(None)
elif how == "object":
    raise SystemExit([1, 2])
elif how == "interrupt":
    raise KeyboardInterrupt
elif how == "sigint":
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
elif how == "term":
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)
elif how == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
elif how == "segv":
    os.kill(os.getpid(), signal.SIGSEGV)
elif how == "abort":
    os.abort()
elif how == "uncaught":
    def inner(n):
        return inner(n - 1) if n else {}["missing"]
    inner(3)
elif how == "chained":
    try:
        1 / 0
    except ZeroDivisionError as error:
        raise ValueError("second") from error
elif how == "hook":
    def hook(kind, value, trace):
        depth = 0
        while trace:
            depth, trace = depth + 1, trace.tb_next
        print("hook", kind.__name__, value, depth)
    sys.excepthook = hook
    raise OSError(2, "no")
elif how == "broken hook":
    def broken(*_):
        raise TypeError("in the hook")
    sys.excepthook = broken
    raise OSError(2, "no")
elif how == "thread":
    def late():
        time.sleep(0.05)
        print("late thread")
    threading.Thread(target=late).start()
elif how == "daemon":
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
elif how == "thread error":
    worker = threading.Thread(target=lambda: 1 / 0, name="worker")
    worker.start()
    worker.join()
elif how == "closed stdout":
    os.close(1)
elif how == "recursion":
    def forever():
        forever()
    forever()
elif how == "orphan":
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(60)
        os._exit(0)
    os.wait()
elif how == "open file":
    kept_file = open("/dev/stdout", "w")
    kept_file.write("buffered until the end\n")
elif how == "closed file":
    with open("/dev/stdout", "w") as closed_file:
        closed_file.write("written out already\n")
elif how == "memory file":
    import io
    memory_files = io.BytesIO(b"x"), io.StringIO("x")
elif how == "own file":
    import io
    class Own(io.BytesIO):
        def close(self):
            os.write(1, b"own closed\n")
            super().close()
    own_file = Own()
elif how in ("own stdout", "raising stdout"):
    class Stream:
        def write(self, text):
            os.write(1, text.upper().encode())
        def flush(self):
            os.write(1, b"flushed\n")
            if how == "raising stdout":
                raise OSError("no")
    sys.stdout = Stream()
elif how == "no stdout":
    sys.stdout = None
elif how == "slots":
    class Slots:
        __slots__ = ()
        def __del__(self):
            os.write(1, b"slots deleted\n")
    kept_slots = Slots()
elif how == "weak":
    import weakref
    class Weak:
        pass
    kept_weak = Weak()
    kept_ref = weakref.ref(kept_weak, lambda _: print("gone"))
elif how == "finalize":
    import weakref
    class Final:
        pass
    kept_final = Final()
    weakref.finalize(kept_final, print, "finalized")
elif how == "generator":
    def generate():
        try:
            yield 1
        finally:
            print("generator closed")
    kept_generator = generate()
    next(kept_generator)
elif how == "replaced stdout":
    import io
    sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False))
    print("through another stream")
elif how == "libc":
    import ctypes
    ctypes.CDLL(None).printf(b"from C\n")
elif how == "full":
    sys.stdout = open("/dev/full", "w")
elif how == "kept stream":
    import holder
    print("A")
    holder.say("B")
    print("C")
elif how in ("frozen", "database"):
    if os.fork():
        os.wait()
        written = b"".join(open(name, "rb").read() for name in os.listdir() if name.startswith("kept"))
        print(b"value" * 10 in written, b"until the end" in written)
        os._exit(0)
    if how == "frozen":
        import gc
        kept_file = open("kept", "w")
        kept_file.write("buffered until the end\n")
        gc.freeze()
    else:
        try:
            import dbm.ndbm
            kept_data = dbm.ndbm.open("kept", "c")
            kept_data["key"] = "value" * 10
        except ImportError as error:
            print(error)
elif how == "sub-interpreter":
    try:
        import _xxsubinterpreters
        number = _xxsubinterpreters.create()
        _xxsubinterpreters.run_string(number, "print('from within')")
    except ImportError as error:
        print(error)
elif how in ("proxy", "weak subclass"):
    import weakref
    class Weak:
        pass
    class Reference(weakref.ref):
        pass
    kept_weak = Weak()
    kept_ref = (weakref.proxy if how == "proxy" else Reference)(kept_weak, lambda _: print("gone"))
elif how == "unhashable type":
    class Meta(type):
        def __eq__(self, other):
            return self is other
    class Odd(metaclass=Meta):
        pass
elif how == "asking type":
    class Meta(type):
        def __getattr__(self, name):
            print("asked for", name)
            raise KeyError(name)
        def __hash__(self):
            print("hashed")
            return 1
    class Odd(metaclass=Meta):
        pass
    odd = Odd()
elif how == "lazy class":
    class Lazy:
        @property
        def __class__(self):
            print("asked for its class")
            raise RuntimeError("not yet")
    lazy = Lazy()
elif how == "patched builtins":
    import builtins
    del builtins.any, builtins.issubclass
    builtins.id = lambda thing: print("asked for an id")
elif how == "patched exit":
    os._exit = lambda code: print("patched", code)
elif how in ("traced", "profiled"):
    def see(frame, event, argument):
        os.write(1, f"{event} {frame.f_code.co_name}\n".encode())
    print("end", flush=True)
    (sys.settrace if how == "traced" else sys.setprofile)(see)
elif how == "many objects":
    many = [[] for _ in range(100_000)]
    class Late:
        def __del__(self):
            print("deleted")
    many.append(Late())
elif how == "del":
    class Late:
        def __del__(self):
            print("deleted")
    kept = Late()
print("end")
