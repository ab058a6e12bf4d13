#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The totals that check ends with: tally_test.py --tally PROGRAM. TAP on standard output.

A test that fails in a way which the totals do not see would be as good as none.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from tap import Tap  # noqa: E402


def test(name, result, stdout="", stderr="", returncode=0):
    """A test's record in Meson's log."""
    return json.dumps({"name": f"anykvm:unit / {name}", "result": result, "stdout": stdout,
                       "stderr": stderr, "returncode": returncode, "duration": 1.0}) + "\n"


CASES = (
    ("a test without TAP counts as one", test("a", "OK"), "1 passed, 0 failed, 0 skipped", 0),
    ("TAP counts as its results",
     test("a", "OK", "1..3\nok 1 - x\nok 2 - y # SKIP not here\nok 3\n"),
     "2 passed, 0 failed, 1 skipped", 0),
    ("a failed result is a failure",
     test("a", "ERROR", "ok 1 - x\nnot ok 2 - y\n# why\n1..2\n", returncode=1),
     "1 passed, 1 failed, 0 skipped", 1),
    ("a failed result is a failure whatever the status of its program",
     test("a", "OK", "not ok 1 - y\n1..1\n"), "0 passed, 1 failed, 0 skipped", 1),
    ("a crash behind good results is a failure",
     test("a", "FAIL", "ok 1 - x\n", returncode=-11), "1 passed, 1 failed, 0 skipped", 1),
    ("results that did not come are a failure",
     test("a", "OK", "1..3\nok 1 - x\n"), "1 passed, 1 failed, 0 skipped", 1),
    ("a time-out is a failure", test("a", "TIMEOUT", "", "slow"),
     "0 passed, 1 failed, 0 skipped", 1),
    ("a plan for each group of tests",
     test("a", "OK", "1..1\nok 1 - x\n1..2\nok 1 - y\nok 2 - z\n"),
     "3 passed, 0 failed, 0 skipped", 0),
    ("a whole test skipped in TAP",
     test("a", "SKIP", "1..0 # SKIP nothing to test\n") + test("b", "OK"),
     "1 passed, 0 failed, 1 skipped", 0),
    ("a whole test skipped by its status",
     test("a", "SKIP", "no such device\n", returncode=77) + test("b", "OK"),
     "1 passed, 0 failed, 1 skipped", 0),
    ("a bail-out is a failure", test("a", "ERROR", "ok 1 - x\nBail out! fire\n", returncode=1),
     "1 passed, 1 failed, 0 skipped", 1),
    ("nothing at all is no success", "", "0 passed, 0 failed, 0 skipped", 1),
)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tally", required=True)
    args = parser.parse_args()
    tap = Tap()
    with tempfile.TemporaryDirectory() as work:
        log = os.path.join(work, "testlog.json")
        for name, content, last, status in CASES:
            with open(log, "w", encoding="utf-8") as file:
                file.write(content)
            result = subprocess.run([args.tally, "label=" + log], check=False, text=True,
                                    capture_output=True)
            lines = result.stdout.splitlines() or [""]
            tap.result(lines[-1] == last and result.returncode == status, name,
                       [f"status {result.returncode}", *lines, result.stderr])
        with open(log, "w", encoding="utf-8") as file:
            file.write(test("a", "OK", "ok 1 - x # SKIP the reason\nnot ok 2 - y\n# detail\n"))
        out = subprocess.run([args.tally, "label=" + log], check=False, text=True,
                             capture_output=True).stdout
        tap.result("skipped: label: a: the reason: x" in out and "FAILED: label: a: y" in out
                   and "detail" in out, "reasons and details are shown", out.splitlines())
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
