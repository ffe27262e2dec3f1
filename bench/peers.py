"""The servers that are measured: a server of Sally, and its peers, all with the same key and on loopback."""
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time

SHM = pathlib.Path("/dev/shm")
# A bash that believes to be a login's first sources ~/.bashrc for a command over SSH: what is in there is nobody's business here.
SHLVL = "3"
os.environ["SHLVL"] = SHLVL


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def await_port(port, process):
    """Seconds until something listens."""
    start = time.perf_counter()
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return time.perf_counter() - start
        except ConnectionRefusedError:
            if process.poll() is not None:
                raise SystemExit(f"{process.args[0]} ended with {process.returncode}")


def fields(pid):
    """What /proc/PID/stat says: the name, and the fields after it."""
    name, rest = pathlib.Path(f"/proc/{pid}/stat").read_text().split("(", 1)[1].rsplit(")", 1)
    return name, rest.split()


class Peer:
    """A server, opened anew for each measurement."""

    name = ""
    ciphers = ("aes128-gcm", "chacha20-poly1305")
    sftp = False
    pty = True

    def family(self):
        """The processes of the server: itself, and its children of the same name; not the programs that they run."""
        found = [self.process.pid]
        name = fields(self.process.pid)[0]
        for pid in sorted(int(entry.name) for entry in pathlib.Path("/proc").glob("[0-9]*")):
            try:
                other, rest = fields(pid)
                if other == name and int(rest[1]) in found and pid not in found:
                    found.append(pid)
            except OSError:
                pass
        return found

    def cpu_seconds(self):
        """User and system time of the server's processes."""
        return sum(int(fields(pid)[1][11]) + int(fields(pid)[1][12]) for pid in self.family()) / os.sysconf("SC_CLK_TCK")

    def memory(self, what):
        """Rss or Pss of the server's processes, in KiB."""
        total = 0
        for pid in self.family():
            # One that has ended meanwhile has none.
            with contextlib.suppress(OSError):
                lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith(what + ":"))
        return total

    def start(self, command, stdout=subprocess.DEVNULL):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.DEVNULL)
        return await_port(self.port, self.process)

    def close(self):
        self.process.terminate()
        self.process.wait()


class Sally(Peer):
    """A visit's record goes to one of `PLACES`."""

    name = "sally"
    sftp = True
    PLACES = ("memory", "disk", "stdout")

    def __init__(self, binary, work, record, place="memory"):
        self.binary, self.work, self.record, self.place, self.runs = binary, work, record, place, 0
        self.keys = work / "sally-keys"
        self.keys.write_text(f'environment="SHLVL={SHLVL}" ' + (work / "id.pub").read_text())

    def open(self):
        self.runs += 1
        self.port = free_port()
        command = [self.binary, "once", "--authorized-keys", self.keys, "--port", str(self.port), "--listen", "127.0.0.1", "--record", self.record]
        if self.place == "stdout":
            # Over a file whose pages are there already: else the first touch of memory is what is measured.
            with open(self.existing, "r+b") as out:
                return self.start(command, stdout=out)
        folder = SHM if self.place == "memory" else self.work
        self.log = folder / f"bench-{os.getpid()}-{self.runs}.cast"
        return self.start([*command, "--log", self.log])

    def close(self):
        # Its visit is over, so it ends by itself.
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.place != "stdout":
            self.log.unlink(missing_ok=True)


class Sshd(Peer):
    name = "sshd"
    sftp = True

    def __init__(self, work):
        self.work = work
        key = work / "host"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        os.makedirs("/run/sshd", exist_ok=True)
        (work / "sshd_config").write_text(
            f"HostKey {key}\nAuthorizedKeysFile {work / 'id.pub'}\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n"
            f"SetEnv SHLVL={SHLVL}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPrintMotd no\nPrintLastLog no\n"
            "Subsystem sftp internal-sftp\n")

    def open(self):
        self.port = free_port()
        return self.start(["/usr/sbin/sshd", "-D", "-e", "-f", self.work / "sshd_config", "-p", str(self.port), "-o", "ListenAddress=127.0.0.1"])


class AtHome(Peer):
    """One that looks for keys in the account's home only: it gets another home, in a mount namespace of its own."""

    ciphers = ("chacha20-poly1305",)

    def __init__(self, work):
        self.work = work
        self.home = work / f"home-{self.name}"
        (self.home / ".ssh").mkdir(mode=0o700, parents=True)
        self.home.chmod(0o755)
        shutil.copy(work / "id.pub", self.home / ".ssh/authorized_keys")

    def at_home(self, *command):
        return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', self.home, os.path.expanduser("~"), *command]


class Dropbear(AtHome):
    name = "dropbear"

    def open(self):
        key = self.work / "dropbear-host"
        if not key.exists():
            subprocess.run(["dropbearkey", "-t", "ed25519", "-f", key], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.port = free_port()
        return self.start(self.at_home("dropbear", "-F", "-E", "-m", "-s", "-r", key, "-p", f"127.0.0.1:{self.port}"))


class Tinysshd(AtHome):
    """It serves one connection on its standard streams: something has to accept it."""

    name = "tinysshd"

    def open(self):
        keys = self.work / "tinysshd-keys"
        if not keys.exists():
            subprocess.run(["tinysshd-makekey", "-q", keys], check=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.process = None
        self.acceptor = threading.Thread(target=self.accept, args=(keys,), daemon=True)
        self.acceptor.start()
        return 0.0

    def accept(self, keys):
        connection, _ = self.listener.accept()
        with connection:
            self.process = subprocess.Popen(self.at_home("tinysshd", "-q", keys), stdin=connection, stdout=connection, stderr=subprocess.DEVNULL)

    def close(self):
        self.listener.close()
        if self.process:
            super().close()


def others(work):
    """The peers beside sshd that are installed and can run here."""
    if os.getuid() != 0:
        return []
    return [peer(work) for peer in (Dropbear, Tinysshd) if shutil.which(peer.name)]
