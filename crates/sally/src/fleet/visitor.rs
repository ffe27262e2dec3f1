//! `sally fleet visitor add`.

use std::path::Path;

use sally_proto::authority::Role;
use sally_proto::error::Fault;
use ssh_key::{Algorithm, PublicKey};

use super::authority::{Authority, Subject, certificate_line};
use super::cmd::VisitorAddArgs;
use super::files::{self, PUBLIC};
use super::ledger::{Holder, Ledger, LedgerAction};
use super::settings::FleetSettings;
use super::{FleetFolder, authority_file, init, invalid};
use crate::clock::unix_time_or_expired;
use crate::term;

/// The permissions of a visitor on a device, and forwarding, which relays require. No X11: it gives the device access to the visitor's
/// screen and keyboard.
const EXTENSIONS: [&str; 4] = ["permit-agent-forwarding", "permit-port-forwarding", "permit-pty", "permit-user-rc"];
/// The longest name of a visitor, in bytes.
const NAME_MAX: usize = 64;

pub(super) fn add(args: VisitorAddArgs) -> Result<(), Fault> {
    let fleet = FleetFolder::at(&args.fleet);
    let key = read_public_key(&args.key)?;
    let name = args.name.unwrap_or_else(|| args.key.file_stem().unwrap_or_default().to_string_lossy().into_owned());
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte)) {
        return Err(Fault::Usage(format!("a visitor's name is 1 to {NAME_MAX} letters, digits and ._@+-: add --name NAME")));
    }
    let out = args.out.unwrap_or_else(|| args.key.with_extension("").with_file_name(format!("{}-cert.pub", stem(&args.key))));
    let mut ledger = Ledger::open(&fleet)?;
    let serial = ledger.next_serial();
    let at = unix_time_or_expired();
    let until = at.saturating_add(args.valid.as_secs());
    let patterns: Vec<String> = args.patterns.iter().map(|pattern| pattern.0.clone()).collect();
    let subject = Subject { serial, key_id: &name, principals: &patterns, extensions: &EXTENSIONS, until: Some(until) };
    let certificate = Authority::load(&fleet, Role::Visitor)?.certify(&key, &subject)?;
    ledger
        .write_at(at, LedgerAction::Certified { serial, holder: Holder::Visitor, name, patterns: patterns.clone(), until: Some(until) })?;
    files::replace(&out, certificate_line(&certificate)?, PUBLIC)?;
    term::say(&format!("Put {} beside the visitor's private key. The line for the visitor's known_hosts:", out.display()));
    let known = known_hosts(&fleet, &patterns)?;
    term::data(known.trim_end()).map_err(|error| Fault::Unwritable { file: "stdout".into(), reason: term::reason(&error) })
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the line of known_hosts by which a stock ssh trusts the relays, and the devices that this visitor may reach.
fn known_hosts(fleet: &FleetFolder, patterns: &[String]) -> Result<String, Fault> {
    let settings = FleetSettings::load(&fleet.relay("fleet.toml"))?;
    let authority = files::read_text(&fleet.relay(&format!("{}.pub", authority_file(Role::Host))))?;
    let relays = settings.relay.iter().map(|relay| format!("[{}]:{}", relay.host(), relay.port()));
    let names: Vec<_> = relays.chain(init::host_names(&settings.relay)).chain(patterns.iter().cloned()).collect();
    Ok(format!("@cert-authority {} {authority}", names.join(",")))
}

/// Reads a public key from a file; its type must be one that sshd accepts.
pub(super) fn read_public_key(file: &Path) -> Result<PublicKey, Fault> {
    let text = files::read_text(file)?;
    if text.contains("PRIVATE KEY") {
        return Err(invalid(file, "it is a private key: name the .pub file, and keep this one to its owner"));
    }
    let key = PublicKey::from_openssh(text.trim()).map_err(|error| invalid(file, error))?;
    match key.algorithm() {
        Algorithm::Dsa | Algorithm::Other(_) => Err(invalid(file, "keys of that type are not accepted")),
        _ if key.key_data().is_certificate() => Err(invalid(file, "it is a certificate: name the public key itself")),
        _ => Ok(key),
    }
}
