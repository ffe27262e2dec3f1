//! A fleet on disk: its authorities, what they certify, and the folders that go to relays and devices.
//!
//! `FLEET/ca` holds the private keys of the authorities and the ledger of what they signed; it never leaves the operator. `FLEET/relay` goes to
//! every relay, a bundle to one device. docs/wire.md describes each file.
//!
//! - `cmd`: the arguments of `sally fleet`
//! - `files`: written whole or not at all, nothing overwritten that can't be made again
//! - `settings`: `relay/fleet.toml` and the bundle's `agent.toml`
//! - `ledger`: what was certified and revoked, in order
//! - `authority`, `tls`: certificates of the two kinds, and their revocation lists
//! - `init`, `device`, `bundle`, `visitor`, `revoke`, `rotate`, `list`: one subcommand each; `bundle` is what a device gets
//! - `relay_dir`: `FLEET/relay` as a relay reads it, and what it refuses there

mod authority;
pub mod bundle;
pub mod cmd;
mod device;
mod files;
mod init;
mod ledger;
mod list;
pub mod relay_dir;
mod revoke;
mod rotate;
pub mod settings;
mod tls;
mod visitor;

use std::path::{Path, PathBuf};

use sally_proto::authority::Role;
use sally_proto::error::Fault;
use ssh_key::PrivateKey;

use crate::private_key;

/// The folder of a fleet.
#[derive(Clone, Debug)]
struct Fleet {
    root: PathBuf,
}

impl Fleet {
    fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// A file that stays with the operator.
    fn ca(&self, name: &str) -> PathBuf {
        self.root.join("ca").join(name)
    }

    /// A file that goes to relays.
    fn relay(&self, name: &str) -> PathBuf {
        self.root.join("relay").join(name)
    }
}

/// The file of a role's authority: its private key under this name in `ca`, its public one with `.pub` in both.
fn authority_file(role: Role) -> &'static str {
    match role {
        Role::Device => "device_ca",
        Role::Host => "host_ca",
        Role::Visitor => "visitor_ca",
    }
}

/// An unencrypted private key.
fn private_key(file: &Path) -> Result<PrivateKey, Fault> {
    private_key::parse(&files::read(file)?).map_err(|error| invalid(file, error))
}

fn invalid(file: &Path, reason: impl ToString) -> Fault {
    Fault::FleetInvalid { file: file.display().to_string(), reason: reason.to_string() }
}
