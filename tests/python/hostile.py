"""What no honest client does: hostile.py SCENARIO PORT [ARGUMENT…]. Prints what became of it; tests/hostile/hostile.rs judges."""
import pathlib
import socket
import struct
import sys
import time

from rawssh import *

SUCCESS = bytes([USERAUTH_SUCCESS])


def outcome(client):
    """How the connection ends; `open` where it answers a harmless question instead."""
    try:
        client.send(bytes([GLOBAL_REQUEST]) + string("are-you-there@test") + b"\1")
        client.expect(REQUEST_FAILURE, REQUEST_SUCCESS)
        return "open"
    except Closed:
        return "closed"


def stall_after_kex(port):
    client = Client(port)
    client.handshake()
    print("stalling", flush=True)
    client.drain()
    print("closed")


def ask_slowly(port):
    """One question after the other, each answered: no deadline for a single read would end it."""
    client = Client(port)
    client.handshake()
    print("asking", flush=True)
    try:
        for _ in range(PATIENCE * 20):
            client.send(bytes([IGNORE]) + string("are you there"))
            time.sleep(0.05)
        print("open")
    except Closed:
        print("closed")


def compression_alone(port):
    """CVE-2026-46702 and all bombs: nobody is given compression, before a login or after."""
    client = Client(port)
    client.banner()
    client.send(client.kexinit(compression=b"zlib,zlib@openssh.com"))
    client.drain()
    print("closed")


def ignore_before_kexinit(port, strict):
    client = Client(port)
    client.banner()
    client.send(bytes([IGNORE]) + string("terrapin"))
    try:
        client.exchange(strict == "strict")
        print("went on")
    except Closed:
        print("closed")


def ignore_after_kexinit(port, strict):
    client = Client(port)
    client.banner()
    try:
        client.exchange(strict == "strict", [bytes([IGNORE]) + string("terrapin")])
        print("went on")
    except Closed:
        print("closed")


def own_success(port, witness):
    """CVE-2018-10933."""
    client = Client(port)
    client.handshake()
    client.service()
    run_unauthenticated(client, [SUCCESS, open_message(), exec_message(0, f"touch {witness}")])


def channel_before_kex(port, witness):
    """CVE-2025-32433."""
    client = Client(port)
    client.banner()
    run_unauthenticated(client, [open_message(), exec_message(0, f"touch {witness}")])


def channel_during_kex(port, witness):
    client = Client(port)
    client.banner()
    run_unauthenticated(client, [client.kexinit(), open_message(), exec_message(0, f"touch {witness}")])


def channel_before_service(port, witness):
    client = Client(port)
    client.handshake()
    run_unauthenticated(client, [open_message(), exec_message(0, f"touch {witness}")])


def channel_before_auth(port, witness):
    client = Client(port)
    client.handshake()
    client.service()
    run_unauthenticated(client, [open_message(), exec_message(0, f"touch {witness}")])


def connection_service_first(port, witness):
    client = Client(port)
    client.handshake()
    connection = bytes([SERVICE_REQUEST]) + string("ssh-connection")
    run_unauthenticated(client, [connection, open_message(), exec_message(0, f"touch {witness}")])


def run_unauthenticated(client, messages):
    try:
        client.send(*messages)
        client.socket.shutdown(socket.SHUT_WR)
        while True:
            kind = client.receive()[0]
            if kind in (CHANNEL_CONFIRM, CHANNEL_SUCCESS, USERAUTH_SUCCESS):
                print(f"message {kind}")
    except (Closed, OSError):
        print("closed")


def data_for_an_unknown_channel(port, key):
    client = Client(port)
    client.enter(key)
    client.open_session()
    client.send(data_message(7, "x"))
    print(outcome(client))


def request_for_an_unknown_channel(port, key):
    client = Client(port)
    client.enter(key)
    client.open_session()
    client.send(exec_message(7, "true"))
    print(outcome(client))


def close_twice(port, key):
    client = Client(port)
    client.enter(key)
    channel = client.open_session()
    client.run("cat", channel)
    close = bytes([CHANNEL_CLOSE]) + uint(channel)
    client.send(close, close)
    print(outcome(client))


def exec_twice(port, key):
    client = Client(port)
    client.enter(key)
    channel = client.open_session()
    print(client.run("cat", channel), client.run("echo second", channel))


def more_than_the_window(port, key):
    client = Client(port)
    client.enter(key)
    channel = client.open_session()
    client.run("sleep 1000", channel)
    piece = data_message(channel, bytes(32000))
    sent = 0
    try:
        while sent < 200 << 20:
            client.send(piece)
            sent += 32000
        print("open")
    except (Closed, TimeoutError) as error:
        print("closed" if isinstance(error, Closed) else "stalled")


