#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Benchmarks side by side: bench.py --anykvm PROGRAM --ubench PROGRAM [--suite micro|programs|smp] [--rounds N]

micro: the same static program runs on the host, and as the first process of a guest under anykvm's
interpreter, its translator and QEMU's TCG, with the same kernel. programs: Debian's gcc, python3, sqlite3,
openssl and others, in a chroot and from a disk of the same contents (needs root). smp: on two processors, with
--locks PROGRAM: work in one process and in two at once, locks, make. In turn for some rounds; printed is the best
time of each, and the translator's ratio to the others. Exits with 1 where results differ.
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
LIMIT = 1200


def kernel():
    directory = subprocess.run([os.path.join(TOP, "scripts", "fetch-package"), "--arch", "amd64",
                                "linux-image-cloud-amd64"], check=True, stdout=subprocess.PIPE,
                               text=True).stdout.strip()
    return sorted(glob.glob(f"{directory}/boot/vmlinuz-*"))[-1]


def guests(args, image, initrd, disk=None, cpus=1):
    """The commands that run it as a guest, by the column's name."""
    boot = ["--kernel", image, "--initrd", initrd, "--cmdline",
            f"console=ttyS0 quiet cryptomgr.notests suite={args.suite}"]
    every = {}
    for engine in ("interp", "jit"):
        every[engine] = [args.anykvm, "run", "--accel", "soft", "--cpu-engine", engine, "--cpus", str(cpus),
                         *boot]
        if disk:
            every[engine] += ["--disk", f"{disk},format=raw,ephemeral"]
    if shutil.which("qemu-system-x86_64"):
        every["tcg"] = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-smp", str(cpus), "-cpu", "max",
                        "-m", "512", "-display", "none", "-no-reboot", "-monitor", "none", "-serial", "stdio",
                        "-kernel", image, "-initrd", initrd, "-append", boot[-1]]
        if disk:
            every["tcg"] += ["-drive", f"file={disk},format=raw,if=virtio,snapshot=on"]
    return every


def in_chroot(made, script):
    return ["unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs $0/tmp && mount --rbind /dev $0/dev && "
            f"mount -t proc proc $0/proc && exec chroot $0 /bench/{script}", f"{made}/root"]


def from_disk(args, script, cpus):
    made = subprocess.run([os.path.join(TOP, "tests", "bench", "make-image"), args.ubench], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()
    return {"native": in_chroot(made, script),
            **guests(args, f"{made}/vmlinuz", f"{made}/initrd.img", f"{made}/root.img", cpus)}


def from_initrd(args, work, cpus, native, **files):
    initrd = os.path.join(work, "initrd.img")
    subprocess.run([os.path.join(TOP, "scripts", "mkcpio"), initrd, "dev/", "proc/",
                    *(f"{name}={file}" for name, file in files.items())], check=True)
    return {"native": native, **guests(args, kernel(), initrd, None, cpus)}


def commands(args, work):
    """What is run in each column, one after the other."""
    if args.suite == "smp":
        native = ["sh", "-c", f"{args.ubench} --pairs; {args.locks}"]
        parts = [from_initrd(args, work, 2, native, init=args.locks, ubench=args.ubench),
                 from_disk(args, "smp", 2)]
    elif args.suite == "programs":
        parts = [from_disk(args, "programs", 1)]
    else:
        parts = [from_initrd(args, work, 1, [args.ubench], init=args.ubench)]
    return {name: [part[name] for part in parts] for name in parts[0] if name not in args.without.split(",")}


def run(argv):
    result = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, timeout=LIMIT)
    lines = re.findall(rb"bench ([\w-]+) (\d+) ([0-9a-f]+)", result.stdout)
    return [(name.decode(), int(time), total.decode()) for name, time, total in lines]


def ratio(best, name, who):
    """How many times the translator's time it takes there."""
    if name not in best.get(who, {}) or name not in best["jit"]:
        return None
    return best[who][name][0] / best["jit"][name][0]


def scaling(every, best):
    """How many times the work of one process two at once do: of lines NAME-1, NAME-2."""
    for name in best["jit"]:
        if not name.endswith("-2"):
            continue
        one = name[:-1] + "1"
        cells = [f"{2 * best[who][one][0] / best[who][name][0]:12.2f}" if one in best.get(who, {}) and
                 name in best[who] else f"{'-':>12}" for who in every]
        print(f"{name[:-2] + ' x':<12}" + "".join(cells))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anykvm", required=True)
    parser.add_argument("--ubench", required=True)
    parser.add_argument("--locks", help="smp: the program of that name")
    parser.add_argument("--suite", choices=("micro", "programs", "smp"), default="micro")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", default="", help="names of columns to leave out")
    args = parser.parse_args()

    best, differ = {}, False
    with tempfile.TemporaryDirectory() as work:
        every = commands(args, work)
        for _ in range(args.rounds):
            for who, name, time, total in ((who, *line) for who, argvs in every.items()
                                           for argv in argvs for line in run(argv)):
                old = best.setdefault(who, {}).get(name, (time, total))
                best[who][name] = (min(time, old[0]), total)
    others = [who for who in every if who != "jit"]
    print("name        " + "".join(f"{who + ' us':>12}" for who in every) +
          "".join(f"{who + '/jit':>12}" for who in others))
    for name in best["jit"]:
        row = [best.get(who, {}).get(name) for who in every]
        cells = [f"{r[0] / 1000:12.1f}" if r else f"{'-':>12}" for r in row]
        for who in others:
            r = ratio(best, name, who)
            cells.append(f"{r:12.2f}" if r else f"{'-':>12}")
        same = len({r[1] for r in row if r}) == 1
        differ |= not same
        print(f"{name:<12}" + "".join(cells) + ("" if same else "  results differ"))
    scaling(every, best)
    for who in others:
        logs = [math.log(r) for r in (ratio(best, name, who) for name in best["jit"]) if r]
        if logs:
            print(f"geometric mean of {who}/jit: {math.exp(sum(logs) / len(logs)):.2f}")
    return differ


if __name__ == "__main__":
    sys.exit(main())
