"""Policies as TOML text: what a mapping of plain values needs."""

from __future__ import annotations

import json
import re
import typing

from .errors import UsageError

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def dumps(value: typing.Mapping[str, typing.Any]) -> str:
    """A mapping as a TOML document."""
    return "".join(f"{_key(key)} = {_value(item)}\n" for key, item in value.items() if item is not None)


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise UsageError(f"policy: the key {key!r} is not text")
    return key if _BARE.match(key) else _string(key)


def _string(text: str) -> str:
    # A JSON string is a TOML string, but for DEL, and for halves of characters, which are none in either.
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"policy: {text!r} contains half a character") from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, typing.Mapping):
        inner = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items() if item is not None)
        return f"{{{inner}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    raise UsageError(f"policy: {value!r} is no value of a policy")
