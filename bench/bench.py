"""Measures a door of Sally beside OpenSSH's sshd, in turn, in one run, with the stock ssh client.

Each figure is a median; the ratio is Sally's to sshd's. Payloads lie in memory (/dev/shm); so do Sally's records. sshd records nothing.
"""
import argparse
import os
import pathlib
import platform
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

SHM = pathlib.Path("/dev/shm")
# A bash that believes to be a login's first sources ~/.bashrc for a command over SSH: what is in there is nobody's business here.
SHLVL = "3"
CLIENT = ["ssh", "-F", "/dev/null", "-oBatchMode=yes", "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR",
          "-oIdentitiesOnly=yes", "-oIdentityAgent=none"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def await_port(port, process):
    """Seconds until something listens."""
    start = time.perf_counter()
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return time.perf_counter() - start
        except ConnectionRefusedError:
            if process.poll() is not None:
                raise SystemExit(f"{process.args[0]} ended with {process.returncode}")


def rss_kib(pid):
    """Resident memory of a process and its children of the same name, in KiB (proportional share where the kernel tells it)."""
    total = 0
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            total += int(line.split()[1])
    return total


class Sally:
    name = "sally"

    def __init__(self, binary, work, record):
        self.binary, self.work, self.record, self.runs = binary, work, record, 0

    def open(self):
        self.runs += 1
        self.port = free_port()
        self.log = SHM / f"bench-{os.getpid()}-{self.runs}.cast"
        self.process = subprocess.Popen(
            [self.binary, "once", "--authorized-keys", self.work / "id.pub", "--port", str(self.port), "--listen", "127.0.0.1",
             "--log", self.log, "--record", self.record], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return await_port(self.port, self.process)

    def close(self):
        if self.process.poll() is None:
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.unlink(missing_ok=True)


class Sshd:
    name = "sshd"

    def __init__(self, work):
        self.work = work
        key = work / "host"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        os.makedirs("/run/sshd", exist_ok=True)
        (work / "sshd_config").write_text(
            f"HostKey {key}\nAuthorizedKeysFile {work / 'id.pub'}\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n"
            f"SetEnv SHLVL={SHLVL}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPrintMotd no\nPrintLastLog no\n")

    def open(self):
        self.port = free_port()
        self.process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", self.work / "sshd_config", "-p", str(self.port), "-o", "ListenAddress=127.0.0.1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return await_port(self.port, self.process)

    def close(self):
        self.process.terminate()
        self.process.wait()


def client(door, work, *options, command):
    return [*CLIENT, "-i", work / "id", "-p", str(door.port), *options, "127.0.0.1", command]


def first_byte(door, work):
    """Seconds from starting ssh to the first byte of its command's output."""
    start = time.perf_counter()
    ssh = subprocess.Popen(client(door, work, command="echo x"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    ssh.stdout.read(1)
    took = time.perf_counter() - start
    ssh.stdout.read()
    ssh.wait()
    return took


def transfer(door, work, way, payload, cipher):
    """MB/s of one bulk transfer."""
    size = payload.stat().st_size
    start = time.perf_counter()
    if way == "download":
        ssh = subprocess.Popen(client(door, work, "-c", cipher, command=f"cat {payload}"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        got = 0
        while piece := ssh.stdout.read(1 << 20):
            got += len(piece)
    else:
        with payload.open("rb") as source:
            ssh = subprocess.Popen(client(door, work, "-c", cipher, command="wc -c"), stdin=source, stdout=subprocess.PIPE)
            got = int(ssh.stdout.read() or 0)
    ssh.wait()
    if got != size:
        raise SystemExit(f"{door.name}: {way} of {size} bytes brought {got}")
    return size / 1e6 / (time.perf_counter() - start)


def in_turn(doors, runs, measure):
    """Runs a measurement on each door in turn, so that a machine that slows down slows both; gives the medians."""
    figures = {door.name: [] for door in doors}
    for _ in range(runs):
        for door in doors:
            opening = door.open()
            try:
                figures[door.name].append(measure(door, opening))
            finally:
                door.close()
    return {name: statistics.median(values) for name, values in figures.items()}


def row(what, unit, figures, digits=1):
    ours, theirs = figures["sally"], figures.get("sshd")
    ratio = f"{ours / theirs:.2f}" if theirs else ""
    theirs = f"{theirs:.{digits}f}" if theirs else ""
    print(f"| {what} | {unit} | {ours:.{digits}f} | {theirs} | {ratio} |", flush=True)


def memory(door, work):
    """PSS in KiB of the server side with one session that waits."""
    ssh = subprocess.Popen(client(door, work, command="echo x; cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    ssh.stdout.read(2)
    family = [door.process.pid]
    if door.name == "sshd":
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, parent = int(stat.parent.name), int(stat.read_text().rsplit(")", 1)[1].split()[1])
                if parent in family and "sshd" in stat.read_text():
                    family.append(pid)
            except (OSError, IndexError):
                pass
    total = sum(rss_kib(pid) for pid in family)
    ssh.stdin.close()
    ssh.wait()
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=5, help="runs of a transfer (short measurements: four times as many)")
    parser.add_argument("--megabytes", type=int, default=512, help="size of a payload")
    parser.add_argument("--ciphers", default="aes128-gcm@openssh.com,chacha20-poly1305@openssh.com")
    args = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp())
    payloads = {}
    try:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", work / "id"], check=True)
        for name in ("random", "text", "zero"):
            payloads[name] = SHM / f"bench-{os.getpid()}-{name}"
        with payloads["random"].open("wb") as out:
            for _ in range(args.megabytes):
                out.write(os.urandom(1 << 20))
        line = b"-rw-r--r-- 1 root root 4096 Nov 22 10:02 a-file-with-a-name.txt\n"
        payloads["text"].write_bytes((line * ((args.megabytes << 20) // len(line) + 1))[:args.megabytes << 20])
        payloads["zero"].write_bytes(bytes(args.megabytes << 20))
        report(args, work, payloads)
    finally:
        for payload in payloads.values():
            payload.unlink(missing_ok=True)
        shutil.rmtree(work)


def report(args, work, payloads):
    version = subprocess.run(["ssh", "-V"], capture_output=True, text=True).stderr.strip()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, {version}; load {os.getloadavg()[0]:.1f}; "
          f"medians; payloads of {args.megabytes} MiB and records on tmpfs\n")
    print("| what | unit | sally | sshd | ratio |\n| --- | --- | ---: | ---: | ---: |")
    sshd, whole, head = Sshd(work), Sally(args.binary, work, "all"), Sally(args.binary, work, "head=1M")
    short = args.runs * 4
    row("start to listening", "ms", in_turn([whole, sshd], short, lambda door, opening: (visit(door, work), opening * 1e3)[1]))
    row("connect to first byte", "ms", in_turn([whole, sshd], short, lambda door, _: first_byte(door, work) * 1e3))
    row("memory, one session", "KiB", in_turn([whole, sshd], args.runs, lambda door, _: memory(door, work)), 0)
    row("binary", "KiB", {"sally": args.binary.stat().st_size / 1024}, 0)
    for cipher in args.ciphers.split(","):
        for way in ("download", "upload"):
            for record, payload in ((head, "random"), (whole, "random"), (whole, "text"), (whole, "zero")):
                figures = in_turn([record, sshd], args.runs, lambda door, _: transfer(door, work, way, payloads[payload], cipher))
                row(f"{way}, {payload}, {cipher.split('@')[0]}, --record {record.record}", "MB/s", figures, 0)


def visit(door, work):
    """One visit, so that a door which waits for it closes."""
    subprocess.run(client(door, work, command="true"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main()
