#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Booting disk images by the kernel on them: disk_boot.py --anykvm PROGRAM.

Images of several layouts, and images that are damaged. A guest that got to its command line has been
given the right kernel and the right root. TAP on standard output.
"""

import argparse
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from suite import BOOT_LIMIT, FAILED, LIMIT, USAGE, Suite, kernel_image  # noqa: E402

MIB = 1 << 20
UUID = "12345678-9abc-def0-1234-56789abcdef0"
SEED = 20
DAMAGED = 60


class Images(Suite):
    def __init__(self, anykvm, work, kernel):
        super().__init__(anykvm, work)
        self.kernel = kernel
        self.run_dir = os.path.join(work, "run")
        os.mkdir(self.run_dir, 0o700)
        os.environ["XDG_RUNTIME_DIR"] = self.run_dir
        os.environ["XDG_DATA_HOME"] = self.run_dir      # the disks of a user's machines are not ours

    def tree(self, name, files):
        """A directory of files: a path and its content, or a link's target after '@'."""
        top = os.path.join(self.work, name)
        os.mkdir(top)
        for path, content in files.items():
            path = os.path.join(top, path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if content is None:
                os.makedirs(path, exist_ok=True)
            elif isinstance(content, str) and content.startswith("@"):
                os.symlink(content[1:], path)
            elif isinstance(content, str):
                os.link(content, path)
            else:
                with open(path, "wb") as file:
                    file.write(content)
        return top

    def filesystem(self, name, tree, size=64 * MIB, uuid=UUID, kind="ext4"):
        path = os.path.join(self.work, name)
        with open(path, "wb") as file:
            file.truncate(size)
        subprocess.run(["mke2fs", "-q", "-t", kind, "-U", uuid, "-d", tree, path], check=True)
        with open(path, "rb") as file:
            return path, file.read()

    def boots(self, name, image, expected, *options):
        """The guest gets so far as to tell its command line, which has to match."""
        self.run("run", image, "--accel", "soft", "--memory", "256M", "--name", "a", "--detach",
                 "--net", "none", "--ephemeral", *options)
        deadline = time.monotonic() + BOOT_LIMIT
        found = None
        while not found and time.monotonic() < deadline:
            log = self.run("logs", "a").stdout
            found = re.search(r"Kernel command line: (.*)", log)
            time.sleep(0.2)
        self.tap.result(found and re.fullmatch(expected, found.group(1).strip()), name,
                        [f"found: {found and found.group(1)}", f"expected: {expected}"])
        self.run("kill", "a")
        self.run("rm", "a")


def mbr(partitions):
    """A disk with an MBR of the file systems, from 1 MiB on."""
    table, disk, at = b"", b"", 1
    for content in partitions:
        table += struct.pack("<BBBBBBBBII", 0, 0, 0, 0, 0x83, 0, 0, 0, at * 2048,
                             len(content) // 512)
        disk += content
        at += len(content) // MIB
    return bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa" + bytes(MIB - 512) + disk


def gpt(partitions):
    """The same with a GPT, whose checksums nobody here looks at."""
    entries, disk, at = b"", b"", 1
    for content in partitions:
        last = at * 2048 + len(content) // 512 - 1
        entries += (b"\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4" +
                    bytes(16) + struct.pack("<QQQ", at * 2048, last, 0)).ljust(128, b"\0")
        disk += content
        at += len(content) // MIB
    header = b"EFI PART" + struct.pack("<IIIIQQQQ", 0x10000, 92, 0, 0, 1, 0, 34, 0) + bytes(16)
    header += struct.pack("<QII", 2, 128, 128)
    protective = bytes(446) + struct.pack("<BBBBBBBBII", 0, 0, 0, 0, 0xee, 0, 0, 0, 1,
                                          0xffffffff).ljust(64, b"\0") + b"\x55\xaa"
    return (protective + header.ljust(512, b"\0") + entries.ljust(16384, b"\0")).ljust(MIB, b"\0") + disk


def layouts(images):
    empty = images.path("initrd", b"")
    subprocess.run([os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..",
                                 "scripts", "mkcpio"), empty, "dev/"], check=True)
    root = {"etc": None, "usr": None}
    kernels = {"boot/vmlinuz-6.1.0-9": b"not this one", "boot/vmlinuz-6.1.0-10": images.kernel,
               "boot/vmlinuz-6.1.0-11.dpkg-tmp": b"nor this", "boot/vmlinuz-0-rescue-x": b"nor this",
               "boot/initrd.img-6.1.0-9": b"x", "boot/initrd.img-6.1.0-10": empty}
    whole, content = images.filesystem("whole.img", images.tree("t1", {**root, **kernels}))
    images.boots("a file system on the whole disk, the newest of its kernels", whole,
                 f"root=UUID={UUID} ro console=ttyS0")
    qcow2 = os.path.join(images.work, "whole.qcow2")
    images.run("image", "convert", "-O", "qcow2", whole, qcow2)
    images.boots("the same as qcow2, with a command line of its own", qcow2,
                 f"root=UUID={UUID} ro console=ttyS0 quiet loglevel=7", "--cmdline",
                 "console=ttyS0 quiet loglevel=7")
    images.boots("the same with a root of its own", qcow2, "console=ttyS0 root=/dev/vdz",
                 "--cmdline", "console=ttyS0 root=/dev/vdz")
    disk = images.path("mbr.img", mbr([bytes(MIB), content]))
    images.boots("the second partition of an MBR", disk, f"root=UUID={UUID} ro console=ttyS0")
    _, boot = images.filesystem("boot", images.tree("t2", {
        path[5:]: content for path, content in kernels.items()}), kind="ext2",
        uuid="00000000-0000-0000-0000-000000000001")
    _, rest = images.filesystem("rest", images.tree("t3", root), size=8 * MIB)
    disk = images.path("gpt.img", gpt([bytes(MIB), boot, rest]))
    images.boots("a GPT with a partition for /boot", disk, f"root=UUID={UUID} ro console=ttyS0")
    _, content = images.filesystem("linked", images.tree("t4", {
        **root, "boot/vmlinuz": "@../usr/lib/kernel", "usr/lib/kernel": images.kernel}))
    disk = images.path("link.img", mbr([content]))
    images.boots("a link to a kernel, without an initial RAM disk", disk,
                 "root=/dev/vda1 ro console=ttyS0")


def refused(images):
    absent = os.path.join(images.work, "absent.qcow2")
    images.complains("an image that is not there", ["run", absent], USAGE,
                     "is neither a file.*debian-12")
    empty = images.path("empty.img", bytes(MIB))
    images.complains("a disk with nothing on it", ["run", empty, "--ephemeral"], FAILED,
                     "has no ext4 file system with a kernel.*give --kernel FILE")
    path, _ = images.filesystem("rootless.img", images.tree("t5", {"vmlinuz": images.kernel}))
    images.complains("a kernel without a root", ["run", path, "--ephemeral"], FAILED,
                     "has no ext4 file system with a root.*--cmdline")
    path, _ = images.filesystem("loop.img", images.tree("t6", {
        "etc": None, "usr": None, "boot/vmlinuz": "@vmlinuz-1", "boot/vmlinuz-1": "@vmlinuz"}))
    images.complains("a kernel that is a link to itself", ["run", path, "--ephemeral"], FAILED,
                     "has no ext4 file system with a kernel")
    path, _ = images.filesystem("text.img", images.tree("t7", {
        "etc": None, "usr": None, "boot/vmlinuz-1": b"text" * 1000}))
    images.complains("a kernel that is none", ["run", path, "--ephemeral"], FAILED, "kernel")


def damaged(images):
    """Whatever is on the disk, one line says that it cannot be booted."""
    generator = random.Random(SEED)
    _, content = images.filesystem("damage", images.tree("t8", {
        "etc": None, "usr": None, "boot/vmlinuz-1": b"text" * 100000,
        "boot/initrd.img-1": b"text" * 100000}), size=4 * MIB)
    good = gpt([bytes(MIB), content])
    bad = []
    for number in range(DAMAGED):
        image = bytearray(good)
        # The tables of the disk, of the file system, or its directories and inodes.
        start, length = generator.choice(((446, 2048), (2 * MIB + 1024, 1024), (2 * MIB, 256 << 10),
                                          (2 * MIB, 4 * MIB)))
        for _ in range(generator.choice((1, 10, 1000))):
            image[start + generator.randrange(length)] = generator.choice(
                (0, 1, 0x7f, 0x80, 0xff, generator.randrange(256)))
        path = images.path("damaged.img", bytes(image))
        try:
            result = images.run("run", path, "--accel", "soft", "--ephemeral", limit=LIMIT)
        except subprocess.TimeoutExpired:
            bad.append(f"number {number} takes for ever")
            continue
        if result.returncode != FAILED or result.stderr.count("\n") != 1:
            bad.append(f"number {number}: {result}")
    images.tap.result(not bad, f"{DAMAGED} damaged disks, each told of in a line", bad)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anykvm", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anykvm-disks-") as work:
        kernel = kernel_image()
        if kernel:
            copy = os.path.join(work, "vmlinuz")
            with open(kernel, "rb") as old, open(copy, "wb") as new:
                new.write(old.read())
            kernel = copy
        images = Images(os.path.realpath(args.anykvm), os.path.realpath(work), kernel)
        disk = images.path("x.img", bytes(MIB))
        if "built without libext2fs" in images.run("run", disk).stderr or not kernel:
            images.tap.skip("booting of disk images", "no libext2fs in this build, or no kernel")
            return images.tap.finish()
        refused(images)
        damaged(images)
        layouts(images)
        return images.tap.finish()


if __name__ == "__main__":
    sys.exit(main())
