//! Who sessions run as, and that this account can't read what makes the device.

use std::path::Path;

use sally_proto::error::Fault;

use super::bundle::invalid;
use crate::fleet::bundle::SECRETS;
use crate::session::account::{Account, RunAs, can_alter, can_read};
use crate::term;

/// Whom sessions of an agent become that root has started, where nothing is said: a number that no distribution gives away (systemd's list of
/// them calls it unused), and another one than a jail's, which can so be on the same device.
const NOBODYS: &str = "65533";

/// The account that sessions run as; nothing where it is the agent's own, which is said loudly.
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

/// To be asked as the account that sessions run as.
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
        "sessions run as {}, the agent's own account: a visitor can copy this device's keys, and be this device after their own certificate has \
         ended. Start the agent as root, with run_as = \"USER\" in {}",
        Account::current(None, None).name,
        bundle.join("agent.toml").display()
    ));
}
