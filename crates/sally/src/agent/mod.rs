//! The device's side of a fleet: asleep but for a connection to a broker; woken, it dials back, carries its visitors, and closes again.
//!
//! - `config`: what it is told
//! - `bundle`: the folder that `sally fleet add` made for the device
//! - `watch`: follows the broker, and decides about each wake
//! - `tunnel`: one connection to a relay, from the dial to its last visitor
//! - `visit`: one visitor, and what they reach
//! - `session`: a recorded session of Sally's own, where there is no sshd
//! - `account`: who sessions run as
//! - `records`: the folder that they are recorded in
//! - `processes`: theirs, and what one leaves behind

mod account;
pub mod bundle;
mod config;
mod processes;
mod records;
mod session;
mod tunnel;
mod visit;
mod watch;

pub use config::Config;
pub use watch::run;
