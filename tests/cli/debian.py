#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""From nothing to work in a Debian: debian.py --anykvm PROGRAM.

The first use makes the image. What is done is what a user does: run, ssh, exec, console, stop, and
all of it again on the same disk. TAP on standard output, with times.
"""

import argparse
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from suite import FAILED, OK, Suite  # noqa: E402
from console import Console, Ended, Timeout  # noqa: E402

FIRST_LIMIT = 1500
LIMIT = 500
PROMPT = rb"root@debian:~# "


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Debian(Suite):
    """A machine of a name that no other has."""

    def __init__(self, anykvm, work):
        super().__init__(anykvm, work)
        self.name = f"check-{os.getpid()}"
        self.port = free_port()

    def step(self, name, *args, status=OK, out="", err="", limit=LIMIT, **options):
        """One command: its status, and what its outputs have to match. The time is told."""
        began = time.monotonic()
        try:
            result = self.run(*args, limit=limit, **options)
        except subprocess.TimeoutExpired as error:
            self.tap.result(False, name, [str(error)])
            return None
        took = time.monotonic() - began
        passed = (result.returncode == status and re.search(out, result.stdout) and
                  re.search(err, result.stderr))
        self.tap.result(passed, name, [f"status {result.returncode}",
                                       *result.stdout.splitlines()[-20:],
                                       *result.stderr.splitlines()[-20:]])
        self.tap.note(f"{took:.1f} s: {name}")
        return result

    def guest(self, name, command, **options):
        return self.step(name, "exec", self.name, "--", "sh", "-c", command, **options)


def start(debian, *options):
    return debian.step("run debian-12 --detach comes back when the guest runs", "run", "debian-12",
                       "-p", f"{debian.port}:22", "--detach", "--name", debian.name, *options,
                       out=f"^{debian.name}\n$", limit=FIRST_LIMIT)


def console(debian):
    with Console([debian.anykvm, "console", debian.name]) as terminal:
        name = "console is a shell"
        try:
            terminal.expect(rb"Ctrl-A x leaves", LIMIT)
            deadline = time.monotonic() + LIMIT
            while True:
                terminal.send(b"\r")
                try:
                    terminal.expect(PROMPT, 5)
                    break
                except Timeout:
                    if time.monotonic() > deadline:
                        raise
            terminal.send(b"echo $((6 * 7))-$(uname -s)\r")
            terminal.expect(rb"42-Linux", LIMIT)
            terminal.send(b"\x01x")
            status = terminal.wait(LIMIT)
            debian.tap.result(status == OK and terminal.restored(), name, [f"status {status}"])
        except (Timeout, Ended) as error:
            debian.tap.result(False, name, [str(error), *terminal.tail()])


def on_a_terminal(debian):
    """exec on a terminal gives one in the guest."""
    name = "exec on a terminal has a terminal, of this one's size"
    with Console([debian.anykvm, "exec", debian.name], rows=33, columns=99) as terminal:
        try:
            terminal.expect(PROMPT, LIMIT)
            terminal.send(b"tty; stty size\r")
            terminal.expect(rb"/dev/pts/\d+\s+33 99", LIMIT)
            terminal.send(b"sleep 1000\r")
            terminal.expect(rb"1000\s", LIMIT)
            time.sleep(1)
            terminal.send(b"\x03")
            terminal.expect(rb"\^C(?s:.*)" + PROMPT, LIMIT)
            terminal.send(b"exit 5\r")
            status = terminal.wait(LIMIT)
            debian.tap.result(status == 5 and terminal.restored(), name, [f"status {status}"])
        except (Timeout, Ended) as error:
            debian.tap.result(False, name, [str(error), *terminal.tail()])


def commands(debian):
    debian.guest("exec passes outputs and the status on", "echo out; echo err >&2; exit 7",
                 status=7, out="^out\n$", err="^err\n$")
    result = subprocess.run([debian.anykvm, "exec", debian.name, "md5sum"], check=False,
                            input=b"x" * 3000000, capture_output=True, timeout=LIMIT)
    debian.tap.result(result.returncode == OK and
                      result.stdout.split()[0].decode() == hashlib.md5(b"x" * 3000000).hexdigest(),
                      "exec passes three megabytes of input on", [str(result)])
    debian.guest("exec passes three megabytes of output on", "head -c 3000000 /dev/zero | tr '\\0' x",
                 out="^x{3000000}$")
    debian.step("exec of a command that is not there", "exec", debian.name, "no-such", status=127,
                err="no-such: No such file")
    on_a_terminal(debian)


def package(debian):
    """Where the host reaches a Debian mirror, the guest installs from it."""
    name = "apt-get installs a package"
    mirror = subprocess.run(["apt-get", "-q", "--print-uris", "download", "hello"], check=False,
                            capture_output=True, text=True, cwd=debian.work)
    match = re.match(r"'(https?://([^/:']+)[^']*)'", mirror.stdout)
    if not match:
        debian.tap.skip(name, "apt here knows no mirror that the guest could reach")
        return
    debian.guest(name, "apt-get -q update && apt-get -qy install hello && hello",
                 out="Hello, world!", limit=1200)


def life(debian, share):
    began = time.monotonic()
    result = start(debian, "--share", share)
    if not result or result.returncode:
        return
    debian.step("ssh runs a command in the guest", "ssh", debian.name, "--", "apt-get",
                "--version", out=r"^apt \d+\.\d")
    debian.tap.note(f"{time.monotonic() - began:.1f} s: all in all, from nothing to that")
    debian.step("ps lists it", "ps", out=rf"(?m)^{debian.name} +running .*debian-12$")
    debian.guest("the shared directory is the host's",
                 "mount -t virtiofs share0 /mnt && cat /mnt/here && echo guest >/mnt/there",
                 out="^host\n$")
    with open(os.path.join(share, "there"), encoding="ascii") as file:
        debian.tap.result(file.read() == "guest\n", "what the guest writes there is the host's")
    commands(debian)
    console(debian)
    package(debian)
    debian.guest("the guest keeps something", "echo kept >/root/kept && sync")
    debian.step("stop", "stop", debian.name)
    ended = next(machine for machine in json.loads(debian.run("ps", "--json").stdout)
                 if machine["name"] == debian.name)
    debian.tap.result(ended["state"] == "ended" and ended["status"] == OK,
                      "the guest switched itself off", [str(ended)])


def again(debian, seed):
    """The second start, on the disk of the first, with a seed for a cloud-init."""
    debian.step("run again", "run", "debian-12", "--detach", "--name", debian.name, "--cloud-init",
                seed, "--memory", "1G", "--cpus", "2", out=f"^{debian.name}\n$")
    debian.guest("its disk is that of before", "cat /root/kept; nproc", out="^kept\n2\n$")
    debian.guest("the seed is there", "mount -o ro -L cidata /mnt && cat /mnt/user-data "
                 "/mnt/meta-data", out=rf"^#cloud-config\nhostname: x\ninstance-id: {debian.name}-"
                 rf"[0-9a-f]+\nlocal-hostname: {debian.name}\n$")
    debian.step("ssh without a port", "ssh", debian.name, "uname", out="^Linux$")
    debian.step("stop", "stop", debian.name)
    debian.step("rm", "rm", debian.name)
    debian.step("nothing is left of it", "rm", debian.name, status=FAILED, err="there is no machine")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anykvm", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anykvm-debian-") as work:
        debian = Debian(os.path.realpath(args.anykvm), os.path.realpath(work))
        share = os.path.join(work, "share")
        os.mkdir(share)
        with open(os.path.join(share, "here"), "w", encoding="ascii") as file:
            file.write("host\n")
        try:
            life(debian, share)
            again(debian, debian.path("user-data", b"#cloud-config\nhostname: x\n"))
        finally:
            for command in ("kill", "rm"):
                debian.run(command, debian.name)
        return debian.tap.finish()


if __name__ == "__main__":
    sys.exit(main())
