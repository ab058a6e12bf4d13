#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Networks, with Linux's driver in the guest: net.py --anykvm PROGRAM --udp-echo PROGRAM [CASE...]

Debian's cloud kernel boots with busybox and a shell on its console, which is told what to do. The
cases are the kinds of network that there are, what they promise, and that a guest survives whoever
is at the other end. What takes root (bridges, namespaces) is skipped without. TAP on stdout.
"""

import argparse
import contextlib
import hashlib
import http.server
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import guest as guests  # noqa: E402
from guest import Failed, Images, require, run_case  # noqa: E402,F401
from tap import Tap  # noqa: E402

MODULES = ("net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net",
           "net/packet/af_packet")
LIMIT = 120

# What udhcpc calls with what it was given.
DHCP = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/$mask dev $interface
[ -z "$router" ] || ip route add default via $router
[ -z "$mtu" ] || ip link set $interface mtu $mtu
echo "nameserver $dns" >/etc/resolv.conf
echo "lease ip=$ip router=$router dns=$dns mask=$mask"
"""

DATA = random.Random(5).randbytes(5 << 20)
DIGEST = hashlib.sha256(DATA).hexdigest()


# ---------------------------------------------------------------------------- guests

class Files(Images):
    """Kernel and initial RAM disk, made once."""

    def __init__(self, args, work):
        dhcp = os.path.join(work, "dhcp")
        with open(dhcp, "w", encoding="utf-8") as f:
            f.write(DHCP)
        os.chmod(dhcp, 0o755)
        super().__init__(work, MODULES, files=(("dhcp", dhcp), ("udp-echo", args.udp_echo)))


class Guest(guests.Guest):
    """A guest that knows its way about networks."""

    def lease(self, interface="eth0"):
        self.run(f"ip link set {interface} up")
        text = self.run(f"udhcpc -i {interface} -s /dhcp -f -q -n -t 20 -T 1 2>/dev/null")
        match = re.search(r"lease ip=(\S*) router=(\S*) dns=(\S*) mask=(\S*)", text)
        require(match, f"no lease: {text}")
        return match.groups()

    def address(self, address, interface="eth0"):
        self.run(f"ip addr add {address} dev {interface} && ip link set {interface} up")

    def carrier(self, up, interface="eth0"):
        """Waits until the link is up, or down."""
        self.wait_for(f"cat /sys/class/net/{interface}/carrier", "1" if up else "0")

    def fetch_digest(self, url):
        return self.run(f"wget -q -O - {url} | sha256sum").split()[0]


