//! The record as a whole: written, read back, tampered with.

mod golden;
mod roundtrip;
mod share;
mod speed;
mod tamper;

use ssh_key::private::Ed25519Keypair;
use ssh_key::{HashAlg, PrivateKey, PublicKey, SshSig};

use super::*;

/// Every digest, and with it every version of the format.
pub(super) const DIGESTS: [DigestName; 2] = [DigestName::Blake3, DigestName::Sha256];

/// A key that tests can make again.
pub(super) struct TestKey(PrivateKey);

impl TestKey {
    pub(super) fn new(seed: u8) -> Self {
        Self(PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32])))
    }

    pub(super) fn public(&self) -> PublicKey {
        self.0.public_key().clone()
    }
}

impl Signer for TestKey {
    fn public_key(&self) -> String {
        self.0.public_key().to_openssh().unwrap()
    }

    fn sign(&self, namespace: &str, message: &[u8]) -> Result<SshSig, SignError> {
        self.0.sign(namespace, HashAlg::Sha512, message).map_err(|error| SignError(error.to_string()))
    }
}

pub(super) fn header(key: &TestKey, policy: Policy, digest: DigestName) -> Header {
    Header {
        width: 80,
        height: 24,
        timestamp: 1_790_000_000,
        shell: Some("/bin/bash".into()),
        term: None,
        policy,
        minor: 0,
        digest,
        host_key: key.public_key(),
    }
}

/// Writes batches as a recorder does.
pub(super) struct Writer<'k> {
    pub(super) encoder: Encoder,
    pub(super) file: Vec<u8>,
    key: &'k TestKey,
}

impl<'k> Writer<'k> {
    pub(super) fn new(key: &'k TestKey, policy: Policy, max_line: usize, digest: DigestName) -> Self {
        Self::begin(key, &header(key, policy, digest), max_line)
    }

    pub(super) fn begin(key: &'k TestKey, header: &Header, max_line: usize) -> Self {
        let mut writer = Self { encoder: Encoder::new(max_line, header.digest), file: Vec::new(), key };
        writer.encoder.header(header).unwrap();
        writer.flush(0, Some(Seal::Checkpoint));
        writer
    }

    pub(super) fn flush(&mut self, micros: u64, seal: Option<Seal>) {
        let key = self.key;
        let batch = self.encoder.close(Timestamp::from_micros(micros), seal.map(|seal| (seal, key as &dyn Signer))).unwrap();
        assert!(batch.len() <= MAX_BATCH && batch.ends_with(b"\"]\n"));
        self.file.extend_from_slice(batch);
        self.encoder.clear();
    }

    pub(super) fn chunk(&mut self, micros: u64, channel: u32, kind: StreamKind, mut data: &[u8]) {
        while !data.is_empty() {
            let taken = self.encoder.chunk(Timestamp::from_micros(micros), channel, kind, data);
            assert!(taken > 0);
            data = &data[taken..];
            self.flush(micros, None);
        }
    }

    pub(super) fn audit(&mut self, micros: u64, event: &AuditEvent) {
        let mut done = 0;
        while let Some(parts) = self.encoder.audit(Timestamp::from_micros(micros), event, done) {
            done = parts;
            self.flush(micros, None);
        }
        self.flush(micros, None);
    }
}

/// A small session with something of everything.
pub(super) fn sample(key: &TestKey, policy: Policy, digest: DigestName) -> Vec<u8> {
    let mut writer = Writer::new(key, policy, MAX_LINE, digest);
    let connect = AuditEvent::Connect { peer: "192.0.2.7:50123".into(), local: "192.0.2.1:2022".into() };
    writer.audit(1_000, &connect);
    writer.audit(1_500, &AuditEvent::Exec { channel: 0, command: "sudo -S id; caf\u{e9}\n".into(), forced: None });
    writer.audit(1_800, &AuditEvent::Pty { channel: 0, term: "xterm".into(), cols: 100, rows: 30 });
    writer.encoder.resize(Timestamp::from_micros(2_000), 0, 100, 30);
    writer.flush(2_000, None);
    writer.chunk(10_000, 0, StreamKind::PtyOutput, "$ \x1b[1mgrüße\x1b[0m \"q\" \\ \r\n".as_bytes());
    writer.chunk(20_000, 0, StreamKind::PtyInput, b"ls\r");
    writer.chunk(30_000, 0, StreamKind::PtyOutput, b"caf\xe9\r\n");
    writer.flush(5_100_000, Some(Seal::Checkpoint));
    writer.chunk(5_200_000, 1, StreamKind::Stdout, b"plain\n");
    writer.chunk(5_200_100, 1, StreamKind::Stderr, b"error\n");
    writer.chunk(5_200_200, 1, StreamKind::Stdin, &[0; 40]);
    writer.encoder.marker(Timestamp::from_micros(5_300_000), "input masked");
    writer.encoder.exit(Timestamp::from_micros(5_400_000), 0, 137);
    writer.flush(5_400_000, None);
    writer.flush(10_500_000, Some(Seal::Checkpoint));
    writer.audit(10_600_000, &AuditEvent::Close { reason: "the visitor left".into() });
    writer.flush(10_700_000, Some(Seal::Seal));
    writer.file
}

/// The verdict on a file, where `key` is what is known of the signer from outside.
pub(super) fn verify(file: &[u8], key: Option<&PublicKey>) -> Result<Report, NoRecord> {
    let mut verifier = Verifier::new(|signer| match key {
        None => Trust::Unproven,
        Some(key) if key.key_data() == signer.key_data() => Trust::Proven,
        Some(_) => Trust::Refused("signed by another key".into()),
    });
    let mut lines = RecordLines::new(file);
    while let Some(line) = lines.next().unwrap() {
        verifier.line(&line);
    }
    verifier.finish()
}
