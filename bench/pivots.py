"""The pivots that are measured, `sally relay`, OpenSSH's sshd, and rathole where it is there: each with one device behind it, which holds its tunnel with a stock ssh."""
import contextlib
import itertools
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time

from measure import CIPHERS, CLIENT
from peers import Peer, Sshd, await_port, free_port

RATHOLE = pathlib.Path("target/bench-peers/bin/rathole").resolve()


class Far:
    """A plain TCP server at the far end of a tunnel: each connection is `serve`'s, in a thread."""

    def __init__(self, serve):
        self.serve = serve
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            threading.Thread(target=self.answer, args=self.listener.accept()[:1], daemon=True).start()

    def answer(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, contextlib.suppress(OSError):
            self.serve(connection)


def echo(connection):
    while piece := connection.recv(4096):
        connection.sendall(piece)


class Pivot(Peer):
    """What both have: the tunnels of one device, to its sshd, to a source of bytes and to an echo, and the ways to them."""

    # Or a name of CIPHERS, for the connections to the pivot; the session through it has always the same.
    cipher = None

    def behind(self, work, ports):
        self.work, self.ports, self.clients = work, ports, []

    def ssh(self, *arguments):
        """A stock client that knows the pivot by the name `pivot`."""
        options = [option.removeprefix("-o").replace("=", " ") for option in CLIENT[2:]]
        config = self.work / f"config-{self.name}"
        # At once: others that were started a moment ago may be reading it.
        fresh = config.with_suffix(".fresh")
        fresh.write_text("\n".join([
            "Host pivot", "HostName 127.0.0.1", f"Port {self.port}", *([f"Ciphers {CIPHERS[self.cipher]}"] if self.cipher else []),
            "Host * !pivot", f"Ciphers {CIPHERS['aes128-gcm']}", "Host *", "User root", f"IdentityFile {self.work / 'id'}", *options]) + "\n")
        fresh.rename(config)
        return ["ssh", "-F", config, *arguments]

    def hold(self, *forwards):
        """A stock client that holds these; gives the seconds from its start until the last was accepted."""
        arguments = [argument for forward in forwards for argument in ("-R", forward)]
        start = time.perf_counter()
        client = subprocess.Popen(self.ssh("-N", "-v", *arguments, "pivot"), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.clients.append(client)
        said = (line for line in client.stderr if "remote forward success" in line)
        if len(list(itertools.islice(said, len(forwards)))) < len(forwards):
            raise SystemExit(f"{self.name}: no tunnel")
        took = time.perf_counter() - start
        threading.Thread(target=client.stderr.read, daemon=True).start()
        return took

    def open(self):
        opening = super().open()
        self.forwarded = free_port()
        self.ways = {what: self.way(number) for number, what in enumerate(self.ports)}
        self.hold(*(f"{self.ways[what]}:127.0.0.1:{port}" for what, port in self.ports.items()))
        return opening

    def close(self):
        for client in self.clients:
            client.terminate()
            client.wait()
        self.clients.clear()
        super().close()


class Device(Sshd):
    """The device's own sshd."""

    def __init__(self, work):
        (work / "device").mkdir()
        shutil.copy(work / "id.pub", work / "device")
        super().__init__(work / "device")


class Serving(Peer):
    def __init__(self, binary, work):
        self.binary, self.work = binary, work
        key = (work / "id.pub").read_text()
        (work / "visitors").write_text(key)
        (work / "devices").write_text('permitlisten="cam-*:*",permitlisten="127.0.0.1:*" ' + key)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", work / "relay-host"], check=True)

    def open(self):
        self.port = free_port()
        return self.start([self.binary, "relay", "--listen", f"127.0.0.1:{self.port}", "--visitors", self.work / "visitors",
                           "--devices", self.work / "devices", "--host-key", self.work / "relay-host", "--audit", self.work / "audit",
                           "--max-connections-per-key", "20000"])


class Relay(Pivot, Serving):
    name = "sally"
    many = "cam-many-{}:22"

    def way(self, number):
        return f"cam-17:{22 + number}"

    def newcomer(self, number):
        return f"cam-new-{number}:22:127.0.0.1:9"


class Jump(Pivot, Sshd):
    """sshd binds a port for each tunnel."""

    many = "127.0.0.1:0"

    def way(self, _):
        return f"127.0.0.1:{free_port()}"

    def newcomer(self, _):
        return f"127.0.0.1:{free_port()}:127.0.0.1:9"


class Rathole(Pivot):
    """Another reverse tunnel in Rust, with its own client on the device's side: for ports alone, since it knows no sessions."""

    def __init__(self, transport):
        self.name, self.transport = f"rathole, {transport}", transport

    def open(self):
        self.port, self.forwarded = free_port(), free_port()
        service, server, client = f'[{{}}.services.source]\ntoken = "x"\n{{}} = "127.0.0.1:{{}}"\n', "", ""
        if self.transport == "noise":
            private, public = subprocess.run([RATHOLE, "--genkey"], capture_output=True, text=True, check=True).stdout.split()[2::3]
            server, client = (f'[{side}.transport]\ntype = "noise"\n[{side}.transport.noise]\n{name} = "{key}"\n'
                              for side, name, key in (("server", "local_private_key", private), ("client", "remote_public_key", public)))
        server = f'[server]\nbind_addr = "127.0.0.1:{self.port}"\n{server}{service.format("server", "bind_addr", self.forwarded)}'
        client = f'[client]\nremote_addr = "127.0.0.1:{self.port}"\n{client}{service.format("client", "local_addr", self.ports["source"])}'
        for side, settings in (("server", server), ("client", client)):
            (self.work / f"rathole-{side}.toml").write_text(settings)
        opening = self.start([RATHOLE, "--server", self.work / "rathole-server.toml"])
        self.clients.append(subprocess.Popen([RATHOLE, "--client", self.work / "rathole-client.toml"], stdout=subprocess.DEVNULL))
        # Its port is open when the client has said what is behind it.
        await_port(self.forwarded, self.process)
        return opening

    def hold(self, *_):
        return 0.0


def busy():
    """CPU seconds that this machine spent on anything since it started."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _, _, interrupt, soft = map(int, stat.readline().split()[1:8])
    return (user + nice + system + interrupt + soft) / os.sysconf("SC_CLK_TCK")
