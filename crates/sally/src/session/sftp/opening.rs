//! Opens paths, except those that belong to processes: Sally itself serves the files, and its own `/proc/self` holds its memory and its
//! record.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstatfs, open, openat2, readlink};
use rustix::io::Errno;

use super::failure::Done;

/// Opens a file as open(2) does. Refuses what belongs to a process (`/proc/N/…`), and what leads through one (`/proc/self/fd/N`,
/// `/dev/stdin`).
pub(super) fn open_file(path: &Path, flags: OFlags, mode: Mode) -> Done<OwnedFd> {
    // Only O_CREAT may have a mode: openat2(2) insists on that.
    let mode = if flags.contains(OFlags::CREATE) { mode } else { Mode::empty() };
    let fd = match openat2(CWD, path, flags, mode, ResolveFlags::NO_MAGICLINKS) {
        // Kernels before 5.6 don't know openat2(2), nor do some filters of system calls.
        Err(Errno::NOSYS | Errno::PERM) => open(path, flags, mode)?,
        // The kernel's error for a loop, and for such a link.
        Err(Errno::LOOP) if is_of_process(path) => return Err(Errno::ACCESS.into()),
        opened => opened?,
    };
    if belongs_to_process(&fd) { Err(Errno::ACCESS.into()) } else { Ok(fd) }
}

fn is_of_process(path: &Path) -> bool {
    path.starts_with("/proc") || path.starts_with("/dev")
}

/// Returns whether a file belongs to a process, wherever /proc is mounted, and whatever links led there.
fn belongs_to_process(fd: &OwnedFd) -> bool {
    if fstatfs(fd).is_ok_and(|found| found.f_type != PROC_SUPER_MAGIC) {
        return false;
    }
    let Ok(path) = readlink(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()), Vec::new()) else { return true };
    let path = Path::new(path.to_str().unwrap_or("/proc/0"));
    path.components().any(|part| matches!(part, Component::Normal(name) if name.as_encoded_bytes().iter().all(u8::is_ascii_digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str, flags: OFlags) -> bool {
        open_file(Path::new(path), flags, Mode::empty()).is_err_and(|failure| failure == Errno::ACCESS.into())
    }

    #[test]
    fn nothing_of_a_process_is_opened() {
        let file = tempfile::tempfile().unwrap();
        let own = std::process::id();
        for path in ["/proc/self/mem", "/proc/self/environ", "/proc/self/maps", "/proc/thread-self/mem", "/proc/self/root/proc/self/mem"] {
            assert!(refused(path, OFlags::RDONLY), "{path}");
        }
        for path in [format!("/proc/{own}/mem"), format!("/proc/self/fd/{}", file.as_raw_fd()), format!("/dev/fd/{}", file.as_raw_fd())] {
            assert!(refused(&path, OFlags::RDWR), "{path}");
        }
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/proc/self/mem", &link).unwrap();
        assert!(refused(link.to_str().unwrap(), OFlags::RDWR));
    }

    #[test]
    fn everything_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("123");
        let flags = OFlags::RDWR | OFlags::CREATE;
        assert!(open_file(&file, flags, Mode::from_raw_mode(0o600)).is_ok());
        assert!(
            ["/proc/meminfo", "/dev/null", "/etc"].iter().all(|path| open_file(Path::new(path), OFlags::RDONLY, Mode::empty()).is_ok())
        );
        let missing = open_file(Path::new("/nowhere/at/all"), OFlags::RDONLY, Mode::empty());
        assert!(missing.is_err_and(|failure| failure == Errno::NOENT.into()));
    }
}
