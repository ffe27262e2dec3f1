//! Waits on a descriptor within the runtime, for terminals and pipes alike.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// Our end of a terminal or a pipe.
#[derive(Debug)]
pub(crate) struct Fd(AsyncFd<OwnedFd>);

impl Fd {
    /// Takes over a descriptor. Must be called within the runtime.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "its fault is with types that don't own what they show; an OwnedFd does, and its successor is unsafe"
        )]
        Ok(Self(AsyncFd::new(fd)?))
    }

    /// Waits until there may be bytes, or the end. Cancel-safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }

    /// Waits for bytes, then takes those that are there, at most `limit`: a terminal gives 4 KiB per read, and many such reads make one
    /// piece. An empty buffer means the end. Cancel-safe.
    pub(crate) async fn read(&self, buffer: &mut Vec<u8>, limit: usize) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let had = buffer.len();
            match self.read_now(buffer, limit) {
                Err(Errno::AGAIN) if buffer.len() == had => ready.clear_ready(),
                // A terminal answers EIO when its last program is gone.
                Ok(()) | Err(Errno::AGAIN | Errno::IO) => return Ok(()),
                Err(_) if buffer.len() > had => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns whether more bytes have come already.
    pub(crate) fn has_more(&self) -> bool {
        let mut polled = [PollFd::new(self.0.get_ref(), PollFlags::IN)];
        poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok()
            && polled.iter().any(|polled| polled.revents().contains(PollFlags::IN))
    }

    /// Takes the bytes that are there without waiting; returns `Ok` at the end or at the limit.
    fn read_now(&self, buffer: &mut Vec<u8>, limit: usize) -> Result<(), Errno> {
        while buffer.len() < limit {
            buffer.reserve_exact(limit - buffer.len());
            match rustix::io::read(self.0.get_ref(), rustix::buffer::spare_capacity(buffer)) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all pieces, in as few calls as the pipe allows. Waits while the program does not read.
    pub(crate) async fn write_all(&self, pieces: &[Bytes]) -> io::Result<()> {
        let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut left = slices.as_mut_slice();
        // Leaves out empty pieces too: a write of nothing would not end the loop.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let mut ready = self.0.writable().await?;
            match rustix::io::writev(self.0.get_ref(), left) {
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
