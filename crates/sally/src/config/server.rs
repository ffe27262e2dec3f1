//! The options that once, relay and jail share.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cli::{ConnectionArgs, KeyArgs};
use crate::keys::KeySource;
use crate::net::admission::Origins;
use crate::server_settings::ServerOptions;

/// The variable that holds keys.
pub(super) const AUTHORIZED_KEYS: &str = "AUTHORIZED_KEYS";

impl From<ConnectionArgs> for ServerOptions {
    fn from(args: ConnectionArgs) -> Self {
        Self {
            host_keys: args.host_key,
            host_certificates: args.host_cert,
            post_quantum_only: args.pq_only,
            banner: args.banner,
            revoked_keys: args.revoked_keys,
            origins: Origins { exempt: args.penalty_exempt, proxies: args.proxy_protocol },
        }
    }
}

pub(super) fn source_file(file: PathBuf) -> KeySource {
    if file == Path::new("-") { KeySource::Stdin } else { KeySource::File(file) }
}

pub(super) fn sources(args: &KeyArgs, variable: Option<OsString>) -> Vec<KeySource> {
    let files = args.authorized_keys.iter().cloned().map(source_file);
    let users = args.github.iter().map(|user| KeySource::Url { user: user.clone(), template: args.keys_url.clone(), rules: Vec::new() });
    files.chain(users).chain(variable.map(KeySource::Env)).collect()
}
