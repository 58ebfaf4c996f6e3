"""Sandboxes that are ready ahead of demand: the same reports, from runs that start warm."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest

import wardian
from wardian import _ready, _run


@pytest.fixture(scope="module")
def box():
    with wardian.Sandbox(preload=["decimal"], ready=1, wall=20, memory="256M") as box:
        yield box


@pytest.fixture
def cold(monkeypatch):
    """The cold runs that there were."""
    runs = []
    prepare = _run.Job.prepare

    def counted(job, **more):
        runs.append(job)
        return prepare(job, **more)

    monkeypatch.setattr(_run.Job, "prepare", counted)
    return runs


def service_of(box):
    return box._ready._service


def client_of(box):
    assert box.run("print(1)").ok
    return wardian.Client(f"unix:{service_of(box).transport._parts.path}", timeout=60)


def test_what_is_preloaded_is_there_and_nothing_stays(box, cold):
    code = "import sys; print('decimal' in sys.modules); import decimal; decimal.mine = hasattr(decimal, 'mine'); print(decimal.mine)"
    for _ in range(3):
        report = box.run(code)
        assert (report.verdict, str(report.stdout), str(report.stderr)) == ("ok", "True\nFalse\n", "")
        assert report.limits.memory_bytes == 256 << 20
    assert cold == []


def test_everything_a_run_can_be(box, cold, tmp_path):
    path = tmp_path / "main.py"
    path.write_text("import sys, os; print(sys.argv[1:], sys.stdin.read(), os.environ['A']); open('o.txt', 'w').write('x')")
    report = box.run(path=path, args=["1", "ä"], stdin="in", env={"A": "b"}, collect=["*.txt"])
    assert str(report.stdout) == "['1', 'ä'] in b\n"
    assert [(file.path, file.content) for file in report.files] == [("o.txt", b"x")]
    files = {"pack/__main__.py": "print('module', open('d').read())", "d": b"\xc3\xa4"}
    assert str(box.run(module="pack", files=files).stdout) == "module ä\n"
    assert str(box.run(entry="d.py", files={"d.py": "print(__name__)"}).stdout) == "__main__\n"
    assert str(box.run(stdin=b"\xff", code="import sys; print(sys.stdin.buffer.read())").stdout) == "b'\\xff'\n"
    assert box.run("x" * 70000 + " = 1").ok
    assert cold == []


def test_limits_of_a_single_run(box, cold):
    assert box.run("while True: pass", wall="300ms").reason == "wall_time"
    assert box.run("while True: pass", cpu_time=0.2).reason == "cpu_time"
    assert box.run("bytearray(1 << 27)", memory="64M").verdict in ("memory_limit", "nonzero_exit")
    assert cold == []


def test_what_no_ready_sandbox_can_be_is_run_cold(box, cold, tmp_path):
    assert box.run("print(1)", memory="512M").limits.memory_bytes == 512 << 20
    assert str(box.run("import os; print(os.getcwd())", cwd="/tmp").stdout) == "/tmp\n"
    with open(os.devnull) as empty:
        assert box.run("input()", stdin=empty.fileno()).verdict == "nonzero_exit"
    assert len(cold) == 3
    assert box.run("import sys; print(ascii(sys.argv[1]))", args=["\udc80"]).stdout.text == "'\\udc80'\n"
    (tmp_path / "a:b.txt").write_text("there")
    once = (path for path in [tmp_path / "a:b.txt"])
    assert str(box.run("print(open('a:b.txt').read())", files=once, memory="512M").stdout) == "there\n"
    assert len(cold) == 5
    with pytest.raises(wardian.WardianError):
        box.run("print(1)", path="x")
    with pytest.raises(TypeError, match="no_such_option"):
        box.run("print(1)", no_such_option=1)


def test_exec_and_calls(box, cold):
    g = {"x": 20}
    result = box.safe_exec("import math\ny = x + 1\nprint('out')", g)
    assert g == {"x": 20, "y": 21} and result.stdout == "out\n" and result.not_carried_out == {"math": "it is a module"}
    assert box.call("def f(x, *, y): return [x, y]", "f", b"\x00", y=(1,)) == [b"\x00", (1,)]
    with pytest.raises(wardian.ProgramError) as caught:
        box.safe_exec("def f():\n    return 1 / 0\nf()", {})
    assert caught.value.type_name == "ZeroDivisionError" and caught.value.line == 2
    assert 'File "<string>", line 2, in f\n    return 1 / 0\n' in caught.value.traceback
    assert "wardian" not in caught.value.traceback
    with pytest.raises(wardian.ProgramError) as caught:
        box.safe_exec("x = (", {})
    assert (caught.value.type_name, caught.value.line) == ("SyntaxError", 1)
    with pytest.raises(wardian.ProgramError, match="cannot be carried out"):
        box.safe_exec("z = object()", {}, strict=True)
    with pytest.raises(wardian.CallError, match="no function 'g'"):
        box.call("def f(): pass", "g")
    big = {"x": "a" * 200_000}
    box.safe_exec("y = len(x)", big)
    assert big["y"] == 200_000
    assert cold == []


@pytest.mark.parametrize("code", ["import sys; sys.exit(0)", "import os; os.fork()", "import os, sys; sys.stdout = open(os.devnull, 'w')"])
def test_what_corrupts_nothing(box, code):
    g = {}
    box.safe_exec(f"x = 1\n{code}", g)
    assert g["x"] == 1


def test_files_of_the_host_are_modules_warm_and_cold(tmp_path, cold):
    (tmp_path / "model.py").write_text("import os\nat_once = os.getpid()\n")
    with wardian.Sandbox(preload=[str(tmp_path / "model.py")], ready=1) as box:
        code = "import os, model; print(model.at_once == os.getpid())"
        assert str(box.run(code).stdout) == "False\n" and cold == []
        assert str(box.run(code, memory="2G").stdout) == "True\n" and len(cold) == 1

        async def live():
            return "".join([chunk.text async for chunk in box.stream(code)])

        assert asyncio.run(live()) == "True\n"


def test_threads_and_tasks_at_once(box, cold):
    failures = []

    def work(n):
        g = {"n": n}
        for _ in range(4):
            box.safe_exec("m = n * 2", g)
            if g["m"] != n * 2:
                failures.append(g)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()

    async def tasks():
        return await asyncio.gather(*(box.run_async(f"print({n})") for n in range(40)))

    reports = asyncio.run(tasks())
    for thread in threads:
        thread.join()
    assert failures == [] and cold == []
    assert [str(report.stdout) for report in reports] == [f"{n}\n" for n in range(40)]


def test_programs_that_wait_do_not_wait_for_each_other(box):
    async def main():
        began = time.monotonic()
        reports = await asyncio.gather(*(box.run_async("import time; time.sleep(3)") for _ in range(30)))
        return time.monotonic() - began, [report.verdict for report in reports]

    took, verdicts = asyncio.run(main())
    # One after the other on two cores would be 45 seconds.
    assert set(verdicts) == {"ok"} and took < 30


@pytest.mark.parametrize("through", ["sandbox", "client", "stream"])
def test_cancelling_ends_the_run(box, through):
    def goes_on(marker):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/status") as status:
                    if f"Name:\t{marker}" in status.read():
                        return True
            except OSError:
                pass
        return False

    async def until(condition):
        for _ in range(500):
            if condition():
                return
            await asyncio.sleep(0.02)
        raise AssertionError("it takes too long")

    async def main():
        marker = f"{through}{os.getpid()}"
        name = f"import ctypes; ctypes.CDLL(None).prctl(15, b'{marker}')"
        task = asyncio.create_task(run_async(f"{name}\nimport time; time.sleep(19)"))
        await until(lambda: goes_on(marker))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not goes_on(marker))
        # One that has not even begun.
        task = asyncio.create_task(run_async("print(1)"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await run_async("print(2)")

    async def live(code):
        async with client_of(box).stream(code) as stream:
            async for _ in stream:
                pass
        return stream.report

    run_async = {"sandbox": box.run_async, "client": client_of(box).run_async, "stream": live}[through]
    assert asyncio.run(main()).ok


def test_a_service_that_dies_is_started_again(box):
    assert box.run("print(1)").ok
    service = service_of(box)
    os.kill(service.pid, signal.SIGKILL)
    while service.is_alive():
        time.sleep(0.01)
    assert box.run("print(1)").ok
    assert service_of(box) is not service


def test_a_service_that_dies_meanwhile_is_an_error(box):
    assert box.run("print(1)").ok
    pid = service_of(box).pid
    killer = threading.Timer(0.5, os.kill, (pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(wardian.SandboxError, match="does not answer"):
        box.run("import time; time.sleep(15)")
    assert box.run("print(1)").ok


@pytest.mark.parametrize(
    "options, kind, match",
    [
        ({"preload": ["no_such_module"]}, wardian.SandboxError, "cannot preload `no_such_module`: ModuleNotFoundError"),
        ({"preload": ["/no/such/file.py"]}, wardian.SandboxError, "cannot preload `/no/such/file.py`: No such file"),
        ({"preload": "json"}, wardian.UsageError, "preload is one string"),
        ({"preload": [1]}, wardian.UsageError, "preload: 1 is not text"),
        ({"ready": 1000}, wardian.UsageError, "ready: 1000 is not between 1 and 100"),
        ({"ready": True}, wardian.UsageError, "ready: True"),
        ({"ready": 1, "memory": "much"}, wardian.UsageError, "much"),
        ({"ready": 1, "wall": "soon"}, wardian.UsageError, "not a time"),
        ({"ready": 1, "memory": "64M", "disk": "128M"}, wardian.UsageError, "more than `limits.memory`"),
        ({"ready": 1, "mounts": ["/srv"]}, wardian.UsageError, "mounts: no sandbox can be kept ready with it"),
        ({"ready": 1, "policy": "no_such_policy"}, wardian.UsageError, "no_such_policy"),
        ({"ready": 1, "python": "/no/such/python"}, wardian.SandboxError, "/no/such/python"),
    ],
)
def test_what_cannot_be_kept_ready(options, kind, match):
    with pytest.raises(kind, match=match):
        with wardian.Sandbox(**options):
            pass


@pytest.mark.parametrize("wrong", [{"wall": "soon"}, {"memory": "10X"}, {"files": {"a/../b": ""}}, {"policy": "jugde"}])
def test_a_wrong_argument_is_the_same_warm_and_cold(box, wrong):
    for run in (box.run, wardian.run):
        with pytest.raises(wardian.UsageError):
            run("1", **wrong)


def test_the_policy_of_what_is_ready_says_what_the_caller_said():
    _, files = _ready._policy({"memory": "128M", "wall": 2})
    limits = 'limits = {wall = "2.000000", memory = "128M"}'
    assert files["policy.toml"].splitlines() == ['name = "sandbox"', 'extends = "python"', limits]


@pytest.mark.parametrize(
    "options, disk",
    [
        ({"memory": "128M"}, 128 << 20),
        ({"policy": {"limits": {"memory": "128M"}}}, 128 << 20),
        ({"memory": "128M", "policy": {"extends": "python", "network": "none"}}, 128 << 20),
        ({"memory": "128M", "policy": "strict"}, 0),
        ({"memory": "128M", "disk": "64M"}, 64 << 20),
    ],
)
def test_less_memory_than_the_policys_disk_is_less_disk_warm_and_cold(options, disk):
    with wardian.Sandbox(ready=1, **options) as box:
        limits = [report.limits for report in (box.run("1"), wardian.run("1", **options))]
    assert [(each.memory_bytes, each.disk_bytes) for each in limits] == [(128 << 20, disk)] * 2


def test_a_service_that_ends_at_once(monkeypatch, tmp_path):
    fake = tmp_path / "wardian"
    fake.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then echo wardian {wardian.__version__}; fi\n')
    fake.chmod(0o755)
    monkeypatch.setenv("WARDIAN_BIN", str(fake))
    with pytest.raises(wardian.SandboxError, match="it ended without a word"):
        wardian.Sandbox(ready=1).run("1")


def test_closed_is_closed_and_nothing_stays(descriptors, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with wardian.Sandbox(ready=1) as box:
        box.run("print(1)")
    before = descriptors()
    with wardian.Sandbox(ready=1) as box:
        assert box.run("print(1)").ok
        pid = service_of(box).pid
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    for use in (lambda: box.run("print(1)"), lambda: asyncio.run(box.run_async("print(1)"))):
        with pytest.raises(ValueError, match="closed"):
            use()
    assert descriptors() <= before


FORK_AND_DIE = """
import os, time
if os.fork() == 0:
    os.close(1)
    time.sleep(15)
    os._exit(0)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("end", ["", "import os; os._exit(0)", "import os; os.kill(os.getpid(), 9)", FORK_AND_DIE])
