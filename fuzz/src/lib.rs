//! What the targets that speak SSH share: the patched library's server at one end of a pipe in memory, and a client that is nothing but the
//! packets it sends. The key exchange and the cipher are `none`: what the fuzzer writes is what the server reads, and no time goes into
//! curves. (A client may propose others; the parsers before them are reached, arithmetic is not what is looked for.)
#![cfg(feature = "ssh")]

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::server::{Config, Handler};
use russh::{MethodKind, MethodSet, Preferred, cipher, compression, kex, mac};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MSG_KEXINIT: u8 = 20;
/// As the server of `crates/sally/src/ssh/server.rs`.
const WINDOW: u32 = 16 << 20;
/// Whatever a client does, its connection is over long before: keepalives go unanswered after 45 s.
const FOREVER: Duration = Duration::from_secs(3600);

static HOST_KEY: LazyLock<PrivateKey> = LazyLock::new(|| Ed25519Keypair::from_seed(&[1; 32]).into());

/// Tasks that belong to connections and have not ended.
pub static TASKS: AtomicUsize = AtomicUsize::new(0);

/// A task of a handler's: counted while it runs.
pub struct Task;

impl Default for Task {
    fn default() -> Self {
        TASKS.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        TASKS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Input as the bytes of a connection. The first byte says where it begins: at the very first byte, at the first packet, or after a key
/// exchange. From the first packet on, the rest is packets, each with its length in two bytes; they are padded as they should be.
pub fn connection(input: &[u8]) -> Vec<u8> {
    let Some((from, rest)) = input.split_first() else { return Vec::new() };
    match from % 3 {
        0 => return rest.to_vec(),
        1 => [b"SSH-2.0-fuzz\r\n".to_vec(), packets(rest)].concat(),
        _ => [handshake(), packets(rest)].concat(),
    }
}

/// A client's first bytes, up to where authentication begins.
pub fn handshake() -> Vec<u8> {
    let mut bytes = b"SSH-2.0-fuzz\r\n".to_vec();
    let mut kexinit = vec![MSG_KEXINIT];
    kexinit.extend([7; 16]);
    let lists = ["none,ext-info-c,kex-strict-c-v00@openssh.com", "ssh-ed25519", "none", "none", "none", "none", "none", "none", "", ""];
    for names in lists {
        kexinit.extend((names.len() as u32).to_be_bytes());
        kexinit.extend(names.as_bytes());
    }
    kexinit.extend([0; 5]);
    packet(&kexinit, &mut bytes);
    bytes
}

/// Payloads, each with its length in two bytes, as packets (RFC 4253 section 6) of the cipher `none`.
pub fn packets(mut input: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(input.len() * 2);
    while let Some((length, rest)) = input.split_first_chunk::<2>() {
        let (payload, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
        packet(payload, &mut bytes);
        input = rest;
    }
    bytes
}

fn packet(payload: &[u8], bytes: &mut Vec<u8>) {
    let mut padding = 8 - (5 + payload.len()) % 8;
    if padding < 4 {
        padding += 8;
    }
    bytes.extend((1 + payload.len() as u32 + padding as u32).to_be_bytes());
    bytes.push(padding as u8);
    bytes.extend(payload);
    bytes.extend(&[0; 16][..padding]);
}

fn config(methods: &[MethodKind]) -> Config {
    Config {
        methods: MethodSet::from(methods),
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![HOST_KEY.clone()],
        window_size: WINDOW,
        event_buffer_size: 16,
        preferred: Preferred {
            kex: Cow::Borrowed(&[
                kex::NONE,
                kex::CURVE25519,
                kex::MLKEM768X25519_SHA256,
                kex::EXTENSION_SUPPORT_AS_SERVER,
                kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
            ]),
            cipher: Cow::Borrowed(&[cipher::NONE, cipher::AES_128_GCM, cipher::AES_128_CTR]),
            mac: Cow::Borrowed(&[mac::NONE, mac::HMAC_SHA256_ETM]),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::default()
        },
        max_auth_attempts: 6,
        max_publickey_offers: 6,
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_secs(15)),
        keepalive_max: 3,
        ..Config::default()
    }
}

/// Serves one connection to its end, with a client that sends these bytes, reads whatever it is told, and leaves.
///
/// # Panics
/// Where the connection doesn't end, or a task of it stays behind.
pub fn serve<H: Handler + Send + 'static>(methods: &[MethodKind], handler: H, bytes: Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (client, server) = tokio::io::duplex(64 << 10);
        let (mut reading, mut writing) = tokio::io::split(client);
        let sending = async move {
            // Fails where the server has hung up, as it should on nonsense.
            let _ = writing.write_all(&bytes).await;
            let _ = writing.shutdown().await;
        };
        let hearing = async move {
            let mut heard = [0; 4096];
            while let Ok(1..) = reading.read(&mut heard).await {}
        };
        let serving = async move {
            if let Ok(session) = russh::server::run_stream(Arc::new(config(methods)), server, handler).await {
                let _ = session.await;
            }
        };
        let ended = tokio::time::timeout(FOREVER, async { tokio::join!(sending, hearing, serving) }).await;
        assert!(ended.is_ok(), "the connection never ended");
        let quiet = async {
            while TASKS.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(tokio::time::timeout(FOREVER, quiet).await.is_ok(), "a task outlives its connection");
    });
}
