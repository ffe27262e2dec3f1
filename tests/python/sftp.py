"""SFTP by clients in Python, and by one that no honest client is: sftp.py SCENARIO PORT KEY FOLDER. Prints what became of it."""
import asyncio
import hashlib
import os
import shutil
import socket
import struct
import sys

import asyncssh
import paramiko

from rawssh import *

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT = 1, 2, 3, 4, 5, 6, 7
REALPATH, STAT, EXTENDED, STATUS, HANDLE, DATA, NAME, ATTRS = 16, 17, 200, 101, 102, 103, 104, 105
OK, EOF, NO_SUCH_FILE, FAILURE, BAD_MESSAGE, UNSUPPORTED = 0, 1, 2, 4, 5, 8


def content(count):
    """The same bytes each time, and nothing that repeats."""
    return b"".join(hashlib.sha256(struct.pack(">I", number)).digest() for number in range(count // 32 + 1))[:count]


# Libraries


def by_paramiko(port, key, folder):
    transport = paramiko.Transport(("127.0.0.1", int(port)))
    transport.connect(username="anyone", pkey=paramiko.Ed25519Key.from_private_key_file(key))
    sftp = paramiko.SFTPClient.from_transport(transport)
    sftp.chdir(folder)
    data = content(3_000_001)
    with open(f"{folder}/local", "wb") as file:
        file.write(data)
    sftp.put(f"{folder}/local", "put")
    sftp.get("put", f"{folder}/got")
    with sftp.open("put") as file:
        file.prefetch()
        print("prefetched", file.read() == data == open(f"{folder}/got", "rb").read())
    with sftp.open("put", "r+") as file:
        file.seek(5 << 30)
        file.write(b"far out")
        file.seek(5 << 30)
        print(file.read(100), file.stat().st_size)
        file.truncate(10)
        file.chmod(0o600)
        file.utime((1, 2))
    stat = sftp.stat("put")
    print(oct(stat.st_mode), stat.st_size, stat.st_atime, stat.st_mtime)
    with sftp.open("log", "a") as file:
        file.write(b"one")
    with sftp.open("log", "a") as file:
        file.write(b"two")
    print(sftp.open("log").read())
    sftp.posix_rename("put", "log")
    try:
        sftp.rename("log", "got")
    except OSError as error:
        print(type(error).__name__, error)
    for path in ("missing", "log/x"):
        try:
            sftp.stat(path)
        except FileNotFoundError as error:
            print(error.errno, error.strerror)
    sftp.symlink("log", "link")
    print(sftp.readlink("link"), sftp.normalize("link") == os.path.realpath(f"{folder}/log"))
    sftp.mkdir("sub", 0o750)
    for number in range(300):
        sftp.open(f"sub/{number}", "x").close()
    print(len(sftp.listdir("sub")), oct(sftp.stat("sub").st_mode))
    transport.close()


def by_asyncssh(port, key, folder):
    async def visit():
        async with asyncssh.connect("127.0.0.1", int(port), username="anyone", client_keys=[key], known_hosts=None, config=None,
                                    agent_path=None) as connection:
            async with connection.start_sftp_client() as sftp:
                print("version", sftp.version)
                await sftp.chdir(folder)
                data = content(2_000_003)
                with open(f"{folder}/local", "wb") as file:
                    file.write(data)
                await sftp.put(f"{folder}/local", "put")
                await sftp.get("put", f"{folder}/got")
                print(open(f"{folder}/got", "rb").read() == data)
                await sftp.copy("put", "copied", remote_only=True)
                print(sftp.supports_remote_copy, open(f"{folder}/copied", "rb").read() == data)
                await sftp.link("put", "hard")
                await sftp.posix_rename("hard", "harder")
                print(os.stat(f"{folder}/harder").st_nlink)
                print((await sftp.statvfs(".")).namemax)
                async with sftp.open("put", "rb+") as file:
                    await file.fsync()
                    print((await file.statvfs()).namemax)
                try:
                    await sftp.rmdir("missing")
                except asyncssh.SFTPNoSuchFile as error:
                    print("no such file:", error.reason)
                print(sorted(await sftp.glob("h*")))

    asyncio.run(asyncio.wait_for(visit(), 60))


# By hand


class Sftp(Client):
    def __init__(self, port, key, window=1 << 27):
        super().__init__(port)
        self.enter(key)
        self.channel = self.open_session(window=window)
        self.send(bytes([CHANNEL_REQUEST]) + uint(self.channel) + string("subsystem") + b"\1" + string("sftp"))
        assert self.expect(CHANNEL_SUCCESS, CHANNEL_FAILURE)[0] == CHANNEL_SUCCESS
        self.status = None

    def say(self, *bodies, size=32000):
        stream = b"".join(map(string, bodies))
        for start in range(0, len(stream), size):
            self.send(data_message(self.channel, stream[start:start + size]))

    def answer(self):
        """The next packet; None where the channel ends."""
        while len(self.heard) < 4 or len(self.heard) < 4 + struct.unpack(">I", self.heard[:4])[0]:
            message = self.receive()
            if message[0] == CHANNEL_DATA:
                self.heard += take(message, 5)[0]
            elif message[0] == CHANNEL_REQUEST and take(message, 5)[0] == b"exit-status":
                self.status = struct.unpack(">I", message[-4:])[0]
            elif message[0] == CHANNEL_CLOSE:
                return None
        packet, end = take(self.heard, 0)
        self.heard = self.heard[end:]
        return packet

    def ask(self, *bodies, **options):
        self.say(*bodies, **options)
        return [self.answer() for _ in bodies]

    def greet(self):
        assert self.ask(bytes([INIT]) + uint(3))[0][:5] == bytes([VERSION]) + uint(3)
        return self

    def end(self):
        """How the channel ends."""
        while self.answer() is not None:
            pass
        return self.status


def request(kind, number, *fields):
    return bytes([kind]) + uint(number) + b"".join(fields)


def u64(value):
    return struct.pack(">Q", value)


def opening(number, path, flags=1):
    return request(OPEN, number, string(path), uint(flags), uint(0))


def code(answer):
    """A status, or the kind of any other answer."""
    return struct.unpack_from(">I", answer, 5)[0] if answer[0] == STATUS else f"kind {answer[0]}"


def lengths(port, key, folder):
    """Each on a visit of its own: the folder's name says which."""
    broken = {"zero": uint(0), "over": uint((256 << 10) + 1) + b"x" * 100, "huge": uint(0xffffffff), "early": string(opening(1, "/")),
              "short": string(b"\x01\0")}
    name = os.path.basename(folder)
    sftp = Sftp(port, key)
    if name not in ("early", "short"):
        sftp.greet()
    sftp.send(data_message(sftp.channel, broken[name]))
    print(sftp.end())


def longest(port, key, folder):
    sftp = Sftp(port, key).greet()
    handle = take(sftp.ask(opening(1, f"{folder}/file", 0x1b))[0], 5)[0]
    data = content((256 << 10) - 25)
    print(code(sftp.ask(request(WRITE, 2, string(handle), u64(0), string(data)))[0]), open(f"{folder}/file", "rb").read() == data)
    # Far more than there is, and than may be asked for.
    answer = sftp.ask(request(READ, 3, string(handle), u64(0), uint(0xffffffff)))[0]
    print(answer[0] == DATA, take(answer, 5)[0] == data[:255 << 10])
    print(code(sftp.ask(request(READ, 4, string(handle), u64(1 << 63), uint(5)))[0]))
    print(code(sftp.ask(request(READ, 5, string(handle), u64(1 << 40), uint(5)))[0]))
    sftp.ask(request(CLOSE, 6, string(handle)))


def cut_off(port, key, folder):
    """A packet that never ends, then the end."""
    sftp = Sftp(port, key).greet()
    handle = take(sftp.ask(opening(1, f"{folder}/file", 0x1a))[0], 5)[0]
    print(code(sftp.ask(request(WRITE, 2, string(handle), u64(0), string("abc")))[0]))
    sftp.send(data_message(sftp.channel, uint(1000) + b"never"), bytes([CHANNEL_EOF]) + uint(sftp.channel))
    print(sftp.end())


def unknown(port, key, folder):
    sftp = Sftp(port, key).greet()
    print(code(sftp.ask(request(99, 7))[0]), code(sftp.ask(request(EXTENDED, 8, string("no-such@test")))[0]))
    # Fields that are not there, or longer than the packet.
    for body in (request(OPEN, 9), request(STAT, 9, uint(50) + b"/"), request(EXTENDED, 9), request(READ, 9, string("abcd")),
                 request(9, 9, string("/"), uint(0x80000000), uint(0xffffffff))):
        answer = sftp.ask(body)[0]
        print(code(answer), struct.unpack_from(">I", answer, 1)[0], end=" ")
    # More than there should be is passed over.
    print(code(sftp.ask(request(STAT, 10, string("/"), b"more"))[0]))
    print(code(sftp.ask(request(STAT, 11, string(b"/\0x")))[0]), code(sftp.ask(request(STAT, 12, string(b"")))[0]))


def handles(port, key, folder):
    sftp = Sftp(port, key).greet()
    for handle in (b"", b"abc", b"\0\0\0\0", b"\xff\xff\xff\xff", b"x" * 300):
        bodies = [request(READ, 1, string(handle), u64(0), uint(9)), request(WRITE, 2, string(handle), u64(0), string("x")),
                  request(CLOSE, 3, string(handle)), request(8, 4, string(handle)), request(10, 5, string(handle), uint(0)),
                  request(12, 6, string(handle)), request(EXTENDED, 7, string("fsync@openssh.com"), string(handle))]
        print(*[code(answer) for answer in sftp.ask(*bodies)])
    handle = take(sftp.ask(opening(1, folder))[0], 5)[0]
    # A folder can be opened and not read; a handle is not valid twice.
    print(*[code(answer) for answer in sftp.ask(request(READ, 1, string(handle), u64(0), uint(9)), request(CLOSE, 2, string(handle)),
                                                request(CLOSE, 3, string(handle)))])


def opens(port, key, folder):
    """Far more than there may be."""
    sftp = Sftp(port, key).greet()
    total, step, open_handles, refused = 20_000, 500, [], set()
    path = f"{folder}/file"
    open(path, "w").close()
    for start in range(0, total, step):
        for answer in sftp.ask(*[opening(number, path) for number in range(start, start + step)]):
            if answer[0] == HANDLE:
                open_handles.append(take(answer, 5)[0])
            else:
                refused.add(code(answer))
    print(len(open_handles), refused)
    print(code(sftp.ask(request(CLOSE, 1, string(open_handles[0])))[0]), sftp.ask(opening(2, path))[0][0] == HANDLE)


def opens_and_closes(port, key, folder):
    """A hundred thousand files one after another, as a large tree has; says how far it is, and stays."""
    sftp = Sftp(port, key).greet()
    path = f"{folder}/file"
    open(path, "w").close()
    for start in range(0, 100_000, 500):
        opened = sftp.ask(*[opening(number, path) for number in range(start, start + 500)])
        closed = sftp.ask(*[request(CLOSE, number, string(take(answer, 5)[0])) for number, answer in enumerate(opened)])
        assert all(code(answer) == OK for answer in closed), closed
        print("so far", start + 500)
    sys.stdin.read()


def byte_by_byte(port, key, folder):
    sftp = Sftp(port, key)
    with open(f"{folder}/file", "wb") as file:
        file.write(content(1000))
    answers = sftp.ask(bytes([INIT]) + uint(3), opening(1, f"{folder}/file"), request(READ, 2, string(b"\0\0\0\0"), u64(0), uint(2000)),
                       request(CLOSE, 3, string(b"\0\0\0\0")), size=1)
    print([answer[0] for answer in answers], take(answers[2], 5)[0] == content(1000))


def pipelined(port, key, folder):
    """Hundreds of requests before the first answer is read: answered in their order, each by its number."""
    sftp = Sftp(port, key).greet()
    data = content(500_000)
    with open(f"{folder}/file", "wb") as file:
        file.write(data)
    handle = take(sftp.ask(opening(1, f"{folder}/file"))[0], 5)[0]
    answers = sftp.ask(*[request(READ, number, string(handle), u64(number * 1000), uint(1000)) for number in range(600)])
    numbers = [struct.unpack_from(">I", answer, 1)[0] for answer in answers]
    print(numbers == list(range(600)), b"".join(take(answer, 5)[0] for answer in answers if answer[0] == DATA) == data,
          [code(answer) for answer in answers[500:]] == [EOF] * 100)


def greedy(port, key, folder):
    """Asks for a gigabyte, and takes nothing."""
    sftp = Sftp(port, key, window=100_000).greet()
    with open(f"{folder}/file", "wb") as file:
        file.truncate(1 << 30)
    handle = take(sftp.ask(opening(1, f"{folder}/file"))[0], 5)[0]
    sftp.say(*[request(READ, 1, string(handle), u64(0), uint(255 << 10))] * 4000)
    print("asked", flush=True)
    sys.stdin.read()


def vanish(port, key, folder):
    """Leaves in the middle of writing."""
    sftp = Sftp(port, key).greet()
    handle = take(sftp.ask(opening(1, f"{folder}/file", 0x1a))[0], 5)[0]
    answers = sftp.ask(*[request(WRITE, 2, string(handle), u64(number * 5), string("abcde")) for number in (0, 1, 3)])
    print(*map(code, answers))


def sizes(port, key, folder):
    """The limits that are told are those that hold."""
    sftp = Sftp(port, key).greet()
    answer = sftp.ask(request(EXTENDED, 1, string("limits@openssh.com")))[0]
    print(struct.unpack(">QQQQ", answer[5:]))


def full(port, key, folder):
    """A disk that is full: what was written is counted, and the session goes on."""
    sftp = Sftp(port, key).greet()
    handle = take(sftp.ask(opening(1, f"{folder}/file", 0x1a))[0], 5)[0]
    data, at, answers = content(100_000), 0, []
    while not answers or code(answers[-1]) == OK:
        answers += sftp.ask(request(WRITE, 2, string(handle), u64(at), string(data)))
        at += len(data)
    print(code(answers[-1]), take(answers[-1], 9)[0].decode())
    print(code(sftp.ask(request(CLOSE, 3, string(handle)))[0]), code(sftp.ask(request(13, 4, string(f"{folder}/file")))[0]))


def each_request(port, key, folder):
    """Every request once, and what comes of it: of a server whose key may not ask for all, compared with sshd's."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(f"{folder}/start")
    for name in ("old", "to-remove", "to-rename", "to-replace", "start/here"):
        with open(f"{folder}/{name}", "w") as file:
            file.write("content")
    os.mkdir(f"{folder}/empty")
    os.symlink("old", f"{folder}/link")
    sftp = Sftp(port, key)
    version = sftp.ask(bytes([INIT]) + uint(3))[0]
    names, at = [], 5
    while at < len(version):
        name, at = take(version, at)
        value, at = take(version, at)
        names.append(f"{name.decode()}={value.decode()}")
    print("version", *sorted(names))

    def say(name, body):
        answer = sftp.ask(body)[0]
        detail = take(answer, 9)[0].decode().replace(folder, "FOLDER") if answer[0] == NAME else ""
        print(name, code(answer), detail)
        return take(answer, 5)[0] if answer[0] == HANDLE else b"none"

    path = lambda name: string(f"{folder}/{name}")
    extension = lambda name, *fields: request(EXTENDED, 1, string(name), *fields)
    nothing, mode = uint(0), uint(4) + uint(0o666)
    say("realpath", request(REALPATH, 1, string(".")))
    say("realpath-empty", request(REALPATH, 1, string("")))
    say("stat-relative", request(STAT, 1, string("here")))
    say("expand-path", extension("expand-path@openssh.com", string("~")))
    for name, flags in (("read", 1), ("nothing", 0), ("append", 4 | 1)):
        read = say(f"open-{name}", request(OPEN, 1, path("old"), uint(flags), nothing))
    written = say("open-write", request(OPEN, 1, path("new"), uint(0x1a), nothing))
    others = {say(f"open-{name}", request(OPEN, 1, path(f"by-{name}"), uint(flags), mode))
              for name, flags in (("create", 9), ("truncate", 17), ("both", 3), ("with-mode", 0x1a))}
    say("read", request(READ, 1, string(read), u64(0), uint(10)))
    say("write", request(WRITE, 1, string(written), u64(0), string("content")))
    say("fstat", request(8, 1, string(read)))
    say("fsetstat", request(10, 1, string(written), mode))
    say("fstatvfs", extension("fstatvfs@openssh.com", string(read)))
    # sshd says of these that there is no such file, where there is no such handle.
    if written != b"none":
        say("fsync", extension("fsync@openssh.com", string(written)))
    say("copy-data", extension("copy-data", string(read), u64(0), u64(0), string(written), u64(0)))
    for handle in {read, written, *others} - {b"none"}:
        say("close", request(CLOSE, 1, string(handle)))
    say("lstat", request(LSTAT, 1, path("link")))
    say("stat", request(STAT, 1, path("link")))
    say("setstat", request(9, 1, path("old"), uint(4) + uint(0o640)))
    say("lsetstat", extension("lsetstat@openssh.com", path("old"), uint(8) + uint(1) + uint(2)))
    opened = say("opendir", request(11, 1, path("empty")))
    answer = sftp.ask(request(12, 1, string(opened)))[0]
    print("readdir", answer[0] == NAME or code(answer))
    say("remove", request(13, 1, path("to-remove")))
    say("mkdir", request(14, 1, path("made"), nothing))
    say("mkdir-with-mode", request(14, 1, path("made-with-mode"), uint(4) + uint(0o777)))
    say("rmdir", request(15, 1, path("empty")))
    say("rename", request(18, 1, path("to-rename"), path("renamed")))
    say("posix-rename", extension("posix-rename@openssh.com", path("renamed"), path("to-replace")))
    say("hardlink", extension("hardlink@openssh.com", path("old"), path("hard")))
    say("symlink", request(20, 1, string("old"), path("soft")))
    say("readlink", request(19, 1, path("link")))
    say("statvfs", extension("statvfs@openssh.com", path("old")))
    say("limits", extension("limits@openssh.com"))
    say("home-directory", extension("home-directory", string("root")))
    say("users-groups-by-id", extension("users-groups-by-id@openssh.com", string(b""), string(b"")))
    say("unknown-extension", extension("no-such@test"))
    for top, _, files in sorted(os.walk(folder)):
        for name in sorted([*files, "."]):
            found = os.lstat(f"{top}/{name}")
            print(os.path.relpath(f"{top}/{name}", folder), oct(found.st_mode), found.st_nlink if name != "." else "")


def symlink(port, key, folder, library):
    """A link made by a library: where it leads, and whether it is there at all."""
    os.chdir(folder)
    {"asyncssh": symlink_by_asyncssh, "paramiko": symlink_by_paramiko, "libssh": symlink_by_libssh,
     "libssh2": symlink_by_libssh2}[library](port, key, "the target", f"{folder}/link")
    print(os.readlink("link"), sorted(os.listdir(".")))


def symlink_by_asyncssh(port, key, target, link):
    async def visit():
        async with asyncssh.connect("127.0.0.1", int(port), username=USER, client_keys=[key], known_hosts=None, config=None,
                                    agent_path=None) as connection:
            async with connection.start_sftp_client() as sftp:
                await sftp.symlink(target, link)

    asyncio.run(asyncio.wait_for(visit(), 60))


def symlink_by_paramiko(port, key, target, link):
    transport = paramiko.Transport(("127.0.0.1", int(port)))
    transport.connect(username=USER, pkey=paramiko.Ed25519Key.from_private_key_file(key))
    paramiko.SFTPClient.from_transport(transport).symlink(target, link)
    transport.close()


def symlink_by_libssh(port, key, target, link):
    from ssh import options
    from ssh.key import import_privkey_file
    from ssh.session import Session
    session = Session()
    session.options_set(options.HOST, "127.0.0.1")
    session.options_set(options.USER, USER)
    session.options_set_port(int(port))
    session.connect()
    session.userauth_publickey(import_privkey_file(key))
    sftp = session.sftp_new()
    sftp.init()
    sftp.symlink(target, link)
    session.disconnect()


def symlink_by_libssh2(port, key, target, link):
    from ssh2.session import Session
    session = Session()
    connection = socket.create_connection(("127.0.0.1", int(port)), timeout=60)
    session.handshake(connection)
    session.userauth_publickey_fromfile(USER, key)
    session.sftp_init().symlink(target, link)
    session.disconnect()


def stats(port, key, folder):
    """Looks at a file until the session ends."""
    sftp = Sftp(port, key).greet()
    count = 0
    try:
        while True:
            answers = sftp.ask(*[request(STAT, 1, string("/")) for _ in range(10)])
            if None in answers:
                break
            count += 10
    except Closed:
        pass
    print(count)


if __name__ == "__main__":
    scenario, *arguments = sys.argv[1:]
    globals()[scenario.replace("-", "_")](*arguments)
