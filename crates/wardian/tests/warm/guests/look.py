# Looks for what others left.
import ctypes
import os
import socket
import sys

print([os.listdir(place) for place in ("/box", "/tmp", "/home/guest", "/dev/shm")])
try:
    socket.socket(socket.AF_UNIX).connect("\0left")
    print("connected")
except OSError as error:
    print(error.strerror)
libc = ctypes.CDLL(None, use_errno=True)
print("sysv", libc.shmget(0x1234, 4096, 0), libc.semget(0x1234, 1, 0), libc.msgget(0x1234, 0))
import json

print("LEFT" in os.environ, hasattr(sys, "left"), os.uname().nodename, json.loads("1"))
print(sorted(name for name in os.listdir("/proc") if name.isdigit()))
