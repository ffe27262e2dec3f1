"""Measures `sally relay` beside OpenSSH's sshd as the pivot of stock `ssh -R` and `ssh -J`, in turn, in one run, over loopback; prints a table in
Markdown.

Each figure is a median; the ratio is Sally's to sshd's. The device, its sshd and the visitor are the same stock programs for both.
"""
import argparse
import contextlib
import datetime
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

from bench import Table, in_turn, medians
from crowd import beside_a_stopped_one, endless, fairness
from measure import keep, machine, payloads
from peers import SHM
from pivots import RATHOLE, Device, Far, Jump, Rathole, Relay, busy, echo

VENV = pathlib.Path("target/test-venv/bin/python")
# A measurement that takes longer has hung; thousands of tunnels take a while to be made.
LIMIT = 600
PINGS, WARM, NEWCOMERS = 200, 20, 10
# sshd has processes for each tunnel: twenty tell what one costs.
SSHD_TUNNELS = 20


def bounded(measure):
    """The same, and it ends."""
    def run(peer, opening):
        signal.alarm(LIMIT)
        try:
            return measure(peer, opening)
        finally:
            signal.alarm(0)
    return run


def hung(*_):
    raise SystemExit(f"a measurement took longer than {LIMIT} s")


class Run:
    def __init__(self, args, work, payload):
        self.args, self.work, self.payload = args, work, payload
        self.size = payload.stat().st_size
        relay, jump = Relay(args.binary, work), Jump(work)
        self.device = Device(work)
        self.device.open()
        self.ports = {"session": self.device.port, "source": Far(self.source).port, "echo": Far(echo).port, "endless": Far(endless).port}
        self.peers = [relay, jump]
        self.tunnels = [*self.peers, *((Rathole("tcp"), Rathole("noise")) if RATHOLE.exists() else ())]
        for peer in self.tunnels:
            peer.behind(work, self.ports)
        self.table = Table(self.tunnels)

    def source(self, connection):
        with self.payload.open("rb") as payload:
            connection.sendfile(payload)
        connection.recv(1)

    def session(self, peer):
        """A command on the device, through the pivot."""
        host, port = peer.ways["session"].split(":")
        return self.received(peer, peer.ssh("-J", "pivot", "-p", port, host, f"cat {self.payload} -"))

    def stream(self, peer):
        return self.received(peer, peer.ssh("-W", peer.ways["source"], "pivot"))

    def port(self, peer):
        """A plain TCP connection to a port of the pivot's, as to a web server behind it."""
        peer.hold(f"127.0.0.1:{peer.forwarded}:127.0.0.1:{self.ports['source']}")
        relayed = "import shutil, socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])));" \
                  "shutil.copyfileobj(s.makefile('rb'), sys.stdout.buffer, 1 << 18)"
        return self.received(peer, ["python3", "-c", relayed, str(peer.forwarded)])

    def received(self, peer, command):
        """What comes, timed from the first byte, so that no handshake is in it. The far end stays until the pivot's CPU time was read."""
        ssh = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            got = len(os.read(ssh.stdout.fileno(), 1))
            start, cpu, all_cpu = time.perf_counter(), peer.cpu_seconds(), busy()
            while got < self.size and (piece := os.read(ssh.stdout.fileno(), 1 << 20)):
                got += len(piece)
            took, cpu, all_cpu = time.perf_counter() - start, peer.cpu_seconds() - cpu, busy() - all_cpu
        finally:
            ssh.terminate()
            ssh.wait()
        if got != self.size:
            raise SystemExit(f"{peer.name}: of {self.size} bytes came {got}")
        gib = self.size / (1 << 30)
        return {"MB/s": self.size / 1e6 / took, "pivot": cpu / gib, "machine": all_cpu / gib}

    def ping(self, peer, _):
        ssh = subprocess.Popen(peer.ssh("-W", peer.ways["echo"], "pivot"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        times = []
        for _ in range(WARM + PINGS):
            start = time.perf_counter()
            os.write(ssh.stdin.fileno(), b"x")
            os.read(ssh.stdout.fileno(), 1)
            times.append((time.perf_counter() - start) * 1e6)
        ssh.terminate()
        ssh.wait()
        return {"median": statistics.median(times[WARM:]), "p99": sorted(times[WARM:])[-1 - PINGS // 100]}

    def newcomer(self, peer):
        """A stock client's start until its tunnel is accepted: the median of some."""
        return statistics.median(peer.hold(peer.newcomer(number)) * 1e3 for number in range(NEWCOMERS))

    def idle(self, peer, _):
        count = SSHD_TUNNELS if isinstance(peer, Jump) else self.args.tunnels
        before = peer.memory("Pss")
        with self.held(peer, count):
            time.sleep(1)
            each = (peer.memory("Pss") - before) / count
            return {"memory": each, "newcomer": self.newcomer(peer)}

    @contextlib.contextmanager
    def held(self, peer, count):
        client = subprocess.Popen([VENV, pathlib.Path(__file__).with_name("tunnels.py"), str(peer.port), self.work / "id", str(count), peer.many],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            if client.stdout.readline() != b"held\n":
                raise SystemExit(f"{peer.name}: {count} tunnels were not accepted")
            yield
        finally:
            client.terminate()
            client.wait()

    def bulk(self):
        for what, measure in (("session through -J", self.session), ("TCP stream through -W", self.stream)):
            for cipher in (None, "aes128-gcm"):
                for peer in self.peers:
                    peer.cipher = cipher
                row = f"{what}, {cipher or 'the cipher that a stock client gets'}"
                if not re.search(self.args.only, row):
                    continue
                figures = in_turn(self.peers, self.args.runs, bounded(lambda peer, _: measure(peer)))
                self.table.row(row, "MB/s", medians(figures["MB/s"]))
                for which, pick in (("slowest", min), ("fastest", max)):
                    self.table.row("", f"MB/s, {which} run", {name: pick(values) for name, values in figures["MB/s"].items()})
                self.table.row("", "pivot's CPU, s/GiB", medians(figures["pivot"]), 2)
                self.table.row("", "the whole machine's CPU, s/GiB", medians(figures["machine"]), 2)
        for peer in self.peers:
            peer.cipher = None
        if re.search(self.args.only, "forwarded port"):
            figures = in_turn(self.tunnels, self.args.runs, bounded(lambda peer, _: self.port(peer)))
            self.table.row("TCP stream through a forwarded port", "MB/s", medians(figures["MB/s"]))
            self.table.row("", "pivot's CPU, s/GiB", medians(figures["pivot"]), 2)
            self.table.row("", "the whole machine's CPU, s/GiB", medians(figures["machine"]), 2)

    def crowds(self):
        if re.search(self.args.only, "crowd"):
            figures = in_turn(self.peers, self.args.runs, bounded(lambda peer, _: fairness(peer, self.work / "id")))
            self.table.row("crowd: 200 channels of a load client and 10 stock ssh, all together", "MB/s", medians(figures["total"]))
            self.table.row("", "least of the 200, share of their median", medians(figures["channels"]), 2)
            self.table.row("", "least of the 10, share of their median", medians(figures["stock"]), 2)
            self.table.row("", "least of all, share of the median of all", medians(figures["all"]), 2)
            self.table.row("", "under half of that median", medians(figures["under"]))
        if re.search(self.args.only, "stopped"):
            figures = in_turn(self.peers, self.args.runs, bounded(lambda peer, _: beside_a_stopped_one(peer)))
            self.table.row("nine visitors on one device's tunnel", "MB/s", medians(figures["rate"]))
            self.table.row("the same beside one that is stopped", "share of the rate without it", medians(figures["share"]), 2)

    def small(self):
        if re.search(self.args.only, "latency"):
            figures = in_turn(self.peers, self.args.runs, bounded(self.ping))
            self.table.row(f"round trip of a byte through -W, median of {PINGS}", "µs", medians(figures["median"]))
            self.table.row("the same, p99", "µs", medians(figures["p99"]))
        if re.search(self.args.only, "tunnels"):
            alone = in_turn(self.peers, self.args.runs, bounded(lambda peer, _: {"newcomer": self.newcomer(peer)}))
            idle = in_turn(self.peers, self.args.runs, bounded(self.idle))
            load = f"{self.args.tunnels} held (sshd: {SSHD_TUNNELS})"
            self.table.row(f"memory of an idle tunnel, of {load}", "KiB", medians(idle["memory"]))
            self.table.row("new tunnel: start of ssh to accepted, none else held", "ms", medians(alone["newcomer"]), 1)
            self.table.row(f"the same, {load}", "ms", medians(idle["newcomer"]), 1)

    def close(self):
        self.device.close()
        for peer in self.tunnels:
            for client in peer.clients:
                client.kill()
            if getattr(peer, "process", None):
                peer.process.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=3, help="runs of a measurement")
    parser.add_argument("--megabytes", type=int, default=256, help="size of the payload")
    parser.add_argument("--tunnels", type=int, default=500, help="idle tunnels that the relay holds")
    parser.add_argument("--only", default="", metavar="REGEX", help="rows whose description it matches")
    parser.add_argument("--write", type=pathlib.Path, metavar="FILE", help="put the table between the marks in this file")
    args = parser.parse_args()
    signal.signal(signal.SIGALRM, hung)
    work, files, run = pathlib.Path(tempfile.mkdtemp()), {}, None
    try:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", work / "id"], check=True)
        files = payloads(SHM, args.megabytes)
        about = (f"{machine()}; load {os.getloadavg()[0]:.1f} at the start; {datetime.date.today()}; medians of {args.runs}; "
                 f"{args.megabytes} MiB of random bytes.")
        print(about + "\n")
        run = Run(args, work, files["random"])
        run.bulk()
        run.small()
        run.crowds()
        if args.write:
            keep(args.write, "bench-relay", about, run.table.lines)
    finally:
        if run:
            run.close()
        for file in files.values():
            file.unlink(missing_ok=True)
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
