//! Lists folders, and formats files as `ls -l` does.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, statat};
use sally_proto::sftp::{ListingEntry, SftpStatus};

use super::accounts::Accounts;
use super::failure::{Done, NO_HANDLE, SftpFailure};
use super::handles::{OpenFolder, OpenHandle};
use super::opening::open_file;
use super::server::{SftpServer, Stop};
use super::tree;
use crate::clock::unix_time;

/// A batch of names ends beyond this many bytes: every client must accept 34,000 (draft section 3).
const LIST: usize = 32 << 10;
/// A file older than this, in seconds (half a year), shows its year instead of the time of day, as with ls(1).
const RECENT: i64 = 365 * 24 * 3600 / 2;

impl SftpServer {
    pub(super) fn opendir(&mut self, id: u32, path: &[u8]) -> Result<(), Stop> {
        let opened = self.opendir_now(path);
        self.conclude(self.operation("opendir", path), &opened)?;
        match opened {
            Ok(folder) => {
                let number = self.handles.insert(OpenHandle::Folder(folder));
                self.answers.handle(id, number);
                Ok(())
            }
            Err(failure) => self.status(id, Err(failure)),
        }
    }

    fn opendir_now(&self, path: &[u8]) -> Done<OpenFolder> {
        if self.handles.is_full() {
            return Err(SftpFailure::Ours(SftpStatus::Failure, "Too many open files"));
        }
        let fd = open_file(&self.at(path)?, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(OpenFolder { entries: rustix::fs::Dir::new(fd)?, path: path.into() })
    }

    pub(super) fn readdir(&mut self, id: u32, handle: &[u8]) -> Result<(), Stop> {
        let Some(folder) = self.handles.folder_mut(handle) else { return self.status(id, Err(NO_HANDLE)) };
        let now = unix_time().map_or(0, |now| now as i64);
        let mut names = self.answers.names(id);
        let mut failed = None;
        while names.bytes() < LIST {
            let entry = match folder.entries.read() {
                Some(Ok(entry)) => entry,
                Some(Err(errno)) => {
                    failed = Some(errno);
                    break;
                }
                None => break,
            };
            // A file that was removed in between is not listed.
            let Ok(stat) = folder.entries.fd().and_then(|fd| statat(fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)) else { continue };
            let name = entry.file_name().to_bytes();
            names.push(ListingEntry { name, long: &long(name, &stat, &mut self.accounts, now), attrs: tree::attrs(&stat) });
        }
        match (names.finish(), failed) {
            (0, Some(errno)) => self.status(id, Err(errno.into())),
            (0, None) => {
                self.answers.status(id, SftpStatus::Eof, SftpStatus::Eof.text());
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Formats a file as OpenSSH's sftp-server does; the time is UTC.
fn long(name: &[u8], stat: &Stat, accounts: &mut Accounts, now: i64) -> Vec<u8> {
    let or_number = |name: &[u8], number: u32| match name {
        [] => number.to_string(),
        name => String::from_utf8_lossy(name).into_owned(),
    };
    let user = or_number(accounts.user(stat.st_uid), stat.st_uid);
    let group = or_number(accounts.group(stat.st_gid), stat.st_gid);
    let mut line = mode(stat.st_mode);
    let modified = stat.st_mtime;
    let format = if (now - RECENT..=now).contains(&modified) { "%b %e %H:%M" } else { "%b %e  %Y" };
    let time = Timestamp::from_second(modified).unwrap_or_default().to_zoned(TimeZone::UTC).strftime(format).to_string();
    // Writing into a string can't fail.
    let _ = write!(line, " {:>3} {user:<8} {group:<8} {:>8} {time} ", stat.st_nlink, stat.st_size);
    let mut line = line.into_bytes();
    line.extend_from_slice(name);
    line
}

/// Formats type and permissions in ten letters, as strmode(3) does, and a space.
fn mode(mode: u32) -> String {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::RegularFile => '-',
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::Unknown => '?',
    };
    let mut text = String::from(kind);
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => set,
            (false, true) => unset,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text.push(' ');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_ls() {
        for (raw, text) in [
            (0o100_644, "-rw-r--r-- "),
            (0o040_755, "drwxr-xr-x "),
            (0o120_777, "lrwxrwxrwx "),
            (0o104_755, "-rwsr-xr-x "),
            (0o102_644, "-rw-r-Sr-- "),
            (0o041_777, "drwxrwxrwt "),
            (0o041_776, "drwxrwxrwT "),
            (0o010_600, "prw------- "),
            (0o020_620, "crw--w---- "),
        ] {
            assert_eq!(mode(raw), text, "{raw:o}");
        }
    }

    #[test]
    fn a_line_is_that_of_ls() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "four").unwrap();
        file.as_file().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
        let stat = rustix::fs::stat(file.path()).unwrap();
        let line = |now| String::from_utf8_lossy(&long(b"caf\xe9", &stat, &mut Accounts::default(), now)).into_owned();
        assert!(line(1_000_000_100).ends_with("        4 Sep  9 01:46 caf\u{fffd}"), "{}", line(1_000_000_100));
        assert!(line(1_100_000_000).contains("4 Sep  9  2001 caf"));
        assert!(line(999_999_999).contains("4 Sep  9  2001 caf"));
    }
}
