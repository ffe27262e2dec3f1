//! A visitor's bytes enter: listen → handshake → authenticate → handler. The only place that names the SSH library's types.
//!
//! - `listen`: the socket, the accept loop, who may be mid-authentication
//! - `stream`: the TCP stream with our own deadlines around the library
//! - `server`: what the library is told
//! - `door`: the one claim, and what every connection shares
//! - `visitor`: what is known of one connection
//! - `handler`: what a visitor asks, and the answers
//! - `auth`: from a key that is offered to the one claim
//! - `launch`: starting what a session channel asks for
//! - `channel`: a session channel as the room sees it
//! - `host_key`: the key that the door shows

mod auth;
mod channel;
pub mod door;
mod handler;
pub mod host_key;
mod launch;
pub mod listen;
mod server;
mod stream;
mod visitor;
