"""`safe_exec`: exec() semantics, exactly, and bounded."""

import math
import sys

import pytest

import wardian
from wardian import _values


def test_as_exec_would():
    code = "import math\ny = x + 1\ndel gone\ndef f(): return g\ng = [x]\nz = f()"
    ours, theirs = {"x": 20, "gone": 1}, {"x": 20, "gone": 1}
    result = wardian.safe_exec(code, ours)
    exec(code, theirs)
    assert ours == {name: theirs[name] for name in ("x", "y", "g", "z")}
    assert result.not_carried_out == {"math": "it is a module", "f": "it is a function"}
    assert result.not_carried_in == {}


def test_output_is_there_on_success():
    result = wardian.safe_exec("import sys; print('out'); sys.stderr.write('err')", {})
    assert (result.stdout, result.stderr) == ("out\n", "err")
    assert result.report.ok


def test_without_globals():
    assert wardian.safe_exec("x = 1").report.ok


VALUES = [
    None, True, 0, -1, 2**63, -(2**64), 2**70, 10**5000, 1.5, 1e308, math.inf, -math.inf, 1j, complex(math.inf, -0.0),
    "", "é😀", "\0", "\ud800", "\ud800\udc00", b"", b"\xff\x00", bytearray(b"x"), [], [1, [2]], (), (1,), {}, {"a": 1},
    {1: "x", (1, 2): {3}, b"k": None, None: 0, 1.5: 1}, {1, "a"}, frozenset({(1,)}), [[[[[[]]]]]], {"l": ["l"]}, ["i", "ff"],
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(VALUES)))
def test_values_pack_and_unpack(at):
    value = VALUES[at]
    packed = _values.write(_values.pack(value, [1 << 20]))
    from wardian.report import loads

    back = _values.unpack(loads(packed))
    assert type(back) is type(value) and back == value and plain(back) == plain(value)


def test_values_go_in_and_out_exactly():
    g = dict(enumerate_names(VALUES))
    g["nan"] = math.nan
    wardian.safe_exec("copies = {name: value for name, value in globals().items() if name[0] == 'v'}", g)
    assert math.isnan(g["nan"])
    assert plain(g["copies"]) == plain({name: g[name] for name, _ in enumerate_names(VALUES)})
    assert [g[name] for name, _ in enumerate_names(VALUES)] == VALUES


def plain(value):
    """As `repr`, which has a limit for whole numbers: tells 1 from True and 0.0 from -0.0."""
    if isinstance(value, dict):
        return [dict, *((plain(key), plain(item)) for key, item in value.items())]
    if isinstance(value, (list, tuple)):
        return [type(value), *map(plain, value)]
    return hex(value) if type(value) is int else ascii(value)


def enumerate_names(values):
    return [(f"v{at}", value) for at, value in enumerate(values)]


def test_what_cannot_be_carried_in_is_named():
    circular = []
    circular.append(circular)
    deep = []
    for _ in range(100):
        deep = [deep]
    g = {
        "f": lambda: 1, "gen": (i for i in ()), "circular": circular, "deep": deep, "sys": sys, 3: 4, "ok": 1,
        "obj": object(), "inside": [1, {2: sys}],
    }  # fmt: skip
    before = dict(g)
    result = wardian.safe_exec("seen = sorted(name for name in globals() if name[0] != '_')", g)
    assert g.pop("seen") == ["ok"]
    assert g == before
    assert result.not_carried_in == {
        "f": "it is a function",
        "gen": "it is a generator",
        "circular": "it contains itself",
        "deep": "nested more than 50 deep",
        "sys": "it is a module",
        "3": "its name is no text",
        "obj": "it is an object",
        "inside": "it is a module",
    }


CODE = """\
from __future__ import division
import math
from math import sqrt
from typing import List, Optional
def f(): pass
class A: pass
n: int = 3
"""


def test_strict_takes_code_for_no_value():
    g = {"sys": sys, "log": print, "x": 1}
    result = wardian.safe_exec(CODE + "y = x + 1", g, strict=True)
    assert g["y"] == 2 and set(result.not_carried_out) >= {"math", "sqrt", "List", "f", "A"}
    assert set(result.not_carried_in) == {"sys", "log"}


@pytest.mark.parametrize("value", ["A()", "iter(())", "[A]", "open(0)", "'x' * 50_000_000"])
def test_strict_raises_for_a_value_that_would_be_lost(value):
    g = {"x": 1, "old": 2}
    with pytest.raises(wardian.ProgramError, match=r"cannot be carried out: 'z' \(.*\)$") as caught:
        wardian.safe_exec(CODE + f"del old\nx = 2\nz = {value}", g, strict=True)
    assert g == {"x": 1, "old": 2} and caught.value.report.ok


def test_strict_counts_them():
    with pytest.raises(wardian.ProgramError, match=r"'v0' \(it is an object\), and 4999 more|and 1000 more"):
        wardian.safe_exec("for n in range(5000): globals()[f'v{n}'] = object()", {}, strict=True)


