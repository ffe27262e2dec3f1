//! Lets the host command a running share: on a Unix socket for `sally share list|kick|…`, and from the status line.
//!
//! A request is a JSON array of words on one line, an answer a JSON object on one line. The socket's folder and the socket are the host's
//! alone, and the peer's account is checked besides. A program inside the share may only list: otherwise a viewer who writes could give
//! itself rights by a slip of the host's. It doesn't stop the account itself, which a viewer who writes has.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Pid;
use sally_proto::error::Fault;
use sally_proto::share::ShareRole;
use sally_sys::process::descendants_of;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::hub::ShareHub;
use super::sources::ReloadRequests;
use super::via_name;
use crate::session::visit::Visit;

/// The longest request or answer, in bytes.
const LONGEST: u64 = 1 << 20;
/// How long a peer may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How long to wait if no descriptor is left for a peer.
const RETRY: Duration = Duration::from_millis(100);
/// The commands of the status line.
const HELP: &str = "list, links, promote N, demote N, kick N, allow FINGERPRINT, approve N, deny N, reload [--add], end";

/// The host's side of a share.
pub struct Host {
    /// The share.
    pub hub: Arc<ShareHub>,
    /// The visit of its program.
    pub visit: Arc<Visit>,
    /// The name of the host's account.
    pub account: String,
    /// The lines that say how to join.
    pub links: Vec<String>,
    /// Ends every connection of the key with this fingerprint.
    pub cut: Box<dyn Fn(&str) + Send + Sync>,
    /// Asks for the keys to be read again.
    pub reloads: ReloadRequests,
}

/// An answer to a request.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Answer {
    /// Whether it was done.
    pub done: bool,
    /// What to print.
    pub text: String,
}

impl Host {
    /// Obeys a command.
    ///
    /// # Errors
    /// Why not.
    pub async fn obey(&self, words: &[&str]) -> Result<String, String> {
        let number = |text: &str| text.parse::<u32>().map_err(|_| format!("'{text}' is no number of a viewer: see list"));
        match words {
            [] => Ok(String::new()),
            ["list"] => Ok(self.list()),
            ["list", "--json"] => serde_json::to_string(&self.hub.list()).map_err(|error| error.to_string()),
            ["links"] => Ok(self.links.join("\n")),
            ["promote", who] => self.hub.set_role(number(who)?, ShareRole::Write).map(|()| format!("{who} may write")),
            ["demote", who] => self.hub.set_role(number(who)?, ShareRole::Watch).map(|()| format!("{who} may watch")),
            ["approve", who] => self.hub.answer(number(who)?, true),
            ["deny", who] => self.hub.answer(number(who)?, false),
            ["kick", who] => {
                if let Some(fingerprint) = self.hub.kick(number(who)?)? {
                    (self.cut)(&fingerprint);
                }
                Ok(format!("{who} is removed; the key is refused from now on"))
            }
            ["allow", fingerprint] => self.hub.allow(fingerprint).map(|()| format!("{fingerprint} may come again")),
            ["reload"] => Ok(self.reloads.ask(false).await),
            ["reload", "--add"] => Ok(self.reloads.ask(true).await),
            ["end"] => {
                self.visit.stop(Fault::ShareEnded);
                Ok("the share ends".into())
            }
            _ => Err(format!("commands: {HELP}")),
        }
    }

    fn list(&self) -> String {
        let lines = self.hub.list().into_iter().map(|person| {
            let asks = if person.asks { " (asks to write)" } else { "" };
            let (columns, rows) = person.window;
            let (source, key) = (person.source.as_deref().unwrap_or("-"), person.fingerprint.as_deref().unwrap_or("-"));
            format!("{} {} {}{asks} {} {columns}x{rows} {source} {key}", person.number, person.name, person.role, via_name(person.via))
        });
        let waiting = self.hub.waiting().into_iter().map(|(number, name)| format!("{number} {name} asks to join: approve {number}"));
        lines.chain(waiting).collect::<Vec<_>>().join("\n")
    }
}

/// The socket of a share; dropping it removes it.
pub struct ControlSocket {
    listener: Arc<UnixListener>,
    path: PathBuf,
    /// A folder made for it alone.
    folder: Option<PathBuf>,
}

