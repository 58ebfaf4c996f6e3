# Leaves what it can for whoever comes next.
import ctypes
import multiprocessing.shared_memory
import os
import socket
import sys
import time

for place in ("/box", "/tmp", "/home/guest", "/dev/shm"):
    with open(place + "/left", "w") as file:
        file.write("secret")
for refused in ("/etc/left", "/opt/wardian-start/left", "/left", "/usr/lib/left"):
    try:
        open(refused, "w")
        print("wrote", refused)
    except OSError:
        pass
listener = socket.socket(socket.AF_UNIX)
listener.bind("\0left")
listener.listen()
memory = multiprocessing.shared_memory.SharedMemory(create=True, size=4096, name="memory")
libc = ctypes.CDLL(None, use_errno=True)
print("sysv", libc.shmget(0x1234, 4096, 0o1666), libc.semget(0x1234, 1, 0o1666), libc.msgget(0x1234, 0o1666))
os.environ["LEFT"] = "1"
sys.left = 1
sys.modules["json"] = None
try:
    socket.sethostname("left")
except OSError:
    pass
sys.stdout.flush()
if os.fork() == 0:
    os.setsid()
    time.sleep(60)
os._exit(0)
