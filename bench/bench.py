"""Measures a server of Sally beside OpenSSH's sshd, and beside dropbear and tinysshd where they apply, in turn, in one run, with the stock
client over loopback; prints a table in Markdown.

Each figure is a median; the ratio is Sally's to sshd's. Payloads lie in memory (/dev/shm); Sally's records where the row says, else in memory too.
The others record nothing.
"""
import argparse
import datetime
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile

from measure import Bench, existing, keep, machine, payloads
from peers import SHM, Sally, Sshd, others

LONG_WAY = 0.1


class Table:
    """The rows, printed as they come."""

    def __init__(self, peers):
        self.columns = [peer.name for peer in peers]
        self.lines = []
        self.say("| " + " | ".join(["what", "unit", "sally", "sshd", "ratio", *self.columns[2:]]) + " |")
        self.say("| --- | --- |" + " ---: |" * (len(self.columns) + 1))

    def say(self, line):
        self.lines.append(line)
        print(line, flush=True)

    def row(self, what, unit, figures, digits=0):
        """`figures`: by the peer's name."""
        cell = {name: f"{value:.{digits}f}" for name, value in figures.items()}
        ratio = f"{figures['sally'] / figures['sshd']:.2f}" if figures.get("sshd") else ""
        cells = [cell.get("sally", ""), cell.get("sshd", ""), ratio, *(cell.get(name, "") for name in self.columns[2:])]
        self.say(f"| {what} | {unit} | " + " | ".join(cells) + " |")


def in_turn(peers, runs, measure):
    """Runs a measurement on each peer in turn, so that a machine that slows down slows all; gives all figures, by unit and peer."""
    figures = {}
    for _ in range(runs):
        for peer in peers:
            opening = peer.open()
            try:
                for unit, value in measure(peer, opening).items():
                    figures.setdefault(unit, {}).setdefault(peer.name, []).append(value)
            finally:
                peer.close()
    return figures


def medians(figures):
    return {name: statistics.median(values) for name, values in figures.items()}


class Run:
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.bench = Bench(work)
        self.sshd, self.others = Sshd(work), [] if args.sshd_only else others(work)
        self.head, self.whole = Sally(args.binary, work, "head=1M"), Sally(args.binary, work, "all")
        self.on_disk, self.to_stdout = (Sally(args.binary, work, "all", place) for place in ("disk", "stdout"))
        self.table = Table([self.whole, self.sshd, *self.others])

    def wanted(self, what):
        return re.search(self.args.only, what)

    def small(self):
        bench, table, everyone = self.bench, self.table, [self.whole, self.sshd, *self.others]
        if self.wanted("latency"):
            listening = [peer for peer in everyone if peer.name != "tinysshd"]
            table.row("start to listening", "ms", medians(in_turn(listening, 20, bench.opening)["ms"]), 1)
            waits = in_turn(everyone, 50, bench.first_byte)["ms"]
            table.row("exec: start of ssh to first byte, median of 50", "ms", medians(waits), 1)
            table.row("the same, p99", "ms", {name: sorted(values)[-1 - len(values) // 100] for name, values in waits.items()}, 1)
        if self.wanted("memory"):
            for what, values in in_turn(everyone, 3, bench.memory).items():
                table.row(f"memory, {what.replace('Rss', 'resident').replace('Pss', 'proportional')}", "KiB", medians(values))
            table.row("binary", "KiB", {"sally": self.args.binary.stat().st_size / 1024})

    def bulk(self, files):
        for cipher in self.args.ciphers.split(","):
            for way in ("download", "upload"):
                for sally, payload in ((self.head, "random"), (self.on_disk, "random"), (self.to_stdout, "random"), (self.to_stdout, "text"),
                                       (self.to_stdout, "zero")):
                    what = f"{way}, {cipher}, {payload}, --record {sally.record}" + (f" to {sally.place}" if sally.record == "all" else "")
                    if not self.wanted(what):
                        continue
                    peers = [peer for peer in (sally, self.sshd, *self.others) if cipher in peer.ciphers]
                    measured = in_turn(peers, self.args.runs, lambda peer, _: self.bench.transfer(peer, way, files[payload], cipher))
                    self.table.row(what, "MB/s", medians(measured["MB/s"]))
                    self.table.row("", "server CPU, s/GiB", medians(measured["server CPU, s/GiB"]), 2)
                    if sally is self.head and cipher == "aes128-gcm":
                        self.table.row("resident memory after it", "KiB", medians(measured["Rss after"]))

    def other_ways(self, files):
        pair = (self.head, self.sshd)
        for way in ("download", "upload"):
            if self.wanted(f"sftp {way}"):
                measured = in_turn(pair, self.args.runs, lambda peer, _: self.bench.sftp(peer, way, files["random"], "aes128-gcm"))
                self.table.row(f"sftp {way}, aes128-gcm, random", "MB/s", medians(measured["MB/s"]))
        for cipher in self.args.ciphers.split(","):
            what = f"upload at {LONG_WAY * 1e3:.0f} ms RTT, {cipher}, random, --record head=1M"
            if self.wanted(what):
                measured = in_turn(pair, self.args.runs, lambda peer, _: self.bench.transfer(peer, "upload", files["random"], cipher, LONG_WAY))
                self.table.row(what, "MB/s", medians(measured["MB/s"]), 1)
        if self.wanted("terminal"):
            peers = [self.whole, self.sshd, *self.others]
            self.table.row("terminal, ls -lR --color, --record all", "MB/s", medians(in_turn(peers, self.args.runs, self.bench.flood)["MB/s"]), 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=5, help="runs of a transfer")
    parser.add_argument("--megabytes", type=int, default=512, help="size of a payload")
    parser.add_argument("--ciphers", default="aes128-gcm,chacha20-poly1305")
    parser.add_argument("--only", default="", metavar="REGEX", help="rows whose description it matches")
    parser.add_argument("--sshd-only", action="store_true", help="no other peers")
    parser.add_argument("--write", type=pathlib.Path, metavar="FILE", help="put the table between the marks in this file")
    args = parser.parse_args()
    work, files = pathlib.Path(tempfile.mkdtemp()), {}
    try:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", work / "id"], check=True)
        files = payloads(SHM, args.megabytes)
        # Larger than the record of such a payload: base64 is 4/3 of what it stands for.
        files["record"] = Sally.existing = existing(SHM, args.megabytes)
        about = (f"{machine()}; load {os.getloadavg()[0]:.1f} at the start; {datetime.date.today()}; medians of {args.runs}; payloads of {args.megabytes} MiB "
                 "on tmpfs.")
        print(about + "\n")
        run = Run(args, work)
        run.small()
        run.bulk(files)
        run.other_ways(files)
        if args.write:
            keep(args.write, "bench", about, run.table.lines)
    finally:
        for file in files.values():
            file.unlink(missing_ok=True)
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
