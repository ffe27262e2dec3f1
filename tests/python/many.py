"""Sessions of every kind on one connection, eight at once: many.py PORT KEY COUNT. Says `early` after the first tenth, and `late` at the end, a
number now and then, and goes on when told to."""
import asyncio
import sys

import asyncssh

AT_ONCE = 8


async def session(connection, number):
    """One session, of a kind that depends on its number, with an outcome that does too."""
    kind = number % 5
    if kind == 0:
        async with connection.start_sftp_client() as sftp:
            assert await sftp.isdir("/")
        return
    command, expected, options = [
        (f"exit {number % 256}", number % 256, {}),
        (f"exit {number % 256}", number % 256, {"term_type": "xterm"}),
        ("(sh -c 'exit 0' &) ; exit 1", 1, {}),
        ("cat >/dev/null; exit 2", 2, {"input": "x" * 5000}),
    ][kind - 1]
    result = await connection.run(command, **options)
    assert result.exit_status == expected, (number, result)


async def main(port, key, count):
    numbers = iter(range(count))

    async def lane(connection, until):
        for number in numbers:
            await session(connection, number)
            if number % 500 == 0:
                print(number, flush=True)
            if number >= until:
                return

    async with await asyncssh.connect("127.0.0.1", port, username="anyone", client_keys=[key], known_hosts=None, config=None,
                                      agent_path=None) as connection:
        for mark, until in (("early", count // 10), ("late", count)):
            await asyncio.gather(*(lane(connection, until) for _ in range(AT_ONCE)))
            print(mark, flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
