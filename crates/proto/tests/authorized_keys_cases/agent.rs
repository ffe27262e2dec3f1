//! A security key made of software, behind an SSH agent's socket (draft-ietf-sshm-ssh-agent, PROTOCOL.u2f): it says that it was touched, or
//! that it verified its user, as it is told.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use sally_proto::authorized_keys::{Context, Enforced, KeyRing, Offer};
use sha2::{Digest as _, Sha256};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::public::{KeyData, SkEd25519};
use ssh_key::{PrivateKey, PublicKey, SigningKey};

const APPLICATION: &str = "ssh:";
const TYPE: &str = "sk-ssh-ed25519@openssh.com";
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// Options of a line, the flags of the signature, and whether that lets anybody in.
pub const CASES: &[(&str, u8, bool)] = &[
    ("", 0, false),
    ("", 1, true),
    ("", 4, false),
    ("touch-required ", 0, false),
    ("no-touch-required ", 0, true),
    ("no-touch-required,touch-required ", 0, false),
    ("verify-required ", 1, false),
    ("verify-required ", 4, false),
    ("verify-required ", 5, true),
    ("verify-required,no-touch-required ", 4, true),
    ("verify-required,no-touch-required ", 0, false),
    ("verify-required,no-verify-required ", 1, true),
];

pub fn key() -> PublicKey {
    let public = *private().public_key().key_data().ed25519().unwrap();
    KeyData::SkEd25519(SkEd25519::new(public, APPLICATION)).into()
}

pub fn line(options: &str) -> String {
    format!("{options}{}\n", key().to_openssh().unwrap())
}

/// What our checker says of such a key with such a signature.
pub fn decide(options: &str, flags: u8) -> bool {
    let ring = KeyRing::read("file", line(options).as_bytes(), Enforced::all()).unwrap();
    let context = Context { peer: None, now: 1, account: None };
    let grant = ring.authorize(Offer::from(&key()), &context).unwrap();
    grant.check_presence(flags).is_ok()
}

/// Answers at this socket for as long as the process runs.
pub fn start(socket: &Path, flags: u8) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // The client hangs up when it is done.
            drop(stream.and_then(|stream| serve(stream, flags)));
        }
    });
}

fn private() -> PrivateKey {
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&[9; 32])), "").unwrap()
}

fn serve(mut stream: UnixStream, flags: u8) -> std::io::Result<()> {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request)?;
        let answer = match request[0] {
            REQUEST_IDENTITIES => [&[IDENTITIES_ANSWER, 0, 0, 0, 1][..], &string(&key().to_bytes().unwrap()), &string(b"")].concat(),
            SIGN_REQUEST => [&[SIGN_RESPONSE][..], &string(&sign(data_to_sign(&request), flags))].concat(),
            // SSH_AGENT_FAILURE
            _ => vec![5],
        };
        stream.write_all(&string(&answer))?;
    }
}

/// The second string of a sign request, after the key.
fn data_to_sign(request: &[u8]) -> &[u8] {
    let length = |at: usize| u32::from_be_bytes(request[at..at + 4].try_into().unwrap()) as usize;
    let at = 1 + 4 + length(1);
    &request[at + 4..at + 4 + length(at)]
}

fn sign(data: &[u8], flags: u8) -> Vec<u8> {
    let trailer = [flags, 0, 0, 0, 1];
    let signed = [&Sha256::digest(APPLICATION)[..], &trailer, &Sha256::digest(data)].concat();
    let signature = signature(&private(), &signed);
    [&string(TYPE.as_bytes())[..], &string(&signature), &trailer].concat()
}

/// The plain ed25519 signature: its trait is of another crate, and comes in by the bound.
fn signature(key: &impl SigningKey, message: &[u8]) -> Vec<u8> {
    key.try_sign(message).unwrap().as_bytes().to_vec()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}
