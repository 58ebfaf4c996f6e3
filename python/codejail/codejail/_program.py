"""Runs in the jail, after ``JSON_SAFE``, the source of ``_json_safe``; trusted by nobody."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    JSON_SAFE = ""

# A jail that was ready has loaded it already.
helper = sys.modules.get("_json_safe")
if helper is None:
    helper = type(sys)("_json_safe")
    exec(JSON_SAFE, helper.__dict__)
code, g_dict = helper.begin()

try:
    exec(code, g_dict)
except SystemExit as error:
    # The code's own sys.exit(0) is an end like any other.
    if error.code:
        raise

helper.end(g_dict)
