//! Answers requests. A request without a method here is refused: the library's defaults refuse, and so does a channel-open whose reply is
//! dropped.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Instant;

use russh::keys::Certificate;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedCertificate, VerifiedPublicKey};
use russh::{Channel, ChannelId, Pty};
use sally_proto::authorized_keys::Offer;
use sally_proto::relay::{ADMIT_REQUEST, NAME_REQUEST, Refusal, TICKET_REQUEST, admitted_keys};
use sally_proto::ssh_string;

use super::{Asking, Conversation, FEW, refuse};
use crate::relay::ReservedName;
use crate::relay::client::{Client, Proven};
use crate::relay::rules::{CHANNELS_MAX, SESSIONS_MAX};
use crate::relay::session::CrLfTerminal;
use crate::session::service::SessionKind;
use crate::ssh::auth::is_sha1;
use crate::ssh::connection::ConnectionError;
use crate::ssh::forward::{CONNECT_FAILED, SHORTAGE, refusal};
use crate::ssh::window;

impl Handler for Conversation {
    type Error = ConnectionError;

    async fn authentication_banner(&mut self) -> Result<Option<String>, ConnectionError> {
        Ok(self.banner.as_deref().map(str::to_owned))
    }

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, ConnectionError> {
        self.window.answered(Instant::now());
        let key = offer.public_key.key_data();
        if is_sha1(offer.algorithm) || !self.user_may_log_in(user) {
            return Ok(self
                .turn_away(user, &Proven::Key(key.clone()), "the user name or signature algorithm is not accepted".into())
                .await);
        }
        // A certificate may have been issued a moment ago: it is looked up once its holder has proved to hold the key.
        if offer.certificate.is_some() && self.relay.has_authorities() {
            return Ok(Auth::Accept);
        }
        match self.relay.authorize(Offer::Key(key), self.peer.ip()) {
            Ok(_) => Ok(Auth::Accept),
            Err(denial) => Ok(self.turn_away(user, &Proven::Key(key.clone()), denial.to_string()).await),
        }
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, ConnectionError> {
        self.window.asked(Instant::now());
        if is_sha1(key.algorithm) {
            return Ok(Auth::reject());
        }
        self.authenticate(user, Proven::Key(key.public_key.key_data().clone()), key.presence).await
    }

    async fn auth_verified_certificate(&mut self, user: &str, verified: VerifiedCertificate<'_>) -> Result<Auth, ConnectionError> {
        if is_sha1(verified.algorithm) {
            return Ok(Auth::reject());
        }
        self.authenticate(user, Proven::Certificate(Box::new(verified.certificate.clone())), verified.presence).await
    }

    /// Logs why the certificate is refused; the library has refused it already.
    async fn certificate_outside_its_dates(&mut self, user: &str, certificate: &Certificate) -> Result<(), ConnectionError> {
        if let Err(denial) = self.relay.authorize(Offer::Certificate(certificate), self.peer.ip()) {
            self.turn_away(user, &Proven::Certificate(Box::new(certificate.clone())), denial.to_string()).await;
        }
        Ok(())
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), ConnectionError> {
        self.register(session).await?;
        self.window.answered(Instant::now());
        Ok(())
    }

    async fn data(&mut self, _: ChannelId, data: &[u8], _: &mut Session) -> Result<(), ConnectionError> {
        self.window.received(data.len());
        Ok(())
    }

    fn adjust_window(&mut self, _: ChannelId, current: u32) -> u32 {
        let wanted = self.window.target(Instant::now(), current);
        if self.relay.visits_taken() <= FEW { wanted } else { window::FIRST }
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), ConnectionError> {
        let Some(client) = self.client.get() else { return Ok(()) };
        let Ok(place) = Arc::clone(&self.consoles).try_acquire_owned() else {
            let why = Refusal::TooMany { what: "sessions on this connection", limit: SESSIONS_MAX };
            refuse(&self.relay, &self.refusals, client, "session", &why).await;
            reply.reject(refusal(SHORTAGE, why.to_string())).await;
            return Ok(());
        };
        self.sessions.insert(channel.id(), Asking { channel, place, terminal: None });
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), ConnectionError> {
        self.window.asked(Instant::now());
        let Some(client) = self.client.get() else { return Ok(()) };
        let Ok(place) = Arc::clone(&self.channels).try_acquire_owned() else {
            let why = Refusal::TooMany { what: "channels on this connection", limit: CHANNELS_MAX };
            refuse(&self.relay, &self.refusals, client, host, &why).await;
            reply.reject(refusal(CONNECT_FAILED, why.to_string())).await;
            return Ok(());
        };
        let (relay, refusals) = (Arc::clone(&self.relay), Arc::clone(&self.refusals));
        let (client, host) = (Arc::clone(client), host.to_owned());
        tokio::spawn(async move {
            match relay.visit(&client, &host, port).await {
                Ok(opened) => {
                    reply.accept().await;
                    opened.carry_channel(channel.into()).await;
                }
                Err(why) => {
                    refuse(&relay, &refusals, &client, &format!("{host}:{port}"), &why).await;
                    reply.reject(refusal(CONNECT_FAILED, why.to_string())).await;
                }
            }
            drop(place);
        });
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), ConnectionError> {
        self.sessions.remove(&id);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), ConnectionError> {
        let console = self.client.get().is_some_and(|client| self.relay.has_console(client));
        let Some(asking) = self.sessions.get_mut(&id) else { return Ok(session.channel_failure(id)?) };
        asking.terminal = Some(CrLfTerminal);
        if console {
            // `ssh -t relay devices`: there is no terminal, only lines that the client's terminal shows.
            return Ok(session.channel_success(id)?);
        }
        self.answer(id, SessionKind::Command("pty-req".into()), session).await
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), ConnectionError> {
        self.answer(id, SessionKind::Shell, session).await
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), ConnectionError> {
        self.answer(id, SessionKind::Command(OsStr::from_bytes(command).into()), session).await
    }

    async fn subsystem_request(&mut self, id: ChannelId, name: &str, session: &mut Session) -> Result<(), ConnectionError> {
        self.answer(id, SessionKind::Subsystem(name.into()), session).await
    }

    async fn env_request(&mut self, id: ChannelId, _: &str, _: &str, session: &mut Session) -> Result<(), ConnectionError> {
        Ok(session.channel_failure(id)?)
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), ConnectionError> {
        Ok(session.channel_failure(id)?)
    }

    async fn tcpip_forward(&mut self, address: &str, port: &mut u32, session: &mut Session) -> Result<bool, ConnectionError> {
        self.window.asked(Instant::now());
        let Some(client) = self.client.get() else { return Ok(false) };
        match self.relay.register(client, address, *port, &self.promised).await {
            Ok(()) => Ok(true),
            Err(refusal) => self.refuse_forward(client, &format!("-R {address}:{port}"), &refusal, session).await,
        }
    }

    async fn cancel_tcpip_forward(&mut self, address: &str, port: u32, _: &mut Session) -> Result<bool, ConnectionError> {
        match self.client.get() {
            Some(client) => Ok(self.relay.cancel(client, address, port).await),
            None => Ok(false),
        }
    }

    async fn global_request(&mut self, name: &str, data: &[u8], session: &mut Session) -> Result<Option<Vec<u8>>, ConnectionError> {
        let Some(client) = self.client.get().cloned() else { return Ok(None) };
        let first = ssh_string::split(data).map(|(first, _)| first).unwrap_or_default();
        let (answer, what) = match name {
            TICKET_REQUEST => (self.relay.show_ticket(&client, first).map(|()| Vec::new()), name.to_owned()),
            ADMIT_REQUEST => {
                let keys = admitted_keys(first);
                (keys.and_then(|keys| self.relay.admit(&client, &mut self.promised, keys)).map(|()| Vec::new()), name.to_owned())
            }
            NAME_REQUEST => {
                let strings = ssh_string::split(data).and_then(|(name, rest)| Some((name, ssh_string::split(rest)?.0)));
                let Some((wanted, keys)) = strings else { return Ok(None) };
                let wanted = String::from_utf8_lossy(wanted);
                (self.promise(&client, &wanted, keys), format!("{name} {wanted}"))
            }
            _ => {
                refuse(&self.relay, &self.refusals, &client, name, &Refusal::NotPermitted).await;
                return Ok(None);
            }
        };
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(refusal) => {
                self.refuse_forward(&client, &what, &refusal, session).await?;
                Ok(None)
            }
        }
    }
}

impl Conversation {
    /// Reserves a name, and answers `name@sally` with it.
    fn promise(&mut self, client: &Client, wanted: &str, keys: &[u8]) -> Result<Vec<u8>, Refusal> {
        let keys = admitted_keys(keys)?;
        let name = self.relay.promise(client, wanted)?;
        let answer = name.as_str().as_bytes().to_vec();
        self.promised = ReservedName { name: Some(name), admitted_keys: None };
        self.relay.admit(client, &mut self.promised, keys)?;
        Ok(answer)
    }
}
