"""Visits by the libraries that other programs are built on: libraries.py libssh2|libssh|conch PORT KEY."""
import socket
import sys

COMMAND = "cat; echo oops >&2; exit 7"


def everything(read):
    """What a channel says until its end."""
    said = b""
    while True:
        length, piece = read()
        if length <= 0:
            return said
        said += piece


def libssh2(port, key):
    from ssh2.session import Session
    connection = socket.create_connection(("127.0.0.1", int(port)), timeout=60)
    session = Session()
    session.handshake(connection)
    session.userauth_publickey_fromfile("anyone", key)
    channel = session.open_session()
    channel.execute(COMMAND)
    channel.write(b"through\n")
    channel.send_eof()
    stdout, stderr = everything(channel.read), everything(channel.read_stderr)
    channel.wait_eof()
    channel.close()
    channel.wait_closed()
    print(stdout, stderr, channel.get_exit_status())
    session.disconnect()


def libssh(port, key):
    from ssh import options
    from ssh.key import import_privkey_file
    from ssh.session import Session
    session = Session()
    session.options_set(options.HOST, "127.0.0.1")
    session.options_set(options.USER, "anyone")
    session.options_set_port(int(port))
    session.connect()
    session.userauth_publickey(import_privkey_file(key))
    channel = session.channel_new()
    channel.open_session()
    channel.request_exec(COMMAND)
    channel.write(b"through\n")
    channel.send_eof()
    stdout = everything(channel.read)
    stderr = everything(lambda: channel.read(is_stderr=True))
    print(stdout, stderr, channel.get_exit_status())
    channel.close()
    session.disconnect()


def conch(port, key):
    from twisted.conch.client.knownhosts import KnownHostsFile
    from twisted.conch.endpoints import SSHCommandClientEndpoint
    from twisted.conch.ssh.keys import Key
    from twisted.internet import defer, protocol, task
    from twisted.python.filepath import FilePath

    class AnyHost(KnownHostsFile):
        def verifyHostKey(self, *_):
            return defer.succeed(True)

    class Visit(protocol.Protocol):
        def connectionMade(self):
            self.stdout, self.stderr, self.ended = b"", b"", defer.Deferred()
            # What isn't stdout goes to the channel.
            channel = self.transport
            channel.extReceived = lambda _, data: setattr(self, "stderr", self.stderr + data)
            self.transport.write(b"through\n")
            channel.conn.sendEOF(channel)

        def dataReceived(self, data):
            self.stdout += data

        def connectionLost(self, reason):
            self.ended.callback(reason.value.exitCode)

    @defer.inlineCallbacks
    def main(reactor):
        endpoint = SSHCommandClientEndpoint.newConnection(
            reactor, COMMAND.encode(), b"anyone", "127.0.0.1", int(port), keys=[Key.fromFile(key)],
            knownHosts=AnyHost(FilePath("/dev/null")), agentEndpoint=None)
        visit = yield endpoint.connect(protocol.Factory.forProtocol(Visit))
        status = yield visit.ended
        print(visit.stdout, visit.stderr, status)

    task.react(main)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
