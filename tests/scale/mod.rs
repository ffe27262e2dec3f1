//! Large transfers and many sessions. `$SALLY_SESSIONS` sets how many.

mod flow;
pub mod multiplex;
