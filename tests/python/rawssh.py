"""The least of an SSH client, each message in the caller's hand: RFC 4253 with curve25519-sha256, ssh-ed25519 and aes128-gcm, or with a
cipher of ciphers.py."""
import hashlib
import os
import socket
import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PATIENCE = 60
# An sshd lets in its own account alone.
USER = os.environ.get("SSH_USER", "anyone")
DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG, SERVICE_REQUEST, SERVICE_ACCEPT, EXT_INFO = 1, 2, 3, 4, 5, 6, 7
KEXINIT, NEWKEYS, ECDH_INIT, ECDH_REPLY = 20, 21, 30, 31
USERAUTH_REQUEST, USERAUTH_FAILURE, USERAUTH_SUCCESS, USERAUTH_BANNER, USERAUTH_PK_OK = 50, 51, 52, 53, 60
USERAUTH_INFO_REQUEST, USERAUTH_INFO_RESPONSE = 60, 61
GLOBAL_REQUEST, REQUEST_SUCCESS, REQUEST_FAILURE = 80, 81, 82
CHANNEL_OPEN, CHANNEL_CONFIRM, CHANNEL_OPEN_FAILURE, WINDOW_ADJUST, CHANNEL_DATA, EXTENDED_DATA, CHANNEL_EOF, CHANNEL_CLOSE = range(90, 98)
CHANNEL_REQUEST, CHANNEL_SUCCESS, CHANNEL_FAILURE = 98, 99, 100
MAC = b"hmac-sha2-256-etm@openssh.com"
STRICT = b"kex-strict-c-v00@openssh.com"


class Closed(Exception):
    """The other side has gone."""


def string(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(value)) + value


def mpint(value):
    value = value.lstrip(b"\0")
    return string(b"\0" + value if value and value[0] & 0x80 else value)


def uint(value):
    return struct.pack(">I", value)


def take(payload, at):
    """The string at this place, and the place after it."""
    length = struct.unpack_from(">I", payload, at)[0]
    return payload[at + 4:at + 4 + length], at + 4 + length


def load_key(path):
    with open(path, "rb") as file:
        return serialization.load_ssh_private_key(file.read(), None)


def key_blob(key):
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return string("ssh-ed25519") + string(raw)


