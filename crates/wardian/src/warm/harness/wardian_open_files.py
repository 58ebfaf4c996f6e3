# What preloaded modules keep open. Children would share it, its offset above all: each gets its own, or there are none.

# Where the native part keeps its descriptors: wardian-init's zygote.rs.
OWN = 100, 101
MOST = 1024
MOST_COPIED = 1 << 20
FILE_TYPE, REGULAR = 0o170000, 0o100000
NOT_ONLY_READ = 0o10000003  # O_PATH and O_ACCMODE


def with_low_numbers_taken(os, function, *args):
    """What it opens and keeps gets a descriptor that no sandbox uses. libffi, of `ctypes`, may keep its own file open,
    to make callbacks of."""
    taken = []
    try:
        while not taken or taken[-1] < OWN[-1]:
            taken.append(os.dup(2))
    except OSError:
        # So many are not allowed.
        while taken:
            os.close(taken.pop())
    function(*args)
    for number in taken:
        os.close(number)


class OpenFiles:
    def __init__(self, os, prefixes, partial, may_copy):
        self.os = os
        self.libraries = tuple(path + "/" for path in {"/usr", "/lib", "/lib64", *prefixes})
        self.partial = partial
        self.may_copy = may_copy
        self.kept = []

    def find_shared(self, first):
        """The name of one that cannot be opened anew, if there is one from this number on."""
        os = self.os
        for number in range(first, MOST):
            if number in OWN:
                continue
            try:
                status = os.fstat(number)
            except OSError:
                continue
            try:
                name = os.readlink(f"/proc/self/fd/{number}")
            except OSError:
                name = "unknown"
            try:
                if not self.can_be_opened_anew(number, status, name):
                    return name
            except OSError:
                return name
        return None

    def can_be_opened_anew(self, number, status, name):
        """A file that is only read, or has no name any more."""
        os = self.os
        if status.st_mode & FILE_TYPE != REGULAR or number <= OWN[-1]:
            return False
        offset = os.lseek(number, 0, os.SEEK_CUR)
        if status.st_nlink == 0 and status.st_size <= MOST_COPIED and self.may_copy:
            anew = self.partial(self.copy, os.pread(number, status.st_size, 0))
        elif self.is_only_read(number, status, name):
            anew = self.partial(self.open_again, name, status)
        else:
            return False
        self.kept.append((number, offset, anew))
        return True

    def is_only_read(self, number, status, name):
        """Of a library or the interpreter: what others may change, or replace, is not taken."""
        os = self.os
        with open(f"/proc/self/fdinfo/{number}") as lines:
            flags = [int(line.split()[1], 8) for line in lines if line.startswith("flags:")]
        return (
            os.path.samestat(os.stat(name), status)
            and name.startswith(self.libraries)
            and os.statvfs(name).f_flag & os.ST_RDONLY != 0
            and flags[0] & NOT_ONLY_READ == 0
        )

    def copy(self, content):
        file = self.os.memfd_create("copy")
        if self.os.write(file, content) != len(content):
            raise OSError("a short copy")
        return file

    def open_again(self, name, status):
        file = self.os.open(name, self.os.O_RDONLY | self.os.O_NONBLOCK | self.os.O_NOFOLLOW)
        if not self.os.path.samestat(self.os.fstat(file), status):
            raise OSError(f"{name} is another file now")
        return file

    def open_anew(self):
        """In a child: the sandbox has closed what the zygote had. Answers why it cannot be, if so."""
        os = self.os
        try:
            for number, offset, anew in self.kept:
                file = anew()
                os.lseek(file, offset, os.SEEK_SET)
                os.dup2(file, number, False)
                os.close(file)
        except OSError as error:
            reason = f"it has changed ({error}), or `limits.open_files` is too small for its number"
            return f"a sandbox cannot open file {number} that a preloaded module keeps open: {reason}"
