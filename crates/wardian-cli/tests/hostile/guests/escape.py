# Ways out of the namespaces, and ways to more rights. With CONTROL only what harms nobody outside.
import mmap, signal, struct, time

NS = {"NEWTIME": 0x80, "NEWNS": 0x20000, "NEWCGROUP": 0x2000000, "NEWUTS": 0x4000000, "NEWIPC": 0x8000000,
      "NEWUSER": 0x10000000, "NEWPID": 0x20000000, "NEWNET": 0x40000000}


def in_child(function):
    """What comes of it in a child, so that what it does to itself is gone with it."""
    def run():
        near, far = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                function()
                os.write(far, b"0")
            except OSError as error:
                os.write(far, str(error.errno).encode())
            finally:
                os._exit(0)
        os.close(far)
        answer = os.read(near, 16)
        os.close(near)
        _, status = os.waitpid(pid, 0)
        if not answer:
            raise RuntimeError("died with status %d" % status)
        if answer != b"0":
            raise OSError(int(answer), os.strerror(int(answer)))
    return run


def clone(flags):
    # Their order differs between machines: all are 0.
    pid = syscall("clone", flags | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def clone3(flags):
    arguments = struct.pack("11Q", flags, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
    buffer = ctypes.create_string_buffer(arguments, len(arguments))
    pid = syscall("clone3", buffer, len(arguments))
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


attempt("plain clone", clone, 0)
attempt("unshare nothing", in_child(lambda: syscall("unshare", 0)))
for name, flag in NS.items():
    attempt("unshare " + name, in_child(lambda flag=flag: syscall("unshare", flag)))
    attempt("unshare NEWUSER and " + name, in_child(lambda flag=flag: syscall("unshare", flag | NS["NEWUSER"])))
    if not flag == NS["NEWTIME"]:
        attempt("clone " + name, clone, flag)
    attempt("clone NEWUSER and " + name, clone, flag | NS["NEWUSER"])
    attempt("clone3 " + name, clone3, flag)
    # Bits above the 32nd must not hide those below from a filter that compares 64.
    attempt("unshare high " + name, in_child(lambda flag=flag: syscall("unshare", flag | (1 << 40))))

if not CONTROL:
    for name in ["mnt", "user", "pid", "net", "ipc", "uts"]:
        def join(path):
            fd = os.open(path, os.O_RDONLY)
            syscall("setns", fd, 0)
        attempt("setns own " + name, in_child(lambda name=name: join("/proc/self/ns/" + name)))
        attempt("setns of 1 " + name, in_child(lambda name=name: join("/proc/1/ns/" + name)))
    attempt("mount tmpfs", lambda: syscall("mount", b"x", b"/tmp", b"tmpfs", 0, None))
    attempt("mount proc", lambda: syscall("mount", b"x", b"/tmp", b"proc", 0, None))
    attempt("mount bind", lambda: syscall("mount", b"/usr", b"/tmp", None, 4096, None))
    attempt("remount root writable", lambda: syscall("mount", None, b"/", None, 32, None))
    attempt("remount bind writable", lambda: syscall("mount", None, b"/usr", None, 32 | 4096, None))
    attempt("make shared", lambda: syscall("mount", None, b"/", None, 1 << 20, None))
    attempt("umount root", lambda: syscall("umount2", b"/", 2))
    attempt("umount proc", lambda: syscall("umount2", b"/proc", 2))
    attempt("umount usr", lambda: syscall("umount2", b"/usr", 2))
    attempt("pivot_root", lambda: syscall("pivot_root", b".", b"."))
    attempt("chroot", lambda: os.chroot("/tmp"))
    attempt("open_tree clone", lambda: syscall("open_tree", -100, b"/", 1))
    attempt("move_mount", lambda: syscall("move_mount", -100, b"/tmp", -100, b"/box", 0))
    attempt("fsopen", lambda: syscall("fsopen", b"tmpfs", 0))
    attempt("fspick", lambda: syscall("fspick", -100, b"/", 0))
    attributes = ctypes.create_string_buffer(struct.pack("4Q", 0, 1, 0, 0), 32)
    attempt("mount_setattr", lambda: syscall("mount_setattr", -100, b"/", 0, attributes, 32))
    attempt("ptrace init", lambda: syscall("ptrace", 16, 1, 0, 0))
    attempt("seize init", lambda: syscall("ptrace", 0x4206, 1, 0, 0))
    local = ctypes.create_string_buffer(8)
    vector = ctypes.create_string_buffer(struct.pack("2Q", ctypes.addressof(local), 8), 16)
    remote = ctypes.create_string_buffer(struct.pack("2Q", 0x400000, 8), 16)
    attempt("process_vm_readv init", lambda: syscall("process_vm_readv", 1, vector, 1, remote, 1, 0))
    attempt("process_vm_writev init", lambda: syscall("process_vm_writev", 1, vector, 1, remote, 1, 0))
    attempt("open the memory of init", lambda: os.open("/proc/1/mem", os.O_RDWR))
    attempt("pidfd_getfd of init", lambda: syscall("pidfd_getfd", syscall("pidfd_open", 1, 0), 0, 0))
    attempt("kill init", lambda: (os.kill(1, signal.SIGKILL), time.sleep(0.1), os.kill(1, 0)))
    attempt("stop init", lambda: os.kill(1, signal.SIGSTOP))
    attempt("limit init", lambda: syscall("prlimit64", 1, 7, ctypes.create_string_buffer(16), 0))
    attempt("read the limits of init", lambda: syscall("prlimit64", 1, 7, 0, ctypes.create_string_buffer(16)))
    for name, function in {"setuid": lambda: os.setuid(0), "setgid": lambda: os.setgid(0),
                           "setgroups": lambda: os.setgroups([0]), "setresuid": lambda: os.setresuid(0, 0, 0),
                           "setregid": lambda: os.setregid(0, 0)}.items():
        attempt(name + " 0", function)

    def set_id(mode):
        path = "set-id-%o" % mode
        with open(path, "wb"):
            pass
        os.chmod(path, mode)
        if os.stat(path).st_mode & 0o6000:
            return path
        raise PermissionError(errno.EPERM, "the kernel dropped the bits")

    attempt("chmod set-user-id", set_id, 0o4755)
    attempt("chmod set-group-id", set_id, 0o2755)

    def opened_set_id():
        os.umask(0)
        os.close(os.open("opened", os.O_CREAT | os.O_WRONLY, 0o6755))
        if not os.stat("opened").st_mode & 0o6000:
            raise PermissionError(errno.EPERM, "the kernel dropped the bits")

    attempt("create with set-id bits", opened_set_id)

    def set_owner(owner):
        with open("owned", "wb"):
            pass
        os.chown("owned", owner, -1)

    attempt("chown to the set-up id", set_owner, 0)
    attempt("mknod a device", lambda: os.mknod("device", 0o20666, os.makedev(1, 1)))
    attempt("mknod a disk", lambda: os.mknod("disk", 0o60666, os.makedev(8, 0)))
    attempt("sethostname", lambda: syscall("sethostname", b"x", 1))
    attempt("reboot", lambda: syscall("reboot", 0xfee1dead, 672274793, 0))
    attempt("swapon", lambda: syscall("swapon", b"/tmp", 0))
    attempt("acct", lambda: syscall("acct", b"/tmp/x"))
    attempt("iopl", lambda: syscall("iopl", 3))
    attempt("init_module", lambda: syscall("init_module", b"x", 1, b""))
    attempt("kexec_load", lambda: syscall("kexec_load", 0, 0, 0, 0))
    attempt("settimeofday", lambda: syscall("settimeofday", ctypes.create_string_buffer(16), 0))
    attempt("syslog", lambda: syscall("syslog", 3, ctypes.create_string_buffer(64), 64))
    import fcntl
    attempt("TIOCSTI", lambda: fcntl.ioctl(0, 0x5412, b"x"))
    attempt("TIOCSTI with high bits", lambda: syscall("ioctl", 0, 0x5412 | (1 << 32), b"x"))
    attempt("TIOCLINUX", lambda: fcntl.ioctl(0, 0x541C, b"\3"))
    attempt("prctl keep capabilities", lambda: check(libc.prctl(8, 1, 0, 0, 0)))

    def capabilities():
        words = read("/proc/self/status").decode().split()
        held = {key: int(words[words.index(key) + 1], 16) for key in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"]}
        if any(held.values()):
            return held
        raise PermissionError(errno.EPERM, "none")

    attempt("capabilities", capabilities)

    def new_privileges():
        if check(libc.prctl(39, 0, 0, 0, 0)) == 0:
            return "may gain"
        raise PermissionError(errno.EPERM, "no_new_privs is set")

    attempt("new privileges", new_privileges)
    attempt("seccomp mode", lambda: [line for line in read("/proc/self/status").decode().splitlines() if "eccomp" in line])

    def raise_limit():
        import resource
        for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_STACK, resource.RLIMIT_FSIZE):
            soft, hard = resource.getrlimit(kind)
            assert hard != resource.RLIM_INFINITY or kind == resource.RLIMIT_STACK, kind
            try:
                resource.setrlimit(kind, (hard + 1, hard + 1))
                return kind
            except ValueError:
                pass
        raise PermissionError(errno.EPERM, "none")

    attempt("raise a hard limit", raise_limit)
