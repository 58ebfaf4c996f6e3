# Makes the trimmed start of this interpreter; run outside any sandbox with `-S -B -c`.
# In: a JSON object {"hook": source of hook.py, "left_out": [...]}. Out: {"hook": base64, "sources": [...]}
import sys

sys.path[:1] = []
initial = list(sys.path)
started = dict(sys.modules)
import builtins

names = set(dir(builtins))
import site

with_site = dict(sys.modules)

state = {"path": None, "events": [], "seen": 0}
by_lines = set()
remove_duplicates, add_package = site.removeduppaths, site.addpackage


# What setuptools writes into distutils-precedence.pth, and what it then does unless told otherwise.
LINE = (
    b"import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, '%s') == 'local'; "
    b"enabled and __import__('_distutils_hack').add_shim();"
)
PRECEDENCE = {LINE % default: default for default in (b"local", b"stdlib")}


# What setuptools writes into PROJECT-nspkg.pth for a package that several projects share, by version.
NAMESPACE = [
    "import sys, types, os;has_mfs = sys.version_info > (3, 5);p = os.path.join(%(root)s, *%(parts)r);"
    "importlib = has_mfs and __import__('importlib.util');has_mfs and __import__('importlib.machinery');"
    "m = has_mfs and sys.modules.setdefault(%(name)r, %(made)s);%(rest)s",
    "import sys, types, os;p = os.path.join(%(root)s, *%(parts)r);"
    "importlib = __import__('importlib.util');__import__('importlib.machinery');"
    "m = sys.modules.setdefault(%(name)r, %(made)s);%(rest)s",
]
MADE = "importlib.util.module_from_spec(importlib.machinery.PathFinder.find_spec(%r, [os.path.dirname(p)]))"
REST = (
    "m = m or sys.modules.setdefault(%r, types.ModuleType(%r));"
    "mp = (m or []) and m.__dict__.setdefault('__path__',[]);(p not in mp) and mp.append(p)"
)


def namespace_of(line):
    """The name of the package that a line makes, if it does that and nothing else."""
    name = line.partition("sys.modules.setdefault('")[2].partition("'")[0]
    parts = tuple(name.split("."))
    rest = REST % (name, name)
    if len(parts) > 1:
        rest += ";m and setattr(sys.modules[%r], %r, m)" % (".".join(parts[:-1]), parts[-1])
    values = {
        "root": "sys._getframe(1).f_locals['sitedir']",
        "parts": parts,
        "name": name,
        "made": MADE % name,
        "rest": rest,
    }
    return name if line in [template % values for template in NAMESPACE] else None


