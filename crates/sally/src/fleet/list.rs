//! `sally fleet list`.

use sally_proto::calendar::utc_minute;
use sally_proto::error::Fault;
use serde_json::json;

use super::FleetFolder;
use super::cmd::ListArgs;
use super::ledger::{Holder, Ledger, LedgerEntry};
use crate::clock::unix_time_or_expired;
use crate::term;

pub(super) fn run(args: ListArgs) -> Result<(), Fault> {
    let ledger = Ledger::open(&FleetFolder::at(&args.fleet))?;
    for entry in ledger.entries() {
        let line = if args.json { as_json(entry) } else { as_text(entry) };
        let more = term::listed(&line).map_err(|error| Fault::Unwritable { file: "stdout".into(), reason: term::reason(&error) })?;
        if !more {
            break;
        }
    }
    Ok(())
}

fn kind(holder: Holder) -> &'static str {
    match holder {
        Holder::Device => "device",
        Holder::Visitor => "visitor",
        Holder::Relay => "relay",
    }
}

fn state(entry: &LedgerEntry) -> &'static str {
    match entry {
        LedgerEntry { revoked: Some(_), .. } => "revoked",
        LedgerEntry { until: Some(until), .. } if *until <= unix_time_or_expired() => "expired",
        _ => "valid",
    }
}

fn as_text(entry: &LedgerEntry) -> String {
    let patterns = if entry.patterns.is_empty() { String::new() } else { format!(" for {}", entry.patterns.join(",")) };
    let until = entry.until.map(|until| format!(" until {} UTC", utc_minute(until))).unwrap_or_default();
    let since = utc_minute(entry.since);
    format!("{:>6} {:8} {:8} {}{patterns}, since {since} UTC{until}", entry.serial, kind(entry.holder), state(entry), entry.name)
}

fn as_json(entry: &LedgerEntry) -> String {
    json!({
        "serial": entry.serial,
        "kind": kind(entry.holder),
        "name": entry.name,
        "state": state(entry),
        "for": entry.patterns,
        "since": entry.since,
        "until": entry.until,
        "revoked": entry.revoked,
    })
    .to_string()
}
