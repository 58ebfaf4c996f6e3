# Touches what every program touches, ahead of time: a page that a child writes to first is copied then.
import sys

import wardian_program

PROGRAM = """\
import sys
class Rehearsal:
    def __init__(self, n):
        self.n = n
    def write(self, text):
        self.n += len(text)
    def flush(self):
        pass
def rehearse(to):
    items = [i * i for i in range(50) if i % 3]
    words = {str(i): f"{i:>4} {i / 7:.3f}" for i in items}
    print("hello", *sorted(words.values()), sep=", ", file=to)
    try:
        raise ValueError(len(words))
    except ValueError as error:
        return error.args[0]
rehearse(Rehearsal(0))
"""
# The first times are in the zygote: failures are told, and Python rewrites code that has run some times.
TIMES = 20


def numpy():
    import numpy

    square = numpy.arange(16.0).reshape(4, 4)
    (square * square + square[1:, :2].sum()).mean()
    str(numpy.array([1, 2, 3])) + str(numpy.arange(10).sum())


OF_MODULES = {"numpy": numpy}


class Rehearsal:
    def __init__(self, os):
        self.os = os
        self.of_modules = []

    def add(self, name):
        """A file may say what its programs will touch."""
        if name.endswith(".py"):
            rehearsal = getattr(sys.modules[name[:-3]], "wardian_rehearse", None)
        else:
            rehearsal = OF_MODULES.get(name)
        if rehearsal:
            for _ in range(TIMES):
                rehearsal()
            self.of_modules.append(rehearsal)

    def rehearse(self, native, partial):
        exec(compile(PROGRAM, "<rehearsal>", "exec"), {"__name__": "rehearsal"})
        self.os.path.realpath("/box/program.py")
        wardian_program.rehearse(self.os, native, partial)
        for rehearsal in self.of_modules:
            rehearsal()
