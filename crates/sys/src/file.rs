//! Files, where the standard library keeps something back.

use std::os::fd::{IntoRawFd, OwnedFd};

/// Closes a descriptor and says what close(2) said: on a file system across a network that may be where a full disk is heard of.
///
/// # Errors
/// What close(2) says; the descriptor is closed all the same.
pub fn close(fd: OwnedFd) -> rustix::io::Result<()> {
    // SAFETY: the descriptor is ours alone, and nobody has it after this call.
    match unsafe { libc::close(fd.into_raw_fd()) } {
        0 => Ok(()),
        _ => Err(rustix::io::Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(rustix::io::Errno::IO)),
    }
}
