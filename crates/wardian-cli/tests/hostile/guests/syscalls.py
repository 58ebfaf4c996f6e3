# Calls that no Python program needs, and that have been ways into the kernel.
import mmap, platform, socket, struct

NUMBERS = {"bpf": 321, "io_uring_setup": 425, "userfaultfd": 323, "perf_event_open": 298, "keyctl": 250, "add_key": 248,
           "request_key": 249, "vmsplice": 278, "splice": 275, "tee": 276, "open_by_handle_at": 304,
           "name_to_handle_at": 303, "kcmp": 312, "fanotify_init": 300, "quotactl": 179, "nfsservctl": 180,
           "modify_ldt": 154, "personality": 135, "ustat": 136, "sysfs": 139, "lookup_dcookie": 212, "mbind": 237,
           "move_pages": 279, "migrate_pages": 256, "process_madvise": 440, "pidfd_getfd": 438, "seccomp": 317,
           "landlock_create_ruleset": 444, "memfd_secret": 447, "vhangup": 153, "ioperm": 173, "finit_module": 313,
           "clock_settime": 227, "clock_adjtime": 305, "adjtimex": 159, "uselib": 134, "_sysctl": 156,
           "set_mempolicy": 238, "statmount": 457, "listmount": 458, "lsm_set_self_attr": 460, "unknown": 9999}
buffer = ctypes.create_string_buffer(256)
attribute = ctypes.create_string_buffer(struct.pack("II", 0, 128) + bytes(248), 256)


def bpf():
    """Makes an array map; root outside may."""
    return syscall(321, 0, ctypes.create_string_buffer(struct.pack("IIIII", 2, 4, 4, 1, 0) + bytes(108), 128), 128)


attempt("bpf", bpf)
attempt("io_uring_setup", lambda: syscall(425, 4, ctypes.create_string_buffer(120)))
attempt("userfaultfd", lambda: syscall(323, 1))
attempt("userfaultfd with high bits", lambda: syscall(323, 1 | (1 << 32)))
attempt("perf_event_open", lambda: syscall(298, attribute, 0, -1, -1, 0))
attempt("keyctl", lambda: syscall(250, 0, -3, 1))
attempt("keyctl join session", lambda: syscall(250, 1, None) if not CONTROL else 0)
attempt("add_key", lambda: syscall(248, b"user", b"wardian", b"x", 1, -1))
attempt("request_key", lambda: syscall(249, b"user", b"wardian", None, -1))
attempt("personality", lambda: syscall(135, 0x0400000))
attempt("seccomp listener", lambda: syscall(317, 1, 8, buffer) if not CONTROL else 0)
attempt("name_to_handle_at", lambda: syscall(303, -100, b"/", ctypes.create_string_buffer((128).to_bytes(4, "little") + bytes(140)), buffer, 0))
attempt("modify_ldt", lambda: syscall(154, 0, buffer, 16))
attempt("fanotify_init", lambda: syscall(300, 0x200, 0))
attempt("memfd_secret", lambda: syscall(447, 0))
for family, number in {"AF_VSOCK": 40, "AF_ALG": 38, "AF_NETLINK": 16, "AF_PACKET": 17, "AF_KEY": 15, "AF_BLUETOOTH": 31,
                       "AF_CAN": 29, "AF_TIPC": 30, "AF_XDP": 44, "AF_SMC": 43, "AF_QIPCRTR": 42, "AF_RXRPC": 33,
                       "AF_NFC": 39, "AF_X25": 9, "AF_AX25": 3, "AF_ATMPVC": 8, "AF_KCM": 41}.items():
    for kind in (1, 2, 3, 5):
        attempt("socket %s %d" % (family, kind), lambda number=number, kind=kind: socket.socket(number, kind).close())
attempt("socket AF_NETLINK by high bits", lambda: syscall(41, 16 | (1 << 32), 3, 0))
attempt("raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close())
attempt("raw IPv6 socket", lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58).close())
if not CONTROL:
    for name, number in NUMBERS.items():
        attempt("raw " + name, lambda number=number: syscall(number, 0, 0, 0, 0, 0))
