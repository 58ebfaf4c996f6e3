# What of the host can be read, written, listed or reached. Arguments: name=path of things planted on the host.
planted = dict(argument.split("=", 1) for argument in sys.argv[1:])
for name, path in planted.items():
    attempt("read planted " + name, read, path)
    attempt("stat planted " + name, os.stat, path)
    attempt("read planted %s through the root of 1" % name, read, "/proc/1/root" + path)
    attempt("read planted %s through the root of self" % name, read, "/proc/self/root" + path)
    attempt("read planted %s by dots" % name, read, "/box" + "/.." * 40 + path)
    attempt("read planted %s through the cwd of 1" % name, read, "/proc/1/cwd" + path)


def by_link(path):
    link = "link-%d" % len(os.listdir("."))
    os.symlink(path, link)
    return read(link)


def write(path):
    with open(path, "wb") as file:
        file.write(b"x")


def create_in(directory):
    path = os.path.join(directory, "wardian-hostile-write")
    write(path)
    os.unlink(path)


if not CONTROL:
    for name, path in planted.items():
        attempt("read planted %s by symlink" % name, by_link, path)
        attempt("link planted " + name, os.link, path, "hard")
    for directory in ["/", "/etc", "/usr", "/usr/lib", "/lib", "/bin", "/dev", "/proc", "/home", "/var", "/opt",
                      "/root", "/run", "/sys", "/boot", "/mnt", "/srv", os.path.dirname(os.__file__), sys.prefix]:
        attempt("create in " + directory, create_in, directory)
    attempt("write the interpreter", write, os.path.realpath(sys.executable))
    attempt("write a module", write, os.__file__)
    attempt("write the passwd file", write, "/etc/passwd")
    attempt("chmod the root", os.chmod, "/", 0o777)
    attempt("chmod the interpreter", os.chmod, os.path.realpath(sys.executable), 0o777)
    attempt("touch the interpreter", os.utime, os.path.realpath(sys.executable))
    attempt("rename a module", os.rename, os.__file__, os.__file__ + "x")
    attempt("remove a module", os.unlink, os.__file__)
    attempt("set an attribute of the root", os.setxattr, "/", "user.x", b"x")
    for directory in ["/box", "/tmp", "/home/guest", "/dev/shm"]:
        attempt("create in scratch " + directory, create_in, directory)
for path in ["/etc/shadow", "/etc/ssh", "/root", "/root/.ssh", "/home", "/var", "/var/run", "/run", "/sys", "/boot",
             "/proc/1", "/etc/hostname", "/etc/machine-id", "/usr/bin/mount"]:
    attempt("stat " + path, os.stat, path)
# Outside some of these devices would wait for ever.
attempt("read /proc/cpuinfo", read, "/proc/cpuinfo", 16)
if not CONTROL:
    for path in ["/etc/shadow", "/proc/1/environ", "/proc/1/maps", "/proc/1/cmdline", "/proc/1/mem", "/proc/kcore",
                 "/proc/kallsyms", "/proc/keys", "/proc/cmdline", "/proc/version", "/proc/sys/kernel/core_pattern",
                 "/proc/mounts", "/proc/net/tcp", "/proc/sysvipc/shm", "/proc/modules", "/proc/config.gz",
                 "/proc/key-users", "/proc/meminfo", "/dev/kmsg", "/dev/mem", "/dev/sda", "/dev/vda",
                 "/dev/fuse", "/dev/kvm", "/dev/tty", "/dev/ptmx", "/dev/console", "/dev/loop0", "/dev/net/tun"]:
        attempt("read " + path, read, path, 16)
attempt("passwd", lambda: read("/etc/passwd").decode())
attempt("list /", lambda: sorted(os.listdir("/")))
attempt("list /proc", lambda: sorted(os.listdir("/proc")))
attempt("list /dev", lambda: sorted(os.listdir("/dev")))
attempt("list /etc", lambda: sorted(os.listdir("/etc")))
attempt("list /home", lambda: sorted(os.listdir("/home")))
attempt("list descriptors", lambda: sorted(int(name) for name in os.listdir("/proc/self/fd")))
attempt("list fds of 1", lambda: os.listdir("/proc/1/fd"))
attempt("list the root of 1", lambda: os.listdir("/proc/1/root"))


def handle():
    """open_by_handle_at of the root directory's inode 2, the classic way out (CVE-2014-3519's kin)."""
    number = ctypes.c_int(1)
    raw = (8).to_bytes(4, "little") + (1).to_bytes(4, "little") + (2).to_bytes(8, "little")
    buffer = ctypes.create_string_buffer(raw, len(raw))
    directory = os.open("/", os.O_RDONLY)
    return syscall("open_by_handle_at", directory, buffer, os.O_RDONLY)


attempt("open by handle", handle)


def writes_to_proc():
    for path in ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger",
                 "/proc/sys/vm/drop_caches", "/proc/self/oom_score_adj", "/proc/1/oom_score_adj",
                 "/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups", "/proc/1/attr/current"]:
        value = b"-1000" if "oom" in path else b"x"
        yield path, lambda path=path, value=value: os.write(os.open(path, os.O_WRONLY), value)


if not CONTROL:
    for path, function in writes_to_proc():
        attempt("write " + path, function)
