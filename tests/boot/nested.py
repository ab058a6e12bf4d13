#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Linux's real KVM, end to end, on a machine that has none.

QEMU's TCG emulates a processor with SVM; on it boots Debian's cloud kernel with its own
kvm-amd, from an initrd made here. In there, guest-test runs the small guests over that KVM,
api-test holds the edges of its API against what is written down of them, and
`anykvm run --accel kvm` boots the same kernel again with 1 and 2 vCPUs. TAP on standard output:
one line for each test and each boot.
"""

import argparse
import ctypes
import glob
import mmap
import os
import re
import selectors
import shutil
import stat
import subprocess
import sys
import tempfile
import time

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "anykvm")
SKIP = 77
MODULES = ("virt/lib/irqbypass.ko", "arch/x86/kvm/kvm.ko", "arch/x86/kvm/kvm-amd.ko")


def say(text):
    print(text, flush=True)


def skip_all(why):
    say(f"1..0 # SKIP {why}")
    sys.exit(0)


def cloud_kernel():
    """The unpacked package behind linux-image-cloud-amd64, fetched where it is not cached."""
    base = os.path.join(CACHE, "kernels")

    def found():
        dirs = sorted(glob.glob(os.path.join(base, "linux-image-*-cloud-amd64")))
        return next((d for d in reversed(dirs) if glob.glob(d + "/boot/vmlinuz-*")), None)

    if found():
        return found()
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return None
    depends = subprocess.run(["apt-cache", "depends", "linux-image-cloud-amd64"],
                             capture_output=True, text=True, check=False).stdout
    match = re.search(r"Depends: (linux-image-\S+-cloud-amd64)", depends)
    if not match:
        return None
    os.makedirs(base, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base) as work:
        if subprocess.run(["apt-get", "-q", "download", match[1]], cwd=work, check=False,
                          stdout=sys.stderr).returncode:
            return None
        root = os.path.join(work, "root")
        debs = glob.glob(work + "/*.deb")
        if not debs or subprocess.run(["dpkg", "-x", debs[0], root], check=False).returncode:
            return None
        try:
            os.rename(root, os.path.join(base, match[1]))
        except OSError:
            pass    # somebody else was quicker
    return found()


class Cpio:
    """A newc archive in memory, as the kernel's initrd wants it."""

    def __init__(self):
        self.data = bytearray()
        self.inode = 0
        self.dirs = set()

    def _entry(self, name, mode, content=b"", rdev=(0, 0)):
        self.inode += 1
        raw = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(content), 0, 0, *rdev, len(raw), 0)
        self.data += b"070701" + b"".join(b"%08X" % f for f in fields) + raw
        self.data += bytes(-len(self.data) % 4) + content
        self.data += bytes(-len(self.data) % 4)

    def directory(self, path):
        parts = path.strip("/").split("/")
        for i in range(1, len(parts) + 1):
            name = "/".join(parts[:i])
            if name and name not in self.dirs:
                self.dirs.add(name)
                self._entry(name, stat.S_IFDIR | 0o755)

    def file(self, path, content, mode=0o644):
        self.directory(os.path.dirname(path))
        self._entry(path.strip("/"), stat.S_IFREG | mode, content)

    def copy(self, path, source, mode=0o755):
        with open(source, "rb") as f:
            self.file(path, f.read(), mode)

    def device(self, path, major, minor):
        self.directory(os.path.dirname(path))
        self._entry(path.strip("/"), stat.S_IFCHR | 0o600, rdev=(major, minor))

    def finish(self):
        self._entry("TRAILER!!!", 0)
        self.data += bytes(-len(self.data) % 512)
        return bytes(self.data)


def base_initrd(busybox, init):
    cpio = Cpio()
    for d in ("dev", "proc", "sys", "tmp", "run"):
        cpio.directory(d)
    cpio.device("dev/console", 5, 1)
    add_program(cpio, "bin/busybox", busybox)
    cpio.file("init", init.encode(), 0o755)
    return cpio


def add_program(cpio, path, program):
    """A program and, where it is dynamic, the libraries it asks for."""
    cpio.copy(path, program)
    out = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    for library in re.findall(r"(/\S+) \(0x", out):
        cpio.copy(library, library)


