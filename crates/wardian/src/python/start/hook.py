# The trimmed start. This is imported as `encodings`, the first module that any interpreter takes from a
# path, and turns into the true one. It hands out what the start needs from one place instead of many
# files, and does in `site` what is known to be left of it. Then nothing of it remains: the program is
# started by Python itself, with its own flags, without a frame of ours below it.
#
# FACTS is a dictionary that build.py puts in front.


def _trim(facts, here):
    import sys
    import posix
    import marshal
    import _thread as thread
    import _frozen_importlib as bootstrap
    import _frozen_importlib_external as external

    modules = sys.modules
    plain = type(sys)

    def restore():
        # Path and environment are as if we had never been there.
        while here in sys.path:
            sys.path.remove(here)
        sys.path_importer_cache.pop(here, None)
        if posix.environ.get(b"PYTHONPATH") == here.encode():
            del posix.environ[b"PYTHONPATH"]
            posix.unsetenv(b"PYTHONPATH")

    def spec_of(name, path, cached, package):
        spec = bootstrap.ModuleSpec(
            name, external.SourceFileLoader(name, path), origin=path, is_package=package
        )
        spec._set_fileattr = True
        if cached:
            spec.cached = cached
        if package:
            spec.submodule_search_locations.append(path.rpartition("/")[0])
        return spec

    served = []

    def with_code(spec, code):
        # The loader stays the true one; only its first answer comes from us.
        spec.loader.get_code = lambda name: marshal.loads(code)
        served.append(spec.loader)
        return spec

    def waits_for(one, other):
        # Whether one thread waits for a module that the other loads. Python's own search for that never ends in
        # a circle of third threads before 3.12 (python/cpython#82272).
        seen, left = set(), [one]
        while left:
            one = left.pop()
            if one == other:
                return True
            if one not in seen:
                seen.add(one)
                locks = bootstrap._blocking_on.get(one) or ()
                left += [lock.owner for lock in (locks if hasattr(locks, "__len__") else [locks])]
        return False

    def entered(me):
        # Takes the gate; not, where the thread that holds it waits for us.
        pause = 0
        while not gate.acquire(timeout=pause):
            if waits_for(holder[0], me):
                return False
            pause = 0.01
        return True

    def loaded(module):
        # The first touch of a module that is not there yet. It stays lazy until it is there as a whole: who holds it
        # already waits for that, and whoever loads it sees what there is of it. One gate for all of them, so that
        # those who come from both ends of a circle of imports do not wait for each other.
        name = plain.__getattribute__(module, "__name__")
        me = thread.get_ident()
        alone = entered(me)
        outermost = alone and holder[0] != me
        if outermost:
            holder[0] = me
        try:
            mark = object()
            if type(module) is lazy and begun.setdefault(name, mark) is mark:
                spec = plain.__getattribute__(module, "__spec__")
                spec._initializing = True
                try:
                    spec.loader.exec_module(module)
                finally:
                    spec._initializing = False
                    plain.__setattr__(module, "__class__", plain)
        finally:
            if outermost:
                holder[0] = None
            if alone:
                gate.release()

    class lazy(plain):
        def __getattribute__(self, name):
            if name != "__spec__" or not starting:
                loaded(self)
            return plain.__getattribute__(self, name)

        def __setattr__(self, name, value):
            loaded(self)
            plain.__setattr__(self, name, value)

        def __delattr__(self, name):
            loaded(self)
            plain.__delattr__(self, name)

        def __dir__(self):
            loaded(self)
            return plain.__dir__(self)

    lazy.__name__ = lazy.__qualname__ = "module"
    lazy.__module__ = "builtins"
    starting = [True]
    begun, gate, holder = {}, thread.RLock(), [None]

    def put_off(name, place):
        if name in modules:
            return
        if place is None:
            spec = bootstrap.FrozenImporter.find_spec(name)
        else:
            spec = spec_of(name, *place)
        module = spec.loader.create_module(spec) if place is None else None
        if module is None:
            module = plain(name)
        bootstrap._init_module_attrs(spec, module)
        module.__class__ = lazy
        modules[name] = module

    def is_expected():
        environ = posix.environ
        home = environ.get(b"HOME", b"").decode("utf-8", "surrogateescape")
        if sys.path != facts["initial"] or not home.startswith("/") or home.endswith("/"):
            return None
        if facts["user_site"] is not None:
            try:
                posix.stat(home + facts["user_site"])
                return None
            except OSError:
                pass
        return home

    def precedence(default):
        # What setuptools' distutils-precedence.pth does, without `os`.
        try:
            if posix.environ.get(b"SETUPTOOLS_USE_DISTUTILS", default) == b"local":
                __import__("_distutils_hack").add_shim()
        except Exception:
            # The true line fails likewise, and `site` says so in its own words.
            return False
        return True

    def namespace(sitedir, name):
        # What a line of setuptools' NAME-nspkg.pth does, without `importlib.util`.
        path = "/".join([sitedir] + name.split("."))
        module = modules.get(name)
        if module is None:
            spec = external.PathFinder.find_spec(name, [path.rpartition("/")[0]])
            module = modules[name] = bootstrap.module_from_spec(spec)
        locations = module.__dict__.setdefault("__path__", [])
        if path not in locations:
            locations.append(path)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)

    def stand_in(names):
        # What those lines would have imported, loaded when it is first touched.
        for name, (how, what) in names:
            if how == "lazy":
                put_off(name, what)
        for name, (how, what) in names:
            if how == "import":
                __import__(name)
            elif how == "alias":
                modules.setdefault(name, modules[what])
        for name, _ in names:
            parent, _, child = name.rpartition(".")
            if parent and type(modules[parent]) is plain:
                setattr(modules[parent], child, modules[name])

    def site_work(site, home):
        import builtins
        import _sitebuiltins

        for name, value in facts["sys"]:
            setattr(sys, name, value)
        site.PREFIXES[:] = facts["prefixes"]
        site.ENABLE_USER_SITE = facts["user_site_enabled"]
        if facts["user_base"] is not None:
            site.USER_BASE = home + facts["user_base"]
        if facts["user_site_name"] is not None:
            site.USER_SITE = home + facts["user_site_name"]
        sys.path[:] = facts["path"]
        for event in facts["events"]:
            if type(event) is str:
                sys.path.append(event)
            elif event[2:3] == ("namespaces",):
                stand_in(event[4])
                for name in event[3]:
                    namespace(event[0], name)
            elif event[2:3] != ("precedence",) or not precedence(event[3]):
                site.addpackage(event[0], event[1], set(sys.path))
        for name, kind, values in facts["builtins"]:
            kind = getattr(_sitebuiltins, kind)
            value = kind.__new__(kind)
            value.__dict__.update(values)
            setattr(builtins, name, value)
        if facts["copyright"]:
            builtins.copyright.__dict__["_Printer__data"] = sys.copyright
        site.enablerlcompleter()
        for name in facts["imports"]:
            __import__(name)
        for name, place in facts["harmless"]:
            put_off(name, place)
        if facts["sitecustomize"]:
            site.execsitecustomize()
        if facts["usercustomize"]:
            site.execusercustomize()

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            found = facts["modules"].get(name)
            if found is not None:
                return with_code(spec_of(name, *found[0]), found[1])
            if name == "site":
                sys.meta_path.remove(Finder)
                for loader in served:
                    del loader.get_code
                home = is_expected()
                if home is None:
                    starting.clear()
                    return None
                for name in facts["built_in"]:
                    __import__(name)
                for name, place in facts["lazy"]:
                    put_off(name, place)
                if "posixpath" in modules:
                    modules["os.path"] = modules["posixpath"]
                place = facts["site"]
                if place is None:
                    spec = bootstrap.FrozenImporter.find_spec("site")
                else:
                    spec = with_code(spec_of("site", *place[0]), place[1])
                return bootstrap.ModuleSpec("site", Site(spec, home))
            return None

    class Site:
        # `site` runs its main() when it is imported, unless a flag says no.
        def __init__(self, spec, home):
            self.spec, self.home = spec, home

        def create_module(self, spec):
            module = self.spec.loader.create_module(self.spec)
            if module is None:
                module = plain("site")
            return module

        def exec_module(self, module):
            for name in ("__file__", "__cached__", "__path__"):
                module.__dict__.pop(name, None)
            module.__spec__ = module.__loader__ = None
            if facts["site"] is None:
                created = self.spec.loader.create_module(self.spec)
                if created is not None and "__file__" in created.__dict__:
                    module.__file__ = created.__file__
            bootstrap._init_module_attrs(self.spec, module, override=True)
            self.spec._initializing = False
            sys.flags = NoSite()
            try:
                self.spec.loader.exec_module(module)
            finally:
                sys.flags = flags
                self.spec.loader.__dict__.pop("get_code", None) if facts["site"] else None
            try:
                site_work(module, self.home)
            finally:
                starting.clear()

    flags = sys.flags

    class NoSite:
        no_site = 1

        def __getattr__(self, name):
            return getattr(flags, name)

    restore()
    place, code = facts["modules"].pop("encodings")
    spec = spec_of("encodings", *place)
    module = modules["encodings"]
    module.__dict__.clear()
    bootstrap._init_module_attrs(spec, module, override=True)
    spec._initializing = False
    sys.meta_path.insert(0, Finder)
    exec(marshal.loads(code), module.__dict__)


_trim(FACTS, __file__.rpartition("/")[0])
