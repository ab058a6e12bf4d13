#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Virtio disks, random numbers, console and network with Linux's drivers.

`anykvm run` boots Debian's cloud kernel with three disks: an ext4 file system, whose image is
looked at after all machines are off; an ephemeral file; a read-only file. Once with one CPU and the
serial console, once with two and hvc0. TAP on standard output.

With --accel soft that happens here; with --accel kvm it happens, as in nested.py, inside a machine
whose processor is QEMU's TCG with SVM, over Linux's real KVM, and the file system is on a disk of
that machine, which is a block device there.
"""

import argparse
import glob
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

import nested

# In the order in which they are to be loaded.
MODULES = ("drivers/virtio/virtio_ring", "drivers/virtio/virtio",
           "drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci_modern_dev",
           "drivers/virtio/virtio_pci", "drivers/block/virtio_blk",
           "drivers/char/hw_random/virtio-rng", "drivers/char/virtio_console",
           "net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net")

INNER_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for m in {modules}; do insmod /modules/$m.ko || echo "@@insmod $m failed"; done
grep -q hvc0 /proc/cmdline && exec </dev/hvc0 >/dev/hvc0 2>&1 && stty -echo
boot=$(sed 's/.*boot=//;s/ .*//' /proc/cmdline)
say() {{ echo "@@inner $*"; }}
say cpus $(nproc)
for d in vda vdb vdc; do
	say $d size=$(cat /sys/block/$d/size) ro=$(cat /sys/block/$d/ro) \
		queues=$(ls /sys/block/$d/mq | wc -l) serial=$(cat /sys/block/$d/serial) \
		physical=$(cat /sys/block/$d/queue/physical_block_size) \
		cache=$(cat /sys/block/$d/queue/write_cache | tr -d ' ')
done
mkdir /mnt
mount -t ext4 -o discard /dev/vda /mnt && say mounted
# Every boot goes through a reset once: disks and drivers must come back from it.
if [ ! -e /mnt/reset$boot ]; then
	touch /mnt/reset$boot
	umount /mnt
	say reset
	reboot -f
fi
[ $boot = 2 ] && say before $(cat /mnt/hello1)
echo "written by boot $boot" >/mnt/hello$boot
dd if=/dev/urandom of=/mnt/big$boot bs=64k count=64 2>/dev/null
sync
echo 3 >/proc/sys/vm/drop_caches
say big $(sha256sum </mnt/big$boot)
[ $boot = 2 ] && rm /mnt/big1 && fstrim /mnt && say trimmed
umount /mnt && say unmounted
# The whole of a disk at once, and twice, past the page cache.
dd if=/dev/vdb of=/first bs=1M 2>/dev/null
dd if=/dev/urandom of=/random bs=4k count=1000 2>/dev/null
dd if=/random of=/dev/vdb bs=4k oflag=direct 2>/dev/null && say ephemeral written
dd if=/dev/vdb of=/second bs=4k count=1000 iflag=direct 2>/dev/null
cmp /random /second && say ephemeral same
say ephemeral before $(sha256sum </first)
dd if=/random of=/dev/vdc bs=4k count=1 2>/dev/null || say readonly refused
say readonly $(sha256sum </dev/vdc)
if [ -e /sys/class/net/eth0 ]; then
	port=$(sed 's/.*port=//;s/ .*//' /proc/cmdline)
	ip addr add 10.0.2.15/24 dev eth0 && ip link set eth0 up
	say network $(wget -q -O - http://10.0.2.2:$port/data | sha256sum)
fi
say random $(cat /sys/class/misc/hw_random/rng_current) $(dd if=/dev/hwrng bs=512 count=8 2>/dev/null | tee /r | wc -c) $(sort -u /r | wc -c)
say interrupts $(grep -c 'PCI-MSI.*virtio' /proc/interrupts)
if [ $boot = 2 ]; then
	say window $(stty size)
	say ready for a line
	read line
	say line "$line"
	# More than a queue of buffers, in both directions of the backend's patience.
	i=0; while [ $i -lt 300 ]; do echo "flood $i 0123456789012345678901234567890123456789"; i=$((i+1)); done
fi
say done
poweroff -f
"""

