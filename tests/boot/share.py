#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What host and guest share and talk by, with Linux's drivers in the guest.

share.py --anykvm PROGRAM --helper PROGRAM [CASE...]. Debian's cloud kernel boots with busybox and a
shell on its console, which is told what to do (for the watchdog, which that kernel has no driver
for, the larger kernel does). The helper is tests/boot/share-guest.c. TAP on standard output.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import guest as guests  # noqa: E402
from guest import BOOT_LIMIT, FULL, LIMIT, Images, eventually, require, run_case  # noqa: E402
from tap import Tap  # noqa: E402

MODULES = ("fs/fuse/fuse", "fs/fuse/virtiofs", "net/vmw_vsock/vsock",
           "net/vmw_vsock/vmw_vsock_virtio_transport_common",
           "net/vmw_vsock/vmw_vsock_virtio_transport", "drivers/char/virtio_console")
# Loaded by the cases themselves.
LATER = ("drivers/virtio/virtio_balloon", "drivers/watchdog/watchdog",
         "drivers/watchdog/i6300esb")

HELLO = """#include <stdio.h>
#include "greeting.h"

int main(void)
{
    return puts(GREETING) < 0;
}
"""

MAKEFILE = """hello: hello.o
\tgcc -o $@ $<
hello.o: hello.c greeting.h
\tgcc -O2 -Wall -Werror -c -o $@ $<
"""


class Context(guests.Context):
    """What a case has to work with: a directory to share, too."""

    memory, cpus = "512M", 2

    def __init__(self, args, images, work, stack):
        super().__init__(args, images, work, stack)
        self.share = os.path.join(work, "share")
        os.mkdir(self.share)

    def path(self, name):
        return os.path.join(self.share, name)

    def guest(self, *options, **how):
        return super().guest(*options, **how).ready()

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as f:
            return f.read()


# ---------------------------------------------------------------------------- directories

def files(context):
    """A shared directory is one file system to both sides."""
    context.write("from-host", "host\n")
    guest = context.guest("--share", context.share + ":files")
    guest.run("mount -t virtiofs files /mnt")
    require(guest.run("cat /mnt/from-host") == "host", "the host's file is another one there")
    guest.run("cd /mnt && mkdir -p a/b && echo guest >a/b/c && ln -s b a/link && ln a/b/c hard "
              "&& chmod 640 hard && mkfifo pipe && mv a/b/c a/b/d")
    require(context.read("a/b/d") == "guest\n", "the guest's file is another one here")
    require(os.readlink(context.path("a/link")) == "b", "the link points elsewhere")
    require(os.stat(context.path("hard")).st_nlink == 2, "no hard link")
    require(stat.S_IMODE(os.stat(context.path("a/b/d")).st_mode) == 0o640, "another mode")
    require(stat.S_ISFIFO(os.stat(context.path("pipe")).st_mode), "no pipe")
    # A pipe is the guest's own.
    require(guest.run("cat pipe & echo through >pipe; wait") == "through", "the pipe")
    require(guest.run("cat /mnt/a/link/d") == "guest", "the link is not followed")
    # Changes on the host are seen, at the latest when the guest's knowledge has aged a second.
    context.write("from-host", "changed\n")
    os.unlink(context.path("hard"))
    time.sleep(1.2)
    require(guest.run("cat from-host; ls -1") == "changed\na\nfrom-host\npipe", "old news")
    # Names of all kinds, and more of them than one request lists.
    guest.run("mkdir many && cd many && i=0; while [ $i -lt 700 ]; do : >$i; i=$((i+1)); done")
    require(guest.run("ls | wc -l") == "700", "not all names are listed")
    require(len(os.listdir(context.path("many"))) == 700, "not all names are here")
    guest.run("cd /mnt && rm -rf many a && touch \"$(printf 'odd \\t name \\377')\"")
    require(b"odd \t name \xff" in os.listdir(context.path("").encode()), "the odd name is lost")
    require(guest.run("df /mnt | tail -n 1 | grep -c files") == "1", "df does not know it")
    guest.off()


