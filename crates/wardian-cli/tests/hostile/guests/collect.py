# Everything that a collector of files can stumble over, in the working directory.
import socket
import stat as modes

planted = sys.argv[1]
with open("good.txt", "w") as file:
    file.write("good")
os.makedirs("sub/deeper")
with open("sub/deeper/good.txt", "w") as file:
    file.write("deep")
for name, target in {"link-passwd": "/etc/passwd", "link-planted": planted, "link-root": "/", "link-up": "../..",
                     "link-self": "link-self", "link-proc": "/proc/self/root" + planted, "link-good": "good.txt",
                     "link-fd": "/proc/self/fd/0"}.items():
    os.symlink(target, name)
os.mkdir("real")
os.symlink("/etc", "real/etc")
os.symlink(os.path.dirname(planted), "linked-directory")
attempt("fifo", os.mkfifo, "fifo")
attempt("socket", lambda: socket.socket(socket.AF_UNIX).bind("socket"))
attempt("hard link", os.link, "good.txt", "hard.txt")
with open("sparse.bin", "wb") as file:
    attempt("sparse", file.truncate, 200 << 20)
os.mkdir("closed")
with open("closed/inside.txt", "w") as file:
    file.write("closed")
os.chmod("closed", 0)
with open("unreadable.txt", "w") as file:
    file.write("unreadable")
os.chmod("unreadable.txt", 0)
for name in [b"new\nline.txt", b"\xff\xfe.txt", b"-rf.txt", b"a\x1b[31m.txt", b"%2e%2e.txt", b"..hidden.txt", b"back\\slash.txt",
             b"con:colon.txt", "\u202egnp.txt".encode(), b"x" * 251 + b".txt", b" .txt", b"*.txt"]:
    with open(name, "wb") as file:
        file.write(b"named")
os.chmod("good.txt", 0o777)
