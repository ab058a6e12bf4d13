#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Bad values of the options of all commands but run: options.py --anykvm PROGRAM.

Each is told by one line that names the option and the remedy. Every option that a command's help
names has to have its case here; those of run are config.py's. TAP on standard output.
"""

import argparse
import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from suite import FAILED, USAGE, Suite  # noqa: E402

NO_VALUE = "{} takes no value: leave out what follows it"
FORMAT = "{}: format 'floppy' is not known: give raw or qcow2"
BACKING = ["create", "-f", "qcow2", "-b", "a.raw"]


def create(options, *more):
    return ["create", "-f", "qcow2", "-o", options, *more, "x", "1M"]


# Command, the option that a case is of, arguments, and what the line has to say.
CASES = (
    ("console", "--help", ["--help=1", "a"], NO_VALUE),
    ("ssh", "--login", ["--login", "", "a"], "--login: '' is no user's name: give one"),
    ("ssh", "--login", ["-l", "-oProxyCommand=x", "a"], "--login: '-oProxy.*: give one, as in root"),
    ("ssh", "-l", ["-l"], "-l needs a value: see anykvm help ssh"),
    ("exec", "--console", ["--console=1", "a"], NO_VALUE),
    ("logs", "--follow", ["--follow=1", "a"], NO_VALUE),
    ("logs", "-f", ["-fx", "a"], "there is no option -x: see anykvm help logs"),
    ("stop", "--timeout", ["--timeout", "", "a"], "--timeout: '' is no number of seconds: give 0 to"),
    ("stop", "--timeout", ["--timeout", "-1", "a"], "--timeout: '-1' is no number of sec.*: give 0"),
    ("stop", "--timeout", ["--timeout", "86401", "a"], "--timeout: '86401' is no .*: give 0 to 86400"),
    ("stop", "--timeout", ["--timeout"], "--timeout needs a value: see anykvm help stop"),
    ("stats", "--json", ["--json=1", "a"], NO_VALUE),
    ("ps", "--json", ["--json=yes"], NO_VALUE),
    ("resize", "--shrink", ["--shrink=1", "a", "1G"], NO_VALUE),
    ("doctor", "--json", ["--json=yes"], NO_VALUE),
    ("shim", "--trace", ["--trace=", "true"], "--trace: this is an empty name: give --trace=FILE"),
    ("image", "-f", ["create", "-f", "floppy", "x", "1M"], FORMAT),
    ("image", "-f", ["info", "-f", "floppy", "a.raw"], FORMAT),
    ("image", "-f", ["info", "-f"], "-f needs a value: see anykvm help image"),
    ("image", "-o", create("cluster_size=huge"), "-o: cluster_size cannot be 'huge': give 512 to 2M"),
    ("image", "-o", create("cluster_size=3K"), "-o: cluster_size cannot be '3K': give 512 to 2M"),
    ("image", "-o", create("cluster_size=256"), "-o: cluster_size cannot be '256': give 512 to"),
    ("image", "-o", create("compat=2"), "-o: compat cannot be '2': give 0.10 or 1.1"),
    ("image", "-o", create("refcount_bits=3"), "-o: refcount_bits cannot be '3': give 1, 2, 4"),
    ("image", "-o", create("lazy_refcounts=x"), "-o: lazy_refcounts cannot be 'x': give on or off"),
    ("image", "-o", create("extended_l2=2"), "-o: extended_l2 cannot be '2': give on or off"),
    ("image", "-o", create("compression_type=xz"), "-o: compression_type cannot be 'xz': give zlib or"),
    ("image", "-o", create("data_file="), "-o: data_file cannot be '': give the name of a file"),
    ("image", "-o", create("data_file_raw=x"), "-o: data_file_raw cannot be 'x': give on or off"),
    ("image", "-o", create("data_file_raw=on"), "-o: data_file_raw says .*: give data_file=FILE too"),
    ("image", "-o", create("backing_file="), "-o: backing_file cannot be '': give the name"),
    ("image", "-o", create("backing_fmt=floppy"), "-o: backing_fmt cannot be 'floppy': give raw or"),
    ("image", "-o", create("cluster_size"), "-o: 'cluster_size' has no value: give NAME=VALUE"),
    ("image", "-o", create("fly=1"), "-o: there is no option 'fly': see anykvm help image"),
    ("image", "-o", create("compat=0.10,extended_l2=on"), "version 2 .* has none of .*; give compat=1"),
    ("image", "-o", ["create", "-o", "cluster_size=4K", "x", "1M"],
     "-o: a raw image has no options: give qcow2"),
    ("image", "-b", ["create", "-f", "qcow2", "-b", "", "-F", "raw", "x", "1M"],
     "backing file's name is empty: give one"),
    ("image", "-b", [*BACKING, "x"], "format of the backing file with -F raw or -F qcow2"),
    ("image", "-b", ["create", "-b", "a.raw", "-F", "raw", "x", "1M"], "give -f qcow2"),
    ("image", "-b", ["rebase", "a.qcow2"], 'give -b BACKING \\(\\"\\" for none\\)'),
    ("image", "-F", [*BACKING, "-F", "floppy", "x"], FORMAT),
    ("image", "-F", ["create", "-F", "raw", "x", "1M"], "no backing file for the format raw: give one"),
    ("image", "-F", ["compare", "-F", "floppy", "a.raw", "a.raw"], FORMAT),
    ("image", "-B", ["convert", "-B", "a.raw", "-O", "qcow2", "a.raw", "x"], "with -F raw or -F qcow2"),
    ("image", "-O", ["convert", "-O", "floppy", "a.raw", "x"], FORMAT),
    ("image", "-l", ["convert", "-l", "nosuch", "a.qcow2", "x"],
     "no snapshot 'nosuch'; anykvm image snapshot -l lists them"),
    ("image", "-l", ["snapshot", "-l", "-c", "s", "a.qcow2"], "-l and -c are two things: give one of"),
    ("image", "-c", ["snapshot", "-c", "", "a.qcow2"], "a snapshot's name has 1 to 255 bytes"),
    ("image", "-c", ["snapshot", "-c", "s", "-a", "s", "a.qcow2"], "-c and -a are two things: give one"),
    ("image", "-a", ["snapshot", "-a", "x", "a.qcow2"], "no snapshot 'x'; anykvm image snapshot -l"),
    ("image", "-d", ["snapshot", "-d", "x", "a.qcow2"], "no snapshot 'x'; anykvm image snapshot -l"),
    ("image", "-d", ["commit", "-d", "a.raw"], "a.raw is not based on another image: there is noth"),
    ("image", "-m", ["convert", "-m", "0", "a.raw", "x"], "-m: '0' is no number of threads: give 1"),
    ("image", "-m", ["convert", "-m", "17", "a.raw", "x"], "-m: give 1 to 16"),
    ("image", "-W", ["convert", "-Wx", "a.raw", "y"], "there is no option -x: see anykvm help image"),
    ("image", "-n", ["convert", "-n", "a.raw", "missing"], "missing: No such file"),
    ("image", "-r", ["check", "-r", "most", "a.qcow2"], "-r: 'most' is not known: give leaks or all"),
    ("image", "-r", ["info", "-r", "all", "a.qcow2"], "there is no option -r: see anykvm help image"),
    ("image", "-u", ["rebase", "-ux", "-b", "", "a.qcow2"], "there is no option -x: see anykvm help"),
    ("image", "-s", ["compare", "-sx", "a.raw", "a.raw"], "there is no option -x: see anykvm help"),
    ("image", "-p", ["convert", "-px", "a.raw", "x"], "there is no option -x: see anykvm help image"),
    ("image", "-q", ["create", "-qx", "x", "1M"], "there is no option -x: see anykvm help image"),
    ("image", "-U", ["info", "-Ux", "a.raw"], "there is no option -x: see anykvm help image"),
    ("image", "--force-share", ["info", "--force-share=1", "a.raw"], NO_VALUE),
    ("image", "--output", ["info", "--output=xml", "a.raw"], "{}: 'xml' is not known: give human or json"),
    ("image", "--output", ["map", "--output", "", "a.raw"], "{}: '' is not known: give human or json"),
    ("image", "--backing-chain", ["info", "--backing-chain=1", "a.raw"], NO_VALUE),
    ("image", "--shrink", ["resize", "--shrink=1", "a.raw", "1M"], NO_VALUE),
)
# What a command's status is where it is not that of a wrong command line.
FAILURES = {"no snapshot", "a snapshot's name", "is not based", "No such file", "version 2"}


def bad_values(suite):
    there = suite.commands()
    for command, option, args, pattern in CASES:
        if command not in there:
            continue        # this build has no libjansson
        status = FAILED if any(text in pattern for text in FAILURES) else USAGE
        suite.complains(f"{command} {' '.join(args)}", [command, *args], status,
                        f"anykvm {command}: .*" + pattern.format(option)
                        if not pattern.startswith("{}") else
                        f"anykvm {command}: (\\w+: )?" + pattern.format(option), cwd=suite.work)


def covered(suite):
    tested = {(command, option) for command, option, _, _ in CASES}
    offered = set()
    for command in suite.commands():
        text = suite.run("help", command).stdout
        if command != "run":
            # In synopses, and where they are explained.
            offered |= {(command, option) for option in
                        re.findall(r"(?m)(?:^  |[\[|,] ?|^Usage.* )(--?[a-zA-Z][a-z-]*)", text)}
    offered = {(command, option) for command, option in offered if option != "--help"}
    tested.discard(("console", "--help"))
    suite.tap.result(offered <= tested, "every option has a test of its bad values",
                     [str(sorted(offered - tested))])
    every = [suite.run(command, "--help=1") for command in suite.commands() if command != "image"]
    suite.tap.result(all(result.returncode == USAGE and "takes no value" in result.stderr
                         for result in every), "--help takes no value, with any command",
                     [str(result) for result in every])
    every = [suite.run(command, "--fly") for command in suite.commands()]
    suite.tap.result(all(result.returncode == USAGE and "--fly" in result.stderr and
                         "see anykvm help" in result.stderr for result in every),
                     "an unknown option is told of, with any command",
                     [str(result) for result in every])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anykvm", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anykvm-options-") as work:
        suite = Suite(os.path.realpath(args.anykvm), os.path.realpath(work))
        os.truncate(suite.path("a.raw"), 1 << 20)
        suite.run("image", "create", "-q", "-f", "qcow2", "a.qcow2", "1M", cwd=work)
        bad_values(suite)
        covered(suite)
        return suite.tap.finish()


if __name__ == "__main__":
    sys.exit(main())
