"""Ways to authenticate that no honest client takes: logins.py SCENARIO PORT [ARGUMENT…]. Prints what became of it;
tests/hostile/logins.rs judges."""
import base64
import struct
import sys

from rawssh import *


def begin(port):
    client = Client(port)
    client.handshake()
    client.service()
    return client


def asked(client):
    """What `echo asked` says: a forced command says something else."""
    channel = client.open_session()
    client.run("echo asked", channel)
    return client.output()[0].decode().strip()


def again_after_success(port, first, second):
    """Another key's good request once somebody is in: it changes nothing (RFC 4252, section 5.1)."""
    client = begin(port)
    print(client.publickey(load_key(first)) == USERAUTH_SUCCESS)
    try:
        # Both at once: the request is there before the first question of the connection protocol.
        client.send(client.request(load_key(second)), client.request(load_key(second)), open_message())
        answer = client.expect(CHANNEL_CONFIRM, CHANNEL_OPEN_FAILURE, USERAUTH_SUCCESS, USERAUTH_FAILURE)
        print(answer[0])
        channel = struct.unpack_from(">I", answer, 5)[0]
        client.send(pty_message(channel))
        print(client.expect(CHANNEL_SUCCESS, CHANNEL_FAILURE)[0] == CHANNEL_SUCCESS)
        client.send(client.request(load_key(second)), exec_message(channel, "echo asked"))
        print(client.output()[0].decode().strip())
    except Closed:
        print("closed")


def refused_then(port, refused, used):
    client = begin(port)
    print(client.publickey(load_key(refused)) == USERAUTH_FAILURE)
    print(client.publickey(load_key(used)) == USERAUTH_SUCCESS)
    print(asked(client))


def certificate_then_key(port, key):
    """KEY-cert.pub, signed for and refused; then the key alone."""
    with open(key + "-cert.pub") as file:
        kind, encoded = file.read().split()[:2]
    client = begin(port)
    key = load_key(key)
    print(client.publickey(key, kind=kind, blob=base64.b64decode(encoded)) == USERAUTH_FAILURE)
    print(client.publickey(key) == USERAUTH_SUCCESS)
    print(asked(client))


def responses(port, count):
    """CVE-2026-42189: answers to a question that nobody put, in numbers that can't be."""
    client = begin(port)
    names = "anyone", "ssh-connection", "keyboard-interactive", "", ""
    request = bytes([USERAUTH_REQUEST]) + b"".join(map(string, names))
    try:
        for _ in range(int(count)):
            client.send(request, bytes([USERAUTH_INFO_RESPONSE]) + uint(0xFFFFFFFF) + string("a") * 2000)
            for _ in range(2):
                print(client.expect(USERAUTH_SUCCESS, USERAUTH_FAILURE, USERAUTH_INFO_REQUEST)[0])
    except Closed:
        print("closed")


def offer_one_sign_with_another(port, offered, used):
    """CVE-2024-45337."""
    client = begin(port)
    print(client.publickey(load_key(offered), probe=True) == USERAUTH_PK_OK)
    print(client.publickey(load_key(used)) == USERAUTH_SUCCESS)
    channel = client.open_session()
    client.run("asked", channel)
    print(client.output()[0].decode().strip())


def name_one_sign_with_another(port, named, signer):
    client = begin(port)
    print(client.publickey(load_key(named), signer=load_key(signer)) == USERAUTH_SUCCESS)


def forged_signature(port, key):
    client = begin(port)
    print(client.publickey(load_key(key), probe=True) == USERAUTH_PK_OK)
    print(client.publickey(load_key(key), tamper=True) == USERAUTH_SUCCESS)


def signature_of_another_session(port, key):
    client = begin(port)
    client.session = bytes(32)
    print(client.publickey(load_key(key)) == USERAUTH_SUCCESS)


def hostbound(port, key, how):
    """A request with a host key in what is signed (OpenSSH's PROTOCOL, section 3.1): the server's own, or not."""
    client, key = begin(port), load_key(key)
    ours = client.host_key
    others = {"another": string("ssh-ed25519") + string(bytes(32)), "none": b"", "longer": ours + b"\0"}

    def head(signed, host_key):
        return (bytes([USERAUTH_REQUEST]) + string("anyone") + string("ssh-connection") + string("publickey-hostbound-v00@openssh.com")
                + bytes([signed]) + string("ssh-ed25519") + string(key_blob(key)) + string(host_key))
    if how == "offered":
        client.send(head(False, ours))
        if client.expect(USERAUTH_PK_OK, USERAUTH_FAILURE)[0] == USERAUTH_PK_OK:
            print("offered ok: ", end="")
        client.send(head(False, others["another"]))
    else:
        request = head(True, others.get(how, ours))
        signed = head(True, b"")[:-4] if how == "unsigned" else request
        client.send(request + string(string("ssh-ed25519") + string(key.sign(string(client.session) + signed))))
    print(client.expect(USERAUTH_SUCCESS, USERAUTH_FAILURE)[0])


def password(port):
    client = begin(port)
    for attempt in range(100):
        try:
            client.send(bytes([USERAUTH_REQUEST]) + string("root") + string("ssh-connection") + string("password") + b"\0" + string("secret"))
            answer = client.expect(USERAUTH_SUCCESS, USERAUTH_FAILURE)
        except Closed:
            print(f"closed {attempt <= 20}")
            return
        print(answer[0], take(answer, 1)[0].decode())


def none(port):
    client = begin(port)
    client.send(bytes([USERAUTH_REQUEST]) + string("root") + string("ssh-connection") + string("none"))
    answer = client.expect(USERAUTH_SUCCESS, USERAUTH_FAILURE)
    print(answer[0], take(answer, 1)[0].decode())


def probe_for_ever(port, key):
    """Guesses which keys are known: bounded."""
    client = begin(port)
    for attempt in range(1000):
        try:
            client.publickey(load_key(key), probe=True)
        except Closed:
            print("closed")
            return
    print("open")


def user_name_changes(port, key):
    client = begin(port)
    try:
        client.publickey(load_key(key), user="one", probe=True)
        client.publickey(load_key(key), user="two", probe=True)
        print("open")
    except Closed:
        print("closed")


if __name__ == "__main__":
    try:
        globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
    except Closed:
        print("closed", flush=True)
