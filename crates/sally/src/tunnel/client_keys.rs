//! The keys with which a user logs in: those of an agent, and those in files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{Handle, Handler};
use russh::keys::PrivateKeyWithHashAlg;
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use ssh_key::certificate::Certificate;
use ssh_key::{HashAlg, PrivateKey, PublicKey};
use tokio::net::UnixStream;

use crate::private_key::{self, KeyError};

/// The files that are tried besides the agent, as by ssh(1).
const FILES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];
/// The most keys that are offered: sshd and Sally end a connection after six.
const OFFERS: usize = 6;
/// The user name: relays and shares know a user by the key.
const USER: &str = "sally";

/// Where a user's keys are.
#[derive(Clone, Debug)]
pub struct KeyPlaces {
    /// `--identity`: a private key, or a public one whose private key the agent has.
    pub identity: Option<PathBuf>,
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    /// The folder of the default files.
    pub folder: PathBuf,
}

/// A key, and what signs with it.
#[derive(Debug)]
enum ClientKey {
    /// A private key, and its certificate.
    File(Arc<PrivateKey>, Option<Box<Certificate>>),
    /// A key that the agent has.
    Agent(Box<AgentIdentity>),
}

/// The keys to offer, in their order.
#[derive(Debug)]
pub struct ClientKeys {
    keys: Vec<ClientKey>,
    agent: Option<PathBuf>,
}

/// How a login with all keys ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyVerdict {
    /// The key at this place was accepted.
    Accepted(usize),
    /// None was accepted.
    Refused,
    /// None was accepted, and the agent has not signed with at least one.
    Unsigned,
}

impl ClientKeys {
    /// Finds the keys. `decrypt` asks for the passphrase of a file; without `--identity` it is asked only if no other key is there.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn find(places: KeyPlaces, decrypt: impl AsyncFn(&Path, PrivateKey) -> Result<PrivateKey, String>) -> Result<Self, String> {
        let held = match &places.agent {
            Some(socket) => of_agent(socket).await.unwrap_or_default(), // An agent that is gone has no keys.
            None => Vec::new(),
        };
        let keys = match &places.identity {
            Some(file) => vec![named(file, held, &decrypt).await?],
            None => all(&places.folder, held, &decrypt).await?,
        };
        if keys.is_empty() {
            return Err("there is no key: start an agent that has one, or name a file with --identity".into());
        }
        Ok(Self { keys, agent: places.agent })
    }

    /// Offers the keys one by one, the one at `first` before the others.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn log_in<H: Handler>(&self, handle: &mut Handle<H>, first: usize) -> Result<KeyVerdict, russh::Error> {
        let mut verdict = KeyVerdict::Refused;
        let others = (0..self.keys.len()).filter(|place| *place != first);
        for place in std::iter::once(first).chain(others).take(OFFERS) {
            let Some(key) = self.keys.get(place) else { continue };
            match self.offer(handle, key).await? {
                Some(true) => return Ok(KeyVerdict::Accepted(place)),
                Some(false) => {}
                None => verdict = KeyVerdict::Unsigned,
            }
            if handle.is_closed() {
                return Err(russh::Error::Disconnect);
            }
        }
        Ok(verdict)
    }

    /// Offers one key; returns whether it was accepted, or nothing if the agent has not signed.
    async fn offer<H: Handler>(&self, handle: &mut Handle<H>, key: &ClientKey) -> Result<Option<bool>, russh::Error> {
        let result = match key {
            ClientKey::File(key, Some(certificate)) => {
                handle.authenticate_openssh_cert(USER, Arc::clone(key), certificate.as_ref().clone()).await?
            }
            ClientKey::File(key, None) => {
                let hash = hash(handle, key.public_key()).await?;
                handle.authenticate_publickey(USER, PrivateKeyWithHashAlg::new(Arc::clone(key), hash)).await?
            }
            ClientKey::Agent(identity) => {
                let Some(mut agent) = self.connect(handle).await else { return Ok(None) };
                let offered = match identity.as_ref() {
                    AgentIdentity::PublicKey { key, .. } => {
                        let hash = hash(handle, key).await?;
                        handle.authenticate_publickey_with(USER, key.clone(), hash, &mut agent).await
                    }
                    AgentIdentity::Certificate { certificate, .. } => {
                        let hash = hash(handle, &PublicKey::from(certificate.public_key().clone())).await?;
                        handle.authenticate_certificate_with(USER, certificate.clone(), hash, &mut agent).await
                    }
                };
                // It may be locked, or its user has said no.
                let Ok(result) = offered else { return Ok(None) };
                result
            }
        };
        Ok(Some(result.success()))
    }

    /// Connects to the agent for one signature; keys that it may use for named hosts only need to know the connection.
    async fn connect<H: Handler>(&self, handle: &Handle<H>) -> Option<AgentClient<UnixStream>> {
        let mut agent = AgentClient::connect_uds(self.agent.as_ref()?).await.ok()?;
        if let Some(binding) = handle.agent_session_binding() {
            let _ = agent.bind_session(binding, false).await; // Other agents than OpenSSH's don't know the request.
        }
        Some(agent)
    }
}

