"""Holds many tunnels at once, cheaper than as many stock clients: connections of asyncssh, each with one remote forwarding.

tunnels.py PORT KEY COUNT PATTERN: `{}` in the pattern is the tunnel's number. Says `held` when all are accepted; leaves at the end of its input.
"""
import asyncio
import sys

import asyncssh

AT_ONCE = 4


async def main(port, key, count, pattern):
    turn = asyncio.Semaphore(AT_ONCE)

    async def hold(number):
        host, _, listen = pattern.format(number).rpartition(":")
        async with turn:
            connection = await asyncssh.connect("127.0.0.1", int(port), username="root", client_keys=[key], known_hosts=None, config=None,
                                                agent_path=None)
            return connection, await connection.forward_remote_port(host, int(listen), "127.0.0.1", 9)

    held = await asyncio.gather(*(hold(number) for number in range(int(count))))
    print("held", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for connection, _ in held:
        connection.abort()


asyncio.run(main(*sys.argv[1:]))
