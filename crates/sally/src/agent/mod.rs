//! The device's side of a fleet. It keeps only a connection to a broker; when woken, it dials the relay, carries its visitors, and
//! disconnects.
//!
//! - `config`: the configuration
//! - `bundle`: the folder that `sally fleet add` made for the device
//! - `watch`: follows the broker, and decides about each wake
//! - `tunnel`: one connection to a relay, from the dial to its last visitor
//! - `visit`: one visitor, and what they reach
//! - `session`: Sally's own recorded sessions, for a device without an sshd
//! - `account`: the account that sessions run as
//! - `records`: the folder of their records
//! - `processes`: their processes, and those left behind

mod account;
pub mod bundle;
mod config;
mod processes;
mod records;
mod session;
mod tunnel;
mod visit;
mod watch;

pub use config::AgentConfig;
pub use watch::run;
