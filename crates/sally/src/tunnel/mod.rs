//! Connections that are carried through another, and both ends of a reverse tunnel. Beside `ssh`, the only place that names the SSH library's
//! types.
//!
//! - `channel`: a channel as a splice sees it
//! - `link`: a connection to a relay, on which it sends visitors
//! - `dial`: hold a name on a relay
//! - `tenure`: the name is kept, by dialling again
//! - `line`: the connection of somebody who is connected, as others use it: open a channel, ask whether it is alive, say goodbye
//! - `registry`: who holds which name and port

pub(crate) mod channel;
pub mod dial;
pub mod line;
pub mod link;
pub mod registry;
pub mod tenure;