def test_it_ends_with_us(end):
    program = f"import wardian\nbox = wardian.Sandbox(ready=1)\nbox.run('print(1)')\nprint(box._ready._service.pid, flush=True)\n{end}"
    pid = int(subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=False).stdout)
    for _ in range(500):
        try:
            with open(f"/proc/{pid}/cmdline") as line:
                if "wardian" not in line.read():
                    break
        except FileNotFoundError:
            break
        time.sleep(0.02)
    else:
        pytest.fail("it is still there")


def test_it_ends_in_order_when_nobody_hears_its_words_any_more():
    program = "import os, wardian\nbox = wardian.Sandbox(ready=1)\nbox.run('1')\nprint(box._ready._service.pid, flush=True)\nos.kill(os.getpid(), 9)"
    pid = int(subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=False).stdout)
    for _ in range(2000):
        if not os.path.exists(f"/proc/{pid}"):
            break
        time.sleep(0.01)
    # Its cgroups are gone before it is; what it leaves would be removed by the next start.
    assert not [name for _, names, _ in os.walk("/sys/fs/cgroup") for name in names if name.startswith(f"wardian-{pid}-")]


def test_a_fork_of_ours_has_its_own(box):
    async def tasks():
        return await box.run_async("print(1)")

    assert box.run("print(1)").ok and asyncio.run(tasks()).ok
    ours = service_of(box)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if box.run("print(1)").ok and service_of(box) is not ours and asyncio.run(tasks()).ok else 2
            box.close()
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    assert ours.is_alive() and box.run("print(1)").ok and service_of(box) is ours


