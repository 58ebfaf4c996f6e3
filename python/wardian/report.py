"""The report: what happened to a run, field by field as in ``docs/schema/report.json``."""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import typing

from .errors import SandboxError, VerdictError

__all__ = [
    "Denial",
    "Enforcement",
    "FileEntry",
    "Limits",
    "OmittedFile",
    "PolicyRef",
    "Report",
    "Signal",
    "Stream",
    "Timeline",
    "Usage",
]

SCHEMA = "wardian.report/1"
#: Digits of a whole number in a result: reading one takes time that grows with the square of them.
MOST_DIGITS = 4300

_T = typing.TypeVar("_T")
_Json = typing.Mapping[str, typing.Any]
#: The type, where a field has its name.
_Bytes = bytes


def _known(kind: typing.Type[_T], data: _Json) -> _T:
    """A dataclass from its fields; what a newer wardian adds is left out."""
    names = _names(kind)
    return kind(**{name: value for name, value in data.items() if name in names})


def _names(kind: type) -> typing.FrozenSet[str]:
    names = _NAMES.get(kind)
    if names is None:
        names = _NAMES[kind] = frozenset(field.name for field in dataclasses.fields(kind))
    return names


#: The fields of each dataclass: looking at them is most of what reading a report costs.
_NAMES: typing.Dict[type, typing.FrozenSet[str]] = {}


@dataclasses.dataclass(frozen=True)
class PolicyRef:
    """A policy by name and content."""

    name: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class Signal:
    """The signal that ended a program."""

    number: int
    name: str


@dataclasses.dataclass(frozen=True)
class Stream:
    """What a program wrote to one of its streams."""

    encoding: str
    text: str
    bytes: int
    truncated: bool = False
    omitted_bytes: int = 0
    tail: typing.Optional[str] = None
    passed_through: bool = False
    write_error: typing.Optional[str] = None

    @property
    def content(self) -> _Bytes:
        """The bytes that were kept from the beginning."""
        if self.encoding == "base64":
            return base64.b64decode(self.text)
        return self.text.encode("utf-8", "surrogatepass")

    def __eq__(self, other: object) -> bool:
        """Text and bytes are compared with what the program wrote: what was cut short equals none."""
        if isinstance(other, str):
            return str(self) == other
        if isinstance(other, _Bytes):
            return not self.truncated and self.content == other
        if isinstance(other, Stream):
            return dataclasses.astuple(self) == dataclasses.astuple(other)
        return NotImplemented

    def __hash__(self) -> int:
        """As its text's, which it equals."""
        return hash(str(self))

    def __str__(self) -> str:
        """The text, with a mark where bytes are no UTF-8 or are missing."""
        text = bytes_of(self).decode("utf-8", "replace")
        if not self.truncated:
            return text
        tail = self.tail or ""
        if self.encoding == "base64":
            tail = base64.b64decode(tail).decode("utf-8", "replace")
        return f"{text}\n[… {self.omitted_bytes} bytes …]\n{tail}"


def bytes_of(stream: Stream) -> bytes:
    """A stream's beginning as bytes."""
    return bytes(stream.content)


@dataclasses.dataclass(frozen=True)
class Limits:
    """The limits in force; times in microseconds."""

    wall_us: int = 0
    cpu_us: int = 0
    cpus: typing.Optional[float] = None
    memory_bytes: int = 0
    processes: int = 0
    disk_bytes: int = 0
    disk_inodes: int = 0
    output_bytes: int = 0
    open_files: int = 0
    file_size_bytes: int = 0
    stack_bytes: int = 0


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a run used; ``None`` where the kernel does not say."""

    wall_us: int = 0
    cpu_user_us: typing.Optional[int] = None
    cpu_system_us: typing.Optional[int] = None
    memory_peak_bytes: typing.Optional[int] = None
    processes_peak: typing.Optional[int] = None
    page_faults: typing.Optional[int] = None
    context_switches: typing.Optional[int] = None
    disk_bytes: typing.Optional[int] = None
    disk_inodes: typing.Optional[int] = None

    @property
    def cpu_us(self) -> typing.Optional[int]:
        """User and system CPU time together."""
        if self.cpu_user_us is None and self.cpu_system_us is None:
            return None
        return (self.cpu_user_us or 0) + (self.cpu_system_us or 0)


@dataclasses.dataclass(frozen=True)
class FileEntry:
    """A collected file; its name, type and content are the program's doing."""

    path: str
    bytes: int
    mime: str
    base64: typing.Optional[str] = dataclasses.field(default=None, repr=False)

    @property
    def content(self) -> _Bytes:
        """Its bytes."""
        return base64.b64decode(self.base64 or "")


@dataclasses.dataclass(frozen=True)
class OmittedFile:
    """A file that matched but was not collected."""

    path: str
    reason: str
    write_error: bool = False


@dataclasses.dataclass(frozen=True)
class Denial:
    """Something the program tried and the policy refused."""

    syscall: str
    detail: str
    errno: str
    count: int
    hint: str


