"""Wakes at a steady rate for some minutes, none of which may be lost: `sally relay` with its own MQTT, agents, and visitors of two kinds, a load
client that opens a channel and reads the device's greeting, and stock `ssh`. Prints a table in Markdown.

Visitors have keys and addresses of their own, ten of each: one key, or one address, may not cause so many wakes.
"""
import argparse
import asyncio
import datetime
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

import asyncssh

from fleet import Run
from measure import machine

VISITORS = 10


class Load:
    def __init__(self, run, keys):
        self.run, self.keys, self.took, self.lost = run, keys, [], []

    async def visitor(self, number, names, every, until):
        """Reaches one device after the other through one connection, each once its turn has come."""
        options = {"known_hosts": None, "username": "root", "client_keys": [str(self.keys[number])], "config": None}
        async with asyncssh.connect("127.0.0.1", self.run.relay.port, local_addr=(f"127.0.1.{number + 1}", 0), **options) as relay:
            turn, next_turn = 0, time.monotonic() + every * number / VISITORS
            tasks = []
            while next_turn < until:
                await asyncio.sleep(max(0, next_turn - time.monotonic()))
                tasks.append(asyncio.create_task(self.reach(relay, names[turn % len(names)])))
                turn, next_turn = turn + 1, next_turn + every
            await asyncio.gather(*tasks)

    async def reach(self, relay, name):
        start = time.perf_counter()
        try:
            reader, writer = await relay.open_connection(name, 22)
            greeting = await asyncio.wait_for(reader.readuntil(b"\n"), 30)
            writer.close()
            if not greeting.startswith(b"SSH-2.0-"):
                raise ValueError(greeting)
            self.took.append((time.perf_counter() - start) * 1e3)
        except Exception as error:  # Whatever it is, the wake is lost.
            self.lost.append(f"{name}: {error}")


async def stock(run, name, every, until, took, lost):
    """A stock ssh, again and again."""
    next_turn = time.monotonic()
    while next_turn < until:
        await asyncio.sleep(max(0, next_turn - time.monotonic()))
        start = time.perf_counter()
        command = [str(word) for word in run.ssh("relay", run.relay.port)] + ["-J", "pivot", name, "true"]
        child = await asyncio.create_subprocess_exec(*command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        _, said = await child.communicate()
        if child.returncode:
            lost.append(f"{name}: {said.decode()}")
        else:
            took.append((time.perf_counter() - start) * 1e3)
        next_turn += every


async def load(args, run, keys):
    crowd, took, lost = Load(run, keys), [], []
    until = time.monotonic() + args.minutes * 60
    own = len(run.names) - args.stock_devices
    shares = [run.names[number:own:VISITORS] for number in range(VISITORS)]
    every = 60 / args.rate * VISITORS
    stock_every = 60 / args.stock_rate * args.stock_devices
    await asyncio.gather(
        *(crowd.visitor(number, names, every, until) for number, names in enumerate(shares)),
        *(stock(run, name, stock_every, until, took, lost) for name in run.names[own:]),
    )
    return crowd, took, lost


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", type=lambda name: pathlib.Path(name).resolve())
    parser.add_argument("--rate", type=int, default=500, help="wakes a minute by the load client")
    parser.add_argument("--stock-rate", type=int, default=60, help="visits a minute by stock ssh")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--devices", type=int, default=120, help="a device may be woken 10 times a minute")
    parser.add_argument("--stock-devices", type=int, default=20, help="of those, for stock ssh")
    args = parser.parse_args()
    work, run = pathlib.Path(tempfile.mkdtemp(dir="/run")), None
    try:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", work / "id"], check=True)
        keys = [work / f"visitor-{number}" for number in range(VISITORS)]
        for key in keys:
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        run = Run(argparse.Namespace(binary=args.binary, rtt=0, devices=args.devices, runs=1), work, [key.with_suffix(".pub") for key in keys])
        print(f"{machine()}; load {os.getloadavg()[0]:.1f} at the start; {datetime.date.today()}; {args.devices} agents, {args.minutes:g} minutes.\n")
        crowd, took, lost = asyncio.run(load(args, run, keys))
        woken = (work / "audit").read_text().count('"what":"woken"')
        print("| visitors | reached | lost | median, ms | longest, ms |\n| --- | ---: | ---: | ---: | ---: |")
        for who, times, gone in (("load client", crowd.took, crowd.lost), ("stock ssh", took, lost)):
            print(f"| {who} | {len(times)} | {len(gone)} | {statistics.median(times):.0f} | {max(times):.0f} |")
        print(f"\n{woken} wakes were published.")
        for sentence in sorted(set(crowd.lost + lost))[:10]:
            print("lost:", sentence)
    finally:
        if run:
            run.close()
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