def archive(context):
    """A tree of files survives the way to the guest and back."""
    expected = {}
    for i in range(40):
        directory = context.path(f"in/{i % 7}/{i % 3}")
        os.makedirs(directory, exist_ok=True)
        data = random.Random(i).randbytes(i * i * 300)
        with open(os.path.join(directory, f"f{i}"), "wb") as f:
            f.write(data)
        expected[f"{i % 7}/{i % 3}/f{i}"] = hashlib.sha256(data).hexdigest()
    guest = context.guest("--share", context.share)
    guest.run("mount -t virtiofs share0 /mnt && cd /mnt && tar cf all.tar in && mkdir out && "
              "tar xf all.tar -C out", 600)
    sums = guest.run("cd /mnt/in && find . -type f | xargs sha256sum", 600)
    found = {line.split()[1][2:]: line.split()[0] for line in sums.splitlines()}
    require(found == expected, "the guest reads something else")
    for name, digest in expected.items():
        with open(context.path("out/in/" + name), "rb") as f:
            require(hashlib.sha256(f.read()).hexdigest() == digest, f"{name} is another one")
    guest.run("cd / && umount /mnt && mount -t virtiofs share0 /mnt && rm -r /mnt/out", 600)
    require(not os.path.exists(context.path("out")), "it is still there")
    guest.off()


def build(context):
    """The guest builds a program in the shared directory, with the host's own compiler."""
    if not shutil.which("gcc") or not shutil.which("make"):
        return "no gcc or make here"
    for path in ("/usr/bin", "/usr/lib", "/lib64", "/tmp", "/mnt"):
        if not os.path.isdir(path) or os.stat(path).st_dev != os.stat("/").st_dev:
            return f"{path} is not in the root file system"
    context.write("hello.c", HELLO)
    context.write("greeting.h", '#define GREETING "built in the guest"\n')
    context.write("Makefile", MAKEFILE)
    guest = context.guest("--share", "/:root,ro", "--share", context.share + ":work",
                          "--memory", "1G")
    guest.run("mount -t virtiofs root /host && mount -t tmpfs tmp /host/tmp && "
              "mount -t virtiofs work /host/mnt")
    guest.run("chroot /host /usr/bin/env PATH=/usr/bin:/bin make -C /mnt", 900)
    require(guest.run("chroot /host /mnt/hello") == "built in the guest", "it does not run")
    out = subprocess.run([context.path("hello")], capture_output=True, text=True, check=True)
    require(out.stdout == "built in the guest\n", "it does not run here")
    guest.run("chroot /host /usr/bin/env PATH=/usr/bin:/bin make -C /mnt | grep 'up to date'", 300)
    guest.refuses("touch /host/usr/bin/new")
    guest.off()
    return None


def digest_of(path):
    digest, size = 0xcbf29ce484222325, 0
    with open(path, "rb") as f:
        for byte in f.read():
            digest = ((digest ^ byte) * 0x100000001b3) & (2 ** 64 - 1)
            size += 1
    return f"digest {digest:016x} {size}"


def operations(context):
    """Random operations on files, as fsx does them, agree with the guest's memory and the host."""
    guest = context.guest("--share", context.share)
    guest.run("mount -t virtiofs share0 /mnt")
    for seed in range(4):
        found = guest.run(f"/share-guest fsx /mnt/file{seed} {seed + context.args.seed} 400", 600)
        require(found == digest_of(context.path(f"file{seed}")), f"seed {seed}: {found}")
    # Several at once, with the host's memory of them dropped by the guest in between.
    found = guest.run("for i in 5 6 7; do /share-guest fsx /mnt/file$i $i 300 >/tmp/$i & done; "
                      "sleep 1; echo 3 >/proc/sys/vm/drop_caches; wait; cat /tmp/5 /tmp/6 /tmp/7",
                      900)
    require(found == "\n".join(digest_of(context.path(f"file{i}")) for i in (5, 6, 7)),
            f"several at once: {found}")
    guest.off()


def confinement(context):
    """What is around the shared directory is out of reach."""
    secret = os.path.join(context.work, "secret")
    with open(secret, "w", encoding="utf-8") as f:
        f.write("secret")
    os.symlink("../secret", context.path("link"))
    os.symlink(secret, context.path("absolute"))
    guest = context.guest("--share", context.share, "--share", context.share + ":look,ro")
    guest.run("mount -t virtiofs share0 /mnt && cd /mnt")
    # A link is the guest's to follow: into its own root.
    guest.refuses("cat link")
    guest.refuses("cat absolute")
    guest.run("echo mine >/secret")
    require(guest.run("cat link") == "mine", "the link leads out")
    guest.refuses("mknod disk b 254 0")
    guest.refuses("mknod null c 1 3")
    guest.run("cp /bin/busybox tool")
    guest.refuses("chmod 4755 tool")
    guest.run("mkdir d && mv d ../mnt/e && ls ..")
    guest.run("umount /host 2>/dev/null; mount -t virtiofs look /host && cat /host/tool >/tmp/t")
    for command in ("touch /host/new", "rm /host/tool", "echo >>/host/tool", "mkdir /host/m",
                    "mv /host/tool /host/t", "ln /host/tool /host/t", "chmod 600 /host/tool",
                    "mount -o remount,rw /host && touch /host/new"):
        guest.refuses(command)
    guest.off()
    with open(secret, encoding="utf-8") as f:
        require(f.read() == "secret", "the guest has written to what is not shared")
    require(sorted(os.listdir(context.path(""))) == ["absolute", "e", "link", "tool"],
            str(os.listdir(context.path(""))))
    require(not os.stat(context.path("tool")).st_mode & stat.S_ISUID, "a setuid program")