@dataclasses.dataclass(frozen=True)
class Enforcement:
    """Which layer enforced something, and how strongly."""

    layer: str
    level: str
    also: typing.Optional[str] = None
    abi: typing.Optional[str] = None
    note: typing.Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Timeline:
    """When things happened, in microseconds since the run was accepted."""

    accepted: int = 0
    prepared: typing.Optional[int] = None
    started: typing.Optional[int] = None
    ended: typing.Optional[int] = None
    collected: typing.Optional[int] = None


@dataclasses.dataclass(frozen=True)
class Report:
    """What happened to a run, as the supervisor saw it; the fields of the JSON report."""

    schema: str
    id: str
    wardian: str
    kernel: str
    python: typing.Optional[str]
    policy: PolicyRef
    verdict: str
    reason: str
    message: str
    exit_code: typing.Optional[int]
    signal: typing.Optional[Signal]
    stdout: Stream
    stderr: Stream
    limits: Limits
    usage: Usage
    usage_source: typing.Mapping[str, str]
    files: typing.Sequence[FileEntry]
    files_omitted: typing.Sequence[OmittedFile]
    denials: typing.Sequence[Denial]
    enforced_by: typing.Mapping[str, Enforcement]
    timeline_us: Timeline
    denials_unavailable: typing.Optional[str] = None
    level: typing.Optional[str] = None
    result: typing.Any = None
    result_missing: typing.Optional[str] = None
    #: Whether standard output and standard error were one terminal.
    terminal: bool = False
    #: The report as it came.
    raw: typing.Mapping[str, typing.Any] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def ok(self) -> bool:
        """Whether the program did all it wanted, and said so."""
        return self.verdict == "ok"

    @classmethod
    def from_json(cls, data: _Json) -> Report:
        """The report that parsed JSON is.

        Raises :class:`SandboxError` if it is none, or of a schema that this package does not know.
        """
        schema = data.get("schema") if isinstance(data, dict) else None
        if schema != SCHEMA:
            raise SandboxError(f"not a report of schema {SCHEMA!r}, but {schema!r}", "upgrade the older of the two")
        try:
            return cls._from_known(data)
        except (KeyError, TypeError, AttributeError) as error:
            raise SandboxError(f"a report that does not keep to its schema: {error!r}") from error

    @classmethod
    def _from_known(cls, data: _Json) -> Report:
        values = {name: data[name] for name in _names(cls) if name in data and name != "raw"}
        signal = data["signal"]
        values.update(
            policy=_known(PolicyRef, data["policy"]),
            signal=None if signal is None else _known(Signal, signal),
            stdout=_known(Stream, data["stdout"]),
            stderr=_known(Stream, data["stderr"]),
            limits=_known(Limits, data["limits"]),
            usage=_known(Usage, data["usage"]),
            files=tuple(_known(FileEntry, entry) for entry in data["files"]),
            files_omitted=tuple(_known(OmittedFile, entry) for entry in data["files_omitted"]),
            denials=tuple(_known(Denial, entry) for entry in data["denials"]),
            enforced_by={
                name: _known(Enforcement, entry) for name, entry in data["enforced_by"].items()
            },
            timeline_us=_known(Timeline, data["timeline_us"]),
            raw=data,
        )
        return cls(**values)

    @classmethod
    def from_text(cls, text: typing.Union[str, bytes]) -> Report:
        """The report that JSON text is."""
        try:
            return cls.from_json(loads(text))
        except (ValueError, RecursionError) as error:
            raise SandboxError(f"not a report: {error}") from error

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self.raw)

    def raise_for_verdict(self) -> Report:
        """Raises :class:`VerdictError` unless the program ended with 0; answers the report itself."""
        if self.ok:
            return self
        last = str(self.stderr).strip().splitlines()[-1:] or [""]
        words = f"{self.verdict}: {self.message}"
        raise VerdictError(f"{words} {last[0]}".strip(), self)

    def __repr__(self) -> str:
        cpu = self.usage.cpu_us
        memory = self.usage.memory_peak_bytes
        parts = [self.verdict]
        if self.exit_code:
            parts.append(f"exit {self.exit_code}")
        if self.signal is not None:
            parts.append(self.signal.name)
        parts.append(f"wall {self.usage.wall_us / 1e6:.3f} s")
        if cpu is not None:
            parts.append(f"cpu {cpu / 1e6:.3f} s")
        if memory is not None:
            parts.append(f"memory {memory / 2**20:.1f} MiB")
        text = str(self.stdout)
        if text:
            parts.append(f"stdout {text if len(text) <= 60 else text[:57] + '...'!r}")
        return f"<wardian.Report {', '.join(parts)}>"

    def _repr_html_(self) -> str:
        from ._html import report

        return report(self)


def loads(text: typing.Union[str, bytes]) -> typing.Any:
    """JSON whose whole numbers have a bounded number of digits; ValueError for all that is wrong with it."""

    def whole(digits: str) -> int:
        if len(digits) > MOST_DIGITS:
            raise ValueError(f"a whole number of {len(digits)} digits")
        return int(digits)

    return json.loads(text, parse_int=whole)


def escape(text: object) -> str:
    """Text for HTML."""
    return html.escape(str(text), quote=True)
