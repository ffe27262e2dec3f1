//! `sally fleet revoke`.

use sally_proto::error::Fault;
use sally_proto::id::DeviceId;

use super::cmd::RevokeArgs;
use super::device::{DeviceLine, DeviceStanding};
use super::files::{self, PUBLIC};
use super::ledger::{Holder, Ledger, LedgerAction, LedgerEntry};
use super::tls::TlsAuthority;
use super::{FleetFolder, authority};
use crate::term;

pub(super) fn run(args: RevokeArgs) -> Result<(), Fault> {
    let fleet = FleetFolder::at(&args.fleet);
    let mut ledger = Ledger::open(&fleet)?;
    let chosen = |entry: &&LedgerEntry| match (&args.device, &args.visitor, args.serial) {
        (Some(id), ..) => entry.holder == Holder::Device && entry.name == id.as_str(),
        (_, Some(name), _) => entry.holder == Holder::Visitor && entry.name == *name,
        // A relay's own certificates are replaced by a new fleet: with a revoked one, no relay would start.
        (.., Some(serial)) => entry.holder != Holder::Relay && entry.serial == serial,
        _ => false,
    };
    let chosen: Vec<LedgerEntry> = ledger.entries().filter(chosen).cloned().collect();
    if chosen.is_empty() {
        let device = args.device.as_ref().map(ToString::to_string);
        let name = device.or(args.visitor).unwrap_or_else(|| format!("number {}", args.serial.unwrap_or_default()));
        return Err(Fault::NotInFleet { name });
    }
    for entry in chosen.iter().filter(|entry| entry.revoked.is_none()) {
        ledger.write(LedgerAction::Revoked { serial: entry.serial })?;
    }
    // The lists are written again even if nothing is new: an earlier run may have failed before this.
    write_lists(&fleet, &ledger)?;
    for entry in chosen.iter().filter(|entry| entry.holder == Holder::Device) {
        leave(&fleet, &ledger, entry)?;
    }
    let numbers: Vec<_> = chosen.iter().map(|entry| entry.serial.to_string()).collect();
    term::say(&format!("Revoked: {}. Copy {}/relay to the relays again.", numbers.join(", "), args.fleet.display()));
    Ok(())
}

/// Writes both revocation lists from the ledger.
pub(super) fn write_lists(fleet: &FleetFolder, ledger: &Ledger) -> Result<(), Fault> {
    files::replace(&fleet.relay("revoked"), authority::krl(fleet, ledger)?, PUBLIC)?;
    files::replace(&fleet.relay("tls.crl"), TlsAuthority::load(fleet)?.crl(ledger)?, PUBLIC)
}

/// Marks a device as revoked if none of its certificates is valid any more.
fn leave(fleet: &FleetFolder, ledger: &Ledger, entry: &LedgerEntry) -> Result<(), Fault> {
    if ledger.of(Holder::Device, &entry.name).any(|other| other.revoked.is_none()) {
        return Ok(());
    }
    let id = DeviceId::parse(&entry.name).map_err(|error| Fault::Internal(error.to_string()))?;
    let newest = ledger.of(Holder::Device, &entry.name).map(|entry| entry.serial).max().unwrap_or(entry.serial);
    DeviceLine::append(fleet, &id, newest, DeviceStanding::Revoked)
}
