# SPDX-License-Identifier: GPL-2.0-only
"""A disk as an installer leaves it: GPT, GRUB for both firmwares, a Linux on its last partition.

grub-install wants a block device, which takes a loop device and root; so what it would write is
written here: for a BIOS the boot sector and the core image that it loads, and an EFI system
partition.
"""

import os
import shutil
import struct
import subprocess
import uuid
import zlib

SECTOR = 512
MIB = 1 << 20
ENTRIES = 128           # of the partition table
ENTRY_SIZE = 128

BIOS_BOOT = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
EFI_SYSTEM = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
LINUX_ROOT = uuid.UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")

# Where boot.img says which sector the core image begins at, and where the core image's first sector
# lists what of it is to be loaded (GRUB's boot.h).
BOOT_KERNEL_SECTOR = 0x5c
CORE_LIST = 0x1f4
# boot.img has a partition table of its own behind this.
BOOT_CODE = 440

MODULES = ("part_gpt", "ext2", "normal", "configfile", "serial", "echo", "linux", "test")


def _gpt_header(disk, at, other, entries_at, crc, last):
    def header(own_crc):
        return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, own_crc, 0, at, other,
                           2 + ENTRIES * ENTRY_SIZE // SECTOR, last, disk.bytes_le,
                           entries_at, ENTRIES, ENTRY_SIZE, crc)
    return header(zlib.crc32(header(0)))


def _write_gpt(file, sectors, partitions):
    """Both copies of the table, and the MBR that keeps others away."""
    table = ENTRIES * ENTRY_SIZE // SECTOR
    last = sectors - table - 2
    entries = b"".join(
        struct.pack("<16s16sQQQ72s", kind.bytes_le, uuid.uuid4().bytes_le, first, end, 0,
                    name.encode("utf-16-le"))
        for kind, name, first, end in partitions).ljust(ENTRIES * ENTRY_SIZE, b"\0")
    crc = zlib.crc32(entries)
    disk = uuid.uuid4()
    file.seek(BOOT_CODE + 6)
    # One partition of type EEh for the whole disk, not to be started from.
    file.write(struct.pack("<BBBBBBBBII", 0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, sectors - 1))
    file.seek(510)
    file.write(b"\x55\xaa")
    file.seek(SECTOR)
    file.write(_gpt_header(disk, 1, sectors - 1, 2, crc, last).ljust(SECTOR, b"\0") + entries)
    file.seek((sectors - 1 - table) * SECTOR)
    file.write(entries + _gpt_header(disk, sectors - 1, 1, sectors - 1 - table, crc, last))


def _run(*argv):
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def grub_core(path, target, prefix, modules):
    """GRUB's core image for a platform, with its modules in it."""
    _run("grub-mkimage", "-O", target, "-o", path, "-p", prefix, *modules)
    return path


def write_bios_grub(file, core, first):
    """The boot sector, which loads the first sector of the core image, which loads the rest."""
    with open("/usr/lib/grub/i386-pc/boot.img", "rb") as image:
        boot = bytearray(image.read(BOOT_CODE))
    struct.pack_into("<Q", boot, BOOT_KERNEL_SECTOR, first)
    with open(core, "rb") as image:
        core = bytearray(image.read())
    core += bytes(-len(core) % SECTOR)
    # Start, number of sectors, and the segment where the second one goes.
    struct.pack_into("<QHH", core, CORE_LIST, first + 1, len(core) // SECTOR - 1, 0x820)
    file.seek(0)
    file.write(boot)
    file.seek(first * SECTOR)
    file.write(core)


def make(path, root, files, config, work):
    """Makes the disk `path` with a copy of the ext4 image `root` as its third partition.

    files: more for that file system's /boot, as {name: file of the host}. config: GRUB's.
    """
    start = 20 * MIB
    size = os.path.getsize(root)
    total = start + size + MIB
    # The bulk of it is holes, and stays so.
    _run("dd", f"if={root}", f"of={path}", "bs=1M", f"seek={start // MIB}", "conv=sparse")
    os.truncate(path, total)
    grub_cfg = os.path.join(work, "grub.cfg")
    with open(grub_cfg, "w", encoding="ascii") as file:
        file.write(config)
    # debugfs works on the partition in place: no mount, no root.
    offset = f"{path}?offset={start}"
    commands = "".join(f"write {source} boot/{name}\n"
                       for name, source in {"grub.cfg": grub_cfg, **files}.items())
    subprocess.run(["debugfs", "-w", "-f", "-", offset], input=commands.encode(), check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    esp = os.path.join(work, "esp.img")
    with open(esp, "wb") as file:
        file.truncate(16 * MIB)
    prefix = "(hd0,gpt3)/boot"
    efi = grub_core(os.path.join(work, "core.efi"), "x86_64-efi", prefix, (*MODULES, "efi_gop"))
    _run("mformat", "-i", esp, "::")
    _run("mmd", "-i", esp, "::/EFI", "::/EFI/BOOT")
    _run("mcopy", "-i", esp, efi, "::/EFI/BOOT/BOOTX64.EFI")
    with open(path, "r+b") as disk:
        disk.seek(3 * MIB)
        with open(esp, "rb") as file:
            shutil.copyfileobj(file, disk, MIB)
        core = grub_core(os.path.join(work, "core.img"), "i386-pc", prefix, (*MODULES, "biosdisk"))
        write_bios_grub(disk, core, MIB // SECTOR)
        _write_gpt(disk, total // SECTOR, (
            (BIOS_BOOT, "bios", MIB // SECTOR, 3 * MIB // SECTOR - 1),
            (EFI_SYSTEM, "efi", 3 * MIB // SECTOR, 19 * MIB // SECTOR - 1),
            (LINUX_ROOT, "root", start // SECTOR, (start + size) // SECTOR - 1)))
