//! The settings that once, relay and jail share: what a server presents before authentication, and how it treats addresses.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sally_proto::error::Fault;

use crate::host_key::keys::HostKeys;
use crate::net::admission::Origins;
use crate::term;

/// The longest banner, in bytes: several pages of legal text. Each client gets it before authentication.
pub const BANNER_MAX: u64 = 64 << 10;

/// The options for what clients see before authentication, and for clients that are refused in any case.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The files of host keys.
    pub host_keys: Vec<PathBuf>,
    /// The files of their certificates.
    pub host_certificates: Vec<PathBuf>,
    /// Whether only post-quantum key exchange is offered.
    pub post_quantum_only: bool,
    /// The file of the banner, which is shown before authentication.
    pub banner: Option<PathBuf>,
    /// The file of keys and certificates that are refused.
    pub revoked_keys: Option<PathBuf>,
    /// The addresses exempt from penalties, and those of load balancers.
    pub origins: Origins,
}

/// The settings that every connection of a server shares.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The host keys.
    pub host_keys: HostKeys,
    /// The banner, which is shown before authentication.
    pub banner: Option<Arc<str>>,
    /// Whether only post-quantum key exchange is offered.
    pub post_quantum_only: bool,
    /// The addresses exempt from penalties, and those of load balancers.
    pub origins: Origins,
}

impl ServerSettings {
    /// Reads the files that the options name, except keys.
    ///
    /// # Errors
    /// [`Fault::BannerInvalid`].
    pub fn load(options: &ServerOptions, host_keys: HostKeys) -> Result<Self, Fault> {
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
    // RFC 4252 section 5.4: the banner is UTF-8. The operator is responsible for its content, control characters included.
    String::from_utf8(bytes).map(Into::into).map_err(|_| invalid("it is not UTF-8".into()))
}
