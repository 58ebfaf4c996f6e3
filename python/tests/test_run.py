"""`run`: what goes in, what comes back, and what bad arguments get."""

import datetime
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time

import pytest

import wardian


def test_a_program_is_reported():
    report = wardian.run("print(sum(range(10)))", wall=10, memory="256M")
    assert report.ok and report.verdict == "ok" and report.exit_code == 0
    assert str(report.stdout) == "45\n" and report.stdout.content == b"45\n"
    assert report.limits.wall_us == 10_000_000 and report.limits.memory_bytes == 256 << 20
    assert report.usage.wall_us > 0 and report.enforced_by["files"].level == "enforced"
    assert report.raise_for_verdict() is report
    assert "45" in repr(report) and "ok" in repr(report)


def test_a_report_has_the_fields_of_the_schema():
    schema_path = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "schema", "report.json")
    with open(schema_path, encoding="utf-8") as file:
        schema = json.load(file)
    import dataclasses

    from wardian import report

    named = {"EffectiveLimits": "Limits"}
    skipped = {"Verdict", "Reason", "Encoding", "Source", "EnforcementLevel", "Level", "Json", "ResultMissing"}
    for name, definition in [("Report", schema), *schema["$defs"].items()]:
        if name in skipped:
            continue
        fields = {field.name for field in dataclasses.fields(getattr(report, named.get(name, name)))} - {"raw"}
        assert fields == set(definition["properties"]), name


def test_files_arguments_stdin_and_what_is_collected(tmp_path):
    (tmp_path / "solution.py").write_text(
        "import sys\nopen('out.txt', 'wb').write(open('in.csv', 'rb').read() + sys.stdin.buffer.read())\nprint(sys.argv[1:])"
    )
    report = wardian.run(
        path=tmp_path / "solution.py",
        args=["-x", "ü"],
        stdin=b"\xff",
        files={"in.csv": b"\x00"},
        collect=["*.txt"],
    )
    assert str(report.stdout) == "['-x', 'ü']\n"
    assert [(file.path, file.content) for file in report.files] == [("out.txt", b"\x00\xff")]


def test_an_entry_among_files():
    files = {"main.py": "import other\nprint(other.x)", "other.py": "x = 'ü'"}
    assert str(wardian.run(entry="main.py", files=files).stdout) == "ü\n"


def test_a_module_and_long_code():
    assert "usage" in str(wardian.run(module="json.tool", args=["--help"]).stdout).lower()
    assert str(wardian.run("x = '" + "a" * 300_000 + "'\nprint(len(x))").stdout) == "300000\n"


def test_files_by_path_and_stdin_by_path(tmp_path):
    (tmp_path / "data.txt").write_text("7")
    report = wardian.run("print(open('data.txt').read(), input())", files=[tmp_path / "data.txt"], stdin=tmp_path / "data.txt")
    assert str(report.stdout) == "7 7\n"


def test_stdin_of_a_descriptor():
    with open(os.devnull) as null:
        assert str(wardian.run("print(repr(input))", stdin=null.fileno()).stdout)


@pytest.mark.parametrize(
    "code, options, verdict",
    [
        ("1/0", {}, "nonzero_exit"),
        ("import os; os.kill(os.getpid(), 11)", {}, "signaled"),
        ("while True: pass", {"wall": "500ms"}, "time_limit"),
        ("x = bytearray(10**9)", {"memory": "64M"}, "memory_limit"),
    ],
)
def test_what_a_program_does_is_a_report_and_can_be_raised(code, options, verdict):
    report = wardian.run(code, **options)
    assert report.verdict == verdict and not report.ok
    with pytest.raises(wardian.VerdictError, match=verdict) as caught:
        report.raise_for_verdict()
    assert caught.value.report is report


def test_denials_are_there():
    report = wardian.run("import socket; socket.socket()")
    assert [denial.syscall for denial in report.denials] == ["socket"]


def test_policies_by_name_by_file_and_as_a_mapping(tmp_path):
    assert wardian.run("1", policy="strict").policy.name == "strict"
    (tmp_path / "own.toml").write_text('name = "own"\n')
    assert wardian.run("1", policy=tmp_path / "own.toml").policy.name == "own"
    policy = {"name": "mine \x7f\"", "limits": {"wall": "3s", "cpus": 0.5}, "require": ["denials"]}
    report = wardian.run("import os; print(os.environ['A'])", policy=policy, env={"A": "b"})
    assert report.limits.wall_us == 3_000_000 and report.limits.cpus == 0.5 and str(report.stdout) == "b\n"


