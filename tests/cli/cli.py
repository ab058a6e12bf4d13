#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The command line of anykvm, good and bad: cli.py --anykvm PROGRAM --version V --man PAGE.

Every mistake must end with the right status and one line on standard error which names what is
wrong, and leave nothing behind. TAP on standard output.
"""

import argparse
import contextlib
import gzip
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from suite import BOOT_LIMIT, FAILED, LIMIT, OK, PANIC, TOP, USAGE, Suite, kernel_image  # noqa: E402
from console import Console  # noqa: E402

NOBODY = 65534


def usage(suite):
    """Command lines which are wrong whatever the machine."""
    kernel = ["--kernel", "vmlinuz"]
    for name, args, pattern in (
            ("no command", [], "anykvm help"),
            ("unknown command", ["fly"], "'fly'.*anykvm help"),
            ("unknown topic", ["help", "fly"], "'fly'"),
            ("two topics", ["help", "run", "doctor"], "'doctor'"),
            ("run without a kernel", ["run"], "--kernel"),
            ("run, unknown option", ["run", "--fly"], "--fly.*anykvm help run"),
            ("run, unknown letter", ["run", "-z"], "-z"),
            ("run, ambiguous option", ["run", "--c", "1"], "--c"),
            ("run, option without its value", ["run", "--kernel"], "--kernel needs"),
            ("run, value too many", ["run", "--no-reboot=yes"], "--no-reboot"),
            ("run, argument too many", ["run", *kernel, "vmlinux"], "'vmlinux'"),
            ("0 CPUs", ["run", *kernel, "--cpus", "0"], "--cpus: 0 .*1 to"),
            ("1000 CPUs", ["run", *kernel, "--cpus", "1000"], "--cpus: 1000 .*1 to"),
            ("-1 CPUs", ["run", *kernel, "--cpus", "-1"], "--cpus"),
            ("CPUs beyond all numbers", ["run", *kernel, "--cpus", "9" * 30], "--cpus"),
            ("CPUs that are no number", ["run", *kernel, "--cpus", "two"], "--cpus: 'two'"),
            ("no memory", ["run", *kernel, "--memory", "0"], "--memory: 0"),
            ("memory without a unit", ["run", *kernel, "--memory", "512"], "--memory: 512.*512M"),
            ("memory that is no size", ["run", *kernel, "--memory", "lots"], "--memory: 'lots'"),
            ("negative memory", ["run", *kernel, "--memory=-1G"], "--memory"),
            ("memory with a stray word", ["run", *kernel, "--memory", "1Gx"], "--memory: '1Gx'"),
            ("memory beyond all numbers", ["run", *kernel, "--memory", "99999999999T"],
             "--memory"),
            ("memory in half pages", ["run", *kernel, "--memory", "4196352"], "--memory.*4 KiB"),
            ("disk without a file", ["run", *kernel, "--disk", ",readonly"], "--disk"),
            ("disk of an unknown format", ["run", *kernel, "--disk", "a,format=floppy"],
             "--disk.*'floppy'"),
            ("disk with an unknown option", ["run", *kernel, "--disk", "a,fast"],
             "--disk.*'fast'"),
            ("disk both readonly and ephemeral",
             ["run", *kernel, "--disk", "a,readonly,ephemeral"], "--disk.*one of them"),
            ("two disks with one serial number",
             ["run", *kernel, "--disk", "a,serial=s", "--disk", "b,serial=s"],
             "--disk: two have the serial number 's'"),
            ("unknown provider", ["run", *kernel, "--accel", "warp"], "--accel.*'warp'.*soft"),
            ("doctor with an argument", ["doctor", "me"], "'me'"),
            ("doctor, unknown option", ["doctor", "--xml"], "--xml"),
            ("version with an argument", ["version", "1"], "'1'"),
            ("shim without a command", ["shim"], "no command"),
            ("shim, unknown option", ["shim", "--fly", "true"], "--fly.*anykvm help shim"),
    ):
        suite.complains("usage: " + name, args, USAGE, pattern)


def shim(suite):
    """What cannot be run under the shim; what can is tests/shim's."""
    absent = os.path.join(suite.work, "absent")
    suite.complains("shim, a command that is not there", ["shim", absent], 127, re.escape(absent))
    suite.complains("shim, a command that is not in PATH", ["shim", "no-such-command"], 127,
                    "no-such-command")
    suite.complains("shim, a command that is a directory", ["shim", suite.work], 126,
                    re.escape(suite.work))
    suite.complains("shim, a trace that cannot be written",
                    ["shim", f"--trace={absent}/trace", "true"], FAILED, "--trace: .*absent/trace")


