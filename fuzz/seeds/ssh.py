#!/usr/bin/env python3
"""Writes the seeds of the targets preauth and connection: conversations as a client would hold them. See fuzz/src/lib.rs for the form."""
import base64
import pathlib
import struct
import subprocess
import tempfile

HERE = pathlib.Path(__file__).parent


def u32(number):
    return struct.pack(">I", number)


def s(value):
    value = value.encode() if isinstance(value, str) else value
    return u32(len(value)) + value


def packets(*payloads):
    return b"".join(struct.pack(">H", len(payload)) + payload for payload in payloads)


def padded(payload):
    padding = 8 - (5 + len(payload)) % 8
    padding += 8 if padding < 4 else 0
    return struct.pack(">IB", 1 + len(payload) + padding, padding) + payload + bytes(padding)


def kexinit(kex="curve25519-sha256,ext-info-c,kex-strict-c-v00@openssh.com", cipher="none", mac="none"):
    names = [kex, "ssh-ed25519", cipher, cipher, mac, mac, "none", "none", "", ""]
    return b"\x14" + bytes(range(16)) + b"".join(map(s, names)) + bytes(5)


def keys():
    with tempfile.TemporaryDirectory() as folder:
        def keygen(*arguments):
            subprocess.run(["ssh-keygen", "-q", *arguments], cwd=folder, check=True)
        for kind in ("ed25519", "ecdsa", "rsa"):
            keygen("-t", kind, "-N", "", "-f", kind)
        keygen("-s", "ed25519", "-I", "id", "-n", "alice", "ecdsa.pub")
        for name in ("ed25519.pub", "ecdsa.pub", "rsa.pub", "ecdsa-cert.pub"):
            kind, blob = pathlib.Path(folder, name).read_text().split()[:2]
            yield name.removesuffix(".pub"), kind, base64.b64decode(blob)


SERVICE = b"\x05" + s("ssh-userauth")
ECDH_INIT = b"\x1e" + s(b"\x09" + bytes(31))
NEWKEYS = b"\x15"


def request(method, rest=b"", user="alice"):
    return b"\x32" + s(user) + s("ssh-connection") + s(method) + rest


def publickey(kind, blob, signature=None):
    name = {"ssh-rsa": "rsa-sha2-256"}.get(kind, kind)
    if signature is None:
        return request("publickey", b"\0" + s(name) + s(blob))
    return request("publickey", b"\1" + s(name) + s(blob) + s(s(name.removesuffix("-cert-v01@openssh.com")) + s(signature)))


def opened(kind="session", rest=b"", number=0, window=1 << 21):
    return b"\x5a" + s(kind) + u32(number) + u32(window) + u32(1 << 15) + rest


def asked(kind, rest=b"", want=True, channel=0):
    return b"\x62" + u32(channel) + s(kind) + bytes([want]) + rest


def main():
    preauth = {
        "bytes": b"\0SSH-2.0-OpenSSH_9.2p1\r\n" + padded(kexinit()) + padded(ECDH_INIT) + padded(NEWKEYS),
        "banner": b"\0hello\r\nthere\r\nSSH-1.99-x y\n" + padded(kexinit(cipher="aes128-gcm@openssh.com")),
        "exchange": b"\1" + packets(kexinit(), ECDH_INIT, NEWKEYS, SERVICE, request("none")),
        "no-exchange": b"\1" + packets(kexinit("none"), SERVICE, request("none")),
        "guess": b"\1" + packets(kexinit("mlkem768x25519-sha256,curve25519-sha256", "aes128-ctr", "hmac-sha2-256-etm@openssh.com")[:-5] + b"\1" + bytes(4),
                                 b"\x1e" + s(bytes(1216)), ECDH_INIT),
        "none": b"\2" + packets(SERVICE, request("none"), request("password", b"\0" + s("secret")), request("keyboard-interactive", s("") + s(""))),
        "noise": b"\2" + packets(b"\x02" + s("ignore"), b"\x04\1" + s("debug") + s(""), b"\x03" + u32(1), b"\x07" + u32(1) + s("server-sig-algs") + s("x"),
                                 SERVICE, SERVICE, b"\x01" + u32(11) + s("bye") + s("")),
        "too-early": b"\2" + packets(opened(), asked("exec", s("id")), b"\x50" + s("tcpip-forward") + b"\1" + s("") + u32(0), b"\x34"),
        "rekey": b"\2" + packets(SERVICE, kexinit(), ECDH_INIT, NEWKEYS, request("none")),
    }
    for name, kind, blob in keys():
        preauth[name] = b"\2" + packets(SERVICE, publickey(kind, blob), publickey(kind, blob, bytes(64)))
    terminal = asked("pty-req", s("xterm") + u32(80) + u32(24) + u32(0) + u32(0) + s(b"\x35" + u32(1) + b"\0"))
    data = b"\x5e" + u32(0) + s("hello")
    connection = {
        "shell": packets(opened(), terminal, asked("env", s("LANG") + s("C"), False), asked("shell"), data,
                         asked("window-change", u32(132) + u32(43) + u32(0) + u32(0), False), asked("signal", s("TERM"), False),
                         b"\x5d" + u32(0) + u32(100), b"\x60" + u32(0), b"\x61" + u32(0)),
        "exec": packets(opened(window=3), asked("exec", s("cat")), data, data, b"\x5d" + u32(0) + u32(0xffffffff), b"\x5f" + u32(0) + u32(1) + s("err"),
                        asked("break", u32(500)), asked("eow@openssh.com", want=False), b"\x61" + u32(0), data),
        "subsystem": packets(opened(), asked("subsystem", s("sftp")), asked("auth-agent-req@openssh.com"),
                             asked("x11-req", b"\0" + s("a") + s("b") + u32(0))),
        "globals": packets(b"\x50" + s("tcpip-forward") + b"\1" + s("localhost") + u32(8080), b"\x50" + s("cancel-tcpip-forward") + b"\1" + s("localhost") + u32(8080),
                           b"\x50" + s("keepalive@openssh.com") + b"\1", b"\x50" + s("no-more-sessions@openssh.com") + b"\0",
                           b"\x50" + s("streamlocal-forward@openssh.com") + b"\1" + s("/tmp/x")),
        "forwards": packets(opened("direct-tcpip", s("localhost") + u32(22) + s("127.0.0.1") + u32(9)), opened("x11", s("127.0.0.1") + u32(9), 1),
                            opened("direct-streamlocal@openssh.com", s("/x") + s("") + u32(0), 2), opened("forwarded-tcpip", s("a") + u32(1) + s("b") + u32(2), 3)),
        "many": packets(*[opened(number=number) for number in range(8)], *[b"\x5e" + u32(number) + s("x") for number in range(8)]),
        "rekey": packets(opened(), data, kexinit(), ECDH_INIT, NEWKEYS, data, b"\x61" + u32(0)),
        "answers": packets(b"\x5b" + u32(0) * 4, b"\x5c" + u32(0) + u32(1) + s("no") + s(""), b"\x63" + u32(0), b"\x64" + u32(0), b"\x51", b"\x52"),
    }
    for target, seeds in (("preauth", preauth), ("connection", connection)):
        for name, seed in seeds.items():
            (HERE / target / name).write_bytes(seed)


main()
