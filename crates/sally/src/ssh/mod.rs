//! A visitor's bytes enter: listen → handshake → authenticate → handler. Beside `tunnel`, the only place that names the SSH library's types.
//!
//! - `listen`: what comes in through a socket, a relay, or stdin and stdout
//! - `library`: what the SSH library is told
//! - `server`: what its connections share, and one of them from end to end
//! - `visits`: which clients have visits: one, or many
//! - `window`: how much a visitor may send ahead
//! - `visitor`: what is known of one connection
//! - `handler`: what a visitor asks, and the answers
//! - `flood`: somebody who asks for ever for what is refused
//! - `auth`: from a key that is offered to a visit
//! - `launch`: starting what a session channel asks for
//! - `forward`: what `--allow` opens: ports, sockets, the visitor's agent
//! - `channel`: a channel as the room sees it
//! - `relay`: the conversation with somebody who comes to a relay

mod auth;
mod channel;
mod flood;
pub mod forward;
mod handler;
mod launch;
mod library;
pub mod listen;
#[cfg(feature = "relay")]
pub mod relay;
pub mod server;
mod visitor;
pub mod visits;
mod window;