# ---------------------------------------------------------------------------- sockets

def connect(path, limit=30):
    deadline = time.monotonic() + limit
    while True:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(120)
        try:
            s.connect(path)
            return s
        except OSError:
            s.close()
            require(time.monotonic() < deadline, f"nobody listens at {path}")
            time.sleep(0.1)


def receive(s, size):
    data = b""
    while len(data) < size:
        more = s.recv(size - len(data))
        if not more:
            break
        data += more
    return data


def vsock(context):
    """Programs of host and guest connect to each other, both ways, and move data."""
    path = os.path.join(context.work, "vsock")
    guest = context.guest("--vsock", path + ",cid=77")
    require(not stat.S_IMODE(os.stat(path).st_mode) & 0o077, "others may connect")
    guest.run("/share-guest echo 5000 >/tmp/echo 2>&1 & while ! grep -q listening /tmp/echo; do "
              "sleep 0.1; done")
    data = random.Random(1).randbytes(3 << 20)
    for turn in range(2):
        with connect(path) as s:
            s.sendall(b"CONNECT 5000\n")
            require(re.fullmatch(rb"OK \d+\n", s.recv(100)), "no connection to the guest")
            back = []
            reader = threading.Thread(target=lambda s=s: back.append(receive(s, len(data))))
            reader.start()
            s.sendall(data)
            reader.join(120)
            require(back and back[0] == data, f"turn {turn}: not what was sent comes back")
            s.shutdown(socket.SHUT_WR)
            require(s.recv(1) == b"", "no end")
    # Nobody listens there.
    with connect(path) as s:
        s.sendall(b"CONNECT 5001\n")
        require(s.recv(100) == b"", "connected to nobody")
    guest.refuses("/share-guest send 6000 </dev/null")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path + "_6000")
        listener.listen()
        got = []

        def serve():
            s, _ = listener.accept()
            with s:
                data = b""
                while more := s.recv(65536):
                    data += more
                got.append(data)
                s.sendall(b"answer\n")

        server = threading.Thread(target=serve)
        server.start()
        require(guest.run("(echo question; dd if=/dev/zero bs=64k count=20 2>/dev/null) | "
                          "/share-guest send 6000") == "answer", "no answer for the guest")
        server.join(30)
        require(got == [b"question\n" + bytes(20 << 16)], "not what the guest sent")
    guest.off()
    require(not os.path.exists(path), "the socket is still there")


def channels(context):
    """Named ports of the console, as the guest agent has one."""
    agent, other = (os.path.join(context.work, name) for name in ("agent", "other"))
    guest = context.guest("--channel", f"org.qemu.guest_agent.0={agent}", "--channel",
                          f"other={other}")
    names = guest.run("cat /sys/class/virtio-ports/*/name").split()
    require(sorted(names) == ["org.qemu.guest_agent.0", "other"], f"ports: {names}")
    port = guest.run("cd /sys/class/virtio-ports; for p in *; do grep -q agent $p/name && echo $p; "
                     "done; cd /")
    # An agent of a few lines: it answers each line that it reads. Nothing is at the end of the
    # port while nobody is at ours.
    guest.run(f"(exec 3<>/dev/{port}; while :; do read line <&3 && echo \"got $line\" >&3 || "
              "sleep 0.1; done) & sleep 1")
    with connect(agent) as s:
        for i in range(20):
            line = f"line {i} {'x' * (i * 50 + 1)}\n".encode()
            s.sendall(line)
            answer = receive(s, len(line) + 4)
            require(answer == b"got " + line, f"line {i}: {answer}")
    with connect(agent) as s:
        s.sendall(b"again\n")
        require(receive(s, 10) == b"got again\n", "not after another has connected")
    guest.off()
    # As the console itself, with the same device.
    guest = context.guest("--channel", f"other={other}", cmdline="console=hvc0 quiet panic=-1",
                          terminal={"rows": 33, "columns": 99})
    require(guest.run("echo $(stty size) $(cat /sys/class/virtio-ports/vport*p1/name)") ==
            "33 99 other", "another window, or another port")
    guest.off()


