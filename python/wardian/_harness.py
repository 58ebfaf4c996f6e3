"""Runs inside, before untrusted code and in its process: trusted by nobody.

``main`` is told what to run, runs it, and writes one JSON value to descriptor 3. ``_values`` stands before it, in one
program.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import json
    import typing

    from ._values import Problem, _name, is_code, pack, unpack, write

    Order = typing.Dict[str, typing.Any]


def main(told: bytes) -> None:
    own = os.getpid()
    order = json.loads(told.decode("ascii"))
    sys.argv = [""]
    names = unpack(order["globals"])
    given = list(names)
    try:
        answer = _call(order, names) if order["mode"] == "call" else _execute(order, names)
    except SystemExit as error:
        answer = _exited(error)
    except BaseException as error:
        answer = _raised(error, order)
    if os.getpid() != own:
        # A fork of the program that came back here: only the first process has a result.
        os._exit(0)
    if "error" in answer:
        code = answer.pop("exit", 1)
    else:
        code = 0
        answer = _outcome(order, given, names, answer)
    _put(write(answer).encode("ascii"))
    if code:
        sys.exit(code)


def _execute(order: "Order", names: "Order") -> "Order":
    exec(compile(order["code"], order["name"], "exec"), names)
    return {}


def _call(order: "Order", names: "Order") -> "Order":
    exec(compile(order["code"], order["name"], "exec"), names)
    if order["function"] not in names:
        raise NameError("the code defines no function %r" % order["function"])
    return {"value": names[order["function"]](*unpack(order["args"]), **unpack(order["kwargs"]))}


def _exited(error: SystemExit) -> "Order":
    code = error.code
    if code is None or (type(code) is int and code & 0xFF == 0):
        return {}
    if type(code) is not int:
        sys.stderr.write(str(code) + "\n")
        code = 1
    return {"error": {"type": "SystemExit", "message": "exit code %d" % (code & 0xFF)}, "exit": code & 0xFF}


def _outcome(order: "Order", given: "typing.List[str]", names: "Order", answer: "Order") -> "Order":
    budget = [order["size"]]
    if order["mode"] == "call":
        if "value" not in answer:
            return {"error": {"type": "SystemExit", "message": "it exited instead of returning"}}
        try:
            return {"value": pack(answer["value"], budget)}
        except Problem as problem:
            return {"missing": str(problem)}
    kept = []  # type: typing.List[typing.Any]
    missing = []  # type: typing.List[typing.Any]
    for name, value in list(names.items()):
        if name == "__builtins__":
            continue
        if type(name) is not str:
            missing.append(["?", "its name is no text", False])
            continue
        left = budget[0]
        try:
            pack(name, budget)
            kept.append([name, pack(value, budget)])
        except Problem as problem:
            budget[0] = left
            missing.append([name[:200], str(problem)[:200], is_code(name, value)])
    more = missing[_MOST_MISSING:]
    if more:
        missing[_MOST_MISSING:] = [["…", "and %d more" % len(more), all(entry[2] for entry in more)]]
    return {"globals": kept, "missing": missing, "gone": [name for name in given if name not in names]}


#: Names that are told with a reason; of more there is their number.
_MOST_MISSING = 1000


def _raised(error: BaseException, order: "Order") -> "Order":
    import linecache
    import traceback

    lines = order["code"].splitlines(True)
    linecache.cache[order["name"]] = (len(order["code"]), None, lines, order["name"])
    trace = error.__traceback__
    # Our own frames are not the program's: they come first.
    while trace is not None and trace.tb_frame.f_globals.get("main") is main:
        trace = trace.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, trace))
    except BaseException as another:
        text = "%s (its traceback raises %s)\n" % (_name(type(error)), _name(type(another)))
    try:
        sys.stdout.flush()
        sys.stderr.write(text)
    except BaseException:
        pass
    told = {"type": _name(type(error))[:200], "traceback": text[-20000:]}  # type: Order
    try:
        told["message"] = str(error)[:2000]
    except BaseException:
        told["message"] = ""
    line, offset = getattr(error, "lineno", None), getattr(error, "offset", None)
    if isinstance(error, SyntaxError) and type(line) is int:
        told["line"] = line
        told["offset"] = offset if type(offset) is int else None
    else:
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == order["name"]:
                told["line"] = trace.tb_lineno
            trace = trace.tb_next
    return {"error": told}


def rehearse(told: bytes) -> None:
    """What every program needs of this, ahead of time."""
    order = json.loads(told.decode("ascii"))
    names = unpack(order["globals"])
    write(_outcome(order, list(names), names, _execute(order, names))).encode("ascii")


def _put(data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(3, left) :]