def namespaces_of(text):
    names = [namespace_of(line) for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    return names if names and None not in names else None


def removeduppaths():
    known = remove_duplicates()
    state["path"] = list(sys.path)
    state["seen"] = len(sys.path)
    return known


def note_paths():
    state["events"] += sys.path[state["seen"] :]
    state["seen"] = len(sys.path)


def addpackage(sitedir, name, known_paths):
    note_paths()
    with open(sitedir + "/" + name, "rb") as file:
        text = file.read()
    runs = any(line.startswith((b"import ", b"import\t")) for line in text.replace(b"\r", b"\n").split(b"\n"))
    before = set(sys.modules)
    answer = add_package(sitedir, name, known_paths)
    if runs:
        new = [module for module in sys.modules if module not in before]
        by_lines.update(new)
        default = PRECEDENCE.get(text.strip())
        namespaces = namespaces_of(text)
        if default is not None:
            event = sitedir, name, "precedence", default
        elif namespaces is not None:
            event = sitedir, name, "namespaces", namespaces, new
        else:
            event = sitedir, name
        state["events"].append(event)
        state["seen"] = len(sys.path)
    else:
        note_paths()
    return answer


site.removeduppaths, site.addpackage = removeduppaths, addpackage
names_before = set(sys.__dict__)
prefixes_before = sys.prefix, sys.exec_prefix
site.main()
note_paths()
after_main = dict(sys.modules)
site.removeduppaths, site.addpackage = remove_duplicates, add_package

import base64
import json
import marshal
import importlib.machinery
import importlib.util

wanted = json.loads(sys.stdin.read())
left_out = set(wanted["left_out"])


def place_of(name):
    spec = with_site.get(name, after_main.get(name, sys.modules.get(name))).__spec__
    if spec.loader is importlib.machinery.FrozenImporter:
        return None
    return spec.origin, spec.cached, spec.submodule_search_locations is not None


def is_frozen(module):
    return module.__spec__.loader is importlib.machinery.FrozenImporter


def is_built_in(module):
    return getattr(module, "__loader__", None) is importlib.machinery.BuiltinImporter


def is_source(module):
    spec = getattr(module, "__spec__", None)
    return spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader


def code_of(name, module):
    return marshal.dumps(module.__spec__.loader.get_code(name))


def imported(name):
    """How a module that a line imported comes to be there without it."""
    module = sys.modules[name]
    same = [other for other, value in sys.modules.items() if value is module and other != name]
    if same:
        return "alias", min(same, key=len)
    if is_built_in(module) or name == "importlib":
        return "import", None
    assert is_frozen(module) or is_source(module), name
    return "lazy", place_of(name)


def settled(event):
    """An event as the hook takes it."""
    if type(event) is str or event[2:3] != ("namespaces",):
        return event
    sitedir, name, kind, namespaces, new = event
    try:
        return sitedir, name, kind, namespaces, [(n, imported(n)) for n in new if n not in namespaces]
    except (AssertionError, AttributeError):
        return sitedir, name


embedded = {name: module for name, module in started.items() if is_source(module) and name != "__main__"}
candidates = ["abc", "_collections_abc", "stat", "genericpath", "posixpath", "os"]
fresh = [name for name in candidates if name in with_site and name not in started]
lazy = [(name, place_of(name)) for name in fresh if is_frozen(with_site[name]) or is_source(with_site[name])]
built_in = [n for n, m in with_site.items() if n not in started and is_built_in(m)]
sources = [m.__spec__.origin for m in embedded.values()]
sources += [place[0] for _, place in lazy if place]

home = "/nonexistent"


def below_home(path):
    if path is None:
        return None
    assert path.startswith(home + "/"), path
    return path[len(home) :]


own = []
for name in ("exit", "quit", "copyright", "credits", "license", "help"):
    value = getattr(builtins, name)
    values = dict(vars(value))
    if name == "copyright":
        values["_Printer__data"] = ""
    own.append((name, type(value).__name__, values))
unknown = set(dir(builtins)) - names - {name for name, _, _ in own} - {"_"}
assert not unknown, unknown

changed = []
for name in ("prefix", "exec_prefix", "_home"):
    if hasattr(sys, name):
        changed.append((name, getattr(sys, name)))


# Debian's, which does nothing where there is no apport.
HARMLESS = """# install the apport exception handler if available
try:
    import apport_python_hook
except ImportError:
    pass
else:
    apport_python_hook.install()
"""


def customize(name):
    """Whether it must be imported, and its place where it is known to do nothing."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return False, []
    try:
        with open(spec.origin) as file:
            text = file.read()
    except (OSError, ValueError, TypeError):
        return True, []
    sources.append(spec.origin)
    if text == HARMLESS and importlib.util.find_spec("apport_python_hook") is None:
        return False, [(name, (spec.origin, spec.cached, False))]
    return True, []


sitecustomize, harmless = customize("sitecustomize")
usercustomize, harmless_user = customize("usercustomize") if site.ENABLE_USER_SITE else (False, [])
user_site = below_home(site.USER_SITE)
by_main = set(after_main) - set(with_site) - by_lines - {"sitecustomize", "usercustomize", "os.path"}
facts = {
    "initial": initial,
    "path": state["path"],
    "events": [settled(event) for event in state["events"] if type(event) is tuple or event not in left_out],
    "user_site": user_site if site.ENABLE_USER_SITE else None,
    "user_site_enabled": site.ENABLE_USER_SITE,
    "user_base": below_home(site.USER_BASE),
    "user_site_name": user_site,
    "prefixes": list(site.PREFIXES),
    "sys": changed,
    "builtins": own,
    "copyright": True,
    "imports": sorted(by_main),
    "harmless": harmless + harmless_user,
    "sitecustomize": sitecustomize,
    "usercustomize": usercustomize,
    "built_in": built_in,
    "lazy": lazy,
    "modules": {
        name: ((m.__spec__.origin, m.__spec__.cached, hasattr(m, "__path__")), code_of(name, m))
        for name, m in embedded.items()
    },
    "site": None if is_frozen(site) else (place_of("site"), code_of("site", site)),
}
source = wanted["hook"].replace("_trim(FACTS,", "_trim(%r," % (facts,))
code = compile(source, "<trimmed start>", "exec", dont_inherit=True, optimize=2)
header = importlib.util.MAGIC_NUMBER + b"\0" * (8 if sys.version_info < (3, 7) else 12)
print(json.dumps({"hook": base64.b64encode(header + marshal.dumps(code)).decode(), "sources": sources}))
