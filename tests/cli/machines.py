#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Machines with names, and those who talk to them: machines.py --anykvm PROGRAM.

The guest here is a kernel without a root file system, which says so and stands still: it runs, it
speaks, and nothing else is needed of it. TAP on standard output.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from suite import (BOOT_LIMIT, FAILED, LIMIT, OK, USAGE, Suite,  # noqa: E402
                   kernel_image)
from console import Console  # noqa: E402

SAID_LAST = "end Kernel panic"


class Machines(Suite):
    """A suite with a directory of running machines of its own."""

    def __init__(self, anykvm, work, kernel):
        super().__init__(anykvm, work)
        self.run_dir = os.path.join(work, "run")
        os.mkdir(self.run_dir, 0o700)
        os.environ["XDG_RUNTIME_DIR"] = self.run_dir
        # The disks of the user's machines are not ours.
        os.environ["XDG_DATA_HOME"] = os.path.join(work, "data")
        self.options = ["--accel", "soft", "--kernel", kernel, "--memory", "128M",
                        "--cmdline", "console=ttyS0 panic=0"]

    def start(self, name, *options):
        return self.run("run", *self.options, "--detach", "--name", name, *options)

    def state(self, name):
        """What ps says of the machine, or None where it says nothing."""
        listed = json.loads(self.run("ps", "--json").stdout)
        return next((machine["state"] for machine in listed if machine["name"] == name), None)

    def check(self, name, passed, *details):
        self.tap.result(passed, name, [str(detail) for detail in details])

    def quiet(self, name, *args):
        """A command that does its work, and says nothing of it."""
        result = self.run(*args)
        self.check(name, result.returncode == OK and not result.stdout and not result.stderr,
                   result)

    def wait_log(self, name, text, limit=BOOT_LIMIT):
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if text in self.run("logs", name).stdout:
                return True
            time.sleep(0.2)
        return False


@contextlib.contextmanager
def connection(suite, name):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(LIMIT)
        sock.connect(os.path.join(suite.run_dir, "anykvm", name, "control"))
        yield sock


