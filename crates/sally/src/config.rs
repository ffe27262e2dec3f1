//! What a command line and the environment resolve to.
//!
//! - `server`: what once, relay and jail have in common
//! - `once`, `relay`: what each of them runs on

#[cfg(feature = "once")]
mod once;
#[cfg(feature = "relay")]
mod relay;
#[cfg(any(feature = "once", feature = "relay"))]
mod server;

#[cfg(feature = "once")]
pub use once::{Limits, Once};
#[cfg(feature = "relay")]
pub use relay::{of_jail, of_relay};

#[cfg(feature = "agent")]
use crate::agent;
#[cfg(feature = "agent")]
use crate::cli::AgentArgs;

/// Resolves what was typed after `agent`.
#[cfg(feature = "agent")]
pub fn of_agent(args: AgentArgs) -> agent::Config {
    agent::Config { bundle: args.bundle, to: args.to, prefix: args.topic_prefix }
}
