//! What a server shows of itself, and what it knows of addresses before it knows who comes: the same for once, relay and jail.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sally_proto::error::Fault;

use crate::host_key::keys::HostKeys;
use crate::net::admission::Origins;
use crate::term;

/// The longest text shown before authentication: a page of law, several times over. Each stranger gets it.
pub const BANNER_MAX: u64 = 64 << 10;

/// What clients see of a server before anything else, and whom it refuses whatever they may.
#[derive(Clone, Debug)]
pub struct DoorOptions {
    /// Host keys of the user's own.
    pub host_keys: Vec<PathBuf>,
    /// Certificates for them.
    pub host_certificates: Vec<PathBuf>,
    /// Post-quantum key exchange alone.
    pub post_quantum_only: bool,
    /// What is shown before authentication.
    pub banner: Option<PathBuf>,
    /// Keys and certificates that are refused.
    pub revoked_keys: Option<PathBuf>,
    /// What is known of addresses that connections come from.
    pub origins: Origins,
}

/// What is the same for every connection of a door, a relay or a jail.
#[derive(Clone, Debug)]
pub struct DoorSettings {
    /// The keys that it shows.
    pub host_keys: HostKeys,
    /// What it shows before authentication.
    pub banner: Option<Arc<str>>,
    /// Post-quantum key exchange alone.
    pub post_quantum_only: bool,
    /// What is known of addresses.
    pub origins: Origins,
}

impl DoorSettings {
    /// Reads what the options name, the keys aside.
    ///
    /// # Errors
    /// [`Fault::BannerInvalid`].
    pub fn load(options: &DoorOptions, host_keys: HostKeys) -> Result<Self, Fault> {
        Ok(Self {
            host_keys,
            banner: options.banner.as_deref().map(read_banner).transpose()?,
            post_quantum_only: options.post_quantum_only,
            origins: options.origins.clone(),
        })
    }
}

fn read_banner(file: &Path) -> Result<Arc<str>, Fault> {
    let invalid = |reason: String| Fault::BannerInvalid { file: file.display().to_string(), reason };
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(file)?.take(BANNER_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| invalid(term::reason(&error)))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > BANNER_MAX {
        return Err(invalid(format!("longer than {BANNER_MAX} bytes")));
    }
    // RFC 4252 section 5.4: what is shown is UTF-8. What is in it, control characters too, is the operator's own affair.
    String::from_utf8(bytes).map(Into::into).map_err(|_| invalid("it is no UTF-8".into()))
}
