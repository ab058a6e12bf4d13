#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Boots a Debian kernel to user space: boot.py --anykvm PROGRAM --package PACKAGE [--cpus 1,2,4]

A linux-image package is booted with an initial RAM disk of busybox and a script, which says what
it finds and powers off. A debian-installer package is booted with its own one, to the installer's
first screen, and left there with Ctrl-A x. TAP on standard output, a line for each boot.
"""

import argparse
import glob
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))
sys.path.insert(0, HERE)

from console import Console, Ended, Timeout  # noqa: E402
from tap import Tap  # noqa: E402

# Far above what it takes on an idle machine: this machine may be busy, or the build sanitized.
BOOT_LIMIT = 400
INSTALLER_LIMIT = 1000


def is_i386(package):
    return re.search(r"-(686|686-pae|i386)$", package) is not None


def fetch(package, arch):
    """The directory of a package, in the cache or fetched into it; None where it cannot be."""
    result = subprocess.run([os.path.join(TOP, "scripts", "fetch-package"), "--arch", arch,
                             package], check=False, stdout=subprocess.PIPE, text=True)
    return result.stdout.strip() if result.returncode == 0 else None


def newest(pattern):
    return sorted(glob.glob(pattern))[-1]


class Case:
    """How to boot one package, and how to tell that it got where it should."""

    def __init__(self, package, work):
        arch = "i386" if is_i386(package) else "amd64"
        self.installer = package.startswith("debian-installer-")
        directory = fetch(package, "amd64" if self.installer else arch)
        busybox = None if self.installer else fetch("busybox-static", arch)
        self.available = directory and (self.installer or busybox)
        if not self.available:
            return
        if self.installer:
            images = newest(f"{directory}/usr/lib/debian-installer/images/*/{arch}/text/"
                            f"debian-installer/{arch}")
            self.kernel, self.initrd = f"{images}/linux", f"{images}/initrd.gz"
            self.memory, self.limit = "1G", INSTALLER_LIMIT
        else:
            self.kernel = newest(f"{directory}/boot/vmlinuz-*")
            self.initrd = os.path.join(work, "initrd.img")
            subprocess.run([os.path.join(TOP, "scripts", "mkcpio"), self.initrd, "dev/", "proc/",
                            f"bin/busybox={busybox}/bin/busybox", f"init={HERE}/init"],
                           check=True)
            self.memory, self.limit = "512M", BOOT_LIMIT

    def check(self, console, cpus):
        """Follows a boot to its end. Returns a word on how quick it was; raises or asserts."""
        if self.installer:
            console.expect(rb"Select a language", self.limit)
            reached = console.elapsed()
            console.send(b"\x01x")
            status = console.wait(30)
            assert status == 1, f"left with Ctrl-A x, it ended with status {status}"
        else:
            match = console.expect(rb"user space: processors=(\d+) machine=(\S+)", self.limit)
            reached = console.elapsed()
            found = int(match[1])
            assert found == cpus, f"the guest has {found} processors"
            status = console.wait(60)
            assert status == 0, f"after power-off, it ended with status {status}"
        assert console.restored(), "the terminal is not as it was"
        return f"{reached:.1f} s to user space, {console.cpu_seconds:.1f} s of processor time"


def boot(tap, args, case, cpus):
    name = f"{args.package} on {args.engine or args.accel}, {cpus} vCPU{'s' if cpus > 1 else ''}"
    argv = [args.anykvm, "run", "--accel", args.accel, "--cpus", str(cpus), "--memory",
            case.memory, "--kernel", case.kernel, "--initrd", case.initrd,
            "--cmdline", "console=ttyS0 quiet panic=1", "--no-reboot"]
    if args.engine:
        argv += ["--cpu-engine", args.engine]
    if args.code_cache:
        argv += ["--code-cache", args.code_cache]
    with Console(argv) as console:
        try:
            word = case.check(console, cpus)
            slow = (args.max_cpu_seconds and cpus == 1 and
                    console.cpu_seconds > args.max_cpu_seconds)
            tap.result(not slow, name, [f"more than {args.max_cpu_seconds} s"])
            tap.note(word)
        except (Timeout, Ended, AssertionError) as error:
            tap.result(False, name, [str(error), f"after {console.elapsed():.1f} s"] +
                       console.tail())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anykvm", required=True)
    parser.add_argument("--package", required=True)
    parser.add_argument("--accel", default="soft")
    parser.add_argument("--engine", choices=["interp", "jit"],
                        help="how the software processor runs guest code")
    parser.add_argument("--code-cache", help="how much code may be kept, as in 1M")
    parser.add_argument("--cpus", default="1,2,4")
    parser.add_argument("--max-cpu-seconds", type=float,
                        help="of processor time that a boot with one vCPU may take")
    args = parser.parse_args()

    tap = Tap()
    with tempfile.TemporaryDirectory() as work:
        case = Case(args.package, work)
        if not case.available:
            print(f"1..0 # SKIP {args.package} cannot be fetched: see above")
            return 0
        for cpus in args.cpus.split(","):
            boot(tap, args, case, int(cpus))
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
