//! Terminals and processes: what Sally asks of the kernel, and its only unsafe code.
//!
//! - [`pty`]: a pseudo-terminal, its size, its modes
//! - [`process`]: a child in a session of its own that does not outlive us; who descends from whom
//! - [`account`]: becoming another user
//! - [`mod@file`]: what close(2) says; a descriptor that we were started with
#![warn(unsafe_op_in_unsafe_fn)]

pub mod account;
pub mod file;
pub mod process;
pub mod pty;
