//! The configuration of `sally join`.

use std::path::PathBuf;

use sally_proto::error::Fault;
use sally_proto::share::JoinLinkError;

use super::once::trust;
use crate::cli::JoinArgs;
use crate::join::JoinConfig;
use crate::tunnel::client_keys::KeyPlaces;
use crate::variables::Variables;

/// Resolves the arguments of `join`, and the environment.
///
/// # Errors
/// [`Fault::JoinLink`].
pub fn of_join(args: JoinArgs, variables: &Variables) -> Result<JoinConfig, Fault> {
    let given = |name| variables.get(name).filter(|value| !value.is_empty());
    let home = PathBuf::from(given("HOME").unwrap_or_default());
    Ok(JoinConfig {
        link: args.link.parse().map_err(|error: JoinLinkError| Fault::JoinLink(error.to_string()))?,
        relay: trust(args.relay_host_key, variables),
        keys: KeyPlaces { identity: args.identity, agent: given("SSH_AUTH_SOCK").map(PathBuf::from), folder: home.join(".ssh") },
        term: given("TERM").map_or_else(|| "dumb".into(), |term| term.to_string_lossy().into_owned()),
    })
}
