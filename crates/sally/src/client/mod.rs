//! The visitor's side of a relay: starts the system's own OpenSSH with options for the relay. It doesn't speak SSH itself, so that all of
//! ssh's options, keys, agents and configurations keep working.
//!
//! - `cmd`: the arguments of the subcommands
//! - `settings`: the relay, the key and the known hosts
//! - `openssh`: `sally ssh|scp|sftp|devices`: the command line that OpenSSH is started with
//! - `destination`: the hosts that may be named on it
//! - `proxy`: ssh's ProxyCommand: through the relay, with progress and plain messages
//! - `ssh_config`: ssh's own configuration, for machines without Sally

pub mod cmd;
pub mod destination;
pub mod openssh;
pub mod proxy;
pub mod settings;
pub mod ssh_config;