INNER_INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
echo "@@inner cpus=$(/bin/busybox nproc)"
/bin/busybox poweroff -f
"""

OUTER_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for m in irqbypass kvm; do insmod /modules/$m.ko || echo "@@insmod $m failed"; done
insmod /modules/kvm-amd.ko {kvm_amd} || echo "@@insmod kvm-amd failed"
{commands}
poweroff -f
"""


def tsc_khz():
    """The host's TSC frequency, which is the emulated machine's as well.

    The kernel in there measures it against the emulated PIT, and gets it wrong where the host is
    busy at that moment; so it is told. None where it cannot be found out.
    """
    try:
        code = mmap.mmap(-1, mmap.PAGESIZE,
                         prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None     # a host that forbids such memory
    code.write(bytes.fromhex("0f3148c1e2204809d0c3"))   # rdtsc; shl $32, %rdx; or %rdx, %rax; ret
    buffer = (ctypes.c_char * mmap.PAGESIZE).from_buffer(code)
    rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(buffer))

    def sample():
        """A TSC value and its time, from the reading that was disturbed the least."""
        readings = []
        for _ in range(200):
            before = time.monotonic_ns()
            tsc = rdtsc()
            after = time.monotonic_ns()
            readings.append((after - before, tsc, before))
        return min(readings)[1:]

    tsc0, ns0 = sample()
    time.sleep(0.3)
    tsc1, ns1 = sample()
    return (tsc1 - tsc0) * 1000000 // (ns1 - ns0)


def build_initrd(args, kernel_dir, vmlinuz):
    commands = ['[ -c /dev/kvm ] && echo "@@kvm yes" || echo "@@kvm no"']
    if args.guest_test:
        names = " ".join(args.only)
        commands.append(f"/guest-test --provider kvm --timeout {args.test_timeout} {names}")
        commands.append('echo "@@guest-test status $?"')
    if args.api_test:
        names = " ".join(args.only)
        commands.append(f"/api-test --provider kvm --strict --timeout {args.test_timeout} {names}")
        commands.append('echo "@@api-test status $?"')
    if args.anykvm:
        commands.append('echo "@@auto $(/anykvm doctor | tail -n 1)"')
        for cpus in args.cpus:
            commands.append(f'echo "@@boot {cpus}"')
            commands.append(
                f"timeout {args.boot_timeout} /anykvm run --accel kvm --kernel /vmlinuz"
                f" --initrd /inner --memory 256M --cpus {cpus}"
                " --cmdline 'console=ttyS0 quiet panic=-1' </dev/null")
            commands.append(f'echo "@@boot {cpus} status $?"')
    cpio = base_initrd(args.busybox, 
                        OUTER_INIT.format(commands="\n".join(commands), kvm_amd=args.kvm_amd))
    modules = glob.glob(kernel_dir + "/lib/modules/*/kernel")
    for m in MODULES:
        cpio.copy("modules/" + os.path.basename(m), os.path.join(modules[0], m))
    if args.guest_test:
        add_program(cpio, "guest-test", args.guest_test)
    if args.api_test:
        add_program(cpio, "api-test", args.api_test)
    if args.anykvm:
        add_program(cpio, "anykvm", args.anykvm)
        cpio.copy("vmlinuz", vmlinuz)
        cpio.file("inner", base_initrd(args.busybox, INNER_INIT).finish())
    return cpio.finish()


