"""Plain values to JSON and back, exactly: what carries globals in and out of a sandbox.

This file runs on both sides, on any Python from 3.6 on, and imports nothing of the package. Reading evaluates nothing:
what arrives is of the types named here, bounded in size and depth, or a ``Problem``.

None, booleans, finite floats, text and small whole numbers are themselves; everything else is a list that begins with
what it is.
"""

import binascii
import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import typing

#: Levels within levels. The channel itself takes 128 brackets, and a dictionary is two of them.
DEPTH = 50
#: Whole numbers with more digits than this take longer to read as decimals than they are worth: they go as hexadecimals.
DECIMAL = 1 << 63


class Problem(Exception):
    """Why a value cannot be carried."""


def pack(value: "object", budget: "typing.List[int]") -> "typing.Any":
    """A value as what JSON can say; ``budget`` is a list of one number, the bytes that are left."""
    return _pack(value, budget, 0, set())


def _pay(budget: "typing.List[int]", size: int) -> None:
    budget[0] -= size
    if budget[0] < 0:
        raise Problem("too large")


def _pack(value: "typing.Any", budget: "typing.List[int]", depth: int, above: "typing.Set[int]") -> "typing.Any":
    kind = type(value)
    if value is None or kind is bool:
        _pay(budget, 5)
        return value
    if kind is int:
        _pay(budget, 8 + value.bit_length() // 4)
        return value if -DECIMAL < value < DECIMAL else ["i", "%x" % value]
    if kind is float:
        _pay(budget, 24)
        return value if value - value == 0 else ["f", repr(value)]
    if kind is complex:
        _pay(budget, 60)
        return ["c", repr(value.real), repr(value.imag)]
    if kind is str:
        return _text(value, budget)
    if kind is bytes or kind is bytearray:
        _pay(budget, 12 + len(value) * 4 // 3)
        return ["b" if kind is bytes else "ba", _base64(bytes(value))]
    return _pack_many(value, kind, budget, depth, above)


def _text(value: str, budget: "typing.List[int]") -> "typing.Any":
    # Text is written in ASCII: what is not takes 6 bytes, or 12 outside the first plane.
    _pay(budget, 2 + len(value))
    if not value.isascii() if hasattr(value, "isascii") else True:
        _pay(budget, 5 * sum(1 for character in value if character > "\x7f"))
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return ["u", _base64(value.encode("utf-8", "surrogatepass"))]
    return value


def _base64(content: bytes) -> str:
    return binascii.b2a_base64(content, newline=False).decode("ascii")


_MANY = {list: "l", tuple: "t", set: "s", frozenset: "fs"}  # type: typing.Dict[typing.Any, str]


def _pack_many(
    value: "typing.Any", kind: type, budget: "typing.List[int]", depth: int, above: "typing.Set[int]"
) -> "typing.Any":
    if depth >= DEPTH:
        raise Problem("nested more than %d deep" % DEPTH)
    if id(value) in above:
        raise Problem("it contains itself")
    name = _MANY.get(kind)
    if name is None and kind is not dict:
        raise Problem("it is %s %s" % (_article(kind), _name(kind)))
    above.add(id(value))
    try:
        _pay(budget, 8)
        if kind is dict:
            return ["d"] + [
                [_pack(key, budget, depth + 1, above), _pack(item, budget, depth + 1, above)]
                for key, item in list(value.items())
            ]
        return [name] + [_pack(item, budget, depth + 1, above) for item in list(value)]
    finally:
        above.discard(id(value))


def _article(kind: type) -> str:
    return "an" if _name(kind)[:1] in "aeiouAEIOU" else "a"


def _name(kind: type) -> str:
    name = getattr(kind, "__qualname__", "object")
    module = getattr(kind, "__module__", "builtins")
    if not isinstance(name, str):
        name = "object"
    return name if module == "builtins" or not isinstance(module, str) else module + "." + name


def is_code(name: "object", value: "object") -> bool:
    """Whether a global is what code is made of, and no value that it has computed."""
    kind = type(value)
    made_of = issubclass(kind, (type, type(json), type(pack), type(len)))
    return made_of or name == "__annotations__" or getattr(kind, "__module__", "") in ("typing", "__future__")


def unpack(value: "typing.Any") -> "typing.Any":
    """The value that :func:`pack` has packed; ``Problem`` for anything else."""
    try:
        return _unpack(value, 0)
    except (ValueError, TypeError, RecursionError, OverflowError, IndexError) as error:
        raise Problem("it is not what it says: %s" % type(error).__name__)


def _unpack(value: "typing.Any", depth: int) -> "typing.Any":
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if depth > DEPTH + 1 or not isinstance(value, list) or not value:
        raise Problem("it is not what it says")
    kind, rest = value[0], value[1:]
    if kind == "d":
        pairs = [(_unpack(pair[0], depth + 1), _unpack(pair[1], depth + 1)) for pair in rest if _is_pair(pair)]
        _check_hashes([key for key, _ in pairs])
        return dict(pairs)
    for maker, name in _MANY.items():
        if kind == name:
            items = [_unpack(item, depth + 1) for item in rest]
            if maker is set or maker is frozenset:
                _check_hashes(items)
            return maker(items)
    texts = [item for item in rest if isinstance(item, str)]
    if kind == "i":
        return int(texts[0], 16)
    if kind == "f":
        return float(texts[0])
    if kind == "c":
        return complex(float(texts[0]), float(texts[1]))
    content = binascii.a2b_base64(texts[0].encode("ascii"))
    if _base64(content) != texts[0]:
        raise Problem("it is not what it says")
    if kind == "u":
        return content.decode("utf-8", "surrogatepass")
    if kind == "ba":
        return bytearray(content)
    if kind == "b":
        return content
    raise Problem("it is not what it says")


#: Different keys of one hash: each more costs a comparison with all before it.
_SAME_HASH = 64


def _check_hashes(keys: "typing.Iterable[typing.Any]") -> None:
    """Whole numbers can be chosen to have the same hash, which would make a dictionary of them take for ever."""
    seen = {}  # type: typing.Dict[int, int]
    for key in keys:
        value = hash(key)
        seen[value] = seen.get(value, 0) + 1
        if seen[value] > _SAME_HASH:
            raise Problem("too many of its keys have the same hash")


def _is_pair(pair: "typing.Any") -> bool:
    if isinstance(pair, list) and len(pair) == 2:
        return True
    raise Problem("it is not what it says")


def write(value: "typing.Any") -> str:
    """JSON text of what is packed: ASCII only."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
