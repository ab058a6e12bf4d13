# SPDX-License-Identifier: GPL-2.0-only
"""A program on a pseudo-terminal, driven by what it prints.

The child gets the terminal as its controlling one, as a shell would give it, so that what it does
to the terminal's modes, and whether it puts them back, can be seen from this side.
"""

import fcntl
import os
import pty
import re
import resource
import select
import signal
import struct
import termios
import time


class Timeout(Exception):
    """What was expected did not appear in time."""


class Ended(Exception):
    """The program ended before what was expected appeared."""


class Console:
    """A child process with a terminal of its own."""

    def __init__(self, argv, rows=24, columns=80, env=None):
        self.output = b""
        self.seen = 0           # output before this has been matched
        self.status = None      # of the child, as os.waitstatus_to_exitcode gives it
        self.cpu_seconds = None     # which the child used, known after its end
        self.started = time.monotonic()
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.modes = termios.tcgetattr(self.slave)
        self.pid = os.fork()
        if not self.pid:
            self._child(argv, env)

    def _child(self, argv, env):
        try:
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
            for fd in range(3):
                os.dup2(self.slave, fd)
            os.closerange(3, 256)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            # Whoever started the tests may have had some ignored, as nohup does.
            for signo in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
                signal.signal(signo, signal.SIG_DFL)
            os.execvpe(argv[0], argv, env if env is not None else os.environ)
        finally:
            os._exit(127)

    def elapsed(self):
        return time.monotonic() - self.started

    def restored(self):
        """Whether the terminal is in the modes which it had before the child."""
        return termios.tcgetattr(self.slave) == self.modes

    def running(self):
        return not self._reap()

    def send(self, data):
        while data:
            data = data[os.write(self.master, data):]

    def _read(self, timeout):
        """Reads what there is; whether there was some."""
        if not select.select([self.master], [], [], max(timeout, 0))[0]:
            return False
        try:
            self.output += os.read(self.master, 65536)
        except OSError:
            return False
        return True

    def _reap(self, options=os.WNOHANG):
        if self.status is None:
            pid, status, usage = os.wait4(self.pid, options)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                self.cpu_seconds = usage.ru_utime + usage.ru_stime
        return self.status is not None

    def expect(self, pattern, timeout):
        """Waits for a regular expression in what was not matched yet. Returns the match."""
        deadline = time.monotonic() + timeout
        while True:
            match = re.search(pattern, self.output[self.seen:])
            if match:
                self.seen += match.end()
                return match
            if time.monotonic() > deadline:
                raise Timeout(f"no {pattern!r} within {timeout} s")
            if not self._read(0.1) and self._reap() and not self._read(0):
                raise Ended(f"ended with status {self.status} before {pattern!r}")

    def wait(self, timeout):
        """Waits for the end of the child. Returns its status."""
        deadline = time.monotonic() + timeout
        while not self._reap():
            if time.monotonic() > deadline:
                raise Timeout(f"still running after {timeout} s")
            self._read(0.1)
        while self._read(0):
            pass
        return self.status

    def close(self):
        """Ends the child, if it has not ended, and frees the terminal."""
        if not self._reap():
            os.kill(self.pid, signal.SIGKILL)
            self._reap(0)
        os.close(self.master)
        os.close(self.slave)

    def tail(self, lines=30):
        """The last lines of the output, readable, for a failure's report."""
        text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f]", b"", self.output)
        full = [line for line in text.decode(errors="replace").splitlines() if line.strip()]
        return full[-lines:]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
