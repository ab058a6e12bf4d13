#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The model of a machine's configuration: config.py --anykvm PROGRAM --doc FILE.

Options and files say the same; bad values, in either, are told by one line that names the option or
the file and its key. Every option and key has to have its cases here. TAP on standard output.
"""

import argparse
import json
import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from suite import FAILED, OK, USAGE, Suite  # noqa: E402

BASE = {"version": 1, "kernel": "vmlinuz"}

# Option, a bad value (None: the option takes no value), and what the message has to say of it.
BAD_OPTIONS = (
    ("name", "", "--name: '' is no name"),
    ("name", "../a", "--name: '../a' is no name for a machine: give one of 1 to 64"),
    ("name", "-a", "--name: '-a' is no name"),
    ("name", "a" * 65, "--name: 'a+' is no name"),
    ("cloud-init", "", "--cloud-init: .*empty"),
    ("detach", None, "--detach takes no value"),
    ("kernel", "", "--kernel: .*empty"),
    ("initrd", "", "--initrd: .*empty"),
    ("memory", "lots", "--memory: 'lots' is no size: give .*512M"),
    ("memory", "1M", "--memory: 1M is less than 2M"),
    ("memory", "4000000G", "--memory: .*give less"),
    ("cpus", "0", "--cpus: 0 is out of range: give 1 to 254"),
    ("cpus", "1.5", "--cpus: '1.5' is no number: give 1 to 254"),
    ("accel", "warp", "--accel: 'warp' is not known: give auto, kvm or soft"),
    ("cpu-engine", "steam", "--cpu-engine: 'steam' is not known: give interp or jit"),
    ("code-cache", "5", "--code-cache: 5 is less than 1M"),
    ("code-cache", "3G", "--code-cache: 3G is too much: give 2G at the most"),
    ("perf-map", None, "--perf-map takes no value"),
    ("stats", None, "--stats takes no value"),
    ("trace", "exec,exceptio", "--trace: 'exceptio' is not known: give some of exec, exceptions and"),
    ("trace", "exec,", "--trace: '' is not known"),
    ("trace-file", "", "--trace-file: .*empty"),
    ("no-reboot", None, "--no-reboot takes no value"),
    ("ephemeral", None, "--ephemeral takes no value"),
    ("print-config", None, "--print-config takes no value"),
    ("disk", "", "--disk: no file named: give FILE"),
    ("disk", "a,format=floppy", "--disk: format: 'floppy' is not known: give raw or qcow2"),
    ("disk", "a,format", "--disk: format: there is no value: give format=raw|qcow2"),
    ("disk", "a,readonly=maybe", "--disk: readonly: 'maybe' is neither on nor off"),
    ("disk", "a,ephemeral=1", "--disk: ephemeral: '1' is neither on nor off"),
    ("disk", "a,fast", "--disk: 'fast' is not known: give file=FILE, format="),
    ("disk", "a,readonly,ephemeral", "--disk: a cannot be both readonly and ephemeral"),
    ("net", "pigeons", "--net: kind: 'pigeons' is not known: give user, tap, socket, passt or none"),
    ("net", "user,speed=9", "--net: 'speed=9' is not known: give kind="),
    ("net", "user,mac=52:54:0:1:2:3", "--net: mac: '52:54:0:1:2:3' is no address: give six bytes"),
    ("net", "user,mac=52:54:00:01:02:03x", "--net: mac: .* is no address"),
    ("net", "user,mac=01:00:00:00:00:00", "--net: mac: .*whose first byte is even"),
    ("net", "user,mac=00:00:00:00:00:00", "--net: mac: .* cannot be one machine's address"),
    ("net", "user,mtu=67", "--net: mtu: 67 is out of range: give 68 to 65535"),
    ("net", "user,mtu=big", "--net: mtu: 'big' is no number: give 68 to 65535"),
    ("net", "tap,queues=9,ifname=x", "--net: queues: 9 is out of range: give 1 to 8"),
    ("net", "user,queues=2", "--net: queues is not for a network of kind user: .* give tap"),
    ("net", "user,restricted=1", "--net: restricted: '1' is neither on nor off"),
    ("net", "tap,ifname=x,restricted", "--net: restricted is not for a network of kind tap"),
    ("net", "tap", "--net: no tap device named: give ifname=NAME"),
    ("net", "tap,ifname=a/b", "--net: 'a/b' cannot be a network device's name"),
    ("net", "tap,ifname=0123456789abcdef", "--net: .* give 1 to 15 characters"),
    ("net", "user,ifname=x", "--net: ifname is not for a network of kind user"),
    ("net", "user,bridge=x", "--net: bridge is not for a network of kind user"),
    ("net", "tap,fd=2", "--net: fd: 2 is out of range: give 3 to"),
    ("net", "tap,fd=3,ifname=x", "--net: an open device has its name already: give fd=3 without"),
    ("net", "tap,fd=3,queues=2", "--net: fd=3 is one queue: give ifname=NAME"),
    ("net", "socket", "--net: one side listens .*: give either listen=ADDRESS or connect="),
    ("net", "socket,listen=a,connect=b", "--net: one side listens and the other connects"),
    ("net", "socket,listen=", "--net: listen: .*empty name: give a path, or HOST:PORT"),
    ("net", "user,connect=b", "--net: connect is not for a network of kind user"),
    ("net", "passt", "--net: where passt listens is not said: give path=FILE"),
    ("net", "passt,path=", "--net: path: .*empty"),
    ("port", "80", "--port: '80' is no pair of ports: give HOST:GUEST, as in 2222:22"),
    ("port", "80:", "--port: guest: '' is no number: give 1 to 65535"),
    ("port", ":80", "--port: host: '' is no number: give 1 to 65535"),
    ("port", "0:22", "--port: host: 0 is out of range: give 1 to 65535"),
    ("port", "22:65536", "--port: guest: 65536 is out of range: give 1 to 65535"),
    ("port", "22:22/sctp", "--port: 'sctp' of 22:22/sctp is not known: give tcp or udp"),
    ("port", "localhost:22:22", "--port: address: 'localhost' is no IPv4 address: give one"),
    ("port", "host=22", "--port: no guest named: give PORT"),
    ("share", "", "--share: directory: .*empty name: give DIR"),
    ("share", ":tag", "--share: directory: .*empty name: give DIR"),
    ("share", "a:", "--share: tag: '' cannot be a tag: give 1 to 36 bytes"),
    ("share", "a:" + "t" * 37, "--share: tag: 't+' cannot be a tag: give 1 to 36 bytes"),
    ("share", "a,readonly", "--share: 'readonly' is not known: give directory=DIR, tag=TAG or ro"),
    ("share", "a,ro=1", "--share: ro: '1' is neither on nor off"),
    ("share", "tag=x", "--share: no directory named: give DIR"),
    ("vsock", "", "--vsock: no path named: give FILE"),
    ("vsock", "a,cid=2", "--vsock: cid: 2 is out of range: give 3 to 4294967294"),
    ("vsock", "a,cid=me", "--vsock: cid: 'me' is no number: give 3 to"),
    ("vsock", "a,port=1", "--vsock: 'port=1' is not known: give path=FILE or cid=N"),
    ("channel", "agent", "--channel: 'agent' names no socket: give NAME=FILE, as in org.qemu"),
    ("channel", "=a", "--channel: '' cannot be a channel's name: give 1 to 127 bytes"),
    ("channel", "a/b=c", "--channel: 'a/b' cannot be a channel's name: .* without a slash"),
    ("channel", "a=", "--channel: path: .*empty name: give FILE"),
    ("balloon", "much", "--balloon: size: 'much' is no size: give"),
    ("balloon", "1M", "--balloon: size: 1M is less than 2M"),
    ("balloon", "5000000", "--balloon: size: 5000000 is no multiple of 4 KiB"),
    ("balloon", "513M", "--balloon: the guest cannot keep more than the memory it has: name a"),
    ("watchdog", "bark", "--watchdog: action: 'bark' is not known: give reset, poweroff, pause or"),
)
# Options which take any text at all.
FREE_OPTIONS = {"cmdline"}

# A key of a file, a bad value, and what the message has to say behind the file's name.
BAD_KEYS = (
    ("version", 2, "version: 2 is none that this anykvm reads: give 1"),
    ("version", "1", "version: a string cannot be its value: give 1"),
    ("name", "a/b", "name: 'a/b' is no name for a machine"),
    ("name", 5, "name: a number cannot be its value: give a string"),
    ("image", "", "image: .*empty"),
    ("image", 12, "image: a number cannot be its value: give a string"),
    ("cloud-init", True, "cloud-init: a truth value cannot be its value: give a string"),
    ("kernel", 5, "kernel: a number cannot be its value: give a string"),
    ("initrd", ["a"], "initrd: an array cannot be its value: give a string"),
    ("cmdline", {}, "cmdline: an object cannot be its value: give a string"),
    ("memory", True, "memory: a truth value cannot be its value: give a string with K"),
    ("memory", "1Q", "memory: '1Q' is no size"),
    ("memory", -5, "memory: -5 is less than nothing"),
    ("memory", 5000000, "memory: 5000000 is no multiple of 4 KiB"),
    ("cpus", "2", "cpus: a string cannot be its value: give a number"),
    ("cpus", 1.5, "cpus: a fraction cannot be its value: give a number"),
    ("cpus", 255, "cpus: 255 is out of range: give 1 to 254"),
    ("accel", "warp", "accel: 'warp' is not known: give auto, kvm or soft"),
    ("cpu-engine", None, "cpu-engine: null cannot be its value: give a string"),
    ("code-cache", "512K", "code-cache: 512K is less than 1M"),
    ("perf-map", 1, "perf-map: a number cannot be its value: give true or false"),
    ("stats", "on", "stats: a string cannot be its value: give true or false"),
    ("trace", "all", "trace: 'all' is not known: give some of exec, exceptions and translate"),
    ("trace-file", True, "trace-file: a truth value cannot be its value: give a string"),
    ("no-reboot", "yes", "no-reboot: a string cannot be its value: give true or false"),
    ("ephemeral", 1, "ephemeral: a number cannot be its value: give true or false"),
    ("disks", {"file": "a"}, "disks: an object cannot be its value: give an array of objects"),
    ("disks", [5], r"disks\[0\]: a number cannot be its value: give an object"),
    ("disks", [{"file": "a"}, {}], r"disks\[1\]: no file named: give FILE"),
    ("disks", [{"file": ""}], r"disks\[0\]\.file: .*empty"),
    ("disks", [{"file": "a", "format": "floppy"}],
     r"disks\[0\]\.format: 'floppy' is not known: give raw or qcow2"),
    ("disks", [{"file": "a", "readonly": 1}], r"disks\[0\]\.readonly: .*give true or false"),
    ("disks", [{"file": "a", "ephemeral": "x"}], r"disks\[0\]\.ephemeral: .*give true or false"),
    ("disks", [{"file": "a", "fast": True}], r"disks\[0\]: there is no key 'fast'"),
    ("disks", ["a,fast"], r"disks\[0\]: 'fast' is not known"),
    ("disks", [{"file": "a", "direct": 1}], r"disks\[0\]\.direct: .*give true or false"),
    ("disks", [{"file": "a", "queues": 0}], r"disks\[0\]\.queues: .*1 to 32"),
    ("disks", [{"file": "a", "queues": 33}], r"disks\[0\]\.queues: .*1 to 32"),
    ("disks", [{"file": "a", "serial": ""}], r"disks\[0\]\.serial: '' is no serial number"),
    ("disks", [{"file": "a", "serial": "x" * 21}], r"disks\[0\]\.serial: .*1 to 20 characters"),
    ("disks", [{"file": "a", "serial": "a b"}], r"disks\[0\]\.serial: .*without spaces"),
    ("disks", [{"file": "a", "iops": 0}], r"disks\[0\]\.iops: .*1 to 1000000000"),
    ("disks", [{"file": "a", "iops-burst": 0, "iops": 1}], r"disks\[0\]\.iops-burst: "),
    ("disks", [{"file": "a", "bps": 100}], r"disks\[0\]\.bps: "),
    ("disks", [{"file": "a", "bps": "fast"}], r"disks\[0\]\.bps: "),
    ("disks", [{"file": "a", "bps-burst": 1, "bps": "1M"}], r"disks\[0\]\.bps-burst: "),
    ("disks", [{"file": "a", "bps-burst": "1M"}], r"disks\[0\]: \S*a has a burst without a limit: .*bps"),
    ("disks", [{"file": "a", "iops-burst": 5}], r"disks\[0\]: \S*a has a burst without a limit: .*iops"),
    ("disks", [{"file": "a", "readonly": True, "ephemeral": True}],
     r"disks\[0\]: \S*a cannot be both"),
    ("nets", "user", "nets: a string cannot be its value: give an array"),
    ("nets", [{"kind": "pigeons"}], r"nets\[0\]\.kind: 'pigeons' is not known: give user, tap"),
    ("nets", [{"mac": 5}], r"nets\[0\]\.mac: a number cannot be its value: give a string"),
    ("nets", [{"mtu": 65536}], r"nets\[0\]\.mtu: 65536 is out of range: give 68 to 65535"),
    ("nets", [{"kind": "tap", "ifname": "t", "queues": 0}], r"nets\[0\]\.queues: 0 is out of"),
    ("nets", [{"kind": "tap"}], r"nets\[0\]: no tap device named"),
    ("nets", [{"restricted": 1}], r"nets\[0\]\.restricted: .*give true or false"),
    ("nets", [{"kind": "tap", "ifname": 5}], r"nets\[0\]\.ifname: .*give a string"),
    ("nets", [{"kind": "tap", "bridge": []}], r"nets\[0\]\.bridge: .*give a string"),
    ("nets", [{"kind": "tap", "fd": 2}], r"nets\[0\]\.fd: 2 is out of range: give 3 to 65535"),
    ("nets", [{"kind": "socket", "listen": 80}], r"nets\[0\]\.listen: .*give a string"),
    ("nets", [{"kind": "socket", "connect": ""}], r"nets\[0\]\.connect: .*give a path, or HOST:"),
    ("nets", [{"kind": "passt", "path": ""}], r"nets\[0\]\.path: .*empty name: give FILE"),
    ("ports", [{"guest": 22}], r"ports\[0\]: no host named: give PORT"),
    ("ports", ["22"], r"ports\[0\]: '22' is no pair of ports"),
    ("ports", [{"host": 22}], r"ports\[0\]: no guest named: give PORT"),
    ("ports", [{"host": 22, "guest": 22, "address": "::1"}],
     r"ports\[0\]\.address: '::1' is no IPv4 address"),
    ("ports", [{"host": 22, "guest": 22, "udp": "yes"}], r"ports\[0\]\.udp: .*give true or"),
    ("shares", [{"tag": "x"}], r"shares\[0\]: no directory named: give DIR"),
    ("shares", [{"directory": "a", "tag": ""}], r"shares\[0\]\.tag: '' cannot be a tag: give 1"),
    ("shares", [{"directory": "a", "ro": 1}], r"shares\[0\]\.ro: .*give true or false"),
    ("vsock", 5, "vsock: a number cannot be its value: give an object"),
    ("vsock", {"cid": 5}, "vsock: no path named: give FILE"),
    ("vsock", {"path": "a", "cid": 1}, r"vsock\.cid: 1 is out of range: give 3 to"),
    ("channels", ["agent"], r"channels\[0\]: 'agent' names no socket: give NAME=FILE"),
    ("channels", [{"path": "a"}], r"channels\[0\]: no name named: give NAME"),
    ("channels", [{"name": "a"}], r"channels\[0\]: no path named: give FILE"),
    ("channels", [{"name": "", "path": "a"}], r"channels\[0\]: '' cannot be a channel's name"),
    ("balloon", {"size": "1M"}, r"balloon\.size: 1M is less than 2M"),
    ("balloon", {"size": "x"}, r"balloon\.size: 'x' is no size"),
    ("watchdog", {"action": "bark"}, r"watchdog\.action: 'bark' is not known: give reset"),
    ("fly", 1, "there is no key 'fly': see anykvm help config"),
)


def write(suite, name, content):
    text = content if isinstance(content, str) else json.dumps(content)
    return suite.path(name, text.encode())


def bad_options(suite):
    for option, value, pattern in BAD_OPTIONS:
        argument = f"--{option}=x" if value is None else f"--{option}={value}"
        # What the machine cannot give is no mistake of the command line's.
        status = FAILED if "give less" in pattern else USAGE
        suite.complains(f"option {argument}", ["run", "--kernel", "vmlinuz", argument], status,
                        "anykvm run: " + pattern)


def bad_files(suite):
    for key, value, pattern in BAD_KEYS:
        path = write(suite, "vm.json", {**BASE, key: value})
        suite.complains(f"key {key}: {json.dumps(value)}", ["run", path], USAGE,
                        f"anykvm run: {re.escape(path)}: {pattern}")
    for name, text, pattern in (
            ("nothing", "", r"line \d+: this is no JSON"),
            ("half an object", '{\n"version": 1,', r"line \d+: this is no JSON"),
            ("a key twice", '{"version": 1, "cpus": 1,\n"cpus": 2}', "no JSON: duplicate.*cpus"),
            ("a number beyond all", '{"version": 1, "cpus": 99999999999999999999}', "no JSON"),
            ("an array", "[]", "an array is no configuration: give an object"),
            ("no version", "{}", '"version": 1'),
            ("bytes that are no text", '{"version": 1, "name": "\\ud800"}', "no JSON"),
    ):
        path = write(suite, "vm.json", text)
        suite.complains(f"a file with {name}", ["run", path], USAGE, re.escape(path) + ": .*" +
                        pattern)
    absent = os.path.join(suite.work, "absent.json")
    suite.complains("a file that is not there", ["run", absent], FAILED,
                    re.escape(absent) + ": No such file")
    directory = os.path.join(suite.work, "directory.json")
    os.mkdir(directory)
    suite.complains("a directory", ["run", directory], FAILED, re.escape(directory) + ": ")
    os.rmdir(directory)
    path = write(suite, "vm.json", BASE)
    suite.complains("two files", ["run", path, path], USAGE, re.escape(path))


def covered(suite):
    """Every option and key has its bad values above, and its line in the document."""
    offered = set(re.findall(r"^  (?:-\w, )?--([a-z][a-z-]*)", suite.run("help", "run").stdout,
                             re.M)) - {"help"}
    tested = {option for option, _, _ in BAD_OPTIONS} | FREE_OPTIONS
    suite.tap.result(offered == tested, "every option has a test of its bad values",
                     [f"only offered: {offered - tested}", f"only tested: {tested - offered}"])
    keys = set(re.findall(r"^  ([a-z][a-z-]*) ", suite.run("help", "config").stdout.split(
        "\nKeys:\n")[1], re.M))
    tested = {key for key, _, _ in BAD_KEYS} - {"fly"}
    suite.tap.result(keys == tested, "every key has a test of its bad values",
                     [f"only offered: {keys - tested}", f"only tested: {tested - keys}"])
    # Those of items too: the message about one names it.
    text = "\n".join(f"{key} {pattern}" for key, _, pattern in BAD_KEYS).replace("\\", "")
    missing = {(key, inner) for key, inner in item_keys(suite)
               if not re.search(rf"{key}(\[\d\])?(\.{inner}: |: no {inner} )", text)}
    suite.tap.result(not missing, "every key of an item has a test of its bad values",
                     [str(missing)])


def item_keys(suite):
    """Pairs of a key and one of its items' keys."""
    for line in suite.run("help", "config").stdout.split("\nKeys:\n")[1].splitlines():
        indent, key = re.match(r"^( +)([a-z][a-z-]*)", line).groups()
        if len(indent) == 2:
            parent = key
        else:
            yield parent, key


