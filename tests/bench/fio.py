#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""fio in a guest: fio.py --anykvm PROGRAM [--rounds N] [--seconds N] [--formats raw,qcow2]

The same kernel, initial RAM disk, fio and disk under anykvm's translator and QEMU's TCG: a raw and a qcow2
disk whose contents the host has in its page cache, past the guest's, in turn for some rounds. The best
rate of each counts. Needs Debian's fio, e2fsprogs, and QEMU.
"""

import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
LIMIT = 600

# What is measured, and in which unit.
JOBS = {
    "4k random read, depth 1": ("randread", "4k", 1, "IOPS"),
    "4k random read, depth 32": ("randread", "4k", 32, "IOPS"),
    "4k random write, depth 1": ("randwrite", "4k", 1, "IOPS"),
    "4k random write, depth 32": ("randwrite", "4k", 32, "IOPS"),
    "1M sequential read": ("read", "1M", 1, "MB/s"),
    "1M sequential write": ("write", "1M", 1, "MB/s"),
}
# Of fio's terse output, version 3: KiB/s and IOPS of reads, and of writes.
FIELDS = {"IOPS": {"r": 7, "w": 48}, "MB/s": {"r": 6, "w": 47}}
MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk")


def script(name, *args):
    return subprocess.run([os.path.join(TOP, "scripts", name), *args], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.strip()


class Files:
    """What both boot."""

    def __init__(self, args, work):
        kernel = script("fetch-package", "linux-image-cloud-amd64")
        busybox = script("fetch-package", "busybox-static")
        self.work = work
        self.kernel = glob.glob(kernel + "/boot/vmlinuz-*")[0]
        self.initrd = os.path.join(work, "initrd.img")
        self.tools = os.path.join(work, "tools.img")
        jobs, order = os.path.join(work, "jobs"), os.path.join(work, "order")
        with open(jobs, "w", encoding="ascii") as file:
            for number, (kind, size, depth, _) in enumerate(JOBS.values()):
                file.write(f"{number} --filename=/dev/vdb --direct=1 --ioengine=libaio --thread --rw={kind} "
                           f"--bs={size} --iodepth={depth} --norandommap --time_based --ramp_time=1 "
                           f"--runtime={args.seconds} --minimal --terse-version=3\n")
        entries = ["dev/", "mnt/", "bin/sh@busybox", f"bin/busybox={busybox}/bin/busybox",
                   f"init={HERE}/fio-init", f"jobs={jobs}"]
        with open(order, "w", encoding="ascii") as file:
            for module in MODULES:
                for path in glob.glob(f"{kernel}/lib/modules/*/kernel/drivers/virtio/{module}.ko") + \
                        glob.glob(f"{kernel}/lib/modules/*/kernel/drivers/block/{module}.ko"):
                    entries.append(f"modules/{module}.ko={path}")
                    file.write(f"{module}.ko\n")
        script("mkcpio", self.initrd, *entries, f"modules/order={order}")
        self.make_tools()

    def make_tools(self):
        """A disk with fio and its libraries."""
        tree, program = os.path.join(self.work, "tree"), shutil.which("fio")
        found = subprocess.run(["ldd", program], check=True, stdout=subprocess.PIPE, text=True).stdout
        for directory in ("dev", "proc", "sys", "tmp", "usr/bin"):
            os.makedirs(os.path.join(tree, directory))
        shutil.copy(program, os.path.join(tree, "usr/bin/fio"))
        for library in re.findall(r"(/\S+) \(0x", found):
            os.makedirs(os.path.dirname(tree + library), exist_ok=True)
            shutil.copy(library, tree + library)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", tree, self.tools, "200M"],
                       check=True)

    def disk(self, args, form):
        """A disk all of which is there, and in the host's page cache."""
        raw, path = os.path.join(self.work, "disk.raw"), os.path.join(self.work, "disk." + form)
        with open(raw, "wb") as file:
            for _ in range(args.size):
                file.write(os.urandom(1 << 20))
        if form != "raw":
            subprocess.run([args.anykvm, "image", "convert", "-f", "raw", "-O", form, raw, path], check=True)
            os.unlink(raw)
        return path


def command(who, args, files, form, disk):
    if who == "anykvm":
        return [args.anykvm, "run", "--accel", "soft", "--cpu-engine", "jit", "--memory", "512M", "--cpus",
                str(args.cpus), "--kernel", files.kernel, "--initrd", files.initrd, "--cmdline",
                "console=ttyS0 quiet panic=-1", "--disk", f"{files.tools},format=raw,readonly", "--disk",
                f"{disk},format={form}", *args.option]
    drives = []
    for path, options in ((files.tools, "format=raw,readonly=on"), (disk, f"format={form}")):
        drives += ["-drive", f"file={path},{options},if=none,id=d{len(drives)}", "-device",
                   f"virtio-blk-pci,drive=d{len(drives)}"]
    return ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512", "-smp",
            str(args.cpus), "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-kernel",
            files.kernel, "-initrd", files.initrd, "-append", "console=ttyS0 quiet panic=-1", *drives]


def measure(argv):
    """Rates by the name of the job."""
    result = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=LIMIT)
    text = result.stdout.decode(errors="replace")
    lines = dict(re.findall(r"@@fio (\d+) (\S.*)", text))
    rates = {}
    for number, (name, (kind, _, _, unit)) in enumerate(JOBS.items()):
        fields = lines.get(str(number), "").split(";")
        try:
            rate = float(fields[FIELDS[unit]["w" if "write" in kind else "r"]])
        except (IndexError, ValueError):
            print(f"{name}: no result\n{text[-800:]}", file=sys.stderr)
            continue
        rates[name] = rate * 1024 / 1e6 if unit == "MB/s" else rate
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--anykvm", required=True)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--size", type=int, default=512, help="of the disk, in MiB")
    parser.add_argument("--formats", default="raw,qcow2")
    parser.add_argument("--only", choices=("anykvm", "qemu"))
    parser.add_argument("--option", action="append", default=[], help="one more for anykvm run")
    args = parser.parse_args()
    for program in ("fio", "mke2fs", "qemu-system-x86_64"):
        if not shutil.which(program):
            sys.exit(f"fio.py: this needs {program}: install fio, e2fsprogs and qemu-system-x86")

    best = {}
    who = [args.only] if args.only else ["anykvm", "qemu"]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as work:
        files = Files(args, work)
        for form in args.formats.split(","):
            disk = files.disk(args, form)
            for _ in range(args.rounds):
                for name in who:
                    for job, rate in measure(command(name, args, files, form, disk)).items():
                        best[form, job, name] = max(best.get((form, job, name), 0), rate)
            os.unlink(disk)
    print("| disk | requests | unit | " + " | ".join(who) + " | ratio |")
    print("|---|---|---|" + "---:|" * (len(who) + 1))
    for form in args.formats.split(","):
        for job, (*_, unit) in JOBS.items():
            rates = [best.get((form, job, name), 0) for name in who]
            ratio = f"{rates[0] / rates[1]:.1f}" if len(rates) == 2 and rates[1] else ""
            print(f"| {form} | {job} | {unit} | " + " | ".join(f"{rate:.0f}" for rate in rates) + f" | {ratio} |")


if __name__ == "__main__":
    main()