def commands(context):
    """anykvm exec in a guest that has no agent, by the shell on its console."""
    kernel, initrd = context.images.get()
    context.anykvm("run", "--accel", "soft", "--memory", "256M", "--kernel", kernel, "--initrd",
                   initrd, "--cmdline", "console=ttyS0 quiet panic=-1", "--detach", "--name", "e")
    context.stack.callback(subprocess.run, [context.args.anykvm, "kill", "e"], check=False,
                           env=context.env, stderr=subprocess.DEVNULL)

    def start(*words):
        return subprocess.Popen([context.args.anykvm, "exec", "e", "--", *words], env=context.env,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, errors="replace")

    def execute(*words):
        with start(*words) as process:
            out, err = process.communicate(timeout=LIMIT)
            return process.returncode, out, err

    def same(expected, *words):
        found = execute(*words)
        require(found == expected, f"{words}: {found} instead of {expected}")

    def type_at_console(text):
        with subprocess.Popen([context.args.anykvm, "console", "e"], env=context.env, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            process.stdin.write(text)
            process.stdin.flush()
            time.sleep(3)
            process.kill()

    eventually(lambda: "@@ready" in context.anykvm("logs", "e"), "it does not start", BOOT_LIMIT)
    # A shell that is not told what it has for a terminal; then one that edits its lines.
    for turn in range(2):
        same((0, "hello\n", ""), "echo", "hello")
        same((7, "out\nerr\n", ""), "sh", "-c", "echo out; echo err >&2; exit 7")
        same((0, "", ""), "true")
        same((0, "no end", ""), "printf", "no end")
        same((0, "\n\n", ""), "printf", "\\n\\n")
        odd = "it's \"odd\" $HOME `x` \\ !! % * \t\x01\x7f\n\u00e4\n"
        same((0, odd, ""), "printf", "%s", odd)
        status, out, _ = execute("no-such-program")
        require(status == 127 and "not found" in out, f"not found: {status}, {out}")
        same((126, out := execute("/tmp")[1], ""), "/tmp")
        require("ermission" in out, out)
        same((0, "", ""), "cat")
        same((0, "x" * 70000 + "\n", ""), "sh", "-c", "head -c 70000 /dev/zero | tr '\\0' x; echo")
        lines = "".join(f"{i}\n" for i in range(1, 3001))
        same((0, lines, ""), "seq", "3000")
        if not turn:
            type_at_console("stty echo; exec setsid cttyhack env PS1='# ' sh\n")
    # Ctrl-C is the command's, and the next finds the shell as it was.
    with start("sh", "-c", "echo begun; sleep 600") as process:
        require(process.stdout.readline() == "begun\n", "it does not begin")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT)
        require(process.returncode == 130, f"Ctrl-C: {process.returncode}")
    same((0, "here\n", ""), "echo", "here")
    # Where it is not heard, a second one is.
    with start("sh", "-c", "trap '' INT; echo begun; sleep 5; echo over") as process:
        require(process.stdout.readline() == "begun\n", "it does not begin")
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=4)
        require(process.returncode == 130, f"twice Ctrl-C: {process.returncode}")
    time.sleep(5)
    status, _, err = execute("echo", "x" * 4000)
    require(status == 125 and "too long to be typed" in err, err)
    status, _, err = execute()
    require(status == 125 and "use anykvm console e" in err, err)
    # Somebody is there who is no shell.
    type_at_console("sh -c 'while :; do printf \"debian login: \"; read x; done'\n")
    status, _, err = execute("true")
    require(status == 125 and "asks for a login: log in there first, with anykvm console e" in err,
            err)
    context.anykvm("kill", "e")


# ---------------------------------------------------------------------------- memory, watchdog

