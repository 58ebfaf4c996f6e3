"""From keyword arguments to a command line and descriptors."""

from __future__ import annotations

import contextlib
import datetime
import difflib
import math
import os
import typing

from .errors import SandboxError, UsageError

Time = typing.Union[int, float, str, datetime.timedelta]
Size = typing.Union[int, str]
Content = typing.Union[bytes, bytearray, memoryview, str, "os.PathLike[str]"]
Files = typing.Union[typing.Mapping[str, Content], typing.Iterable[typing.Union[str, "os.PathLike[str]"]]]
Stdin = typing.Union[None, bytes, bytearray, memoryview, str, "os.PathLike[str]", int]
_T = typing.TypeVar("_T")


class Options(typing.TypedDict, total=False):
    """What every run can be given, by keyword; the names are those of ``wardian run``.

    Where neither ``python`` nor ``venv`` is given, the interpreter of this process runs inside.
    """

    policy: typing.Union[str, "os.PathLike[str]", typing.Mapping[str, typing.Any]]
    wall: Time
    cpu_time: Time
    cpus: float
    memory: Size
    processes: int
    disk: Size
    output: Size
    open_files: int
    file_size: Size
    stack: Size
    network: str
    outside: str
    level: str
    require: typing.Iterable[str]
    python: typing.Union[str, "os.PathLike[str]"]
    venv: typing.Union[str, "os.PathLike[str]"]
    env: typing.Mapping[str, str]
    mounts: typing.Iterable[str]
    cwd: str


_TIMES = ("wall", "cpu_time")
_SIZES = ("memory", "disk", "output", "file_size", "stack")
_COUNTS = ("processes", "open_files")
_WORDS = ("network", "outside", "level", "cwd")
_PATHS = ("python", "venv")
NAMES = frozenset(Options.__annotations__)
#: What others call them.
_MEANT = {"mem": "memory", "ram": "memory", "time": "wall", "timeout": "wall"}

#: Longer code does not go on the command line (the kernel allows 128 KiB for one argument).
LONGEST_CODE = 64 << 10


def named(options: Options) -> Options:
    """The options by their names: `cpu`, as a server calls it, is `cpu_time`."""
    if "cpu" not in options:
        return options
    if "cpu_time" in options:
        raise TypeError("`cpu` and `cpu_time` are the same: give one of them")
    return typing.cast(Options, {("cpu_time" if name == "cpu" else name): value for name, value in options.items()})


def check_names(options: typing.Mapping[str, object]) -> None:
    """TypeError for a name that is no option, as for any function."""
    for name in options:
        if name not in NAMES:
            near = _MEANT.get(name) or next(iter(difflib.get_close_matches(name, NAMES, 1)), None)
            also = f"; did you mean {near!r}?" if near else ""
            raise TypeError(f"there is no option {name!r}{also}")


def seconds(name: str, value: Time) -> str:
    """A time as the command line reads it."""
    if isinstance(value, str):
        return text(name, value)
    if isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{name}: {value!r} is no time", "seconds, a timedelta, or text like '500ms'")
    if not math.isfinite(value) or value < 0:
        raise UsageError(f"{name}: {value!r} is no time that can be waited for")
    return f"{value:.6f}"


def size(name: str, value: Size) -> str:
    """A number of bytes as the command line reads it."""
    if isinstance(value, str):
        return text(name, value)
    return count(name, value)


