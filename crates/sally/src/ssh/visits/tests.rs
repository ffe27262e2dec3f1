//! Tests a server of many visits, whose service runs neither programs nor files: what `sally once` doesn't have.

use std::sync::Arc;

use russh::client::{self, Handle};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg};
use sally_proto::authorized_keys::{Enforced, Grant, KeyRing};
use sally_proto::error::Fault;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;
use crate::host_key::HostKey;
use crate::keys;
use crate::net::admission::Origins;
use crate::record::Policy;
use crate::record::testing::record_to;
use crate::server_settings::ServerSettings;
use crate::session::service::{Obeys, PtyRequest, SessionChannel, SessionKind, SessionRequest, SessionService, StartError, StartedSession};
use crate::session::{Ending, Inbound, Input, Outbound, OutputStream};
use crate::ssh::listen::accept;
use crate::ssh::server::{Server, ServerRules};

/// The most visits of one key.
const MOST_OF_KEY: usize = 3;

/// Echoes what the client sends, and panics at the word "panic".
struct Echoes(Recorder);

/// One echo session, for the user of this name.
struct Echo {
    user: String,
    /// Breaks the record off if the session panics.
    _recorder: Recorder,
}

impl SessionService for Echoes {
    type Terminal = ();
    type Started = Echo;

    fn terminal(&self, _: u32, _: PtyRequest) -> Result<(), StartError> {
        Ok(())
    }

    fn check(&self, what: &SessionKind, _: Option<&Grant>) -> Result<(), StartError> {
        if *what == SessionKind::Shell { Ok(()) } else { Err(StartError::Refused("session", "there is only an echo".into())) }
    }

    async fn start(&self, request: SessionRequest<()>) -> Result<Echo, StartError> {
        Ok(Echo { user: request.user, _recorder: self.0.clone() })
    }
}

impl StartedSession for Echo {
    fn obeys(&self) -> Obeys {
        Obeys::default()
    }

    async fn run<I: Inbound, O: Outbound>(self, channel: SessionChannel<I, O>) -> Result<Ending, Fault> {
        let SessionChannel { mut inbound, outbound, control: _control, size: _, channel_end } = channel;
        let gone = |_| Fault::ConnectionLost;
        loop {
            let input = tokio::select! {
                fault = channel_end.stopped() => return Err(fault),
                () = channel_end.gone() => return Err(Fault::ConnectionLost),
                input = inbound.next() => input.ok_or(Fault::ConnectionLost)?,
            };
            match input {
                Input::Data(bytes) | Input::Typed(_, bytes) => {
                    assert_ne!(bytes, "panic");
                    let said = [self.user.as_bytes(), b": ", &bytes].concat();
                    outbound.deliver(OutputStream::Stdout, said.into()).await.map_err(gone)?;
                }
                Input::Eof => {
                    outbound.finish(Ending::Exited(7)).await.map_err(gone)?;
                    return Ok(Ending::Exited(7));
                }
            }
        }
    }
}

type Echoing = Server<ManyVisits, Echoes>;

/// A server, the port that it listens on, and the key that it lets in.
struct Place {
    server: Arc<Echoing>,
    port: u16,
    key: HostKey,
    _records: TempDir,
}

fn place(most: usize, limits: VisitLimits) -> Place {
    let records = tempfile::tempdir().unwrap();
    let key = HostKey::fresh().unwrap();
    let ring = KeyRing::read("test", key.public_line().as_bytes(), Enforced::new(keys::ENFORCED)).unwrap();
    let recorder = record_to(records.path().join("record"), Policy::All);
    let host_keys = HostKey::fresh().unwrap().into();
    let settings = ServerSettings { host_keys, banner: None, post_quantum_only: false, origins: Origins::default() };
    let (accept_env, allowed) = (Vec::new(), Default::default());
    let (max_sessions, first_session, temporary) = (4, 0, "/tmp".into());
    let rules = ServerRules { user: None, account: "test".into(), accept_env, max_sessions, first_session, allowed, temporary };
    let visits = ManyVisits::new(most, MOST_OF_KEY, limits, true, recorder.clone());
    let server = Server::new(ring, rules, settings, recorder.clone(), visits, Echoes(recorder));
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(socket).unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(accept(listener, Arc::clone(&server)));
    Place { server, port, key, _records: records }
}

struct Client;

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

impl Place {
    /// Connects a client whose key is let in; returns `None` if it gets no visit.
    async fn come(&self, user: &str) -> Option<Handle<Client>> {
        let mut client = client::connect(Arc::default(), ("127.0.0.1", self.port), Client).await.ok()?;
        let key = PrivateKeyWithHashAlg::new(Arc::new(self.key.private().clone()), None);
        client.authenticate_publickey(user, key).await.ok()?.success().then_some(client)
    }