def test_strict_begins_nothing_without_all_values():
    for value in (object(), [sys], iter(())):
        with pytest.raises(wardian.UsageError, match="cannot be carried in: 'z' .*strict=True"):
            wardian.safe_exec("x = 1", {"z": value}, strict=True)
    with pytest.raises(wardian.UsageError, match="cannot be carried in: '3' "):
        wardian.safe_exec("x = 1", {3: 4}, strict=True)


def test_strict_in_a_sandbox_and_in_an_event_loop():
    import asyncio

    box = wardian.Sandbox()
    for run in (
        lambda: box.safe_exec("z = object()", {}, strict=True),
        lambda: asyncio.run(box.safe_exec_async("z = object()", {}, strict=True)),
        lambda: asyncio.run(wardian.safe_exec_async("z = object()", {}, strict=True)),
    ):
        with pytest.raises(wardian.ProgramError, match="cannot be carried out"):
            run()


def test_too_large_is_said_at_once_and_nothing_runs():
    with pytest.raises(wardian.UsageError, match="larger than 16777216 bytes"):
        wardian.safe_exec("1", {"x": b"x" * 50_000_000})
    with pytest.raises(wardian.UsageError, match="larger than 1000"):
        wardian.safe_exec("1", {"x": list(range(1000))}, size=1000)
    with pytest.raises(wardian.UsageError, match="no whole number between 1 and"):
        wardian.safe_exec("1", {}, size=1 << 30)


def test_too_large_on_the_way_out_is_named():
    g = {"x": 1}
    result = wardian.safe_exec("x = 'a' * 50_000_000; y = 2", g)
    assert g == {"x": 1, "y": 2} and result.not_carried_out == {"x": "too large"}


def test_however_many_globals_there_are_none_is_lost():
    g = {f"n{n}": n for n in range(110_000)}
    expected = dict(g)
    del expected["n0"]
    result = wardian.safe_exec("del n0\nn109999 = print\nfor n in range(1100): globals()['f%d' % n] = print\ndel n", g)
    assert g == expected
    assert result.not_carried_out["n109999"] == "it is a builtin_function_or_method"
    assert len(result.not_carried_out) == 1001 and result.not_carried_out["…"] == "and 101 more"


def test_a_name_that_is_too_large_is_said():
    g = {}
    result = wardian.safe_exec("globals()['x' * (20 << 20)] = 1; y = 2", g)
    assert g == {"y": 2} and result.not_carried_out == {"x" * 200: "too large"}


@pytest.mark.parametrize("code", [3, None, b"1", ["1"]])
def test_code_that_is_no_text(code):
    with pytest.raises(wardian.UsageError, match="not str"):
        wardian.safe_exec(code, {})


def test_an_exception_has_type_line_and_traceback():
    g = {"x": 1}
    with pytest.raises(wardian.ProgramError, match="ZeroDivisionError: division by zero") as caught:
        wardian.safe_exec("x = 2\ndef f():\n    1/0\nf()", g)
    error = caught.value
    assert (error.type_name, error.line) == ("ZeroDivisionError", 3)
    assert error.traceback.startswith('Traceback (most recent call last):\n  File "<string>", line 4, in <module>\n    f()\n')
    assert "harness" not in error.traceback and g == {"x": 1}
    assert str(error.report.stderr) == error.traceback


def test_a_syntax_error_has_line_and_column():
    with pytest.raises(wardian.ProgramError) as caught:
        wardian.safe_exec("x = 1\ny = )\n", {}, filename="lesson.py")
    error = caught.value
    assert (error.type_name, error.line, error.offset) == ("SyntaxError", 2, 5)
    assert 'File "lesson.py", line 2' in error.traceback and "    ^" in error.traceback


@pytest.mark.parametrize(
    "code, match",
    [
        ("import sys; sys.exit(3)", "exit code 3"),
        ("raise SystemExit('bye')", "exit code 1"),
        ("import os; os._exit(0)", "before its values"),
        ("import os; os.close(3)", "exit code 1"),
        ("import os; os.write(3, b'[1]')", "not_json"),
        ("import os; os.write(3, b'{}'); os._exit(0)", "before its values"),
        ("import os; os.write(3, b'{\"globals\": 1}'); os._exit(0)", "not what the harness writes"),
        ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("while True: pass", "still running"),
        ("x = bytearray(10**10)", "memory"),
        ("\ud800", "UnicodeEncodeError"),
        ("\0", "null bytes"),
        ("class E(Exception):\n  def __str__(self): 1/0\nraise E", "E"),
        ("raise BaseException", "BaseException"),
        ("import sys\nsys.stderr = None\nsys.stdout = 3\n1/0", "ZeroDivisionError"),
    ],
)
def test_no_end_is_silent_and_none_is_ours(code, match):
    g = {"x": 1}
    with pytest.raises(wardian.ProgramError, match=match) as caught:
        wardian.safe_exec(code, g, wall=3, memory="128M")
    assert g == {"x": 1}
    str(caught.value).encode()


