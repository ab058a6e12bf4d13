#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Looking inside the software processor: looking.py --anykvm PROGRAM

A kernel of a few instructions, a hot loop and an undefined one that ends in a triple fault, with each of
--stats, --trace, --trace-file, --perf-map and --code-cache, and with the variables for the same. TAP.
"""

import argparse
import os
import re
import struct
import subprocess
import sys
import tempfile

from suite import LIMIT, PANIC, Suite

ENTRY = 0x100000
ROUNDS = 1000
# mov ecx, ROUNDS; again: sldt eax; add eax, ecx; dec ecx; jne again; ud2
CODE = b"\xb9" + struct.pack("<I", ROUNDS) + bytes.fromhex("0f00c0 01c8 ffc9 75f7 0f0b")
LOOP = ENTRY + 5


def elf(code):
    """An ELF program for x86-64 of one segment, at ENTRY."""
    header = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, ENTRY, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    header += struct.pack("<IIQQQQQQ", 1, 5, 4096, ENTRY, ENTRY, len(code), len(code), 4096)
    return header + bytes(4096 - len(header)) + code


class Cases:
    def __init__(self, suite, kernel):
        self.suite, self.kernel = suite, kernel
        self.args = ["run", "--accel", "soft", "--cpu-engine", "jit", "--kernel", kernel]

    def run(self, name, options, patterns, env=None, absent=()):
        """Runs the kernel; all patterns have to be in what is shown, and the others not."""
        shown = os.path.join(self.suite.work, "shown")
        args = [self.suite.anykvm, *self.args, *(o.replace("SHOWN", shown) for o in options)]
        variables = {k: v.replace("SHOWN", shown) for k, v in (env or {}).items()}
        with subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True,
                              env={**os.environ, **variables}) as process:
            _, errors = process.communicate(timeout=LIMIT)
            perf_map = f"/tmp/perf-{process.pid}.map"
        text = errors
        for path in (shown, perf_map):
            if os.path.exists(path):
                with open(path, encoding="ascii") as file:
                    text += file.read()
                os.unlink(path)
        problems = [f"status {process.returncode}"] if process.returncode != PANIC else []
        problems += [f"no {p!r}" for p in patterns if not re.search(p, text, re.M)]
        problems += [f"there is {p!r}" for p in absent if re.search(p, text, re.M)]
        self.suite.tap.result(not problems, name, problems + text.splitlines()[-30:])
        return errors, text


STATS = [r"^ +\d+  blocks decoded, of \d+ instructions", r"^ +[1-9]\d*  blocks translated",
         r"^KVM_RUN ended with:\n +1  shutdown", r"never translated:\n +\d+  sldt "]
EXCEPTIONS = [rf"^vcpu0: exception 0x6, .* at [0-9a-f]+:0*{ENTRY + len(CODE) - 2:x},",
              r"^vcpu0: exception 0x8,"]
# In a line each with a disassembler, in one without.
TRANSLATE = [rf"^vcpu0: 4 instructions, 64 bits:\n +0*{LOOP:x}  0f 00 c0 [^v]*01 c8 [^v]*ff c9 [^v]*75 f7 ",
             r"^vcpu0: became \d+ bytes:"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anykvm", required=True)
    anykvm = parser.parse_args().anykvm

    with tempfile.TemporaryDirectory(prefix="anykvm-inspect-") as work:
        suite = Suite(anykvm, work)
        cases = Cases(suite, suite.path("kernel", elf(CODE)))
        cases.run("nothing is shown without being asked for", [], [],
                  absent=["decoded", "^vcpu0", "guest:"])
        cases.run("--stats", ["--stats"], STATS)
        cases.run("--trace exceptions", ["--trace", "exceptions"], EXCEPTIONS, absent=["became"])
        cases.run("--trace translate", ["--trace=translate"], TRANSLATE, absent=["exception 0x6"])
        _, text = cases.run("--trace exec", ["--trace", "exec"],
                            [rf"^vcpu0: [0-9a-f]+:0*{ENTRY:x}  b9 e8 03 00 00",
                             r"^vcpu0:     rcx = 0x3e7$", "0f 0b"])
        rounds = len(re.findall(rf"^vcpu0: [0-9a-f]+:0*{LOOP:x} ", text, re.M))
        suite.tap.result(rounds == ROUNDS, "which has each round of a loop", [f"{rounds} rounds"])
        errors, _ = cases.run("--trace-file takes all of it",
                              ["--trace", "exceptions,translate", "--stats", "--trace-file", "SHOWN"],
                              STATS + EXCEPTIONS + TRANSLATE)
        suite.tap.result("vcpu0" not in errors and "decoded" not in errors,
                         "and nothing is on standard error", errors.splitlines())
        cases.run("--perf-map", ["--perf-map"],
                  [rf"^[0-9a-f]+ [0-9a-f]+ guest:{LOOP:x}$", "anykvm:lookup-branch$"])
        cases.run("--code-cache", ["--code-cache", "1M", "--stats"], STATS)
        cases.run("the variables say the same", [], STATS + EXCEPTIONS + TRANSLATE + ["guest:"], env={
            "ANYKVM_STATS": "1", "ANYKVM_CPU_TRACE": "exceptions,translate", "ANYKVM_PERF_MAP": "1",
            "ANYKVM_CPU_TRACE_FILE": "SHOWN", "ANYKVM_CODE_CACHE": "2M"})
        result = suite.run(*cases.args, env={**os.environ, "ANYKVM_CODE_CACHE": "little"})
        suite.tap.result(result.returncode == 1 and
                         "ANYKVM_CODE_CACHE=little is not understood: give 1M to 2G" in result.stderr,
                         "a variable that says nothing of use", result.stderr.splitlines())
        return suite.tap.finish()


if __name__ == "__main__":
    sys.exit(main())
