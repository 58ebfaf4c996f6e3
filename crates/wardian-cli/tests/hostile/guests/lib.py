import ctypes, errno, json, os, sys

CONTROL = "CONTROL" in os.environ
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

# The numbers on x86_64 and aarch64, taken from the kernel's headers: wardian's own tables are under test.
CALLS = {
    "_sysctl": (156, None), "accept": (43, 202), "accept4": (288, 242), "acct": (163, 89), "add_key": (248, 217),
    "adjtimex": (159, 171), "alarm": (37, None), "bpf": (321, 280), "brk": (12, 214), "chroot": (161, 51),
    "clock_adjtime": (305, 266), "clock_nanosleep": (230, 115), "clock_settime": (227, 112), "clone": (56, 220),
    "clone3": (435, 435), "close": (3, 57), "close_range": (436, 436), "dup": (32, 23), "dup2": (33, None),
    "dup3": (292, 24), "epoll_pwait": (281, 22), "epoll_pwait2": (441, 441), "epoll_wait": (232, None),
    "execveat": (322, 281), "exit": (60, 93), "exit_group": (231, 94), "fanotify_init": (300, 262),
    "finit_module": (313, 273), "fork": (57, None), "fsopen": (430, 430), "fspick": (433, 433), "fstat": (5, 80),
    "futex": (202, 98), "futex_waitv": (449, 449), "getitimer": (36, 102), "gettid": (186, 178),
    "init_module": (175, 105), "io_uring_setup": (425, 425), "ioctl": (16, 29), "ioperm": (173, None),
    "iopl": (172, None), "ioprio_set": (251, 30), "kcmp": (312, 272), "kexec_load": (246, 104), "keyctl": (250, 219),
    "kill": (62, 129), "landlock_create_ruleset": (444, 444), "listmount": (458, 458), "lookup_dcookie": (212, 18),
    "lsm_set_self_attr": (460, 460), "map_shadow_stack": (453, 453), "mbind": (237, 235), "memfd_secret": (447, 447),
    "migrate_pages": (256, 238), "mmap": (9, 222), "modify_ldt": (154, None), "mount": (165, 40),
    "mount_setattr": (442, 442), "move_mount": (429, 429), "move_pages": (279, 239), "mprotect": (10, 226),
    "mremap": (25, 216), "munmap": (11, 215), "name_to_handle_at": (303, 264), "nanosleep": (35, 101),
    "nfsservctl": (180, 42), "open_by_handle_at": (304, 265), "open_tree": (428, 428), "pause": (34, None),
    "perf_event_open": (298, 241), "personality": (135, 92), "pidfd_getfd": (438, 438), "pidfd_open": (434, 434),
    "pivot_root": (155, 41), "poll": (7, None), "ppoll": (271, 73), "pread64": (17, 67), "prlimit64": (302, 261),
    "process_madvise": (440, 440), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pselect6": (270, 72), "ptrace": (101, 117), "quotactl": (179, 60), "read": (0, 63), "readv": (19, 65),
    "reboot": (169, 142), "recvfrom": (45, 207), "recvmmsg": (299, 243), "recvmsg": (47, 212),
    "request_key": (249, 218), "restart_syscall": (219, 128), "rt_sigpending": (127, 136), "rt_sigreturn": (15, 139),
    "rt_sigsuspend": (130, 133), "rt_sigtimedwait": (128, 137), "seccomp": (317, 277), "select": (23, None),
    "set_mempolicy": (238, 237), "sethostname": (170, 161), "setitimer": (38, 103), "setns": (308, 268),
    "settimeofday": (164, 170), "socket": (41, 198), "splice": (275, 76), "statmount": (457, 457),
    "swapon": (167, 224), "sysfs": (139, None), "syslog": (103, 116), "tee": (276, 77), "tgkill": (234, 131),
    "timer_create": (222, 107), "tkill": (200, 130), "umount2": (166, 39), "unshare": (272, 97),
    "uselib": (134, None), "userfaultfd": (323, 282), "ustat": (136, None), "vfork": (58, None), "vhangup": (153, 58),
    "vmsplice": (278, 75), "wait4": (61, 260), "waitid": (247, 95), "write": (1, 64),
}
column = ("x86_64", "aarch64").index(os.uname().machine)
# What this machine has not becomes -1, which no kernel serves.
NR = {name: -1 if numbers[column] is None else numbers[column] for name, numbers in CALLS.items()}


def check(answer):
    """Raises the C library's error if there is one."""
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer


def syscall(call, *arguments):
    """A raw system call, by its name or its number."""
    number = NR[call] if isinstance(call, str) else call
    prepared = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return check(libc.syscall(ctypes.c_long(number), *prepared))


def attempt(name, function, *arguments):
    """Tries something, and says on a line what came of it."""
    try:
        value = function(*arguments)
        answer = [name, "ok", repr(value)[:4000]]
    except OSError as error:
        answer = [name, errno.errorcode.get(error.errno, "E?%s" % error.errno), str(error)]
    except KeyError:
        # A name that the table lacks must not pass for a refusal.
        raise
    except BaseException as error:
        answer = [name, type(error).__name__, str(error)]
    print(json.dumps(answer), flush=True)
    return answer[1] == "ok"


def read(path, count=4096):
    """The beginning of a file."""
    with open(path, "rb") as file:
        return file.read(count)
