"""Every example of the documents on the package, executed: sessions as they are shown, programs as they stand."""

import doctest
import importlib.util
import os
import re
import subprocess
import sys

import pytest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
DOCUMENTS = [
    "docs/python.md",
    "docs/judging.md",
    "docs/from-exec.md",
    "docs/from-restrictedpython.md",
    "docs/from-codejail.md",
    "python/README.md",
]
NEEDS = re.compile(r"# needs (\w+)")


def blocks(path, language):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return re.findall(rf"^```{language}\n(.*?)^```$", file.read(), re.M | re.S)


@pytest.mark.parametrize("path", DOCUMENTS)
def test_what_the_document_shows_is_what_happens(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    shown = blocks(path, "pycon")
    for at, text in enumerate(shown):
        needed = NEEDS.findall(text)
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if missing:
            print(f"SKIP {path}: {missing[0]} is not installed")
            continue
        test = doctest.DocTestParser().get_doctest(text, names, f"{path}[{at}]", path, 0)
        report = []
        result = runner.run(test, out=report.append, clear_globs=False)
        names.update(test.globs)
        assert result.failed == 0, "".join(report)
    assert shown


@pytest.mark.parametrize("path", DOCUMENTS)
def test_programs_run(path):
    for text in blocks(path, "python"):
        exec(compile(text, path, "exec"), {"__name__": "document"})


def test_a_document_that_lies_is_found_out():
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "lie", None, 0)
    assert doctest.DocTestRunner().run(test, out=lambda _: None).failed == 1


def test_every_document_on_the_package_is_executed():
    for name in os.listdir(os.path.join(ROOT, "docs")):
        if name.endswith(".md") and blocks(f"docs/{name}", "(?:pycon|python)"):
            assert f"docs/{name}" in DOCUMENTS, name


def test_the_judge_is_as_shown_and_judges():
    examples = os.path.join(ROOT, "examples")
    with open(os.path.join(examples, "judge.py"), encoding="utf-8") as file:
        assert file.read() in blocks("docs/judging.md", "python")
    judge = [sys.executable, "judge.py", "solution.py", "cases"]
    environment = {**os.environ, "PYTHONPATH": os.path.join(ROOT, "python")}
    output = subprocess.run(judge, cwd=examples, env=environment, stdout=subprocess.PIPE, check=True).stdout
    assert output == b"1 AC\n2 AC\n"


def test_the_notebook_runs(tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", os.path.join(ROOT, "python"))
    notebook = nbformat.read(os.path.join(ROOT, "examples", "notebook.ipynb"), as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    shown = [out["data"] for cell in notebook.cells for out in cell.get("outputs", ()) if "data" in out]
    assert any("332833500" in data.get("text/html", "") and "answer.txt" in data["text/html"] for data in shown)
    assert any(data.get("text/plain") == "{'x': 20, 'y': 21}" for data in shown)
