//! Wraps what Sally asks of the kernel for terminals and processes: the only unsafe code.
//!
//! - [`pty`]: a pseudo-terminal, its size, its modes
//! - [`process`]: a child in its own session that doesn't outlive us; finding descendants
//! - [`account`]: changing to another user
//! - [`mod@file`]: the result of close(2); a descriptor that we were started with
#![warn(unsafe_op_in_unsafe_fn)]

pub mod account;
pub mod file;
pub mod process;
pub mod pty;
