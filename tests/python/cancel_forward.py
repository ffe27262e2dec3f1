"""Asks a server to cancel a forward that this connection never made: PORT KEY FORWARDED."""

import sys

import paramiko

port, key, forwarded = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
transport = paramiko.Transport(("127.0.0.1", port))
transport.start_client(timeout=60)
transport.auth_publickey("tunuser", paramiko.Ed25519Key.from_private_key_file(key))
answer = transport.global_request("cancel-tcpip-forward", ("localhost", forwarded), wait=True)
print("cancelled" if answer is not None else "refused")
transport.close()