/// Returns the hash of an RSA key's signatures; other keys have none.
async fn hash<H: Handler>(handle: &Handle<H>, key: &PublicKey) -> Result<Option<HashAlg>, russh::Error> {
    match key.algorithm() {
        ssh_key::Algorithm::Rsa { .. } => Ok(handle.best_supported_rsa_hash().await?.unwrap_or(Some(HashAlg::Sha512))),
        _ => Ok(None),
    }
}

async fn of_agent(socket: &Path) -> Option<Vec<AgentIdentity>> {
    AgentClient::connect_uds(socket).await.ok()?.request_identities().await.ok()
}

fn public(identity: &AgentIdentity) -> PublicKey {
    match identity {
        AgentIdentity::PublicKey { key, .. } => key.clone(),
        AgentIdentity::Certificate { certificate, .. } => certificate.public_key().clone().into(),
    }
}

/// Returns the key of a file that the user named.
async fn named(
    file: &Path,
    held: Vec<AgentIdentity>,
    decrypt: &impl AsyncFn(&Path, PrivateKey) -> Result<PrivateKey, String>,
) -> Result<ClientKey, String> {
    let unusable = |reason: String| format!("the key of {} can't be used: {reason}", file.display());
    let text = std::fs::read(file).map_err(|error: io::Error| unusable(crate::term::reason(&error)))?;
    let of_agent = |key: &PublicKey| held.iter().find(|identity| public(identity).key_data() == key.key_data()).cloned();
    if let Some(key) = std::str::from_utf8(&text).ok().and_then(|text| PublicKey::from_openssh(text.trim()).ok()) {
        return of_agent(&key).map(of).ok_or_else(|| unusable("it is a public key, and no agent has its private key".into()));
    }
    match private_key::parse(&text) {
        Ok(key) if is_of_security_key(&key) => {
            of_agent(key.public_key()).map(of).ok_or_else(|| unusable("it is a security key's: add it to an agent with ssh-add".into()))
        }
        Ok(key) => Ok(ClientKey::File(Arc::new(key), certificate(file))),
        Err(KeyError::Encrypted) => {
            let key = PrivateKey::from_openssh(&text).map_err(|error| unusable(error.to_string()))?;
            match of_agent(key.public_key()) {
                Some(identity) => Ok(of(identity)),
                None => Ok(ClientKey::File(Arc::new(decrypt(file, key).await.map_err(unusable)?), certificate(file))),
            }
        }
        Err(error) => Err(unusable(error.to_string())),
    }
}

/// Returns the keys of the agent, then those of the default files.
async fn all(
    folder: &Path,
    held: Vec<AgentIdentity>,
    decrypt: &impl AsyncFn(&Path, PrivateKey) -> Result<PrivateKey, String>,
) -> Result<Vec<ClientKey>, String> {
    let (mut keys, mut encrypted) = (Vec::new(), Vec::new());
    for file in FILES.map(|name| folder.join(name)) {
        // What can't be read or parsed is no key of this user; ssh(1) passes over it too.
        let Some(key) = std::fs::read(&file).ok().and_then(|text| PrivateKey::from_openssh(text).ok()) else { continue };
        if held.iter().any(|identity| public(identity).key_data() == key.public_key().key_data()) {
            continue;
        }
        if key.is_encrypted() {
            encrypted.push((file, key));
        } else {
            keys.push(ClientKey::File(Arc::new(key), certificate(&file)));
        }
    }
    keys.splice(0..0, held.into_iter().map(of));
    if keys.is_empty()
        && let Some((file, key)) = encrypted.into_iter().next()
    {
        let certificate = certificate(&file);
        let key = decrypt(&file, key).await.map_err(|reason| format!("the key of {} can't be used: {reason}", file.display()))?;
        keys.push(ClientKey::File(Arc::new(key), certificate));
    }
    Ok(keys)
}

fn of(identity: AgentIdentity) -> ClientKey {
    ClientKey::Agent(Box::new(identity))
}

fn is_of_security_key(key: &PrivateKey) -> bool {
    matches!(key.algorithm(), ssh_key::Algorithm::SkEd25519 | ssh_key::Algorithm::SkEcdsaSha2NistP256)
}

/// Returns the certificate beside a key's file, as ssh(1) finds it.
fn certificate(file: &Path) -> Option<Box<Certificate>> {
    let mut beside = file.as_os_str().to_owned();
    beside.push("-cert.pub");
    Certificate::from_openssh(std::fs::read_to_string(beside).ok()?.trim()).ok().map(Box::new)
}
