#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Micro-benchmarks side by side: bench.py --anykvm PROGRAM --ubench PROGRAM [--rounds N]

The same static program runs on the host, and as the first process of a guest under anykvm's
interpreter, its translator and QEMU's TCG, with the same kernel, in turn for some rounds. Printed
is the best time of each, and the translator's ratio to the others. Exits with 1 where results differ.
"""

import argparse
import glob
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
LIMIT = 400


def kernel():
    directory = subprocess.run([os.path.join(TOP, "scripts", "fetch-package"), "--arch", "amd64",
                                "linux-image-cloud-amd64"], check=True, stdout=subprocess.PIPE,
                               text=True).stdout.strip()
    return sorted(glob.glob(f"{directory}/boot/vmlinuz-*"))[-1]


def commands(args, work):
    initrd = os.path.join(work, "initrd.img")
    subprocess.run([os.path.join(TOP, "scripts", "mkcpio"), initrd, "dev/", "proc/",
                    f"init={args.ubench}"], check=True)
    image = kernel()
    cmdline = "console=ttyS0 quiet"
    every = {"native": [args.ubench]}
    for engine in ("interp", "jit"):
        every[engine] = [args.anykvm, "run", "--accel", "soft", "--cpu-engine", engine, "--kernel", image,
                         "--initrd", initrd, "--cmdline", cmdline]
    if shutil.which("qemu-system-x86_64"):
        every["tcg"] = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "512", "-display",
                        "none", "-no-reboot", "-monitor", "none", "-serial", "stdio", "-kernel", image,
                        "-initrd", initrd, "-append", cmdline]
    return {name: argv for name, argv in every.items() if name not in args.without.split(",")}


def run(argv):
    result = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, timeout=LIMIT)
    lines = re.findall(rb"bench (\w+) (\d+) ([0-9a-f]+)", result.stdout)
    return {name.decode(): (int(time), total.decode()) for name, time, total in lines}


def ratio(best, name, who):
    """How many times the translator's time it takes there."""
    if name not in best.get(who, {}) or name not in best["jit"]:
        return None
    return best[who][name][0] / best["jit"][name][0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anykvm", required=True)
    parser.add_argument("--ubench", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", default="", help="names of columns to leave out")
    args = parser.parse_args()

    best, differ = {}, False
    with tempfile.TemporaryDirectory() as work:
        every = commands(args, work)
        for _ in range(args.rounds):
            for who, argv in every.items():
                for name, (time, total) in run(argv).items():
                    old = best.setdefault(who, {}).get(name, (time, total))
                    best[who][name] = (min(time, old[0]), total)
    others = [who for who in every if who != "jit"]
    print("name      " + "".join(f"{who + ' us':>12}" for who in every) +
          "".join(f"{who + '/jit':>12}" for who in others))
    for name in best["jit"]:
        row = [best.get(who, {}).get(name) for who in every]
        cells = [f"{r[0] / 1000:12.1f}" if r else f"{'-':>12}" for r in row]
        for who in others:
            r = ratio(best, name, who)
            cells.append(f"{r:12.2f}" if r else f"{'-':>12}")
        same = len({r[1] for r in row if r}) == 1
        differ |= not same
        print(f"{name:<10}" + "".join(cells) + ("" if same else "  results differ"))
    for who in others:
        logs = [math.log(r) for r in (ratio(best, name, who) for name in best["jit"]) if r]
        if logs:
            print(f"geometric mean of {who}/jit: {math.exp(sum(logs) / len(logs)):.2f}")
    return differ


if __name__ == "__main__":
    sys.exit(main())
