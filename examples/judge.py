"""python judge.py PROGRAM CASES: runs the program on every CASES/*.in, and compares what it prints with the *.out beside it."""

import sys
from pathlib import Path

import wardian

RESULTS = {
    "time_limit": "TLE",
    "memory_limit": "MLE",
    "output_limit": "OLE",
    "nonzero_exit": "RE",
    "signaled": "RE",
    "disk_limit": "RE",
    "process_limit": "RE",
    "policy_violation": "RE",
}


def judge(program, given, expected):
    report = wardian.run(path=program, stdin=given, policy="judge")
    if report.ok:
        return "AC" if str(report.stdout).split() == expected.split() else "WA"
    return RESULTS[report.verdict]


if __name__ == "__main__":
    program, cases = map(Path, sys.argv[1:])
    for given in sorted(cases.glob("*.in")):
        print(given.stem, judge(program, given, given.with_suffix(".out").read_text()))