@pytest.mark.parametrize(
    "code",
    [
        "y = 1\nimport sys\nsys.exit(0)",
        "y = 1\nimport os\npid = os.fork()\nif pid: os.waitpid(pid, 0)",
        "y = 1\nimport sys\nsys.__stdout__.write('{'); print(']')",
        "y = 1\nimport threading, time\nthreading.Thread(target=time.sleep, args=(0.3,)).start()",
        "y = 1\nimport os, sys\nos.close(1); os.close(2)",
    ],
)
def test_nothing_gets_in_the_way_of_the_globals(code):
    g = {}
    wardian.safe_exec(code, g)
    assert g["y"] == 1


FORGED = [
    '{"globals": [["x", ["z", 1]]], "missing": [], "gone": []}',
    '{"globals": [["x", ["i", "zz"]]], "missing": [], "gone": []}',
    '{"globals": [["x", ["s", ["l"]]]], "missing": [], "gone": []}',
    '{"globals": [["x", ["d", [1]]]], "missing": [], "gone": []}',
    '{"globals": [["x", ["b", "*"]]], "missing": [], "gone": []}',
    '{"globals": [["x", []]], "missing": [], "gone": []}',
]


@pytest.mark.parametrize("text", FORGED)
def test_forged_values_are_named_and_harm_nothing(text):
    g = {}
    result = wardian.safe_exec(f"import os; os.write(3, {text.encode()!r}); os._exit(0)", g)
    assert g == {} and "x" in result.not_carried_out


def test_forged_keys_of_one_hash_take_no_time():
    code = """
import os
m = 2**61 - 1
keys = ",".join('["i","%x"]' % (m * n) for n in range(1, 100000))
data = ('{"globals": [["x", ["s",' + keys + ']]], "missing": [], "gone": []}').encode()
while data: data = data[os.write(3, data):]
os._exit(0)
"""
    g = {}
    result = wardian.safe_exec(code, g)
    assert result.not_carried_out == {"x": "too many of its keys have the same hash"}


def test_stdin_and_files_are_the_codes_own():
    g = {}
    wardian.safe_exec("import os; a = input(); b = open('f').read(); c = os.listdir()", g, stdin="hi\n", files={"f": "x"})
    assert (g["a"], g["b"], g["c"]) == ("hi", "x", ["f"])


@pytest.mark.parametrize("policy", ["strict", "judge", "codejail"])
def test_under_every_policy(policy):
    g = {"x": 1}
    wardian.safe_exec("y = x + 1", g, policy=policy, wall=10)
    assert g["y"] == 2


class TestCall:
    def test_values(self):
        with wardian.Sandbox(memory="256M") as box:
            assert box.call("def f(x): return x * 2", "f", 21) == 42
            assert box.call("def f(*a, **k): return a, k", "f", 1, b"x", k={1}) == ((1, b"x"), {"k": {1}})
            assert box.call("def f(code, function, self): return code", "f", code=1, function=2, self=3) == 1

    @pytest.mark.parametrize(
        "code, function, match",
        [
            ("def f(): return object", "f", "cannot be carried out: it is a type"),
            ("def f(): 1/0", "f", "ZeroDivisionError"),
            ("", "f", "NameError: the code defines no function 'f'$"),
            ("f = 1", "f", "TypeError: 'int' object is not callable"),
            ("def f(): return {}['g']", "f", "KeyError: 'g'"),
            ("def f(): raise SystemExit", "f", "exited instead"),
            ("def f(): return 'x' * 10**8", "f", "too large"),
        ],
    )
    def test_what_goes_wrong(self, code, function, match):
        with wardian.Sandbox() as box, pytest.raises(wardian.CallError, match=match):
            box.call(code, function)

    def test_bad_arguments(self):
        with wardian.Sandbox() as box:
            with pytest.raises(wardian.UsageError, match="cannot be carried in"):
                box.call("", "f", object())
            with pytest.raises(wardian.UsageError, match="no function's name"):
                box.call("", "a b")
        with pytest.raises(ValueError, match="closed"):
            box.call("", "f")

    def test_async(self):
        import asyncio

        async def main():
            async with wardian.Sandbox(wall=20) as box:
                assert await box.call_async("def f(x): return x", "f", None) is None
                return await box.run_async("print(1)", wall=21)

        assert asyncio.run(main()).limits.wall_us == 21_000_000


@pytest.mark.parametrize("globals", [[1], "x", 7, (("x", 1),)])
def test_globals_that_are_none(globals):
    with pytest.raises(wardian.UsageError, match="globals is .*, not a dict"):
        wardian.safe_exec("x = 1", globals)


@pytest.mark.parametrize("more, match", [({"size": None}, "None is no whole"), ({"size": 1.5}, "1.5 is no whole"), ({"size": True}, "True is no whole"), ({"size": "32M"}, "bytes: 32 << 20"), ({"filename": b"x"}, "filename is bytes")])
def test_arguments_that_are_none(more, match):
    with pytest.raises(wardian.UsageError, match=match):
        wardian.safe_exec("x = 1", {}, **more)
