"""The jail is configured with an interpreter that everybody may execute, and limits are as they were after each test."""

import os
import sys

import pytest

from codejail import jail_code, safe_exec

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")


@pytest.fixture(autouse=True)
def configured():
    limits = dict(jail_code.LIMITS)
    jail_code.configure("python", os.environ.get("CODEJAIL_TEST_PYTHON", sys.executable), user="sandbox")
    # A busy machine is slow: what is tested is the jail, unless the test says otherwise.
    jail_code.set_limit("REALTIME", 20)
    jail_code.set_limit("CPU", 10)
    yield
    jail_code.LIMITS.clear()
    jail_code.LIMITS.update(limits)
    jail_code.LIMIT_OVERRIDES.clear()
    jail_code.COMMANDS.clear()
    safe_exec.ALWAYS_BE_UNSAFE = False


@pytest.fixture
def here():
    return lambda name: os.path.join(HERE, name)
