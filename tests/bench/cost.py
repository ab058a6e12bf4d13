#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What a Debian guest at its shell costs the host: cost.py --anykvm PROGRAM [--cpus 1,2] [--seconds N] [--detail]

Boots quickstart's guest on the software processor and leaves it alone. Printed are the memory of the process
that is not the guest's, and the processor time that it takes while idle. Exits with 1 where that is more than 64 MiB,
or 1 % of a processor. --detail: which mappings the memory is in.
"""

import argparse
import glob
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "boot"))

from console import Console  # noqa: E402

PROMPT = rb"root@debian:~# "
MAX_KIB = 64 << 10
MAX_IDLE = 0.01


def mappings(pid):
    """Of each mapping but the guest's memory, and but the second one of code memory: name, rights, KiB in memory."""
    found = []
    with open(f"/proc/{pid}/smaps", encoding="ascii") as smaps:
        for line in smaps:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)", line)
            if head:
                size = (int(head[2], 16) - int(head[1], 16)) >> 10
                found.append([head[4] or f"{size} KiB without a name", head[3], 0])
            elif line.startswith("Rss:"):
                found[-1][2] += int(line.split()[1])
    return [m for m in found if "guest-memory" not in m[0] and m[1] != "r-xs"]


def processor_time(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(args, guest, cpus):
    argv = [args.anykvm, "run", "--accel", "soft", "--cpus", str(cpus), "--memory", "512M",
            "--kernel", f"{guest}/vmlinuz", "--initrd", f"{guest}/initrd.img",
            "--disk", f"{guest}/root.img,ephemeral", "--cmdline", "console=ttyS0 quiet cryptomgr.notests"]
    with Console(argv) as console:
        console.expect(PROMPT, 600)
        booted, used = console.elapsed(), processor_time(console.pid)
        time.sleep(args.settle)
        start, before = time.monotonic(), processor_time(console.pid)
        time.sleep(args.seconds)
        idle = (processor_time(console.pid) - before) / (time.monotonic() - start)
        found = mappings(console.pid)
    total = sum(m[2] for m in found)
    print(f"{cpus} vCPU{'s' if cpus > 1 else ' '}: {total / 1024:.1f} MiB beside the guest's, "
          f"{idle * 100:.2f} % of a processor while idle; {booted:.1f} s to the shell, "
          f"{used:.1f} s of processor time")
    if args.detail:
        for name, rights, kib in sorted(found, key=lambda m: -m[2])[:25]:
            print(f"  {kib:8} KiB {rights} {name}")
    return total <= MAX_KIB and idle <= MAX_IDLE


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anykvm", required=True)
    parser.add_argument("--cpus", default="1,2")
    parser.add_argument("--settle", type=float, default=10, help="seconds to wait before that")
    parser.add_argument("--seconds", type=float, default=20, help="for how long it is watched idle")
    parser.add_argument("--detail", action="store_true")
    args = parser.parse_args()
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    guests = sorted(glob.glob(f"{cache}/anykvm/guest-*/root.img"), key=os.path.getmtime)
    if not guests:
        print("there is no guest yet: ./quickstart --exec true makes it", file=sys.stderr)
        return 1
    guest = os.path.dirname(guests[-1])
    return 0 if all([measure(args, guest, int(n)) for n in args.cpus.split(",")]) else 1


if __name__ == "__main__":
    sys.exit(main())