# Runs both boots; the same text is the outer machine's and this one's. {vda} and the like are the
# disks, {anykvm} the command, {files} where kernel and initrd are.
BOTH_BOOTS = """
dd if=/dev/urandom of={files}/ephemeral bs=1024 count=4001 2>/dev/null
dd if=/dev/urandom of={files}/readonly bs=1000 count=100 2>/dev/null
echo "@@outer ephemeral $(sha256sum <{files}/ephemeral)"
# A size that is no multiple of 512 is rounded up, with zeroes.
cp {files}/readonly {files}/padded
truncate -s 100352 {files}/padded
echo "@@outer readonly $(sha256sum <{files}/padded)"
# A server, which guests reach by user networking.
mkdir {files}/www
dd if=/dev/urandom of={files}/www/data bs=1024 count=3001 2>/dev/null
echo "@@outer network $(sha256sum <{files}/www/data)"
{busybox} httpd -f -p 127.0.0.1:{port} -h {files}/www &
server=$!
run() {{
	echo "@@boot $1"
	timeout {timeout} {anykvm} run --accel {accel} --kernel {files}/vmlinuz \
		--initrd {files}/inner --memory 192M --cpus $1 --disk {vda} \
		--disk {files}/ephemeral,ephemeral --disk {files}/readonly,readonly {net} \
		--cmdline "$2 quiet panic=-1 port={port} boot=$1"
	echo "@@boot $1 status $?"
}}
run 1 console=ttyS0 </dev/null
# What comes while the guest's driver is being set up is dropped by it: so again and again.
mkfifo {files}/typed
(while sleep 1; do echo "a line for hvc0"; done) >{files}/typed &
run 2 console=hvc0 <{files}/typed
kill $! $server
echo "@@outer after $(sha256sum <{files}/ephemeral)"
"""

OUTER_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for m in irqbypass kvm kvm-amd {modules}; do insmod /modules/$m.ko || echo "@@insmod $m failed"; done
mkdir -p /var/tmp
ip link set lo up
{boots}
sync
poweroff -f
"""


def net_option(args):
    """User networking, where this build has it."""
    out = subprocess.run(["ldd", args.anykvm], capture_output=True, text=True, check=False).stdout
    return "--net user" if "libslirp" in out else ""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def add_modules(cpio, tree):
    for m in MODULES:
        cpio.copy(f"modules/{os.path.basename(m)}.ko", f"{tree}/{m}.ko")


def module_names():
    return " ".join(os.path.basename(m) for m in MODULES)


def inner_initrd(args, tree):
    inner = nested.base_initrd(args.busybox, INNER_INIT.format(modules=module_names()))
    add_modules(inner, tree)
    return inner.finish()


def outer_initrd(args, tree, vmlinuz):
    boots = BOTH_BOOTS.format(accel="kvm", anykvm="/anykvm", files="", vda="/dev/vda",
                              timeout=args.boot_timeout, net=net_option(args), port=8080,
                              busybox="/bin/busybox")
    outer = nested.base_initrd(args.busybox,
                               OUTER_INIT.format(modules=module_names(), boots=boots))
    add_modules(outer, tree)
    for m in nested.MODULES:
        outer.copy("modules/" + os.path.basename(m), os.path.join(tree, m))
    nested.add_program(outer, "anykvm", args.anykvm)
    outer.copy("vmlinuz", vmlinuz)
    outer.file("inner", inner_initrd(args, tree))
    return outer.finish()


def command_here(args, work, tree, vmlinuz, image):
    """Both boots on this machine."""
    with open(os.path.join(work, "inner"), "wb") as f:
        f.write(inner_initrd(args, tree))
    os.symlink(vmlinuz, os.path.join(work, "vmlinuz"))
    return ["sh", "-c", BOTH_BOOTS.format(accel=args.accel, anykvm=args.anykvm, files=work,
                                          vda=image, timeout=args.boot_timeout,
                                          net=net_option(args), port=free_port(),
                                          busybox=args.busybox)]


def command_nested(args, work, tree, vmlinuz, image):
    """Both boots inside a machine of QEMU's."""
    initrd = os.path.join(work, "initrd")
    with open(initrd, "wb") as f:
        f.write(outer_initrd(args, tree, vmlinuz))
    return [args.qemu, "-accel", "tcg", "-cpu", "EPYC", "-smp", "1", "-m", "1024",
            "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
            "-drive", f"file={image},format=raw,if=virtio,discard=unmap",
            "-kernel", vmlinuz, "-initrd", initrd,
            "-append", "console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check"]


def debugfs(image, command):
    return subprocess.run(["debugfs", "-R", command, image], capture_output=True,
                          check=False).stdout


