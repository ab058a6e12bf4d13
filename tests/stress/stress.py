#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Hard work in a Debian guest: stress.py --anykvm PROGRAM verify|build|soak

verify: stressors of stress-ng that check what they compute, a guest for each class.
build:  our library, compiled and linked in the guest and in a chroot on the host: all files are the same.
soak:   one guest that compiles, forks and resets itself, over and over for --seconds. Nothing fails, all
        rounds compute the same, and the memory of the process besides the guest's does not grow.

TAP on standard output. The guest is made by make-image, which needs to be root, as the chroot does.
"""

import argparse
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "boot"))

from console import Console, Ended, Timeout  # noqa: E402
from tap import Tap  # noqa: E402

CLASSES = {
    "cpu": "cpu,matrix,vecmath,crypt,bsearch,qsort,mergesort,heapsort,radixsort,hsearch,tsearch,lsearch,"
           "longjmp,nop,prime,branch,funccall,rotate,fp,vecfp,vecshuf,regs,jpeg,sparsematrix,tree,judy,hash,"
           "atomic,lockbus,tsc,x86syscall,x86cpuid,goto,vecwide,opcode,misaligned,far-branch,icache,plugin,"
           "fp-error,zlib,rdrand,peterson,dekker",
    "memory": "memcpy,memthrash,memrate,stream,malloc,mcontend,cacheline,cache,prefetch,list,skiplist,splay,"
              "l1cache,memfd,shm,shm-sysv,zero,ring-pipe,pipe,vm-splice,stackmmap,bigheap,membarrier,matrix-3d,"
              "flushcache,null",
    "vm": "vm,mmap,mmapfork,mmapaddr,mremap,vm-rw,vm-addr,vm-segv,madvise,mincore,msync,mlock,brk,stack,fault,"
          "userfaultfd,pageswap,remap,rmap,mmapfixed,mmapmany,mprotect,pagemove,tlb-shootdown,fork,vfork,"
          "clone,exec,spawn,pthread,context,sigsegv,sigfpe,sigtrap,switch,futex,mutex,sem,signal,munmap",
    "string": "str,wcs,randlist,key,revio",
}


class Guest:
    """A machine that does one piece of work."""

    def __init__(self, args, work):
        image = args.image
        argv = [args.anykvm, "run", "--accel", args.accel, "--cpus", str(args.cpus), "--memory", "1G",
                "--kernel", f"{image}/vmlinuz", "--initrd", f"{image}/initrd.img", "--disk",
                f"{image}/root.img,readonly", "--cmdline", f"console=ttyS0 quiet panic=-1 stress={work}"]
        if "reset" not in work:
            argv.append("--no-reboot")
        if args.engine:
            argv += ["--cpu-engine", args.engine]
        self.console = Console(argv)

    def __enter__(self):
        return self.console.__enter__()

    def __exit__(self, *what):
        return self.console.__exit__(*what)


def work(tap, args, what, name, limit):
    """Runs a piece of work to its end; what the console said, or None."""
    with Guest(args, what) as console:
        try:
            console.expect(rb"stress: done", limit)
            status = console.wait(60)
            output = console.output.decode(errors="replace").replace("\r", "")
            tap.result(status == 0, name, [f"it ended with status {status}"])
            tap.note(f"{console.elapsed():.0f} s, {console.cpu_seconds:.0f} s of processor time")
            return output
        except (Timeout, Ended) as error:
            tap.result(False, name, [str(error)] + console.tail())
            return None


def verify(tap, args):
    known = subprocess.run(["chroot", f"{args.image}/root", "stress-ng", "--stressors"], check=True,
                           stdout=subprocess.PIPE, text=True).stdout.split()
    for name, stressors in CLASSES.items():
        if args.only and name not in args.only.split(","):
            continue
        there = [s for s in stressors.split(",") if s in known]
        output = work(tap, args, f"verify:{args.each}:{','.join(there)}", f"stress-ng --verify: {name}",
                      300 + 60 * args.each * len(there))
        # Of stressors with several methods, the first figure is that of all.
        ran = re.findall(r"stress-ng (\S+): *(\d*)", output or "")
        tap.note(f"{len(ran)} of {len(there)} stressors: " +
                 ", ".join(f"{s} {n}" for s, n in ran))


def build(tap, args):
    host = subprocess.run(["chroot", f"{args.image}/root", "/stress/work", "build"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    subprocess.run(["rm", "-rf", f"{args.image}/root/tmp/build"], check=True)
    guest = work(tap, args, "build", "a build with gcc ends", 3000)
    wanted = sorted(re.findall(r"[0-9a-f]{64}  \S+", host))
    got = sorted(re.findall(r"[0-9a-f]{64}  \S+", guest or ""))
    differ = [line for line in wanted if line not in got]
    tap.result(len(wanted) > 50 and wanted == got, "and makes the files that it makes on the host",
               [f"host: {line}" for line in differ])
    tap.note(f"{len(wanted)} files")


def own_memory(pid):
    """KiB of a process that are not the guest's memory."""
    total, guest = 0, False
    with open(f"/proc/{pid}/smaps", encoding="ascii") as smaps:
        for line in smaps:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                guest = "memfd:guest-memory" in line
            elif line.startswith("Rss:") and not guest:
                total += int(line.split()[1])
    return total


def soak(tap, args):
    rounds, sizes, sums, end = 0, [], set(), time.monotonic() + args.seconds
    with Guest(args, "round+reset") as console:
        try:
            while time.monotonic() < end:
                match = console.expect(rb"(?s)([0-9a-f]{64}).*?([0-9a-f]{64}).*?stress: done", 1800)
                sums.add(match[1] + match[2])
                rounds += 1
                sizes.append(own_memory(console.pid))
                if args.log:
                    with open(args.log, "a", encoding="ascii") as log:
                        print(f"{console.elapsed():.0f} s, round {rounds}: {sizes[-1]} KiB", file=log)
            tap.result(True, f"{rounds} rounds of compiling, forking and resetting")
        except (Timeout, Ended) as error:
            tap.result(False, f"round {rounds + 1}", [str(error)] + console.tail())
        console.send(b"\x01x")
    tap.result(len(sums) == 1, "all rounds computed the same", [f"{len(sums)} different results"])
    # The first rounds fill the caches; from then on there is nothing that could grow.
    settled = sizes[len(sizes) // 4:] or [0]
    half = len(settled) // 2
    before, after = max(settled[:half], default=0), max(settled[half:])
    tap.result(after <= before * 1.05 + 1024, "the process does not grow",
               [f"at most {before} KiB in the first half, {after} KiB in the second"])
    tap.note(f"memory beside the guest's after each round, KiB: {sizes[:3]} … {sizes[-3:]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=["verify", "build", "soak"])
    parser.add_argument("--anykvm", required=True)
    parser.add_argument("--accel", default="soft")
    parser.add_argument("--engine", choices=["interp", "jit"], help="how the software processor runs guest code")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--only", help="verify: some of " + ", ".join(CLASSES))
    parser.add_argument("--each", type=int, default=2, help="verify: seconds for a stressor")
    parser.add_argument("--seconds", type=int, default=3600, help="soak: for how long")
    parser.add_argument("--log", help="soak: a file for a line a round")
    args = parser.parse_args()

    tap = Tap()
    image = subprocess.run([os.path.join(HERE, "make-image")], check=False, stdout=subprocess.PIPE, text=True)
    if image.returncode:
        tap.skip(args.work, "make-image cannot make the guest")
        return tap.finish()
    args.image = image.stdout.split()[-1]
    {"verify": verify, "build": build, "soak": soak}[args.work](tap, args)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
