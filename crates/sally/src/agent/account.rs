//! Chooses the account that sessions run as, and checks that it can't read the device's secrets.

use std::path::Path;

use sally_proto::error::Fault;

use super::bundle::invalid;
use crate::fleet::bundle::SECRETS;
use crate::session::account::{Account, RunAs, can_alter, can_read};
use crate::term;

/// The default account for sessions of an agent started as root: a number that no distribution assigns (systemd's list of user numbers
/// calls it unused), and not a jail's, which may be on the same device.
const NOBODYS: &str = "65533";

/// Returns the account that sessions run as; `None`, with a warning, if it is the agent's own.
pub(super) fn for_sessions(bundle: &Path, records: &Path, named: Option<&str>) -> Result<Option<RunAs>, Fault> {
    let root = rustix::process::geteuid().is_root();
    let run_as = match (named, root) {
        (Some(user), _) => Some(RunAs::find(user)?),
        (None, true) => Some(RunAs::find(NOBODYS)?),
        (None, false) => None,
    };
    match run_as.filter(|run_as| !run_as.is_ours()) {
        Some(run_as) => {
            run_as.ask(|| keys_are_safe(bundle, records, run_as.named()))??;
            Ok(Some(run_as))
        }
        None => {
            warn(bundle);
            Ok(None)
        }
    }
}

/// Checks that the device's secrets are safe. Must run as the account that sessions run as.
fn keys_are_safe(bundle: &Path, records: &Path, account: &str) -> Result<(), Fault> {
    let refused = |what: &Path, may: &str| Err(invalid(what, format!("sessions run as {account}, who can {may} it")));
    if let Some(file) = SECRETS.map(|name| bundle.join(name)).iter().find(|file| can_read(file)) {
        return refused(file, "read");
    }
    match [bundle, records].into_iter().find(|folder| can_alter(folder)) {
        Some(folder) => refused(folder, "write to"),
        None => Ok(()),
    }
}

fn warn(bundle: &Path) {
    term::warn(&format!(
        "sessions run as {}, the agent's own account: a visitor can copy this device's keys, and act as this device after the visitor's \
         certificate has ended. Start the agent as root, with run_as = \"USER\" in {}",
        Account::current(None, None).name,
        bundle.join("agent.toml").display()
    ));
}
