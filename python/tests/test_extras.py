"""Notebooks, pytest, the courtesy layer, the client."""

import asyncio
import http.server
import json
import threading

import pytest

import wardian
from wardian import guard, ipython

PNG = (
    "import base64; open('x.png', 'wb').write(base64.b64decode('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4"
    "2mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='))"
)


class TestHtml:
    def test_everything_of_the_programs_is_escaped(self):
        report = wardian.run("print('<script>alert(1)</script>'); open('<b>.txt', 'w'); import socket; socket.socket()", collect=["*"])
        html = report._repr_html_()
        assert "<script>" not in html and "&lt;script&gt;" in html and "<b>.txt" not in html
        assert "refused 1×: socket" in html and "memory" in html

    def test_images_are_inline_and_svg_is_not(self):
        report = wardian.run(PNG + "\nopen('y.svg', 'w').write('<svg onload=\"alert(1)\"/>')", collect=["*"])
        html = report._repr_html_()
        assert html.count("<img ") == 1 and 'src="data:image/png;base64,' in html and "svg" not in html.replace("y.svg", "")


class TestIpython:
    def test_a_cell(self):
        report = ipython.cell("--memory 64M --wall=5 --collect *.png --processes 4", PNG)
        assert report.limits.memory_bytes == 64 << 20 and report.files[0].mime == "image/png"

    def test_options_that_may_be_there_several_times(self, tmp_path):
        line = f"--env A=1 --env B=2=3 --mount src={tmp_path},dst=/data --require memory --cpus 0.5"
        report = ipython.cell(line, "import os; print(os.environ['A'], os.environ['B'], os.path.isdir('/data'))")
        assert str(report.stdout) == "1 2=3 True\n" and report.limits.cpus == 0.5

    @pytest.mark.parametrize("line", ["x", "--nope 1", "--wall", "--wall '1"])
    def test_a_wrong_line(self, line):
        with pytest.raises(wardian.UsageError):
            ipython.cell(line, "1")

    def test_the_magic_is_registered(self):
        class Shell:
            def register_magic_function(self, function, kind, name):
                self.registered = function, kind, name

        shell = Shell()
        wardian.load_ipython_extension(shell)
        assert shell.registered == (ipython.cell, "cell", "wardian")


