"""The other ciphers that a server takes, with the length of a packet in the caller's hand: chacha20-poly1305@openssh.com (OpenSSH's
PROTOCOL.chacha20poly1305) and CTR with hmac-sha2-256-etm@openssh.com."""
import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305


class ChaCha:
    """The length is encrypted with a key of its own."""
    name, keys, tag = b"chacha20-poly1305@openssh.com", (64, 0, 0), 16

    def __init__(self, key, _iv, _mac):
        self.payload, self.header, self.number = key[:32], key[32:], 0

    def stream(self, key, counter, data):
        nonce = struct.pack("<Q", counter) + struct.pack(">Q", self.number)
        return Cipher(algorithms.ChaCha20(key, nonce), None).encryptor().update(data)

    def authenticator(self):
        return Poly1305(self.stream(self.payload, 0, bytes(32)))

    def seal(self, length, body):
        packet = self.stream(self.header, 0, length) + self.stream(self.payload, 1, body)
        poly = self.authenticator()
        poly.update(packet)
        self.number += 1
        return packet + poly.finalize()

    def length(self, begun):
        return self.stream(self.header, 0, begun)

    def open(self, begun, body):
        poly = self.authenticator()
        poly.update(begun + body[:-self.tag])
        poly.verify(body[-self.tag:])
        clear = self.stream(self.payload, 1, body[:-self.tag])
        self.number += 1
        return clear


class CtrEtm:
    """The length is in the clear, and the MAC is of what is encrypted."""
    name, keys, tag = b"aes256-ctr", (32, 16, 32), 32

    def __init__(self, key, iv, mac):
        # Either way is the same with CTR.
        self.cipher = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()
        self.mac, self.number = mac, 0

    def sum(self, packet):
        return hmac.digest(self.mac, struct.pack(">I", self.number) + packet, hashlib.sha256)

    def seal(self, length, body):
        packet = length + self.cipher.update(body)
        packet += self.sum(packet)
        self.number += 1
        return packet

    def length(self, begun):
        return begun

    def open(self, begun, body):
        if not hmac.compare_digest(self.sum(begun + body[:-self.tag]), body[-self.tag:]):
            raise ValueError("a wrong MAC")
        self.number += 1
        return self.cipher.update(body[:-self.tag])
