# Children of multiprocessing, by each of its ways, import the program again.
import multiprocessing
import os
import sys


def work(n):
    return n * n, sorted(sys.flags), os.path.basename(sys.modules["__main__"].__file__), sys.path[1:]


if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(method, pool.map(work, [1, 2]))
    import subprocess

    print(subprocess._args_from_interpreter_flags())
