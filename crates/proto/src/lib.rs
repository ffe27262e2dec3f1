//! Implements Sally's formats and decisions as pure functions and state machines.
//!
//! Nothing here uses a clock, a file, a socket or a runtime: bytes and instants go in, values come out. So it can be tested and fuzzed,
//! and does the same on every machine.
#![forbid(unsafe_code)]

pub mod address_block;
pub mod admission;
pub mod authority;
pub mod authorized_keys;
pub mod backoff;
pub mod broker;
pub mod budget;
pub mod calendar;
pub mod error;
pub mod host_port;
pub mod id;
pub mod krl;
pub mod mask;
pub mod monitor;
pub mod proxy_header;
pub mod rate;
pub mod record;
pub mod relay;
pub mod rendezvous;
pub mod revocation;
pub mod sftp;
pub mod share;
pub mod signal;
pub mod ssh_string;
pub mod text;
pub mod visit;
pub mod wake;
