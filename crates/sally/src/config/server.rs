//! The options that once, relay and jail share.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cli::{DoorArgs, KeyArgs};
use crate::keys::Source;
use crate::net::admission::Origins;
use crate::server_settings::DoorOptions;

/// The variable that holds keys.
pub(super) const AUTHORIZED_KEYS: &str = "AUTHORIZED_KEYS";

impl From<DoorArgs> for DoorOptions {
    fn from(args: DoorArgs) -> Self {
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

pub(super) fn source_file(file: PathBuf) -> Source {
    if file == Path::new("-") { Source::Stdin } else { Source::File(file) }
}

pub(super) fn sources(args: &KeyArgs, variable: Option<OsString>) -> Vec<Source> {
    let files = args.authorized_keys.iter().cloned().map(source_file);
    let users = args.github.iter().map(|user| Source::Url { user: user.clone(), template: args.keys_url.clone(), rules: Vec::new() });
    files.chain(users).chain(variable.map(Source::Env)).collect()
}
