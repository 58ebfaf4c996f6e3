# Calls that no Python program needs, and that have been ways into the kernel.
import mmap, platform, socket, struct

RAW = ["bpf", "io_uring_setup", "userfaultfd", "perf_event_open", "keyctl", "add_key", "request_key", "vmsplice",
       "splice", "tee", "open_by_handle_at", "name_to_handle_at", "kcmp", "fanotify_init", "quotactl", "nfsservctl",
       "modify_ldt", "personality", "ustat", "sysfs", "lookup_dcookie", "mbind", "move_pages", "migrate_pages",
       "process_madvise", "pidfd_getfd", "seccomp", "landlock_create_ruleset", "memfd_secret", "vhangup", "ioperm",
       "finit_module", "clock_settime", "clock_adjtime", "adjtimex", "uselib", "_sysctl", "set_mempolicy",
       "statmount", "listmount", "lsm_set_self_attr"]
buffer = ctypes.create_string_buffer(256)
attribute = ctypes.create_string_buffer(struct.pack("II", 0, 128) + bytes(248), 256)


def bpf():
    """Makes an array map; root outside may."""
    return syscall("bpf", 0, ctypes.create_string_buffer(struct.pack("IIIII", 2, 4, 4, 1, 0) + bytes(108), 128), 128)


attempt("bpf", bpf)
attempt("io_uring_setup", lambda: syscall("io_uring_setup", 4, ctypes.create_string_buffer(120)))
attempt("userfaultfd", lambda: syscall("userfaultfd", 1))
attempt("userfaultfd with high bits", lambda: syscall("userfaultfd", 1 | (1 << 32)))
attempt("perf_event_open", lambda: syscall("perf_event_open", attribute, 0, -1, -1, 0))
attempt("keyctl", lambda: syscall("keyctl", 0, -3, 1))
attempt("keyctl join session", lambda: syscall("keyctl", 1, None) if not CONTROL else 0)
attempt("add_key", lambda: syscall("add_key", b"user", b"wardian", b"x", 1, -1))
attempt("request_key", lambda: syscall("request_key", b"user", b"wardian", None, -1))
attempt("personality", lambda: syscall("personality", 0x0400000))
attempt("seccomp listener", lambda: syscall("seccomp", 1, 8, buffer) if not CONTROL else 0)
attempt("name_to_handle_at", lambda: syscall("name_to_handle_at", -100, b"/", ctypes.create_string_buffer((128).to_bytes(4, "little") + bytes(140)), buffer, 0))
attempt("modify_ldt", lambda: syscall("modify_ldt", 0, buffer, 16))
attempt("fanotify_init", lambda: syscall("fanotify_init", 0x200, 0))
attempt("memfd_secret", lambda: syscall("memfd_secret", 0))
for family, number in {"AF_VSOCK": 40, "AF_ALG": 38, "AF_NETLINK": 16, "AF_PACKET": 17, "AF_KEY": 15, "AF_BLUETOOTH": 31,
                       "AF_CAN": 29, "AF_TIPC": 30, "AF_XDP": 44, "AF_SMC": 43, "AF_QIPCRTR": 42, "AF_RXRPC": 33,
                       "AF_NFC": 39, "AF_X25": 9, "AF_AX25": 3, "AF_ATMPVC": 8, "AF_KCM": 41}.items():
    for kind in (1, 2, 3, 5):
        attempt("socket %s %d" % (family, kind), lambda number=number, kind=kind: socket.socket(number, kind).close())
attempt("socket AF_NETLINK by high bits", lambda: syscall("socket", 16 | (1 << 32), 3, 0))
attempt("raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close())
attempt("raw IPv6 socket", lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58).close())
if not CONTROL:
    for call in RAW + [9999]:
        attempt("raw %s" % call, lambda call=call: syscall(call, 0, 0, 0, 0, 0))
