# Kernel objects of the host. Arguments: unix=path abstract=name shm=key sem=key msg=key posix=name
import socket

planted = dict(argument.split("=", 1) for argument in sys.argv[1:])


def connect(address):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        client.connect(address)


attempt("unix socket", connect, planted["unix"])
attempt("abstract socket", connect, "\0" + planted["abstract"])


def datagram(address):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", address)


attempt("System V memory", lambda: check(libc.shmget(int(planted["shm"]), 0, 0)))
attempt("System V semaphore", lambda: check(libc.semget(int(planted["sem"]), 0, 0)))
attempt("System V messages", lambda: check(libc.msgget(int(planted["msg"]), 0)))
attempt("POSIX memory", read, "/dev/shm/" + planted["posix"])
attempt("names in /dev/shm", lambda: os.listdir("/dev/shm"))
