# Nothing lies below the program's own frame.
import inspect
import sys
import traceback


def inner():
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    print(depth, [(record.filename.rpartition("/")[2], record.lineno, record.function) for record in inspect.stack()])
    traceback.print_stack()
    print(sys._current_frames().values())


inner()
print(sys.modules["__main__"].__dict__ is globals(), __file__ == sys.argv[0], __name__, __spec__, __package__, __builtins__)
print(type(__loader__), __loader__.name, inspect.getsource(inner)[:12])
