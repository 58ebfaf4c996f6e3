# Plants kernel objects on the host, says so, and keeps them until its input ends. Arguments as in secrets.py.
import ctypes, os, socket, sys

planted = dict(argument.split("=", 1) for argument in sys.argv[1:])
libc = ctypes.CDLL(None, use_errno=True)
unix = socket.socket(socket.AF_UNIX)
unix.bind(planted["unix"])
os.chmod(planted["unix"], 0o777)
unix.listen(8)
abstract = socket.socket(socket.AF_UNIX)
abstract.bind("\0" + planted["abstract"])
abstract.listen(8)
create = 0o1000 | 0o666
shm = libc.shmget(int(planted["shm"]), 4096, create)
sem = libc.semget(int(planted["sem"]), 1, create)
msg = libc.msgget(int(planted["msg"]), create)
posix = "/dev/shm/" + planted["posix"]
with open(posix, "w") as file:
    file.write("the host's secret")
os.chmod(posix, 0o666)
assert min(shm, sem, msg) >= 0
print("planted", flush=True)
sys.stdin.read()
os.unlink(posix)
libc.shmctl(shm, 0, None)
libc.semctl(sem, 0, 0)
libc.msgctl(msg, 0, None)
