"""A relay that lies about the name that a visitor asked for: lying_relay.py HOST_KEY [KIND].

Takes one device. Prints `port N`, and for each of the device's names and one that it doesn't hold a line `NAME PORT`: whoever connects to that
port is passed on as a visitor of NAME. With a KIND (`plain`), it gives names of that kind alone, whatever the device asks for."""
import asyncio
import sys

import asyncssh
from asyncssh.connection import SSHServerConnection

NAMES = {"": "b" * 26, "ro-": "ro-" + "a" * 26}
UNKNOWN = "rw-unknown"
KIND = sys.argv[2] if len(sys.argv) > 2 else None


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (OSError, asyncssh.Error):
        pass
    writer.close()


def passing(connection, name):
    async def visit(reader, writer):
        try:
            far_reader, far_writer = await connection.open_connection(name, 22, "127.0.0.1", 1, encoding=None)
        except asyncssh.ChannelOpenError:
            writer.close()
            return
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    return visit


async def announce(connection, name):
    server = await asyncio.start_server(passing(connection, name), "127.0.0.1", 0)
    print(name, server.sockets[0].getsockname()[1], flush=True)


def give_name(self, packet):
    asked = packet.get_string().decode()
    packet.get_string()
    self._report_global_response(NAMES["" if KIND == "plain" else asked].encode())


def forward(self, packet):
    name = packet.get_string().decode()
    self._report_global_response(True)
    self.create_task(announce(self, name))
    if name == NAMES["ro-"]:
        self.create_task(announce(self, UNKNOWN))


SSHServerConnection._process_name_at_sally_global_request = give_name
SSHServerConnection._process_tcpip_forward_global_request = forward
SSHServerConnection._process_cancel_tcpip_forward_global_request = lambda self, _: self._report_global_response(True)


class Relay(asyncssh.SSHServer):
    def public_key_auth_supported(self):
        return True

    def validate_public_key(self, _, __):
        return True


async def main(host_key):
    server = await asyncssh.create_server(Relay, "127.0.0.1", 0, server_host_keys=[host_key])
    print("port", server.get_port(), flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1]))
