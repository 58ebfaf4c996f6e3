# What a child is given: our environment, and no trace in it.
import os
import subprocess
import sys

print(sorted(os.environ), os.environ.get("PYTHONPATH"), os.getenv("PYTHONPATH"))
code = "import os, sys; print(sorted(os.environ), sys.path, sys.flags, len(sys.modules))"
sys.stdout.flush()
subprocess.check_call([sys.executable, "-c", code])
subprocess.check_call(["/usr/bin/env"], env=None)
os.environ["PYTHONPATH"] = "/somewhere"
subprocess.check_call([sys.executable, "-c", "import sys; print(sys.path)"])
os.execv(sys.executable, [sys.executable, "-S", "-c", "import sys; print(sys.path, sys.flags.no_site)"])