class TestClient:
    """The client, with a service that is real."""

    @pytest.fixture
    def client(self, box):
        return client_of(box)

    def test_runs(self, client):
        report = client.run("print(open('a.txt').read(), input())", files={"a.txt": "ü"}, stdin="in\n", memory="64M")
        assert str(report.stdout) == "ü in\n" and report.limits.memory_bytes == 64 << 20
        assert "".join(chunk.text for chunk in client.stream("print(1); print(2)")) == "1\n2\n"
        assert client.healthy() and client.environments()["environments"]

    def test_exec_and_calls(self, client):
        g = {"x": 20, "f": len}
        result = client.safe_exec("import math\ny = {x: (x, b'1')}\nprint('out')", g, wall=20)
        assert g["y"] == {20: (20, b"1")} and result.stdout == "out\n"
        assert set(result.not_carried_in) == {"f"} and set(result.not_carried_out) == {"math"}
        with pytest.raises(wardian.ProgramError) as caught:
            client.safe_exec("1 / 0", g)
        assert (caught.value.type_name, caught.value.line) == ("ZeroDivisionError", 1)
        assert client.call("def f(x, y=0): return [x, y]", "f", (1,), y={2}) == [(1,), {2}]
        with pytest.raises(wardian.CallError):
            client.call("def f(): return f", "f")
        with pytest.raises(wardian.CallError, match="no function 'g'"):
            client.call("def f(): return f", "g")
        with pytest.raises(wardian.ProgramError, match="cannot be carried out"):
            client.safe_exec("y = object()", g, strict=True)

    def test_a_stream_that_is_left_ends_its_run(self, client):
        began = time.monotonic()
        with client.stream("import time\nprint(1)\ntime.sleep(19)") as stream:
            assert next(iter(stream)).text[0] == "1"
        assert client.run("print(2)").ok and time.monotonic() - began < 15

    def test_in_an_event_loop(self, client):
        async def main():
            g = {"x": 1}
            await asyncio.gather(client.safe_exec_async("y = x + 1", g), client.run_async("print(1)"))
            return g, await client.call_async("def f(x): return x * 2", "f", 21)

        assert asyncio.run(main()) == ({"x": 1, "y": 2}, 42)