def shared_memory(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return int(re.search(r"RssShmem:\s+(\d+)", f.read())[1]) >> 10


def balloon(context):
    """The guest gives back what it frees, and keeps no more than it is told."""
    guest = context.guest("--balloon=400M", "--name", "b")

    def given():
        return int(guest.run("grep balloon_inflate /proc/vmstat").split()[1]) >> 8

    guest.run("mount -t tmpfs tmp /mnt && dd if=/dev/zero of=/mnt/f bs=1M count=200 2>/dev/null")
    used = shared_memory(guest.console.pid)
    require(used > 220, f"200 MiB written, but only {used} MiB in use")
    guest.run("insmod /modules/virtio_balloon.ko")
    eventually(lambda: given() == 112, f"{given()} MiB given back, and not 112", 60)

    def told():
        return json.loads(context.anykvm("stats", "--json", "b"))["balloon"]

    require((told()["wanted"], told()["actual"]) == (400 << 20, 400 << 20), f"stats: {told()}")
    # What the guest says of itself is of now.
    context.anykvm("stats", "b")
    found = told()["guest"]
    memory = dict(re.findall(r"(?m)^(\w+): +(\d+) kB", guest.run("cat /proc/meminfo")))
    for name, line in (("free", "MemFree"), ("available", "MemAvailable"), ("total", "MemTotal")):
        require(abs(found[name] - (int(memory[line]) << 10)) < 16 << 20,
                f"{line} is {memory[line]} kB, stats say {found}")
    require(found["age"] < 2, f"stats are {found['age']} s old")
    for size, away in (("448M", 64), ("320M", 192), ("400M", 112)):
        context.anykvm("balloon", "b", size)
        eventually(lambda size=size: context.anykvm("balloon", "b") ==
                   f"b has {size} and shall keep {size}\n", f"not {size}", 60)
        pages = dict(line.split() for line in guest.run("grep ^balloon_ /proc/vmstat").splitlines())
        now = int(pages["balloon_inflate"]) - int(pages["balloon_deflate"]) >> 8
        require(now == away, f"{size}: the balloon has {now} MiB, not {away}")
    guest.run("rm /mnt/f")
    eventually(lambda: shared_memory(guest.console.pid) < used - 120,
               f"{shared_memory(guest.console.pid)} of {used} MiB are still in use", 60)
    # What was given back is there again when it is needed.
    guest.run("dd if=/dev/zero bs=1M count=200 2>/dev/null | tr '\\0' x >/mnt/f")
    require(guest.run("sha256sum </mnt/f").split()[0] ==
            hashlib.sha256(b"x" * (200 << 20)).hexdigest(), "memory with holes")
    guest.off()


def watchdog(context):
    """A guest that hangs is reset, and knows why; or it is paused, or switched off."""
    package = FULL
    if not context.images.get(package):
        return f"no package {package}"
    guest = context.guest("--watchdog", package=package)
    load = "insmod /modules/watchdog.ko && insmod /modules/i6300esb.ko heartbeat=2"
    guest.run(load)
    guest.run("exec 3>/dev/watchdog; for i in 1 2 3 4; do echo >&3; sleep 1; done")
    # No more of that.
    guest.console.send(b"while :; do :; done\n")
    guest.console.expect(rb"watchdog has expired: it is reset", 60)
    guest.ready()
    guest.run(load)
    require(guest.run("cat /sys/class/watchdog/watchdog0/bootstatus") == "32",
            "it does not know why it was reset")
    guest.off()
    guest = context.guest("--watchdog=pause", "--name", "w", package=package)
    guest.run(load)
    guest.console.send(b"exec 3>/dev/watchdog; echo a >&3; while :; do :; done\n")
    guest.console.expect(rb"watchdog has expired: it is paused", 60)
    eventually(lambda: json.loads(context.anykvm("ps", "--json"))[0]["state"] == "paused",
               "it is not paused")
    guest.kill()
    guest = context.guest("--watchdog=poweroff", package=package)
    guest.run(load + " nowayout=1")
    guest.console.send(b"exec 3>/dev/watchdog; echo a >&3; while :; do :; done\n")
    guest.console.expect(rb"watchdog has expired: it is switched off", 60)
    require(guest.console.wait(60) == 0, "it does not end")
    return None


# ---------------------------------------------------------------------------- main

CASES = (files, archive, build, operations, confinement, vsock, channels, commands, balloon,
         watchdog)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anykvm", required=True)
    parser.add_argument("--helper", required=True, help="share-guest, statically linked")
    parser.add_argument("--engine", help="--cpu-engine of anykvm run")
    parser.add_argument("--seed", type=int, default=1, help="for random operations")
    parser.add_argument("--verbose", action="store_true", help="show consoles of what fails")
    parser.add_argument("cases", nargs="*")
    args = parser.parse_args()
    args.anykvm = os.path.realpath(args.anykvm)
    args.helper = os.path.realpath(args.helper)
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="anykvm-share-") as work:
        images = Images(work, MODULES, LATER, (("share-guest", args.helper),))
        if not images.get():
            tap.skip("sharing", "the packages linux-image-cloud-amd64 and busybox-static cannot "
                     "be had")
            return tap.finish()
        for case in CASES:
            if not args.cases or case.__name__ in args.cases:
                run_case(tap, case.__name__, case, lambda directory, stack:
                         Context(args, images, directory, stack), args.verbose)
        return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
