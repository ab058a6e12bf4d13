# SPDX-License-Identifier: GPL-2.0-only
"""Guests that are told what to do by a shell on their consoles, and the cases that tell them.

A guest is one of Debian's kernels with busybox and some modules. A case is a function of a Context,
which starts guests and takes back what it has left behind; the case fails by raising Failed, and
may return the reason for which it was skipped.
"""

import contextlib
import glob
import os
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))
sys.path.insert(0, HERE)

from boot import fetch  # noqa: E402
from console import Console, Ended, Timeout  # noqa: E402

CLOUD, FULL = "linux-image-cloud-amd64", "linux-image-amd64"

VIRTIO_PCI = ("drivers/virtio/virtio_ring", "drivers/virtio/virtio",
              "drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci_modern_dev",
              "drivers/virtio/virtio_pci")

# Far above what it takes on an idle machine.
BOOT_LIMIT, LIMIT = 300, 240

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin PS1= HOME=/
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for m in $(cat /modules/order); do insmod /modules/$m; done
grep -q hvc0 /proc/cmdline && exec </dev/hvc0 >/dev/hvc0 2>&1
mkdir -p /mnt /host
ip link set lo up
stty -echo
echo @@ready
exec sh
"""


class Failed(Exception):
    """Something in a case is not as it should be."""


def require(condition, text):
    if not condition:
        raise Failed(text)


def eventually(condition, text, limit=30):
    deadline = time.monotonic() + limit
    while not condition():
        require(time.monotonic() < deadline, text)
        time.sleep(0.1)


# What a case may end with that is a failure of what is tested, and not of the test.
FAILURES = (Failed, Timeout, Ended, OSError, subprocess.CalledProcessError)


class Images:
    """Kernels and their initial RAM disks, made once for each package."""

    def __init__(self, work, modules, later=(), files=()):
        """Modules are loaded in their order, but for later ones, which the cases load. Files are
        pairs of a name in the guest and the path of one here."""
        self.work, self.made = work, {}
        self.modules, self.later, self.files = VIRTIO_PCI + modules, later, files

    def get(self, package=CLOUD):
        """The paths of kernel and RAM disk, or None where they cannot be had."""
        if package not in self.made:
            self.made[package] = self._make(package)
        return self.made[package]

    def _make(self, package):
        directory = fetch(package, "amd64")
        busybox = fetch("busybox-static", "amd64")
        if not directory or not busybox:
            return None
        tree = glob.glob(directory + "/lib/modules/*/kernel")[0]
        present = [m for m in self.modules + self.later if os.path.exists(f"{tree}/{m}.ko")]
        entries = ["dev/", "proc/", "sys/", "etc/", "tmp/", f"bin/busybox={busybox}/bin/busybox"]
        entries += [f"modules/{os.path.basename(m)}.ko={tree}/{m}.ko" for m in present]
        entries += [f"{name}={path}" for name, path in self.files]
        order = "".join(os.path.basename(m) + ".ko\n" for m in present if m not in self.later)
        for name, text in (("init", INIT), ("modules/order", order)):
            path = os.path.join(self.work, package + "." + os.path.basename(name))
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            os.chmod(path, 0o755)
            entries.append(f"{name}={path}")
        initrd = os.path.join(self.work, package)
        subprocess.run([os.path.join(TOP, "scripts", "mkcpio"), initrd, *entries], check=True)
        return glob.glob(directory + "/boot/vmlinuz-*")[0], initrd


class Guest:
    """A running guest with a shell on its console."""

    def __init__(self, argv, env=None, terminal=None):
        self.console = Console(argv, env=env, **(terminal or {}))
        self.number = 0

    def ready(self):
        """Waits for the shell, after the start or a reset."""
        self.console.expect(rb"@@ready\r*\n", BOOT_LIMIT)
        self.run(":")       # behind what the shell says of itself
        return self

    def run(self, command, limit=LIMIT, check=True):
        """What a command prints. A status that is not 0 fails the case."""
        self.number += 1
        end = f"@@{self.number}"
        # In two parts, so that it is not found in the command itself, should that be echoed.
        self.console.send(f"{command}\necho @''@{self.number} $?\n".encode())
        seen = self.console.seen
        match = self.console.expect(rf"{end} (\d+)\r*\n".encode(), limit)
        text = self.console.output[seen:self.console.seen - len(match[0])]
        text = text.decode(errors="replace").replace("\r", "").strip()
        require(match[1] == b"0" or not check,
                f"{command!r} ended with {match[1].decode()}: {text}")
        return text

    def refuses(self, command):
        """A command that has to fail; what it prints."""
        text = self.run(f"if {command} 2>&1; then echo @@done; fi", check=False)
        require("@@done" not in text, f"{command!r} works")
        return text

    def wait_for(self, command, expected, limit=30):
        """Until a command prints what is expected of it."""
        deadline = time.monotonic() + limit
        while (found := self.run(command, check=False)) != expected:
            require(time.monotonic() < deadline,
                    f"{command!r} says {found!r}, not {expected!r}, after {limit} s")
            time.sleep(0.2)

    def kill(self):
        os.kill(self.console.pid, signal.SIGKILL)
        self.console.wait(10)

    def off(self):
        self.console.send(b"poweroff -f\n")
        status = self.console.wait(60)
        require(status == 0, f"after power-off it ended with status {status}")


class Context:
    """What a case has to work with: a directory, and guests. Takes back what it has left."""

    guest_class = Guest
    memory, cpus = "256M", 1

    def __init__(self, args, images, work, stack):
        self.args, self.images, self.work, self.stack = args, images, work, stack
        self.guests = []
        # Machines with names are found here.
        self.env = {**os.environ, "XDG_RUNTIME_DIR": work}

    def start(self, argv, **how):
        """Any program that runs a guest of ours."""
        guest = self.guest_class(argv, **how)
        self.stack.callback(guest.console.close)
        self.guests.append(guest)
        return guest

    def guest(self, *options, package=CLOUD, within=(), cpus=None,
              cmdline="console=ttyS0 quiet panic=-1", terminal=None):
        """A guest of anykvm's with more options, which are within a command perhaps."""
        image = self.images.get(package)
        require(image, f"no package {package}")
        argv = [*within, self.args.anykvm, "run", "--accel", "soft", "--memory", self.memory,
                "--cpus", str(cpus or self.cpus), "--kernel", image[0], "--initrd", image[1],
                "--cmdline", cmdline, *options]
        if self.args.engine:
            argv += ["--cpu-engine", self.args.engine]
        return self.start(argv, env=self.env, terminal=terminal)

    def anykvm(self, *argv):
        """What a command to a machine with a name prints."""
        result = subprocess.run([self.args.anykvm, *argv], check=False, capture_output=True,
                                text=True, env=self.env, timeout=LIMIT, stdin=subprocess.DEVNULL)
        require(result.returncode == 0, f"anykvm {' '.join(argv)}: {result.stderr}")
        return result.stdout


def run_case(tap, name, case, make_context, verbose=False):
    """Runs a case with the context that make_context(directory, stack) gives."""
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as work:
        context = make_context(work, stack)
        begun = time.monotonic()
        try:
            skipped = case(context)
            if skipped:
                tap.skip(name, skipped)
            else:
                tap.result(True, f"{name}: {case.__doc__}")
                tap.note(f"{time.monotonic() - begun:.1f} s")
        except FAILURES as problem:
            tails = [line for guest in context.guests
                     for line in ["-- a guest:"] + guest.console.tail(60 if verbose else 12)]
            tap.result(False, f"{name}: {case.__doc__}", [str(problem)] + tails)
        finally:
            stack.close()