def test_times_as_timedelta():
    assert wardian.run("1", wall=datetime.timedelta(seconds=7)).limits.wall_us == 7_000_000


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({}, "exactly one"),
        ({"code": "1", "path": "x"}, "exactly one"),
        ({"code": 3}, "code is int, not str"),
        ({"code": b"1"}, "code is bytes"),
        ({"code": "a\0b"}, "NUL"),
        ({"code": "\ud800"}, "half a character"),
        ({"code": "1", "wall": float("nan")}, "no time"),
        ({"code": "1", "wall": -1}, "no time"),
        ({"code": "1", "wall": True}, "no time"),
        ({"code": "1", "memory": 1.5}, "no whole number"),
        ({"code": "1", "processes": "many"}, "no whole number"),
        ({"code": "1", "args": "abc"}, "one string"),
        ({"code": "1", "args": 5}, "args is int"),
        ({"code": "1", "mounts": 5}, "mounts is int"),
        ({"code": "1", "files": 5}, "files is int"),
        ({"code": "1", "files": "abc"}, "one string"),
        ({"code": "1", "files": {"": b""}}, "no name inside"),
        ({"code": "1", "files": {"a": 3}}, "int"),
        ({"code": "1", "stdin": object()}, "stdin"),
        ({"code": "1", "stdin": 999_999}, "no descriptor 999999"),
        ({"code": "1", "stdin": -1}, "no descriptor -1"),
        ({"code": "1", "collect": "*"}, "one string"),
        ({"code": "1", "collect": [5]}, "collect: 5 is not text"),
        ({"code": "1", "env": {"A": "\0"}}, "NUL"),
        ({"code": "1", "env": ["A=B"]}, "env is list"),
        ({"code": "1", "env": {"A=B": "C"}}, "no variable's name"),
        ({"code": "1", "policy": {"a": object()}}, "no value of a policy"),
        ({"code": "1", "policy": {"limits": {"wal": 3}}}, "wal"),
        ({"code": "1", "policy": "jugde"}, "no policy is called `jugde`.*judge"),
        ({"code": "1", "wall": "soon"}, "not a time"),
        ({"code": "1", "wall": 0}, "above 0"),
        ({"code": "1", "memory": "10X"}, "not a size"),
        ({"code": "1", "memory": "64M", "disk": "1G"}, "more than `limits.memory`"),
        ({"code": "1", "level": "high"}, "unknown variant"),
        ({"code": "1", "require": ["luck"]}, "luck"),
        ({"code": "1", "mounts": ["/srv"]}, "HOST:GUEST"),
        ({"code": "1", "mounts": ["/srv:/../x"]}, r"\.\."),
        ({"code": "1", "cwd": "x"}, "not absolute"),
        ({"code": "1", "collect": ["../x"]}, "not a path below"),
        ({"code": "1", "files": {"../x": b""}}, r"\.\."),
        ({"code": "1", "files": {"a/../b": b""}}, r"\.\."),
        ({"code": "1", "files": {"a": b"", "a/b": b""}}, "cannot be the directory"),
        ({"code": "1", "python": "python3"}, "neither a version"),
        ({"code": "1", "python": "3.12", "venv": "/srv"}, "cannot be used with"),
        ({"entry": "x.py"}, "x.py"),
    ],
)
def test_bad_arguments_run_nothing(arguments, match):
    with pytest.raises(wardian.UsageError, match=match):
        wardian.run(**arguments)


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"code": "1", "python": "9.9"}, "9.9"),
        ({"code": "1", "venv": "/nowhere"}, "nowhere"),
        ({"code": "1", "files": ["/nowhere.txt"]}, "nowhere"),
        ({"code": "1", "policy": "/nowhere.toml"}, "nowhere"),
        ({"code": "1", "mounts": ["/nowhere:/x"]}, "nowhere"),
        ({"path": "/nowhere.py"}, "nowhere"),
        ({"code": "1", "level": "landlock", "python": "/no/such"}, "such"),
    ],
)
def test_what_this_host_has_not_is_no_wrong_argument(arguments, match):
    with pytest.raises(wardian.SandboxError, match=match):
        wardian.run(**arguments)


def test_an_unknown_option_is_named_with_the_nearest():
    near = {"wal": "wall", "mem": "memory", "memry": "memory", "time": "wall", "timeout": "wall"}
    for name, meant in near.items():
        with pytest.raises(TypeError, match=f"no option '{name}'; did you mean '{meant}'"):
            wardian.run("1", **{name: 3})
    with pytest.raises(TypeError, match="no option 'x'"):
        wardian.stream("1", x=3)


def test_errors_bring_their_hints():
    with pytest.raises(wardian.SandboxError) as caught:
        wardian.run("1", python="9.9")
    assert caught.value.hint and caught.value.hint in str(caught.value)


def test_arguments_too_long_for_the_kernel():
    with pytest.raises(wardian.BinaryError, match="too long"):
        wardian.run("1", args=["x" * 200_000])


def test_errors_go_to_other_processes():
    report = wardian.run("1/0")
    given = [
        wardian.UsageError("what", "hint"),
        wardian.ServerError("what", "hint", 429),
        wardian.VerdictError("what", report),
        wardian.ProgramError("what", report, type_name="E", line=3),
        wardian.CallError("what", report, traceback="text"),
    ]
    for error in given:
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error) and str(copy) == str(error) and vars(copy) == vars(error)


