"""The API reference: `sphinx-build -W -n docs/api OUTPUT`, with the package in PYTHONPATH."""

import wardian

project = "wardian"
copyright = "the wardian authors"
version = release = wardian.__version__
extensions = ["sphinx.ext.autodoc"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_class_signature = "separated"
# The standard library's names are not looked up, since this builds without a network; nor are private ones of our own.
nitpick_ignore_regex = [("py:.*", r"(?!wardian).*|wardian\._.*")]
html_theme = "alabaster"
