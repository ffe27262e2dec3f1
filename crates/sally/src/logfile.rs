//! Opens the file of a record or an audit log: a new file, or one that no other account has prepared.
//!
//! In a folder that others may write to, as /tmp, an existing name may be a link to another file of this account, a file that another
//! account reads and truncates, or a FIFO that it empties.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags, Stat, fcntl_getfl, fcntl_setfl, fstat, open as open_path, stat};
use rustix::io::Errno;

use crate::term;

/// The time to wait for the reader of a FIFO.
const READER_WAIT: Duration = Duration::from_secs(5);
/// The interval of checks for the reader.
const READER_POLL: Duration = Duration::from_millis(20);
/// The attempts to open a name that exists when it is created and is gone when it is opened.
const TRIES: usize = 10;

/// Opens a file for appending, and creates it, for its owner only, if it doesn't exist. A FIFO's reader may come a little later.
///
/// An existing file must be owned by this process's account, by root, or by `later`, the account that this process will switch to; no other
/// account may write to it. Devices need no check: only root creates them, and all may write to `/dev/null`. A descriptor's name
/// (`/dev/fd/3`, `/dev/stdout`) needs none either: its target is intended.
///
/// # Errors
/// The reason, in words for people.
pub(crate) fn open(path: &Path, later: Option<u32>) -> Result<OwnedFd, String> {
    let fd = if is_descriptor(path) { open_existing(path, OFlags::empty())?.map_err(reason)? } else { create_or_open(path, later)? };
    let flags = fcntl_getfl(&fd).map_err(reason)?;
    fcntl_setfl(&fd, flags - OFlags::NONBLOCK).map_err(reason)?;
    Ok(fd)
}

fn create_or_open(path: &Path, later: Option<u32>) -> Result<OwnedFd, String> {
    for _ in 0..TRIES {
        // O_EXCL fails for a link, whatever its target.
        match open_with(path, OFlags::CREATE | OFlags::EXCL) {
            Err(Errno::EXIST) => {}
            created => return created.map_err(reason),
        }
        match open_existing(path, OFlags::NOFOLLOW)? {
            Err(Errno::NOENT) => {}
            Err(Errno::LOOP) => return Err("it is a symbolic link, which Sally doesn't follow: name the file itself".into()),
            opened => {
                let fd = opened.map_err(reason)?;
                fstat(&fd).map_err(reason).and_then(|stat| check(&stat, later))?;
                return Ok(fd);
            }
        }
    }
    Err("another process creates and removes it again and again".into())
}

/// Opens an existing file, and waits for the reader of a FIFO.
fn open_existing(path: &Path, more: OFlags) -> Result<Result<OwnedFd, Errno>, String> {
    let started = Instant::now();
    loop {
        match open_with(path, more) {
            Err(Errno::NXIO) if is_fifo(path) && started.elapsed() >= READER_WAIT => return Err("no program reads from it".into()),
            Err(Errno::NXIO) if is_fifo(path) => std::thread::sleep(READER_POLL),
            opened => return Ok(opened),
        }
    }
}

fn open_with(path: &Path, more: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    open_path(path, flags | more, Mode::RUSR | Mode::WUSR)
}

/// Checks that only this account, root and `later` can have created the file or can change it.
fn check(stat: &Stat, later: Option<u32>) -> Result<(), String> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    if !matches!(kind, FileType::RegularFile | FileType::Fifo) {
        return Ok(());
    }
    let ours = rustix::process::geteuid();
    // A file of root's is accepted: root can read and change all files anyway.
    if stat.st_uid != ours.as_raw() && stat.st_uid != 0 && Some(stat.st_uid) != later {
        return Err(format!("it belongs to user {}, not to this account: name a new file", stat.st_uid));
    }
    // The owner decides who may read it; an account that may write to it could truncate it, or write lines.
    if Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH) {
        return Err(format!("other accounts may write to it (mode {:04o}): chmod go-w, or name a new file", stat.st_mode & 0o7777));
    }
    // Another account can create a second name for a file of this account.
    if kind == FileType::RegularFile && stat.st_nlink > 1 {
        return Err("it has another name as well (a hard link): name a new file".into());
    }
    Ok(())
}

