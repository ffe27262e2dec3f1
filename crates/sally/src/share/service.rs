//! Serves viewers on session channels.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use sally_proto::authorized_keys::Grant;
use sally_proto::error::Fault;
use sally_proto::id::DeviceId;
use sally_proto::record::Via;
use sally_proto::share::ShareRole;
use sally_sys::pty::WindowSize;
use tokio::sync::watch;
use tokio::time::timeout;

use super::hub::{ApprovalWait, FAREWELL, KEY_GONE, NotJoined, Over, ShareHub};
use super::person::Joining;
use super::via_name;
use super::viewer::{Left, ViewerTerminal};
use super::waiting::wait_for_host;
use crate::net::endpoint::Endpoint;
use crate::panic::caught;
use crate::screen::{Depth, RESTORE};
use crate::session::service::{Obeys, PtyRequest, SessionChannel, SessionKind, SessionRequest, SessionService, StartError, StartedSession};
use crate::session::{Disconnected, Ending, Inbound, Outbound, OutputStream};

/// The answer to a command.
const NO_COMMANDS: &str = "This is a shared terminal: it runs no commands. Join with plain ssh (not kitten ssh or a wrapper)";
/// The answer to a client without a terminal.
const NO_TERMINAL: &str = "This is a shared terminal: join with ssh -t, from a terminal";
/// The answer to `help`.
const HELP: &str = "This is a shared terminal.\n  ssh -t …          joins it\n  ssh … who         lists who is there\n  ssh … who --json  the same as JSON";

/// Lets clients watch a share, or write in it.
pub struct ViewerService {
    /// The share.
    pub hub: Arc<ShareHub>,
    /// The sources whose keys may watch and never write.
    pub watching: BTreeSet<String>,
}

/// What a client has in place of a terminal of its own.
pub struct RequestedView {
    window: WindowSize,
    depth: Depth,
}

/// A started session.
pub enum Session {
    /// A view of the share.
    View {
        /// The share.
        hub: Arc<ShareHub>,
        /// The number of the viewer.
        number: u32,
        /// The size of its window at the beginning.
        window: WindowSize,
        /// The colors of its terminal.
        depth: Depth,
    },
    /// A view that the host has to allow first.
    Waiting {
        /// The share.
        hub: Arc<ShareHub>,
        /// The host's answer.
        answer: ApprovalWait,
        /// The viewer.
        joining: Box<Joining>,
        /// The colors of its terminal.
        depth: Depth,
    },
    /// An answer.
    Answer {
        /// What stdout gets.
        text: String,
        /// What stderr gets.
        error: String,
        /// The exit status.
        status: u8,
        /// Whether lines end with CR LF.
        on_terminal: bool,
    },
}

impl SessionService for ViewerService {
    type Terminal = RequestedView;
    type Started = Session;

    fn terminal(&self, _: u32, asked: PtyRequest) -> Result<RequestedView, StartError> {
        Ok(RequestedView { window: asked.size, depth: depth_of(&asked.term) })
    }

    fn check(&self, what: &SessionKind, grant: Option<&Grant>) -> Result<(), StartError> {
        match (what, grant) {
            (_, None) => Err(StartError::without_grant("session")),
            (_, Some(grant)) if grant.forces_program() => Err(StartError::Refused("session", "this key runs a command of its own".into())),
            (SessionKind::Subsystem(name), _) => {
                Err(StartError::Refused("subsystem", format!("{}: there is no such subsystem", name.display())))
            }
            _ => Ok(()),
        }
    }

    async fn start(&self, request: SessionRequest<RequestedView>) -> Result<Session, StartError> {
        let on_terminal = request.terminal.is_some();
        let answer = |text: String, error: String, status| Ok(Session::Answer { text, error, status, on_terminal });
        if let Some(why) = request.grant.as_ref().and_then(|grant| self.hub.refusal(grant.fingerprint())) {
            return answer(String::new(), format!("{why}\n"), 1);
        }
        match (&request.what, &request.terminal, &request.grant) {
            (SessionKind::Command(words), ..) => {
                let words: Vec<_> = words.to_str().unwrap_or_default().split_whitespace().collect();
                match words.as_slice() {
                    ["who"] => answer(self.who(), String::new(), 0),
                    ["who", "--json"] => answer(self.who_in_json(), String::new(), 0),
                    ["help"] => answer(format!("{HELP}\n"), String::new(), 0),
                    _ => answer(String::new(), format!("{NO_COMMANDS}\n"), 2),
                }
            }
            (_, Some(view), Some(grant)) => {
                let window = request.resized.unwrap_or(view.window);
                match self.begin(self.joining(&request, grant, window), view.depth) {
                    Ok(session) => Ok(session),
                    Err(NotJoined::Refused(why)) => answer(String::new(), format!("{why}\n"), 1),
                    Err(NotJoined::Record(error)) => Err(error.into()),
                }
            }
            _ => answer(self.who(), format!("{NO_TERMINAL}\n"), 2),
        }
    }
}

