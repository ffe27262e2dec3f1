"""Whoever fills an audit log. noise.py keys PORT COUNT: so many connections, each with a key that nobody knows. noise.py refused PORT KEY COUNT:
one that is let in, and asks so often for what is not there. Each says `done`."""
import sys

from rawssh import *


def keys(port, count):
    for _ in range(int(count)):
        client = Client(port)
        client.handshake()
        client.service()
        assert client.publickey(ed25519.Ed25519PrivateKey.generate()) == USERAUTH_FAILURE
        client.socket.close()
    print("done")


def refused(port, key, count):
    client = Client(port)
    client.enter(key)
    for number in range(int(count)):
        client.send(bytes([CHANNEL_OPEN]) + string("direct-tcpip") + uint(number) + uint(1 << 20) + uint(1 << 15)
                    + string("nowhere") + uint(22) + string("127.0.0.1") + uint(1))
        client.expect(CHANNEL_OPEN_FAILURE)
    print("done")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
