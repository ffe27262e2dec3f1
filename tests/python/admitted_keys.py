"""A device that admits keys to a name: admitted_keys.py PORT KEY FILE…

The first file's lines go with name@sally, each other file's with admit@sally; then it registers. Prints `registered NAME` and stays, or what the
relay says when it hangs up."""
import sys

from rawssh import *


def ask(client, request, data):
    client.send(bytes([GLOBAL_REQUEST]) + string(request) + b"\1" + data)
    return client.expect(REQUEST_SUCCESS, REQUEST_FAILURE)


def main(port, key, *files):
    client = Client(port)
    client.enter(key)
    lines = [open(file, "rb").read() for file in files]
    try:
        name = ask(client, "name@sally", string("") + string(lines[0]))[1:].decode()
        for more in lines[1:]:
            assert ask(client, "admit@sally", string(more))[0] == REQUEST_SUCCESS, "refused in silence"
        answer = ask(client, "tcpip-forward", string(name) + uint(22))
        print("registered", name if answer[0] == REQUEST_SUCCESS else "nothing")
        client.socket.settimeout(None)
        client.drain()
    except Closed as closed:
        print(closed)


if __name__ == "__main__":
    main(*sys.argv[1:])
