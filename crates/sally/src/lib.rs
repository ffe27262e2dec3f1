//! Sally gives temporary SSH access, records it, and closes it again.
//!
//! The modules, roughly in the order in which a client's bytes pass:
//!
//! - `arguments`, `variables`: values on command lines; the environment, which nothing else reads
//! - `cli`, `config`: the command line, and the settings that it resolves to
//! - `cmd`: the subcommands, one file for each
//! - `agent`: a fleet device's side: when it is woken, it dials the relay
//! - `client`: the visitor's side of a relay: runs OpenSSH with the right options
//! - `keys`: loads authorized keys; no source fails open
//! - `announce`: runs a command that tells others of a server
//! - `host_key`: the keys of a server
//! - `server_settings`: the settings that once, relay and jail share
//! - `ssh`: listen, handshake, authenticate; besides `tunnel`, the only module that names the SSH library's types
//! - `net`: sockets, and what they carry
//! - `tunnel`: connections that another connection carries
//! - `relay`: visitors reach names, devices hold them, and all else is refused
//! - `session`: runs sessions, each owned by one loop
//! - `share`: one program's terminal for several people
//! - `join`: a viewer of a share, with this terminal
//! - `record`: records bytes before they are delivered
//! - `screen`: a terminal's screen: only this module names the emulator
//! - `monitor`: the requests of `once` to the agent that has started it
//! - `broker`: an MQTT broker inside a relay, for fleets without another one
//! - `logfile`: opens the file of a record or an audit log
//! - `fleet`: a fleet's authorities, and the folders that they make for relays and devices
//! - `mqtt`: messages through a broker
//! - `file_version`: tells whether a file has changed
//! - `clock`, `private_key`: the time of day; private keys in files
//! - `lock`, `panic`: what a panic ends, and what goes on
//! - `shutdown`, `term`: the signals that end Sally, and everything that users read
#![forbid(unsafe_code)]
// With fewer features, parts of some modules are unused. With all features, nothing is.
#![cfg_attr(
    not(all(
        feature = "once",
        feature = "share",
        feature = "relay",
        feature = "agent",
        feature = "fleet",
        feature = "record",
        feature = "admin",
        feature = "manual"
    )),
    allow(dead_code, unreachable_pub, unused_imports)
)]

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "once")]
pub mod announce;
mod arguments;
#[cfg(feature = "relay")]
pub mod broker;
pub mod cli;
#[cfg(feature = "admin")]
pub mod client;
mod clock;
pub mod cmd;
#[cfg(any(feature = "once", feature = "relay", feature = "agent"))]
pub mod config;
mod file_version;
#[cfg(any(feature = "once", feature = "relay", feature = "agent", feature = "fleet"))]
pub mod fleet;
#[cfg(test)]
mod floors;
#[cfg(any(feature = "once", feature = "relay", feature = "agent", feature = "fleet", feature = "record"))]
pub mod host_key;
#[cfg(feature = "share")]
pub mod join;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod keys;
mod lock;
mod logfile;
pub mod monitor;
#[cfg(any(feature = "relay", feature = "agent"))]
pub mod mqtt;
#[cfg(test)]
mod names;
#[cfg(any(feature = "once", feature = "relay", feature = "agent"))]
pub mod net;
mod panic;
mod private_key;
pub mod record;
#[cfg(feature = "relay")]
pub mod relay;
#[cfg(any(feature = "record", feature = "share"))]
pub mod screen;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod server_settings;
#[cfg(any(feature = "once", feature = "relay", feature = "agent"))]
pub mod session;
#[cfg(feature = "share")]
pub mod share;
pub mod shutdown;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod ssh;
pub mod term;
#[cfg(any(feature = "once", feature = "relay", feature = "agent"))]
pub mod tunnel;
pub mod variables;
