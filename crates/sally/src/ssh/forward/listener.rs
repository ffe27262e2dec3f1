//! Listens for connections that are forwarded to the client.
//!
//! Only ports of the loopback addresses are bound, whatever address the client asks for, as with sshd's `GatewayPorts no`: the network of a
//! container could otherwise reach what the client forwards. An address stands for its own family, as in RFC 4254 section 7.1: `0.0.0.0` is
//! 127.0.0.1, `::` is ::1. Unix sockets are for our own account (mode 0600), at paths where nothing exists.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::task::Poll;

use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use tokio::net::{TcpListener, UnixListener};

use super::{Socket, host_and_port};
use crate::net::bind::BACKLOG;
use crate::net::ports::{LOOPBACK, bind_free};
use crate::term;

/// The place to listen at, as the client named it and as a cancellation names it again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::ssh) enum ListenAddress {
    /// An address (empty for all) and a port.
    Port(String, u32),
    /// A Unix socket.
    Path(String),
}

impl ListenAddress {
    pub(super) fn request(&self) -> &'static str {
        match self {
            Self::Port(..) => "tcpip-forward",
            Self::Path(_) => "streamlocal-forward",
        }
    }

    pub(super) fn wanted(&self) -> String {
        match self {
            Self::Port(address, port) => host_and_port(address, *port),
            Self::Path(path) => path.clone(),
        }
    }

    /// Binds it; returns the bound port, or 0 for a Unix socket.
    pub(super) fn bind(&self) -> Result<(Listener, u32), String> {
        let bound = match self {
            Self::Port(address, port) => {
                let port = u16::try_from(*port).map_err(|_| "there is no such port")?;
                bind_loopback(address, port).map(|(listeners, port)| (Listener::Tcp(listeners), u32::from(port)))
            }
            Self::Path(path) => bind_socket(Path::new(path)).and_then(|listener| {
                let file = SocketFile::at(path.into())?;
                Ok((Listener::Unix { listener, path: path.into(), _remains: Box::new(file) }, 0))
            }),
        };
        bound.map_err(|error| term::reason(&error))
    }
}

/// A bound listener.
pub(super) enum Listener {
    Tcp(Vec<TcpListener>),
    Unix {
        listener: UnixListener,
        path: PathBuf,
        /// Removes the socket's file when dropped.
        _remains: Box<dyn Send + Sync>,
    },
}

impl Listener {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Tcp(listeners) => {
                let names = listeners.iter().filter_map(|listener| listener.local_addr().ok()).map(|address| address.to_string());
                names.collect::<Vec<_>>().join(", ")
            }
            Self::Unix { path, .. } => path.display().to_string(),
        }
    }

    /// Accepts a connection. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<(Socket, ForwardOrigin)> {
        match self {
            Self::Tcp(listeners) => {
                let (stream, peer) = std::future::poll_fn(|cx| {
                    let mut ready = listeners.iter().map(|listener| listener.poll_accept(cx)).filter(Poll::is_ready);
                    ready.next().unwrap_or(Poll::Pending)
                })
                .await?;
                stream.set_nodelay(true)?;
                Ok((Socket::Tcp(stream), ForwardOrigin::Peer(peer)))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
                Ok((Socket::Unix(stream), ForwardOrigin::Process(pid)))
            }
        }
    }
}

/// The origin of a connection.
pub(super) enum ForwardOrigin {
    Peer(SocketAddr),
    Process(Option<i32>),
}

impl ForwardOrigin {
    pub(super) fn on_record(&self) -> Option<String> {
        match self {
            Self::Peer(peer) => Some(peer.to_string()),
            Self::Process(pid) => pid.map(|pid| format!("pid {pid}")),
        }
    }
}

/// Binds the loopback address of the family that is asked for, or of both; returns the port too.
fn bind_loopback(address: &str, port: u16) -> io::Result<(Vec<TcpListener>, u16)> {
    let family = address.parse::<IpAddr>().map(|ip| ip.to_canonical().is_ipv6());
    let addresses = LOOPBACK.into_iter().filter(|ip| family.as_ref().map_or(true, |is_ipv6| ip.is_ipv6() == *is_ipv6));
    let listeners = bind_free(&addresses.collect::<Vec<_>>(), port)?;
    let port = listeners.first().map_or(Ok(port), |first| first.local_addr().map(|address| address.port()))?;
    Ok((listeners, port))
}

/// Binds a Unix socket that only our own account can ever connect to. An existing file stays, and is an error.
pub(super) fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    // unix(7): bind(2) gives the file the mode of the socket, less the umask. A chmod(2) after it would be too late.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
    UnixListener::from_std(socket.into())
}

/// The file of a Unix socket. Removed when dropped, unless another file has replaced it.
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn at(path: PathBuf) -> io::Result<Self> {
        let file = path.symlink_metadata()?;
        Ok(Self { path, device: file.dev(), inode: file.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = self
            .path
            .symlink_metadata()
            .is_ok_and(|file| file.file_type().is_socket() && (file.dev(), file.ino()) == (self.device, self.inode));
        if is_ours {
            // A missing file is fine.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