def ask(sock, line):
    """Sends a line; the answer as an object, or None where the machine hung up."""
    sock.sendall(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
    return answer(sock)


def answer(sock):
    data = b""
    try:
        while not data.endswith(b"\n"):
            more = sock.recv(65536)
            if not more:
                return None
            data += more
    except ConnectionError:
        return None
    return json.loads(data)


def life(suite):
    """One machine from its start to its end."""
    began = time.monotonic()
    result = suite.start("a")
    took = time.monotonic() - began
    suite.check("--detach comes back with the machine's name",
                result.returncode == OK and result.stdout == "a\n" and not result.stderr, result)
    suite.tap.note(f"--detach took {took:.2f} s")
    suite.check("ps has it", suite.state("a") == "running")
    text = suite.run("ps").stdout
    suite.check("ps as a table", re.search(r"^a +running +\d+ +1 +128M +\d+s +\S*vmlinuz", text,
                                           re.M), text)
    base = os.path.join(suite.run_dir, "anykvm")
    modes = [stat.S_IMODE(os.stat(path).st_mode)
             for path in (base, os.path.join(base, "a"), os.path.join(base, "a", "control"))]
    suite.check("nobody else can get at it", modes == [0o700, 0o700, 0o600],
                [oct(mode) for mode in modes])
    result = suite.start("a")
    suite.check("a second one of the name is refused", result.returncode == FAILED and re.search(
        "^anykvm run: --name: .*a is running: give another --name", result.stderr), result)
    suite.check("its console is logged", suite.wait_log("a", SAID_LAST))
    suite.check("from the start", "Linux version" in suite.run("logs", "a").stdout)
    stand_still(suite)
    suite.quiet("kill", "kill", "a")
    suite.check("it has ended", suite.state("a") == "ended")
    ended = json.loads(suite.run("ps", "--json").stdout)[0]
    suite.check("and left word of how", ended["status"] == FAILED and "left" in ended["reason"] and
                ended["config"]["name"] == "a", ended)
    suite.check("its log is still there", SAID_LAST in suite.run("logs", "a").stdout)
    for command in ("kill", "stop", "pause", "stats", "console"):
        suite.complains(f"{command} of a machine that has ended", [command, "a"], FAILED,
                        f"anykvm {command}: a is not running")
    suite.quiet("rm", "rm", "a")
    suite.check("it is forgotten", suite.state("a") is None and not os.listdir(base),
                os.listdir(base))


def stand_still(suite):
    def used():
        return json.loads(suite.run("stats", "--json", "a").stdout)

    suite.quiet("pause", "pause", "a")
    suite.check("it is paused", suite.state("a") == "paused")
    suite.quiet("pause again is no mistake", "pause", "a")
    before = used()
    time.sleep(1)
    after = used()
    suite.check("no processor time passes for a paused guest",
                after["cpu"]["vcpus"] == before["cpu"]["vcpus"] and
                after["uptime"] - before["uptime"] >= 1, before, after)
    suite.check("stats tell of memory", 0 < after["memory"]["resident"] <=
                after["memory"]["size"] == 128 << 20, after)
    suite.complains("stop of a paused machine", ["stop", "a"], FAILED, "paused.*resume it")
    suite.complains("rm of a machine that runs", ["rm", "a"], FAILED, "a is running: end it")
    suite.quiet("resume", "resume", "a")
    suite.check("it runs", suite.state("a") == "running")
    suite.prints("stats as text", ["stats", "a"], r"(?s)a: running.*vCPU 0.*MiB in use")


def console(suite):
    suite.start("b")
    suite.wait_log("b", SAID_LAST)
    attached = [suite.anykvm, "console", "b"]
    with Console(attached) as first, Console(attached) as second:
        first.expect(rb"console of b; Ctrl-A x leaves it, Ctrl-A h", LIMIT)
        second.expect(rb"Ctrl-A x leaves", LIMIT)
        time.sleep(0.5)
        suite.check("the terminal is the guest's meanwhile", not first.restored())
        with connection(suite, "b") as sock:
            ask(sock, {"command": "reset"})
        for number, terminal in enumerate((first, second)):
            terminal.expect(rb"Linux version", BOOT_LIMIT)
            suite.check(f"terminal {number} of two shows what the guest says", True)
        first.send(b"\x03")
        first.send(b"\x01h")
        first.expect(rb"Ctrl-A x  leave", LIMIT)
        suite.check("Ctrl-C is the guest's, Ctrl-A h lists the keys", first.running())
        first.send(b"\x01x")
        status = first.wait(LIMIT)
        suite.check("Ctrl-A x leaves, and the terminal is restored",
                    status == OK and first.restored(), status, *first.tail())
        suite.check("the machine goes on", suite.state("b") == "running")
        suite.run("kill", "b")
        status = second.wait(LIMIT)
        suite.check("the machine's end ends its console, and the terminal is restored",
                    status == OK and second.restored(), status, *second.tail())
    suite.run("rm", "b")
    follow(suite)


def follow(suite):
    suite.start("c")
    with subprocess.Popen([suite.anykvm, "logs", "-f", "c"], stdout=subprocess.PIPE, text=True,
                          stdin=subprocess.DEVNULL) as process:
        suite.wait_log("c", SAID_LAST)
        running = process.poll() is None
        suite.run("kill", "c")
        out, _ = process.communicate(timeout=LIMIT)
        suite.check("logs -f follows to the end", running and "Linux version" in out and
                    SAID_LAST in out and process.returncode == OK, out[-500:])
    with subprocess.Popen([suite.anykvm, "logs", "-f", "c"], stdout=subprocess.PIPE) as process:
        process.communicate(timeout=LIMIT)
        suite.check("logs -f of a machine that has ended ends", process.returncode == OK)
    suite.run("rm", "c")


def hostile(suite):
    """Peers that do not keep to the protocol harm nobody but themselves."""
    suite.start("d")
    with connection(suite, "d") as sock:
        for name, line, error in (
                ("no JSON", b"hello\n", "expected"),
                ("an empty line", b"\n", "expected"),
                ("no object", b"[1]\n", '"command"'),
                ("no command", b"{}\n", '"command"'),
                ("a command that is none", {"command": "fly"}, "'fly'"),
                ("a command that is no text", {"command": {}}, '"command"'),
                ("bytes", b"\xff\xfe\x00\n", ""),
                ("a key twice", b'{"command": "status", "command": "kill"}\n', "duplicate"),
                ("deep nesting", b'{"command": ' + b"[" * 5000 + b"\n", ""),
        ):
            found = ask(sock, line)
            suite.check(f"protocol: {name}", found and not found["ok"] and
                        error in found["error"], found)
        found = ask(sock, {"command": "status", "id": [1, "x"], "more": None})
        suite.check("protocol: the same connection is served on, and an id comes back",
                    found and found["ok"] and found["id"] == [1, "x"] and
                    found["result"]["name"] == "d", found)
        sock.sendall(b'{"command": "status", "id": 1}\n{"command": "pause", "id": 2}\n'
                     b'{"command": "stats", "id": 3}\n{"command": "resume", "id": 4}\n')
        answers = b""
        while answers.count(b"\n") < 4:
            answers += sock.recv(65536)
        found = [json.loads(line) for line in answers.splitlines()]
        suite.check("protocol: answers come in the order of the requests",
                    [one["id"] for one in found] == [1, 2, 3, 4] and
                    found[2]["result"]["state"] == "paused", found)
    with connection(suite, "d") as sock:
        sock.settimeout(LIMIT)
        gone = False
        try:
            for _ in range(3):
                sock.sendall(b"x" * 65536)
            gone = not sock.recv(1)
        except ConnectionError:
            gone = True
        suite.check("protocol: a line without end ends the connection", gone)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connection(suite, "d")) for _ in range(63)]
        served = sum(ask(sock, {"command": "status"}) is not None for sock in socks[:20])
        suite.check("protocol: many connections", served == 20, served)
        for sock in socks:
            sock.sendall(b'{"command": "console"}\n' + b"x" * 5000)
        # They do not read: the guest speaks all the same.
        result = suite.run("ps", "--json")
        suite.check("protocol: peers that do not read hold nobody up", '"running"' in result.stdout,
                    result)
    with connection(suite, "d") as sock:
        sock.sendall(b'{"command": "status"')
    suite.check("the machine runs through all of it", suite.state("d") == "running")
    pid = json.loads(suite.run("ps", "--json").stdout)[0]["pid"]
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + LIMIT
    while suite.state("d") != "died" and time.monotonic() < deadline:
        time.sleep(0.1)
    suite.check("a machine that was killed has died", suite.state("d") == "died")
    result = suite.start("d")
    suite.check("its name can be used again", result.returncode == OK, result)
    suite.run("kill", "d")
    suite.run("rm", "d")


