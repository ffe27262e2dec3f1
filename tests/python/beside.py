"""Requests on a session channel, whose answers are compared with sshd's: beside.py SCENARIO PORT KEY [ARGUMENT…]. Prints the answers."""
import itertools
import subprocess
import sys

from rawssh import *


def channel_request(name, *fields):
    """A request that wants an answer, but for its channel."""
    return lambda channel: bytes([CHANNEL_REQUEST]) + uint(channel) + string(name) + b"\1" + b"".join(fields)


def pty(term="xterm", columns=80, rows=24, width=640, height=480, modes=b"\0"):
    return channel_request("pty-req", string(term), uint(columns), uint(rows), uint(width), uint(height), string(modes))


def window(columns, rows, width=0, height=0):
    return channel_request("window-change", uint(columns), uint(rows), uint(width), uint(height))


def mode(opcode, value):
    return bytes([opcode]) + uint(value)


REQUESTS = {
    "pty": pty(),
    "window": window(100, 40, 1000, 800),
    "env": channel_request("env", string("LC_TEST"), string("sent")),
    "env-refused": channel_request("env", string("OTHER"), string("sent")),
    "agent": channel_request("auth-agent-req@openssh.com"),
    "x11": channel_request("x11-req", b"\0", string("MIT-MAGIC-COOKIE-1"), string("00"), uint(0)),
    "signal": channel_request("signal", string("USR1")),
    "signal-unknown": channel_request("signal", string("NONE@test")),
    "break": channel_request("break", uint(500)),
    "unknown": channel_request("whatever@test"),
}

# Rows, columns, and pixels, of the terminal on stdin.
SIZE = """python3 -c 'import fcntl, struct, termios; print(*struct.unpack("4H", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))))' 2>&1"""
LOOK = "[ -t 0 ] && stty size; env | grep -E '^(TERM|LC_TEST|OTHER)=' | sort; exit 0"


def ask(client, channel, request):
    client.send(request(channel))
    return "yes" if client.expect(CHANNEL_SUCCESS, CHANNEL_FAILURE)[0] == CHANNEL_SUCCESS else "no"


def session(client, requests, command):
    """The answers to these, then what the command says."""
    client.heard = b""
    channel = client.open_session()
    answers = [ask(client, channel, request) for request in requests]
    if not client.run(command, channel):
        client.send(bytes([CHANNEL_CLOSE]) + uint(channel))
        client.expect(CHANNEL_CLOSE)
        return " ".join(answers + ["not started"])
    said, status = client.output()
    client.send(bytes([CHANNEL_CLOSE]) + uint(channel))
    return " ".join(answers) + " | " + " ".join(said.decode(errors="backslashreplace").split()) + f" | {status}"


def orders():
    """Each alone, two in each order, and whatever may stand before, between and after a terminal and its new size."""
    yield from itertools.permutations(REQUESTS, 1)
    yield from itertools.permutations(REQUESTS, 2)
    for other in REQUESTS.keys() - {"pty", "window"}:
        yield from itertools.permutations(("pty", "window", other))


def before(port, key):
    """Requests in every order, before a command."""
    client = Client(port)
    client.enter(key)
    for names in sorted(orders()):
        print(*names, ":", session(client, [REQUESTS[name] for name in names], LOOK))


def after(port, key):
    """Each while a program runs, with a terminal and without."""
    client = Client(port)
    client.enter(key)
    for requests in ([], [pty()]):
        for name, request in REQUESTS.items():
            client.heard = b""
            channel = client.open_session()
            for asked in requests:
                ask(client, channel, asked)
            # It goes on when it is told to, whatever signal it has heard.
            assert client.run("trap '' USR1; echo ready; read line; exit 3", channel)
            while b"ready" not in client.heard:
                client.heard += take(client.expect_data(), 5)[0]
            answer = ask(client, channel, request)
            client.send(data_message(channel, "go\n"))
            print(len(requests), name, answer, client.output()[1])
            client.send(bytes([CHANNEL_CLOSE]) + uint(channel))


def asked(port, key):
    """What a command that replaces another one says of it."""
    client = Client(port)
    client.enter(key)
    for name, field in (("exec", "echo asked"), ("exec", b"caf\xe9 \x1b"), ("exec", ""), ("subsystem", "sftp"), ("shell", None)):
        client.heard = b""
        channel = client.open_session()
        fields = [] if field is None else [string(field)]
        answer = ask(client, channel, channel_request(name, *fields))
        print(name, field, answer, *client.output())
        client.send(bytes([CHANNEL_CLOSE]) + uint(channel))


def sockets(port):
    """Where this port is listened on, as ss says it."""
    said = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], check=True, capture_output=True, text=True).stdout
    return sorted(line.split()[3].rsplit(":", 1)[0] for line in said.splitlines())


