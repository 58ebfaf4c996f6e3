# Everything that a program can ask for and that must not tell a warm run from a cold one.
import os
import signal
import stat
import sys

print(sys.argv, getattr(sys, "orig_argv", None), sys.path, sys.flags, sys.executable)
print(__name__, __file__, __spec__, __builtins__.__name__, sorted(globals()))
print(sorted(os.environ.items()))
print(os.getcwd(), os.getpid(), os.getuid(), os.geteuid(), os.getgid(), os.getgroups())
print(os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid(), os.umask(0o22))
print(sys.getrecursionlimit(), sys.getswitchinterval(), sys.dont_write_bytecode, sys.getfilesystemencoding())
for name in ("stdin", "stdout", "stderr"):
    stream = getattr(sys, name)
    print(
        name, stream.encoding, stream.errors, stream.line_buffering, stream.newlines, stream.name, stream.mode,
        stream.buffer.name, stream.buffer.mode, type(stream.buffer).__name__, stream is getattr(sys, f"__{name}__"),
        stream.isatty(), stream.seekable(),
    )
print([(number, str(signal.getsignal(number))[:40]) for number in sorted(signal.Signals)])
print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
with open("/proc/self/status") as status:
    kept = ("Uid", "Gid", "Groups", "NStgid", "NSpid", "Cap", "NoNewPrivs", "Seccomp", "Sig", "Shd", "Umask", "Threads")
    print([line.strip() for line in status if line.startswith(kept)])
with open("/proc/self/limits") as limits:
    print(limits.read())
with open("/proc/self/cgroup") as cgroup:
    print(cgroup.read())
print(sorted(os.listdir("/proc/self/fd")), sorted(name for name in os.listdir("/proc") if name.isdigit()))
for fd in range(3):
    print(stat.filemode(os.fstat(fd).st_mode), os.fstat(fd).st_uid)
for path in ("/", "/box", "/tmp", "/home/guest", "/dev/shm", "/etc/passwd", "/proc", "/proc/self", "/proc/self/fd", __file__):
    found = os.stat(path)
    space = os.statvfs(path)
    print(path, oct(found.st_mode), found.st_uid, found.st_gid, space.f_flag, found.st_size if path == __file__ else "")
print(sorted(os.listdir("/")), sorted(os.listdir("/box")), os.listdir("/tmp"), os.listdir("/home/guest"))
print(os.uname().nodename, os.cpu_count(), os.sched_getaffinity(0), os.nice(0))
print(os.readlink("/proc/self/exe"), os.readlink("/proc/self/cwd"), os.readlink("/proc/self/root"))
with open("/proc/self/oom_score_adj") as score:
    print(score.read())
print(sorted(os.listdir("/proc/self/ns")), sorted(sys.modules) if "--modules" in sys.argv else "")
