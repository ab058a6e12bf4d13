#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Debian's QEMU, which nobody here wrote, on our KVM API: qemu.py --anykvm PROGRAM [--only PATTERN]

Each case starts `anykvm shim qemu-system-x86_64 -accel kvm ...` and holds what the guest says
against what it should. What is not installed (QEMU itself, GRUB, OVMF, gdb, memtest86+) is skipped.
TAP on standard output.
"""

import argparse
import contextlib
import fcntl
import glob
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))
sys.path.insert(0, HERE)

import gptdisk  # noqa: E402
from console import Console, Ended, Timeout  # noqa: E402
from tap import Tap  # noqa: E402

QEMU = "qemu-system-x86_64"
OVMF_CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
OVMF_VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"
# For secure boot: it starts with system management mode only, and keeps its variables there.
OVMF_SECURE = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
SMM = "q35,smm=on"      # an error, where the provider has none

# Far above what it takes on an idle machine.
LIMIT = 120


class Skip(Exception):
    """Something that the case needs is not there."""


class Fail(Exception):
    """The guest or QEMU did not do what it should."""


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skip(f"{program} is not installed")


def need_file(path, package):
    if not os.path.exists(path):
        raise Skip(f"{package} is not installed")


def fetch(package, arch="amd64"):
    result = subprocess.run([os.path.join(TOP, "scripts", "fetch-package"), "--arch", arch, package],
                            check=False, stdout=subprocess.PIPE, text=True)
    if result.returncode:
        raise Skip(f"{package} cannot be fetched")
    return result.stdout.strip()


class Kernel:
    """A Debian kernel and its modules."""

    def __init__(self, package, arch="amd64"):
        self.directory = fetch(package, arch)
        self.arch = arch
        self.image = sorted(glob.glob(f"{self.directory}/boot/vmlinuz-*"))[-1]
        self.modules = None

    def with_dependencies(self, names):
        """Paths of modules, each behind those that it needs; without those built in."""
        if self.modules is None:
            files = glob.glob(f"{self.directory}/lib/modules/**/*.ko", recursive=True)
            self.modules = {os.path.basename(f)[:-3].replace("-", "_"): f for f in files}
        order = []

        def add(name):
            path = self.modules.get(name)
            if not path or path in order:
                return
            with open(path, "rb") as file:
                depends = re.search(rb"\0depends=([^\0]*)\0", file.read())
            for other in depends[1].decode().split(","):
                add(other.replace("-", "_"))
            order.append(path)

        for name in names:
            add(name)
        return order


class Qmp:
    """A QEMU's control socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        self.file.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            line = self.file.readline()
            if not line:
                raise Fail(f"{name}: QEMU has gone")
            answer = json.loads(line)
            if "error" in answer:
                raise Fail(f"{name}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def monitor(self, line):
        """A line for the human's monitor, whose answer is text, and none where all is well."""
        return self.command("human-monitor-command", **{"command-line": line}).strip()

    def close(self):
        self.file.close()
        self.socket.close()


class Guest(Console):
    """A QEMU with its first serial port here, and its control socket."""

    def __init__(self, suite, *options, machine="pc", cpu="host", cpus=1, memory="256M",
                 irqchip=None):
        accel = "kvm" + (f",kernel-irqchip={irqchip}" if irqchip else "")
        self.path = os.path.join(suite.work, f"qmp{suite.number()}")
        super().__init__([*suite.prefix, QEMU, "-accel", accel, "-machine", machine, "-cpu", cpu,
                          "-smp", str(cpus), "-m", memory, "-nodefaults", "-display", "none",
                          "-serial", "stdio", "-qmp", f"unix:{self.path},server=on,wait=off",
                          *options])
        self.control = None

    @property
    def qmp(self):
        if not self.control:
            self.control = Qmp(self.path)
        return self.control

    def user_space(self, cpus=1, machine="x86_64", limit=LIMIT):
        match = self.expect(rb"user space: processors=(\d+) machine=(\S+)\s", limit)
        if (int(match[1]), match[2].decode()) != (cpus, machine):
            raise Fail(match[0].decode())

    def do(self, line, expect=None, limit=LIMIT):
        """Has the guest's shell do a line, and waits for its success. Returns what it printed."""
        start = self.seen
        self.send(line.encode() + b"\n")
        match = self.expect(rb"status=(\d+)", limit)
        text = self.output[start:self.seen].decode(errors="replace")
        if match[1] != b"0":
            raise Fail(f"{line}: {text}")
        if expect and not re.search(expect, text):
            raise Fail(f"{line}: no {expect} in {text}")
        return text

    def power_off(self):
        self.send(b"poweroff -f\n")
        self.end()

    def end(self, status=0):
        found = self.wait(60)
        if found != status:
            raise Fail(f"QEMU ended with status {found}")

    def close(self):
        if self.control:
            self.control.close()
        super().close()


class Suite:
    def __init__(self, args, work):
        self.prefix = [args.anykvm, "shim", "--"]
        self.work = work
        self.tap = Tap()
        self.only = re.compile(args.only)
        self.kernels = {}
        self.count = 0

    def number(self):
        self.count += 1
        return self.count

    def path(self, name):
        return os.path.join(self.work, name)

    def kernel(self, flavour="cloud-amd64", arch="amd64"):
        if flavour not in self.kernels:
            self.kernels[flavour] = Kernel(f"linux-image-{flavour}", arch)
        return self.kernels[flavour]

    def initrd(self, kernel, modules=(), files=()):
        busybox = fetch("busybox-static", kernel.arch)
        path = self.path(f"initrd{self.number()}")
        paths = kernel.with_dependencies(modules)
        order = f"{path}.order"
        with open(order, "w", encoding="ascii") as file:
            file.writelines(f"{os.path.basename(p)}\n" for p in paths)
        subprocess.run([os.path.join(TOP, "scripts", "mkcpio"), path, "dev/", "modules/",
                        f"bin/busybox={busybox}/bin/busybox", f"init={HERE}/qemu-init",
                        f"modules/order={order}", *files,
                        *(f"modules/{os.path.basename(p)}={p}" for p in paths)], check=True)
        return path

    def linux(self, flavour="cloud-amd64", arch="amd64", modules=(), cmdline=""):
        """Options of QEMU to boot a kernel directly."""
        kernel = self.kernel(flavour, arch)
        return ["-kernel", kernel.image, "-initrd", self.initrd(kernel, modules), "-append",
                f"console=ttyS0 quiet panic=-1 {cmdline}", "-no-reboot"]

    @contextlib.contextmanager
    def case(self, name):
        """Runs its body as one result."""
        started = time.monotonic()
        try:
            yield
            self.tap.result(True, name)
            self.tap.note(f"{time.monotonic() - started:.1f} s")
        except Skip as why:
            self.tap.skip(name, str(why))
        except (Fail, Timeout, Ended, OSError, subprocess.SubprocessError) as error:
            self.tap.result(False, name, str(error).splitlines() +
                            [f"after {time.monotonic() - started:.1f} s"])

    def wanted(self, name):
        return self.only.search(name)

    @contextlib.contextmanager
    def guest(self, *args, **options):
        """A guest; what it printed last explains a failure."""
        guest = Guest(self, *args, **options)
        try:
            yield guest
        except (Fail, Timeout, Ended) as error:
            raise Fail("\n".join([str(error), *guest.tail(25)])) from error
        finally:
            guest.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def vcpus(irqchip):
    """QEMU 7.2.22 with its own APICs and more than one vCPU hangs, whoever serves KVM: the request
    to start a second vCPU stays set once it is served, since its resetting was moved into TCG's
    part, and once that vCPU halts its thread spins with QEMU's lock held."""
    return 1 if irqchip == "off" else 2


# ---- kernels, machines, processors, interrupt controllers ----

BOOTS = (
    # flavour, architecture, options of the guest
    ("cloud-amd64", "amd64", {"machine": "pc", "cpus": 1}),
    ("cloud-amd64", "amd64", {"machine": "q35", "cpus": 4}),
    ("cloud-amd64", "amd64", {"machine": "microvm", "cpus": 2}),
    ("cloud-amd64", "amd64", {"machine": "pc", "cpus": 2, "cpu": "max"}),
    ("cloud-amd64", "amd64", {"machine": "q35", "cpus": 2, "cpu": "EPYC"}),
    ("cloud-amd64", "amd64", {"machine": "pc", "cpus": 1, "cpu": "qemu64"}),
    ("cloud-amd64", "amd64", {"machine": "pc", "cpus": 2, "irqchip": "split"}),
    ("cloud-amd64", "amd64", {"machine": "q35", "cpus": 2, "irqchip": "split"}),
    ("cloud-amd64", "amd64", {"machine": "pc", "cpus": 1, "irqchip": "off"}),
    ("cloud-amd64", "amd64", {"machine": "q35", "cpus": 1, "irqchip": "off"}),
    ("amd64", "amd64", {"machine": "q35", "cpus": 2}),
    ("686", "i386", {"machine": "pc", "cpus": 2}),
)


def boots(suite):
    for flavour, arch, options in BOOTS:
        name = f"boot: {flavour}, " + ", ".join(f"{k}={v}" for k, v in options.items())
        if not suite.wanted(name):
            continue
        with suite.case(name):
            # microvm's machine has nothing to power off with: it resets, which ends it. Linux has to
            # be told how: by itself it jumps to the firmware, which then runs into anything.
            with suite.guest(*suite.linux(flavour, arch, cmdline="reboot=t"), **options) as guest:
                guest.user_space(options["cpus"], "i686" if arch == "i386" else "x86_64")
                guest.send(b"reboot -f\n" if options["machine"] == "microvm" else b"poweroff -f\n")
                guest.end()


def matrix(suite):
    """Every model of a processor with every interrupt controller and number of vCPUs."""
    for cpu in "host", "max", "EPYC", "qemu64":
        for irqchip, counts in ("on", (1, 2, 3, 4)), ("split", (1, 2, 3, 4)), ("off", (1,)):
            for cpus in counts:
                name = f"matrix: -cpu {cpu}, {cpus} vCPUs, kernel-irqchip={irqchip}"
                if not suite.wanted(name):
                    continue
                with suite.case(name):
                    with suite.guest(*suite.linux(), machine="q35", cpu=cpu, cpus=cpus,
                                     irqchip=irqchip) as guest:
                        guest.user_space(cpus)
                        guest.power_off()


# ---- Hyper-V's interfaces ----

# Linux looks for a hypervisor with Microsoft's name, which QEMU shows with flags of its own choice, but not
# with hv-passthrough, and takes KVM's interfaces where both are there.
HYPERV = ("host,kvm=off,hv-relaxed,hv-vapic,hv-spinlocks=0x1fff,hv-vpindex,hv-runtime,hv-synic,hv-stimer,"
          "hv-stimer-direct,hv-time,hv-frequencies,hv-reenlightenment,hv-tlbflush,hv-ipi,hv-crash,hv-reset")


def hyperv_in_use(guest):
    guest.do("cat /sys/devices/system/clocksource/clocksource0/current_clocksource",
             "hyperv_clocksource_tsc_page")
    guest.do("a=$(grep HVS /proc/interrupts); sleep 1; b=$(grep HVS /proc/interrupts); "
             "echo $a; echo $b; [ \"$a\" != \"$b\" ]", r"HVS: +[1-9]")
    guest.do("a=$(date +%s); sleep 3; b=$(date +%s); [ $((b - a)) -ge 3 ] && [ $((b - a)) -le 5 ]")


def hyperv(suite):
    for flavour, arch, machine, irqchip in (("cloud-amd64", "amd64", "x86_64", "on"),
                                            ("cloud-amd64", "amd64", "x86_64", "split"),
                                            ("686", "i386", "i686", "on")):
        name = f"Hyper-V: timers, clock, IPIs and TLB flushes, {flavour}, kernel-irqchip={irqchip}"
        if not suite.wanted(name):
            continue
        with suite.case(name):
            with suite.guest(*suite.linux(flavour, arch), machine="q35", cpu=HYPERV, cpus=3,
                             irqchip=irqchip) as guest:
                guest.user_space(3, machine)
                hyperv_in_use(guest)
                guest.do("dmesg", "Using hypercall for remote TLB flush")
                if arch == "amd64":
                    guest.do("dmesg", "Using IPI hypercalls")
                guest.do("for i in 1 2 3 4; do dd if=/dev/zero bs=64k count=300 2>/dev/null | md5sum & done; wait")
                guest.power_off()
    name = "Hyper-V: hv-passthrough"
    if suite.wanted(name):
        with suite.case(name):
            with suite.guest(*suite.linux(), machine="q35", cpu="host,hv-passthrough", cpus=2) as guest:
                guest.user_space(2)
                guest.do("dmesg", "Hypervisor detected: KVM")
                guest.power_off()


# ---- firmware and boot loaders ----

def make_iso(suite):
    """A medium that both firmwares boot by GRUB, from CD and disk alike."""
    need("grub-mkrescue", "xorriso", "mformat")
    path = suite.path("grub.iso")
    if os.path.exists(path):
        return path
    kernel = suite.kernel()
    tree = suite.path("iso")
    os.makedirs(f"{tree}/boot/grub", exist_ok=True)
    shutil.copy(kernel.image, f"{tree}/boot/vmlinuz")
    shutil.copy(suite.initrd(kernel), f"{tree}/boot/initrd")
    with open(f"{tree}/boot/grub/grub.cfg", "w", encoding="ascii") as file:
        # OVMF shows its console on the serial port by itself; SeaBIOS does not.
        file.write("if [ $grub_platform = pc ]; then\n"
                   "serial --unit=0 --speed=115200\n"
                   "terminal_input serial\nterminal_output serial\nfi\n"
                   "echo GRUB on $grub_platform\n"
                   "linux /boot/vmlinuz console=ttyS0 quiet panic=-1\n"
                   "initrd /boot/initrd\nboot\n")
    subprocess.run(["grub-mkrescue", "-o", path, tree], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    return path


# Debian 12's OVMF maps all of the physical address space with pages of 2 MiB before it leaves
# 32-bit mode. The 48 bits of a server's processor, of which it uses 47, are tables of 513 MiB, and
# where the guest has no room for them it writes them to address 0, over itself. Its successors
# limit themselves to 40 bits.
OVMF_HOST = "host,host-phys-bits-limit=40"


def ovmf(suite, secure=False, form="raw"):
    code = OVMF_SECURE if secure else OVMF_CODE
    need_file(code, "ovmf")
    variables = suite.path(f"vars{suite.number()}")
    if form == "raw":
        shutil.copy(OVMF_VARS, variables)
    else:
        need("qemu-img")
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", form, OVMF_VARS, variables],
                       check=True)
    return [*(["-global", "driver=cfi.pflash01,property=secure,value=on"] if secure else []),
            "-drive", f"if=pflash,format=raw,readonly=on,file={code}",
            "-drive", f"if=pflash,format={form},file={variables}"]


IDE = ("-drive", "file={},format=raw,if=ide")
VIRTIO_DISK = ("-drive", "file={},format=raw,if=virtio")
CD = ("-cdrom", "{}")
GRUBS = (
    # name, machine, firmware, how the medium is attached, processor, how many
    ("SeaBIOS, IDE disk on pc", "pc", "pc", IDE, "host", 2),
    ("SeaBIOS, IDE disk on pc without SMM", "pc,smm=off", "pc", IDE, "host", 2),
    ("SeaBIOS, virtio disk on q35", SMM, "pc", VIRTIO_DISK, "host", 2),
    ("SeaBIOS, AHCI CD on q35", SMM, "pc", CD, "host", 1),
    ("OVMF, virtio disk on q35", "q35", "efi", VIRTIO_DISK, OVMF_HOST, 2),
    ("OVMF, IDE CD on pc", "pc", "efi", CD, "EPYC", 2),
    ("OVMF for secure boot, virtio disk on q35", SMM, "efi", VIRTIO_DISK, OVMF_HOST, 1),
    ("OVMF for secure boot, 2 vCPUs", SMM, "efi", VIRTIO_DISK, OVMF_HOST, 2),
    ("OVMF for secure boot, 4 vCPUs, AHCI CD", SMM, "efi", CD, "EPYC", 4),
)


def boot_firmware(suite, platform, medium, drive, secure=False, **options):
    """A guest that its firmware boots from a medium, which stays as it is."""
    firmware = ovmf(suite, secure) if platform == "efi" else []
    return suite.guest(*firmware, "-snapshot", *(d.format(medium) for d in drive), "-device", "VGA",
                       "-no-reboot", memory="512M", **options)


def grubs(suite):
    for what, machine, platform, drive, cpu, cpus in GRUBS:
        name = f"GRUB: {what}"
        if not suite.wanted(name):
            continue
        with suite.case(name):
            with boot_firmware(suite, platform, make_iso(suite), drive, machine=machine, cpu=cpu,
                               cpus=cpus, secure=machine == SMM) as guest:
                guest.expect(b"GRUB on " + platform.encode(), 2 * LIMIT)
                guest.user_space(cpus)
                guest.power_off()


VARIABLE = "/sys/firmware/efi/efivars/Anykvm-6d5c8a3e-5d2b-4a77-9d57-2f7b3cf0a1b4"


def variables(suite):
    for what, secure, machine, cpus in (("", False, "q35", 1), (" for secure boot", True, SMM, 2)):
        name = f"OVMF{what}: boots a kernel directly, and its variables are in the flash"
        if not suite.wanted(name):
            continue
        with suite.case(name):
            firmware = ovmf(suite, secure)
            options = [*firmware, *suite.linux(modules=("efivarfs",)), "-device", "VGA"]
            machines = {"machine": machine, "cpu": OVMF_HOST, "cpus": cpus, "memory": "512M"}
            # Linux calls the firmware, which has the flash chip leave its mode of plain memory, and
            # come back to it; the one for secure boot does it in SMM, with all vCPUs.
            with suite.guest(*options, **machines) as guest:
                guest.user_space(cpus)
                guest.do("mount -t efivarfs e /sys/firmware/efi/efivars")
                guest.do(f"printf '\\007\\0\\0\\0kept' >{VARIABLE}")
                guest.do(f"tail -c 4 {VARIABLE}", "kept")
                guest.power_off()
            with suite.guest(*options, **machines) as guest:
                guest.user_space(cpus)
                guest.do("mount -t efivarfs e /sys/firmware/efi/efivars")
                guest.do(f"tail -c 4 {VARIABLE}", "kept")
                guest.power_off()


def quickstart_guest():
    """The directory of the Debian that quickstart has made, held until the descriptor is closed."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for path in sorted(glob.glob(f"{cache}/anykvm/guest-*"), key=os.path.getmtime, reverse=True):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if os.path.exists(f"{path}/root.img"):
                return path, fd
        os.close(fd)
    raise Skip("there is no guest of quickstart's: run ./quickstart --exec true")


def make_debian_disk(suite):
    """A whole Debian on a disk with partitions, for both firmwares."""
    need("grub-mkimage", "mformat", "mcopy", "debugfs")
    path = suite.path("debian.img")
    if os.path.exists(path):
        return path
    kernel = suite.kernel()
    config = ("serial --unit=0 --speed=115200\n"
              "if [ $grub_platform = pc ]; then\nterminal_output serial\nfi\n"
              "echo GRUB on $grub_platform\n"
              "linux /boot/vmlinuz root=/dev/vda3 console=ttyS0 quiet panic=-1\n"
              "initrd /boot/initrd.img\nboot\n")
    guest, fd = quickstart_guest()
    try:
        gptdisk.make(path, f"{guest}/root.img",
                     {"vmlinuz": kernel.image, "initrd.img": suite.initrd(kernel, VIRTIO)}, config,
                     suite.work)
    finally:
        os.close(fd)
    return path


def disks(suite):
    for platform, firmware, machine, cpu in (("pc", "SeaBIOS", "pc", "host"),
                                             ("efi", "OVMF", "q35", OVMF_HOST)):
        name = f"Debian from a GPT disk: {firmware}, GRUB"
        if not suite.wanted(name):
            continue
        with suite.case(name):
            with boot_firmware(suite, platform, make_debian_disk(suite), VIRTIO_DISK,
                               machine=machine, cpu=cpu, cpus=2) as guest:
                guest.expect(b"GRUB on " + platform.encode(), 2 * LIMIT)
                guest.expect(rb"root@\S+:~# ", 2 * LIMIT)
                guest.send(b"stty -echo\n")
                guest.do("cat /etc/debian_version; echo status=$?", r"\b12\.\d")
                guest.do("[ -d /sys/firmware/efi ]; echo efi=$? status=0",
                         "efi=0" if platform == "efi" else "efi=1")
                guest.do("perl -e 'print 6 * 7, qq{\\n}'; echo status=$?", "42")
                guest.send(b"poweroff\n")
                guest.end()


def sercon(suite):
    """Has SeaBIOS show its screen on the first serial port."""
    path = suite.path("sercon")
    with open(path, "wb") as file:
        file.write((0x3f8).to_bytes(2, "little"))
    return ["-fw_cfg", f"name=etc/sercon-port,file={path}"]


def option_roms(suite):
    name = "iPXE: to its network boot"
    if suite.wanted(name):
        with suite.case(name):
            with suite.guest("-nic", "user,model=virtio-net-pci", "-boot", "n", *sercon(suite),
                             machine="q35") as guest:
                guest.expect(rb"iPXE", LIMIT)
                guest.expect(rb"net0: 52:54:00", LIMIT)
                # The DHCP server is QEMU's.
                guest.expect(rb"net0: 10\.0\.2\.15/", LIMIT)


def real_mode(suite):
    name = "GRUB: its rescue prompt"
    if suite.wanted(name):
        with suite.case(name):
            need("grub-mkimage")
            disk = suite.path("rescue.img")
            # What it is to go on with is on a partition that is not there.
            core = gptdisk.grub_core(suite.path("rescue.core"), "i386-pc", "(hd0,msdos1)/grub",
                                     ("biosdisk", "part_msdos", "ext2"))
            with open(disk, "wb") as file:
                file.truncate(4 << 20)
                gptdisk.write_bios_grub(file, core, 1)
                file.seek(510)
                file.write(b"\x55\xaa")
            # Screen and keyboard of the BIOS are on the serial port: all of this is real-mode calls.
            with suite.guest("-drive", f"file={disk},format=raw,if=ide", *sercon(suite)) as guest:
                guest.expect(rb"grub rescue>", LIMIT)
                for line, answer in ((b"ls", rb"\(hd0\)"), (b"set", rb"prefix=\(hd0,msdos1\)/grub"),
                                     (b"nonsense", rb"Unknown command .nonsense")):
                    guest.send(line + b"\r")
                    guest.expect(answer, LIMIT)

    name = "SYSLINUX: a kernel from a floppy disk"
    if suite.wanted(name):
        with suite.case(name):
            need("mformat", "mcopy")
            disk = suite.path("floppy.img")
            with open(disk, "wb") as file:
                file.truncate(2880 << 10)
            config = suite.path("syslinux.cfg")
            with open(config, "w", encoding="ascii") as file:
                file.write("serial 0 115200\nprompt 1\nlabel test\nkernel memtest\n"
                           "append console=ttyS0,115200\n")
            # A kernel by Linux's boot protocol, small enough for a floppy.
            kernel = f"{fetch('memtest86+')}/boot/memtest86+x64.bin"
            for command in (["mformat", "-i", disk, "-f", "2880", "::"],
                            ["mcopy", "-i", disk, kernel, "::memtest"],
                            ["mcopy", "-i", disk, config, "::syslinux.cfg"],
                            [f"{fetch('syslinux')}/usr/bin/syslinux", "--install", disk]):
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            with suite.guest("-drive", f"file={disk},format=raw,if=floppy", "-boot", "a",
                             "-device", "VGA", memory="64M") as guest:
                guest.expect(rb"boot: ", LIMIT)
                guest.send(b"test\r")
                guest.expect(rb"Memtest86\+", LIMIT)


def memtest(suite):
    name = "memtest86+: a whole pass over 64 MiB, no error"
    if suite.wanted(name):
        with suite.case(name):
            image = f"{fetch('memtest86+')}/boot/memtest86+x64.bin"
            with suite.guest("-kernel", image, "-append", "console=ttyS0,115200", "-device",
                             "VGA", memory="64M") as guest:
                guest.expect(rb"Memtest86\+", LIMIT)
                guest.expect(rb"Pass:\s*1\b", 20 * LIMIT)
                if re.search(rb"Errors:\s*[1-9]", guest.output):
                    raise Fail("memory errors")


# ---- devices ----

EMULATED = ("e1000", "ata_piix", "ahci", "sd_mod", "uhci_hcd", "xhci_pci", "usbhid", "hid_generic",
            "evdev")
VIRTIO = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "virtio_console",
          "virtio_balloon")


def pattern_disk(suite, name, size=4 << 20):
    path = suite.path(name)
    with open(path, "wb") as file:
        file.write(b"".join(b"%015d\n" % n for n in range(size // 16)))
    return path


def check_disk(guest, device):
    """Reads the pattern, writes to it, and reads that back past the page cache."""
    guest.do(f"dd if=/dev/{device} bs=16 skip=262143 count=1 2>/dev/null", "000000000262143")
    guest.do("dd if=/dev/urandom of=/tmp/r bs=64k count=16 2>/dev/null")
    guest.do(f"dd if=/tmp/r of=/dev/{device} bs=64k 2>/dev/null; sync; "
             "echo 3 >/proc/sys/vm/drop_caches; "
             f"dd if=/dev/{device} of=/tmp/r2 bs=64k count=16 2>/dev/null; cmp /tmp/r /tmp/r2")


def devices(suite):
    name = "devices: IDE, e1000, VGA and USB keyboard on pc"
    if suite.wanted(name):
        with suite.case(name):
            disk = pattern_disk(suite, "ide.img")
            with suite.guest(*suite.linux("amd64", modules=EMULATED), "-drive",
                             f"file={disk},format=raw,if=ide", "-nic", "user,model=e1000",
                             "-device", "VGA", "-usb", "-device", "usb-kbd",
                             machine="pc", cpus=2, memory="512M") as guest:
                guest.user_space(2)
                check_disk(guest, "sda")
                guest.do("ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; "
                         "ping -c 3 10.0.2.2", "3 packets received")
                guest.do("sleep 3; grep -l -i keyboard /sys/class/input/*/device/name", "name")
                # A key typed at the USB keyboard arrives in the guest.
                guest.send(b"for i in /sys/class/input/event*; do grep -q 'QEMU USB Key' "
                           b"$i/device/name && e=/dev/input/${i##*/}; done; echo reading $e; "
                           b"dd if=$e bs=24 count=1 2>/dev/null | wc -c\n")
                guest.expect(rb"reading /dev/input/event\d+", LIMIT)
                time.sleep(1)
                guest.qmp.monitor("sendkey a")
                guest.expect(rb"\s24\s", LIMIT)
                guest.expect(rb"status=0", LIMIT)
                guest.power_off()

    name = "devices: AHCI and XHCI on q35"
    if suite.wanted(name):
        with suite.case(name):
            disk = pattern_disk(suite, "ahci.img")
            with suite.guest(*suite.linux("amd64", modules=EMULATED), "-drive",
                             f"file={disk},format=raw,if=none,id=d", "-device", "ide-hd,drive=d",
                             "-device", "qemu-xhci", "-device", "usb-kbd",
                             machine="q35", cpus=2, memory="512M") as guest:
                guest.user_space(2)
                guest.do("sleep 2; ls -l /sys/block/sda", "ata")
                check_disk(guest, "sda")
                guest.do("cat /sys/class/input/*/device/name", "QEMU USB Keyboard")
                guest.power_off()

    for irqchip in "on", "split", "off":
        name = f"devices: virtio disk, network and random numbers, kernel-irqchip={irqchip}"
        if suite.wanted(name):
            with suite.case(name):
                disk = pattern_disk(suite, f"virtio-{irqchip}.img")
                with suite.guest(*suite.linux(modules=VIRTIO), "-drive",
                                 f"file={disk},format=raw,if=virtio", "-nic",
                                 "user,model=virtio-net-pci", "-device", "virtio-rng-pci",
                                 machine="q35", cpus=vcpus(irqchip), irqchip=irqchip) as guest:
                    guest.user_space(vcpus(irqchip))
                    check_disk(guest, "vda")
                    guest.do("ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; "
                             "ping -c 3 10.0.2.2", "3 packets received")
                    guest.do("dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c", r"\b64\b")
                    guest.power_off()


# ---- state ----

# A guest that would notice if a register, a page or a timer did not come along.
BUSY = ("dd if=/dev/urandom of=/tmp/data bs=64k count=128 2>/dev/null; "
        "sha256sum </tmp/data >/tmp/sum; "
        "(i=0; while :; do i=$((i+1)); echo $i >/tmp/count; "
        "[ \"$(sha256sum </tmp/data)\" = \"$(cat /tmp/sum)\" ] || echo BROKEN; done) &")
STILL = ("a=$(cat /tmp/count); sleep 2; b=$(cat /tmp/count); echo count $a $b; [ $b -gt $a ] && "
         "[ \"$(sha256sum </tmp/data)\" = \"$(cat /tmp/sum)\" ]")


def still_well(guest):
    # The count is rewritten at any moment: an empty one is no failure.
    for attempt in range(3):
        try:
            guest.do(STILL)
            break
        except Fail:
            if attempt == 2:
                raise
    if b"BROKEN" in guest.output:
        raise Fail("the guest's memory or computing changed")


def state(suite):
    for irqchip, cpu in ("on", "host"), ("split", "host"), ("off", "host"), ("on", HYPERV):
        name = f"state: savevm and loadvm, kernel-irqchip={irqchip}"
        name += ", Hyper-V's interfaces" if cpu == HYPERV else ""
        if suite.wanted(name):
            with suite.case(name):
                need("qemu-img")
                image = suite.path(f"snapshots-{irqchip}.qcow2")
                subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1G"], check=True)
                with suite.guest(*suite.linux(modules=VIRTIO), "-drive",
                                 f"file={image},format=qcow2,if=virtio", cpus=vcpus(irqchip),
                                 cpu=cpu, irqchip=irqchip) as guest:
                    guest.user_space(vcpus(irqchip))
                    guest.do(BUSY)
                    guest.do("v=before")
                    answer = guest.qmp.monitor("savevm one")
                    if answer:
                        raise Fail(answer)
                    still_well(guest)
                    guest.do("v=after; echo v is $v", "v is after")
                    for _ in range(2):
                        answer = guest.qmp.monitor("loadvm one")
                        if answer:
                            raise Fail(answer)
                        guest.do("echo v is $v", "v is before")
                        still_well(guest)
                        if cpu == HYPERV:
                            hyperv_in_use(guest)
                        guest.do("v=again")
                    guest.power_off()

    name = "state: savevm, loadvm and a reset with system management mode"
    if suite.wanted(name):
        with suite.case(name):
            options = [*ovmf(suite, secure=True, form="qcow2"),
                       *suite.linux(modules=("efivarfs",)), "-device", "VGA"]
            options.remove("-no-reboot")
            with suite.guest(*options, machine=SMM, cpu=OVMF_HOST, cpus=2, memory="512M") as guest:
                guest.user_space(2)
                guest.do("mount -t efivarfs e /sys/firmware/efi/efivars")
                first, second = (VARIABLE.replace("Anykvm", f"Anykvm{n}") for n in (1, 2))
                guest.do(f"printf '\\007\\0\\0\\0one' >{first}")
                answer = guest.qmp.monitor("savevm one")
                if answer:
                    raise Fail(answer)
                guest.do(f"printf '\\007\\0\\0\\0two' >{second}; tail -c 3 {second}", "two")
                answer = guest.qmp.monitor("loadvm one")
                if answer:
                    raise Fail(answer)
                # The second is not there yet, and can be made anew.
                guest.do(f"tail -c 3 {first}; [ ! -e {second} ]", "one")
                guest.do(f"printf '\\007\\0\\0\\0three' >{second}")
                guest.qmp.command("system_reset")
                guest.user_space(2, limit=2 * LIMIT)
                guest.do("mount -t efivarfs e /sys/firmware/efi/efivars")
                guest.do(f"tail -c 5 {second}", "three")
                guest.power_off()

    for irqchip, cpu in ("on", "host"), ("split", "host"), ("off", "host"), ("on", HYPERV):
        name = f"state: live migration over TCP, kernel-irqchip={irqchip}"
        name += ", Hyper-V's interfaces" if cpu == HYPERV else ""
        if suite.wanted(name):
            with suite.case(name):
                port = free_port()
                disk = pattern_disk(suite, f"migration-{irqchip}.img")
                options = [*suite.linux(modules=VIRTIO), "-drive",
                           f"file={disk},format=raw,if=virtio,cache=none,snapshot=on"]
                machine = {"cpus": vcpus(irqchip), "irqchip": irqchip, "cpu": cpu}
                with suite.guest(*options, **machine) as source, \
                        suite.guest(*options, "-incoming", f"tcp:127.0.0.1:{port}", **machine) as target:
                    source.user_space(vcpus(irqchip))
                    source.do(BUSY)
                    target.qmp.command("query-status")
                    source.qmp.command("migrate", uri=f"tcp:127.0.0.1:{port}")
                    deadline = time.monotonic() + LIMIT
                    while True:
                        info = source.qmp.command("query-migrate")
                        if info.get("status") == "completed":
                            break
                        if info.get("status") == "failed" or time.monotonic() > deadline:
                            raise Fail(f"migration: {info}")
                        time.sleep(0.2)
                    suite.tap.note(f"{name}: down for {info['downtime']} ms, "
                                   f"{info['ram']['dirty-sync-count']} rounds")
                    still_well(target)
                    if cpu == HYPERV:
                        hyperv_in_use(target)
                    target.power_off()


# ---- debugging ----

def debugging(suite):
    name = "gdb: breakpoints, watchpoints and single steps"
    if suite.wanted(name):
        with suite.case(name):
            need("gdb")
            path = suite.path("gdb.sock")
            # The firmware's first instructions are the same everywhere: a far jump at FFFF0h.
            with suite.guest(*suite.linux(cmdline="nokaslr"), "-S", "-gdb",
                             f"unix:{path},server=on,wait=off") as guest:
                guest.qmp.command("query-status")
                result = subprocess.run(
                    ["gdb", "-batch", "-nx", "-ex", "set pagination off",
                     "-ex", "set architecture i386:x86-64",
                     "-ex", f"target remote {path}",
                     "-ex", 'printf "at reset %x\\n", $rip',
                     "-ex", "stepi", "-ex", 'printf "after one step %x\\n", $rip',
                     # Linux's entry: the decompressor jumps to it, at its physical address still.
                     "-ex", "hbreak *0x1000000",
                     "-ex", "continue", "-ex", 'printf "hardware %llx\\n", $rip',
                     "-ex", "delete", "-ex", "stepi", "-ex", "stepi", "-ex", "stepi",
                     "-ex", 'printf "stepped %llx\\n", $rip',
                     "-ex", "x/3i $rip",
                     "-ex", "watch *(long *)($rsp - 8)",
                     "-ex", "continue", "-ex", 'printf "watched %llx\\n", $rip',
                     "-ex", "delete", "-ex", "detach"],
                    check=False, capture_output=True, text=True, timeout=LIMIT)
                out = result.stdout
                for pattern in (r"at reset fff0", r"after one step (?!fff0)[0-9a-f]+",
                                r"hardware 1000000",
                                r"stepped 10000[0-9a-f]{2}", r"watched 100[0-9a-f]{4}"):
                    if not re.search(pattern, out):
                        raise Fail(f"no {pattern} in:\n{out}\n{result.stderr}")
                guest.user_space()
                guest.power_off()


# ---- plugging ----

def plugging(suite):
    name = "hot-plug: a vCPU and memory"
    if suite.wanted(name):
        with suite.case(name):
            with suite.guest(*suite.linux(), cpus="1,sockets=3,cores=1,threads=1,maxcpus=3",
                             memory="256M,slots=4,maxmem=1G") as guest:
                guest.user_space(1)
                guest.qmp.command("device_add", driver="host-x86_64-cpu", id="c1",
                                  **{"socket-id": 1, "core-id": 0, "thread-id": 0})
                guest.do("for i in 1 2 3 4 5 6 7 8 9; do sleep 1; "
                         "[ -e /sys/devices/system/cpu/cpu1/online ] && break; done; "
                         "echo 1 >/sys/devices/system/cpu/cpu1/online; nproc", r"\b2\b")
                guest.do("taskset 2 sh -c 'echo on two'", "on two")
                before = guest.do("grep MemTotal /proc/meminfo", r"\d+")
                guest.qmp.command("object-add", **{"qom-type": "memory-backend-ram", "id": "m",
                                                   "size": 256 << 20})
                guest.qmp.command("device_add", driver="pc-dimm", id="d", memdev="m")
                guest.do("sleep 3; for m in /sys/devices/system/memory/memory*/state; do "
                         "grep -q offline $m && echo online >$m; done; true")
                after = guest.do("grep MemTotal /proc/meminfo", r"\d+")
                grown = (int(re.search(r"(\d+) kB", after)[1]) -
                         int(re.search(r"(\d+) kB", before)[1]))
                if grown < 240 << 10:
                    raise Fail(f"memory grew by {grown} KiB")
                guest.do("dd if=/dev/zero of=/dev/shm/x bs=1M count=300 2>/dev/null; "
                         "mkdir /t; mount -t tmpfs -o size=400M t /t; "
                         "dd if=/dev/zero of=/t/x bs=1M count=300 2>/dev/null; ls -l /t/x",
                         "314572800")
                guest.power_off()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anykvm", required=True)
    parser.add_argument("--only", default="", help="run those whose names this expression finds")
    args = parser.parse_args()

    if not shutil.which(QEMU):
        print(f"1..0 # SKIP {QEMU} is not installed")
        return 0
    with tempfile.TemporaryDirectory() as work:
        suite = Suite(args, work)
        for group in (boots, matrix, hyperv, grubs, variables, disks, real_mode, option_roms, memtest,
                      devices, state, debugging, plugging):
            group(suite)
    return suite.tap.finish()


if __name__ == "__main__":
    sys.exit(main())
