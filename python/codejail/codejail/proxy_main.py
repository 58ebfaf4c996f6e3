"""The proxy process's program."""

import sys

from .proxy import proxy_main

if __name__ == "__main__":
    proxy_main(sys.argv)