def window_beyond_all_bounds(port, key):
    """CVE-2025-54804."""
    client = Client(port)
    client.enter(key)
    channel = client.open_session(window=0xFFFFFFFF)
    client.run("echo in; read line", channel)
    try:
        client.send(*[bytes([WINDOW_ADJUST]) + uint(channel) + uint(0xFFFFFFFF)] * 3)
    except Closed:
        pass  # Before the last of them was sent: outcome() says so.
    print(outcome(client))


def packet_of_length(port, key, length):
    """Longer than a channel's largest packet (32 KiB), which the window allows."""
    client = Client(port)
    client.enter(key)
    channel = client.open_session()
    client.run("wc -c", channel)
    try:
        client.send(data_message(channel, bytes(int(length))), bytes([CHANNEL_EOF]) + uint(channel))
        said, status = client.output()
        print(said.decode().strip(), status)
    except Closed:
        print("closed")


def global_requests(port, key, count, name):
    client = Client(port)
    client.enter(key)
    channel = client.open_session()
    client.run("echo in; read line", channel)
    request = bytes([GLOBAL_REQUEST]) + string(name) + b"\0" + string("127.0.0.1") + uint(1)
    try:
        for _ in range(int(count) // 1000):
            client.send(*[request] * 1000)
        print(outcome(client), flush=True)
    except Closed:
        print("closed", flush=True)
    sys.stdin.read()


def channels(port, key, count):
    client = Client(port)
    client.enter(key)
    confirmed = 0
    try:
        for number in range(int(count)):
            confirmed += client.open_session(number) is not None
        print(f"open {confirmed}", flush=True)
    except Closed:
        print(f"closed {confirmed}", flush=True)
    sys.stdin.read()


def unread_answers(port, key, count):
    """Commands whose answers are never taken: no window."""
    client = Client(port)
    client.enter(key)
    confirmed = 0
    try:
        for number in range(int(count)):
            channel = client.open_session(number, window=0)
            if channel is not None:
                confirmed += 1
                client.run("help", channel)
        print(f"open {confirmed}", flush=True)
    except Closed:
        print(f"closed {confirmed}", flush=True)
    sys.stdin.read()


def forwards(port, key, count, target):
    client = Client(port)
    client.enter(key)
    confirmed = 0
    try:
        for number in range(int(count)):
            client.send(bytes([CHANNEL_OPEN]) + string("direct-tcpip") + uint(number) + uint(1 << 21) + uint(32768)
                        + string("127.0.0.1") + uint(int(target)) + string("127.0.0.1") + uint(1))
            confirmed += client.expect(CHANNEL_CONFIRM, CHANNEL_OPEN_FAILURE)[0] == CHANNEL_CONFIRM
        print(f"open {confirmed}", flush=True)
    except Closed:
        print(f"closed {confirmed}", flush=True)
    sys.stdin.read()


def agent_without_a_session(port, key):
    client = Client(port)
    client.enter(key)
    channel = client.open_session()
    client.send(bytes([CHANNEL_REQUEST]) + uint(channel) + string("auth-agent-req@openssh.com") + b"\1")
    print(client.expect(CHANNEL_SUCCESS, CHANNEL_FAILURE)[0] == CHANNEL_SUCCESS, flush=True)
    client.drain()
    print("closed")


def listen_again(port, key, path):
    """A socket whose file is taken away is listened on all the same: not once more."""
    client = Client(port)
    client.enter(key)
    for _ in range(3):
        client.send(bytes([GLOBAL_REQUEST]) + string("streamlocal-forward@openssh.com") + b"\1" + string(path))
        print(client.expect(REQUEST_SUCCESS, REQUEST_FAILURE)[0] == REQUEST_SUCCESS)
        pathlib.Path(path).unlink(missing_ok=True)


def environment(port, key, count):
    """Fault 20: thousands of variables, then a command that counts them."""
    client = Client(port)
    client.enter(key)
    channel = client.open_session()
    setenv = lambda n: bytes([CHANNEL_REQUEST]) + uint(channel) + string("env") + b"\0" + string(f"LC_{n}") + string("x" * 1000)
    try:
        client.send(*[setenv(number) for number in range(int(count))])
        print(client.run("env | grep -c ^LC_[0-9]", channel))
        said, status = client.output()
        print(int(said), status)
    except Closed:
        print("closed")


def command_of_length(port, key, length):
    client = Client(port)
    client.enter(key)
    channel = client.open_session()
    command = f"printf {length}; : "
    if client.run(command.ljust(int(length), "x")[:int(length)], channel):
        print(*client.output())
    else:
        print("refused")


def ending(port, key):
    """What comes after the last data, in its order."""
    client = Client(port)
    client.enter(key)
    channel = client.open_session()
    client.run("echo out; exit 3", channel)
    while True:
        message = client.receive()
        name = take(message, 5)[0].decode() if message[0] == CHANNEL_REQUEST else {CHANNEL_EOF: "eof", CHANNEL_CLOSE: "close"}.get(message[0])
        print(name or "", end=" " if name else "")
        if message[0] == CHANNEL_CLOSE:
            break


def window_changes(port, key, count, again="again"):
    """Fault 38: a flood of absurd sizes. Sensible ones apply: one before it, and what is sent last, once more with each question
    (`again`) or not."""
    client = Client(port)
    client.enter(key)
    channel = client.open_session()
    client.send(pty_message(channel, 2**32 - 1, 2**32 - 1))
    print(client.expect(CHANNEL_SUCCESS, CHANNEL_FAILURE)[0] == CHANNEL_SUCCESS)
    client.run("stty -echo; stty size; while read line; do stty size; done", channel)
    print(line_of(client))
    change = lambda columns, rows: (bytes([CHANNEL_REQUEST]) + uint(channel) + string("window-change") + b"\0"
                                    + uint(columns) + uint(rows) + uint(0) * 2)
    client.send(change(132, 43))
    print(size_once_it_is(client, channel, "43 132"))
    client.send(*[change(2**32 - 1, 2**32 - 1)] * int(count), change(0, 0))
    print(size_once_it_is(client, channel, "24 80", [change(0, 0)] if again == "again" else []))
    client.send(data_message(channel, "\4"))
    print(client.output()[1])


def line_of(client):
    while not client.heard.endswith(b"\n"):
        payload = client.receive()
        client.heard += take(payload, 5)[0] if payload[0] == CHANNEL_DATA else b""
    line, client.heard = client.heard.decode().strip(), b""
    return line


def size_once_it_is(client, channel, wanted, before=()):
    """Sizes and input go different ways in the server: what is typed after a change may arrive before it."""
    for _ in range(200):
        client.send(*before, data_message(channel, "go\n"))
        size = line_of(client)
        if size == wanted:
            break
    return size


def rekey_for_ever(port, key, count):
    client = Client(port)
    client.enter(key)
    channel = client.open_session()
    client.run("cat", channel)
    for number in range(int(count)):
        client.exchange()
        client.send(data_message(channel, f"{number}\n"))
    client.send(bytes([CHANNEL_EOF]) + uint(channel))
    said, status = client.output()
    print(said.decode().split() == [str(number) for number in range(int(count))], status)


def answer_nothing(port, key):
    """A client that hears what it is asked, and says nothing any more."""
    client = Client(port)
    client.enter(key)
    client.run("exec sleep 1000", client.open_session())
    print("silent", flush=True)
    asked = 0
    try:
        while True:
            asked += take(client.expect(GLOBAL_REQUEST), 1)[0] == b"keepalive@openssh.com"
    except Closed:
        print("asked", asked)


def words_for_a_log(port, key):
    """What is refused, in words that would ring a bell, move the cursor, forge a line, and turn it around; also as a user name."""
    words = "\x1b]0;pwn\x07\x1b[31m\r\nFAKE LINE \u202e\u2066\u200b\u2028\u061c\ufeff\U000e0041\x9b31m"
    client = Client(port)
    client.handshake()
    client.service()
    unknown = ed25519.Ed25519PrivateKey.generate()
    print(client.publickey(unknown, user=words) == USERAUTH_FAILURE)
    client = Client(port)
    client.enter(key)
    ends = string(words) + uint(22) + string(words) + uint(1)
    for kind, rest in (("direct-tcpip", ends), ("direct-streamlocal@openssh.com", string(words) + string("") + uint(0))):
        client.send(bytes([CHANNEL_OPEN]) + string(kind) + uint(1) + uint(1 << 21) + uint(32768) + rest)
        print(client.expect(CHANNEL_CONFIRM, CHANNEL_OPEN_FAILURE)[0] == CHANNEL_OPEN_FAILURE)
    for name, rest in (("tcpip-forward", string(words) + uint(22)), ("streamlocal-forward@openssh.com", string(words))):
        client.send(bytes([GLOBAL_REQUEST]) + string(name) + b"\1" + rest)
        print(client.expect(REQUEST_SUCCESS, REQUEST_FAILURE)[0] == REQUEST_FAILURE)
    channel = client.open_session()
    client.send(bytes([CHANNEL_REQUEST]) + uint(channel) + string("subsystem") + b"\1" + string(words))
    print(client.expect(CHANNEL_SUCCESS, CHANNEL_FAILURE)[0] == CHANNEL_FAILURE)


def long_command(port, key, length):
    client = Client(port)
    client.enter(key)
    print(client.run("x" * int(length), client.open_session()))


def commands_that_are_none(port, key):
    """What no command line can be: with a NUL in it, longer than the system takes; as a command, and as the name of a subsystem."""
    client = Client(port)
    client.enter(key)
    for command in ("echo a\0b", "\0", "echo " + "x" * 200_000):
        print(client.run(command, client.open_session()))
    print(client.run("echo in", client.open_session()), client.output())


if __name__ == "__main__":
    try:
        globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
    except Closed:
        print("closed", flush=True)