def count(name: str, value: int) -> str:
    """A whole number as the command line reads it."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(f"{name}: {value!r} is no whole number of 0 or more")
    return str(value)


def text(name: str, value: typing.Union[str, "os.PathLike[str]"]) -> str:
    """Text that can be an argument of a program."""
    try:
        plain = os.fspath(value)
        if not isinstance(plain, str):
            raise TypeError
        if "\0" in plain:
            raise UsageError(f"{name} contains a NUL character")
        plain.encode("utf-8", "surrogateescape")
    except TypeError:
        raise UsageError(f"{name}: {value!r} is not text") from None
    except UnicodeEncodeError as error:
        raise UsageError(f"{name} contains {plain[error.start]!r}, which is half a character") from None
    return plain


def strings(name: str, values: typing.Iterable[typing.Union[str, "os.PathLike[str]"]]) -> typing.List[str]:
    """Several texts, each of which can be an argument of a program."""
    return [text(name, value) for value in several(name, values)]


def several(name: str, values: typing.Iterable[_T]) -> typing.List[_T]:
    """What is given as a list; one string is none."""
    if isinstance(values, (str, bytes)):
        raise UsageError(f"{name} is one string", "a list of strings")
    try:
        return list(values)
    except TypeError:
        raise UsageError(f"{name} is {type(values).__name__}", "a list of strings") from None


def variables(env: typing.Mapping[str, str]) -> typing.Dict[str, str]:
    """Variables of the environment."""
    if not isinstance(env, typing.Mapping):
        raise UsageError(f"env is {type(env).__name__}", "a mapping of names to values")
    for name in env:
        if not name or "=" in text("env", name):
            raise UsageError(f"env: {name!r} is no variable's name")
    return {text("env", name): text(f"env {name}", value) for name, value in env.items()}


def listed(files: typing.Iterable[typing.Union[str, "os.PathLike[str]"]]) -> typing.List[str]:
    """The full paths of files that are given as a list."""
    if isinstance(files, (str, bytes)) or not isinstance(files, typing.Iterable):
        what = "one string" if isinstance(files, (str, bytes)) else type(files).__name__
        raise UsageError(f"files is {what}", "a list of paths, or {name: content}")
    return [os.path.abspath(text("files", path)) for path in files]


def _open_descriptor(number: int) -> int:
    try:
        os.fstat(number)
    except (OSError, OverflowError):
        raise UsageError(f"stdin: there is no descriptor {number}") from None
    return number


class Command:
    """A command line of ``wardian run`` under construction, and the descriptors it names."""

    def __init__(self) -> None:
        self.words: typing.List[str] = []
        self.given: typing.List[int] = []
        self.stdin: typing.Optional[int] = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def option(self, name: str, value: str) -> None:
        """Adds an option with its value."""
        self.words.append(f"--{name.replace('_', '-')}={value}")

    def flag(self, name: str) -> None:
        """Adds an option without a value."""
        self.words.append(f"--{name}")

    def apply(self, options: Options) -> None:
        """Adds what the keyword arguments say."""
        options = named(options)
        check_names(options)
        values: typing.Mapping[str, typing.Any] = {
            name: value for name, value in options.items() if value is not None
        }
        for names, convert in ((_TIMES, seconds), (_SIZES, size), (_COUNTS, count), (_WORDS, text), (_PATHS, text)):
            for name in names:
                if name in values:
                    self.option(name, convert(name, values[name]))
        if "cpus" in values:
            self.option("cpus", seconds("cpus", values["cpus"]))
        for layer in strings("require", values.get("require", ())):
            self.option("require", layer)
        for mount in strings("mounts", values.get("mounts", ())):
            self.option("mount", mount)
        for name, value in variables(values.get("env", {})).items():
            self.option("env", f"{name}={value}")
        if "policy" in values:
            self._policy(values["policy"])

    def _policy(self, policy: typing.Union[str, "os.PathLike[str]", typing.Mapping[str, typing.Any]]) -> None:
        if isinstance(policy, typing.Mapping):
            from ._toml import dumps

            self.option("policy", self.memory("policy", dumps(policy).encode()))
        elif isinstance(policy, str):
            self.option("policy", text("policy", policy))
        else:
            self.option("policy", os.path.abspath(text("policy", policy)))

    def memory(self, name: str, content: bytes, mode: int = 0o777) -> str:
        """The path, inside the command, of a file in memory."""
        try:
            descriptor = os.memfd_create(f"wardian-{name}"[:200], os.MFD_CLOEXEC)
            self._stack.callback(os.close, descriptor)
            os.fchmod(descriptor, mode)
            left = memoryview(content)
            while left:
                left = left[os.write(descriptor, left) :]
            os.lseek(descriptor, 0, os.SEEK_SET)
        except OSError as error:
            raise SandboxError(f"cannot keep {name!r} in memory: {error.strerror}") from error
        self.given.append(descriptor)
        return self._path(descriptor)

    def _path(self, descriptor: int) -> str:
        from ._process import FIRST

        return f"/proc/self/fd/{FIRST + self.given.index(descriptor)}"

    def file(self, name: str, content: Content, mode: int = 0o777) -> None:
        """Copies content, or a file of the host, in."""
        text("files", name)
        if not name:
            raise UsageError(f"files: {name!r} is no name inside", "a relative path")
        if isinstance(content, str):
            content = content.encode("utf-8", "surrogatepass")
        if isinstance(content, (bytes, bytearray, memoryview)):
            source = self.memory(name, bytes(content), mode)
        elif isinstance(content, os.PathLike):
            source = os.path.abspath(text("files", content))
        else:
            raise UsageError(f"files: {name!r} is {type(content).__name__}", "bytes, text, or a pathlib.Path")
        self.words.append(f"--file=src={source},dst={name}")

    def files(self, files: Files) -> None:
        """Copies several in."""
        if isinstance(files, typing.Mapping):
            for name, content in files.items():
                self.file(name, content)
            return
        # Without a name they have their own; a colon in it would divide a name that is given.
        self.words.extend(f"--file={path}" for path in listed(files))

    def feed(self, stdin: Stdin) -> None:
        """Decides what standard input is; nothing for None."""
        if stdin is None:
            return
        if isinstance(stdin, str):
            stdin = stdin.encode("utf-8", "surrogatepass")
        if isinstance(stdin, (bytes, bytearray, memoryview)):
            self.memory("stdin", bytes(stdin))
            self.stdin = self.given.pop()
        elif isinstance(stdin, bool):
            raise UsageError("stdin is a bool")
        elif isinstance(stdin, int):
            self.stdin = _open_descriptor(stdin)
        elif isinstance(stdin, os.PathLike):
            self.option("stdin", os.path.abspath(text("stdin", stdin)))
        else:
            raise UsageError(f"stdin: {type(stdin).__name__}", "bytes, text, a pathlib.Path or a descriptor")

    def program(
        self,
        code: typing.Optional[str],
        path: typing.Optional[typing.Union[str, "os.PathLike[str]"]],
        module: typing.Optional[str],
        entry: typing.Optional[str],
        args: typing.Iterable[str],
    ) -> None:
        """The program and its arguments: the last words."""
        chosen = [value for value in (code, path, module, entry) if value is not None]
        if len(chosen) != 1:
            raise UsageError("exactly one of code, path, module and entry says what to run")
        arguments = strings("args", args)
        if code is not None:
            if not isinstance(code, str):
                raise UsageError(f"code is {type(code).__name__}, not str")
            if len(text("code", code).encode("utf-8", "surrogateescape")) > LONGEST_CODE:
                self.file("main.py", code)
                self.option("entry", "main.py")
                self.words.extend(("--", *arguments))
            else:
                self.words.extend(("-c", code, "--", *arguments))
        elif entry is not None:
            self.option("entry", text("entry", entry))
            self.words.extend(("--", *arguments))
        elif module is not None:
            self.words.extend(("-m", text("module", module), "--", *arguments))
        elif path is not None:
            self.words.extend(("--", os.path.abspath(text("path", path)), *arguments))