def test_the_fixture(pytester):
    pytester.makeconftest("pytest_plugins = ['wardian.pytest_plugin']")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.wardian(memory="64M")
        def test_solution(wardian):
            report = wardian.run("print(1)")
            assert report.limits.memory_bytes == 64 << 20
            assert wardian.call("def f(x): return x + 1", "f", 1) == 2
        """
    )
    pytester.runpytest("-p", "no:wardian", "--strict-markers").assert_outcomes(passed=1)


class TestGuard:
    def test_what_is_allowed_works(self):
        report = guard.run("import math, collections.abc, json\nprint(math.pi > 3, input())", stdin="x")
        assert str(report.stdout) == "True x\n", str(report.stderr)

    @pytest.mark.parametrize(
        "code, message",
        [
            ("import socket", "ImportError: module 'socket' is not allowed here"),
            ("from os import path", "ImportError: module 'os' is not allowed here"),
            ("import os.path", "ImportError: module 'os.path' is not allowed here"),
            ("__import__('subprocess')", "ImportError: module 'subprocess' is not allowed here"),
            ("open('x')", "NameError: 'open' is not allowed here"),
            ("eval('1')", "NameError: 'eval' is not allowed here"),
        ],
    )
    def test_what_is_not_says_so_in_pythons_words(self, code, message):
        report = guard.run(f"x = 1\n{code}\n")
        text = str(report.stderr)
        assert text.endswith(message + "\n") and report.exit_code == 1
        assert 'File "main.py", line 2' in text and "importer" not in text and "refuse" not in text

    def test_own_lists(self):
        own = guard.Guard(modules=("os",), removed=())
        assert guard.run("import os; exec('print(eval(\"1\"))')", own).ok
        assert not guard.run("import math", own).ok
        assert guard.run("import socket", guard.Guard(modules=None)).ok

    @pytest.mark.parametrize("how", [{"guard": guard.Guard(modules="math")}, {"guard": guard.Guard(removed="len")}, {"args": "abc"}])
    def test_one_string_is_no_list(self, how):
        with pytest.raises(wardian.UsageError, match="is one string"):
            guard.run("1", **how)

    def test_a_policy_names_it(self, tmp_path):
        path = tmp_path / "program.py"
        path.write_text("import sys, socket\n")
        for what in ({"code": "import socket"}, {"path": path}):
            report = wardian.run(**what, policy="python_guard", wall=20)
            assert "is not allowed here" in str(report.stderr) and report.policy.name == "python"
        live = wardian.stream("import socket", policy="python_guard")

        async def follow():
            return [chunk.text async for chunk in live if chunk.stream == "stderr"]

        assert "module 'socket' is not allowed here" in "".join(asyncio.run(follow()))
        for wrong in ({"module": "this"}, {}, {"code": "1", "path": path}, {"path": tmp_path / "none"}, {"code": b"1"}):
            with pytest.raises(wardian.UsageError):
                wardian.run(**wrong, policy="python_guard")

    def test_it_is_no_boundary_but_what_is_behind_it_is(self):
        escape = "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'][0]" ".__init__.__globals__"
        report = guard.run(f"names = {escape}\nprint(names['stat']('/etc/shadow'))")
        assert "is not allowed here" not in str(report.stderr)
        assert str(report.stderr).endswith("No such file or directory: '/etc/shadow'\n")

    def test_the_json_form(self):
        answer = guard.exec_str("print('hi')\n1/0")
        assert "\n" not in answer
        parsed = json.loads(answer)
        assert parsed["code"] == "print('hi')\n1/0" and parsed["user_stdout"] == "hi\n"
        assert parsed["user_stderr"].endswith("ZeroDivisionError: division by zero\n")
        assert json.loads(guard.exec_str("raise SystemExit"))["user_stderr"] == ""
        assert "still running" in json.loads(guard.exec_str("while True: pass", wall=1))["user_stderr"]


class _Handler(http.server.BaseHTTPRequestHandler):
    """A server that answers what the test says."""

    answers: list = []
    asked: list = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, dict(self.headers), json.loads(body)))
        status, content = self.answers.pop(0)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    _Handler.answers, _Handler.asked = [], []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield wardian.Client(f"http://127.0.0.1:{server.server_port}", key="secret", timeout=10)
        server.shutdown()
        thread.join()


class TestClient:
    def test_a_run(self, server):
        report = wardian.run("print(7)")
        _Handler.answers = [(200, report.to_json().encode())]
        files = {"a.bin": b"\xff", "b.txt": "ü"}
        answer = server.run("print(7)", files=files, args=["x"], stdin=b"\xff", wall=2, memory="64M", policy="strict")
        assert answer == report
        path, headers, body = _Handler.asked[0]
        assert path == "/v1/run" and headers["Authorization"] == "Bearer secret"
        assert body == {
            "code": "print(7)", "args": ["x"], "collect": [], "stdin_base64": "/w==", "policy": "strict",
            "files": [{"path": "a.bin", "base64": "/w=="}, {"path": "b.txt", "text": "ü"}],
            "limits": {"wall": 2, "memory": "64M"},
        }  # fmt: skip

    def test_a_problem(self, server):
        problem = {"title": "x", "detail": "the queue is full", "hint": "later", "field": "code"}
        _Handler.answers = [(429, json.dumps(problem).encode()), (502, b"<html>")]
        with pytest.raises(wardian.ServerError, match="429: code: the queue is full.*later") as caught:
            server.run("1")
        assert caught.value.status == 429
        with pytest.raises(wardian.ServerError, match="502"):
            server.run("1")

    def test_nonsense(self, server):
        _Handler.answers = [(200, b"nonsense"), (200, b"[]"), (200, b"[" * 100000), (200, b'{"schema": "other/1"}')]
        for _ in range(4):
            with pytest.raises(wardian.WardianError):
                server.run("1")

    def test_a_stream(self, server):
        report = wardian.run("print(7)").to_json()
        events = f'event: stdout\ndata: {{"text": "7\\n"}}\n\nevent: stderr\ndata: {{"base64": "/w=="}}\n\nevent: report\ndata: {report}\n\n'
        _Handler.answers = [(200, events.encode()), (200, b"event: stdout\ndata: {}\n\n")]
        stream = server.stream("print(7)", wall=1)
        assert [(chunk.stream, chunk.data) for chunk in stream] == [("stdout", b"7\n"), ("stderr", b"\xff")]
        assert stream.report.ok
        with pytest.raises(wardian.ServerError, match="without a report"):
            list(server.stream("1"))

    def test_nobody_there(self):
        with pytest.raises(wardian.ServerError, match="cannot reach"):
            wardian.Client("http://127.0.0.1:1", timeout=5).run("1")
        assert not wardian.Client("unix:/nowhere.sock").healthy()

    def test_bad_arguments(self):
        client = wardian.Client("http://127.0.0.1:1")
        for address in ("ftp://x", "http://x:port", "http://[", 5):
            with pytest.raises(wardian.UsageError):
                wardian.Client(address)
        with pytest.raises(wardian.UsageError):
            wardian.Client("http://x", key="a\nb")
        wrongs = [
            {"stdin": 3}, {"args": "abc"}, {"args": [3]}, {"collect": "*"}, {"files": "abc"}, {"files": {"a": 3}},
            {"files": ["/nowhere"]}, {"env": ["A"]}, {"env": {"A": 3}}, {"policy": 3}, {"entry": "x"},
            {"memory": 1.5}, {"wall": float("nan")}, {"wall": object()}, {"processes": "many"}, {"idempotency_key": "é"},
        ]  # fmt: skip
        for wrong in ({}, {"code": 3}, {"code": "\ud800"}, *({"code": "1", **wrong} for wrong in wrongs)):
            with pytest.raises(wardian.UsageError):
                client.run(**wrong)
        with pytest.raises(TypeError, match="no limit 'x'"):
            client.run("1", x=1)
