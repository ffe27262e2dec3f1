"""A long way between client and server: a TCP proxy that hands every byte on some time later.

It takes as many bytes as a long link of high bandwidth holds, so what limits a transfer is the window of the SSH connection.
"""
import collections
import socket
import threading
import time

PIECE = 256 << 10
# 100 ms at 10 Gbit/s.
IN_FLIGHT = 128 << 20


class Lag:
    """Listens, and joins each connection to `port`, each way `delay` seconds long."""

    def __init__(self, port, delay):
        self.target, self.delay = port, delay
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:  # Closed.
                return
            far = socket.create_connection(("127.0.0.1", self.target))
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Way(near, far, self.delay)
            Way(far, near, self.delay)

    def close(self):
        self.listener.close()


class Way:
    """One direction: a thread that reads and one that writes."""

    def __init__(self, source, sink, delay):
        self.source, self.sink, self.delay = source, sink, delay
        self.queue, self.size, self.changed = collections.deque(), 0, threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()
        threading.Thread(target=self.write, daemon=True).start()

    def read(self):
        while True:
            try:
                piece = self.source.recv(PIECE)
            except OSError:
                piece = b""
            with self.changed:
                self.queue.append((time.monotonic() + self.delay, piece))
                self.size += len(piece)
                self.changed.notify()
                while self.size > IN_FLIGHT:
                    self.changed.wait()
            if not piece:
                return

    def write(self):
        while True:
            with self.changed:
                while not self.queue:
                    self.changed.wait()
                due, piece = self.queue.popleft()
            time.sleep(max(0, due - time.monotonic()))
            try:
                if not piece:
                    return self.sink.shutdown(socket.SHUT_WR)
                self.sink.sendall(piece)
            except OSError:
                return
            with self.changed:
                self.size -= len(piece)
                self.changed.notify()
