//! Files, where the standard library keeps something back.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// Closes a descriptor and says what close(2) said: on a file system across a network that may be where a full disk is heard of.
///
/// # Errors
/// What close(2) says; the descriptor is closed all the same.
pub fn close(fd: OwnedFd) -> rustix::io::Result<()> {
    // SAFETY: the descriptor is ours alone, and nobody has it after this call.
    match unsafe { libc::close(fd.into_raw_fd()) } {
        0 => Ok(()),
        _ => Err(rustix::io::Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(rustix::io::Errno::IO)),
    }
}

/// Takes over a descriptor that we were started with. No child of ours gets it.
///
/// # Errors
/// Where there is none of this number.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(rustix::io::Errno::BADF.into());
    }
    // SAFETY: whatever it is, F_DUPFD changes nothing of it; where there is none it says so.
    let ours = rustix::io::fcntl_dupfd_cloexec(unsafe { BorrowedFd::borrow_raw(number) }, 3)?;
    // SAFETY: it is open, as the call before has shown; that nobody else here has it is the caller's promise to whoever has started us.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
    Ok(ours)
}
