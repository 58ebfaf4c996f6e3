# Ways to the network. Arguments: tcp=port udp=port tcp6=port
import socket

ports = dict(argument.split("=", 1) for argument in sys.argv[1:])


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        client.connect(address)


def send(family, address):
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.sendto(b"x", address)
        return client.recv(16)


attempt("tcp", connect, socket.AF_INET, ("127.0.0.1", int(ports["tcp"])))
attempt("tcp any", connect, socket.AF_INET, ("0.0.0.0", int(ports["tcp"])))
attempt("udp", send, socket.AF_INET, ("127.0.0.1", int(ports["udp"])))
attempt("tcp6", connect, socket.AF_INET6, ("::1", int(ports["tcp6"])))
attempt("tcp6 mapped", connect, socket.AF_INET6, ("::ffff:127.0.0.1", int(ports["tcp"])))
attempt("sendto fast open", lambda: socket.socket(socket.AF_INET).sendto(b"x", 0x20000000, ("127.0.0.1", int(ports["tcp"]))))
if not CONTROL:
    attempt("dns", lambda: socket.getaddrinfo("example.org", 80))
    attempt("dns server", send, socket.AF_INET, ("8.8.8.8", 53))
    attempt("metadata", connect, socket.AF_INET, ("169.254.169.254", 80))
    attempt("multipath", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).connect(("127.0.0.1", int(ports["tcp"]))))
    attempt("sctp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).connect(("127.0.0.1", int(ports["tcp"]))))
    attempt("icmp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1).sendto(b"\x08" + bytes(15), ("127.0.0.1", 0)))
