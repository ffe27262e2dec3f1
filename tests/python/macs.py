"""The MACs that a server's KEXINIT offers, in each direction: macs.py waiting PORT, or macs.py first PORT CIPHERS MACS."""
import sys

from rawssh import KEXINIT, Client, string, take


def offered(client):
    payload, at = client.expect(KEXINIT), 17
    lists = []
    for _ in range(6):
        names, at = take(payload, at)
        lists.append(names.decode())
    print(*lists[4:])


def waiting(port):
    """Says nothing until the server has."""
    client = Client(port)
    client.banner()
    offered(client)


def first(port, ciphers, macs):
    client = Client(port)
    client.banner()
    lists = ["curve25519-sha256", "ssh-ed25519", ciphers, ciphers, macs, macs, "none", "none", "", ""]
    client.send(bytes([KEXINIT]) + bytes(16) + b"".join(string(names) for names in lists) + bytes(5))
    offered(client)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
