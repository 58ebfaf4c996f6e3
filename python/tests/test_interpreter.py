"""Which Python runs inside: the caller's own, unless the call names one."""

import asyncio
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import textwrap

import pytest

import wardian
from wardian import _interpreter

WHERE = "import sys; print(sys.prefix)"
WHERE_AND_WHAT = "import sys, only_here; print(sys.prefix, only_here.x)"


def made_venv(path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(path)], check=True)
    return path


@pytest.fixture
def venv(tmp_path):
    """A virtual environment that nobody has activated, with a package that nobody else has."""
    path = made_venv(tmp_path / "venv")
    packages = next(path.glob("lib/python3.*/site-packages"))
    (packages / "only_here.py").write_text("x = 7\n")
    return path


@pytest.fixture
def system():
    """An interpreter that is not ours."""
    found = shutil.which("python3", path="/usr/local/bin:/usr/bin")
    if found is None or os.path.realpath(sys.prefix) == os.path.realpath("/usr"):
        pytest.skip("there is no other python3")
    return found


def printed(python, program, **more):
    """What a program prints that uses the package in another interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    words = [str(python), "-c", textwrap.dedent(program)]
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env={**environment, **more}).stdout


def test_a_virtual_environment_need_not_be_activated(venv):
    program = f"import wardian; print(wardian.run({WHERE_AND_WHAT!r}).stdout, end='')"
    assert printed(venv / "bin" / "python", program) == f"{venv} 7\n"


def test_an_activated_one_is_not_the_callers(venv):
    program = f"import wardian; print(wardian.run({WHERE!r}).stdout, end='')"
    assert printed(sys.executable, program, VIRTUAL_ENV=str(venv)) == f"{sys.prefix}\n"


def test_every_way_of_running(venv):
    program = f"""
        import asyncio, wardian
        from wardian import guard, ipython
        code, only = {WHERE_AND_WHAT!r}, guard.Guard(modules=None)
        print(asyncio.run(wardian.run_async(code)).stdout, end="")
        print(wardian.Sandbox().run(code).stdout, end="")
        print(guard.run(code, only).stdout, end="")
        print(ipython.cell("", code).stdout, end="")
        print(wardian.safe_exec(code).stdout, end="")
        print(wardian.Sandbox().call("import only_here\\ndef f(): return only_here.x", "f"))
    """
    assert printed(venv / "bin" / "python", program) == f"{venv} 7\n" * 5 + "7\n"


def test_what_is_live_and_what_is_ready():
    async def live(stream):
        return "".join([chunk.text async for chunk in stream])

    assert asyncio.run(live(wardian.stream(WHERE))) == f"{sys.prefix}\n"
    with wardian.Sandbox(ready=1) as box:
        assert str(box.run(WHERE).stdout) == f"{sys.prefix}\n"
        assert asyncio.run(live(box.stream(WHERE))) == f"{sys.prefix}\n"


def test_a_named_one_wins(venv, system):
    assert str(wardian.run(WHERE, venv=venv).stdout) == f"{venv}\n"
    assert str(wardian.run(WHERE, python=system).stdout) != f"{sys.prefix}\n"
    assert str(wardian.run(WHERE, python=None, venv=None).stdout) == f"{sys.prefix}\n"
    box = wardian.Sandbox(python=system)
    assert str(box.run(WHERE).stdout) == str(wardian.run(WHERE, python=system).stdout)
    # A run's own takes the place of its sandbox's, whichever of the two words names it.
    assert str(box.run(WHERE, venv=venv).stdout) == f"{venv}\n"


class TestWhatTheProcessIs:
    @pytest.fixture(autouse=True)
    def outside(self, monkeypatch):
        monkeypatch.setattr(sys, "prefix", sys.base_prefix)

    def test_an_interpreter(self, monkeypatch, tmp_path):
        monkeypatch.setattr(sys, "executable", sys._base_executable)
        assert _interpreter.chosen({"wall": 1}) == {"wall": 1, "python": sys.executable}

    @pytest.mark.parametrize("executable", [None, "", "/usr/bin/env", "/nowhere/python3"])
    def test_a_program_with_python_in_it(self, monkeypatch, executable):
        monkeypatch.setattr(sys, "executable", executable)
        assert _interpreter.chosen({"wall": 1}) == {"wall": 1}
        assert wardian.run("print(1)").ok

    def test_one_whose_environment_is_none(self, monkeypatch, tmp_path):
        monkeypatch.setattr(sys, "prefix", str(tmp_path))
        monkeypatch.setattr(sys, "executable", sys._base_executable)
        assert _interpreter.chosen({}) == {"python": sys.executable}


def test_one_that_wardian_cannot_use_says_so(monkeypatch, tmp_path):
    fake = tmp_path / "python3"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(sys, "executable", str(fake))
    for run in (wardian.run, wardian.Sandbox(ready=1).run):
        with pytest.raises(wardian.SandboxError, match=f"no Python found for `{fake}`\n.*not an interpreter but a script"):
            run("1")


def test_one_below_tmp_cannot_be_kept_ready():
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        python = made_venv(pathlib.Path(directory) / "venv") / "bin" / "python"
        assert printed(python, "import wardian; print(wardian.run('print(1)').stdout, end='')") == "1\n"
        program = """
            import wardian
            try:
                wardian.Sandbox(ready=1).run("1")
            except wardian.SandboxError as error:
                print(error)
        """
        assert "no sandbox can be kept ready" in printed(python, program)
        assert "in a place that is new in each run" in printed(python, program)
