//! Answers a client's requests. A request without a method here is refused: the library's defaults refuse, and so does a channel-open whose
//! reply is dropped.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use russh::keys::Certificate;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedCertificate, VerifiedPublicKey};
use russh::{Channel, ChannelId, Pty as Mode, Sig};
use sally_proto::authorized_keys::{Grant, Offer};
use sally_proto::record::AuditEvent;
use sally_sys::pty::WindowSize;

use super::auth::is_sha1;
use super::connection::{ClientConnection, ConnectionError};
use super::forward::{ForwardTarget, ListenAddress, PROHIBITED, host_and_port, refusal};
use super::visits::Visits;
use crate::session::Control;
use crate::session::environment;
use crate::session::service::{PtyRequest, SessionKind, SessionService};
use crate::term;
use sally_proto::signal;

/// The most variables that a client may set in one session, and the most bytes of one: OpenSSH's clients send a handful.
const MAX_ENV: usize = 64;
const MAX_ENV_BYTES: usize = 4 << 10;
/// The longest `$TERM` that is kept, in characters: no terminal's name is longer.
const MAX_TERM: usize = 64;

impl<V: Visits, S: SessionService> Handler for ClientConnection<V, S> {
    type Error = ConnectionError;

    async fn authentication_banner(&mut self) -> Result<Option<String>, ConnectionError> {
        Ok(self.server.shared.banner.as_deref().map(str::to_owned))
    }

