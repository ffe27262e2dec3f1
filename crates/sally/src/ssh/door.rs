//! One door: what its connections share, and the one claim to it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use russh::Disconnect;
use russh::server::{Config, Handle};
use sally_proto::admission::Settings;
use sally_proto::authorized_keys::KeyRing;
use sally_proto::error::Fault;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::forward::Allowed;
use super::listen::Serve;
use super::library;
use super::visitor::{Error, Visitor};
use crate::net::activity::Activity;
use crate::net::admission::{Connection, Gate};
use crate::net::dial::Dialer;
use crate::net::endpoint::Endpoint;
use crate::net::stream::{Guarded, Wire};
use crate::record::{AuditEvent, RecordError, Recorder};
use crate::server_settings::DoorSettings;
use crate::session::Ending;
use crate::session::account::Account;
use crate::session::environment::Environment;
use crate::session::masking::Masking;
use crate::session::reaper::Reaper;
use crate::shutdown::Shutdown;

/// Why a connection ended whose other side was asked several times, and said nothing.
pub(super) const UNANSWERED: &str = "no answer to keepalives";

/// How long a connection that is cut off may take to end.
const CUT_LIMIT: Duration = Duration::from_secs(1);

/// What a door admits, and what it gives.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The one user name that is let in; any where there is none.
    pub user: Option<String>,
    /// Who sessions run as.
    pub account: Account,
    /// What sessions inherit.
    pub environment: Environment,
    /// Variables that a client may set beside LANG and LC_*.
    pub accept_env: Vec<String>,
    /// 1: a visit has one session in all. More: so many at once.
    pub max_sessions: usize,
    /// What may be forwarded.
    pub allowed: Allowed,
    /// How passwords typed at prompts are kept off the record, where they are.
    pub mask: Option<Masking>,
}

/// What happens at a door.
#[derive(Debug)]
pub enum Event {
    /// The visitor is authenticated; the door is shut behind them.
    Claimed {
        /// Whether they may have connections opened from here, and so be here though nothing is open.
        may_forward: bool,
    },
    /// A session begins.
    SessionStarted,
    /// A session is over.
    SessionEnded(Result<Ending, Fault>),
    /// A forward is on the record.
    ForwardStarted,
    /// A forward is over, and its end on the record.
    ForwardEnded,
}

/// A door, open or shut.
pub struct Door {
    pub(super) keys: KeyRing,
    pub(super) rules: Rules,
    pub(super) recorder: Recorder,
    pub(super) reaper: Reaper,
    pub(super) shutdown: Shutdown,
    events: mpsc::Sender<Event>,
    /// When a byte was last carried.
    pub activity: Activity,
    pub(super) gate: Arc<Gate>,
    /// What is shown before authentication.
    pub(super) banner: Option<Arc<str>>,
    dialer: OnceLock<Dialer>,
    forwards: AtomicU64,
    config: Arc<Config>,
    claimed: AtomicBool,
    /// Ends the connection of whoever has claimed it.
    cut: OnceLock<CancellationToken>,
    /// Speaks to them.
    conversation: OnceLock<Handle>,
    sessions: AtomicU32,
    shut: CancellationToken,
    listener_closed: CancellationToken,
    left: CancellationToken,
}

impl Door {
    /// A door that nobody has claimed, and what happens at it.
    pub fn new(
        keys: KeyRing,
        rules: Rules,
        settings: DoorSettings,
        recorder: Recorder,
        reaper: Reaper,
        shutdown: Shutdown,
    ) -> (Arc<Self>, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(16);
        let config = Arc::new(library::config(&settings));
        let door = Self {
            keys,
            rules,
            recorder,
            reaper,
            shutdown,
            events,
            activity: Activity::start(),
            gate: Gate::new(Settings::ONE_VISIT, settings.origins),
            banner: settings.banner,
            dialer: OnceLock::new(),
            forwards: AtomicU64::new(0),
            config,
            claimed: AtomicBool::new(false),
            cut: OnceLock::new(),
            conversation: OnceLock::new(),
            sessions: AtomicU32::new(0),
            shut: CancellationToken::new(),
            listener_closed: CancellationToken::new(),
            left: CancellationToken::new(),
        };
        (Arc::new(door), receiver)
    }

