# Asked of an interpreter that is started normally and trimmed: everything that the start decides.
# Both must print the same.
import sys

early = [
    sorted(sys.modules),
    sys.path,
    sys.meta_path,
    sys.path_hooks,
    sys.flags,
    sys.argv,
    getattr(sys, "orig_argv", None),
    [(name, getattr(sys, name, None)) for name in ("prefix", "exec_prefix", "base_prefix", "executable", "_home")],
    sorted(sys.__dict__),
    sys._getframe().f_back,
    sys.getrecursionlimit(),
    sys.warnoptions,
    sys.excepthook is sys.__excepthook__,
    sorted(globals()),
    [(stream.encoding, stream.errors, stream.line_buffering) for stream in (sys.stdin, sys.stdout)],
]
untouched = "os" in sys.modules and sys.modules["os"].path is sys.modules["posixpath"]

import builtins
import _collections_abc, abc, codecs, encodings, encodings.aliases, encodings.utf_8, genericpath, io, os, posixpath
import site, stat


def plain(value):
    return value if isinstance(value, (str, bytes, int, bool, tuple, list, type(None))) else type(value)


def attributes(thing):
    return sorted((name, plain(value)) for name, value in vars(thing).items() if name != "__builtins__")


def of_module(module):
    spec = module.__spec__
    loader = spec.loader if isinstance(spec.loader, type) else attributes(spec.loader)
    state = sorted((name, str(value)) for name, value in vars(spec).items() if name != "loader")
    return type(module), type(module) is type(sys), repr(module), sorted(vars(module)), loader, state


there = [(name, module) for name, module in sorted(sys.modules.items()) if getattr(module, "__spec__", None)]
modules = (_collections_abc, abc, codecs, encodings, encodings.aliases, encodings.utf_8, genericpath, io, os)
modules += (posixpath, site, stat)
late = [of_module(module) for module in modules]
late += [(name, of_module(module)) for name, module in there if name != "__main__"]
late += [attributes(site), sorted(vars(builtins)), os.path is posixpath, untouched]
late += [sorted(os.environ), sorted(os.environb)]
for name in ("exit", "quit", "copyright", "credits", "license", "help"):
    thing = getattr(builtins, name)
    late.append((name, type(thing), attributes(thing), repr(thing)))
late += [sys.__interactivehook__, sorted(sys.modules), sys.meta_path, encodings.search_function.__code__]

import re

for line in early + late:
    sys.stdout.write(re.sub("0x[0-9a-f]+", "0x", repr(line)) + "\n")
