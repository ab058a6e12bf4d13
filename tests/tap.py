# SPDX-License-Identifier: GPL-2.0-only
"""Results of a test program, in the Test Anything Protocol, for those written in Python."""


class Tap:
    """Counts results and prints each as it comes."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def result(self, passed, name, details=()):
        """One result. The details explain it, should it be a failure."""
        self.count += 1
        self.failed += not passed
        print(f"{'ok' if passed else 'not ok'} {self.count} - {name}", flush=True)
        for line in [] if passed else details:
            self.note(line)

    def skip(self, name, why):
        self.count += 1
        print(f"ok {self.count} - {name} # SKIP {why}", flush=True)

    def note(self, line):
        print(f"# {line}", flush=True)

    def finish(self):
        """Prints the plan. Returns the exit status."""
        print(f"1..{self.count}", flush=True)
        return 1 if self.failed else 0
