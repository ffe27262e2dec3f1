//! A client that has logged in sends any packets (RFC 4254): no panic, the connection ends, and no task outlives it.
#![no_main]

use std::sync::atomic::{AtomicBool, Ordering};

use libfuzzer_sys::fuzz_target;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, Session};
use russh::{Channel, ChannelId, ChannelMsg, MethodKind};

/// SSH_MSG_SERVICE_REQUEST ssh-userauth, then SSH_MSG_USERAUTH_REQUEST by the method none.
const ENTER: &[u8] =
    b"\x00\x11\x05\x00\x00\x00\x0cssh-userauth\x00\x20\x32\x00\x00\x00\x01x\x00\x00\x00\x0essh-connection\x00\x00\x00\x04none";

static ENTERED: AtomicBool = AtomicBool::new(false);

struct Visitor;

impl Handler for Visitor {
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), Self::Error> {
        ENTERED.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn channel_open_session(&mut self, channel: Channel<Msg>, reply: ChannelOpenHandle, _: &mut Session) -> Result<(), Self::Error> {
        reply.accept().await;
        tokio::spawn(echo(channel));
        Ok(())
    }

    async fn exec_request(&mut self, channel: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        if command.len() % 2 == 0 { session.channel_success(channel) } else { session.channel_failure(channel) }
    }

    async fn tcpip_forward(&mut self, _: &str, port: &mut u32, _: &mut Session) -> Result<bool, Self::Error> {
        Ok(*port % 2 == 0)
    }
}

/// Whatever is sent comes back, as far as the window goes.
async fn echo(channel: Channel<Msg>) {
    let _task = sally_fuzz::Task::default();
    let (mut reading, writing) = channel.split();
    while let Some(message) = reading.wait().await {
        let sent = match message {
            ChannelMsg::Data { data } => writing.data_bytes(data).await,
            ChannelMsg::Eof => writing.eof().await,
            ChannelMsg::Close => break,
            _ => Ok(()),
        };
        if sent.is_err() {
            break;
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let all = [sally_fuzz::handshake(), sally_fuzz::packets(&[ENTER, bytes].concat())].concat();
    sally_fuzz::serve(&[MethodKind::None], Visitor, all);
    // The first input is empty: from then on it is known that visitors get in.
    assert!(ENTERED.load(Ordering::Relaxed), "the target's own handshake fails");
});