impl ViewerService {
    fn joining(&self, request: &SessionRequest<RequestedView>, grant: &Grant, window: WindowSize) -> Joining {
        let (name, source) = named(grant);
        Joining {
            number: request.channel,
            name,
            source: Some(source),
            fingerprint: Some(grant.fingerprint().to_owned()),
            // A relay gives no address.
            via: if request.ends.0 == Endpoint::UNKNOWN { Via::Jump } else { Via::Direct },
            limit: if self.watching.contains(grant.source()) { ShareRole::Watch } else { ShareRole::Write },
            link: role_of_link(request.relay_name.as_ref()),
            peer: request.ends.0.address().map(|_| request.ends.0.to_string()),
            window,
        }
    }

    /// Lets a viewer in, or asks the host first.
    fn begin(&self, joining: Joining, depth: Depth) -> Result<Session, NotJoined> {
        let hub = Arc::clone(&self.hub);
        if let Some(answer) = hub.ask_to_join(&joining)? {
            return Ok(Session::Waiting { hub, answer, joining: Box::new(joining), depth });
        }
        let (number, window) = (joining.number, joining.window);
        hub.join(joining)?;
        Ok(Session::View { hub, number, window, depth })
    }

    fn who(&self) -> String {
        let lines = self.hub.list().into_iter().map(|person| {
            let source = person.source.as_deref().unwrap_or("-");
            format!("{}\t{}\t{}\t{}\t{source}\n", person.number, person.name, person.role, via_name(person.via))
        });
        lines.collect()
    }

    fn who_in_json(&self) -> String {
        let lines = self.hub.list().into_iter().filter_map(|person| serde_json::to_string(&person).ok());
        lines.map(|line| line + "\n").collect()
    }
}

/// Returns the most that a link allows, by the name that a relay says was used. A relay that lies makes a role smaller, or leaves it at what
/// the source of the key allows.
pub fn role_of_link(name: Option<&DeviceId>) -> ShareRole {
    if name.is_some_and(DeviceId::is_read_only) { ShareRole::Watch } else { ShareRole::Write }
}

/// Returns a name for the holder of a key, and where it is from: the user of GitHub, the certificate's key ID, or the key's comment.
fn named(grant: &Grant) -> (String, String) {
    let of_url = grant.source().strip_prefix("https://").and_then(|rest| rest.rsplit('/').next());
    match (of_url, grant.certificate()) {
        (Some(file), _) => (file.trim_end_matches(".keys").to_owned(), grant.source().to_owned()),
        (None, Some(certificate)) => (certificate.key_id.clone(), format!("{}:{}", grant.source(), grant.line())),
        (None, None) => {
            let comment = Some(grant.comment()).filter(|comment| !comment.is_empty());
            (comment.unwrap_or(grant.fingerprint()).to_owned(), format!("{}:{}", grant.source(), grant.line()))
        }
    }
}

impl StartedSession for Session {
    fn obeys(&self) -> Obeys {
        Obeys::default()
    }

    async fn run<I: Inbound, O: Outbound>(self, channel: SessionChannel<I, O>) -> Result<Ending, Fault> {
        match self {
            Self::Answer { text, error, status, on_terminal } => answer(text, error, status, on_terminal, &channel.outbound).await,
            Self::View { hub, number, window, depth } => view(&hub, number, window, depth, channel).await,
            Self::Waiting { hub, answer, joining, depth } => join_when_allowed(&hub, answer, *joining, depth, channel).await,
        }
    }
}

/// Answers words after the link.
async fn answer<O: Outbound>(text: String, error: String, status: u8, on_terminal: bool, outbound: &O) -> Result<Ending, Fault> {
    let gone = |_| Fault::ConnectionLost;
    let lines = |text: String| Bytes::from(if on_terminal { text.replace('\n', "\r\n") } else { text });
    outbound.deliver(OutputStream::Stdout, lines(text)).await.map_err(gone)?;
    outbound.deliver(if on_terminal { OutputStream::Stdout } else { OutputStream::Stderr }, lines(error)).await.map_err(gone)?;
    outbound.finish(Ending::Exited(status)).await.map_err(gone)?;
    Ok(Ending::Exited(status))
}

