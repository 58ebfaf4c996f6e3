"""Tests of the package run real sandboxes, with the binary that WARDIAN_BIN names or the wheel has brought."""

import sys

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def descriptors():
    """How many descriptors this process has open."""
    import os

    return lambda: len(os.listdir("/proc/self/fd"))


def pytest_configure(config):
    # The documents show it; the plugin that declares it is loaded only where the package is installed.
    config.addinivalue_line("markers", "wardian(**options): see wardian.pytest_plugin")


def pytest_report_header():
    import wardian._binary

    return f"wardian: {wardian._binary.find()}, {sys.version.split()[0]}"
