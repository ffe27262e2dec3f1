//! Connections that are carried through another.
//!
//! - `splice`: two connections joined, bytes both ways until both ways have ended

pub mod splice;
