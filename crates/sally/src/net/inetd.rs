//! Takes the only connection of `--inetd` from standard input and output. They are a socket (inetd, systemd with `Accept=yes`), or two
//! pipes or a pair of sockets (a program that runs `sshd -i`, such as ssh's ProxyCommand).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, fstat};
use rustix::net::{AddressFamily, getsockname};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::pipe;
use tokio::net::{TcpStream, UnixStream};

use super::endpoint::Endpoint;
use super::stream::Wire;

/// Returns the connection, its peer's and its local address; both are unknown unless it is TCP. Replaces the descriptors, so that nothing
/// else is ever written into the connection; stderr too, if an inetd has put the same socket there. Must be called within the runtime.
///
/// # Errors
/// They are neither sockets nor pipes.
pub fn take_over() -> io::Result<(Wire, Endpoint, Endpoint)> {
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    // A write to stdout all the same (`--log /dev/stdout`) fails, rather than getting lost.
    let full = File::options().write(true).open("/dev/full").or_else(|_| nowhere.try_clone())?;
    let (input, output) = (own(rustix::stdio::stdin())?, own(rustix::stdio::stdout())?);
    rustix::stdio::dup2_stdin(&nowhere)?;
    rustix::stdio::dup2_stdout(&full)?;
    if same_socket(&input, rustix::stdio::stderr()) || same_socket(&output, rustix::stdio::stderr()) {
        rustix::stdio::dup2_stderr(&nowhere)?;
    }
    if is_tcp(&input) && same_socket(&input, &output) {
        let tcp = std::net::TcpStream::from(input);
        let (peer, local) = (tcp.peer_addr().ok().into(), tcp.local_addr().ok().into());
        tcp.set_nonblocking(true)?;
        return Ok((Wire::tcp(TcpStream::from_std(tcp)?)?, peer, local));
    }
    let stream = tokio::io::join(reader(input)?, writer(output)?);
    Ok((Wire::Other(Box::new(stream)), Endpoint::UNKNOWN, Endpoint::UNKNOWN))
}

fn own(fd: impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}

fn is_tcp(fd: impl AsFd) -> bool {
    getsockname(fd).is_ok_and(|address| matches!(address.address_family(), AddressFamily::INET | AddressFamily::INET6))
}

fn same_socket(one: impl AsFd, other: impl AsFd) -> bool {
    let (Ok(one), Ok(other)) = (fstat(one), fstat(other)) else { return false };
    FileType::from_raw_mode(one.st_mode) == FileType::Socket && (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

fn reader(fd: OwnedFd) -> io::Result<Box<dyn AsyncRead + Unpin + Send>> {
    match socket(&fd)? {
        Some(true) => Ok(Box::new(TcpStream::from_std(unblocked(fd)?.into())?)),
        Some(false) => Ok(Box::new(UnixStream::from_std(unblocked(fd)?.into())?)),
        None => Ok(Box::new(pipe::Receiver::from_owned_fd(fd)?)),
    }
}

fn writer(fd: OwnedFd) -> io::Result<Box<dyn AsyncWrite + Unpin + Send>> {
    match socket(&fd)? {
        Some(true) => Ok(Box::new(TcpStream::from_std(unblocked(fd)?.into())?)),
        Some(false) => Ok(Box::new(UnixStream::from_std(unblocked(fd)?.into())?)),
        None => Ok(Box::new(pipe::Sender::from_owned_fd(fd)?)),
    }
}

/// Returns whether a socket is TCP's; `None` if it is no socket.
fn socket(fd: &OwnedFd) -> io::Result<Option<bool>> {
    Ok(match FileType::from_raw_mode(fstat(fd)?.st_mode) {
        FileType::Socket => Some(is_tcp(fd)),
        _ => None,
    })
}

fn unblocked(fd: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(fd)
}
