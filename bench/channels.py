"""Many visitors' channels at once, cheaper than as many stock clients: connections of asyncssh, each with so many channels to one target.

channels.py PORT KEY CONNECTIONS CHANNELS HOST:PORT: says `open` when all are; at each line of its input a JSON list of the bytes that each channel
has received since the line before.
"""
import asyncio
import json
import sys

import asyncssh

PIECE = 64 << 10
AT_ONCE = 8


async def main(port, key, connections, channels, target):
    host, _, service = target.rpartition(":")
    turn = asyncio.Semaphore(AT_ONCE)
    counts = []

    async def receive(connection):
        async with turn:
            reader, _ = await connection.open_connection(host, int(service))
            counts.append(len(await reader.read(1)))
        return len(counts) - 1, reader

    async def count(number, reader):
        while piece := await reader.read(PIECE):
            counts[number] += len(piece)

    opened = []
    for _ in range(int(connections)):
        connection = await asyncssh.connect("127.0.0.1", int(port), username="root", client_keys=[key], known_hosts=None, config=None, agent_path=None,
                                            encryption_algs=["aes128-gcm@openssh.com"])
        opened += await asyncio.gather(*(receive(connection) for _ in range(int(channels))))
    tasks = [asyncio.create_task(count(*channel)) for channel in opened]
    print("open", flush=True)
    before = list(counts)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        now = list(counts)
        print(json.dumps([new - old for new, old in zip(now, before)]), flush=True)
        before = now
    for task in tasks:
        task.cancel()


asyncio.run(main(*sys.argv[1:]))
