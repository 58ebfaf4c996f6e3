"""`safe_exec`: globals in and out, and how failures surface."""

import math
import os
import sys
import zipfile

import pytest

from codejail import jail_code, safe_exec
from codejail.django_integration_utils import apply_django_settings
from codejail.safe_exec import SafeExecException, json_safe


@pytest.fixture(params=["safe", "not_safe"])
def execute(request):
    return safe_exec.safe_exec if request.param == "safe" else safe_exec.not_safe_exec


def test_globals_come_back_in_place(execute):
    g = {"x": 20, "gone": 1}
    execute("y = x + 1\ndel gone", g)
    assert g == {"x": 20, "y": 21, "gone": 1}


def test_files(execute, here):
    g = {}
    execute("a = 'Look: ' + open('hello.txt').read()", g, files=[here("hello.txt")])
    assert g["a"] == "Look: Hello there.\n"


def test_python_path(execute, here, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    g = {}
    execute("import module; a = module.const", g, python_path=[here("pylib")])
    assert g["a"] == 42
    sys.modules.pop("module", None)


def test_zip_files_and_extra_files_on_the_path(tmp_path):
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as archive:
        archive.writestr("zipped.py", "const = 100")
    g = {}
    safe_exec.safe_exec("import zipped; a = zipped.const", g, python_path=[str(tmp_path / "lib.zip")])
    assert g["a"] == 100
    content = (tmp_path / "lib.zip").read_bytes()
    g = {}
    code = "import zipped; a = zipped.const"
    safe_exec.safe_exec(code, g, python_path=["lib.zip"], extra_files=[("lib.zip", content)])
    assert g["a"] == 100


def test_functions_find_each_other(execute):
    g = {}
    execute("def f():\n    return 1723\ndef g():\n    return f()\nx = g()\n", g)
    assert g["x"] == 1723 and "f" not in g


def test_printing_disturbs_nothing():
    g = {}
    safe_exec.safe_exec("import sys\na = 17; print('hi!')\nsys.__stdout__.write('{')\nsys.stdout.flush()", g)
    assert g["a"] == 17


@pytest.mark.parametrize("early", ["import sys; sys.exit(0)", "exit = __import__('sys').exit; exit()"])
def test_exit_0_loses_nothing(early):
    g = {}
    safe_exec.safe_exec("a = 1\n" + early, g)
    assert g["a"] == 1


def test_a_fork_that_comes_back_disturbs_nothing():
    g = {}
    safe_exec.safe_exec("import os\na = os.fork()\nif a: os.waitpid(a, 0)", g)
    assert g["a"] > 0


def test_an_exception_is_told_with_its_traceback(execute):
    g = {"x": 1}
    with pytest.raises(SafeExecException) as caught:
        execute("x = 2\nraise ValueError(\"That's not how you pour soup!\")", g)
    assert "ValueError: That's not how you pour soup!" in str(caught.value).replace("\\'", "'")
    assert g == {"x": 1}


def test_the_message_has_the_form_that_its_readers_know():
    with pytest.raises(SafeExecException) as caught:
        safe_exec.safe_exec("import sys\nsys.exit(3)", {})
    assert str(caught.value) == "Couldn't execute jailed code: stdout: b'', stderr: b'' with status code: 3"
    with pytest.raises(SafeExecException) as caught:
        safe_exec.safe_exec("1/0", {})
    text = str(caught.value)
    assert 'jailed_code\\", line' in text or 'jailed_code", line' in text
    assert "exec(code, g_dict)" in text and 'File "<string>", line 1' in text
    assert text.endswith("with status code: 1")


@pytest.mark.parametrize(
    "code, status",
    [
        ("import os; os._exit(0)", 0),
        ("import os; os.close(3)", 1),
        ("import os; os.write(3, b'garbage')", 0),
        ("import os; os.kill(os.getpid(), 9)", -9),
        ("while True: pass", -24),
        ("import time; time.sleep(20)", -9),
    ],
)
def test_no_end_is_a_raw_error(code, status):
    jail_code.set_limit("CPU", 1)
    jail_code.set_limit("REALTIME", 1 if "sleep" in code else 20)
    with pytest.raises(SafeExecException, match=f"with status code: {status}$"):
        safe_exec.safe_exec(code, {})


def test_input_is_at_its_end():
    g = {}
    safe_exec.safe_exec("try:\n    input()\nexcept EOFError:\n    a = 'EOF'", g)
    assert g["a"] == "EOF"


@pytest.mark.skipif(not os.path.isdir("/usr/lib/python3/dist-packages/numpy"), reason="no numpy of the system's")
def test_importing_a_lot():
    jail_code.configure("python", "/usr/bin/python3")
    g = {}
    safe_exec.safe_exec("from numpy import *\na = int(linalg.det(eye(3)))", g)
    assert g["a"] == 1


def test_unconfigured_is_an_error_and_never_unsafe():
    jail_code.COMMANDS.clear()
    with pytest.raises(RuntimeError, match="safe_exec has not been configured for Python"):
        safe_exec.safe_exec("a = 1", {})


def test_unsafe_mode_is_asked_at_the_call_and_warns(caplog):
    jail_code.COMMANDS.clear()
    safe_exec.ALWAYS_BE_UNSAFE = True
    g = {}
    safe_exec.safe_exec("import os; a = os.getpid()", g, slug="here")
    assert g["a"] == os.getpid()
    assert "DANGER: Executing code with `not_safe_exec` for here" in caplog.text


def test_what_is_no_code_or_no_globals():
    with pytest.raises(TypeError, match="code is bytes, not str"):
        safe_exec.safe_exec(b"x = 1", {})
    with pytest.raises(TypeError, match="globals_dict is NoneType, not dict"):
        safe_exec.safe_exec("x = 1", None)
    with pytest.raises(SafeExecException, match="TypeError"):
        safe_exec.safe_exec(5, {})


def test_what_survives():
    circular = []
    circular.append(circular)
    given = {
        "a": True, "b": None, "c": 1.5, "d": (1, 2), "e": {1: 2}, "h": b"ab", "i": math.nan, "j": 2**70,
        "set": {1}, "bad": [object()], "f": lambda: 1, "cls": dict, "raw": [b"\xff"], "c1": 1j,
        "circular": circular, "__builtins__": {}, b"key": "value", b"\xff": 1,
    }  # fmt: skip
    safe = json_safe(given)
    assert math.isnan(safe.pop("i"))
    assert safe == {
        "a": True, "b": None, "c": 1.5, "d": [1, 2], "e": {"1": 2}, "h": "ab", "j": 2**70, "key": "value"
    }  # fmt: skip


def test_what_survives_inside():
    g = {}
    safe_exec.safe_exec("i = float('nan'); j = 2**70; s = {1}; t = (1, 2); b = b'ab'; k = {1: 2}", g)
    assert math.isnan(g.pop("i"))
    assert g == {"j": 2**70, "t": [1, 2], "b": "ab", "k": {"1": 2}}


def test_surrogates_raise_nothing():
    for code in range(0xD800, 0xE000):
        json_safe({"test": chr(code)})
        json_safe({chr(code): "test"})


def test_nothing_is_mutated():
    original = {"a": ["string", b"bytes"]}
    safe = json_safe(original)
    assert original["a"][1] == b"bytes" and safe["a"][1] == "bytes"


def test_django_settings():
    apply_django_settings(
        {
            "python_bin": "/usr/bin/python3",
            "user": "sandbox",
            "limits": {"CPU": 5, "FSIZE": 9},
            "limit_overrides": {"course": {"CPU": 11}},
        }
    )
    assert jail_code.COMMANDS["python"]["cmdline_start"] == ["/usr/bin/python3", "-E", "-B"]
    assert (jail_code.LIMITS["CPU"], jail_code.LIMITS["FSIZE"]) == (5, 9)
    assert jail_code.get_effective_limits("course")["CPU"] == 11
    with pytest.raises(KeyError):
        apply_django_settings({"python_bin": "/usr/bin/python3"})


def test_django_middleware():
    django = pytest.importorskip("django")
    from django.conf import settings
    from django.core.exceptions import MiddlewareNotUsed

    settings.configure(CODE_JAIL={"limits": {"CPU": 6}})
    from codejail.django_integration import ConfigureCodeJailMiddleware

    with pytest.raises(MiddlewareNotUsed):
        ConfigureCodeJailMiddleware(lambda request: None)
    assert jail_code.LIMITS["CPU"] == 6 and django


def test_large_globals_arrive_and_larger_ones_are_said():
    for name in ("CPU", "REALTIME"):
        jail_code.set_limit(name, 30)
    g = {"given": "x" * (20 << 20)}
    safe_exec.safe_exec("made = given[1:]", g)
    assert len(g["made"]) == (20 << 20) - 1
    with pytest.raises(SafeExecException, match="the globals that came back are larger than 67108864 bytes"):
        safe_exec.safe_exec("made = 'x' * (65 << 20)", {})
