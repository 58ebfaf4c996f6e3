# Two threads come from both ends of a circle of imports: one loads `os`, which waits for `stat`, which another
# imports and which touches `os` before it is there.
import _thread
import sys
import time

kept = sys.modules["os"]
waiting, done, got = _thread.allocate_lock(), _thread.allocate_lock(), []
waiting.acquire()
done.acquire()


class Stat:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "stat":
            return type(sys.__spec__)(name, cls)

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        waiting.release()
        time.sleep(0.2)
        import _stat

        module.__dict__.update(_stat.__dict__)
        module.name = kept.__name__


def other():
    waiting.acquire()
    got.append(kept.__name__)
    done.release()


del sys.modules["stat"]
sys.meta_path.insert(0, Stat)
_thread.start_new_thread(other, ())
import stat

print(done.acquire(timeout=20), got, stat.name)
