//! `sally fleet init`.

use sally_proto::authority::Role;
use sally_proto::error::Fault;
use sally_proto::host_port::HostPort;
use sally_proto::krl::Krl;
use sally_proto::wake::ADDRESSES_MAX;

use super::authority::{Authority, Subject, certificate_line, fresh_key, internal, private_text, public_line};
use super::cmd::InitArgs;
use super::files::{Draft, PRIVATE, PUBLIC, make_folder, write_new};
use super::ledger::{Holder, Ledger, LedgerAction};
use super::settings::{BrokerUrl, FleetSettings};
use super::tls::{RELAY_NAME, TlsAuthority};
use super::{FleetFolder, authority_file};
use crate::clock::unix_time_or_expired;
use crate::term;

pub(super) fn run(args: InitArgs) -> Result<(), Fault> {
    if args.relay.len() > ADDRESSES_MAX {
        return Err(Fault::Usage(format!("a fleet has at most {ADDRESSES_MAX} addresses of relays")));
    }
    let draft = Draft::begin(&args.fleet, 0o700)?;
    let fleet = FleetFolder::at(draft.folder());
    make_folder(&fleet.root.join("ca"), 0o700)?;
    make_folder(&fleet.root.join("relay"), 0o700)?;
    write_new(&fleet.ca("ledger"), "", PRIVATE)?;
    let broker = match (args.broker, args.relay.first()) {
        (Some(broker), _) => broker,
        (None, Some(relay)) => BrokerUrl::of_relay(relay)?,
        (None, None) => return Err(Fault::Usage("a fleet needs a relay: add --relay HOST:PORT".into())),
    };
    let settings = FleetSettings { relay: args.relay, broker };
    write_new(&fleet.relay("fleet.toml"), settings.text(), PUBLIC)?;
    write_new(&fleet.relay("devices"), "", PUBLIC)?;
    let host_authority = authorities(&fleet)?;
    let mut ledger = Ledger::open(&fleet)?;
    let serial = ledger.next_serial();
    ledger.write(LedgerAction::Certified { serial, holder: Holder::Relay, name: RELAY_NAME.into(), patterns: Vec::new(), until: None })?;
    relay_identity(&fleet, &host_authority, &settings, serial)?;
    tls(&fleet, &settings, &ledger, serial)?;
    wake_key(&fleet)?;
    let empty = Krl::new(1, unix_time_or_expired()).encode().map_err(internal)?;
    write_new(&fleet.relay("revoked"), empty, PUBLIC)?;
    drop(ledger);
    draft.keep()?;
    let root = args.fleet.display();
    term::say(&format!("Copy {root}/relay to the relays. {root}/ca has the authorities' private keys: keep it here, and make a backup."));
    Ok(())
}

/// Creates the three SSH authorities, and returns the one for host keys.
fn authorities(fleet: &FleetFolder) -> Result<Authority, Fault> {
    for role in [Role::Device, Role::Visitor] {
        keep(fleet, &Authority::fresh(role)?, role)?;
    }
    let hosts = Authority::fresh(Role::Host)?;
    keep(fleet, &hosts, Role::Host)?;
    Ok(hosts)
}

fn keep(fleet: &FleetFolder, authority: &Authority, role: Role) -> Result<(), Fault> {
    let name = authority_file(role);
    let public = public_line(authority.key().public_key())?;
    write_new(&fleet.ca(name), private_text(authority.key())?, PRIVATE)?;
    write_new(&fleet.ca(&format!("{name}.pub")), &public, PUBLIC)?;
    write_new(&fleet.relay(&format!("{name}.pub")), &public, PUBLIC)
}

/// Creates the host key that all relays of the fleet share, and its certificate.
fn relay_identity(fleet: &FleetFolder, hosts: &Authority, settings: &FleetSettings, serial: u64) -> Result<(), Fault> {
    let key = fresh_key("sally relay")?;
    let principals = host_names(&settings.relay);
    let subject = Subject { serial, key_id: RELAY_NAME, principals: &principals, extensions: &[], until: None };
    let certificate = hosts.certify(key.public_key(), &subject)?;
    write_new(&fleet.relay("host_key"), private_text(&key)?, PRIVATE)?;
    write_new(&fleet.relay("host_key.pub"), public_line(key.public_key())?, PUBLIC)?;
    write_new(&fleet.relay("host_key-cert.pub"), certificate_line(&certificate)?, PUBLIC)
}

fn tls(fleet: &FleetFolder, settings: &FleetSettings, ledger: &Ledger, serial: u64) -> Result<(), Fault> {
    let (authority, own) = TlsAuthority::fresh()?;
    write_new(&fleet.ca("tls_ca.key"), own.key, PRIVATE)?;
    write_new(&fleet.ca("tls_ca.pem"), &own.certificate, PUBLIC)?;
    write_new(&fleet.relay("tls_ca.pem"), &own.certificate, PUBLIC)?;
    // A broker beside the relays uses the same certificate, under its own name.
    let servers: Vec<_> = settings.relay.iter().chain([settings.broker.address()]).cloned().collect();
    let relay = authority.relay(host_names(&servers), serial)?;
    write_new(&fleet.relay("tls.pem"), relay.certificate, PUBLIC)?;
    write_new(&fleet.relay("tls.key"), relay.key, PRIVATE)?;
    write_new(&fleet.relay("tls.crl"), authority.crl(ledger)?, PUBLIC)
}

fn wake_key(fleet: &FleetFolder) -> Result<(), Fault> {
    let key = fresh_key("sally wake")?;
    write_new(&fleet.relay("wake_key"), private_text(&key)?, PRIVATE)?;
    write_new(&fleet.relay("wake.pub"), public_line(key.public_key())?, PUBLIC)
}

/// Returns the hosts of addresses, each once.
pub(super) fn host_names(addresses: &[HostPort]) -> Vec<String> {
    let mut hosts: Vec<String> = addresses.iter().map(|address| address.host().to_owned()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}
