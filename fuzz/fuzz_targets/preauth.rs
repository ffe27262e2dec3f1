//! A client sends any bytes before authentication: no panic, the connection ends, no client logs in, and the handler is called for
//! authentication only.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use russh::keys::Certificate;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, MethodKind};
use sally_proto::authorized_keys::{Context, Enforced, KeyRing, Offer};

const KEYS: &[u8] = b"restrict,pty,from=\"192.0.2.0/24\",expiry-time=\"20400101\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPbnqQ/SGC/OWnL4cQGxlZcFxxfCVx0mD+1MlF/Zdidu visitor\n";

static RING: LazyLock<KeyRing> = LazyLock::new(|| KeyRing::read("fuzz", KEYS, Enforced::all()).unwrap());

struct Stranger;

impl Handler for Stranger {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        let context = Context { peer: Some([192, 0, 2, 7].into()), now: 1_800_000_000, account: Some("root") };
        let may = RING.authorize(Offer::Key(offer.public_key.key_data()), &context).is_ok();
        // Some keys that the ring has not are asked to sign all the same: signatures are read then.
        Ok(if may || user.len() % 2 == 1 { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        panic!("a signature was forged");
    }

    async fn auth_openssh_certificate(&mut self, _: &str, _: &Certificate) -> Result<Auth, Self::Error> {
        panic!("a certificate's signature was forged");
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), Self::Error> {
        panic!("a client logged in");
    }

    async fn channel_open_session(&mut self, _: Channel<Msg>, _: ChannelOpenHandle, _: &mut Session) -> Result<(), Self::Error> {
        panic!("a channel was opened before authentication");
    }

    async fn exec_request(&mut self, _: ChannelId, _: &[u8], _: &mut Session) -> Result<(), Self::Error> {
        panic!("a command ran before authentication");
    }

    async fn tcpip_forward(&mut self, _: &str, _: &mut u32, _: &mut Session) -> Result<bool, Self::Error> {
        panic!("a forwarding was requested before authentication");
    }
}

fuzz_target!(|bytes: &[u8]| {
    sally_fuzz::serve(&[MethodKind::PublicKey], Stranger, sally_fuzz::connection(bytes));
});