/// Shows the share to a viewer who has joined.
async fn view<I: Inbound, O: Outbound>(
    hub: &Arc<ShareHub>,
    number: u32,
    window: WindowSize,
    depth: Depth,
    channel: SessionChannel<I, O>,
) -> Result<Ending, Fault> {
    let SessionChannel { inbound, outbound, control: _running, mut size, channel_end } = channel;
    let status = watch::Sender::new(hub.welcome(number));
    let (windows, changed) = watch::channel(window);
    let viewer = ViewerTerminal {
        hub: Arc::clone(hub),
        number,
        window: changed,
        status: status.subscribe(),
        notice: status.clone(),
        is_local: false,
        depth,
        frame: None,
    };
    let sizes = async {
        while size.changed().await.is_ok() {
            windows.send_replace(*size.borrow_and_update());
        }
        std::future::pending().await
    };
    let viewing = async {
        tokio::select! {
            biased;
            () = channel_end.gone() => Left::Gone,
            fault = channel_end.stopped() => Left::Over(Over::Stopped(fault)),
            left = viewer.run(inbound, &outbound) => left,
            never = sizes => never,
        }
    };
    let left = caught(viewing).await.unwrap_or_else(|panicked| Left::Over(Over::Stopped(panicked.into())));
    say_why(hub, number, left, &outbound).await
}

/// Waits for the host's word, and then shows the share.
async fn join_when_allowed<I: Inbound, O: Outbound>(
    hub: &Arc<ShareHub>,
    mut wait: ApprovalWait,
    mut joining: Joining,
    depth: Depth,
    mut channel: SessionChannel<I, O>,
) -> Result<Ending, Fault> {
    let waited = wait_for_host(hub, &mut wait, &mut channel.inbound, &channel.outbound, &channel.channel_end).await;
    if let Err(ending) = waited {
        return ending.ok_or(Fault::ConnectionLost);
    }
    if channel.size.has_changed().is_ok_and(|changed| changed) {
        joining.window = *channel.size.borrow_and_update();
    }
    let (number, window) = (joining.number, joining.window);
    let joined = hub.join(joining);
    drop(wait);
    match joined {
        Ok(()) => view(hub, number, window, depth, channel).await,
        Err(NotJoined::Refused(why)) => answer(String::new(), format!("{why}\n"), 1, true, &channel.outbound).await,
        Err(NotJoined::Record(error)) => Err(error.into()),
    }
}

/// Tells a viewer why its view ends, and records that it has left.
async fn say_why<O: Outbound>(hub: &ShareHub, number: u32, left: Left, outbound: &O) -> Result<Ending, Fault> {
    // A key that was kicked loses its connection too, which is another end than that of the share.
    let removed = hub.dismissal(number).1;
    let left = match (left, removed) {
        (Left::Over(_), Some(line)) => Left::Dismissed(line),
        (left, _) => left,
    };
    let (why, line, status) = match left {
        Left::Gone => {
            hub.leave(number, "the connection ended");
            return Err(Fault::ConnectionLost);
        }
        Left::Quit => ("the viewer left", None, 0),
        Left::Dismissed(line) if line == KEY_GONE => ("the key is gone from its source", Some(line), 1),
        Left::Dismissed(line) => ("the host removed the viewer", Some(line), 1),
        Left::Over(over) => ("the share ended", Some(over.sentence()), over.status()),
    };
    let told = async {
        outbound.deliver(OutputStream::Stdout, Bytes::from_static(RESTORE.as_bytes())).await?;
        if let Some(line) = line {
            outbound.deliver(OutputStream::Stdout, Bytes::from(format!("{line}\r\n"))).await?;
        }
        outbound.finish(Ending::Exited(status)).await
    };
    // A viewer that doesn't read is cut off.
    let told = timeout(FAREWELL, told).await.unwrap_or(Err(Disconnected));
    hub.leave(number, why);
    told.map(|()| Ending::Exited(status)).map_err(|Disconnected| Fault::ConnectionLost)
}

/// Returns the colors that a terminal of this name has, for certain.
fn depth_of(term: &str) -> Depth {
    match term {
        "dumb" | "vt100" | "vt220" => Depth::Mono,
        "linux" | "ansi" => Depth::Eight,
        name if name.contains("256color") => Depth::Indexed,
        name if name.contains("direct") || ["alacritty", "foot", "xterm-kitty", "xterm-ghostty"].contains(&name) => Depth::True,
        _ => Depth::Sixteen,
    }
}
