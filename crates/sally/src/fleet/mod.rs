//! A fleet on disk: its authorities, what they certify, and the folders for relays and devices.
//!
//! `FLEET/ca` holds the private keys of the authorities and the ledger of what they signed; it stays with the operator. `FLEET/relay` is
//! copied to every relay, a bundle to one device. docs/wire.md describes each file.
//!
//! - `cmd`: the arguments of `sally fleet`
//! - `files`: writing files as a whole or not at all, without losing what can't be made again
//! - `settings`: `relay/fleet.toml` and the bundle's `agent.toml`
//! - `ledger`: what was certified and revoked, in order
//! - `authority`, `tls`: certificates of the two kinds, and their revocation lists
//! - `init`, `device`, `bundle`, `visitor`, `revoke`, `rotate`, `list`: one subcommand each; `bundle` is the folder for a device
//! - `relay_dir`: `FLEET/relay` as a relay reads it, and what it rejects there

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
struct FleetFolder {
    root: PathBuf,
}

impl FleetFolder {
    fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Returns the path of a file that stays with the operator.
    fn ca(&self, name: &str) -> PathBuf {
        self.root.join("ca").join(name)
    }

    /// Returns the path of a file that is copied to relays.
    fn relay(&self, name: &str) -> PathBuf {
        self.root.join("relay").join(name)
    }
}

/// Returns the file name of a role's authority: its private key in `ca`; its public key, with `.pub`, in both folders.
fn authority_file(role: Role) -> &'static str {
    match role {
        Role::Device => "device_ca",
        Role::Host => "host_ca",
        Role::Visitor => "visitor_ca",
    }
}

/// Reads an unencrypted private key.
fn private_key(file: &Path) -> Result<PrivateKey, Fault> {
    private_key::parse(&files::read(file)?).map_err(|error| invalid(file, error))
}

fn invalid(file: &Path, reason: impl ToString) -> Fault {
    Fault::FleetInvalid { file: file.display().to_string(), reason: reason.to_string() }
}