    async fn auth_none(&mut self, _: &str) -> Result<Auth, ConnectionError> {
        self.window.answered(Instant::now());
        Ok(Auth::reject())
    }

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, ConnectionError> {
        self.window.asked(Instant::now());
        if is_sha1(offer.algorithm) {
            return Ok(Auth::reject());
        }
        let offered = offer.certificate.map_or_else(|| Offer::Key(offer.public_key.key_data()), Offer::Certificate);
        let answer = self.probe(user, offered);
        self.window.answered(Instant::now());
        Ok(answer)
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, ConnectionError> {
        self.window.asked(Instant::now());
        if is_sha1(key.algorithm) {
            return Ok(Auth::reject());
        }
        let answer = self.authenticate(user, Offer::Key(key.public_key.key_data()), key.presence).await;
        self.window.answered(Instant::now());
        answer
    }

    async fn auth_verified_certificate(&mut self, user: &str, verified: VerifiedCertificate<'_>) -> Result<Auth, ConnectionError> {
        if is_sha1(verified.algorithm) {
            return Ok(Auth::reject());
        }
        self.authenticate(user, Offer::Certificate(verified.certificate), verified.presence).await
    }

    async fn certificate_outside_its_dates(&mut self, user: &str, certificate: &Certificate) -> Result<(), ConnectionError> {
        self.turn_away_certificate(user, certificate);
        Ok(())
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), ConnectionError> {
        if let Some(waiting) = self.conversation.take() {
            let _ = waiting.send(session.handle()); // The visit has ended already.
        }
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), ConnectionError> {
        self.window.asked(Instant::now());
        if self.client.is_none() {
            return Ok(());
        }
        match self.set_up(channel) {
            Ok(()) => reply.accept().await,
            Err(reason) => {
                self.refuse("session", &reason)?;
                reply.reject(refusal(PROHIBITED, reason)).await;
            }
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        origin: &str,
        origin_port: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), ConnectionError> {
        let target = ForwardTarget::Port(host.into(), port);
        self.open_local(target, Some(host_and_port(origin, origin_port)), channel, reply).await
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), ConnectionError> {
        self.open_local(ForwardTarget::Path(path.into()), None, channel, reply).await
    }

    async fn data(&mut self, _: ChannelId, data: &[u8], _: &mut Session) -> Result<(), ConnectionError> {
        self.window.received(data.len());
        Ok(())
    }

    fn adjust_window(&mut self, _: ChannelId, current: u32) -> u32 {
        self.window.target(Instant::now(), current)
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), ConnectionError> {
        self.forget(channel);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        modes: &[(Mode, u32)],
        session: &mut Session,
    ) -> Result<(), ConnectionError> {
        let allowed = self.grant().is_some_and(Grant::allows_pty);
        let Some(setup) = self.setups.get_mut(&id).filter(|setup| allowed && setup.terminal.is_none()) else {
            self.refuse("pty-req", "not permitted for this key")?;
            return Ok(session.channel_failure(id)?);
        };
        let asked = PtyRequest {
            term: term.chars().filter(|c| !c.is_control()).take(MAX_TERM).collect(),
            size: WindowSize::clamped((columns, rows), (width, height)),
            modes: modes.iter().map(|(mode, value)| (*mode as u8, *value)).collect(),
        };
        match self.server.service.terminal(setup.number, asked) {
            Ok(terminal) => setup.terminal = Some(terminal),
            Err(error) => return self.not_started(id, error, session),
        }
        Ok(session.channel_success(id)?)
    }

    async fn env_request(&mut self, id: ChannelId, name: &str, value: &str, session: &mut Session) -> Result<(), ConnectionError> {
        let accepted = environment::accepts(name, &self.server.shared.rules.accept_env)
            && name.len() + value.len() <= MAX_ENV_BYTES
            && !value.contains('\0');
        let Some(setup) = self.setups.get_mut(&id) else { return Ok(session.channel_failure(id)?) };
        let accepted = accepted && setup.sent.len() < MAX_ENV;
        // The value of a refused variable may be a secret that the client sends to every server: it is not recorded.
        let said = accepted.then(|| value.into());
        let event = AuditEvent::Env { channel: setup.number, name: term::excerpt(name).into(), value: said, accepted };
        if accepted {
            setup.sent.push((name.into(), value.into()));
        }
        self.audit(&event)?;
        if accepted {
            return Ok(session.channel_success(id)?);
        }
        self.bear()?;
        Ok(session.channel_failure(id)?)
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), ConnectionError> {
        self.launch(id, SessionKind::Shell, session).await
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), ConnectionError> {
        self.launch(id, SessionKind::Command(OsStr::from_bytes(command).into()), session).await
    }

    async fn subsystem_request(&mut self, id: ChannelId, name: &str, session: &mut Session) -> Result<(), ConnectionError> {
        self.launch(id, SessionKind::Subsystem(name.into()), session).await
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        session: &mut Session,
    ) -> Result<(), ConnectionError> {
        self.resize(id, WindowSize::clamped((columns, rows), (width, height)));
        Ok(session.channel_success(id)?)
    }

    async fn signal(&mut self, id: ChannelId, signal: Sig, session: &mut Session) -> Result<(), ConnectionError> {
        match signal::by_name(&sig_name(&signal)) {
            Some((number, name)) if self.control(id, Control::Signal(number, name)) => Ok(session.channel_success(id)?),
            _ => Ok(session.channel_failure(id)?),
        }
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
        self.refuse("x11-req", "X11 forwarding is not allowed here")?;
        Ok(session.channel_failure(id)?)
    }

    async fn break_request(&mut self, id: ChannelId, length: u32, _: &mut Session) -> Result<bool, ConnectionError> {
        Ok(self.control(id, Control::Break(length)))
    }

    async fn agent_request(&mut self, id: ChannelId, _: &mut Session) -> Result<bool, ConnectionError> {
        self.offer_agent(id)
    }

    async fn tcpip_forward(&mut self, address: &str, port: &mut u32, session: &mut Session) -> Result<bool, ConnectionError> {
        let bound = self.listen(ListenAddress::Port(address.into(), *port), session.handle()).await?;
        *port = bound.unwrap_or(*port);
        Ok(bound.is_some())
    }

    async fn cancel_tcpip_forward(&mut self, address: &str, port: u32, _: &mut Session) -> Result<bool, ConnectionError> {
        Ok(self.unlisten(&ListenAddress::Port(address.into(), port)).await)
    }

    async fn streamlocal_forward(&mut self, path: &str, session: &mut Session) -> Result<bool, ConnectionError> {
        Ok(self.listen(ListenAddress::Path(path.into()), session.handle()).await?.is_some())
    }

    async fn cancel_streamlocal_forward(&mut self, path: &str, _: &mut Session) -> Result<bool, ConnectionError> {
        Ok(self.unlisten(&ListenAddress::Path(path.into())).await)
    }

    /// Refuses keepalives and other global requests; to a keepalive a refusal is an answer too.
    async fn global_request(&mut self, _: &str, _: &[u8], _: &mut Session) -> Result<Option<Vec<u8>>, ConnectionError> {
        self.bear()?;
        Ok(None)
    }
}

/// Returns the name without `SIG`: the signals of RFC 4254 are variants of the library's, whose own names are private.
fn sig_name(signal: &Sig) -> Cow<'_, str> {
    match signal {
        Sig::Custom(name) => name.into(),
        known => format!("{known:?}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_that_the_library_knows_has_its_number() {
        let known = [
            Sig::ABRT,
            Sig::ALRM,
            Sig::FPE,
            Sig::HUP,
            Sig::ILL,
            Sig::INT,
            Sig::KILL,
            Sig::PIPE,
            Sig::QUIT,
            Sig::SEGV,
            Sig::TERM,
            Sig::USR1,
        ];
        let numbers: Vec<_> = known.iter().map(|signal| signal::by_name(&sig_name(signal)).unwrap().0).collect();
        use rustix::process::Signal as S;
        let wanted = [S::ABORT, S::ALARM, S::FPE, S::HUP, S::ILL, S::INT, S::KILL, S::PIPE, S::QUIT, S::SEGV, S::TERM, S::USR1];
        assert_eq!(numbers, wanted.map(S::as_raw));
        assert_eq!(sig_name(&Sig::Custom("BUS".into())), "BUS");
    }
}
