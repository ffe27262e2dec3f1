"""A balancer on loopback that begins each connection it passes on with a PROXY protocol header: balancer.py PORT HEADER [SOURCE].
Says its own port. HEADER: tcp (of SOURCE, version 2), local, text (version 1), udp, unspecified, long, damaged, cut, none."""
import contextlib
import socket
import struct
import sys
import threading

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
port, kind, source = int(sys.argv[1]), sys.argv[2], (sys.argv[3:] or ["198.51.100.7"])[0]


def addresses():
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    server = "2001:db8::1" if ":" in source else "192.0.2.1"
    packed = [socket.inet_pton(family, address) for address in (source, server)]
    return b"".join(packed) + struct.pack(">HH", 50000, 22)


def version_2(command, family, rest):
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack(">H", len(rest)) + rest


header = {
    "tcp": version_2(1, 0x21 if ":" in source else 0x11, addresses() + b"\x04\0\x02no"),
    "local": version_2(0, 0, b""),
    "text": f"PROXY TCP4 {source} 192.0.2.1 50000 22\r\n".encode(),
    "udp": version_2(1, 0x12, addresses()),
    "unspecified": version_2(1, 0, b""),
    "long": version_2(1, 0x11, addresses() + bytes(60000)),
    "damaged": version_2(1, 0x11, addresses()[:-1]),
    "cut": version_2(1, 0x11, addresses())[:20],
    "none": b"",
}[kind]


def carry(here, there):
    try:
        while data := here.recv(65536):
            there.sendall(data)
        there.shutdown(socket.SHUT_WR)
    except OSError:
        with contextlib.suppress(OSError):
            there.shutdown(socket.SHUT_RDWR)


listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
while True:
    client = listener.accept()[0]
    server = socket.create_connection(("127.0.0.1", port))
    server.sendall(header)
    if kind == "cut":
        server.shutdown(socket.SHUT_WR)
    for pair in ((client, server), (server, client)):
        threading.Thread(target=carry, args=pair, daemon=True).start()
