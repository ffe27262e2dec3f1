"""Whoever sends much, or says that much will come: floods.py SCENARIO PORT [ARGUMENT…]. Prints what became of it;
tests/hostile/floods.rs judges."""
import itertools
import sys

from ciphers import ChaCha, CtrEtm
from rawssh import *

FLOOD = 256 << 20
PIECE = 32 << 10
BANNER = b"SSH-2.0-x\r\n"
# From the middle of what a generator gives: no packet, and the same each time.
NOISE = hashlib.shake_256(b"noise").digest(PIECE)


def clear(claimed, payload):
    """A packet in the clear that says any length."""
    return uint(claimed) + b"\4" + payload + bytes(4)


IGNORED = clear(PIECE + 5, bytes([IGNORE]) + bytes(PIECE - 1))
UNTIL_BANNER = {"line": b"x" * PIECE, "lines": b"x\r\n" * (PIECE // 3), "noise": NOISE}
AFTER_BANNER = {"ignored": IGNORED, "noise": NOISE}


def pour(client, pieces):
    """Sends until the other side closes or enough is sent: which of them it was."""
    sent = 0
    try:
        for piece in pieces:
            client.write(piece)
            sent += len(piece)
            if sent >= FLOOD:
                return f"open {sent >> 20}"
    except Closed:
        return "closed"


def before_banner(port, kind):
    print(pour(Client(port), itertools.repeat(UNTIL_BANNER[kind])))


def after_banner(port, kind):
    client = Client(port)
    client.write(BANNER)
    print(pour(client, itertools.repeat(AFTER_BANNER[kind])))


def empty_packets(port):
    """A packet has a padding of four bytes at least (RFC 4253, section 6): four zeros are none."""
    client = Client(port)
    client.write(BANNER + bytes(PIECE))
    try:
        while client.read(1):
            pass
    except Closed:
        print("closed")


def long_packet(port, claimed):
    """As much as it says, or until it is not wanted."""
    client = Client(port)
    client.write(BANNER + clear(int(claimed, 0), bytes([IGNORE])))
    print(pour(client, itertools.repeat(bytes(PIECE))))


def after_kex(port, kind):
    client = Client(port)
    client.handshake()
    ignored = bytes([IGNORE]) + string(bytes(PIECE))
    print(pour(client, itertools.repeat(NOISE) if kind == "noise" else (client.packet(ignored) for _ in itertools.count())))


def unread_answers(port, count):
    """The same question again and again, each time to be answered; no answer is read. Whoever waits for a reader reads nothing either."""
    client = Client(port)
    client.handshake()
    question = bytes([SERVICE_REQUEST]) + string("ssh-userauth")
    client.socket.settimeout(3)
    try:
        for _ in range(int(count) // 1000):
            client.send(*[question] * 1000)
        print("open")
    except Closed:
        print("closed")
    except TimeoutError:
        print("stalled")


def impossible_length(port, cipher, when):
    """A packet under good keys that says 4 GiB. What comes before it shows that the keys are good."""
    client = Client(port, {"gcm": Gcm, "chacha": ChaCha, "ctr": CtrEtm}[cipher])
    client.handshake()
    if when == "after service":
        client.service()
        print("in service")
    client.write(client.out.seal(uint(0xFFFFFFFF), bytes(64)))
    client.drain()
    print("closed")


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
