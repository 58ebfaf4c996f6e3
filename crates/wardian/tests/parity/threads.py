# Many threads touch modules for the first time at once, from both ends of a circle of imports.
import sys
import _thread
import traceback

lock, results, done = _thread.allocate_lock(), [], _thread.allocate_lock()
done.acquire()
kept = [sys.modules.get(name) for name in ("os", "os.path", "stat")]


def touch(n):
    try:
        if n % 4 == 0:
            import os

            value = os.path.join("a", "b"), os.environ.get("HOME")
        elif n % 4 == 1:
            import posixpath

            value = posixpath.join("a", "b")
        elif n % 4 == 2:
            from os import path

            value = path.join("a", "b")
        else:
            import stat

            value = [stat.S_IFDIR] + [callable(getattr(m, "join", m.__dir__)) for m in kept if m]
    except BaseException:
        value = traceback.format_exc()
    with lock:
        results.append((n, value))
        if len(results) == 12:
            done.release()


sys.setswitchinterval(1e-6)
for n in range(12):
    _thread.start_new_thread(touch, (n,))
done.acquire()
print(sorted(results, key=str))