    /// Waits until the visitor's connection has ended. Cancel-safe.
    pub async fn visitor_left(&self) {
        self.left.cancelled().await;
    }

    pub(super) fn has_conversation(&self, with: Handle) {
        let _ = self.conversation.set(with); // One visitor is let in.
    }

    /// Ends the connection of whoever is still in, who is told why where that is on the record: what was made for them, as their agent's
    /// socket, goes with it.
    pub async fn see_off(&self, why: Option<&Fault>) {
        let Some(cut) = self.cut.get() else { return };
        if let Some(why) = why.filter(|why| !matches!(why, Fault::Record { .. }))
            && let Some(conversation) = self.conversation.get()
        {
            let told = async {
                if conversation.disconnect(Disconnect::ByApplication, why.to_string(), "en".into()).await.is_ok() {
                    self.left.cancelled().await;
                }
            };
            let _ = tokio::time::timeout(CUT_LIMIT, told).await;
        }
        cut.cancel();
        let _ = tokio::time::timeout(CUT_LIMIT, self.left.cancelled()).await; // What is left is not worth more time.
    }

    pub(super) fn visitor_leaves(&self) {
        self.left.cancel();
    }

    /// A record that can't be written ends everything.
    pub(super) fn audit(&self, event: &AuditEvent) -> Result<(), RecordError> {
        self.recorder.audit(event).inspect_err(|error| self.shutdown.request(error.clone().into()))
    }

    pub(super) async fn tell(&self, event: Event) {
        // Nobody listens any more once the visit is over.
        let _ = self.events.send(event).await;
    }

    /// The next session's number on the record.
    pub(super) fn next_session(&self) -> u32 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    /// The next forward's number on the record.
    pub(super) fn next_forward(&self) -> u64 {
        self.forwards.fetch_add(1, Ordering::Relaxed)
    }

    /// What connects to hosts for the visitor.
    pub(super) fn dialer(&self) -> &Dialer {
        self.dialer.get_or_init(Dialer::new)
    }

    /// Claims the door for one visitor: true for the first, false for everyone after. When it returns true, nobody listens any more.
    pub(super) async fn claim(&self, connection: &Connection) -> bool {
        if self.claimed.swap(true, Ordering::AcqRel) {
            return false;
        }
        let _ = self.cut.set(connection.cut.clone()); // The first is the only one.
        // Before the door shuts: who isn't settled then is dropped.
        connection.authenticated();
        self.activity.touch();
        self.shut.cancel();
        self.listener_closed.cancelled().await;
        true
    }

    /// Seconds since 1970, for expiry: a clock before that is no clock, and everything that expires has expired.
    pub(super) fn now() -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs())
    }
}

impl Serve for Door {
    fn shut(&self) -> &CancellationToken {
        &self.shut
    }

    fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    fn listener_closed(&self) {
        self.listener_closed.cancel();
    }

    async fn connect(self: Arc<Self>, wire: Wire, local: Endpoint, connection: Arc<Connection>) -> Result<(), Error> {
        let stream = Guarded::new(wire, connection.cut.clone());
        let visitor = Visitor::new(Arc::clone(&self), Arc::clone(&connection), local);
        let (why, gone) = (Arc::clone(&visitor.parting.why), visitor.parting.gone.clone().drop_guard());
        let ended = match russh::server::run_stream(Arc::clone(&self.config), stream, visitor).await {
            Ok(conversation) => conversation.await,
            Err(error) => Err(error),
        };
        if matches!(ended, Err(Error::Ssh(russh::Error::KeepaliveTimeout))) {
            let _ = why.set(UNANSWERED); // It is the first to know.
        }
        if !connection.is_authenticated() {
            return ended;
        }
        if let Err(error) = ended.as_ref()
            && error.is_violation()
        {
            // A record that fails has asked for the end by itself, and this goes on: it is waited for.
            let _ = self.audit(&AuditEvent::Refusal { what: "connection".into(), why: error.to_string() });
        }
        drop(gone);
        self.visitor_leaves();
        ended
    }
}