def judge(args, tally, seen, image):
    """What the inner machines said, by boot, against what it should be."""

    def check(boot, name, expected):
        got = seen.get((boot, name))
        good = got is not None and re.fullmatch(expected, got) is not None
        tally.line(good, f"boot {boot}: {name}", why=f"got {got!r}, not {expected!r}")

    for boot in ("1", "2"):
        check(boot, "status", "0")
        check(boot, "cpus", boot)
        # A block device says what its own blocks are; a file's are the page cache's.
        physical = 512 if args.accel == "kvm" else 4096
        check(boot, "vda", f"size=131072 ro=0 queues={boot} serial=disk0 physical={physical} "
                           "cache=writeback")
        check(boot, "vdb", f"size=8002 ro=0 queues={boot} serial=disk1 physical=4096 "
                           "cache=writeback")
        check(boot, "vdc", f"size=196 ro=1 queues={boot} serial=disk2 physical=4096 "
                           "cache=writeback")
        check(boot, "mounted", "")
        check(boot, "reset", "")
        check(boot, "unmounted", "")
        check(boot, "ephemeral written", "")
        check(boot, "ephemeral same", "")
        check(boot, "ephemeral before", seen.get(("", "ephemeral"), "?"))
        check(boot, "readonly refused", "")
        check(boot, "readonly", seen.get(("", "readonly"), "?"))
        check(boot, "random", r"virtio_rng\.0 4096 (?!0$|1$)\d+")
        check(boot, "interrupts", r"\d\d?")
        if net_option(args):
            check(boot, "network", seen.get(("", "network"), "?"))
        check(boot, "done", "")
    check("2", "before", "written by boot 1")
    check("2", "trimmed", "")
    check("2", "line", "a line for hvc0")
    check("2", "flood", "300")
    tally.line(seen.get(("", "after")) == seen.get(("", "ephemeral"), "?"),
               "the ephemeral disk's file is untouched")

    fsck = subprocess.run(["e2fsck", "-fn", image], capture_output=True, text=True, check=False)
    tally.line(fsck.returncode == 0, "the file system is clean on the host", why=fsck.stdout)
    for boot in ("1", "2"):
        text = debugfs(image, f"cat /hello{boot}")
        tally.line(text == f"written by boot {boot}\n".encode(),
                   f"boot {boot}'s file is on the host's image", why=repr(text))
    digest = hashlib.sha256(debugfs(image, "cat /big2")).hexdigest()
    tally.line(digest in seen.get(("2", "big"), "?"),
               "4 MiB are on the host's image as the guest wrote them")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--anykvm", required=True, help="the anykvm command")
    parser.add_argument("--accel", choices=("kvm", "soft"), default="kvm")
    parser.add_argument("--qemu", default="qemu-system-x86_64")
    parser.add_argument("--busybox", default=shutil.which("busybox") or "/bin/busybox")
    parser.add_argument("--timeout", type=int, default=900, help="seconds for everything")
    parser.add_argument("--boot-timeout", type=int, default=300, help="seconds for each boot")
    parser.add_argument("--verbose", action="store_true", help="show the console as it comes")
    args = parser.parse_args()

    needed = [args.busybox, "mkfs.ext4", "debugfs"]
    for program in needed + ([args.qemu] if args.accel == "kvm" else []):
        if not shutil.which(program):
            nested.skip_all(f"no {program}; apt-get install qemu-system-x86 busybox-static "
                            "e2fsprogs")
    kernel_dir = nested.cloud_kernel()
    if not kernel_dir:
        nested.skip_all("no package linux-image-cloud-amd64, and it cannot be downloaded")
    vmlinuz = glob.glob(kernel_dir + "/boot/vmlinuz-*")[0]
    tree = glob.glob(kernel_dir + "/lib/modules/*/kernel")[0]
    prepare = command_nested if args.accel == "kvm" else command_here

    tally = nested.Tally()
    seen = {}
    console = []
    boot = ""
    with tempfile.TemporaryDirectory() as work:
        image = os.path.join(work, "image")
        with open(image, "wb") as f:
            f.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        command = prepare(args, work, tree, vmlinuz, image)
        for line in nested.run_qemu(command, args.timeout):
            if line is None:
                tally.line(False, "the machine ends in time", why=f"{args.timeout} s are over")
                break
            console.append(line)
            if args.verbose:
                print("| " + line, file=sys.stderr, flush=True)
            if match := re.match(r"@@outer (\S+) (\S+)", line):
                seen["", match[1]] = match[2] + " -"
            elif match := re.match(r"@@boot (\d+) status (\d+)", line):
                seen[boot, "status"] = match[2]
            elif match := re.match(r"@@boot (\d+)$", line):
                boot = match[1]
            elif match := re.search(r"@@inner ((?:ephemeral|readonly) (?:written|same|before|"
                                    r"refused)|\S+) ?(.*)", line):
                seen[boot, match[1]] = match[2]
            elif match := re.search(r"flood (\d+) (?:0123456789){4}$", line):
                seen[boot, "flood"] = str(int(match[1]) + 1)
        judge(args, tally, seen, image)
    nested.say(f"1..{tally.number}")
    nested.say(f"# {tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    if tally.failed:
        sys.stderr.write("".join(f"| {l}\n" for l in console[-60:]))
    sys.exit(tally.failed != 0)


if __name__ == "__main__":
    main()
