//! Configures the SSH library. Every value that differs from its default has its reason here.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::server::{Config, NameLists, Offer};
use russh::{Limits, MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex, mac};

use super::window;
use crate::host_key::HostKey;
use crate::server_settings::ServerSettings;

/// The largest packet in bytes, as OpenSSH's.
const PACKET: u32 = 32 << 10;
/// The interval of keepalives to a silent client, and how many may stay unanswered. The connection ends one interval after the last one:
/// after a minute, as with sshd.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVES_UNANSWERED: usize = 3;
/// As sshd's MaxAuthTries, which counts offered keys too: an agent with more keys needs IdentitiesOnly, as with sshd.
const AUTH_ATTEMPTS: usize = 6;
/// The client's first request (`none`), which the library counts too, though it is no attempt.
const QUESTIONS: usize = 1;
/// The most messages between the program's pumps and the connection: enough to keep both busy, and few enough to need little memory.
const EVENTS: usize = 16;

/// The key exchanges, post-quantum first.
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];
/// The key exchanges for `--pq-only`.
const KEX_POST_QUANTUM: &[kex::Name] =
    &[kex::MLKEM768X25519_SHA256, kex::EXTENSION_SUPPORT_AS_SERVER, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER];
/// The ciphers, AES-GCM first: it is the fastest.
const CIPHERS: &[cipher::Name] =
    &[cipher::AES_128_GCM, cipher::AES_256_GCM, cipher::CHACHA20_POLY1305, cipher::AES_128_CTR, cipher::AES_192_CTR, cipher::AES_256_CTR];
/// The only ciphers that OpenSSH's clients are offered, if they have one of these and the processor has instructions for AES: they prefer
/// ChaCha20, and the client's order counts (RFC 4253 section 7.1).
const AES_GCM: &[cipher::Name] = &[cipher::AES_128_GCM, cipher::AES_256_GCM];
/// The ciphers that need no MAC.
const AUTHENTICATED: &[cipher::Name] = &[cipher::AES_128_GCM, cipher::AES_256_GCM, cipher::CHACHA20_POLY1305];
/// The MACs for CTR: the other ciphers need none.
const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM];
/// The MACs for clients that have none of the above and no cipher but CTR: libssh2 before 1.11, Twisted Conch, older SSH.NET, sshj and
/// dartssh2. They are among sshd's defaults.
const FURTHER_MACS: &[mac::Name] = &[mac::HMAC_SHA256, mac::HMAC_SHA512];
/// How long the server waits for a client's KEXINIT before it sends its own. Most clients send theirs at once. The few that wait for the
/// server (SSH.NET before 2024, libssh before 0.11) lose this much of each connection; on a long path others seem to wait too: they are
/// offered everything, and choose well.
const KEXINIT_PATIENCE: Duration = Duration::from_millis(100);
/// The algorithms of keys: no DSA, no RSA with SHA-1.
const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::SkEd25519,
    Algorithm::SkEcdsaSha2NistP256,
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// Returns the library's configuration for a server.
pub(super) fn config(settings: &ServerSettings) -> Config {
    Config {
        server_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-Sally_", env!("CARGO_PKG_VERSION")))),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        // A client's first request ("none") is no guess, and an agent with five keys should not wait five times: admission slows guesses
        // per source, not per answer.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: settings.host_keys.all().map(|key| key.private().clone()).collect(),
        certificates: settings.host_keys.all().filter_map(HostKey::certificate).cloned().collect(),
        limits: Limits::default(),
        // Only consumed data reopen the window; it grows on a long path.
        window_size: window::FIRST,
        maximum_packet_size: PACKET,
        event_buffer_size: EVENTS,
        preferred: Preferred {
            kex: Cow::Borrowed(if settings.post_quantum_only { KEX_POST_QUANTUM } else { KEX }),
            key: Cow::Borrowed(KEYS),
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(MACS),
            // Compression is off: a decompression bomb could exhaust the memory, before or after authentication.
            compression: Cow::Borrowed(&[compression::NONE]),
        },
        offer: Some(Arc::new(ClientOffer { insists: has_aes() })),
        max_auth_attempts: AUTH_ATTEMPTS + QUESTIONS,
        max_publickey_offers: AUTH_ATTEMPTS,
        // A shell may stay idle; Sally's own deadlines surround the stream.
        inactivity_timeout: None,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVES_UNANSWERED,
        nodelay: true,
        ..Config::default()
    }
}

/// Chooses the ciphers and MACs that one client is offered.
#[derive(Debug)]
struct ClientOffer {
    /// Whether OpenSSH's clients are offered AES-GCM alone, if they have it.
    insists: bool,
}

impl Offer for ClientOffer {
    /// Waits without a limit for the KEXINIT of OpenSSH's clients, which send it at once: it comes, however long the path is.
    fn patience(&self, client_id: &[u8]) -> Option<Duration> {
        (!self.insists || !is_openssh(client_id)).then_some(KEXINIT_PATIENCE)
    }

    fn choose<'a>(&self, ours: &'a Preferred, client_id: &[u8], theirs: Option<&NameLists>) -> Cow<'a, Preferred> {
        let mut chosen = ours.clone();
        let Some(theirs) = theirs else {
            chosen.mac.to_mut().extend(FURTHER_MACS);
            return Cow::Owned(chosen);
        };
        let has = |list: &[String], name: &str| list.iter().any(|offer| offer == name);
        let has_cipher = |name: &&cipher::Name| has(&theirs.cipher, name.as_ref());
        let has_mac = |list: &[String]| ours.mac.iter().any(|name| has(list, name.as_ref()));
        if self.insists && is_openssh(client_id) && AES_GCM.iter().any(|name| has_cipher(&name)) {
            chosen.cipher.to_mut().retain(|name| AES_GCM.contains(name));
        }
        if !(has_mac(&theirs.client_mac) && has_mac(&theirs.server_mac)) {
            if AUTHENTICATED.iter().any(|name| has_cipher(&name)) {
                chosen.cipher.to_mut().retain(|name| AUTHENTICATED.contains(name));
            } else {
                chosen.mac.to_mut().extend(FURTHER_MACS);
            }
        }
        Cow::Owned(chosen)
    }
}

/// Returns whether a client is OpenSSH's, by its identification.
fn is_openssh(client_id: &[u8]) -> bool {
    client_id.starts_with(b"SSH-2.0-OpenSSH_")
}

/// Returns whether the processor has instructions for AES and for GCM's multiplication.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}