class Client:
    def __init__(self, port, cipher=None):
        self.cipher = cipher or Gcm
        self.socket = socket.create_connection(("127.0.0.1", int(port)))
        self.socket.settimeout(PATIENCE)
        self.inbox = b""
        self.out = self.inward = None
        self.session = None
        self.heard = b""

    # Packets

    def write(self, data):
        try:
            self.socket.sendall(data)
        except TimeoutError:
            raise
        except OSError as error:
            raise Closed(str(error)) from error

    def read(self, count):
        while len(self.inbox) < count:
            try:
                piece = self.socket.recv(65536)
            except TimeoutError:
                raise
            except OSError as error:
                raise Closed(str(error)) from error
            if not piece:
                raise Closed("end of file")
            self.inbox += piece
        taken, self.inbox = self.inbox[:count], self.inbox[count:]
        return taken

    def packet(self, payload):
        """A payload as it goes over the wire, once."""
        block, counted = (16, 1) if self.out else (8, 5)
        padding = block - (len(payload) + counted) % block
        padding += block if padding < 4 else 0
        body = bytes([padding]) + payload + os.urandom(padding)
        length = uint(len(body))
        return self.out.seal(length, body) if self.out else length + body

    def send(self, *payloads):
        self.write(b"".join(self.packet(payload) for payload in payloads))

    def receive(self):
        begun = self.read(4)
        count = struct.unpack(">I", self.inward.length(begun) if self.inward else begun)[0]
        if self.inward:
            body = self.inward.open(begun, self.read(count + self.inward.tag))
        else:
            body = self.read(count)
        return body[1:len(body) - body[0]]

    def expect_data(self):
        """The next message of data."""
        while True:
            payload = self.receive()
            if payload[0] == CHANNEL_DATA:
                return payload

    def expect(self, *kinds):
        """The next message of one of these kinds; others are passed over (data is kept), a disconnect is an end."""
        while True:
            payload = self.receive()
            if payload[0] in kinds:
                return payload
            if payload[0] == CHANNEL_DATA:
                self.heard += take(payload, 5)[0]
            if payload[0] == DISCONNECT:
                raise Closed(take(payload, 5)[0].decode())

    def drain(self):
        """Reads until the other side closes."""
        try:
            while True:
                self.expect()
        except Closed as closed:
            return str(closed)

    # The handshake

    def banner(self, text=b"SSH-2.0-raw\r\n"):
        self.write(text)
        line = b""
        while not line.endswith(b"\n"):
            line += self.read(1)
        self.versions = text.strip(), line.strip()

    def kexinit(self, strict=True, kex=b"curve25519-sha256", compression=b"none"):
        names = [kex + (b"," + STRICT if strict else b""), b"ssh-ed25519", self.cipher.name, self.cipher.name,
                 MAC, MAC, compression, compression, b"", b""]
        return bytes([KEXINIT]) + os.urandom(16) + b"".join(map(string, names)) + b"\0" + uint(0)

    def handshake(self, strict=True, between=()):
        """Banner to new keys; `between` goes after our KEXINIT."""
        if not hasattr(self, "versions"):
            self.banner()
        self.exchange(strict, between)

    def exchange(self, strict=True, between=()):
        ours = self.kexinit(strict)
        self.send(ours, *between)
        theirs = self.expect(KEXINIT)
        secret = x25519.X25519PrivateKey.generate()
        public = secret.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.send(bytes([ECDH_INIT]) + string(public))
        reply = self.expect(ECDH_REPLY)
        host_key, at = take(reply, 1)
        their_public, at = take(reply, at)
        shared = mpint(secret.exchange(x25519.X25519PublicKey.from_public_bytes(their_public)))
        parts = [*self.versions, ours, theirs, host_key, public, their_public]
        digest = hashlib.sha256(b"".join(map(string, parts)) + shared).digest()
        signature = take(take(reply, at)[0], 4 + len("ssh-ed25519"))[0]
        ed25519.Ed25519PublicKey.from_public_bytes(take(host_key, 4 + len("ssh-ed25519"))[0]).verify(signature, digest)
        self.session, self.host_key = self.session or digest, host_key
        self.send(bytes([NEWKEYS]))
        self.expect(NEWKEYS)

        def derive(letter, count):
            key = hashlib.sha256(shared + digest + letter + self.session).digest()
            return (key + hashlib.sha256(shared + digest + key).digest())[:count]
        self.out = self.cipher(*map(derive, (b"C", b"A", b"E"), self.cipher.keys))
        self.inward = self.cipher(*map(derive, (b"D", b"B", b"F"), self.cipher.keys))

    # What comes after it

    def service(self):
        self.send(bytes([SERVICE_REQUEST]) + string("ssh-userauth"))
        self.expect(SERVICE_ACCEPT)

    def publickey(self, key, **how):
        """Sends a `request`; the answer's kind."""
        self.send(self.request(key, **how))
        return self.expect(USERAUTH_SUCCESS, USERAUTH_FAILURE, USERAUTH_PK_OK)[0]

    def request(self, key, user=USER, signer=None, blob=None, tamper=False, probe=False, kind="ssh-ed25519", sign=None):
        """USERAUTH_REQUEST with `key`, signed by `signer` or, where that is not ed25519's own way, by `sign`."""
        head = (bytes([USERAUTH_REQUEST]) + string(user) + string("ssh-connection") + string("publickey")
                + (b"\0" if probe else b"\1") + string(kind) + string(blob or key_blob(key)))
        if probe:
            return head
        if sign:
            return head + string(sign(string(self.session) + head))
        signature = bytearray((signer or key).sign(string(self.session) + head))
        signature[0] ^= tamper
        return head + string(string("ssh-ed25519") + string(bytes(signature)))

    def enter(self, key):
        self.handshake()
        self.service()
        assert self.publickey(load_key(key)) == USERAUTH_SUCCESS

    def open_session(self, number=0, window=1 << 21):
        """CHANNEL_OPEN; the server's number for it."""
        self.send(open_message(number, window))
        answer = self.expect(CHANNEL_CONFIRM, CHANNEL_OPEN_FAILURE)
        return struct.unpack_from(">I", answer, 5)[0] if answer[0] == CHANNEL_CONFIRM else None

    def run(self, command, channel=0):
        self.send(exec_message(channel, command))
        return self.expect(CHANNEL_SUCCESS, CHANNEL_FAILURE)[0] == CHANNEL_SUCCESS

    def output(self):
        """Everything that the command says until the channel closes, and its exit status."""
        status = None
        while True:
            message = self.expect(CHANNEL_REQUEST, CHANNEL_CLOSE)
            if message[0] == CHANNEL_REQUEST and take(message, 5)[0] == b"exit-status":
                status = struct.unpack(">I", message[-4:])[0]
            elif message[0] == CHANNEL_CLOSE:
                return self.heard, status


class Gcm:
    """aes128-gcm@openssh.com: the length is authenticated, not hidden (RFC 5647)."""
    name, keys, tag = b"aes128-gcm@openssh.com", (16, 12, 0), 16

    def __init__(self, key, nonce, _mac):
        self.cipher, self.fixed, self.counter = AESGCM(key), nonce[:4], int.from_bytes(nonce[4:], "big")

    def nonce(self):
        nonce = self.fixed + self.counter.to_bytes(8, "big")
        self.counter = (self.counter + 1) % (1 << 64)
        return nonce

    def seal(self, length, body):
        return length + self.cipher.encrypt(self.nonce(), body, length)

    def length(self, begun):
        return begun

    def open(self, length, body):
        return self.cipher.decrypt(self.nonce(), body, length)


def open_message(number=0, window=1 << 21):
    return bytes([CHANNEL_OPEN]) + string("session") + uint(number) + uint(window) + uint(32768)


def exec_message(channel, command):
    return bytes([CHANNEL_REQUEST]) + uint(channel) + string("exec") + b"\1" + string(command)


def pty_message(channel, columns=80, rows=24):
    sizes = uint(columns) + uint(rows) + uint(0) * 2
    return bytes([CHANNEL_REQUEST]) + uint(channel) + string("pty-req") + b"\1" + string("xterm") + sizes + string(b"\0")


def data_message(channel, data):
    return bytes([CHANNEL_DATA]) + uint(channel) + string(data)