def run_qemu(command, seconds):
    """Lines of the machine's console as they come; ends with the machine or the time."""
    qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    deadline = time.monotonic() + seconds
    pending = b""
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(qemu.stdout, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    yield None
                    return
                if not selector.select(left):
                    continue
                chunk = os.read(qemu.stdout.fileno(), 65536)
                if not chunk:
                    break
                pending += chunk
                *lines, pending = pending.split(b"\n")
                for line in lines:
                    yield line.decode(errors="replace").rstrip("\r")
        if pending:
            yield pending.decode(errors="replace")
    finally:
        if qemu.poll() is None:
            qemu.kill()
        qemu.wait()


class Tally:
    def __init__(self):
        self.number = self.failed = self.passed = self.skipped = 0

    def line(self, good, text, skip=None, why=None):
        self.number += 1
        if skip is not None:
            self.skipped += 1
            say(f"ok {self.number} - {text} # SKIP {skip}")
        elif good:
            self.passed += 1
            say(f"ok {self.number} - {text}")
        else:
            self.failed += 1
            say(f"not ok {self.number} - {text}" + (f" # {why}" if why else ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--guest-test", help="the static guest-test to run in there")
    parser.add_argument("--api-test", help="the api-test to run in there")
    parser.add_argument("--anykvm", help="the anykvm command to boot a kernel with in there")
    parser.add_argument("--qemu", default="qemu-system-x86_64")
    parser.add_argument("--busybox", default=shutil.which("busybox") or "/bin/busybox")
    parser.add_argument("--cpu", default="EPYC", help="QEMU's -cpu")
    parser.add_argument("--kvm-amd", default="", help="parameters for kvm-amd, such as npt=0")
    parser.add_argument("--cpus", type=int, nargs="*", default=[1, 2],
                        help="vCPUs of the kernel's boots")
    parser.add_argument("--timeout", type=int, default=900, help="seconds for everything")
    parser.add_argument("--test-timeout", type=int, default=90, help="seconds for each guest")
    parser.add_argument("--boot-timeout", type=int, default=240, help="seconds for each boot")
    parser.add_argument("--verbose", action="store_true", help="show the console as it comes")
    parser.add_argument("only", nargs="*", help="names for guest-test and api-test")
    args = parser.parse_args()

    for program in (args.qemu, args.busybox):
        if not shutil.which(program):
            skip_all(f"no {program}; apt-get install qemu-system-x86 busybox-static")
    for program in (args.guest_test, args.api_test, args.anykvm):
        if program and not os.access(program, os.X_OK):
            sys.exit(f"nested.py: {program}: no such program")
    kernel_dir = cloud_kernel()
    if not kernel_dir:
        skip_all("no package linux-image-cloud-amd64, and it cannot be downloaded")
    vmlinuz = glob.glob(kernel_dir + "/boot/vmlinuz-*")[0]
    khz = tsc_khz()

    tally = Tally()
    console = []
    booting = None
    seen_kvm = False
    inner = None
    status = {}
    with tempfile.TemporaryDirectory() as work:
        initrd = os.path.join(work, "initrd")
        with open(initrd, "wb") as f:
            f.write(build_initrd(args, kernel_dir, vmlinuz))
        command = [args.qemu, "-accel", "tcg", "-cpu", args.cpu, "-smp", "1", "-m", "1024",
                   "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
                   "-kernel", vmlinuz, "-initrd", initrd,
                   "-append", "console=ttyS0 quiet panic=-1 tsc=reliable"
                   + (f" tsc_early_khz={khz}" if khz else "")]
        for line in run_qemu(command, args.timeout):
            if line is None:
                tally.line(False, "the machine ends in time", why=f"{args.timeout} s are over")
                break
            console.append(line)
            if args.verbose:
                print("| " + line, file=sys.stderr, flush=True)
            match = re.match(r"(ok|not ok) \d+ - (.*?)(?: # (SKIP )?(.*))?$", line)
            if match and not booting:
                tally.line(match[1] == "ok", match[2], match[4] if match[3] else None, match[4])
            elif line.startswith("@@kvm"):
                seen_kvm = line == "@@kvm yes"
            elif match := re.match(r"@@(\w+-test) status (\d+)", line):
                status[match[1]] = int(match[2])
            elif line.startswith("@@auto"):
                tally.line("takes kvm:" in line, "anykvm doctor takes the real KVM", why=line)
            elif match := re.match(r"@@boot (\d+)$", line):
                booting, inner = int(match[1]), None
            elif match := re.search(r"@@inner cpus=(\d+)", line):
                inner = int(match[1])
            elif match := re.match(r"@@boot (\d+) status (\d+)", line):
                good = match[2] == "0" and inner == booting
                tally.line(good, f"anykvm run --accel kvm --cpus {booting}", why=
                           f"status {match[2]}, user space "
                           + ("not reached" if inner is None else f"with {inner} CPUs"))
                booting = None
    tally.line(seen_kvm, "kvm-amd gives /dev/kvm on the emulated processor")
    for name, program in (("guest-test", args.guest_test), ("api-test", args.api_test)):
        if program:
            tally.line(name in status, f"{name} came to its end")
    if args.anykvm and booting is not None:
        tally.line(False, f"anykvm run --accel kvm --cpus {booting}", why="never ended")
    say(f"1..{tally.number}")
    say(f"# {tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    if tally.failed:
        sys.stderr.write("".join(f"| {l}\n" for l in console[-40:]))
    sys.exit(tally.failed != 0)


if __name__ == "__main__":
    main()
