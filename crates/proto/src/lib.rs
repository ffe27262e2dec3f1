//! Sally's formats and decisions, as pure functions and state machines.
//!
//! Nothing here touches a clock, a file, a socket or a runtime: what comes in is bytes and instants, what goes out is values.
//! That is what makes it testable, fuzzable and the same on every machine.
#![forbid(unsafe_code)]

pub mod authorized_keys;
pub mod error;
pub mod id;
pub mod mask;
pub mod record;
