"""Temporary directories."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import typing


@contextlib.contextmanager
def temp_directory() -> typing.Iterator[str]:
    """A directory that is gone afterwards."""
    directory = tempfile.mkdtemp(prefix="codejail-")
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextlib.contextmanager
def change_directory(new_dir: str) -> typing.Iterator[str]:
    """Another working directory of this process, until the end."""
    before = os.getcwd()
    os.chdir(new_dir)
    try:
        yield new_dir
    finally:
        os.chdir(before)
