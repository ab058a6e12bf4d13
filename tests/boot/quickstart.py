#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""quickstart, as its user sees it: quickstart.py --quickstart PROGRAM. TAP on standard output.

Without a terminal (--exec), and on one, which is a pseudo-terminal here. The first use may have to
build anykvm and make the guest.
"""

import argparse
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
sys.path.insert(0, HERE)

from console import Console, Ended, Timeout  # noqa: E402
from tap import Tap  # noqa: E402

FIRST_LIMIT = 1200
LIMIT = 400
PROMPT = rb"(?:\x1b\[[0-9;?]*[a-zA-Z])*root@debian:~# "


class Quickstart:
    def __init__(self, program):
        self.program = program
        self.tap = Tap()

    def start(self, command, *options):
        return subprocess.Popen([self.program, "--exec", command, *options],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    def check(self, name, process, status, out, err=None):
        """The end of one --exec: its status and all that it printed."""
        try:
            found_out, found_err = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            process.terminate()
            self.tap.result(False, name, [f"not done within {LIMIT} s"])
            return
        problems = []
        if process.returncode != status:
            problems.append(f"status {process.returncode} instead of {status}")
        if found_out != out:
            problems.append(f"printed {found_out[-200:]!r}")
        if err is not None and found_err != err:
            problems.append(f"printed on standard error {found_err[-200:]!r}")
        self.tap.result(not problems, name,
                        problems + found_err.decode(errors="replace").splitlines()[-20:])

    def execute(self, name, command, *options, status=0, out=b"", err=None):
        self.check(name, self.start(command, *options), status, out, err)


def without_terminal(quick):
    process = quick.start("cat /etc/debian_version; nproc", "--cpus", "2")
    try:
        out, err = process.communicate(timeout=FIRST_LIMIT)
    except subprocess.TimeoutExpired:
        process.terminate()
        out, err = process.communicate()
    lines = out.decode(errors="replace").splitlines()
    quick.tap.result(process.returncode == 0 and len(lines) == 2 and lines[0].startswith("12.")
                     and lines[1] == "2",
                     "--exec runs a command in a Debian 12 with 2 processors",
                     [f"status {process.returncode}", *lines,
                      *err.decode(errors="replace").splitlines()[-40:]])
    if process.returncode:
        return False

    quick.execute("--exec keeps outputs and status apart, and adds nothing to them",
                  "echo out; echo err >&2; exit 42", status=42, out=b"out\n", err=b"err\n")
    quick.execute("--exec passes any command unharmed",
                  "printf '%s|' \"a  b\" 'c\"d' '$x' '\\n' 'ä' '\x1d'\n# a comment\necho \\* ; "
                  "printf '\\001\\377\\r\\n\\035o0004'",
                  out="a  b|c\"d|$x|\\n|ä|\x1d|*\n".encode() + b"\x01\xff\r\n\x1do0004")
    quick.execute("--exec reports a signal as a shell does", "kill -KILL $$", status=137)
    quick.execute("--exec brings large outputs whole",
                  "seq 50000", out=b"".join(b"%d\n" % n for n in range(1, 50001)))
    both = [quick.start(f"echo {n} >/root/file; sync; sleep 2; cat /root/file") for n in (1, 2)]
    for number, process in enumerate(both, 1):
        quick.check(f"two at once do not meet: number {number}", process, 0, b"%d\n" % number)
    quick.execute("what one wrote, the next does not see", "ls /root")
    quick.execute("--memory is the guest's memory",
                  "[ $(awk '/MemTotal/ {print $2}' /proc/meminfo) -gt 700000 ]",
                  "--memory", "1G")
    # A panic takes along what the console had not yet sent.
    process = quick.start("echo before; sleep 3; echo c >/proc/sysrq-trigger")
    out, err = process.communicate(timeout=LIMIT)
    quick.tap.result(process.returncode == 3 and out == b"before\n" and b"Kernel panic" in err,
                     "a guest's panic is reported as one",
                     [f"status {process.returncode}", *err.decode().splitlines()[-40:]])
    return True


def bad_usage(quick):
    for args in (["--fly"], ["--exec"], []):
        result = subprocess.run([quick.program, *args], check=False, stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, timeout=LIMIT)
        quick.tap.result(result.returncode == 2 and result.stderr.count("\n") == 1,
                         f"bad usage: {args or 'no terminal'}",
                         [f"status {result.returncode}", *result.stderr.splitlines()])


def session(quick):
    """One session at the guest's shell, from its first prompt to poweroff."""
    with Console([quick.program], rows=31, columns=97,
                 env={**os.environ, "TERM": "xterm-256color"}) as console:
        def step(name, send, expect, limit=LIMIT):
            if send:
                console.send(send)
            console.expect(expect, limit)
            quick.tap.result(True, name)

        name = "a root shell follows"
        try:
            step(name, b"", PROMPT)
            name = "ls shows the guest's files"
            step(name, b"ls /\r", rb"lost\+found(?s:.*)var(?s:.*)" + PROMPT)
            name = "the shell knows the terminal's size and kind"
            step(name, b"stty size; echo $TERM\r", rb"31 97\s+xterm-256color\s+" + PROMPT)
            name = "Ctrl-C reaches the guest"
            console.send(b"sleep 1000\r")
            console.expect(rb"1000\s", LIMIT)
            time.sleep(2)       # until it runs, the signal would be the shell's
            console.send(b"\x03")
            console.expect(rb"\^C(?s:.*)" + PROMPT, LIMIT)
            step(name, b"echo still $((20 + 3))\r", rb"still 23\s+" + PROMPT)
            name = "Ctrl-Z and job control work"
            console.send(b"sleep 1001\r")
            console.expect(rb"1001\s", LIMIT)
            time.sleep(2)
            console.send(b"\x1a")
            step(name, b"", rb"Stopped(?s:.*)" + PROMPT)
            name = "Ctrl-A Ctrl-A is one Ctrl-A"
            step(name, b"llo\x01\x01echo he\r", rb"hello\s+" + PROMPT)
            name = "the terminal is the guest's meanwhile"
            quick.tap.result(not console.restored(), name)
            name = "poweroff ends with status 0"
            console.send(b"poweroff\r")
            status = console.wait(LIMIT)
            quick.tap.result(status == 0, name, [f"status {status}", *console.tail()])
            name = "the terminal is restored"
            quick.tap.result(console.restored(), name)
        except (Timeout, Ended) as error:
            quick.tap.result(False, name, [str(error), *console.tail()])


def leaving(quick, name, leave, status):
    with Console([quick.program]) as console:
        try:
            console.expect(PROMPT, LIMIT)
            leave(console)
            found = console.wait(LIMIT)
            quick.tap.result(found == status and console.restored(), name,
                             [f"status {found}", f"restored: {console.restored()}",
                              *console.tail()])
        except (Timeout, Ended) as error:
            quick.tap.result(False, name, [str(error), *console.tail()])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quickstart", required=True)
    args = parser.parse_args()

    quick = Quickstart(os.path.realpath(args.quickstart))
    bad_usage(quick)
    if without_terminal(quick):
        session(quick)
        leaving(quick, "Ctrl-A x leaves, and the terminal is restored",
                lambda console: console.send(b"\x01x"), 1)
        leaving(quick, "SIGTERM ends, and the terminal is restored",
                lambda console: os.kill(console.pid, signal.SIGTERM), 1)
    return quick.tap.finish()


if __name__ == "__main__":
    sys.exit(main())
