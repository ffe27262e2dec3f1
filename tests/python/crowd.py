"""One key, many connections: crowd.py PORT KEY MOST. Each authenticates and stays. Says `COUNT in`, and behind it, where there were to be more,
why one more was turned away; at a line on stdin one of them leaves."""
import sys

from rawssh import *


def main(port, key, most):
    crowd, why = [], ""
    while not why and len(crowd) < int(most):
        client = Client(port)
        try:
            client.enter(key)
            # A round trip: whoever is turned away after the key was taken hears it here.
            client.open_session()
            crowd.append(client)
        except Closed as closed:
            why = str(closed)
    print(len(crowd), "in", why)
    for _ in sys.stdin:
        crowd.pop().socket.close()
        print("one has left")


if __name__ == "__main__":
    main(*sys.argv[1:])
