# Codecs, loaded at the start or later.
import codecs
import encodings
import locale
import sys

print("ü€😀", sys.stdout.encoding, sys.getfilesystemencoding(), locale.getpreferredencoding(False))
for name in ("utf-8", "latin-1", "utf-16", "idna", "rot13", "cp1252", "u8"):
    print(codecs.lookup(name).name, sorted(encodings._cache)[:3])
print(encodings.aliases.aliases["u8"], encodings.normalize_encoding("UTF 8"))
try:
    codecs.lookup("nothing")
except LookupError as error:
    print(error)
with open(__file__) as file:
    print(file.encoding, len(file.read()) > 100)