    /// Waits until there are `visits` visits.
    async fn has(&self, visits: usize) {
        while self.server.visits.count() != visits {
            tokio::task::yield_now().await;
        }
    }
}

async fn echo(client: &Handle<Client>) -> Channel<client::Msg> {
    let channel = client.channel_open_session().await.unwrap();
    channel.request_shell(true).await.unwrap();
    channel
}

async fn says(channel: &mut Channel<client::Msg>, said: &str) -> String {
    channel.data_bytes(said.to_owned()).await.unwrap();
    loop {
        if let ChannelMsg::Data { data } = channel.wait().await.unwrap() {
            return String::from_utf8(data.to_vec()).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn visits_are_beside_each_other_and_each_ends_by_itself() {
    let place = place(2, VisitLimits::default());
    let (ann, bob) = (place.come("ann").await.unwrap(), place.come("bob").await.unwrap());
    let (mut of_ann, mut of_bob) = (echo(&ann).await, echo(&bob).await);
    assert_eq!(says(&mut of_ann, "hello").await, "ann: hello");
    assert_eq!(says(&mut of_bob, "hello").await, "bob: hello");
    assert!(place.come("third").await.is_none(), "there are as many as there may be");
    ann.disconnect(russh::Disconnect::ByApplication, "", "").await.unwrap();
    place.has(1).await;
    assert_eq!(says(&mut of_bob, "still here").await, "bob: still here");
    let third = place.come("third").await.unwrap();
    assert_eq!(says(&mut echo(&third).await, "hello").await, "third: hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_visit_follow_each_other_and_what_the_service_does_not_know_is_refused() {
    let place = place(1, VisitLimits::default());
    let ann = place.come("ann").await.unwrap();
    for _ in 0..3 {
        let mut channel = echo(&ann).await;
        assert_eq!(says(&mut channel, "hello").await, "ann: hello");
        channel.eof().await.unwrap();
        while !matches!(channel.wait().await.unwrap(), ChannelMsg::ExitStatus { exit_status: 7 }) {}
    }
    let mut channel = ann.channel_open_session().await.unwrap();
    channel.exec(true, "true").await.unwrap();
    while !matches!(channel.wait().await.unwrap(), ChannelMsg::Failure) {}
    // The same channel may ask for a request that is served.
    channel.request_shell(true).await.unwrap();
    assert_eq!(says(&mut channel, "hello").await, "ann: hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_is_idle_goes_and_all_go_when_the_server_stops() {
    let idle = place(2, VisitLimits { idle: Some(Duration::from_millis(300)), longest: None });
    let ann = idle.come("ann").await.unwrap();
    let mut channel = echo(&ann).await;
    while channel.wait().await.is_some() {}
    idle.has(0).await;

    let place = place(2, VisitLimits::default());
    let (ann, bob) = (place.come("ann").await.unwrap(), place.come("bob").await.unwrap());
    let (mut of_ann, mut of_bob) = (echo(&ann).await, echo(&bob).await);
    place.server.visits.stop(Fault::Signalled(15));
    while of_ann.wait().await.is_some() {}
    while of_bob.wait().await.is_some() {}
    place.has(0).await;
    assert!(place.come("late").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_loaded_again_count_for_who_comes_next() {
    let place = place(4, VisitLimits::default());
    let ann = place.come("ann").await.unwrap();
    let others = HostKey::fresh().unwrap();
    place.server.load_keys(KeyRing::read("test", others.public_line().as_bytes(), Enforced::new(keys::ENFORCED)).unwrap());
    assert!(place.come("ann").await.is_none());
    assert_eq!(says(&mut echo(&ann).await, "still here").await, "ann: still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_has_a_limit_of_its_own_and_all_its_visits_can_be_ended() {
    let place = place(9, VisitLimits::default());
    let mut clients = Vec::new();
    for _ in 0..MOST_OF_KEY {
        clients.push(place.come("ann").await.unwrap());
    }
    assert!(place.come("ann").await.is_none(), "other keys have places left, and this one none");
    place.server.stop_key("SHA256:of-another-key", &Fault::KeyRemoved);
    place.has(MOST_OF_KEY).await;
    place.server.stop_key(&place.key.fingerprint(), &Fault::KeyRemoved);
    place.has(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_breaks_the_record_off_and_ends_every_visit() {
    let place = place(2, VisitLimits::default());
    let (ann, bob) = (place.come("ann").await.unwrap(), place.come("bob").await.unwrap());
    let (of_ann, mut of_bob) = (echo(&ann).await, echo(&bob).await);
    of_ann.data_bytes("panic").await.unwrap();
    while of_bob.wait().await.is_some() {}
    place.has(0).await;
    assert!(place.come("late").await.is_none(), "nothing goes on unrecorded");
}