fn is_fifo(path: &Path) -> bool {
    stat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
}

/// Returns whether a path is a system link to a descriptor: `/dev/stdout`, `/dev/fd/N`, `/proc/self/fd/N`, `/proc/1/fd/N`, and the like.
fn is_descriptor(path: &Path) -> bool {
    let Some(path) = path.to_str() else { return false };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let of_process = |rest: &str| {
        rest.split_once("/fd/").is_some_and(|(process, fd)| (number(process) || matches!(process, "self" | "thread-self")) && number(fd))
    };
    matches!(path, "/dev/stdin" | "/dev/stdout" | "/dev/stderr")
        || path.strip_prefix("/dev/fd/").is_some_and(number)
        || path.strip_prefix("/proc/").is_some_and(of_process)
}

/// Returns the system's message for an error number.
pub(crate) fn reason(error: Errno) -> String {
    term::reason(&error.into())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    use rustix::fs::{CWD, mknodat};

    use super::*;

    /// Returns the reason why it isn't opened.
    fn refused(path: &Path) -> String {
        open(path, None).expect_err(&path.display().to_string())
    }

    fn with_mode(path: PathBuf, mode: u32) -> PathBuf {
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_new_file_is_for_its_owner_alone_and_one_of_ours_is_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        open(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        fs::write(&path, "one ").unwrap();
        rustix::io::write(open(&path, None).unwrap(), b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one two");
        open(&with_mode(dir.path().join("readable"), 0o644), None).unwrap();
    }

    #[test]
    fn no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (with_mode(dir.path().join("file"), 0o600), dir.path().join("link"));
        for target in [&file, Path::new("/dev/null"), &dir.path().join("new")] {
            symlink(target, &link).unwrap();
            assert!(refused(&link).contains("symbolic link"));
            fs::remove_file(&link).unwrap();
        }
        fs::hard_link(&file, &link).unwrap();
        assert!(refused(&link).contains("another name"));
        assert!(!dir.path().join("new").exists());
    }

    #[test]
    fn what_others_may_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o620, 0o602, 0o666] {
            assert!(refused(&with_mode(dir.path().join("log"), mode)).contains("other accounts may write"), "{mode:o}");
        }
        let fifo = dir.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _reader = File::options().read(true).write(true).open(&fifo).unwrap();
        open(&fifo, None).unwrap();
        fs::set_permissions(&fifo, fs::Permissions::from_mode(0o622)).unwrap();
        assert!(refused(&fifo).contains("other accounts may write"));
    }

    #[test]
    fn what_another_account_has_made_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let ours = stat(with_mode(dir.path().join("log"), 0o600)).unwrap();
        let of = |uid| {
            let mut stat = ours;
            stat.st_uid = uid;
            stat
        };
        assert_eq!(check(&of(65531), None).unwrap_err(), "it belongs to user 65531, not to this account: name a new file");
        assert_eq!((check(&ours, None), check(&of(0), None), check(&of(65531), Some(65531))), (Ok(()), Ok(()), Ok(())));
    }

    #[test]
    fn devices_and_descriptors_are_what_they_are() {
        open(Path::new("/dev/null"), None).unwrap();
        let dir = tempfile::tempdir().unwrap();
        // A descriptor that was passed on is intended, whatever its mode.
        let file = File::create(with_mode(dir.path().join("log"), 0o666)).unwrap();
        for path in [format!("/dev/fd/{}", file.as_raw_fd()), format!("/proc/self/fd/{}", file.as_raw_fd())] {
            rustix::io::write(open(Path::new(&path), None).unwrap(), b"x").unwrap();
        }
        assert_eq!(fs::read(dir.path().join("log")).unwrap(), b"xx");
        for (path, descriptor) in [
            ("/dev/stdout", true),
            ("/dev/fd/3", true),
            ("/proc/1/fd/1", true),
            ("/proc/thread-self/fd/9", true),
            ("/dev/fd/", false),
            ("/dev/fd/../x", false),
            ("/proc/self/fd/3/x", false),
            ("/proc/x/fd/1", false),
            ("dev/fd/3", false),
        ] {
            assert_eq!(is_descriptor(Path::new(path)), descriptor, "{path}");
        }
    }
}
