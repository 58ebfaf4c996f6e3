import os
import signal
import sys

how = sys.argv[1]
print("before")
if how.isdigit():
    sys.exit(int(how))
elif how == "text":
    sys.exit("words")
elif how == "none":
    raise SystemExit
elif how == "builtin":
    exit(7)
elif how == "interrupt":
    signal.raise_signal(signal.SIGINT) if hasattr(signal, "raise_signal") else os.kill(os.getpid(), signal.SIGINT)
    for _ in range(10 ** 8):
        pass
elif how == "kill":
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