def forwarded(port, key, wanted, taken, *addresses):
    """Where a tcpip-forward listens, for each spelling of its address, while somebody else has the port at another (or none has it)."""
    client, other = None, None
    if taken:
        other = socket.socket(socket.AF_INET6 if ":" in taken else socket.AF_INET)
        other.bind((taken, int(wanted)))
        other.listen()
    for address in addresses:
        if client is None:
            client = Client(port)
            client.enter(key)
        request = b"\1" + string(address) + uint(int(wanted))
        client.send(bytes([GLOBAL_REQUEST]) + string("tcpip-forward") + request)
        try:
            answer = client.expect(REQUEST_SUCCESS, REQUEST_FAILURE)[0] == REQUEST_SUCCESS
        except Closed:  # So that a jail's client is told why.
            client, answer = None, False
        found = sockets(wanted)
        if other:
            found.remove(f"[{taken}]" if ":" in taken else taken)
        print(repr(address), answer, *found)
        if answer:
            client.send(bytes([GLOBAL_REQUEST]) + string("cancel-tcpip-forward") + request)
            assert client.expect(REQUEST_SUCCESS, REQUEST_FAILURE)[0] == REQUEST_SUCCESS


# RFC 4254 section 8, and what else may stand there: each mode set and unset, in the order of their numbers.
CHARACTERS = range(1, 19)
FLAGS = [*range(30, 43), *range(50, 63), *range(70, 76), *range(90, 94)]
TERMINALS = {
    "plain": pty(),
    "nothing-said": pty(modes=b""),
    "no-end": pty(modes=mode(1, 7)),
    "after-the-end": pty(modes=mode(1, 7) + b"\0" + mode(1, 8)),
    "unknown": pty(modes=mode(19, 1) + mode(43, 1) + mode(100, 1) + mode(127, 1) + mode(130, 1) + mode(159, 1) + mode(1, 7) + b"\0"),
    "undefined-160": pty(modes=mode(1, 7) + bytes([160])),
    "undefined-255": pty(modes=mode(1, 7) + bytes([255, 1, 2]) + mode(1, 8) + b"\0"),
    "many": pty(modes=b"".join(mode(1, number % 20) for number in range(500)) + b"\0"),
    "characters": pty(modes=b"".join(mode(opcode, opcode) for opcode in CHARACTERS) + b"\0"),
    "characters-255": pty(modes=b"".join(mode(opcode, 255) for opcode in CHARACTERS) + b"\0"),
    "characters-300": pty(modes=b"".join(mode(opcode, 300) for opcode in CHARACTERS) + b"\0"),
    "speeds": pty(modes=mode(128, 115200) + mode(129, 9600) + b"\0"),
    "speeds-odd": pty(modes=mode(128, 12345) + mode(129, 0) + b"\0"),
    "speeds-huge": pty(modes=mode(128, 2**32 - 1) + mode(129, 4000000) + b"\0"),
    "bits-7": pty(modes=mode(90, 1) + mode(91, 0) + mode(92, 1) + mode(93, 1) + b"\0"),
    "term-empty": pty(term=""),
    "term-long": pty(term="x" * 64),
    "term-latin": pty(term=b"caf\xe9"),
    "size-small": pty(columns=1, rows=1, width=1, height=1),
    "size-large": pty(columns=4096, rows=4096, width=65535, height=65535),
    **{f"flag-{opcode}-{value}": pty(modes=mode(opcode, value) + b"\0") for opcode in FLAGS for value in (0, 1)},
    "flag-large": pty(modes=mode(50, 256) + mode(53, 2**32 - 1) + b"\0"),
}
# What is wrong with these, and what is made of it, the caller says.
TRUNCATED = {
    "argument": pty(modes=mode(1, 7)[:3]),
    "opcode": pty(modes=mode(1, 7) + b"\x02"),
    "length": channel_request("pty-req", string("xterm"), uint(80), uint(24), uint(0), uint(0), uint(50) + b"\0"),
    "sizes": channel_request("pty-req", string("xterm"), uint(80), uint(24)),
    "term": channel_request("pty-req", uint(50) + b"xterm"),
}
STTY = f"{SIZE}; stty -a; stty speed; env | grep ^TERM=; exit 0"


def terminal(port, key):
    client = Client(port)
    client.enter(key)
    for name, request in TERMINALS.items():
        print(name, ":", session(client, [request], STTY))


def truncated(port, key, name):
    client = Client(port)
    client.enter(key)
    print(name, ":", session(client, [TRUNCATED[name]], STTY))


if __name__ == "__main__":
    try:
        globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
    except Closed:
        print("closed", flush=True)
