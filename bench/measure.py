"""What is measured of a server, each time on one that was opened for it: every function gives figures by their units. And what all benchmarks share."""
import os
import pathlib
import re
import resource
import subprocess
import time

from lag import Lag

CLIENT = ["-F", "/dev/null", "-oBatchMode=yes", "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR",
          "-oIdentitiesOnly=yes", "-oIdentityAgent=none"]
CIPHERS = {"aes128-gcm": "aes128-gcm@openssh.com", "chacha20-poly1305": "chacha20-poly1305@openssh.com"}
LISTING = "for i in 1 2 3 4 5 6 7 8; do ls -lR --color=always /usr/lib /usr/share/doc; done"


class Bench:
    def __init__(self, work):
        self.work = work
        self.hold = work / "hold"
        os.mkfifo(self.hold)

    def client(self, peer, *options, command):
        options = [*options, *(("-c", CIPHERS[peer.ciphers[-1]]) if "-c" not in options and len(peer.ciphers) == 1 else ())]
        return ["ssh", *CLIENT, "-i", self.work / "id", "-p", str(peer.port), *options, "127.0.0.1", command]

    def visit(self, peer):
        """One visit, so that a server which waits for it closes."""
        subprocess.run(self.client(peer, command="true"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)

    def opening(self, peer, seconds):
        self.visit(peer)
        return {"ms": seconds * 1e3}

    def first_byte(self, peer, _):
        """From starting ssh to the first byte of its command's output."""
        start = time.perf_counter()
        ssh = subprocess.Popen(self.client(peer, command="echo x"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        ssh.stdout.read(1)
        took = time.perf_counter() - start
        ssh.stdout.read()
        ssh.wait()
        return {"ms": took * 1e3}

    def memory(self, peer, _):
        """Before anybody came, with one session that waits, and after a gigabyte has gone through it."""
        idle = {f"idle {what}": peer.memory(what) for what in ("Rss", "Pss")} if peer.process else {}
        ssh = subprocess.Popen(self.client(peer, command="echo x; cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        ssh.stdout.read(2)
        session = {f"session {what}": peer.memory(what) for what in ("Rss", "Pss")}
        ssh.stdin.close()
        ssh.wait()
        return idle | session

    def transfer(self, peer, way, payload, cipher, delay=0):
        """A bulk transfer through a command, and what it cost the server, which a program of its own holds until that was read."""
        size = payload.stat().st_size
        lag = Lag(peer.port, delay / 2) if delay else None
        seen, peer.port = peer.port, lag.port if lag else peer.port
        start = time.perf_counter()
        if way == "download":
            ssh = subprocess.Popen(self.client(peer, "-c", CIPHERS[cipher], command=f"cat {payload}; cat {self.hold}"), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE)
            got = 0
            while got < size and (piece := os.read(ssh.stdout.fileno(), 1 << 20)):
                got += len(piece)
        else:
            with payload.open("rb") as source:
                ssh = subprocess.Popen(self.client(peer, "-c", CIPHERS[cipher], command=f"wc -c; cat {self.hold}"), stdin=source,
                                       stdout=subprocess.PIPE)
                got = int(ssh.stdout.readline() or 0)
        took = time.perf_counter() - start
        peer.port = seen
        if got != size:
            raise SystemExit(f"{peer.name}: {way} of {size} bytes brought {got}")
        cpu, memory = peer.cpu_seconds(), peer.memory("Rss")
        self.hold.open("wb").close()
        ssh.wait()
        if lag:
            lag.close()
        return {"MB/s": size / 1e6 / took, "server CPU, s/GiB": cpu / (size / (1 << 30)), "Rss after": memory}

    def sftp(self, peer, way, payload, cipher):
        size = payload.stat().st_size
        copy = payload.with_suffix(".copy")
        batch = f"get {payload} {copy}\n" if way == "download" else f"put {payload} {copy}\n"
        command = ["sftp", *CLIENT, "-i", self.work / "id", "-P", str(peer.port), "-c", CIPHERS[cipher], "-b", "-", "127.0.0.1"]
        start = time.perf_counter()
        subprocess.run(command, input=batch, text=True, stdout=subprocess.DEVNULL, check=True)
        took = time.perf_counter() - start
        got = copy.stat().st_size
        copy.unlink()
        if got != size:
            raise SystemExit(f"{peer.name}: sftp {way} of {size} bytes brought {got}")
        return {"MB/s": size / 1e6 / took}

    def flood(self, peer, _):
        """A terminal full of colours: how fast it comes, of what a program writes without pause."""
        start = time.perf_counter()
        ssh = subprocess.Popen(self.client(peer, "-tt", command=LISTING), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        got = 0
        while piece := ssh.stdout.read(1 << 20):
            got += len(piece)
        ssh.wait()
        return {"MB/s": got / 1e6 / (time.perf_counter() - start)}


def payloads(folder, megabytes):
    """Files of bytes that are no text, of text, and of NULs."""
    made = {name: folder / f"bench-{os.getpid()}-{name}" for name in ("random", "text", "zero")}
    with made["random"].open("wb") as out:
        for _ in range(megabytes):
            out.write(os.urandom(1 << 20))
    line = b"-rw-r--r-- 1 root root 4096 Nov 22 10:02 a-file-with-a-name.txt\n"
    made["text"].write_bytes((line * ((megabytes << 20) // len(line) + 1))[:megabytes << 20])
    made["zero"].write_bytes(bytes(megabytes << 20))
    return made


def existing(folder, megabytes):
    """A file whose pages are there, for records to be written over."""
    file = folder / f"bench-{os.getpid()}-existing"
    with file.open("wb") as out:
        for _ in range(2 * megabytes):
            out.write(bytes(1 << 20))
    return file


def machine():
    """One line that says on what the figures were made."""
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    system = next((line.split("=", 1)[1].strip('"') for line in pathlib.Path("/etc/os-release").read_text().splitlines()
                   if line.startswith("PRETTY_NAME")), "?")
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True).stderr.strip()
    return f"{os.cpu_count()} × {model}, {memory} GiB, {system}, Linux {os.uname().release}, client {ssh}"


def all_descriptors():
    """Raises the limit of open files as far as it goes, here and for what is started; gives it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def keep(page, name, about, lines):
    """Puts a table between the marks of that name in a page."""
    marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    page.write_text(marks.sub(lambda found: found[1] + about + "\n\n" + "\n".join(lines) + "\n" + found[2], page.read_text()))