def devices(suite):
    """What is done to the devices of a running machine."""
    suite.start("h")
    suite.complains("link of a machine without networks", ["link", "h", "down"], FAILED,
                    "h: the machine has no network: start it with --net")
    for args in ([], ["64M"]):
        suite.complains("balloon of a machine without one", ["balloon", "h", *args], FAILED,
                        "h: the machine has no balloon: start it with --balloon")
    found = json.loads(suite.run("stats", "--json", "h").stdout)
    suite.check("stats of neither", found["networks"] == [] and "balloon" not in found, found)
    suite.run("kill", "h")
    suite.run("rm", "h")

    wire = os.path.join(suite.work, "wire")
    suite.start("h", "--net", f"socket,listen={wire}", "--net", f"socket,listen={wire}2",
                "--balloon=64M")

    def plugged():
        found = json.loads(suite.run("stats", "--json", "h").stdout)["networks"]
        return [(one["device"], one["plugged"], one["link"]) for one in found]

    suite.check("networks in stats", plugged() == [("net0", True, "down"), ("net1", True, "down")],
                plugged())
    suite.quiet("link down", "link", "h", "net1", "down")
    suite.check("the other one is plugged", [one[1] for one in plugged()] == [True, False],
                plugged())
    suite.prints("stats says so", ["stats", "h"], r"(?m)^  net1 +down \(anykvm link\), 0.0 MiB")
    suite.quiet("link up", "link", "h", "net1", "up")
    suite.quiet("link of the first", "link", "h", "down")
    suite.check("that one it was", [one[1] for one in plugged()] == [False, True], plugged())
    for name in ("net2", "net", "net0x", "eth0", "net-1", "net4294967296", ""):
        suite.complains(f"link of {name!r}", ["link", "h", name, "up"], FAILED,
                        f"there is no network device '{name}': give net0 for the first")
    suite.prints("balloon", ["balloon", "h"], r"^h has 128M and shall keep 64M$")
    suite.quiet("balloon, another size", "balloon", "h", "96M")
    suite.prints("is what it shall keep", ["balloon", "h"], r"^h has 128M and shall keep 96M$")
    for size in ("0", "1M", "129M", "8T"):
        suite.complains(f"balloon of {size}", ["balloon", "h", size], FAILED,
                        "can be told to keep 2 to 128 MiB: give a size between")
    found = json.loads(suite.run("stats", "--json", "h").stdout)["balloon"]
    suite.check("balloon in stats, without a driver", found ==
                {"wanted": 96 << 20, "actual": 128 << 20}, found)
    with connection(suite, "h") as sock:
        for request, error in (({"command": "link"}, '"up" is not said'),
                               ({"command": "link", "up": "yes"}, '"up" is not said'),
                               ({"command": "link", "up": True, "device": 7}, "is not said"),
                               ({"command": "balloon"}, "give a size between"),
                               ({"command": "balloon", "size": "1M"}, "give a size between"),
                               ({"command": "balloon", "size": -1}, "give a size between")):
            found = ask(sock, request)
            suite.check(f"protocol: {request}", not found["ok"] and error in found["error"], found)
    suite.run("kill", "h")
    suite.run("rm", "h")


