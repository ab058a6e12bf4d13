#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""anykvm image and the qcow2 driver, held against Debian's qemu-img: image.py --anykvm PROGRAM.

Images of every variant that qemu-img makes are read, ours are checked and compared by it, and what
both print as JSON is the same. TAP on standard output.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from tap import Tap  # noqa: E402

LIMIT = 120
MIB = 1 << 20
SIZE = 4 * MIB
WHY = "no qemu-img: install qemu-utils"

VARIANTS = (
    ("default", ""),
    ("version 2", "compat=0.10"),
    ("512-byte clusters", "cluster_size=512"),
    ("4K clusters, 1-bit refcounts", "cluster_size=4K,refcount_bits=1"),
    ("2M clusters", "cluster_size=2M"),
    ("64-bit refcounts", "refcount_bits=64"),
    ("8-bit refcounts", "refcount_bits=8"),
    ("lazy refcounts", "lazy_refcounts=on"),
    ("extended L2", "extended_l2=on"),
    ("extended L2, 16K clusters", "extended_l2=on,cluster_size=16K"),
    ("zstd", "compression_type=zstd"),
)


class Suite:
    """The program under test and a directory to work in."""

    def __init__(self, anykvm, work):
        self.anykvm = anykvm
        self.work = work
        self.tap = Tap()
        self.qemu = shutil.which("qemu-img")
        self.random = random.Random(5)

    def image(self, *args, status=0):
        """anykvm image, which must end with that status; what it prints."""
        result = subprocess.run([self.anykvm, "image", *args], check=False, capture_output=True,
                                text=True, timeout=LIMIT, cwd=self.work)
        if result.returncode != status:
            raise AssertionError(f"anykvm image {' '.join(args)}: status {result.returncode} "
                                 f"instead of {status}: {result.stderr}{result.stdout}")
        return result.stdout

    def qemu_img(self, *args, status=0):
        result = subprocess.run([self.qemu, *args], check=False, capture_output=True, text=True,
                                timeout=LIMIT, cwd=self.work)
        if result.returncode != status:
            raise AssertionError(f"qemu-img {' '.join(args)}: status {result.returncode}: "
                                 f"{result.stderr}{result.stdout}")
        return result.stdout

    def path(self, name):
        return os.path.join(self.work, name)

    def raw(self, name, size=SIZE, seed=0):
        """A raw image with data, repeated data and holes."""
        rnd = random.Random(seed)
        with open(self.path(name), "wb") as file:
            file.truncate(size)
            for _ in range(24):
                length = min(rnd.choice((512, 4096, 65536, 300000)), size)
                file.seek(rnd.randrange((size - length) // 512 + 1) * 512)
                file.write(rnd.choice((rnd.randbytes(length), b"anykvm.\n" * (length // 8))))
        return name

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def case(self, name, function, *args, qemu=True):
        """One test: the function raises AssertionError where it fails."""
        if qemu and not self.qemu:
            self.tap.skip(name, WHY)
            return
        for entry in os.listdir(self.work):
            os.unlink(self.path(entry))
        try:
            function(self, *args)
            self.tap.result(True, name)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            self.tap.result(False, name, str(error).splitlines()[:20])

    def complains(self, name, args, status, words):
        result = subprocess.run([self.anykvm, "image", *args], check=False, capture_output=True,
                                text=True, timeout=LIMIT, cwd=self.work)
        lines = result.stderr.splitlines()
        passed = result.returncode == status and len(lines) == 1 and words in lines[0]
        self.tap.result(passed, name, [f"status {result.returncode}", *lines])


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def same_json(suite, command, name, ignore=()):
    ours = json.loads(suite.image(*command, "--output=json", name))
    theirs = json.loads(suite.qemu_img(*command, "--output=json", name))
    for key in ignore:
        ours.pop(key, None)
        theirs.pop(key, None)
    expect(ours == theirs, f"{command}: {ours} instead of {theirs}")


def reads(suite, options, compress):
    """An image of qemu-img's, with a snapshot where it can have one, read back."""
    suite.raw("a.raw")
    suite.qemu_img("convert", "-f", "raw", "-O", "qcow2", *(["-c"] if compress else []),
                   *(["-o", options] if options else []), "a.raw", "a.qcow2")
    suite.image("convert", "-O", "raw", "a.qcow2", "b.raw")
    expect(suite.read("a.raw") == suite.read("b.raw"), "the contents differ")
    suite.image("compare", "-F", "raw", "a.qcow2", "a.raw")
    same_json(suite, ["check"], "a.qcow2", ["fragmented-clusters"])
    same_json(suite, ["info"], "a.qcow2", ["children"])


def writes(suite, options):
    """An image of ours, checked and compared by qemu-img, which then writes to it."""
    suite.raw("a.raw")
    suite.image("convert", "-f", "raw", "-O", "qcow2", *(["-o", options] if options else []),
                "a.raw", "a.qcow2")
    suite.qemu_img("check", "a.qcow2")
    suite.qemu_img("compare", "-F", "raw", "a.qcow2", "a.raw")
    suite.qemu_img("resize", "-q", "a.qcow2", "8M")
    suite.image("check", "a.qcow2")
    suite.image("resize", "a.qcow2", "+1M")
    suite.qemu_img("check", "a.qcow2")
    expect(json.loads(suite.qemu_img("info", "--output=json", "a.qcow2"))["virtual-size"] ==
           9 * MIB, "not 9 MiB")
    suite.qemu_img("resize", "-q", "--shrink", "a.qcow2", "4M")
    suite.qemu_img("compare", "-F", "raw", "a.qcow2", "a.raw")


def packs(suite, options):
    """Compressed clusters of ours, by several threads, read and written over by qemu-img."""
    suite.raw("a.raw", seed=3)
    suite.raw("b.raw", 3 * MIB + 512, seed=4)
    extra = ["-o", options] if options else []
    for name, size in (("a.raw", SIZE), ("b.raw", 3 * MIB + 512)):
        suite.image("convert", "-c", "-m", "4", "-f", "raw", "-O", "qcow2", *extra, name, "c.qcow2")
        suite.qemu_img("check", "c.qcow2")
        suite.qemu_img("compare", "-F", "raw", "c.qcow2", name)
        suite.image("compare", "-s", "-F", "raw", "c.qcow2", name)
        same_json(suite, ["check"], "c.qcow2", ["fragmented-clusters"])
        suite.image("convert", "-c", "-m", "1", "-f", "raw", "-O", "qcow2", *extra, name, "d.qcow2")
        expect(suite.read("c.qcow2") == suite.read("d.qcow2"), "another file by another number of threads")
        suite.qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", *extra, name, "d.qcow2")
        ours, theirs = (os.stat(suite.path(n)).st_blocks for n in ("c.qcow2", "d.qcow2"))
        expect(ours <= theirs * 1.1 + 128, f"{ours} blocks, and {theirs} by qemu-img, for {size} bytes")
    # From compressed to compressed in any order, and over what is there already.
    suite.image("convert", "-c", "-W", "-O", "qcow2", *extra, "c.qcow2", "e.qcow2")
    suite.qemu_img("check", "e.qcow2")
    suite.qemu_img("compare", "-F", "raw", "e.qcow2", "b.raw")
    suite.image("resize", "-q", "e.qcow2", "4M")
    suite.image("convert", "-c", "-n", "-f", "raw", "-O", "qcow2", "a.raw", "e.qcow2")
    suite.qemu_img("check", "e.qcow2")
    suite.qemu_img("compare", "-F", "raw", "e.qcow2", "a.raw")
    # Written to and copied again without compression, by both.
    suite.qemu_img("convert", "-n", "-f", "raw", "-O", "qcow2", "b.raw", "e.qcow2")
    suite.image("check", "e.qcow2")
    suite.image("convert", "-n", "-f", "raw", "-O", "qcow2", "a.raw", "e.qcow2")
    suite.qemu_img("check", "e.qcow2")
    suite.qemu_img("compare", "-F", "raw", "e.qcow2", "a.raw")


def packs_own(suite):
    """Only what is the image's own, before a backing file; and a snapshot of it."""
    suite.raw("base.raw", seed=1)
    suite.image("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "top.qcow2")
    qemu_io = shutil.which("qemu-io")
    expect(qemu_io, "no qemu-io beside qemu-img")
    subprocess.run([qemu_io, "-c", "write -P 7 100k 200k", "-c", "write -z 1M 128k", "-c", "discard 2M 64k",
                    "-c", "write -P 9 3000k 1k", "top.qcow2"], check=True, capture_output=True, timeout=LIMIT,
                   cwd=suite.work)
    suite.qemu_img("convert", "-O", "raw", "top.qcow2", "want.raw")
    for size in ("64K", "2M", "4K"):
        suite.image("convert", "-c", "-O", "qcow2", "-o", f"cluster_size={size}", "-B", "base.raw", "-F", "raw",
                    "top.qcow2", "c.qcow2")
        suite.qemu_img("check", "c.qcow2")
        suite.qemu_img("compare", "-F", "raw", "c.qcow2", "want.raw")
    ours = os.stat(suite.path("c.qcow2")).st_blocks
    expect(ours * 512 < MIB, f"{ours} blocks for what is the image's own")
    suite.image("snapshot", "-c", "s", "c.qcow2")
    suite.image("convert", "-n", "-c", "-f", "raw", "-O", "qcow2", "base.raw", "c.qcow2")
    suite.qemu_img("check", "c.qcow2")
    suite.image("snapshot", "-a", "s", "c.qcow2")
    suite.qemu_img("compare", "-F", "raw", "c.qcow2", "want.raw")


def parallel(suite):
    """Any number of threads makes the same file, with as many holes."""
    suite.raw("a.raw", 40 * MIB, seed=5)
    for form in ("raw", "qcow2"):
        suite.image("convert", "-m", "1", "-f", "raw", "-O", form, "a.raw", "one")
        for more in (["-m", "2"], ["-m", "16"], []):
            suite.image("convert", *more, "-f", "raw", "-O", form, "a.raw", "many")
            expect(suite.read("one") == suite.read("many"), f"{form} with {more}")
        expect(os.stat(suite.path("many")).st_blocks <= os.stat(suite.path("one")).st_blocks + 64,
               "the copy has fewer holes")
        suite.image("convert", "-W", "-m", "8", "-f", "raw", "-O", form, "a.raw", "many")
        suite.image("compare", "-F", form, "-f", "raw", "a.raw", "many")


def maps(suite):
    """What is where, as qemu-img sees it."""
    suite.raw("base.raw", seed=1)
    suite.raw("top.raw", seed=2)
    suite.qemu_img("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "a.qcow2")
    suite.qemu_img("convert", "-n", "-f", "raw", "-O", "qcow2", "top.raw", "a.qcow2")
    suite.qemu_img("convert", "-f", "raw", "-O", "qcow2", "top.raw", "b.qcow2")
    suite.qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", "top.raw", "c.qcow2")
    for name in ("a.qcow2", "b.qcow2", "c.qcow2"):
        ours = json.loads(suite.image("map", "--output=json", name))
        theirs = json.loads(suite.qemu_img("map", "--output=json", name))
        expect(ours == theirs, f"{name}: {ours} instead of {theirs}")


def chains(suite):
    """raw behind qcow2 behind qcow2, commit and rebase."""
    suite.raw("base.raw", 3 * MIB, seed=1)
    suite.image("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "mid.qcow2", "4M")
    suite.image("create", "-q", "-f", "qcow2", "-o", "cluster_size=4K", "-b", "mid.qcow2", "-F",
                "qcow2", "top.qcow2")
    qemu_io = shutil.which("qemu-io")
    expect(qemu_io, "no qemu-io beside qemu-img")
    for name, commands in (("mid.qcow2", ["write -P 1 64k 100k", "write -z 512k 70k"]),
                           ("top.qcow2", ["write -P 2 100k 3k", "write -P 3 3500k 4k"])):
        subprocess.run([qemu_io, *[x for c in commands for x in ("-c", c)], name], check=True,
                       capture_output=True, timeout=LIMIT, cwd=suite.work)
    suite.qemu_img("convert", "-O", "raw", "top.qcow2", "want.raw")
    suite.image("convert", "-O", "raw", "top.qcow2", "have.raw")
    expect(suite.read("want.raw") == suite.read("have.raw"), "the chain reads wrong")
    chain = json.loads(suite.image("info", "--backing-chain", "--output=json", "top.qcow2"))
    expect([i["format"] for i in chain] == ["qcow2", "qcow2", "raw"], f"chain {chain}")

    suite.image("rebase", "-b", "base.raw", "-F", "raw", "top.qcow2")
    suite.qemu_img("check", "top.qcow2")
    suite.qemu_img("compare", "-F", "raw", "top.qcow2", "want.raw")
    suite.image("commit", "top.qcow2")
    suite.qemu_img("check", "top.qcow2")
    suite.qemu_img("compare", "-F", "raw", "top.qcow2", "want.raw")
    expect(suite.read("base.raw") == suite.read("want.raw"), "not committed")
    suite.image("rebase", "-b", "", "top.qcow2")
    suite.qemu_img("compare", "-F", "raw", "top.qcow2", "want.raw")
    expect("backing-filename" not in json.loads(suite.qemu_img("info", "--output=json",
                                                               "top.qcow2")), "still based")


def random_commits(suite):
    """Images of all sizes of clusters on others, written to by qemu-io, and committed by us."""
    qemu_io = shutil.which("qemu-io")
    expect(qemu_io, "no qemu-io beside qemu-img")
    suite.raw("base.raw", seed=6)
    suite.image("convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=8K", "base.raw", "base.qcow2")
    for number in range(8):
        base = suite.random.choice(("base.raw", "base.qcow2"))
        options = suite.random.choice(("cluster_size=512", "cluster_size=64K", "cluster_size=2M",
                                       "extended_l2=on", "lazy_refcounts=on"))
        suite.image("create", "-q", "-f", "qcow2", "-o", options, "-b", base, "-F", base.split(".")[1], "top")
        commands = []
        for _ in range(12):
            start, length = (suite.random.randrange(1, limit) * 512 for limit in (7000, 1000))
            what = suite.random.choice((f"write -P {number + 1}", "write -z", "write -z -u"))
            commands += ["-c", f"{what} {start} {length}"]
        subprocess.run([qemu_io, "-f", "qcow2", *commands, "top"], check=True, capture_output=True,
                       timeout=LIMIT, cwd=suite.work)
        suite.qemu_img("convert", "-O", "raw", "top", "want.raw")
        suite.image("commit", "-q", "top")
        suite.qemu_img("check", "top")
        for name, form in ((base, base.split(".")[1]), ("top", "qcow2")):
            suite.qemu_img("compare", "-f", form, "-F", "raw", name, "want.raw")
        if base != "base.raw":
            suite.qemu_img("check", base)


def snapshots(suite):
    """Ours and qemu-img's on one image."""
    suite.raw("a.raw", seed=1)
    suite.raw("b.raw", seed=2)
    suite.image("convert", "-f", "raw", "-O", "qcow2", "a.raw", "a.qcow2")
    suite.image("snapshot", "-c", "ours", "a.qcow2")
    suite.qemu_img("check", "a.qcow2")
    suite.image("convert", "-n", "-f", "raw", "-O", "qcow2", "b.raw", "a.qcow2")
    suite.qemu_img("snapshot", "-c", "theirs", "a.qcow2")
    suite.image("check", "a.qcow2")
    for tool, convert in ((suite.image, "ours"), (suite.qemu_img, "theirs")):
        for name, want in (("ours", "a.raw"), ("theirs", "b.raw")):
            tool("convert", "-l", f"snapshot.name={name}", "-O", "raw", "a.qcow2", "out.raw")
            expect(suite.read("out.raw") == suite.read(want), f"{name} read by {convert}")
    names = [s["name"] for s in json.loads(suite.image("info", "--output=json",
                                                       "a.qcow2"))["snapshots"]]
    expect(names == ["ours", "theirs"], f"snapshots {names}")
    expect("theirs" in suite.image("snapshot", "-l", "a.qcow2"), "not listed")
    suite.image("snapshot", "-a", "ours", "a.qcow2")
    suite.qemu_img("compare", "-F", "raw", "a.qcow2", "a.raw")
    suite.qemu_img("check", "a.qcow2")
    suite.image("snapshot", "-d", "theirs", "a.qcow2")
    suite.qemu_img("snapshot", "-d", "ours", "a.qcow2")
    suite.qemu_img("check", "a.qcow2")
    suite.image("check", "a.qcow2")


def data_file(suite):
    suite.raw("a.raw")
    suite.qemu_img("convert", "-f", "raw", "-O", "qcow2", "-o", "data_file=data,data_file_raw=on",
                   "a.raw", "a.qcow2")
    suite.image("compare", "-F", "raw", "a.qcow2", "a.raw")
    suite.image("convert", "-f", "raw", "-O", "qcow2", "-o", "data_file=own,data_file_raw=on",
                "a.raw", "b.qcow2")
    suite.qemu_img("check", "b.qcow2")
    suite.qemu_img("compare", "-F", "raw", "b.qcow2", "a.raw")
    expect(suite.read("own") == suite.read("a.raw"), "the data file is not raw")


def repairs(suite):
    """A leak and a count too low, found and repaired as qemu-img does."""
    suite.raw("a.raw")
    suite.image("convert", "-f", "raw", "-O", "qcow2", "a.raw", "a.qcow2")
    blocks = 2 * 65536
    with open(suite.path("a.qcow2"), "r+b") as file:
        file.seek(blocks + 2 * 6)
        file.write(b"\0\0")
        file.seek(blocks + 2 * 200)
        file.write(b"\0\1")
        file.truncate(201 * 65536)
    suite.image("check", "a.qcow2", status=2)
    suite.image("check", "-r", "leaks", "a.qcow2", status=2)
    suite.image("check", "-r", "all", "a.qcow2")
    suite.qemu_img("check", "a.qcow2")
    with open(suite.path("a.qcow2"), "r+b") as file:
        file.seek(65536)
        file.write(bytes(8))
    suite.image("check", "a.qcow2", status=2)
    suite.image("check", "-r", "all", "a.qcow2")
    suite.qemu_img("check", "a.qcow2")
    suite.qemu_img("compare", "-F", "raw", "a.qcow2", "a.raw")


def dirty(suite):
    """An image that was not closed, with lazy refcounts: all of them are gone."""
    suite.raw("a.raw")
    suite.qemu_img("convert", "-f", "raw", "-O", "qcow2", "-o", "lazy_refcounts=on", "a.raw",
                   "a.qcow2")
    with open(suite.path("a.qcow2"), "r+b") as file:
        file.seek(79)
        file.write(b"\1")
        file.seek(2 * 65536 + 2 * 5)
        file.write(bytes(40))
    suite.image("resize", "a.qcow2", "5M")
    suite.qemu_img("check", "a.qcow2")
    suite.image("resize", "--shrink", "a.qcow2", "4M")
    suite.qemu_img("compare", "-F", "raw", "a.qcow2", "a.raw")


def without_qemu(suite):
    """What can be said without a second opinion."""
    suite.raw("a.raw")
    suite.image("convert", "-f", "raw", "-O", "qcow2", "a.raw", "a.qcow2")
    suite.image("convert", "-f", "qcow2", "-O", "raw", "a.qcow2", "b.raw")
    expect(suite.read("a.raw") == suite.read("b.raw"), "the contents differ")
    expect(os.stat(suite.path("b.raw")).st_blocks <= os.stat(suite.path("a.raw")).st_blocks + 64,
           "the copy has fewer holes")
    suite.image("check", "a.qcow2")
    with open(suite.path("b.raw"), "r+b") as file:
        file.seek(3 * MIB + 5)
        file.write(b"other")
    expect("offset 3145728" in suite.image("compare", "-f", "qcow2", "-F", "raw", "a.qcow2",
                                           "b.raw", status=1), "the wrong place")


def mistakes(suite):
    for entry in os.listdir(suite.work):
        os.unlink(suite.path(entry))
    suite.raw("a.raw")
    suite.image("create", "-q", "-f", "qcow2", "a.qcow2", "1M")
    for name, args, status, words in (
            ("no subcommand", [], 2, "anykvm help image"),
            ("unknown subcommand", ["fly"], 2, "'fly'"),
            ("unknown format", ["create", "-f", "vmdk", "x", "1M"], 2, "'vmdk'"),
            ("no size", ["create", "-f", "qcow2", "x"], 2, "size"),
            ("a size that is none", ["create", "x", "much"], 2, "'much'"),
            ("a negative size", ["create", "x", "--", "-1G"], 2, "'-1G'"),
            ("a size beyond all", ["create", "-f", "qcow2", "x", "7E"], 1, "cluster_size"),
            ("a cluster size that is none", ["create", "-f", "qcow2", "-o", "cluster_size=3K", "x",
                                             "1M"], 2, "cluster_size"),
            ("an unknown option", ["create", "-f", "qcow2", "-o", "fly=1", "x", "1M"], 2, "'fly'"),
            ("a backing file without format", ["create", "-f", "qcow2", "-b", "a.raw", "x"], 2,
             "-F"),
            ("a backing file that is not there", ["create", "-f", "qcow2", "-b", "b", "-F", "raw",
                                                  "x"], 1, "No such file"),
            ("a file that is not there", ["info", "missing"], 1, "missing"),
            ("a directory", ["info", "."], 1, "neither a regular file"),
            ("not qcow2", ["info", "-f", "qcow2", "a.raw"], 1, "no qcow2 image"),
            ("nothing to check", ["check", "a.raw"], 63, "raw"),
            ("a repair that is none", ["check", "-r", "some", "a.qcow2"], 2, "'some'"),
            ("shrinking by mistake", ["resize", "a.qcow2", "512K"], 1, "--shrink"),
            ("no such snapshot", ["snapshot", "-a", "x", "a.qcow2"], 1, "'x'"),
            ("a snapshot of raw", ["snapshot", "-c", "x", "a.raw"], 1, "convert it to qcow2"),
            ("nothing to commit to", ["commit", "a.qcow2"], 1, "not based"),
            ("threads that are none", ["convert", "-m", "many", "a.raw", "b"], 2, "'many'"),
            ("too many threads", ["convert", "-m", "17", "a.raw", "b"], 2, "1 to 16"),
            ("raw, compressed", ["convert", "-c", "a.raw", "b"], 2, "-O qcow2"),
            ("a data file, compressed", ["convert", "-c", "-O", "qcow2", "-o", "data_file=d", "a.raw", "b"], 1,
             "data is in a file of its own"),
            ("on itself", ["convert", "a.raw", "a.raw"], 2, "both source and target"),
            ("unknown output", ["info", "--output=xml", "a.raw"], 2, "'xml'"),
            ("unknown letter", ["info", "-z", "a.raw"], 2, "-z")):
        suite.complains(name, args, status, words)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--anykvm", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        suite = Suite(os.path.realpath(args.anykvm), work)
        for name, options in VARIANTS:
            suite.case(f"reads qemu-img's: {name}", reads, options, False)
            suite.case(f"reads qemu-img's, compressed: {name}", reads, options, True)
            suite.case(f"qemu-img reads ours: {name}", writes, options)
            suite.case(f"qemu-img reads ours, compressed: {name}", packs, options)
        suite.case("compressed, before a backing file", packs_own)
        suite.case("by many threads", parallel, qemu=False)
        suite.case("map", maps)
        suite.case("chains, rebase, commit", chains)
        suite.case("random commits", random_commits)
        suite.case("snapshots", snapshots)
        suite.case("data file", data_file)
        suite.case("check and repair", repairs)
        suite.case("the dirty bit", dirty)
        suite.case("without qemu-img", without_qemu, qemu=False)
        mistakes(suite)
        return suite.tap.finish()


if __name__ == "__main__":
    sys.exit(main())
