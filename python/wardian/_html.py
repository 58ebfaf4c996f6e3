"""How a report looks in a notebook: everything of the program's is escaped, and images are its only pictures."""

from __future__ import annotations

import typing

from .report import FileEntry, Report, Stream, escape

#: Images that a browser draws without executing anything in them; SVG can contain scripts.
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_MOST_IMAGES = 8
_MOST_TEXT = 20_000


def report(value: Report) -> str:
    """The report as an HTML fragment."""
    colour = "#2e7d32" if value.ok else "#c62828"
    parts = [
        '<div class="wardian-report" style="font-family: sans-serif; line-height: 1.4">',
        f'<div><b style="color: {colour}">{escape(value.verdict)}</b> {escape(value.message)}</div>',
        _stream(value.stdout, "inherit"),
        _stream(value.stderr, "#c62828"),
    ]
    images = [entry for entry in value.files if entry.mime in _IMAGES and entry.base64]
    parts.extend(_image(entry) for entry in images[:_MOST_IMAGES])
    others = [entry for entry in value.files if entry not in images[:_MOST_IMAGES]]
    if others:
        names = ", ".join(f"{escape(entry.path)} ({entry.bytes} bytes)" for entry in others)
        parts.append(f"<div>files: {names}</div>")
    parts.append(_bars(value))
    for denial in value.denials:
        text = f"refused {denial.count}×: {denial.syscall} {denial.detail}: {denial.errno}. {denial.hint}"
        parts.append(f'<div style="color: #8d6e63">{escape(text)}</div>')
    parts.append("</div>")
    return "".join(parts)


def _stream(stream: Stream, colour: str) -> str:
    text = str(stream)
    if not text:
        return ""
    if len(text) > _MOST_TEXT:
        text = text[:_MOST_TEXT] + "\n[…]"
    return f'<pre style="margin: 0.3em 0; color: {colour}">{escape(text)}</pre>'


def _image(entry: FileEntry) -> str:
    source = f"data:{entry.mime};base64,{entry.base64}"
    return f'<div><img alt="{escape(entry.path)}" style="max-width: 100%" src="{escape(source)}"></div>'


def _bars(value: Report) -> str:
    cpu = value.usage.cpu_us
    rows: typing.List[typing.Tuple[str, typing.Optional[float], float, str]] = [
        ("wall", value.usage.wall_us / 1e6, value.limits.wall_us / 1e6, "s"),
        ("cpu", None if cpu is None else cpu / 1e6, value.limits.cpu_us / 1e6, "s"),
        ("memory", _mebibytes(value.usage.memory_peak_bytes), value.limits.memory_bytes / 2**20, "MiB"),
    ]
    cells = []
    for name, used, limit, unit in rows:
        if used is None or limit <= 0:
            continue
        share = max(1.0, min(100.0, 100 * used / limit))
        colour = "#c62828" if share > 90 else "#607d8b"
        cells.append(
            f'<tr><td>{name}</td><td style="width: 10em; border: 1px solid #bbb; padding: 0">'
            f'<div style="width: {share:.0f}%; height: 0.8em; background: {colour}"></div></td>'
            f"<td>{used:.3g} of {limit:.3g} {unit}</td></tr>"
        )
    return f'<table style="font-size: 85%">{"".join(cells)}</table>' if cells else ""


def _mebibytes(value: typing.Optional[int]) -> typing.Optional[float]:
    return None if value is None else value / 2**20
