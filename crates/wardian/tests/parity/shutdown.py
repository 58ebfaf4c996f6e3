# What happens after the last line.
import atexit
import sys
import threading


class Last:
    def __del__(self):
        print("del", sys is not None)


last = Last()
atexit.register(print, "atexit 1")
atexit.register(lambda: print("atexit 2", sys.modules["os"].sep))
# The main thread has ended, for the others, when it waits for them.
threading.Thread(target=lambda: (threading.main_thread().join(), print("thread"))).start()
sys.excepthook = lambda kind, value, trace: print("hook", kind.__name__, value, trace.tb_frame.f_lineno, trace.tb_next)
print("main ends")
raise KeyError("x")
