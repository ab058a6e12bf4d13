#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What bash completes: completion.py --anykvm PROGRAM. TAP on standard output."""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from suite import Suite  # noqa: E402

# As bash does by COMP_WORDBREAKS.
BREAKS = r"([=:])"


def split(line):
    """The words of a line, the last of which is being completed."""
    words = []
    for word in line.split(" "):
        words += [part for part in re.split(BREAKS, word) if part] or [""]      # a break is a word
    return words


def complete(suite, script, line):
    words = split(line)
    program = (f"source {script}\nCOMP_WORDS=({' '.join(shlex.quote(word) for word in words)})\n"
               f"COMP_CWORD={len(words) - 1}\n_anykvm\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n")
    result = subprocess.run(["bash", "-c", program], check=False, capture_output=True, text=True,
                            cwd=suite.work)
    if result.stderr:
        suite.tap.note(result.stderr)
    return {word for word in result.stdout.splitlines() if word}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anykvm", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anykvm-completion-") as work:
        suite = Suite(os.path.realpath(args.anykvm), os.path.realpath(work))
        # The script asks it for the names of machines.
        os.environ["PATH"] = os.path.dirname(suite.anykvm) + ":" + os.environ["PATH"]
        script = suite.path("script", suite.run("completion").stdout.encode())
        suite.path("debian.qcow2")
        suite.path("disk.img")

        def check(line, expected, exact=True):
            found = complete(suite, script, line)
            passed = found == expected if exact else found >= expected
            suite.tap.result(passed, f"completes '{line}'", [f"found: {found}",
                                                             f"expected: {expected}"])

        commands = set(suite.commands())
        check("anykvm ", commands)
        check("anykvm con", {"console"})
        check("anykvm help re", {word for word in commands if word.startswith("re")})
        check("anykvm run --ker", {"--kernel"})
        check("anykvm run --accel ", {"auto", "kvm", "soft"})
        check("anykvm run --accel=s", {"soft"})
        check("anykvm run --accel=", {"auto", "kvm", "soft"})
        check("anykvm run --memory ", set())
        check("anykvm run --disk d", {"debian.qcow2", "disk.img"})
        check("anykvm run --disk disk.img,re", {"disk.img,readonly"})
        check("anykvm run --disk disk.img,", {"disk.img,readonly", "disk.img,ephemeral",
                                              "disk.img,format=raw", "disk.img,format=qcow2"},
              exact=False)
        check("anykvm run --disk disk.img,format=q", {"qcow2"})
        check("anykvm run --disk=disk.img,format=", {"raw", "qcow2"})
        check("anykvm run --disk=disk.img,eph", {"disk.img,ephemeral"})
        check("anykvm run deb", {"debian-12", "debian.qcow2"})
        check("anykvm image d", {"debian.qcow2", "disk.img"})
        check("anykvm logs --", {"--follow", "--help"})
        check("anykvm stop --t", {"--timeout"})
        offered = set(re.findall(r"^  (?:-\w, )?(--[a-z][a-z-]*)", suite.run("help", "run").stdout,
                                 re.M))
        check("anykvm run --", offered)
        return suite.tap.finish()


if __name__ == "__main__":
    sys.exit(main())
