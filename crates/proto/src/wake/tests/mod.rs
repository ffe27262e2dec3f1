//! Wakes and acknowledgements: each check, the order of them, forgeries, golden files.

use std::time::Duration;

use serde_json::Value;
use ssh_key::certificate::{Builder, Certificate};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{PrivateKey, PublicKey};

use super::envelope::{ACKNOWLEDGEMENT_DOMAIN, WAKE_DOMAIN, join, signed, split};
use super::*;
use crate::authority::{Authorities, Role};
use crate::krl::Krl;

mod acknowledgement;
mod checker;
mod golden;
mod topics;

const NOW: u64 = 1_800_000_000;

fn private(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn wake_key(seed: u8) -> WakeKey {
    WakeKey::new(&private(seed)).unwrap()
}

fn pinned(seeds: &[u8]) -> WakeKeys {
    let lines: Vec<_> = seeds.iter().map(|seed| private(*seed).public_key().to_openssh().unwrap()).collect();
    WakeKeys::parse(&lines.join("\n")).unwrap()
}

fn pins() -> Pins {
    Pins {
        id: "cam-17".parse().unwrap(),
        keys: pinned(&[1, 2]),
        relays: vec!["relay.example.com:2222".parse().unwrap(), "[2001:db8::7]:2222".parse().unwrap()],
        clock: Clock::Checked,
        tunnels_max: 2,
    }
}

fn checker() -> WakeChecker {
    WakeChecker::new(pins())
}

fn moment(unix: u64) -> ClockReading {
    ClockReading { unix, monotonic: Duration::from_secs(unix) }
}

/// A good wake for cam-17; `number` makes it another.
fn wake(number: u8) -> Wake {
    Wake {
        v: VERSION,
        kid: wake_key(1).kid().to_string(),
        aud: "cam-17".parse().unwrap(),
        jti: Jti::new([number; 16]),
        iat: NOW,
        exp: NOW + LIFETIME,
        relay: vec!["relay.example.com:2222".parse().unwrap()],
        hk: private(3).fingerprint(ssh_key::HashAlg::Sha256),
        svc: 22,
        tkt: Ticket::new([9; 32]),
        rid: "relay-1".parse().unwrap(),
    }
}

/// Signs a payload that no relay would write.
fn sign(payload: &[u8], seed: u8) -> String {
    let signature = wake_key(seed).sign(&signed(WAKE_DOMAIN, payload));
    join(&[payload, &signature])
}

/// A good wake with some fields other than they should be.
fn altered(change: impl FnOnce(&mut Value)) -> String {
    let mut value = serde_json::to_value(wake(1)).unwrap();
    change(&mut value);
    sign(value.to_string().as_bytes(), 1)
}

fn reason(result: Result<Wake, Rejected>) -> Reason {
    result.unwrap_err().reason
}

fn certificate(authority: u8, name: &str) -> Certificate {
    let mut builder = Builder::new([7; 16], PublicKey::from(private(20)), NOW - 3600, u64::MAX).unwrap();
    builder.serial(5).unwrap().key_id(name).unwrap().valid_principal(name).unwrap();
    builder.extension("permit-port-forwarding", "").unwrap();
    builder.sign(&private(authority)).unwrap()
}

fn devices() -> Authorities {
    Authorities::parse(Role::Device, &private(10).public_key().to_openssh().unwrap()).unwrap()
}
