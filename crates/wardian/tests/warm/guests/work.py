# What programs do: files, processes, imports, input.
import concurrent.futures
import io
import multiprocessing
import os
import subprocess
import sys
import tempfile
import traceback
import warnings


def square(n):
    return n * n


if __name__ == "__main__":
    print(repr(sys.stdin.readline()), repr(input("prompt> ")))
    print(sys.stdin.read())
    try:
        input()
    except EOFError as error:
        print("EOFError", error)
    warnings.warn("careful")
    warnings.warn("deeper", stacklevel=2)
    warnings.warn("old", DeprecationWarning)
    traceback.print_stack()
    try:
        print(sys._getframe(1))
    except ValueError as error:
        print(error)
    sys.stdout.write("out 1\n")
    sys.stderr.write("err 1\n")
    os.write(1, b"written first\n")
    sys.stdout.flush()
    import helper

    print(helper.VALUE, helper.__file__, helper.__name__)
    for place in ("/box/file", "/tmp/file", os.path.expanduser("~/file"), "/dev/shm/file", "relative"):
        with open(place, "w") as file:
            file.write("text")
        print(place, os.stat(place).st_uid, oct(os.stat(place).st_mode), open(place).read())
    for place in ("/etc/x", "/usr/x", "/x", "/proc/sys/kernel/hostname", "/sys", "/root", "/box/../../x"):
        try:
            open(place, "w")
        except OSError as error:
            print(place, error.strerror)
    print(tempfile.gettempdir(), os.path.dirname(tempfile.mkdtemp()))
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        print(pool.map(square, range(5)))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(square, range(5)))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        print(list(pool.map(square, range(5))))
    run = subprocess.run([sys.executable, "-c", "import sys; print(sys.argv, sys.path[0] == '')"], capture_output=True, text=True)
    print(run.stdout, run.stderr, run.returncode)
    exec(compile("try:\n 1/0\nexcept Exception:\n import traceback; traceback.print_exc()", "<here>", "exec"))
    print(io.open("/proc/self/comm").read())
    sys.stdout.buffer.write(b"\xff\xfe bytes\n")
