"""READY: the same answers, from sandboxes that wait."""

import logging
import os

import pytest

from codejail import _ready, jail_code, safe_exec, subproc


@pytest.fixture(autouse=True)
def ready(monkeypatch):
    python = os.environ.get("CODEJAIL_TEST_PYTHON", "python3")
    monkeypatch.setattr(jail_code, "COMMANDS", {})
    monkeypatch.setattr(jail_code, "LIMITS", {**jail_code.LIMITS, "READY": 1, "CPU": 20, "REALTIME": 20})
    monkeypatch.setattr(jail_code, "LIMIT_OVERRIDES", {})
    jail_code.configure("python", python, user="nobody")


@pytest.fixture
def cold(monkeypatch):
    runs = []
    monkeypatch.setattr(jail_code, "run_jailed", lambda **how: runs.append(how) or subproc.run_jailed(**how))
    return runs


def test_globals_come_back(cold):
    g = {"x": 1}
    safe_exec.safe_exec("import math\ny = x + 1", g)
    assert g == {"x": 1, "y": 2} and cold == []


def test_what_fails_says_what_it_says_cold(cold):
    def message(code):
        with pytest.raises(safe_exec.SafeExecException) as caught:
            safe_exec.safe_exec(code, {})
        return str(caught.value)

    codes = ["raise ValueError('That wasn\\'t good')", "x = (", "import sys; sys.exit(3)", "import os; os._exit(0)"]
    warm = [message(code) for code in codes]
    assert cold == []
    jail_code.set_limit("READY", 0)
    assert warm == [message(code) for code in codes]


def test_files_and_paths(cold, tmp_path):
    (tmp_path / "data.txt").write_text("data")
    g = {}
    extra = [("extra.py", b"value = 7\n")]
    code = "import extra\nvalue = extra.value\ndata = open('data.txt').read()"
    safe_exec.safe_exec(code, g, files=[str(tmp_path / "data.txt")], extra_files=extra)
    assert g["value"] == 7 and g["data"] == "data" and cold == []
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "module.py").write_text("value = 8\n")
    safe_exec.safe_exec("import module\nvalue = module.value", g, python_path=[str(tmp_path / "lib")])
    # Directories go in cold.
    assert g["value"] == 8 and len(cold) == 1


def test_it_contains_as_cold(cold):
    code = """
import os, socket
refused = []
for attempt in (lambda: open("/etc/passwd"), lambda: open("x", "w"), lambda: socket.socket(), lambda: os.listdir("/")):
    try:
        attempt()
        refused.append(None)
    except OSError as error:
        refused.append(error.errno)
"""
    warm, theirs = {}, {}
    safe_exec.safe_exec(code, warm)
    assert cold == []
    jail_code.set_limit("READY", 0)
    safe_exec.safe_exec(code, theirs)
    assert warm == theirs and None not in warm["refused"]


def test_limits_and_statuses(cold):
    jail_code.set_limit("CPU", 1)
    assert jail_code.jail_code("python", "while True: pass").status == -24
    jail_code.set_limit("REALTIME", 1)
    result = jail_code.jail_code("python", "import time\nprint('a', flush=True)\ntime.sleep(9)")
    assert (result.status, result.stdout) == (-9, b"a\n")
    assert cold == []


def test_more_sets_of_limits_than_are_kept_run_cold(cold, monkeypatch):
    monkeypatch.setattr(_ready, "_MOST_SETS", len(_ready._sets))
    jail_code.set_limit("CPU", 17)
    assert jail_code.jail_code("python", "print(1)").stdout == b"1\n"
    assert len(cold) == 1


def test_the_log_says_where(caplog):
    with caplog.at_level(logging.INFO, "codejail"):
        jail_code.jail_code("python", "print(1)", slug="HELLO")
    assert "Executed jailed code HELLO in memory, with PID" in caplog.text
