"""A security key in software (OpenSSH's PROTOCOL.u2f), its flags in the caller's hand.

security_key.py make KIND FILE: writes FILE and FILE.pub. security_key.py login PORT FILE FLAGS [CLAIMED [CERTIFICATE]]: whether it gets in;
CLAIMED are the flags that are sent in place of those that were signed. security_key.py reach PORT FILE FLAGS HOST [CERTIFICATE]: the same at
a relay, and whether it reaches port 22 of that host: `denied`, the refusal, or the first line that the host says."""
import base64
import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from rawssh import *

ED25519, ECDSA = "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"
APPLICATION = "ssh:"


def make(kind, path):
    key = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    encoding = serialization.Encoding
    with open(path, "wb") as file:
        file.write(key.private_bytes(encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    name, blob = public(key)
    with open(path + ".pub", "w") as file:
        file.write(f"{name} {base64.b64encode(blob).decode()} visitor@test\n")


def public(key):
    """The key's type and blob."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return ED25519, string(ED25519) + string(raw) + string(APPLICATION)
    point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return ECDSA, string(ECDSA) + string("nistp256") + string(point) + string(APPLICATION)


def signature(key, message, flags, claimed, counter=7):
    sha256 = lambda data: hashlib.sha256(data).digest()
    signed = sha256(APPLICATION.encode()) + bytes([flags]) + uint(counter) + sha256(message)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        name, raw = ED25519, key.sign(signed)
    else:
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
        name, raw = ECDSA, b"".join(mpint(number.to_bytes(32, "big")) for number in (r, s))
    return string(name) + string(raw) + bytes([claimed]) + uint(counter)


def authenticated(port, path, flags, claimed=None, certificate=None):
    """A connection that is let in, or None."""
    with open(path, "rb") as file:
        key = serialization.load_pem_private_key(file.read(), None)
    kind, blob = public(key)
    if certificate:
        with open(certificate) as file:
            kind, encoded = file.read().split()[:2]
            blob = base64.b64decode(encoded)
    client = Client(port)
    client.handshake()
    client.service()
    flags = int(flags)
    sign = lambda message: signature(key, message, flags, int(claimed or flags))
    return client if client.publickey(None, kind=kind, blob=blob, sign=sign) == USERAUTH_SUCCESS else None


def login(port, path, flags, claimed=None, certificate=None):
    client = authenticated(port, path, flags, claimed, certificate)
    if not client:
        print("denied")
        return
    channel = client.open_session()
    client.run("echo in", channel)
    print(client.output()[0].decode().strip())


def reach(port, path, flags, host, certificate=None):
    client = authenticated(port, path, flags, None, certificate)
    if not client:
        print("denied")
        return
    client.send(bytes([CHANNEL_OPEN]) + string("direct-tcpip") + uint(0) + uint(1 << 20) + uint(1 << 15)
                + string(host) + uint(22) + string("127.0.0.1") + uint(1))
    answer = client.expect(CHANNEL_CONFIRM, CHANNEL_OPEN_FAILURE)
    if answer[0] == CHANNEL_OPEN_FAILURE:
        print(take(answer, 9)[0].decode())
        return
    while b"\n" not in client.heard:
        client.heard += take(client.expect(CHANNEL_DATA), 5)[0]
    print(client.heard.split(b"\n")[0].decode().strip())


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
