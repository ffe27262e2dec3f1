//! Loads the list of `--revoked-keys`.

use std::path::{Path, PathBuf};

use sally_proto::error::{Fault, KeyDefect};
use sally_proto::krl::Krl;
use sally_proto::revocation;

use super::{READ_DEADLINE, Skipped, local};

/// Reads the list, whole; returns the skipped lines too.
///
/// # Errors
/// [`Fault::RevokedKeysInvalid`]: then no part of the list may be used, and no client may be let in without it.
pub async fn load_revoked(file: &Path) -> Result<(Krl, Vec<Skipped>), Fault> {
    let name = file.display().to_string();
    let invalid = |reason: String| Fault::RevokedKeysInvalid { file: name.clone(), reason };
    let bytes = local::read_file(PathBuf::from(file), READ_DEADLINE).await.map_err(|defect| match defect {
        KeyDefect::Unreadable(reason) => invalid(reason),
        other => invalid(other.to_string()),
    })?;
    let (list, passed_over) = revocation::read(&bytes).map_err(|error| invalid(error.to_string()))?;
    let skipped = passed_over.into_iter().map(|error| Skipped { source: name.clone(), line: error.line, reason: error.reason });
    Ok((list, skipped.collect()))
}
