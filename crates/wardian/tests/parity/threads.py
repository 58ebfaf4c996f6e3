# Many threads touch a module for the first time at once.
import sys
import _thread

lock, results, done = _thread.allocate_lock(), [], _thread.allocate_lock()
done.acquire()


def touch():
    import os

    value = os.path.join("a", "b"), os.environ.get("HOME")
    with lock:
        results.append(value)
        if len(results) == 8:
            done.release()


sys.setswitchinterval(1e-6)
for _ in range(8):
    _thread.start_new_thread(touch, ())
done.acquire()
print(results)
