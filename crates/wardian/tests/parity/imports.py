# Modules of the start are found, reloaded and described as always; hooks of imports see what they always see.
import importlib
import importlib.util
import pkgutil
import sys

for name in ("os", "stat", "posixpath", "genericpath", "_collections_abc", "site", "encodings", "encodings.utf_8", "io"):
    spec = importlib.util.find_spec(name)
    print(name, spec.origin, spec.cached, spec.has_location, spec.submodule_search_locations)
    print(getattr(sys.modules[name], "__file__", None), pkgutil.get_loader(name) if hasattr(pkgutil, "get_loader") else "")


class Watcher:
    def find_spec(self, name, path=None, target=None):
        print("looked for", name)


sys.meta_path.insert(0, Watcher())
import os
import os.path
import posixpath
import site

import colorsys

importlib.reload(os)
importlib.reload(importlib.import_module("stat"))
print(os.path is posixpath, sys.modules["os.path"] is posixpath)
del sys.modules["os"]
import os as again

print(again is os, again.sep)
