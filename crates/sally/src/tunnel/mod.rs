//! Carries connections through another connection, and implements both ends of a reverse tunnel. Besides `ssh`, the only module that names
//! the SSH library's types.
//!
//! - `channel`: adapts a channel to a splice
//! - `relay_client`: a connection to a relay, on which it sends visitors
//! - `dial`: registers a name at a relay
//! - `reconnect`: keeps the name, by dialling again
//! - `peer`: lets others use a client's connection: open a channel, ask whether it is alive, disconnect it
//! - `share_client`, `client_keys`: joins a share as a client; the keys that it logs in with
//! - `registry`: which connection holds which name and port

pub(crate) mod channel;
#[cfg(feature = "share")]
pub mod client_keys;
pub mod dial;
pub mod peer;
pub mod reconnect;
pub mod registry;
pub mod relay_client;
#[cfg(feature = "share")]
pub mod share_client;