class TestBinary:
    def test_missing(self, monkeypatch):
        monkeypatch.setenv("WARDIAN_BIN", "/nowhere/wardian")
        with pytest.raises(wardian.BinaryError, match="nowhere"):
            wardian.run("1")

    def test_nowhere_at_all(self, monkeypatch):
        monkeypatch.delenv("WARDIAN_BIN", raising=False)
        monkeypatch.setattr("wardian._binary._candidates", lambda: iter(()))
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(wardian.BinaryError, match="no `wardian` program"):
            wardian.run("1")

    @pytest.mark.parametrize("says, match", [("echo wardian 0.0.1", "0.0.1"), ("echo x", "no known version"), ("exit 3", "no known"), ("exec sleep 60", "no known")])
    def test_of_another_version(self, monkeypatch, tmp_path, says, match):
        monkeypatch.setattr("wardian._binary._PATIENCE", 3)
        fake = tmp_path / "wardian"
        fake.write_text(f"#!/bin/sh\n{says}\n")
        fake.chmod(0o755)
        monkeypatch.setenv("WARDIAN_BIN", str(fake))
        with pytest.raises(wardian.BinaryError, match=match):
            wardian.run("1")

    def test_not_a_program(self, monkeypatch, tmp_path):
        fake = tmp_path / "wardian"
        fake.write_bytes(b"\x7fELF garbage")
        fake.chmod(0o755)
        monkeypatch.setenv("WARDIAN_BIN", str(fake))
        with pytest.raises(wardian.BinaryError, match="cannot start"):
            wardian.run("1")

    @pytest.mark.parametrize("says", ["echo '{}'", "echo nonsense", "exit 1", "kill -9 $$"])
    def test_that_answers_nonsense(self, monkeypatch, tmp_path, says):
        fake = tmp_path / "wardian"
        fake.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then echo wardian {wardian.__version__}; else {says}; fi\n')
        fake.chmod(0o755)
        monkeypatch.setenv("WARDIAN_BIN", str(fake))
        with pytest.raises(wardian.SandboxError):
            wardian.run("1")


def test_an_interpreter_that_vanishes(tmp_path):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    assert wardian.run("1", venv=venv).ok
    for name in os.listdir(venv / "bin"):
        os.unlink(venv / "bin" / name)
    with pytest.raises(wardian.SandboxError, match="venv"):
        wardian.run("1", venv=venv)


def test_nothing_is_left_open(descriptors):
    wardian.run("1")
    before = descriptors()
    for _ in range(5):
        wardian.run("1", files={"a": b"b"}, stdin=b"x")
        with pytest.raises(wardian.UsageError):
            wardian.run("1", wall="soon")
    assert descriptors() == before


def test_somebody_else_may_reap_all_children():
    code = """
        import os, signal, wardian
        signal.signal(signal.SIGCHLD, lambda *_: os.waitpid(-1, os.WNOHANG))
        print(wardian.run("print(1)").stdout, end="")
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        print(wardian.run("print(2)").stdout, end="")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1\n2\n", "")


def test_closed_standard_streams():
    code = "import os, wardian\nfor n in (0, 1, 2): os.close(n)\nassert wardian.run('print(1)').ok\nos._exit(7)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 7


def test_a_run_ends_with_the_process_that_wants_it(tmp_path):
    mark = f"wardian-orphan-{os.getpid()}"
    code = f"import wardian; wardian.run('import time; time.sleep(60)  # {mark}')"
    process = subprocess.Popen([sys.executable, "-c", code])
    assert _comes(lambda: _running(mark) >= 2)
    process.kill()
    process.wait()
    assert _comes(lambda: _running(mark) == 0)


def test_an_interrupt_ends_the_run():
    mark = f"wardian-interrupted-{os.getpid()}"
    code = f"import wardian; wardian.run('import time; time.sleep(60)  # {mark}')"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    assert _comes(lambda: _running(mark) >= 2)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert b"KeyboardInterrupt" in errors
    assert _comes(lambda: _running(mark) == 0)


def _running(mark):
    found = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                found += mark.encode() in file.read()
        except OSError:
            continue
    return found


def _comes(condition):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_a_stream_equals_what_the_program_wrote():
    stdout = wardian.run("print('é')").stdout
    assert stdout == "é\n" and stdout == "é\n".encode() and stdout != "é" and stdout in {"é\n"}
    assert stdout == wardian.run("print('é')").stdout and stdout != 1
    cut = wardian.run("print('x' * 100)", output=10).stdout
    assert cut != "x" * 10 and cut != b"x" * 10


def test_cpu_is_cpu_time():
    assert wardian.run("while True: pass", cpu="300ms").verdict == "time_limit"
    with wardian.Sandbox(cpu=3) as box:
        assert box.run("print(1)").limits.cpu_us == 3_000_000
        assert box.run("print(1)", cpu_time=2).limits.cpu_us == 2_000_000
    with pytest.raises(TypeError, match="are the same"):
        wardian.run("1", cpu=1, cpu_time=1)


def test_a_live_run_says_how_it_is_iterated():
    with pytest.raises(TypeError, match="async for"):
        list(wardian.stream("print(1)"))
