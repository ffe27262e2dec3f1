//! Decides for a shared terminal, as pure functions and state machines.
//!
//! - `escape`: the keys with which a viewer of `sally join` leaves
//! - `input`: one person's keyboard, cut into units; answers are dropped
//! - `link`: where `sally join` finds a share, and the fingerprint of its host key
//! - `mouse`: mouse reports, read and written
//! - `role`: whether a viewer may write
//! - `sequence`: the first key, report or answer in what a terminal sends
//! - `size`: whom the terminal's size follows, and how often it changes
//! - `suspension`: whether the machine was suspended
//! - `viewer_name`: names that can't be taken for each other, and how they are shown

mod escape;
mod input;
mod link;
mod mouse;
mod role;
mod sequence;
mod size;
mod suspension;
mod viewer_name;

pub use escape::{EscapeKeys, Escaped};
pub use input::{ShareKeyboard, Unit};
pub use link::{JoinLink, JoinLinkError};
pub use mouse::MouseReport;
pub use role::{PromoteError, Rights, RoleError, ShareRole};
pub use size::{SharedSize, SizeChanges, SizePolicy, SizePolicyError};
pub use suspension::SuspendWatch;
pub use viewer_name::{NamedViewer, Shown, ViewerNames, cleaned};
