"""A child process, started without a fork of ours.

``subprocess`` forks where it cannot do better (always before 3.8, with ``preexec_fn`` or ``cwd`` …); in a process of
2 GB a fork takes longer than a whole run. ``posix_spawn`` shares memory until the exec.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import time
import typing
import weakref

from .errors import BinaryError, SandboxError

#: How long a cancelled run may take to end in order.
ORDERLY_END = 5.0
_CHUNK = 1 << 16
#: The number inside of the first descriptor that is given.
FIRST = 3


_processes: "weakref.WeakSet[Process]" = weakref.WeakSet()


def _let_go() -> None:
    for process in list(_processes):
        process.close()


# A child ends when nobody holds its lifeline any more: not for as long as a fork of ours happens to have a copy.
os.register_at_fork(after_in_child=_let_go)


class Process:
    """A child whose standard output and error are pipes of ours; it ends when we do."""

    def __init__(
        self,
        command: typing.List[str],
        *,
        stdin: typing.Optional[int] = None,
        given: typing.Sequence[int] = (),
        outputs: int = 0,
        lifeline: bool = False,
    ) -> None:
        """Starts ``command``.

        Descriptors of ``given`` are 3, 4 … inside, then come the write ends of as many pipes as ``outputs`` says,
        then the read end of a pipe whose other end closes when we end.
        """
        self.pid = -1
        self.pidfd = -1
        self._reaped = False
        try:
            self._connect(command, stdin, given, outputs, lifeline)
        except OSError as error:
            hint = "allow more open files (`ulimit -n`)" if error.errno == errno.EMFILE else None
            raise SandboxError(f"cannot make the pipes of a run: {error.strerror}", hint) from error

    def _connect(
        self,
        command: typing.List[str],
        stdin: typing.Optional[int],
        given: typing.Sequence[int],
        outputs: int,
        lifeline: bool,
    ) -> None:
        with contextlib.ExitStack() as ours:
            stack = contextlib.ExitStack()
            with stack as childs:
                self.stdout, stdout = _pipe(ours, childs)
                self.stderr, stderr = _pipe(ours, childs)
                more = [_pipe(ours, childs) for _ in range(outputs)]
                self.outputs = [read for read, _ in more]
                null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
                childs.callback(os.close, null)
                wanted = [null if stdin is None else stdin, stdout, stderr, *given]
                wanted.extend(write for _, write in more)
                if lifeline:
                    inside, held = os.pipe()
                    childs.callback(os.close, inside)
                    ours.callback(os.close, held)
                    wanted.append(inside)
                self._start(command, wanted, childs)
            self._ends = ours.pop_all()
        _processes.add(self)

    def _start(
        self,
        command: typing.List[str],
        wanted: typing.Sequence[int],
        childs: contextlib.ExitStack,
    ) -> None:
        actions = []
        for number, descriptor in enumerate(wanted):
            # Above all numbers that it will have inside, so that no copy overwrites the source of a later one.
            high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, len(wanted) + FIRST)
            childs.callback(os.close, high)
            actions.append((os.POSIX_SPAWN_DUP2, high, number))
        path = command[0]
        try:
            self.pid = os.posix_spawn(
                path,
                command,
                dict(os.environ),
                file_actions=actions,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD),
            )
        except OSError as error:
            raise _not_started(path, error) from error
        # Python may have been built without it; and somebody else may have reaped the child already.
        with contextlib.suppress(OSError, AttributeError):
            self.pidfd = os.pidfd_open(self.pid)

    def read_to_end(self, patience: typing.Optional[float] = None) -> bytes:
        """All of standard output, or what comes before it is silent for too many seconds.

        Standard error is kept for :meth:`words`.
        """
        pause = None if patience is None else patience * 1000
        kept = {self.stdout: bytearray(), self.stderr: bytearray()}
        with contextlib.ExitStack() as stack:
            poll = select.poll()
            for descriptor in kept:
                poll.register(descriptor, select.POLLIN)
            open_ones = set(kept)
            stack.callback(lambda: self._remember(kept))
            while open_ones:
                ready = poll.poll(pause)
                if not ready:
                    break
                for descriptor, _ in ready:
                    chunk = os.read(descriptor, _CHUNK)
                    kept[descriptor] += chunk
                    if not chunk:
                        poll.unregister(descriptor)
                        open_ones.discard(descriptor)
        return bytes(kept[self.stdout])

    def _remember(self, kept: typing.Dict[int, bytearray]) -> None:
        self._words = bytes(kept[self.stderr])

    _words = b""

    def words(self) -> str:
        """What it said on standard error."""
        return self._words.decode("utf-8", "replace").strip()

    def remember_words(self, words: bytes) -> None:
        """For those who read standard error themselves."""
        self._words = words

    def signal(self, number: int) -> None:
        """Sends a signal, never to another process that has got its number."""
        if self._reaped:
            return
        with contextlib.suppress(ProcessLookupError):
            if self.pidfd >= 0 and hasattr(signal, "pidfd_send_signal"):
                signal.pidfd_send_signal(self.pidfd, number)
            else:
                os.kill(self.pid, number)

    def try_reap(self) -> bool:
        """Whether it is gone; reaps it then."""
        if self._reaped:
            return True
        try:
            pid, _ = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            # Somebody else waits for all children of this process: then it is gone.
            pid = self.pid
        self._reaped = pid != 0
        return self._reaped

    def wait(self) -> None:
        """Until it is gone; closes all our ends."""
        try:
            if not self._reaped:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(self.pid, 0)
                self._reaped = True
        finally:
            self.close()

    def end(self) -> None:
        """Has it end the run in order, or kills it; everything inside ends with it either way."""
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + ORDERLY_END
        while not self.try_reap():
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
                break
            self._drain()
            time.sleep(0.002)
        self.wait()

    def _drain(self) -> None:
        """Takes what nobody will read, so that it can end."""
        ready, _, _ = select.select([self.stdout, self.stderr, *self.outputs], [], [], 0)
        for descriptor in ready:
            os.read(descriptor, _CHUNK)

    def close(self) -> None:
        """Closes our ends, once."""
        self._ends.close()
        self.stdout = self.stderr = -1
        self.outputs = []
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def _pipe(ours: contextlib.ExitStack, childs: contextlib.ExitStack) -> typing.Tuple[int, int]:
    read, write = os.pipe()
    ours.callback(os.close, read)
    childs.callback(os.close, write)
    return read, write


def _not_started(path: str, error: OSError) -> BinaryError:
    if error.errno == errno.E2BIG:
        return BinaryError(
            "the arguments and environment variables are too many or too long for the kernel",
            "give long data as a file or on standard input",
        )
    return BinaryError(f"cannot start {path!r}: {error.strerror}")
