"""`safe_exec("y = x + 1", {"x": 1})` of edx-codejail and of wardian, in one interleaved run.

Every contestant is a process that keeps running, as a web application would; each is asked once a round, in a shuffled
order. edx-codejail changes users with `sudo`, as its manual has it, but without AppArmor: its profile would add to it.
"""
import argparse
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CODE = "y = x + 1"
#: What `./bench codejail` compares all others to.
ORIGINAL = "edx-codejail"
PACKAGE = "edx-codejail==4.1.0"


def codejail(python, ready):
    from codejail import jail_code, safe_exec

    jail_code.configure("python", python, user="nobody")
    for name, value in {"REALTIME": 20, "CPU": 20, "READY": ready}.items():
        jail_code.set_limit(name, value)
    return lambda values: safe_exec.safe_exec(CODE, values)


def package(python, ready):
    import wardian

    if not ready:
        return lambda values: wardian.safe_exec(CODE, values, python=python)
    box = wardian.Sandbox(ready=ready, python=python)
    return lambda values: box.safe_exec(CODE, values)


CONTESTANTS = {
    ORIGINAL: (codejail, 0),
    "wardian-codejail": (codejail, 0),
    "wardian-codejail, READY 2": (codejail, 2),
    "wardian.safe_exec": (package, 0),
    "wardian.Sandbox(ready=2).safe_exec": (package, 2),
}


def work(name, python):
    """Answers each line with the seconds that one execution took."""
    make, ready = CONTESTANTS[name]
    run = make(python, ready)
    for line in sys.stdin:
        values = {"x": 1}
        begin = time.perf_counter()
        run(values)
        seconds = time.perf_counter() - begin
        assert values == {"x": 1, "y": 2}, values
        print(seconds, flush=True)


def start(name, python, path, binary):
    environment = {**os.environ, "PYTHONPATH": path, "WARDIAN_BIN": binary}
    command = [python, __file__, "--work", name]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(worker):
    worker.stdin.write("go\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        raise SystemExit("a contestant has ended: what it said is above")
    return float(answer)


def measure(rounds, pause, binary):
    # Not below /tmp, which is each program's own: an interpreter there cannot be warm.
    with tempfile.TemporaryDirectory(prefix="wardian-bench-", dir="/var/tmp") as directory:
        # Its sandbox user reads the interpreter.
        os.chmod(directory, 0o755)
        python = f"{directory}/venv/bin/python"
        subprocess.run(["/usr/bin/python3", "-m", "venv", f"{directory}/venv"], check=True)
        subprocess.run([f"{directory}/venv/bin/pip", "install", "-q", "six"], check=True)
        install = [f"{directory}/venv/bin/pip", "install", "-q", "--no-deps", "-t", f"{directory}/original", PACKAGE]
        subprocess.run(install, check=True)
        ours = f"{ROOT}/python:{ROOT}/python/codejail"
        paths = {name: f"{directory}/original" if name == ORIGINAL else ours for name in CONTESTANTS}
        workers = {name: start(name, python, paths[name], binary) for name in CONTESTANTS}
        try:
            times = {name: [] for name in workers}
            for worker in workers.values():
                for _ in range(3):
                    ask(worker)
            for _ in range(rounds):
                for name in random.sample(list(workers), len(workers)):
                    time.sleep(pause)
                    times[name].append(ask(workers[name]))
        finally:
            for worker in workers.values():
                worker.stdin.close()
                worker.wait()
    return times


def main():
    parser = argparse.ArgumentParser(prog="./bench codejail", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--pause", type=float, default=0.02, help="seconds before each execution")
    parser.add_argument("--wardian", help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, sys.executable)
        return
    times = measure(options.rounds, options.pause, options.wardian)
    base = statistics.median(times[ORIGINAL])
    print(f"| `safe_exec({CODE!r}, ...)` | p10 | median | p90 | to {ORIGINAL} |\n|---|---|---|---|---|")
    for name, taken in times.items():
        cuts = statistics.quantiles(taken, n=10)
        middle = statistics.median(taken)
        figures = " | ".join(f"{seconds * 1e3:.2f} ms" for seconds in (cuts[0], middle, cuts[-1]))
        print(f"| {name} | {figures} | {middle / base:.3f} |")


main()
