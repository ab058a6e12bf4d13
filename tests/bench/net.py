#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""iperf3 between guest and host: net.py --anykvm PROGRAM [--rounds N] [--seconds N]

The same kernel and initial RAM disk under anykvm's translator and QEMU's TCG, on user networking
and (as root) on a tap device, one TCP connection in each direction, in turn for some rounds. The
best rate of each counts. Needs Debian's iperf3, and a QEMU with libslirp.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
TESTS = os.path.dirname(HERE)
TOP = os.path.dirname(TESTS)
sys.path.insert(0, os.path.join(TESTS, "boot"))

import net  # noqa: E402
from console import Console  # noqa: E402

KINDS = ("user", "tap")
DIRECTIONS = {"guest to host": "", "host to guest": "-R"}
TAP_HOST, TAP_GUEST = "192.168.77.9", "192.168.77.1"


def with_iperf(initrd, work):
    """The tests' initial RAM disk, and another behind it with iperf3 and its libraries."""
    program = shutil.which("iperf3")
    libraries = re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", program], check=True,
                                                          stdout=subprocess.PIPE,
                                                          text=True).stdout)
    more = os.path.join(work, "iperf")
    subprocess.run([os.path.join(TOP, "scripts", "mkcpio"), more, "usr/bin/iperf3=" + program] +
                   [f"{library.lstrip('/')}={library}" for library in libraries], check=True)
    both = os.path.join(work, "both")
    with open(both, "wb") as out:
        for part in (initrd, more):
            with open(part, "rb") as f:
                shutil.copyfileobj(f, out)
    return both


class Machine(net.Guest):
    """A guest under one of the two."""

    def __init__(self, who, kind, args, files, within):     # pylint: disable=super-init-not-called
        self.number = 0
        common = ["-kernel", files[0], "-initrd", files[1]]
        cmdline = "console=ttyS0 quiet panic=-1"
        if who == "anykvm":
            options = {"user": "user", "tap": "tap,ifname=tap7"}[kind]
            argv = [args.anykvm, "run", "--accel", "soft", "--cpu-engine", "jit", "--memory",
                    "512M", "--cpus", str(args.cpus), *("-" + o if o[0] == "-" else o
                                                        for o in common),
                    "--cmdline", cmdline, "--net", options]
        else:
            options = {"user": "user,id=n", "tap": "tap,id=n,ifname=tap7,script=no,downscript=no"}
            argv = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512",
                    "-smp", str(args.cpus), "-nodefaults", "-display", "none", "-no-reboot",
                    "-serial", "stdio", *common, "-append", cmdline, "-netdev", options[kind],
                    "-device", "virtio-net-pci,netdev=n"]
        self.console = Console([*within, *argv])


def measure(machine, kind, args, port):
    """Rates in Mbit/s, by direction."""
    machine.ready()
    if kind == "user":
        machine.lease()
        host = "10.0.2.2"
    else:
        machine.address(TAP_GUEST + "/24")
        host = TAP_HOST
    rates = {}
    for name, option in DIRECTIONS.items():
        text = machine.run(f"/usr/bin/iperf3 -c {host} -p {port} -t {args.seconds} -O 1 -J {option}",
                           args.seconds * 4 + 60, check=False)
        try:
            end = json.loads(text[text.index("{"):])["end"]
            rates[name] = end["sum_received"]["bits_per_second"] / 1e6
        except (ValueError, KeyError) as error:
            print(f"{kind}, {name}: no result: {error}\n{text[-500:]}", file=sys.stderr)
    machine.off()
    return rates


def tap_namespace(stack):
    name = f"anykvm-bench-{os.getpid()}"
    inside = ["ip", "netns", "exec", name]
    subprocess.run(["ip", "netns", "add", name], check=True)
    stack.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
    for command in ("link set lo up", "tuntap add tap7 mode tap vnet_hdr",
                    f"addr add {TAP_HOST}/24 dev tap7", "link set tap7 up"):
        subprocess.run([*inside, "ip", *command.split()], check=True)
    return inside


def server(stack, within):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    process = subprocess.Popen([*within, "iperf3", "-s", "-p", str(port)],
                               stdout=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return port


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--anykvm", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--only", choices=("anykvm", "qemu"))
    parser.add_argument("--kinds", default=",".join(KINDS))
    args = parser.parse_args()
    args.udp_echo, args.engine = "/bin/true", "jit"
    if not shutil.which("iperf3") or not shutil.which("qemu-system-x86_64"):
        sys.exit("net.py: this needs iperf3 and qemu-system-x86")

    best = {}
    who = [args.only] if args.only else ["anykvm", "qemu"]
    with tempfile.TemporaryDirectory() as work, contextlib.ExitStack() as stack:
        kernel, initrd = net.Files(args, work).get()
        files = kernel, with_iperf(initrd, work)
        for kind in args.kinds.split(","):
            within = tap_namespace(stack) if kind == "tap" else []
            port = server(stack, within)
            for _ in range(args.rounds):
                for name in who:
                    machine = Machine(name, kind, args, files, within)
                    with machine.console:
                        for direction, rate in measure(machine, kind, args, port).items():
                            key = kind, direction, name
                            best[key] = max(best.get(key, 0), rate)
    print("| network | direction | " + " | ".join(f"{name} Mbit/s" for name in who) + " | ratio |")
    print("|---|---|" + "---:|" * (len(who) + 1))
    for kind in args.kinds.split(","):
        for direction in DIRECTIONS:
            rates = [best.get((kind, direction, name), 0) for name in who]
            ratio = f"{rates[0] / rates[1]:.1f}" if len(rates) == 2 and rates[1] else ""
            print(f"| {kind} | {direction} | " + " | ".join(f"{rate:.0f}" for rate in rates) +
                  f" | {ratio} |")


if __name__ == "__main__":
    main()
