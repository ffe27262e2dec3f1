//! Sally opens SSH doors on demand, for one visit, on the record, and shuts them again.
//!
//! The modules, in the order a visitor's bytes travel:
//!
//! - `arguments`, `variables`: words of command lines; the environment, which nothing else reads
//! - `cli`, `config`: what was typed, and what it resolves to
//! - `cmd`: one file a subcommand, wiring only
//! - `agent`: the device's side of a fleet: woken, it dials back
//! - `client`: the visitor's side of a relay: OpenSSH, told how to get there
//! - `keys`: where authorized keys come from; no source fails open
//! - `announce`: telling somebody that a door is open
//! - `host_key`: the keys that a door shows
//! - `server_settings`: what once, relay and jail show of themselves
//! - `ssh`: listen, handshake, authenticate; beside `tunnel`, the only place that names the SSH library's types
//! - `net`: sockets, and what is carried over them
//! - `tunnel`: connections that are carried through another
//! - `relay`: visitors reach names, devices hold them, and nobody gets anything else
//! - `session`: the room behind the door: one loop owns a session
//! - `record`: the book: record first, then deliver
//! - `monitor`: what `once` asks of the agent that has started it
//! - `broker`: the MQTT listener inside a relay, for fleets that have no other
//! - `logfile`: opens what a record or an audit log is written to
//! - `fleet`: a fleet's authorities, and the folders that they make for relays and devices
//! - `mqtt`: messages through a broker
//! - `stamp`: whether a file has changed
//! - `clock`, `private_key`: the time of day; private keys as files have them
//! - `lock`, `panic`: what a panic ends, and what goes on
//! - `shutdown`, `term`: the signals that end us, and everything a person reads
#![forbid(unsafe_code)]
// A build with fewer features has parts of modules that only others use. All of them together leave nothing unused.
#![cfg_attr(
    not(all(
        feature = "once",
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
#[cfg(any(feature = "once", feature = "relay", feature = "agent", feature = "fleet"))]
pub mod fleet;
#[cfg(test)]
mod floors;
#[cfg(any(feature = "once", feature = "relay", feature = "agent", feature = "fleet", feature = "record"))]
pub mod host_key;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod keys;
mod lock;
#[cfg(any(feature = "once", feature = "relay"))]
mod logfile;
#[cfg(any(feature = "once", feature = "relay", feature = "agent"))]
pub mod monitor;
#[cfg(any(feature = "relay", feature = "agent"))]
pub mod mqtt;
#[cfg(any(feature = "once", feature = "relay", feature = "agent"))]
pub mod net;
mod panic;
mod private_key;
#[cfg(any(feature = "once", feature = "relay", feature = "record"))]
pub mod record;
#[cfg(feature = "relay")]
pub mod relay;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod server_settings;
#[cfg(any(feature = "once", feature = "relay", feature = "agent"))]
pub mod session;
pub mod shutdown;
#[cfg(any(feature = "once", feature = "relay"))]
pub mod ssh;
mod stamp;
pub mod term;
#[cfg(any(feature = "once", feature = "relay", feature = "agent"))]
pub mod tunnel;
pub mod variables;
