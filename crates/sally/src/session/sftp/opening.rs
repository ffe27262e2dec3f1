//! Opening what a path names, but for processes: files are served by Sally itself, in whose own `/proc/self` its memory and its record lie.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstatfs, open, openat2, readlink};
use rustix::io::Errno;

use super::failure::Done;

/// As open(2). What belongs to a process (`/proc/N/…`) is refused, and so is whatever leads through one (`/proc/self/fd/N`, `/dev/stdin`).
pub(super) fn open_file(path: &Path, flags: OFlags, mode: Mode) -> Done<OwnedFd> {
    // The mode belongs to O_CREAT; openat2(2) insists on it.
    let mode = if flags.contains(OFlags::CREATE) { mode } else { Mode::empty() };
    let fd = match openat2(CWD, path, flags, mode, ResolveFlags::NO_MAGICLINKS) {
        // Kernels before 5.6, and filters of system calls that don't know it.
        Err(Errno::NOSYS | Errno::PERM) => open(path, flags, mode)?,
        // What the kernel says of a loop, and of such a link.
        Err(Errno::LOOP) if is_of_process(path) => return Err(Errno::ACCESS.into()),
        opened => opened?,
    };
    if belongs_to_process(&fd) { Err(Errno::ACCESS.into()) } else { Ok(fd) }
}

fn is_of_process(path: &Path) -> bool {
    path.starts_with("/proc") || path.starts_with("/dev")
}

/// Wherever a /proc is mounted, and whatever the links were that led there.
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
