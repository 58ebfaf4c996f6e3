import errno
import sys


def attempt(name, call):
    try:
        call()
        answer = "done"
    except ImportError:
        answer = "untried"
    except OSError as error:
        answer = errno.errorcode.get(error.errno, "untried")
    print(name, answer)


def connect():
    import socket

    socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def libc(function, *args):
    def call():
        import ctypes

        library = ctypes.CDLL(None, use_errno=True)
        if getattr(library, function)(*args) == -1:
            raise OSError(ctypes.get_errno(), function)

    return call


CLONE_NEWUSER = 0x10000000
PTRACE_ATTACH = 16

CALLS = {
    "file": lambda: open(sys.argv[1]),
    "socket": connect,
    "mount": libc("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "ptrace": libc("ptrace", PTRACE_ATTACH, 1, 0, 0),
    "namespace": libc("unshare", CLONE_NEWUSER),
}
for name in sys.argv[2:]:
    attempt(name, CALLS[name])
