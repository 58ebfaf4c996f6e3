# Asked of an interpreter once, outside any sandbox: where everything of it lies.
import sys

sys.path[:1] = []
import json, sysconfig

for name in ("_ssl", "_ctypes", "_sqlite3", "zlib", "_bz2", "_lzma", "_decimal", "readline", "_uuid", "_hashlib"):
    try:
        __import__(name)
    except ImportError:
        pass

libraries = set()
with open("/proc/self/maps") as maps:
    for line in maps:
        path = line.rstrip("\n").split(None, 5)[5:]
        if path and path[0].startswith("/") and ".so" in path[0]:
            libraries.add(path[0])

print(json.dumps({
    "implementation": sys.implementation.name if hasattr(sys, "implementation") else "cpython",
    "version": "%d.%d.%d" % sys.version_info[:3],
    "prefixes": [getattr(sys, name, sys.prefix) for name in ("prefix", "exec_prefix", "base_prefix", "base_exec_prefix")],
    "paths": [sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")],
    "sys_path": [path for path in sys.path if path],
    "libraries": sorted(libraries),
}))
