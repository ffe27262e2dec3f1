"""A visitor whose agent reads nothing, and a program of the visit that has much to say to it: agent.py PORT KEY WINDOW WITNESS. The
agent's end grants WINDOW bytes, and of the whole connection nothing is read until the program, by the file WITNESS, is stuck."""
import pathlib
import sys
import time

from rawssh import *

# A frame of 4 GiB, as far as it gets: it is stuck when nothing more is taken for two seconds.
PROGRAM = """
import os, pathlib, select, socket, sys
agent = socket.socket(socket.AF_UNIX)
agent.connect(os.environ["SSH_AUTH_SOCK"])
agent.sendall(b"\\xff" * 4)
agent.setblocking(False)
sent = 0
while sent < 256 << 20 and select.select([], [agent], [], 2)[1]:
    sent += agent.send(bytes(65536))
pathlib.Path(sys.argv[1]).write_text(str(sent >> 20))
sys.stdin.read()
"""
AGENT = 77


def answer_open(client, window):
    """Waits for the server's channel to the agent, and takes it."""
    opened = client.expect(CHANNEL_OPEN)
    kind, at = take(opened, 1)
    theirs = opened[at:at + 4]
    client.send(bytes([CHANNEL_CONFIRM]) + theirs + uint(AGENT) + uint(int(window, 0)) + uint(32768))
    return kind.decode()


def until_written(path):
    for _ in range(PATIENCE * 20):
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.05)
    raise TimeoutError("the program says nothing")


def output_of(client, number):
    """What comes on our channel of this number until it is closed; others' data is let fall."""
    said = b""
    while True:
        message = client.receive()
        if message[0] == DISCONNECT:
            raise Closed(take(message, 5)[0].decode())
        if message[1:5] != uint(number):
            continue
        if message[0] == CHANNEL_DATA:
            said += take(message, 5)[0]
        elif message[0] == CHANNEL_CLOSE:
            return said.decode().strip()


def main(port, key, window, witness):
    client = Client(port)
    client.enter(key)
    first = client.open_session(0)
    client.send(bytes([CHANNEL_REQUEST]) + uint(first) + string("auth-agent-req@openssh.com") + b"\1")
    print(client.expect(CHANNEL_SUCCESS, CHANNEL_FAILURE)[0] == CHANNEL_SUCCESS)
    client.send(exec_message(first, f"exec {sys.executable} -c '{PROGRAM}' {witness}"))
    print(answer_open(client, window))
    print("stuck" if int(until_written(pathlib.Path(witness))) < 256 else "never stuck")
    second = client.open_session(1)
    client.run("echo other", second)
    print(output_of(client, 1), flush=True)
    sys.stdin.read()
    client.send(bytes([CHANNEL_EOF]) + uint(first))
    output_of(client, 0)
    print("over")


main(*sys.argv[1:])
