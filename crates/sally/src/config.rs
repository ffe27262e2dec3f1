//! Resolves the command line and the environment into configurations.
//!
//! - `server`: the options that once, relay and jail share
//! - `once`, `share`, `join`, `relay`: the configuration of each

#[cfg(feature = "share")]
mod join;
#[cfg(feature = "once")]
mod once;
#[cfg(feature = "relay")]
mod relay;
#[cfg(any(feature = "once", feature = "relay"))]
mod server;
#[cfg(feature = "share")]
mod share;

#[cfg(feature = "share")]
pub use join::of_join;
#[cfg(feature = "once")]
pub use once::OnceConfig;
#[cfg(feature = "relay")]
pub use relay::{of_jail, of_relay};
#[cfg(feature = "share")]
pub use share::Share;

#[cfg(feature = "agent")]
use crate::agent;
#[cfg(feature = "agent")]
use crate::cli::AgentArgs;

/// Resolves the arguments of `agent`.
#[cfg(feature = "agent")]
pub fn of_agent(args: AgentArgs) -> agent::AgentConfig {
    agent::AgentConfig { bundle: args.bundle, to: args.to, prefix: args.topic_prefix }
}