def missing_files(suite):
    """Files which are not there, or not what they should be."""
    soft = ["run", "--accel", "soft"]
    text = suite.path("text", b"This is no kernel.\n" * 1000)
    empty = suite.path("empty")
    absent = os.path.join(suite.work, "absent")
    elf = suite.path("elf", b"\x7fELF\x02\x01\x01" + bytes(57))
    # The header of a bzImage, and then nothing where its code should be.
    header = bytearray(4096)
    header[0x1f1] = 4
    header[0x1fe:0x200] = b"\x55\xaa"
    header[0x202:0x206] = b"HdrS"
    header[0x206:0x208] = b"\x0f\x02"
    header[0x236:0x238] = b"\x01\x00"
    headless = suite.path("headless", bytes(header))

    for name, kernel in (("a kernel that is not there", absent), ("a kernel that is text", text),
                         ("an empty kernel", empty), ("a directory for a kernel", suite.work),
                         ("a kernel that is an ELF header only", elf),
                         ("a kernel that ends after its header", headless)):
        suite.complains(name, [*soft, "--kernel", kernel], FAILED, re.escape(kernel))


def bad_resources(suite, kernel):
    """Things that a good kernel cannot be given."""
    soft = ["run", "--accel", "soft", "--kernel", kernel]
    absent = os.path.join(suite.work, "absent")
    with open(kernel, "rb") as file:
        image = file.read()
    cut = suite.path("cut", image[:len(image) // 2])
    suite.complains("a kernel cut in half", ["run", "--accel", "soft", "--kernel", cut], FAILED,
                    re.escape(cut))
    suite.complains("an initrd that is not there", [*soft, "--initrd", absent], FAILED,
                    re.escape(absent))
    suite.complains("a directory for an initrd", [*soft, "--initrd", suite.work], FAILED,
                    re.escape(suite.work))
    big = suite.path("big")
    os.truncate(big, 64 << 20)
    suite.complains("an initrd larger than memory",
                    [*soft, "--initrd", big, "--memory", "64M"], FAILED,
                    re.escape(big) + "|--memory|memory")
    suite.complains("too little memory for the kernel", [*soft, "--memory", "4M"], FAILED,
                    "memory")
    suite.complains("a disk that is not there", [*soft, "--disk", absent], FAILED,
                    re.escape(absent))
    suite.complains("a directory for a disk", [*soft, "--disk", suite.work], FAILED,
                    re.escape(suite.work))
    suite.complains("a command line beyond what the kernel takes",
                    [*soft, "--cmdline", "x" * 70000], FAILED, "command line|cmdline")
    suite.complains("more memory than the machine has",
                    [*soft, "--memory", "4000000G"], FAILED, "--memory.*give less")


@contextlib.contextmanager
def machine(suite, kernel, *args):
    """A machine that runs meanwhile."""
    with subprocess.Popen([suite.anykvm, "run", "--accel", "soft", "--kernel", kernel, "--cmdline",
                           "console=ttyS0 panic=0", *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            process.stdout.readline()       # the guest speaks: everything is set up
            yield process
        finally:
            process.kill()


def disk_in_use(suite, kernel):
    disk = suite.path("disk")
    os.truncate(disk, 1 << 20)
    soft = ["run", "--accel", "soft", "--kernel", kernel]
    # Its format is said: a warning must not be taken for the guest's first line.
    with machine(suite, kernel, "--disk", disk + ",format=raw"):
        suite.complains("a disk in use", [*soft, "--disk", disk], FAILED,
                        re.escape(disk) + ".*use")
        suite.complains("a disk in use, for reading only", [*soft, "--disk", disk + ",readonly"],
                        FAILED, re.escape(disk) + ".*use")
    suite.complains("one disk twice", [*soft, "--disk", disk, "--disk", disk], FAILED,
                    re.escape(disk))


def truncated_initrd(suite, kernel):
    """Archives that end too early: compressed, plain, and one behind another."""
    plain = os.path.join(suite.work, "plain")
    subprocess.run([os.path.join(TOP, "scripts", "mkcpio"), plain, "dev/", f"init={kernel}"],
                   check=True)
    with open(plain, "rb") as file:
        content = file.read()
    packed = gzip.compress(content)
    for name, data in (("compressed", packed[:len(packed) // 2]),
                       ("plain", content[:len(content) // 2]),
                       ("second", content + content[:1000])):
        initrd = suite.path(name, data)
        suite.complains(f"a truncated initrd, {name}",
                        ["run", "--accel", "soft", "--kernel", kernel, "--initrd", initrd],
                        FAILED, re.escape(initrd) + ".*truncated")


def panic(suite, kernel):
    """A kernel without a root file system panics, and resets as it is told to: by a triple fault.
    What it says meanwhile goes to a console that it has no driver for."""
    suite.complains("a panic ends in a triple fault",
                    ["run", "--accel", "soft", "--kernel", kernel, "--cmdline",
                     "console=hvc0 quiet panic=-1 reboot=t"],
                    PANIC, "triple", limit=BOOT_LIMIT)


def without_rights(suite, kernel):
    """/dev/kvm, for somebody who may not open it."""
    name = "/dev/kvm without rights"
    node = "/dev/kvm"
    if os.geteuid():
        suite.tap.skip(name, "only root can become somebody without rights")
    elif not os.path.exists(node):
        suite.tap.skip(name, "there is no /dev/kvm here")
    elif os.stat(node).st_mode & (stat.S_IWOTH | stat.S_IROTH):
        suite.tap.skip(name, "everybody may open /dev/kvm here")
    else:
        # From where nobody can get at it.
        with tempfile.TemporaryDirectory(prefix="anykvm-cli-") as place:
            os.chmod(place, 0o755)
            files = []
            for source in (suite.anykvm, kernel):
                files.append(os.path.join(place, os.path.basename(source)))
                with open(source, "rb") as old, open(files[-1], "wb") as new:
                    new.write(old.read())
                os.chmod(files[-1], 0o755)
            as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"}
            other = Suite(files[0], place)
            other.tap = suite.tap
            other.complains(name, ["run", "--accel", "kvm", "--kernel", files[1]], FAILED,
                            "--accel kvm: no permission to open /dev/kvm", **as_nobody)
            result = other.run("doctor", "--json", **as_nobody)
            report = json.loads(result.stdout)
            kvm = next(p for p in report["providers"] if p["name"] == "kvm")
            suite.tap.result(not kvm["opens"] and "permission" in kvm["reason"] and
                             report["auto"]["provider"] == "soft",
                             "doctor without rights to /dev/kvm takes soft",
                             result.stdout.splitlines()[-6:])


def doctor(suite):
    tap = suite.tap
    result = suite.run("doctor", "--json")
    report = json.loads(result.stdout)
    providers = {p["name"]: p for p in report["providers"]}
    auto = report["auto"]["provider"]
    tap.result(set(providers) == {"kvm", "soft"}, "doctor knows kvm and soft", [str(providers)])
    soft, kvm = providers["soft"], providers["kvm"]
    tap.result(soft["works"] and soft["api_version"] == 12 and soft["long_mode"] and
               soft["cmpxchg16b"] and soft["loop"] and not soft["reason"],
               "soft runs the probe guest", [soft["reason"]])
    tap.result(kvm["opens"] == os.access("/dev/kvm", os.R_OK | os.W_OK),
               "doctor opens /dev/kvm where it can be opened", [kvm["reason"]])
    tap.result(bool(kvm["works"]) == (not kvm["reason"]), "doctor says why kvm does not work",
               [kvm["reason"]])
    tap.result(auto == ("kvm" if kvm["works"] and kvm["fast"] else "soft"),
               "auto is kvm where it works at speed, else soft", [str(report["auto"])])
    tap.result(result.returncode == OK and not result.stderr, "doctor ends with status 0",
               [f"status {result.returncode}", result.stderr])
    suite.prints("doctor as text says what auto takes", ["doctor"],
                 rf"(?m)^--accel auto takes {auto}: \S")


def output(suite, version):
    suite.prints("version", ["version"], rf"^anykvm {re.escape(version)}\n$")
    suite.prints("--version", ["--version"], rf"^anykvm {re.escape(version)}\n$")
    for args in (["help"], ["--help"]):
        suite.prints(" ".join(args), args, r"Usage: anykvm COMMAND")
    for command in suite.commands():
        suite.prints(f"help {command}", ["help", command], rf"^Usage: anykvm {command}")
        suite.prints(f"{command} --help", [command, "--help"], rf"^Usage: anykvm {command}")
    for topic in suite.topics():
        suite.prints(f"help {topic}", ["help", topic], r"anykvm")
    with open("/dev/full", "w", encoding="ascii") as full:
        result = subprocess.run([suite.anykvm, "help"], check=False, stdout=full, timeout=LIMIT,
                                stderr=subprocess.PIPE, text=True)
    suite.tap.result(result.returncode == FAILED and result.stderr.count("\n") == 1,
                     "a full disk under standard output is a failure", [result.stderr])


def manual(suite, page):
    """The manual page and the program's own help name the same options."""
    with open(page, encoding="utf-8") as file:
        text = file.read()
    documented = set(re.findall(r"Fl -([a-z][a-z-]*)", text)) - {"help", "version"}
    offered = set()
    for command in suite.commands():
        offered |= set(re.findall(r"^  (?:-\w, )?--([a-z][a-z-]*)", suite.run("help", command).stdout, re.M))
    offered -= {"help"}
    suite.tap.result(documented == offered, "the manual page has the options of anykvm help",
                     [f"only in the manual: {documented - offered}",
                      f"only in the help: {offered - documented}"])
    try:
        lint = subprocess.run(["mandoc", "-T", "lint", "-W", "style", page], check=False,
                              capture_output=True, text=True)
    except FileNotFoundError:
        suite.tap.skip("mandoc finds nothing to say on the manual page", "there is no mandoc here")
        return
    suite.tap.result(lint.returncode == 0, "mandoc finds nothing to say on the manual page",
                     lint.stdout.splitlines())


def terminal(suite, kernel):
    """The terminal is restored however the machine ends, and keys get to where they should."""
    argv = [suite.anykvm, "run", "--accel", "soft", "--kernel", kernel, "--cmdline",
            "console=ttyS0"]
    for name, end, status in (
            ("Ctrl-A x", lambda c: c.send(b"\x01x"), FAILED),
            ("SIGTERM", lambda c: os.kill(c.pid, signal.SIGTERM), FAILED),
            ("SIGHUP", lambda c: os.kill(c.pid, signal.SIGHUP), FAILED),
            ("SIGINT", lambda c: os.kill(c.pid, signal.SIGINT), FAILED),
    ):
        with Console(argv) as console:
            try:
                console.expect(rb"Linux version", BOOT_LIMIT)
                raw = not console.restored()
                end(console)
                found = console.wait(LIMIT)
                problems = [] if raw else ["the terminal was not raw"]
                if found != status:
                    problems.append(f"status {found} instead of {status}")
                if not console.restored():
                    problems.append("the terminal is not as it was")
            except Exception as error:      # whatever it is, it is this case's failure
                problems = [repr(error)]
            suite.tap.result(not problems, f"{name} leaves, and the terminal is restored",
                             problems + console.tail())
    with Console(argv) as console:
        console.expect(rb"Linux version", BOOT_LIMIT)
        console.send(b"\x03")
        time.sleep(1)
        suite.tap.result(console.running(), "Ctrl-C is the guest's", console.tail())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anykvm", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--man", required=True)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="anykvm-cli-") as work:
        # Whatever the program should leave lying about, it leaves here, where it is noticed.
        os.environ["TMPDIR"] = work
        suite = Suite(os.path.realpath(args.anykvm), work)
        output(suite, args.version)
        manual(suite, args.man)
        usage(suite)
        shim(suite)
        missing_files(suite)
        doctor(suite)
        kernel = kernel_image()
        if kernel:
            bad_resources(suite, kernel)
            disk_in_use(suite, kernel)
            without_rights(suite, kernel)
            terminal(suite, kernel)
            truncated_initrd(suite, kernel)
            panic(suite, kernel)
        else:
            suite.tap.skip("cases with a real kernel", "Debian's kernel cannot be fetched")
        return suite.tap.finish()


if __name__ == "__main__":
    sys.exit(main())