def documented(suite, document):
    with open(document, encoding="utf-8") as file:
        text = file.read()
    keys = set()
    for line in suite.run("help", "config").stdout.split("\nKeys:\n")[1].splitlines():
        indent, key = re.match(r"^( +)([a-z][a-z-]*)", line).groups()
        parent = key if len(indent) == 2 else parent
        keys.add(key if len(indent) == 2 else f"{parent}[].{key}")
    # An object's keys are written without the brackets.
    missing = {key for key in keys
               if f"`{key}`" not in text and f"`{key.replace('[]', '')}`" not in text}
    suite.tap.result(not missing, "the document has every key", [str(missing)])


def model(suite, name, *args):
    """What --print-config makes of the arguments."""
    result = suite.run("run", *args, "--print-config")
    if result.returncode != OK or result.stderr:
        suite.tap.result(False, name, [f"status {result.returncode}", result.stderr])
        return None
    return json.loads(result.stdout)


def same(suite, name, found, expected):
    suite.tap.result(found == expected, name, [f"found:    {found}", f"expected: {expected}"])


def agree(suite):
    """Options and files say the same, and options go over files."""
    options = ["--name", "a.b-c_1", "--kernel", "/k/vmlinuz", "--cloud-init", "/u",
               "--initrd", "/k/initrd", "--cmdline", "quiet x=1,2",
               "--memory", "1536M", "--cpus", "3", "--accel", "soft", "--cpu-engine", "interp",
               "--no-reboot", "--disk", "/d/a,,b.img,format=raw,readonly",
               "--disk=/d/c,ephemeral=on,format=qcow2", "--disk", "file=/d/e,readonly=off"]
    expected = {
        "version": 1, "name": "a.b-c_1", "kernel": "/k/vmlinuz",
        "cloud-init": "/u", "initrd": "/k/initrd", "cmdline": "quiet x=1,2",
        "memory": "1536M", "cpus": 3, "accel": "soft", "cpu-engine": "interp", "no-reboot": True,
        "disks": [{"file": "/d/a,b.img", "format": "raw", "readonly": True},
                  {"file": "/d/c", "format": "qcow2", "ephemeral": True}, {"file": "/d/e"}],
    }
    found = model(suite, "options as a file", *options)
    same(suite, "options as a file", found, expected)
    path = write(suite, "vm.json", expected)
    same(suite, "a file says the same", model(suite, "a file", path), expected)
    same(suite, "options go over a file, wherever it stands",
         model(suite, "options and a file", "--cpus", "2", path, "--memory=2G", "--disk", "/d/x"),
         {**expected, "cpus": 2, "memory": "2G", "disks": expected["disks"] + [{"file": "/d/x"}]})
    same(suite, "the last of two options counts",
         model(suite, "two options", path, "--cpus", "2", "--cpus", "4")["cpus"], 4)
    same(suite, "sizes in bytes and in words",
         [model(suite, "sizes", write(suite, "vm.json", {**BASE, "memory": memory}))["memory"]
          for memory in (536870912, "524288K", "512MiB", 4198400)], ["512M"] * 3 + ["4100K"])
    same(suite, "items as text",
         model(suite, "items", write(suite, "vm.json",
                                     {**BASE, "disks": ["/d/a,readonly"]}))["disks"],
         [{"file": "/d/a", "readonly": True}])
    same(suite, "--ephemeral is for every disk that is not read-only",
         model(suite, "ephemeral", *options, "--ephemeral")["disks"],
         [expected["disks"][0], expected["disks"][1], {"file": "/d/e", "ephemeral": True}])
    same(suite, "networks as a file",
         model(suite, "networks", "--kernel", "/k", "--net", "user,mac=52:54:00:AB:cd:ef,mtu=9000",
               "--net", "tap,ifname=tap0,queues=2", "--net", "socket,listen=/s/ock",
               "--net", "socket,connect=example.org:99", "--net", "passt,path=/p", "-p", "2222:22",
               "-p", "127.0.0.1:53:5353/udp"),
         {"version": 1, "kernel": "/k", "accel": "auto",
          "memory": "512M", "cpus": 1,
          "nets": [{"kind": "user", "mac": "52:54:00:ab:cd:ef", "mtu": 9000},
                   {"kind": "tap", "ifname": "tap0", "queues": 2},
                   {"kind": "socket", "listen": "/s/ock"},
                   {"kind": "socket", "connect": "example.org:99"},
                   {"kind": "passt", "path": "/p"}],
          "ports": [{"host": 2222, "guest": 22},
                    {"host": 53, "guest": 5353, "address": "127.0.0.1", "udp": True}]})
    same(suite, "a port brings user networking with it",
         model(suite, "a port", "--kernel", "/k", "-p", "1:1")["nets"], [{"kind": "user"}])
    suite.complains("a port without a user network", ["run", "--kernel", "/k", "-p", "1:1",
                                                      "--net", "passt,path=/p"], USAGE,
                    "anykvm run: --port: there is no user network to forward it: add --net user")
    found = model(suite, "sharing", "--kernel", "/k", "--share", "/a", "--share", "/b:tag,ro",
                  "--share", "directory=/c:d/e,tag=x:y", "--vsock", "/s,cid=7", "--channel",
                  "org.qemu.guest_agent.0=/g", "--channel", "name=n,path=/p", "--balloon=256M",
                  "--watchdog")
    same(suite, "sharing as a file",
         {key: found.get(key) for key in ("shares", "vsock", "channels", "balloon", "watchdog")},
         {"shares": [{"directory": "/a"}, {"directory": "/b", "tag": "tag", "ro": True},
                     {"directory": "/c:d/e", "tag": "x:y"}],
          "vsock": {"path": "/s", "cid": 7},
          "channels": [{"name": "org.qemu.guest_agent.0", "path": "/g"},
                       {"name": "n", "path": "/p"}],
          "balloon": {"size": "256M"}, "watchdog": {"action": "reset"}})
    same(suite, "the file says the same of sharing",
         model(suite, "sharing", write(suite, "vm.json", found)), found)
    nets = [{"kind": "socket", "listen": "s"}, {"kind": "socket", "connect": "h:1"},
            {"kind": "passt", "path": "p"}]
    same(suite, "sockets relative to the file",
         model(suite, "sockets", write(suite, "vm.json", {**BASE, "nets": nets}))["nets"],
         [{"kind": "socket", "listen": os.path.join(suite.work, "s")}, nets[1],
          {"kind": "passt", "path": os.path.join(suite.work, "p")}])
    found = model(suite, "defaults", write(suite, "vm.json", BASE))
    same(suite, "defaults, and names relative to the file", found,
         {"version": 1, "kernel": os.path.join(suite.work, "vmlinuz"), "accel": "auto", "memory": "512M", "cpus": 1})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anykvm", required=True)
    parser.add_argument("--doc", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anykvm-config-") as work:
        suite = Suite(os.path.realpath(args.anykvm), os.path.realpath(work))
        if "built without libjansson" in suite.run("run", "x.json").stderr:
            suite.tap.skip("files of configurations", "this build has no libjansson")
            return suite.tap.finish()
        agree(suite)
        bad_options(suite)
        bad_files(suite)
        covered(suite)
        documented(suite, args.doc)
        return suite.tap.finish()


if __name__ == "__main__":
    sys.exit(main())
