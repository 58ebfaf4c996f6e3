# A module that has not been touched yet behaves like any other, whatever touches it first.
import sys

first = sys.modules["stat"]
print(repr(first).partition(" from ")[0], isinstance(first, type(sys)), first.__name__, type(first))
sys.modules["genericpath"].added = 1
print(sys.modules["genericpath"].added, type(sys.modules["genericpath"]) is type(sys))
print(sorted(dir(sys.modules["_collections_abc"]))[:3], vars(sys.modules["posixpath"])["sep"])
from os import *
from os import path, sep

print(sep, path.sep, getcwd is sys.modules["os"].getcwd, hasattr(sys.modules["os"], "nothing"))
try:
    sys.modules["os"].nothing
except AttributeError as error:
    print(error)
import os

del os.sep
print(hasattr(os, "sep"))
