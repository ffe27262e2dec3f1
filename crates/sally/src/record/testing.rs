//! A record for the tests of what is recorded.

use std::path::PathBuf;

use ssh_key::PrivateKey;
use ssh_key::private::Ed25519Keypair;

use super::*;

pub(crate) fn key() -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[5; 32]))
}

pub(super) fn settings(policy: Policy) -> RecordSettings {
    RecordSettings { policy, digest: DigestName::default(), shell: "/bin/sh".into(), size: SIZE, is_shared: false }
}

/// Begins a record in a new file.
pub(crate) fn record_to(file: impl Into<PathBuf>, policy: Policy) -> Recorder {
    let sink = RecordSink::open(&RecordTarget::File(file.into()), false).unwrap();
    Recorder::start(sink, settings(policy), key()).unwrap()
}
