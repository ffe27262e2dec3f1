"""Measures a visit to a device that sleeps (`sally relay` wakes `sally agent` through the relay's own MQTT) beside a visit through a permanent
`ssh -R` tunnel and OpenSSH's sshd as the pivot, in turn, in one run, over loopback; prints a table in Markdown.

Both visits are `ssh -J pivot device true` by the same stock client, to the same stock sshd. The ways from the visitor and from the device
to the pivot are then made `--rtt` long, and twice that, and the round trips of each visit counted: what the delay adds, divided by it.
"""
import argparse
import concurrent.futures
import datetime
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time

from bench import Table
from lag import Lag
from measure import keep, machine
from peers import free_port

LIMIT = 900


class Process:
    def __init__(self, words, *command):
        self.child = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.lines = []
        for line in self.child.stderr:
            self.lines.append(line)
            if words in line:
                break
        else:
            raise SystemExit("".join(self.lines))
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        self.lines.extend(self.child.stderr)

    def memory(self):
        fields = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", fields)[1])

    def close(self):
        self.child.kill()
        self.child.wait()


class Run:
    def __init__(self, args, work, more_keys=()):
        self.args, self.work, self.processes, self.more_keys = args, work, [], more_keys
        self.delay = args.rtt / 2000
        (work / "authorized_keys").write_text((work / "id.pub").read_text())
        self.device = self.sshd("device")
        self.names = [f"cam-{number}" for number in range(args.devices)]
        self.fleet()
        self.pivot()

    def start(self, words, *command):
        self.processes.append(Process(words, *command))
        return self.processes[-1]

    def sshd(self, name):
        port, config = free_port(), self.work / f"sshd-{name}"
        os.makedirs("/run/sshd", exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.work / f"host-{name}"], check=True)
        config.write_text(f"Port {port}\nListenAddress 127.0.0.1\nHostKey {self.work}/host-{name}\nPidFile none\nUsePAM no\nStrictModes no\n"
                          f"AuthorizedKeysFile {self.work}/authorized_keys\nMaxStartups 1000\n")
        self.start("Server listening", "/usr/sbin/sshd", "-D", "-e", "-f", config)
        return port

    def road(self, port):
        """The same port, or a longer way to it."""
        return Lag(port, self.delay).port if self.delay else port

    def fleet(self):
        sally, port, mqtt = self.args.binary, free_port(), free_port()
        dialled = self.road(port)
        folder = self.work / "FLEET"
        quiet = {"check": True, "stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        subprocess.run([sally, "fleet", "init", folder, "--relay", f"127.0.0.1:{dialled}", "--broker", f"mqtts://127.0.0.1:{self.road(mqtt)}"], **quiet)
        for name in self.names:
            subprocess.run([sally, "fleet", "add", folder, name, "--out", self.work / name], **quiet)
        # The next visitor's channel comes seven round trips after the last one left.
        linger = f"{1 + self.args.rtt // 50}s"
        keys = [self.work / "id.pub", *self.more_keys]
        (self.work / "visitors").write_text("".join(f'permitopen="cam-*:22" {key.read_text()}' for key in keys))
        self.relay = self.start("Server listening", sally, "-v", "relay", "--fleet", folder / "relay", "--listen", f"127.0.0.1:{port}",
                                "--mqtt-listen", f"127.0.0.1:{mqtt}", "--visitors", self.work / "visitors", "--linger", linger,
                                "--wake-deadline", "30s", "--audit", self.work / "audit")
        self.relay.port = self.road(port)
        self.agents = [self.start("connected to the broker", sally, "-v", "agent", "--bundle", self.work / name, "--to", f"127.0.0.1:{self.device}")
                       for name in self.names]

    def pivot(self):
        port, self.forwarded = self.sshd("pivot"), free_port()
        self.pivot_port = self.road(port)
        self.start("remote forward success", *self.ssh("pivot", self.pivot_port), "-N", "-v", "-o", "LogLevel=VERBOSE", "-o", "LogLevel=DEBUG1",
                   "-R", f"127.0.0.1:{self.forwarded}:127.0.0.1:{self.device}", "pivot")

    def ssh(self, name, port):
        config = self.work / f"config-{name}"
        if not config.exists():
            config.write_text(f"Host pivot\n HostName 127.0.0.1\n Port {port}\nHost *\n User root\n IdentityFile {self.work}/id\n BatchMode yes\n "
                              "IdentitiesOnly yes\n IdentityAgent none\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n")
        return ["ssh", "-F", config]

    def timed(self, *command):
        start = time.perf_counter()
        done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return (time.perf_counter() - start) * 1e3

    def visit(self, name):
        return self.timed(*self.ssh("relay", self.relay.port), "-J", "pivot", name, "true")

    def through_sshd(self):
        return self.timed(*self.ssh("pivot", self.pivot_port), "-J", "pivot", "-p", self.forwarded, "127.0.0.1", "true")

    def asleep(self):
        """Waits until no device holds a tunnel."""
        log = self.work / "audit"
        while log.read_text().count('"event":"register"') > log.read_text().count('"event":"release"'):
            time.sleep(0.05)

    def visits(self):
        cold, warm, permanent = [], [], []
        for turn in range(self.args.runs):
            # Another each time: a device is not to be woken again and again.
            name = self.names[turn % len(self.names)]
            self.asleep()
            cold.append(self.visit(name))
            warm.append(self.visit(name))
            permanent.append(self.through_sshd())
        return [statistics.median(times) for times in (cold, warm, permanent)]

    def crowd(self):
        """Everybody is woken at once."""
        self.asleep()
        start = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(len(self.names)) as visitors:
            each = list(visitors.map(self.visit, self.names))
        return len(each), (time.perf_counter() - start), max(each)

    def close(self):
        for process in self.processes:
            process.close()


def measured(args, work, rtt, devices):
    folder = work / f"rtt-{rtt}"
    folder.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "id"], check=True)
    return Run(argparse.Namespace(**{**vars(args), "rtt": rtt, "devices": devices}), folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", type=lambda name: pathlib.Path(name).resolve())
    parser.add_argument("--runs", type=int, default=20, help="visits of each kind")
    parser.add_argument("--devices", type=int, default=50, help="devices that are woken at once")
    parser.add_argument("--rtt", type=int, default=80, help="milliseconds of the long way")
    parser.add_argument("--write", type=pathlib.Path, metavar="FILE", help="put the table between the marks in this file")
    args = parser.parse_args()
    signal.alarm(LIMIT)
    work, runs = pathlib.Path(tempfile.mkdtemp(dir="/run")), []
    try:
        about = f"{machine()}; load {os.getloadavg()[0]:.1f} at the start; {datetime.date.today()}; medians of {args.runs} visits."
        print(about + "\n")
        table = Table([argparse.Namespace(name="sally"), argparse.Namespace(name="sshd")])
        near = measured(args, work, 0, args.devices)
        runs.append(near)
        cold, warm, permanent = near.visits()
        table.row("visit to a device that sleeps; sshd: through a permanent tunnel", "ms", {"sally": cold, "sshd": permanent}, 1)
        table.row("visit to a device that is awake", "ms", {"sally": warm, "sshd": permanent}, 1)
        count, took, longest = near.crowd()
        table.row(f"{args.devices} devices woken at once: reached", "", {"sally": count})
        table.row("the same, until the last visitor had left", "s", {"sally": took}, 1)
        table.row("the same, the longest visit", "ms", {"sally": longest})
        table.row("memory of an agent that waits, resident", "KiB", {"sally": statistics.median(agent.memory() for agent in near.agents)})
        near.close()
        # From one long way to one twice as long: over none, sshd and its clients pause in places that no delay adds to.
        ways = []
        for rtt in (args.rtt, 2 * args.rtt):
            far = measured(argparse.Namespace(**{**vars(args), "runs": max(3, args.runs // 4)}), work, rtt, 1)
            runs.append(far)
            ways.append(far.visits())
            far.close()
        asleep, awake, through = ((twice - once) / args.rtt for once, twice in zip(*ways))
        table.row("asleep", "round trips", {"sally": asleep, "sshd": through}, 1)
        table.row("awake", "round trips", {"sally": awake, "sshd": through}, 1)
        if args.write:
            keep(args.write, "bench-fleet", about, table.lines)
    finally:
        for run in runs:
            run.close()
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
