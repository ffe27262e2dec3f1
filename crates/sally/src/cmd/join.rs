//! Runs `sally join`: a viewer's terminal.

use sally_proto::error::Fault;

use super::runtime;
use crate::join::{JoinConfig, join};

/// Joins a share; returns the exit status.
pub(super) fn run(config: Result<JoinConfig, Fault>) -> u8 {
    runtime::run(config, join)
}