def beginnings(suite):
    """Machines that do not come up, and those without a name or a terminal."""
    absent = os.path.join(suite.work, "absent")
    suite.complains("--detach of a machine that cannot start",
                    ["run", "--accel", "soft", "--kernel", absent, "--detach"], FAILED,
                    re.escape(absent))
    suite.check("leaves nothing behind", not os.listdir(os.path.join(suite.run_dir, "anykvm")))
    result = suite.run("run", *suite.options, "--detach")
    name = result.stdout.strip()
    suite.check("a machine without a name has one all the same",
                result.returncode == OK and re.fullmatch(r"vm-\d+", name), result)
    suite.check("and is listed", suite.state(name) == "running")
    suite.quiet("it can be killed", "kill", name)
    suite.check("and leaves nothing behind",
                not os.listdir(os.path.join(suite.run_dir, "anykvm")))
    name = suite.run("run", *suite.options, "--detach").stdout.strip()
    os.kill(next(machine["pid"] for machine in json.loads(suite.run("ps", "--json").stdout)
                 if machine["name"] == name), signal.SIGKILL)
    deadline = time.monotonic() + LIMIT
    while suite.state(name) and time.monotonic() < deadline:
        time.sleep(0.1)
    suite.check("what is left of one that was killed is cleared away",
                not os.listdir(os.path.join(suite.run_dir, "anykvm")))
    with subprocess.Popen([suite.anykvm, "run", *suite.options, "--name", "e"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        suite.complains("console of a machine on a terminal", ["console", "e"], FAILED,
                        "console is on the terminal")
        suite.complains("logs of a machine on a terminal", ["logs", "e"], FAILED,
                        "e has no log: its console is the terminal")
        suite.quiet("pause of a machine on a terminal", "pause", "e")
        suite.quiet("kill of a paused machine", "kill", "e")
        process.communicate()
        suite.check("ends anykvm run", process.returncode == FAILED, process.returncode)
    suite.run("rm", "e")


def resizing(suite):
    """Disks of a machine that runs, made longer and shorter."""
    raw, limited = os.path.join(suite.work, "h.raw"), os.path.join(suite.work, "h.qcow2")
    with open(raw, "wb") as file:
        file.truncate(4 << 20)
    suite.run("image", "create", "-q", "-f", "qcow2", limited, "4M")
    result = suite.start("h", "--disk", raw + ",serial=mine", "--disk",
                         limited + ",iops=100,bps=1M,queues=2,bps-burst=2M")
    suite.check("disks with options", result.returncode == OK, result)

    def size(number):
        return json.loads(suite.run("stats", "--json", "h").stdout)["disks"][number]["size"]

    suite.prints("stats tell of disks", ["stats", "h"],
                 r"(?s)mine +4M of \S*h\.raw, .* read, .* written.*disk1 +4M")
    suite.quiet("resize by the serial number", "resize", "h", "mine", "6M")
    suite.check("it is longer", size(0) == os.stat(raw).st_size == 6 << 20)
    suite.quiet("resize by the file", "resize", "h", limited, "+1M")
    suite.check("it is longer too", size(1) == 5 << 20)
    suite.complains("making a disk shorter by mistake", ["resize", "h", "mine", "-1M"], FAILED,
                    "beyond the new end of mine would be lost: give --shrink")
    suite.quiet("resize --shrink", "resize", "--shrink", "h", "mine", "5M")
    suite.check("it is shorter", size(0) == os.stat(raw).st_size == 5 << 20)
    for name, args, status, words in (
            ("no disk", ["h"], USAGE, "give one of the machine's disks and its size"),
            ("no such disk", ["h", "vda", "1G"], FAILED, "h has no disk vda: give its file or"),
            ("a size that is none", ["h", "mine", "much"], USAGE, "'much' is no size"),
            ("a disk beyond all", ["h", limited, "7E"], FAILED, "it can have"),
            ("less than nothing", ["--shrink", "h", "mine", "-1G"], FAILED, "not that large")):
        suite.complains(f"resize: {name}", ["resize", *args], status, words)
    with connection(suite, "h") as sock:
        for name, more, error in (("no disk", {"size": 512}, '"disk"'),
                                  ("no size", {"disk": "mine"}, '"size"'),
                                  ("another disk", {"disk": "x", "size": 512}, "'x'"),
                                  ("shorter", {"disk": "mine", "size": 512}, '"shrink"'),
                                  ("half a sector", {"disk": "mine", "size": (8 << 20) + 100},
                                   "multiple of 512")):
            found = ask(sock, {"command": "resize", **more})
            suite.check(f"protocol: resize, {name}", found and not found["ok"] and
                        error in found["error"], found)
    suite.run("kill", "h")
    suite.run("rm", "h")
    result = suite.run("image", "check", limited)
    suite.check("the image is sound, and longer", result.returncode == OK and json.loads(
        suite.run("image", "info", "--output=json", limited).stdout)["virtual-size"] == 5 << 20,
                result)


def disks(suite):
    """A machine of which only the disk is left: the host was switched off since."""
    place = os.path.join(suite.work, "data", "anykvm", "machines", "g")
    os.makedirs(place)
    with open(os.path.join(place, "disk.qcow2"), "wb"):
        pass
    os.environ["XDG_RUNTIME_DIR"] = os.path.join(suite.work, "other")
    os.mkdir(os.environ["XDG_RUNTIME_DIR"], 0o700)
    suite.check("a machine with only a disk is off", suite.state("g") == "off")
    suite.prints("and in the table", ["ps"], r"(?m)^g +off .*debian-12$")
    suite.quiet("rm removes its disk", "rm", "g")
    suite.check("nothing is left", suite.state("g") is None and not os.path.exists(place))
    os.environ["XDG_RUNTIME_DIR"] = suite.run_dir
    os.rmdir(os.path.dirname(place))


def directories(suite):
    """The place of the sockets is its user's alone, or it is not used."""
    base = os.path.join(suite.run_dir, "anykvm")
    os.chmod(base, 0o755)
    suite.complains("a directory that others may use", ["ps"], FAILED,
                    re.escape(base) + " is not a directory of yours that only you may use")
    os.chmod(base, 0o700)
    environment = {**os.environ, "XDG_RUNTIME_DIR": os.path.join(suite.work, "x" * 90)}
    os.mkdir(environment["XDG_RUNTIME_DIR"], 0o700)
    result = suite.run("run", *suite.options, "--name", "f", env=environment)
    suite.check("a path that is too long for a socket", result.returncode == FAILED and
                "too long a path for a socket: set XDG_RUNTIME_DIR" in result.stderr, result)


def usage(suite):
    for command in ("console", "logs", "stop", "kill", "pause", "resume", "resize", "stats", "rm"):
        suite.complains(f"{command} without a name", [command], USAGE, "no machine named: give")
        extra = [command, "a", "b"] if command != "resize" else [command, "a", "d", "1G", "b"]
        suite.complains(f"{command} with one argument more", extra, USAGE, "'b'")
        suite.complains(f"{command}, unknown option", [command, "--fly", "a"], USAGE, "--fly")
        suite.complains(f"{command} of a machine that is not there", [command, "a"], FAILED,
                        "there is no machine a: anykvm ps lists them")
        suite.complains(f"{command} of what is no name", [command, "../x"], FAILED,
                        "there is no machine ../x")
    for command, rest in (("link", ["up"]), ("balloon", ["64M"])):
        suite.complains(f"{command} without a name", [command], USAGE, "no machine named: give")
        suite.complains(f"{command}, unknown option", [command, "--fly", "a"], USAGE, "--fly")
        suite.complains(f"{command} of a machine that is not there", [command, "a", *rest], FAILED,
                        "there is no machine a: anykvm ps lists them")
    suite.complains("link without a state", ["link", "a"], USAGE,
                    "what the link shall be is not said: give up or down")
    suite.complains("link with a state that is none", ["link", "a", "on"], USAGE,
                    "'on' is no state of a link: give up or down")
    suite.complains("link with a word too many", ["link", "a", "net0", "up", "now"], USAGE,
                    "'now'")
    suite.complains("balloon with a size that is none", ["balloon", "a", "small"], USAGE,
                    "'small' is no size: give a number of bytes, as in 512M")
    suite.complains("balloon with a size too many", ["balloon", "a", "1G", "2G"], USAGE, "'2G'")
    suite.complains("ps with a name", ["ps", "a"], USAGE, "'a'")
    suite.complains("stop with a time that is none", ["stop", "--timeout", "soon", "a"], USAGE,
                    "--timeout: 'soon' is no number of seconds: give 0 to 86400")
    suite.prints("ps of nothing", ["ps", "--json"], r"^\[\]$")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anykvm", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anykvm-ps-") as work:
        kernel = kernel_image()
        suite = Machines(os.path.realpath(args.anykvm), os.path.realpath(work), kernel or "none")
        if "ps" not in suite.commands():
            suite.tap.skip("machines with names", "this build has no libjansson")
            return suite.tap.finish()
        usage(suite)
        if not kernel:
            suite.tap.skip("machines with names", "Debian's kernel cannot be fetched")
            return suite.tap.finish()
        life(suite)
        beginnings(suite)
        console(suite)
        hostile(suite)
        devices(suite)
        resizing(suite)
        disks(suite)
        directories(suite)
        return suite.tap.finish()


if __name__ == "__main__":
    sys.exit(main())
