//! Handles files where the standard library hides something.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// Closes a descriptor and returns what close(2) reports: on a network file system, a full disk may be reported only here.
///
/// # Errors
/// Those of close(2); the descriptor is closed all the same.
pub fn close(fd: OwnedFd) -> rustix::io::Result<()> {
    // SAFETY: we own the descriptor, and no code uses it after this call.
    match unsafe { libc::close(fd.into_raw_fd()) } {
        0 => Ok(()),
        _ => Err(rustix::io::Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(rustix::io::Errno::IO)),
    }
}

/// Takes over a descriptor that we were started with. No child inherits it.
///
/// # Errors
/// If there is no descriptor with this number.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(rustix::io::Errno::BADF.into());
    }
    // SAFETY: whatever the descriptor is, F_DUPFD doesn't change it; if there is none, the call reports that.
    let ours = rustix::io::fcntl_dupfd_cloexec(unsafe { BorrowedFd::borrow_raw(number) }, 3)?;
    // SAFETY: the descriptor is open, as the call before has shown; the program that started us promises that no other code uses it.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
    Ok(ours)
}
