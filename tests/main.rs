//! End to end with real clients: scenarios named for what a user does. They await events, never sleep.
#![allow(
    // The file `relay.rs` of the folder `relay` has what its name says.
    clippy::module_inception,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod support;

mod client;
mod fleet;
mod hostile;
mod jail;
mod once;
mod record;
mod relay;
mod scale;
mod screen;
mod share;
mod smoke;
