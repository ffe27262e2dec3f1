"""How a pivot shares one device's tunnel among many visitors: two hundred at once, and nine beside one that is stopped."""
import json
import os
import pathlib
import signal
import statistics
import subprocess
import threading
import time

VENV = pathlib.Path("target/test-venv/bin/python")
PIECE = bytes(64 << 10)
# Two hundred channels in connections of fifty, and ten stock clients.
CONNECTIONS, CHANNELS, STOCK = 4, 50, 10
# Seconds until everybody has got into their stride, and of counting.
SETTLING, COUNTING = 3, 10
OTHERS = 9


def endless(connection):
    while True:
        connection.sendall(PIECE)


class Reader:
    """A stock `ssh -W` whose output is read and counted."""

    def __init__(self, peer):
        self.bytes = 0
        self.ssh = subprocess.Popen(peer.ssh("-W", peer.ways["endless"], "pivot"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.first = threading.Event()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while piece := os.read(self.ssh.stdout.fileno(), 1 << 20):
            self.bytes += len(piece)
            self.first.set()
        self.first.set()

    def close(self):
        self.ssh.kill()
        self.ssh.wait()


def readers(peer, count):
    found = [Reader(peer) for _ in range(count)]
    for reader in found:
        reader.first.wait()
        if not reader.bytes:
            raise SystemExit(f"{peer.name}: a visitor was not let through")
    return found


def counted(reading, seconds):
    """Bytes that each received meanwhile."""
    before = [reader.bytes for reader in reading]
    time.sleep(seconds)
    return [reader.bytes - old for reader, old in zip(reading, before)]


def fairness(peer, key):
    """What the one who got least got, as a share of the median, of 210 who read as fast as they can."""
    client = subprocess.Popen([VENV, pathlib.Path(__file__).with_name("channels.py"), str(peer.port), key, str(CONNECTIONS), str(CHANNELS),
                               peer.ways["endless"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stock = []

    def said():
        print(file=client.stdin, flush=True)
        return json.loads(client.stdout.readline())

    try:
        if client.stdout.readline() != "open\n":
            raise SystemExit(f"{peer.name}: {CONNECTIONS * CHANNELS} channels were not opened")
        stock = readers(peer, STOCK)
        time.sleep(SETTLING)
        said()
        own = counted(stock, COUNTING)
        channels = said()
    finally:
        client.kill()
        client.wait()
        for reader in stock:
            reader.close()
    everybody = own + channels
    middle = statistics.median(everybody)
    return {"total": sum(everybody) / COUNTING / 1e6, "channels": min(channels) / statistics.median(channels),
            "stock": min(own) / statistics.median(own), "all": min(everybody) / middle if middle else 0.0,
            "under": sum(1 for count in everybody if count < middle / 2)}


def beside_a_stopped_one(peer):
    """The rate of nine beside one that is stopped, as a share of their rate without it: the median of pairs, taken in turn."""
    shares = []
    for _ in range(3):
        rates = []
        for stop in (False, True):
            stuck = readers(peer, 1) if stop else []
            for reader in stuck:
                reader.ssh.send_signal(signal.SIGSTOP)
            others = readers(peer, OTHERS)
            time.sleep(SETTLING)
            rates.append(sum(counted(others, COUNTING)) / COUNTING / 1e6)
            for reader in [*others, *stuck]:
                reader.close()
        shares.append(rates[1] / rates[0])
    return {"share": statistics.median(shares), "rate": rates[0]}
