"""A process that starts the jails: for those who ask for it. Nothing needs it, since nothing forks."""

from __future__ import annotations

import ast
import contextlib
import logging
import os
import select
import subprocess
import sys
import threading
import typing

from .subproc import Jailed, run_jailed

log = logging.getLogger("codejail")

#: The one proxy process, if there is one.
PROXY_PROCESS: typing.Optional["subprocess.Popen[bytes]"] = None

_lock = threading.Lock()
_TRIES = 3
#: How long one that has closed its pipes may take to end.
_END_SECONDS = 5.0


def serialize(value: typing.Any) -> bytes:
    """Plain values as one line."""
    return repr(value).encode("utf8")


def deserialize(line: bytes) -> typing.Any:
    """The values of a line; literals only."""
    return ast.literal_eval(line.decode("utf8"))


def run_subprocess_through_proxy(*args: typing.Any, **kwargs: typing.Any) -> Jailed:
    """As :func:`codejail.subproc.run_jailed`, in the proxy process; one at a time."""
    last: typing.Optional[Exception] = None
    with _lock:
        for _ in range(_TRIES):
            try:
                return _ask(get_proxy(), args, kwargs)
            except Exception as error:
                log.exception("Proxy process failed")
                last = error
    raise last if last is not None else RuntimeError("no try was made")


def _ask(
    proxy: "subprocess.Popen[bytes]", args: typing.Sequence[typing.Any], kwargs: typing.Mapping[str, typing.Any]
) -> Jailed:
    if proxy.stdin is None or proxy.stdout is None:
        raise RuntimeError("the proxy process has no pipes")
    try:
        proxy.stdin.write(serialize((list(args), dict(kwargs))) + b"\n")
        proxy.stdin.flush()
        line = proxy.stdout.readline()
    except BrokenPipeError:
        line = b""
    if not line:
        # Its pipes are closed before it is gone: only then is another one started.
        with contextlib.suppress(subprocess.TimeoutExpired):
            proxy.wait(_END_SECONDS)
        raise Exception("Proxy process died unexpectedly!")
    *fields, failure, log_calls = deserialize(line.rstrip())
    for level, message, arguments in log_calls:
        log.log(level, message, *arguments)
    if failure is not None:
        raise RuntimeError(failure)
    return Jailed(*fields)


def get_proxy() -> "subprocess.Popen[bytes]":
    """The proxy process; a new one if the last has ended."""
    global PROXY_PROCESS
    if PROXY_PROCESS is not None:
        status = PROXY_PROCESS.poll()
        if status is not None:
            log.info(
                "CodeJail proxy process (pid %d) ended with status code %d", PROXY_PROCESS.pid, status
            )
            for pipe in (PROXY_PROCESS.stdin, PROXY_PROCESS.stdout):
                if pipe is not None:
                    pipe.close()
            PROXY_PROCESS = None
    if PROXY_PROCESS is None:
        level = str(log.getEffectiveLevel())
        PROXY_PROCESS = subprocess.Popen(
            args=[sys.executable, "-u", "-m", "codejail.proxy_main", level],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # With it, older Pythons fork; what is not to be inherited is not, either way.
            close_fds=False,
        )
        log.info("Started CodeJail proxy process (pid %d)", PROXY_PROCESS.pid)
    return PROXY_PROCESS


class CapturingHandler(logging.Handler):
    """Keeps level, message and arguments of what is logged, to be logged again in the process that asked."""

    def __init__(self) -> None:
        super().__init__()
        self.log_calls: typing.List[typing.Tuple[int, str, typing.Tuple[typing.Any, ...]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps one."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        plain = tuple(arg if isinstance(arg, (int, float, str)) else repr(arg) for arg in arguments)
        self.log_calls.append((record.levelno, str(record.msg), plain))

    def get_log_calls(self) -> typing.List[typing.Tuple[int, str, typing.Tuple[typing.Any, ...]]]:
        """What was kept since the last time."""
        calls, self.log_calls = self.log_calls, []
        return calls


def _end_with_caller() -> None:
    """Nobody waits for an answer when standard input has been closed: a jail that is running ends with us."""
    poll = select.poll()
    poll.register(sys.stdin.fileno(), 0)
    poll.poll()
    os._exit(0)


def proxy_main(argv: typing.Sequence[str]) -> None:
    """Answers requests on standard input, one a line, until its end."""
    threading.Thread(target=_end_with_caller, daemon=True).start()
    capture = CapturingHandler()
    log.addHandler(capture)
    log.propagate = False
    log.setLevel(int(argv[1]) or logging.DEBUG)
    while True:
        line = sys.stdin.buffer.readline()
        if not line:
            return
        args, kwargs = deserialize(line.rstrip())
        answer: typing.Tuple[typing.Any, ...]
        try:
            jailed = run_jailed(*args, **kwargs)
            answer = (jailed.status, jailed.stdout, jailed.stderr, jailed.result, jailed.missing, None)
        except Exception as error:
            answer = (None, None, None, None, None, f"{type(error).__name__}: {error}")
        sys.stdout.buffer.write(serialize((*answer, capture.get_log_calls())) + b"\n")
        sys.stdout.buffer.flush()
