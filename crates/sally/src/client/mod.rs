//! The visitor's side of a relay: the system's own OpenSSH, told how to get there. Nothing here speaks SSH itself, so that every option,
//! key, agent and configuration of ssh's goes on working.
//!
//! - `cmd`: what the subcommands take
//! - `settings`: which relay, which key, which hosts are known
//! - `openssh`: `sally ssh|scp|sftp|devices`: the command line that OpenSSH is started with
//! - `destination`: what may be named on it
//! - `proxy`: ssh's ProxyCommand: through the relay, with progress and plain sentences
//! - `ssh_config`: the same for machines where nothing of ours is installed

pub mod cmd;
pub mod destination;
pub mod openssh;
pub mod proxy;
pub mod settings;
pub mod ssh_config;
