//! Carries connections through another connection, and implements both ends of a reverse tunnel. Besides `ssh`, the only module that names
//! the SSH library's types.
//!
//! - `channel`: adapts a channel to a splice
//! - `link`: a connection to a relay, on which it sends visitors
//! - `dial`: registers a name at a relay
//! - `tenure`: keeps the name, by dialling again
//! - `line`: lets others use a client's connection: open a channel, ask whether it is alive, disconnect it
//! - `registry`: which connection holds which name and port

pub(crate) mod channel;
pub mod dial;
pub mod line;
pub mod link;
pub mod registry;
pub mod tenure;
