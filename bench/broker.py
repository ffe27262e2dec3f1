"""Measures what an idle device costs the relay's MQTT listener in memory, beside mosquitto and rumqttd, in turn, in one run, over loopback; prints
a table in Markdown.

The devices are the same for all, thousands in one process (bench/load): each connects with a will, subscribes to two topics, retains a status, and
then says nothing. A figure is the resident memory of the server's process with all of them connected, less what it was before, for each.
"""
import argparse
import contextlib
import datetime
import os
import pathlib
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time

from measure import all_descriptors, keep, machine

LOAD = pathlib.Path("target/release/sally-load")
# Seconds that all of them have to be connected in.
LIMIT = 240
RUMQTTD = pathlib.Path("target/bench-peers/bin/rumqttd")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A server's process."""

    def __init__(self, work, fleet):
        self.work, self.fleet, self.port = work, fleet, free_port()
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)

    def resident(self):
        """KiB, when they no longer change."""
        last, same = 0, 0
        while same < 10:
            status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
            now = int(re.search(r"VmRSS:\s+(\d+)", status)[1])
            last, same = now, same + 1 if now == last else 0
            time.sleep(0.1)
        return last

    def close(self):
        self.process.kill()
        self.process.wait()


class Sally(Server):
    name = "sally"

    def command(self):
        return [LOAD, "listen", f"127.0.0.1:{self.port}", *(("--fleet", self.fleet) if self.fleet else ())]


class Mosquitto(Server):
    name = "mosquitto"

    def command(self):
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", "max_connections -1", "user root", "log_dest none"]
        if self.fleet:
            files = {"cafile": "tls_ca.pem", "certfile": "tls.pem", "keyfile": "tls.key", "crlfile": "tls.crl"}
            lines += [f"{name} {self.fleet / file}" for name, file in files.items()]
            lines += ["require_certificate true", "use_identity_as_username true"]
        else:
            lines.append("allow_anonymous true")
        config = self.work / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        return ["mosquitto", "-c", config]


class Rumqttd(Server):
    name = "rumqttd"

    def command(self):
        tls = ""
        if self.fleet:
            tls = f'[v4.1.tls]\ncapath = "{self.fleet}/tls_ca.pem"\ncertpath = "{self.fleet}/tls.pem"\nkeypath = "{self.fleet}/tls.key"\n'
        config = self.work / "rumqttd.toml"
        config.write_text(f"""id = 0
[router]
id = 0
max_connections = 20000
max_outgoing_packet_count = 200
max_segment_size = 1048576
max_segment_count = 2
[v4.1]
name = "v4-1"
listen = "127.0.0.1:{self.port}"
next_connection_delay_ms = 0
{tls}[v4.1.connections]
connection_timeout_ms = 60000
max_payload_size = 20480
max_inflight_count = 100
dynamic_filters = true
""")
        return [RUMQTTD, "-c", config]


@contextlib.contextmanager
def fleet_of(devices):
    """A folder to work in, and in it the files of a fleet."""
    work = pathlib.Path(tempfile.mkdtemp())
    try:
        fleet = (work / "fleet").resolve()
        subprocess.run([LOAD, "fleet", fleet, str(devices)], check=True)
        yield work, fleet
    finally:
        shutil.rmtree(work)


def measure(peer, work, fleet, devices):
    """KiB a connection, and seconds until all were connected. None where the server isn't there, or hasn't let all of them in in time."""
    if peer is Rumqttd and not RUMQTTD.exists():
        return None
    server = peer(work, fleet)
    try:
        before = server.resident()
        start = time.perf_counter()
        command = [LOAD, "connect", f"127.0.0.1:{server.port}", str(devices), *(("--fleet", fleet) if fleet else ())]
        load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            ready, _, _ = select.select([load.stdout], [], [], LIMIT)
            took = time.perf_counter() - start
            if not ready or load.stdout.readline() != f"connected {devices}\n":
                return None
            return (server.resident() - before) / devices, took
        finally:
            load.kill()
            load.wait()
    finally:
        server.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", default="1000,5000,10000,18000", help="how many devices")
    parser.add_argument("--write", type=pathlib.Path, metavar="FILE", help="put the table between the marks in this file")
    args = parser.parse_args()
    most = all_descriptors()
    counts = sorted(int(count) for count in args.counts.split(","))
    peers = [Sally, Mosquitto, Rumqttd]
    about = f"{machine()}; load {os.getloadavg()[0]:.1f} at the start; {datetime.date.today()}; at most {most} open files a process."
    lines = ["| | unit | " + " | ".join(peer.name for peer in peers) + " |", "| --- | --- |" + " ---: |" * len(peers)]
    print(about + "\n\n" + "\n".join(lines), flush=True)
    with fleet_of(max(counts)) as (work, fleet):
        for what, folder in (("plain", None), ("mTLS", fleet)):
            able = set(peers)
            for count in counts:
                figures = [measure(peer, work, folder, count) if peer in able else None for peer in peers]
                # Who is too slow for so many is not asked to take more.
                able = {peer for peer, figure in zip(peers, figures) if figure}
                cells = [f"{figure[0]:.1f} ({figure[1]:.0f} s)" if figure else "–" for figure in figures]
                lines.append(f"| {what}, {count:,} connections | KiB each (all in after) | " + " | ".join(cells) + " |")
                print(lines[-1], flush=True)
        if args.write:
            keep(args.write, "bench-broker", about, lines)


if __name__ == "__main__":
    main()
