//! `sally fleet add`.

use sally_proto::authority::Role;
use sally_proto::error::Fault;
use sally_proto::id::DeviceId;
use serde::{Deserialize, Serialize};
use ssh_key::PublicKey;

use super::authority::{Authority, Subject, fresh_key};
use super::bundle::{HostKeyFile, NewBundle};
use super::cmd::AddArgs;
use super::files::{self, Draft, PUBLIC};
use super::ledger::{Holder, Ledger, LedgerAction};
use super::settings::FleetSettings;
use super::tls::TlsAuthority;
use super::visitor::read_public_key;
use super::{FleetFolder, authority_file, revoke};
use crate::term;

/// The major version of each line of `relay/devices`.
pub(super) const VERSION: u32 = 1;
/// The permissions of a device: it may register its name on a relay, and nothing else.
const EXTENSIONS: [&str; 1] = ["permit-port-forwarding"];

/// Whether a device is part of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceStanding {
    /// It is part of the fleet.
    Active,
    /// It was part of the fleet.
    Revoked,
}

/// A line of `relay/devices`. The last line of a device counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DeviceLine {
    pub(super) v: u32,
    pub(super) id: DeviceId,
    pub(super) serial: u64,
    pub(super) state: DeviceStanding,
}

impl DeviceLine {
    pub(super) fn append(fleet: &FleetFolder, id: &DeviceId, serial: u64, state: DeviceStanding) -> Result<(), Fault> {
        let line = Self { v: VERSION, id: id.clone(), serial, state };
        let text = serde_json::to_string(&line).map_err(super::authority::internal)?;
        files::append(&fleet.relay("devices"), &text, PUBLIC)
    }
}

pub(super) fn run(args: AddArgs) -> Result<(), Fault> {
    let fleet = FleetFolder::at(&args.fleet);
    let own_host_key = args.host_key.as_deref().map(read_public_key).transpose()?;
    // sshd runs the script in the folder as the account nobody; secret files have their own modes.
    let draft = Draft::begin(&args.out, 0o755)?;
    let mut ledger = Ledger::open(&fleet)?;
    let valid = ledger.of(Holder::Device, args.id.as_str()).filter(|entry| entry.revoked.is_none());
    let replaced: Vec<u64> = valid.map(|entry| entry.serial).collect();
    if !replaced.is_empty() && !args.replace {
        return Err(Fault::Exists { file: args.id.to_string() });
    }
    let serial = ledger.next_serial();
    let bundle = certify(&fleet, &args, own_host_key, serial)?;
    let name = args.id.to_string();
    ledger.write(LedgerAction::Certified { serial, holder: Holder::Device, name, patterns: Vec::new(), until: None })?;
    bundle.write(draft.folder())?;
    draft.keep()?;
    // This comes last: a relay and a broker that read it disconnect the old bundle.
    DeviceLine::append(&fleet, &args.id, serial, DeviceStanding::Active)?;
    if !replaced.is_empty() {
        replaced.into_iter().try_for_each(|serial| ledger.write(LedgerAction::Revoked { serial }))?;
        revoke::write_lists(&fleet, &ledger)?;
    }
    let (out, installed) = (args.out.display(), &args.installed);
    term::say(&format!("Copy {out} to {}, as {installed}: it is the only copy of the device's keys.", args.id));
    term::say(&format!(
        "An account that can read its device_key, tls.key or ssh_host_key can act as {}: don't let a visitor's account read them.",
        args.id
    ));
    Ok(())
}

fn certify<'a>(fleet: &FleetFolder, args: &'a AddArgs, own_host_key: Option<PublicKey>, serial: u64) -> Result<NewBundle<'a>, Fault> {
    let settings = FleetSettings::load(&fleet.relay("fleet.toml"))?;
    let key = fresh_key(&format!("sally device {}", args.id))?;
    let host_key = match own_host_key {
        Some(key) => HostKeyFile::Own(key),
        None => HostKeyFile::Fresh(Box::new(fresh_key(&format!("sally host {}", args.id))?)),
    };
    let principals = [args.id.to_string()];
    let subject = Subject { serial, key_id: args.id.as_str(), principals: &principals, extensions: &EXTENSIONS, until: None };
    let certificate = Authority::load(fleet, Role::Device)?.certify(key.public_key(), &subject)?;
    let host_subject = Subject { extensions: &[], ..subject };
    let host_certificate = Authority::load(fleet, Role::Host)?.certify(host_key.public(), &host_subject)?;
    let public = |role| fleet.relay(&format!("{}.pub", authority_file(role)));
    Ok(NewBundle {
        id: &args.id,
        settings,
        to: args.to.clone(),
        installed: args.installed.trim_end_matches('/'),
        key,
        certificate,
        host_key,
        host_certificate,
        tls: TlsAuthority::load(fleet)?.device(args.id.as_str(), serial)?,
        tls_authority: files::read(&fleet.relay("tls_ca.pem"))?,
        wake_keys: files::read(&fleet.relay("wake.pub"))?,
        visitor_authority: files::read(&public(Role::Visitor))?,
        host_authority: files::read_text(&public(Role::Host))?,
        revoked: files::read(&fleet.relay("revoked"))?,
    })
}