impl ControlSocket {
    /// Makes the socket, in `$XDG_RUNTIME_DIR/sally` or, where that variable names no folder of this account, in a new folder. Must be called within the runtime.
    ///
    /// # Errors
    /// The system's, or the folder isn't ours alone.
    pub fn bind(runtime: Option<PathBuf>) -> io::Result<Self> {
        let (folder, own) = match runtime.filter(|folder| is_runtime_folder(folder)) {
            Some(runtime) => (private(&runtime.join("sally"))?, None),
            None => {
                let folder = tempfile::Builder::new().prefix("sally-").tempdir_in("/tmp")?.keep();
                (folder.clone(), Some(folder))
            }
        };
        for dead in sockets_in(&folder).filter(|socket| !is_answered(socket)) {
            let _ = std::fs::remove_file(dead); // Another share may have removed it.
        }
        let path = folder.join(format!("share-{}", std::process::id()));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // A share that was killed had our number.
            _ => {}
        }
        let listener = Arc::new(UnixListener::bind(&path)?);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path, folder: own })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Answers requests for ever. `program`: the first process of the share's program.
    pub fn serve(&self, host: Arc<Host>, program: Pid) -> impl Future<Output = ()> + Send + 'static {
        let listener = Arc::clone(&self.listener);
        async move {
            loop {
                match listener.accept().await {
                    Ok((peer, _)) => drop(tokio::spawn(answer(peer, Arc::clone(&host), program))),
                    Err(_) => tokio::time::sleep(RETRY).await,
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path); // It may be gone.
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// Returns whether a value of `$XDG_RUNTIME_DIR` can be used: an absolute path of a folder that is this account's.
fn is_runtime_folder(folder: &Path) -> bool {
    let is_ours = |found: std::fs::Metadata| found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    folder.is_absolute() && std::fs::metadata(folder).is_ok_and(is_ours)
}

/// Makes a folder that is ours alone, or checks that it is.
fn private(folder: &Path) -> io::Result<PathBuf> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::symlink_metadata(folder)?;
    let is_ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0;
    is_ours
        .then(|| folder.to_owned())
        .ok_or_else(|| io::Error::other(format!("{} is not a folder of this account alone", folder.display())))
}

async fn answer(peer: UnixStream, host: Arc<Host>, program: Pid) {
    let Ok(credentials) = peer.peer_cred() else { return };
    let ours = rustix::process::geteuid().as_raw();
    if credentials.uid() != ours && credentials.uid() != 0 {
        return;
    }
    let is_inside = credentials.pid().and_then(Pid::from_raw).is_none_or(|pid| descendants_of(&[program]).contains(&pid));
    let answered = async {
        let (read, mut write) = peer.into_split();
        let mut line = String::new();
        BufReader::new(read.take(LONGEST)).read_line(&mut line).await?;
        let words: Vec<String> = serde_json::from_str(&line)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let obeyed = match words.first() {
            Some(&"list") => host.obey(&words).await,
            _ if is_inside => Err("this command can't be given from inside the share".into()),
            _ => host.obey(&words).await,
        };
        let done = obeyed.is_ok();
        let (Ok(text) | Err(text)) = obeyed;
        let mut line = serde_json::to_vec(&Answer { done, text })?;
        line.push(b'\n');
        write.write_all(&line).await
    };
    let _ = tokio::time::timeout(LIMIT, answered).await; // A peer that says nothing in time gets no answer.
}

/// Sends a command to the share of `socket`, and returns its answer.
///
/// # Errors
/// The system's.
pub fn ask(socket: &Path, words: &[String]) -> io::Result<Answer> {
    use std::io::{BufRead as _, Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    let (peer, ours) = (rustix::net::sockopt::socket_peercred(&stream)?.uid.as_raw(), rustix::process::geteuid().as_raw());
    if peer != ours && ours != 0 {
        return Err(io::Error::other("the socket is another account's"));
    }
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut line = serde_json::to_vec(words)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    io::BufReader::new(stream.take(LONGEST)).read_line(&mut answer).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::other(format!("the share has not answered within {} s", LIMIT.as_secs())),
        _ => error,
    })?;
    if answer.is_empty() {
        return Err(io::Error::other("the share has ended, or doesn't obey this account"));
    }
    Ok(serde_json::from_str(&answer)?)
}

/// Lists the sockets of this account's shares in `$XDG_RUNTIME_DIR/sally`.
pub fn sockets(runtime: Option<PathBuf>) -> Vec<PathBuf> {
    let Some(folder) = runtime.filter(|folder| is_runtime_folder(folder)).map(|runtime| runtime.join("sally")) else { return Vec::new() };
    sockets_in(&folder).filter(|socket| is_answered(socket)).collect()
}

/// Lists the sockets of shares in a folder, also of those that have ended.
fn sockets_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("share-")))
}

/// Returns whether a share listens on a socket.
fn is_answered(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}
