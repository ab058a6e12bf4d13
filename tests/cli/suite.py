# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of the command line share: a program, a directory, and what mistakes look like."""

import glob
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "boot"))

from tap import Tap  # noqa: E402

OK, FAILED, USAGE, PANIC = 0, 1, 2, 3
LIMIT = 120
BOOT_LIMIT = 400


class Suite:
    """The program under test, and a directory for each case to make its files in."""

    def __init__(self, anykvm, work):
        self.anykvm = anykvm
        self.work = work
        self.tap = Tap()

    def path(self, name, content=b""):
        """A file with that content."""
        path = os.path.join(self.work, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def run(self, *args, limit=LIMIT, **options):
        return subprocess.run([self.anykvm, *args], check=False, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=limit, **options)

    def commands(self):
        """The subcommands, as the overview lists them."""
        overview = self.run("help").stdout
        commands = overview[overview.index("Commands:"):overview.index("Topics:")]
        return re.findall(r"^  (\w+) ", commands, re.M)

    def topics(self):
        """What else the overview says that there is help on."""
        overview = self.run("help").stdout
        return re.findall(r"^  (\w+) ", overview[overview.index("Topics:"):], re.M)

    def complains(self, name, args, status, pattern, **options):
        """One mistake: the status, and one line on stderr that the pattern matches."""
        before = sorted(os.listdir(self.work))
        try:
            result = self.run(*args, **options)
        except subprocess.TimeoutExpired as error:
            self.tap.result(False, name, [str(error)])
            return
        # What --accel auto takes is not about the mistake.
        lines = [line for line in result.stderr.splitlines()
                 if not line.startswith(("anykvm run: --accel auto takes",
                                         "anykvm run: warning: --disk"))]
        problems = []
        if result.returncode != status:
            problems.append(f"status {result.returncode} instead of {status}")
        if len(lines) != 1:
            problems.append(f"{len(lines)} lines on standard error instead of one")
        elif not re.search(pattern, lines[0]):
            problems.append(f"the line does not match {pattern!r}")
        if result.stdout:
            problems.append("something on standard output")
        if sorted(os.listdir(self.work)) != before:
            problems.append(f"files left behind: {sorted(os.listdir(self.work))}")
        self.tap.result(not problems, name, problems + result.stderr.splitlines()[:20])

    def prints(self, name, args, pattern):
        """What is no mistake: status 0, nothing on stderr, and something on stdout."""
        result = self.run(*args)
        passed = (result.returncode == OK and not result.stderr and
                  re.search(pattern, result.stdout))
        self.tap.result(passed, name,
                        [f"status {result.returncode}", *result.stdout.splitlines()[:10],
                         *result.stderr.splitlines()[:10]])


def kernel_image():
    """A real kernel for the cases that need one, or None."""
    result = subprocess.run([os.path.join(TOP, "scripts", "fetch-package"),
                             "linux-image-cloud-amd64"], check=False, stdout=subprocess.PIPE,
                            text=True)
    images = glob.glob(result.stdout.strip() + "/boot/vmlinuz-*")
    return images[0] if result.returncode == 0 and images else None
