"""Kills a broker under thousands of devices, starts it again after some seconds, and measures how they come back: `sally`'s MQTT listener beside
mosquitto, in turn, in one run, over loopback; prints a table in Markdown.

The devices are the same for both, thousands in one process (bench/load), and wait between their attempts as agents do. The rate is the largest of
devices let in within one second.
"""
import argparse
import datetime
import os
import pathlib
import re
import subprocess
import time

from broker import LOAD, Mosquitto, Sally, fleet_of
from measure import all_descriptors, keep, machine

PATIENCE = 600


class Crowd:
    """The devices."""

    def __init__(self, port, devices, fleet):
        self.devices = devices
        command = [LOAD, "connect", f"127.0.0.1:{port}", str(devices), "--again", "--at-once", str(devices), *(("--fleet", fleet) if fleet else ())]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def second(self):
        """How many are there, and how many came in the last second."""
        held, came = re.fullmatch(r"held (\d+) came (\d+)\n", self.process.stdout.readline()).groups()
        return int(held), int(came)

    def all_there(self):
        """Seconds until they are, and the most that came in one."""
        start, most, last = time.monotonic(), 0, time.monotonic() + PATIENCE
        while time.monotonic() < last:
            held, came = self.second()
            most = max(most, came)
            if held == self.devices:
                return time.monotonic() - start, most
        raise SystemExit(f"only {held} of {self.devices} came within {PATIENCE} s")

    def close(self):
        self.process.kill()
        self.process.wait()


def measure(peer, work, fleet, args):
    server = peer(work, fleet)
    crowd = Crowd(server.port, args.devices, fleet)
    try:
        first = crowd.all_there()
        server.close()
        outage = time.monotonic() + args.outage
        while crowd.second()[0] or time.monotonic() < outage:
            pass
        server.start()
        return first, crowd.all_there()
    finally:
        crowd.close()
        server.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--outage", type=float, default=5, help="seconds")
    parser.add_argument("--write", type=pathlib.Path, metavar="FILE", help="put the table between the marks in this file")
    args = parser.parse_args()
    all_descriptors()
    about = f"{machine()}; load {os.getloadavg()[0]:.1f} at the start; {datetime.date.today()}; {args.devices:,} devices, {args.outage:g} s of outage."
    lines = ["| | all in at first, s | all back, s after the restart | most in one second |", "| --- | ---: | ---: | ---: |"]
    print(about + "\n\n" + "\n".join(lines), flush=True)
    with fleet_of(args.devices) as (work, fleet):
        for what, folder in (("plain", None), ("mTLS", fleet)):
            for peer in (Sally, Mosquitto):
                (first, _), (back, rate) = measure(peer, work, folder, args)
                lines.append(f"| {peer.name}, {what} | {first:.0f} | {back:.0f} | {rate:,} |")
                print(lines[-1], flush=True)
        if args.write:
            keep(args.write, "bench-restart", about, lines)


if __name__ == "__main__":
    main()
