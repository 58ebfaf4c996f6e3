"""Run Python that nobody trusts: contained, within exact limits, and see what it did.

``wardian.run(code)`` answers a :class:`Report`; whatever the program does is in there, and exceptions are for
what wardian itself could not do.
"""

from __future__ import annotations

from ._exec import ExecResult, safe_exec, safe_exec_async
from ._options import Options
from ._run import Chunk, Live, run, run_async, stream
from ._version import __version__
from .client import Client
from .errors import (
    BinaryError,
    CallError,
    ProgramError,
    SandboxError,
    ServerError,
    UsageError,
    VerdictError,
    WardianError,
)
from .ipython import load_ipython_extension
from .report import Report
from .sandbox import Sandbox

__all__ = [
    "BinaryError",
    "CallError",
    "Chunk",
    "Client",
    "ExecResult",
    "Live",
    "Options",
    "ProgramError",
    "Report",
    "Sandbox",
    "SandboxError",
    "ServerError",
    "UsageError",
    "VerdictError",
    "WardianError",
    "__version__",
    "load_ipython_extension",
    "run",
    "run_async",
    "safe_exec",
    "safe_exec_async",
    "stream",
]
