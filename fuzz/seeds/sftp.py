#!/usr/bin/env python3
"""Writes the seeds of the target sftp: what clients say, in pieces of so many bytes."""
import pathlib
import struct

HERE = pathlib.Path(__file__).parent / "sftp"


def u32(number):
    return struct.pack(">I", number)


def u64(number):
    return struct.pack(">Q", number)


def s(value):
    value = value.encode() if isinstance(value, str) else value
    return u32(len(value)) + value


def stream(*packets):
    return b"".join(s(packet) for packet in packets)


def request(kind, *fields):
    return bytes([kind]) + u32(7) + b"".join(fields)


def extended(name, *fields):
    return request(200, s(name), *fields)


INIT, HANDLE, NO_ATTRS = b"\x01" + u32(3), s(b"\0\0\0\0"), u32(0)
# Size, owner, mode, times, and one that nobody knows.
ALL_ATTRS = u32(0x8000000f) + u64(5) + u32(1000) * 2 + u32(0o100644) + u32(1_000_000_000) * 2 + u32(1) + s("name@example.com") + s("value")

SEEDS = {
    "get": (0, [INIT, request(16, s(".")), request(17, s("file")), request(3, s("file"), u32(1), NO_ATTRS), request(8, HANDLE),
                request(5, HANDLE, u64(0), u32(32768)), request(5, HANDLE, u64(32768), u32(32768)), request(4, HANDLE)]),
    "put": (3, [INIT, request(3, s("file"), u32(0x1a), ALL_ATTRS), request(6, HANDLE, u64(0), s("data" * 20)), request(10, HANDLE, ALL_ATTRS),
                extended("fsync@openssh.com", HANDLE), request(4, HANDLE)]),
    "tree": (11, [INIT, request(14, s("sub"), ALL_ATTRS), request(11, s("sub")), request(12, HANDLE), request(7, s("sub/x")),
                  request(9, s("sub"), ALL_ATTRS), request(13, s("x")), request(15, s("sub")), request(18, s("a"), s("b")), request(19, s("l")),
                  request(20, s("target"), s("link"))]),
    "extensions": (1, [INIT, extended("posix-rename@openssh.com", s("a"), s("b")), extended("statvfs@openssh.com", s("/")),
                       extended("fstatvfs@openssh.com", HANDLE), extended("hardlink@openssh.com", s("a"), s("b")),
                       extended("lsetstat@openssh.com", s("l"), ALL_ATTRS), extended("limits@openssh.com"),
                       extended("expand-path@openssh.com", s("~/x")), extended("copy-data", HANDLE, u64(0), u64(0), HANDLE, u64(9)),
                       extended("home-directory", s("root")), extended("users-groups-by-id@openssh.com", s(u32(0) * 2), s(u32(0))),
                       extended("nobody@example.com", s("?"))]),
    "ends": (2, [INIT, request(99), b"\x03", b"\x11\0\0\0\1\0\0\0\xff"]),
}

HERE.mkdir(exist_ok=True)
for name, (size, packets) in SEEDS.items():
    (HERE / name).write_bytes(bytes([size]) + stream(*packets))
# A length that no packet has, and one that is longer than what follows.
(HERE / "lengths").write_bytes(b"\0" + stream(INIT) + u32((256 << 10) + 1))
(HERE / "cut-off").write_bytes(b"\5" + stream(INIT) + u32(256 << 10) + b"\x06" + bytes(40))
