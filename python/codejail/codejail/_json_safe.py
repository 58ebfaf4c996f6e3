"""What of a dictionary goes through JSON. Its source also runs in the jail, where other Pythons are: no annotations."""

import io
import json
import os
import sys

#: The process that began, in the jail.
own_pid = 0


def json_safe(d):  # type: ignore[no-untyped-def]
    """The part of a dictionary that goes through JSON."""
    ok_types = (type(None), int, float, bytes, str, list, tuple, dict)

    def decode(obj):  # type: ignore[no-untyped-def]
        if isinstance(obj, bytes):
            return obj.decode("utf-8")
        if isinstance(obj, (list, tuple)):
            return [decode(item) for item in obj]  # type: ignore[no-untyped-call]
        if isinstance(obj, dict):
            return {decode(k): decode(v) for k, v in obj.items()}  # type: ignore[no-untyped-call]
        return obj

    safe = {}
    for key, value in d.items():
        if key == "__builtins__" or not isinstance(value, ok_types):
            continue
        try:
            # There and back, since not all that can be written can be read.
            value = json.loads(json.dumps(decode(value)))  # type: ignore[no-untyped-call]
            key = json.loads(json.dumps(decode(key)))  # type: ignore[no-untyped-call]
        except Exception:
            continue
        safe[key] = value
    return json.loads(json.dumps(safe))


class DevNull(object):
    """What is printed is nobody's."""

    def write(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        pass

    def flush(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        pass


def begin():  # type: ignore[no-untyped-def]
    """In the jail: the code and its globals, from standard input."""
    global own_pid
    own_pid = os.getpid()
    sys.stdout = DevNull()
    order = json.load(sys.stdin)
    sys.path.extend(order.get("python_path") or [])
    return order["code"], order["globals_dict"]


def end(g_dict):  # type: ignore[no-untyped-def]
    """In the jail: the globals go out on descriptor 3, as JSON in a JSON string: what is printed gets not in their way."""
    if os.getpid() != own_pid:
        # A fork of the code that came back here: only the first process has globals.
        os._exit(0)
    left = json.dumps(json.dumps(json_safe(g_dict))).encode("ascii")  # type: ignore[no-untyped-call]
    while left:
        left = left[os.write(3, left) :]
    # The end is quicker where the streams are what they were; nobody reads what is printed from here on.
    sys.stdout = sys.__stdout__


def wardian_rehearse():  # type: ignore[no-untyped-def]
    """What every program of a jail touches, called in each that is made ready."""
    order = json.load(io.StringIO('{"code": "y = x + 1", "globals_dict": {"x": 1}, "python_path": []}'))
    exec(order["code"], order["globals_dict"])
    json.dumps(json.dumps(json_safe(order["globals_dict"]))).encode("ascii")  # type: ignore[no-untyped-call]
