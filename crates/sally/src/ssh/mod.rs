//! Serves SSH: listen → handshake → authenticate → handler. Besides `tunnel`, the only module that names the SSH library's types.
//!
//! - `listen`: takes connections from a socket, a relay, or stdin and stdout
//! - `library`: configures the SSH library
//! - `server`: the state that connections share, and one connection from start to end
//! - `visits`: decides which clients have visits: one, or many
//! - `window`: how much a client may send ahead
//! - `connection`: the state of one connection
//! - `handler`: answers a client's requests
//! - `refusal_limit`: cuts off a client that keeps asking for what is refused
//! - `auth`: authenticates clients, from an offered key to a visit
//! - `launch`: starts what a session channel asks for
//! - `forward`: what `--allow` opens: ports, sockets, the user's agent
//! - `channel`: adapts a channel to what sessions read and write
//! - `relay`: answers the requests of a relay's clients

mod auth;
mod channel;
mod connection;
pub mod forward;
mod handler;
mod launch;
mod library;
pub mod listen;
mod refusal_limit;
#[cfg(feature = "relay")]
pub mod relay;
pub mod server;
pub mod visits;
mod window;
