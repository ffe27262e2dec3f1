//! Decides for a shared terminal, as pure functions and state machines.
//!
//! - `input`: one person's keyboard, cut into units; answers are dropped
//! - `mouse`: mouse reports, read and written
//! - `role`: whether a viewer may write
//! - `sequence`: the first key, report or answer in what a terminal sends

mod input;
mod mouse;
mod role;
mod sequence;

pub use input::{Keyboard, Unit};
pub use mouse::MouseReport;
pub use role::{PromoteError, Rights, Role, RoleError};
