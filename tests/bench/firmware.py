#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Boots by firmware, QEMU on our KVM API against QEMU's TCG: firmware.py --anykvm PROGRAM [--rounds N] [--cpus N]

SeaBIOS and OVMF start GRUB from a disk, and that Debian 12. Printed are seconds, and seconds of processor time, to
GRUB's first line and to the shell; the least of several rounds, in turn.
"""

import argparse
import os
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests"))
sys.path.insert(0, os.path.join(TOP, "tests", "boot"))

import qemu  # noqa: E402
from console import Console  # noqa: E402
from cost import processor_time  # noqa: E402

LIMIT = 300


def boot(suite, who, platform, machine, cpus):
    """Seconds and processor time to GRUB, and to the shell."""
    accel, cpu = ("tcg,thread=multi", "max,phys-bits=40") if who == "tcg" else \
                 ("kvm", qemu.OVMF_HOST if platform == "efi" else "host")
    argv = [*([] if who == "tcg" else suite.prefix), qemu.QEMU, "-accel", accel, "-machine", machine, "-cpu", cpu,
            "-smp", str(cpus), "-m", "512M", "-nodefaults", "-display", "none", "-serial", "stdio", "-device", "VGA",
            "-no-reboot", "-snapshot", *(qemu.ovmf(suite) if platform == "efi" else []),
            *(d.format(qemu.make_debian_disk(suite)) for d in qemu.VIRTIO_DISK)]
    times = []
    with Console(argv) as console:
        for line in (rb"GRUB on " + platform.encode(), rb"root@\S+:~# "):
            console.expect(line, LIMIT)
            times += [console.elapsed(), processor_time(console.pid)]
    return times


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anykvm", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--firmware", default="pc,efi")
    args = parser.parse_args()
    args.only = ""

    best = {}
    with tempfile.TemporaryDirectory() as work:
        suite = qemu.Suite(args, work)
        for _ in range(args.rounds):
            for platform, machine in (("pc", "pc"), ("efi", "q35")):
                for who in ("anykvm", "tcg") if platform in args.firmware.split(",") else ():
                    times = boot(suite, who, platform, machine, args.cpus)
                    old = best.get((platform, who), times)
                    best[platform, who] = [min(pair) for pair in zip(old, times)]
    print("firmware who       to GRUB: s   CPU s  to the shell: s   CPU s")
    for (platform, who), times in best.items():
        print(f"{platform:<8} {who:<8} {times[0]:12.2f} {times[1]:7.2f} {times[2]:16.2f} {times[3]:7.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
