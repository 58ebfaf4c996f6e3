"""Runs in the jail, after ``JSON_SAFE``, the source of ``_json_safe``; trusted by nobody.

Standard input is a JSON object with ``code``, ``globals_dict`` and perhaps ``python_path``. The globals that the code
leaves behind go out on descriptor 3, as JSON in a JSON string: nothing that the code prints gets in their way.
"""

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    JSON_SAFE = ""

# A jail that was ready has loaded it already.
helper = sys.modules.get("_json_safe")
if helper is None:
    helper = type(sys)("_json_safe")
    exec(JSON_SAFE, helper.__dict__)
own_pid = os.getpid()


class DevNull(object):
    def write(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        pass

    def flush(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        pass


sys.stdout = DevNull()
order = json.load(sys.stdin)
code, g_dict = order["code"], order["globals_dict"]
sys.path.extend(order.get("python_path") or [])

try:
    exec(code, g_dict)
except SystemExit as error:
    # The code's own sys.exit(0) is an end like any other.
    if error.code:
        raise

if os.getpid() != own_pid:
    os._exit(0)
left = json.dumps(json.dumps(helper.json_safe(g_dict))).encode("ascii")
while left:
    left = left[os.write(3, left) :]
# The end is quicker where the streams are what they were; nobody reads what is printed from here on.
sys.stdout = sys.__stdout__