class Context(guests.Context):
    """Guests, and what of the host is at the other end."""

    guest_class = Guest

    def serve_http(self, family=socket.AF_INET, address="127.0.0.1", pace=0.0):
        """Serves DATA, with so many seconds after each piece; the port."""

        class Handler(http.server.BaseHTTPRequestHandler):
            """DATA, whatever is asked for."""

            def do_GET(self):   # pylint: disable=invalid-name
                self.send_response(200)
                self.send_header("Content-Length", str(len(DATA)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):   # guests end in the middle
                    for i in range(0, len(DATA), 1 << 16):
                        self.wfile.write(DATA[i:i + (1 << 16)])
                        time.sleep(pace)

            def log_message(self, format, *args):   # pylint: disable=redefined-builtin
                pass

        class Server(http.server.ThreadingHTTPServer):
            """On an address of either family."""
            address_family = family

        server = Server((address, 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.stack.callback(server.server_close)
        self.stack.callback(server.shutdown)
        return server.server_address[1]

    def serve_files(self, inside, directory):
        """Serves a directory with DATA in it as data, in a namespace, at port 8080."""
        with open(os.path.join(directory, "data"), "wb") as f:
            f.write(DATA)
        server = subprocess.Popen([*inside, sys.executable, "-m", "http.server", "-d", directory,
                                   "8080"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.stack.callback(server.wait)
        self.stack.callback(server.kill)

    def namespace(self):
        """A network namespace, as a prefix of commands."""
        name = f"anykvm-test-{os.getpid()}-{len(self.guests)}"
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.stack.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
        return ["ip", "netns", "exec", name]

    def run(self, *argv, **how):
        return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, **how).stdout


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_file(path):
    deadline = time.monotonic() + 30
    while not os.path.exists(path):
        require(time.monotonic() < deadline, f"there is no {path}")
        time.sleep(0.1)


def http_digest(port, limit=LIMIT):
    """Of what a forwarded port gives, which may take a while to answer."""
    deadline = time.monotonic() + limit
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/data", timeout=60) as answer:
                return hashlib.sha256(answer.read()).hexdigest()
        except (OSError, urllib.error.URLError) as error:
            require(time.monotonic() < deadline, f"port {port}: {error}")
            time.sleep(0.5)


# ---------------------------------------------------------------------------- the cases

def user(context):
    """DHCP, to the host over IPv4 and IPv6, and in through forwarded ports; and a reset."""
    tcp, udp = free_port(), free_port(socket.SOCK_DGRAM)
    port = context.serve_http()
    port6 = context.serve_http(socket.AF_INET6, "::1")
    guest = context.guest("--net", "user", "-p", f"127.0.0.1:{tcp}:80", "-p",
                          f"127.0.0.1:{udp}:7/udp", cpus=2).ready()
    require(guest.lease() == ("10.0.2.15", "10.0.2.2", "10.0.2.3", "24"), "another lease")
    require(guest.run("cat /sys/class/net/eth0/address") == "52:54:00:12:34:56", "another address")
    require("enp" not in guest.run("ls /sys/class/net"), "a second device")
    guest.run("ping -c 1 10.0.2.2")
    require(guest.fetch_digest(f"http://10.0.2.2:{port}/") == DIGEST, "IPv4: other bytes")
    guest.wait_for("ip -6 addr show dev eth0 | grep -c 'fec0::.*tentative'", "0")
    guest.wait_for("ip -6 addr show dev eth0 | grep -c fec0::", "1")
    require(guest.fetch_digest(f"http://[fec0::2]:{port6}/") == DIGEST, "IPv6: other bytes")

    guest.run("mkdir /www && dd if=/dev/urandom of=/www/data bs=1k count=4099 2>/dev/null")
    guest.run("httpd -h /www && /udp-echo 7 &")
    require(http_digest(tcp) == guest.run("sha256sum </www/data").split()[0],
            "through the forwarded port: other bytes")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.connect(("127.0.0.1", udp))
        got = b""
        for _ in range(20):
            s.send(DATA[:1400])
            with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                got = s.recv(65536)
                break
        require(got == DATA[:1400], "through the forwarded UDP port: other bytes")
    # What the driver was offered, it uses.
    features = guest.run("cat /sys/bus/virtio/devices/virtio0/features")
    for bit in (0, 1, 7, 8, 11, 12, 15, 16, 17, 18, 19, 21, 23):
        require(features[bit] == "1", f"feature {bit} is not in use: {features}")
    # All over again, with traffic under way when the reset comes.
    guest.console.send(f"wget -q -O /dev/null http://10.0.2.2:{port}/ & reboot -f\n".encode())
    guest.ready().lease()
    require(guest.fetch_digest(f"http://10.0.2.2:{port}/") == DIGEST, "after a reset: other bytes")
    guest.off()


def restricted(context):
    """With restricted, in but not out; MTU and address as given."""
    tcp, port = free_port(), context.serve_http()
    guest = context.guest("--net", "user,restricted,mtu=1400,mac=52:54:00:00:00:07", "-p",
                          f"127.0.0.1:{tcp}:80").ready()
    require(guest.run("cat /sys/class/net/eth0/mtu") == "1400", "another MTU")
    require(guest.run("cat /sys/class/net/eth0/address") == "52:54:00:00:00:07", "another address")
    guest.lease()
    guest.run("ip route add default dev eth0")
    out = guest.run(f"nc -w 5 10.0.2.2 {port} </dev/null", check=False)
    require("timed out" in out or "refused" in out, f"the host was reached: {out!r}")
    guest.run("mkdir /www && echo hello >/www/data && httpd -h /www")
    require(http_digest(tcp) == hashlib.sha256(b"hello\n").hexdigest(), "other bytes")
    guest.off()


DNS_SERVER = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 53))
while True:
    q, who = s.recvfrom(512)
    end = q.index(b"\\0", 12) + 5
    address = q[end - 4:end - 2] == b"\\0\\1"
    answer = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4\\xc0\\0\\2\\x21" if address else b""
    s.sendto(q[:2] + b"\\x81\\x80\\0\\1" + (b"\\0\\1" if answer else b"\\0\\0") + bytes(4) +
             q[12:end] + answer, who)
"""


def names(context):
    """Names are those of the host's resolver."""
    inside = context.namespace()
    resolver = os.path.join(context.work, "resolv.conf")
    with open(resolver, "w", encoding="utf-8") as f:
        f.write("nameserver 127.0.0.1\n")
    context.run(*inside, "ip", "link", "set", "lo", "up")
    server = subprocess.Popen([*inside, sys.executable, "-c", DNS_SERVER])
    context.stack.callback(server.wait)
    context.stack.callback(server.kill)
    guest = context.guest("--net", "user", within=[
        *inside, "unshare", "-m", "sh", "-c",
        f'mount --bind {resolver} $(readlink -f /etc/resolv.conf) && exec "$@"', "sh"]).ready()
    guest.lease()
    text = guest.run("nslookup -type=a host.example")
    require("192.0.2.33" in text, f"another answer: {text}")
    guest.off()


def two_guests(a, b):
    """Two guests that see each other: addresses, a ping, and bytes both ways."""
    a.address("192.168.77.1/24")
    b.address("192.168.77.2/24")
    a.carrier(True)
    b.carrier(True)
    a.run("ping -c 3 192.168.77.2")
    for server, client, address in ((a, b, "192.168.77.1"), (b, a, "192.168.77.2")):
        server.run("mkdir -p /www && dd if=/dev/urandom of=/www/data bs=1k count=4099 2>/dev/null")
        server.run("httpd -h /www")
        require(client.fetch_digest(f"http://{address}/data") ==
                server.run("sha256sum </www/data").split()[0], "other bytes")


def crash(context, address, *options):
    """The peer dies and comes again; the guest that stays sees it, and goes on."""
    stays = context.guest("--net", f"socket,{options[0]}")
    goes = context.guest("--net", f"socket,{options[1]}").ready()
    stays.ready()
    two_guests(stays, goes)
    stays.console.send(f"ping -q -i 1 {address} >/dev/null 2>&1 &\n".encode())
    for _ in range(2):
        goes.kill()
        stays.carrier(False)
        goes = context.guest("--net", f"socket,{options[1]}").ready()
        goes.address("192.168.77.2/24")
        stays.carrier(True)
        # A new device has another address.
        stays.run("ip neigh flush dev eth0; ping -c 3 192.168.77.2")
        goes.run("ping -c 3 192.168.77.1")
    goes.off()
    stays.carrier(False)
    stays.off()


def socket_path(context):
    """Two guests on a Unix socket; the one that connects crashes, and comes again."""
    path = os.path.join(context.work, "wire")
    crash(context, "192.168.77.2", f"listen={path}", f"connect={path}")
    require(not os.path.exists(path), "the socket is still there")


def socket_tcp(context):
    """Two guests on TCP; the one that listens crashes, and comes again."""
    address = f"127.0.0.1:{free_port()}"
    crash(context, "192.168.77.2", f"connect={address}", f"listen={address}")


def cable(context):
    """A cable is pulled out of a running machine, and plugged in again: anykvm link."""
    port, path = context.serve_http(pace=0.02), os.path.join(context.work, "wire")
    guest = context.guest("--name", "a", "--net", "user", "--net", f"socket,listen={path}")
    peer = context.guest("--name", "b", "--net", f"socket,connect={path}").ready()
    guest.ready().lease()
    guest.address("192.168.77.1/24", "eth1")
    peer.address("192.168.77.2/24")

    def networks(name):
        return json.loads(context.anykvm("stats", "--json", name))["networks"]

    # A connection that is under way stands still, and goes on.
    guest.run(f"wget -q -O /tmp/before http://10.0.2.2:{port}/ & sleep 0.5")
    context.anykvm("link", "a", "down")
    guest.carrier(False)
    guest.carrier(True, "eth1")
    before = networks("a")[0]
    require(not before["plugged"] and before["link"] == "down", f"stats: {before}")
    guest.refuses("ping -c 2 -W 2 10.0.2.2")
    require(networks("a")[0]["sent"] == before["sent"], "something got through")
    guest.run("ping -c 2 192.168.77.2")
    context.anykvm("link", "a", "up")
    guest.carrier(True)
    guest.run("wait", 300)
    guest.run("ping -c 2 10.0.2.2")
    require(guest.run("sha256sum </tmp/before").split()[0] == DIGEST, "other bytes")
    require(networks("a")[0]["received"]["bytes"] > len(DATA), "the counters do not count")

    # On one side, then on the other; over a reset; and several times in a row.
    for machine, here in (("a", guest), ("b", peer)):
        device = {"a": "net1", "b": "net0"}[machine]
        interface = {"a": "eth1", "b": "eth0"}[machine]
        context.anykvm("link", machine, device, "down")
        here.carrier(False, interface)
        guest.refuses("ping -c 1 -W 2 192.168.77.2")
        for _ in range(5):
            context.anykvm("link", machine, device, "up")
            context.anykvm("link", machine, device, "down")
        here.carrier(False, interface)
        context.anykvm("link", machine, device, "up")
        here.carrier(True, interface)
        guest.run("ping -c 3 192.168.77.2")
    context.anykvm("link", "b", "down")
    peer.console.send(b"reboot -f\n")
    peer.ready().run("ip link set eth0 up")
    peer.carrier(False)
    context.anykvm("pause", "b")
    context.anykvm("link", "b", "up")
    context.anykvm("resume", "b")
    peer.carrier(True)
    peer.address("192.168.77.2/24")
    guest.run("ping -c 3 192.168.77.2")
    peer.off()
    guest.off()


def qemu_peer(context):
    """A guest of QEMU's at the other end of the socket."""
    path = os.path.join(context.work, "wire")
    here = context.guest("--net", f"socket,listen={path}")
    kernel, initrd = context.images.get()
    wait_for_file(path)
    there = context.start([
        "qemu-system-x86_64", "-accel", "tcg", "-nodefaults", "-display", "none", "-no-reboot",
        "-serial", "stdio", "-m", "256", "-kernel", kernel, "-initrd", initrd,
        "-append", "console=ttyS0 quiet panic=-1", "-device",
        "virtio-net-pci,netdev=n,mac=52:54:00:00:00:01", "-netdev",
        f"stream,id=n,server=off,addr.type=unix,addr.path={path}"])
    there.ready()
    here.ready()
    two_guests(here, there)
    there.kill()
    here.carrier(False)
    here.off()


def bridge(context):
    """Two guests and the host on a bridge; several queues; a device that is taken away."""
    inside = context.namespace()
    for command in ("link add br0 type bridge", "addr add 192.168.77.9/24 dev br0",
                    "link set br0 up", "link set lo up",
                    "tuntap add tap7 mode tap multi_queue", "link set tap7 master br0"):
        context.run(*inside, "ip", *command.split())
    a = context.guest("--net", "tap,bridge=br0,mtu=1500", within=inside)
    b = context.guest("--net", "tap,ifname=tap7,queues=2", within=inside, cpus=2).ready()
    a.ready()
    two_guests(a, b)
    require(b.run("ls /sys/class/net/eth0/queues | wc -l") == "4", "not two queues")
    a.run("ping -c 3 192.168.77.9")
    # Tagged frames go through, and only those of the guest's own VLANs.
    for guest, n in ((a, 1), (b, 2)):
        guest.run(f"vconfig add eth0 5 2>/dev/null || ip link add link eth0 name eth0.5 type vlan id 5; "
                  f"ip addr add 192.168.78.{n}/24 dev eth0.5 && ip link set eth0.5 up", check=False)
    if "eth0.5" in a.run("ls /sys/class/net"):
        a.run("ping -c 3 192.168.78.2")
    b.kill()
    a.run("ping -c 1 192.168.77.9")
    require("tap7" in context.run(*inside, "ip", "-br", "link"), "the device is gone")
    b = context.guest("--net", "tap,ifname=tap7", within=inside).ready()
    b.address("192.168.77.2/24")
    a.run("ip neigh flush dev eth0; ping -c 3 192.168.77.2")
    context.run(*inside, "ip", "link", "del", "tap7")
    b.carrier(False)
    b.off()
    a.off()
    require("anykvm" not in context.run(*inside, "ip", "-br", "link"), "a device is left behind")


# Opens a tap device as descriptor 9 and becomes another program. Its frames have no headers.
OPEN_TAP = """
import fcntl, os, struct, subprocess, sys
fd = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", b"tap3", 0x1002))
subprocess.run(["ip", "addr", "add", "192.168.77.9/24", "dev", "tap3"], check=True)
subprocess.run(["ip", "link", "set", "tap3", "up"], check=True)
os.dup2(fd, 9)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def descriptor(context):
    """A tap device that is passed as a descriptor, and knows nothing of offloads."""
    inside = context.namespace()
    guest = context.guest("--net", "tap,fd=9", within=[*inside, sys.executable, "-c",
                                                       OPEN_TAP]).ready()
    context.serve_files(inside, context.work)
    guest.address("192.168.77.1/24")
    guest.run("ping -c 3 192.168.77.9")
    require(guest.fetch_digest("http://192.168.77.9:8080/data") == DIGEST, "other bytes")
    guest.run("mkdir /www && dd if=/dev/urandom of=/www/data bs=1k count=4099 2>/dev/null")
    guest.run("httpd -h /www")
    text = context.run(*inside, "busybox", "wget", "-q", "-O", os.path.join(context.work, "got"),
                       "http://192.168.77.1/data")
    with open(os.path.join(context.work, "got"), "rb") as f:
        require(hashlib.sha256(f.read()).hexdigest() ==
                guest.run("sha256sum </www/data").split()[0], f"other bytes: {text}")
    guest.off()


def passt(context):
    """passt: the host's own network, without privilege."""
    inside = context.namespace()
    for command in ("link set lo up", "link add d0 type veth peer name d1",
                    "addr add 192.0.2.7/24 dev d0", "link set d0 up", "link set d1 up",
                    "route add default via 192.0.2.1"):
        context.run(*inside, "ip", *command.split())
    # It becomes nobody, who has to be able to make its socket.
    place = tempfile.mkdtemp(prefix="anykvm-passt")
    context.stack.callback(shutil.rmtree, place)
    os.chmod(place, 0o777)
    path = os.path.join(place, "socket")
    context.serve_files(inside, place)
    daemon = subprocess.Popen([*inside, "passt", "-f", "--socket", path],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    context.stack.callback(daemon.wait)
    context.stack.callback(daemon.kill)
    wait_for_file(path)
    guest = context.guest("--net", f"passt,path={path}").ready()
    lease = guest.lease()
    require(lease[0] == "192.0.2.7" and lease[1] == "192.0.2.1", f"another lease: {lease}")
    # The host is behind the gateway's address.
    require(guest.fetch_digest("http://192.0.2.1:8080/data") == DIGEST, "other bytes")
    # It goes; the guest sees it, and goes on.
    daemon.kill()
    guest.carrier(False)
    guest.off()


def needs_root():
    if os.geteuid():
        return "only root may make bridges and namespaces"
    if subprocess.run(["ip", "netns", "add", "anykvm-probe"], check=False,
                      stderr=subprocess.DEVNULL).returncode:
        return "no network namespaces here"
    subprocess.run(["ip", "netns", "del", "anykvm-probe"], check=False)
    return None if os.path.exists("/dev/net/tun") else "there is no /dev/net/tun"


def needs(program):
    return lambda: None if shutil.which(program) else f"no {program} installed"


def never():
    return None


CASES = {
    "user": (user, never), "restricted": (restricted, never), "names": (names, needs_root),
    "socket-path": (socket_path, never), "socket-tcp": (socket_tcp, never),
    "cable": (cable, never), "qemu": (qemu_peer, needs("qemu-system-x86_64")), "bridge": (bridge, needs_root),
    "descriptor": (descriptor, lambda: needs_root() or needs("busybox")()),
    "passt": (passt, lambda: needs_root() or needs("passt")()),
}
BY_SLIRP = ("user", "restricted", "names", "cable")


def has_user_networking(args, images):
    """Whether this build has libslirp. The second network, which there is not, comes too late."""
    result = subprocess.run([args.anykvm, "run", "--accel", "soft", "--kernel", images.get()[0],
                             "--net", "user", "--net", "tap,ifname=no-such-device"], check=False,
                            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                            timeout=LIMIT)
    return "without libslirp" not in result.stderr


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--anykvm", required=True)
    parser.add_argument("--udp-echo", required=True, help="the static program of udp-echo.c")
    parser.add_argument("--engine", choices=["interp", "jit"])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=" ".join(CASES))
    args = parser.parse_args()

    tap = Tap()
    with tempfile.TemporaryDirectory() as work:
        images = Files(args, work)
        if not images.get():
            print("1..0 # SKIP kernel or busybox cannot be fetched: see above")
            return 0
        for name in args.cases or CASES:
            case, reason = CASES[name]
            why = reason()
            if not why and name in BY_SLIRP and not has_user_networking(args, images):
                why = "built without libslirp"
            if why:
                tap.skip(name, why)
                continue
            run_case(tap, name, case,
                     lambda directory, stack: Context(args, images, directory, stack))
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
