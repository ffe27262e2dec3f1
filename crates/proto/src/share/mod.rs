//! Decides for a shared terminal, as pure functions and state machines.
//!
//! - `input`: one person's keyboard, cut into units; answers are dropped
//! - `mouse`: mouse reports, read and written
//! - `role`: whether a viewer may write
//! - `sequence`: the first key, report or answer in what a terminal sends
//! - `size`: whom the terminal's size follows, and how often it changes
//! - `viewer_name`: names that can't be taken for each other, and how they are shown

mod input;
mod mouse;
mod role;
mod sequence;
mod size;
mod viewer_name;

pub use input::{ShareKeyboard, Unit};
pub use mouse::MouseReport;
pub use role::{PromoteError, Rights, RoleError, ShareRole};
pub use size::{SharedSize, SizeChanges, SizePolicy, SizePolicyError};
pub use viewer_name::{NamedViewer, Shown, ViewerNames, cleaned};
