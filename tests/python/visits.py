"""Visits by clients in Python: visits.py SCENARIO PORT KEY [ARGUMENT…]."""
import asyncio
import os
import socket
import struct
import sys

import asyncssh
import paramiko


async def connect(port, key, **options):
    return await asyncssh.connect("127.0.0.1", int(port), username="anyone", client_keys=[key], known_hosts=None, config=None,
                                  agent_path=None, **options)


def asynchronous(scenario):
    return lambda *arguments: asyncio.run(asyncio.wait_for(scenario(*arguments), 60))


@asynchronous
async def post_quantum(port, key):
    async with await connect(port, key, kex_algs=["mlkem768x25519-sha256"]) as connection:
        print((await connection.run("echo in", check=True)).stdout.strip())


@asynchronous
async def exit_signal(port, key):
    async with await connect(port, key) as connection:
        result = await connection.run("kill -TERM $$")
        print(result.exit_signal)


@asynchronous
async def signals(port, key):
    async with await connect(port, key) as connection:
        traps = "".join(f"trap 'echo got {name}' {name}; " for name in ("TERM", "INT", "USR1"))
        process = await connection.create_process(traps + "echo ready; while :; do sleep 1000 & wait; done")
        print((await process.stdout.readline()).strip())
        for name in ("TERM", "INT", "USR1"):
            process.send_signal(name)
            print((await process.stdout.readline()).strip())
        process.send_signal("KILL")
        await process.wait()
        print(process.exit_signal[0])


@asynchronous
async def window(port, key):
    async with await connect(port, key) as connection:
        command = "trap 'stty size; exit 0' WINCH; stty size; while :; do read line || :; done"
        process = await connection.create_process(command, term_type="xterm", term_size=(100, 30))
        print((await process.stdout.readline()).strip())
        process.change_terminal_size(132, 43)
        process.stdin.write("\n")
        print((await process.stdout.read()).split()[-2:])
        await process.wait()


@asynchronous
async def environment(port, key):
    async with await connect(port, key) as connection:
        result = await connection.run("echo $LANG $LC_ALL $MINE", env={"LANG": "C", "LC_ALL": "C.UTF-8", "MINE": "x"})
        print(result.stdout.strip())


@asynchronous
async def break_(port, key):
    """A break changes nothing on a pseudo-terminal of Linux; it is taken, and the session goes on."""
    async with await connect(port, key) as connection:
        process = await connection.create_process("echo ready; read line; echo $line; exit 3", term_type="xterm")
        await process.stdout.readuntil("ready")
        process.send_break(500)
        print("sent", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        process.stdin.write("still here\n")
        await process.stdout.readuntil("still here")
        await process.wait()
        print(process.exit_status)


@asynchronous
async def second_session(port, key):
    async with await connect(port, key) as connection:
        first = await connection.create_process("cat")
        try:
            await connection.create_process("echo second")
            print("opened")
        except asyncssh.ChannelOpenError as refusal:
            print(refusal.code, refusal.reason)
        first.stdin.write("still here\n")
        first.stdin.write_eof()
        print((await first.stdout.read()).strip())


@asynchronous
async def forwards(port, key):
    async with await connect(port, key) as connection:
        try:
            await connection.open_connection("127.0.0.1", 1)
            print("opened")
        except asyncssh.ChannelOpenError as refusal:
            print(refusal.code, refusal.reason)
        try:
            await connection.forward_remote_port("", 0, "127.0.0.1", 1)
            print("opened")
        except asyncssh.ChannelListenError as refusal:
            print(refusal)
        print((await connection.run("echo in")).stdout.strip())


@asynchronous
async def half_close(port, key):
    async with await connect(port, key) as connection:
        process = await connection.create_process("wc -c; echo after; echo err >&2", encoding=None)
        process.stdin.write(bytes(300_000))
        process.stdin.write_eof()
        stdout, stderr = await asyncio.gather(process.stdout.read(), process.stderr.read())
        await process.wait()
        print(stdout, stderr, process.exit_status)


def reset(port, key):
    """The connection is torn off: a RST, no goodbye."""
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", int(port), "anyone", key_filename=key, look_for_keys=False, allow_agent=False, timeout=60)
    stdin, stdout, stderr = client.exec_command("echo in; exec sleep 1000", timeout=60)
    print(stdout.readline().strip(), flush=True)
    sys.stdin.readline()
    client.get_transport().sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os._exit(0)


def paramiko_wrong_key_first(port, wrong, right):
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", int(port), "anyone", key_filename=[wrong, right], look_for_keys=False, allow_agent=False, timeout=60,
                   auth_timeout=60, banner_timeout=60)
    stdin, stdout, stderr = client.exec_command("cat; echo oops >&2; exit 9", timeout=60)
    stdin.write("through\n")
    stdin.channel.shutdown_write()
    print(stdout.read(), stderr.read(), stdout.channel.recv_exit_status())
    client.close()


def paramiko_shell(port, key):
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", int(port), "anyone", key_filename=key, look_for_keys=False, allow_agent=False, timeout=60)
    shell = client.invoke_shell("xterm", 90, 20)
    shell.settimeout(60)
    shell.send(b"stty size; exit 3\n")
    said = b""
    while piece := shell.recv(4096):
        said += piece
    print(b"20 90" in said, shell.recv_exit_status())
    client.close()


if __name__ == "__main__":
    globals()[{"break": "break_"}.get(sys.argv[1], sys.argv[1].replace("-", "_"))](*sys.argv[2:])
