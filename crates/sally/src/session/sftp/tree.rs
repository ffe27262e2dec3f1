//! Serves the requests for a path. Each has the meaning that OpenSSH's sftp-server gives it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Stat, StatVfs, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use sally_proto::record::SftpOperation;
use sally_proto::sftp::{Attrs, SftpStatus, Volume};

use super::accounts;
use super::failure::{Done, SftpFailure};
use super::opening::open_file;
use super::server::{SftpServer, Stop};

/// The most symbolic links in one path: the kernel's own limit.
const MAX_LINKS: usize = 40;

impl SftpServer {
    /// Resolves a path: relative ones begin at home, or at the folder of the key's `-d`.
    pub(super) fn at(&self, path: &[u8]) -> Done<PathBuf> {
        if path.is_empty() {
            return Err(Errno::NOENT.into());
        }
        Ok(self.start.join(OsStr::from_bytes(path)))
    }

    pub(super) fn stat(&mut self, id: u32, path: &[u8]) -> Result<(), Stop> {
        let operation = self.operation("stat", path);
        self.look(id, operation, |server| Ok(attrs(&fs::stat(server.at(path)?)?)), |answers, attrs| answers.attrs(id, &attrs))
    }

    pub(super) fn lstat(&mut self, id: u32, path: &[u8]) -> Result<(), Stop> {
        let operation = self.operation("lstat", path);
        self.look(id, operation, |server| Ok(attrs(&fs::lstat(server.at(path)?)?)), |answers, attrs| answers.attrs(id, &attrs))
    }

    pub(super) fn setstat(&mut self, id: u32, path: &[u8], attrs: &Attrs) -> Result<(), Stop> {
        let operation = SftpOperation { mode: Some(attrs.to_string()), ..self.operation("setstat", path) };
        self.change(id, operation, |server| set(&AttrsTarget::Path(&server.at(path)?), attrs))
    }

    pub(super) fn lsetstat(&mut self, id: u32, path: &[u8], attrs: &Attrs) -> Result<(), Stop> {
        let operation = SftpOperation { mode: Some(attrs.to_string()), ..self.operation("lsetstat", path) };
        self.change(id, operation, |server| set(&AttrsTarget::Link(&server.at(path)?), attrs))
    }

    pub(super) fn remove(&mut self, id: u32, path: &[u8]) -> Result<(), Stop> {
        let operation = self.operation("remove", path);
        self.change(id, operation, |server| Ok(fs::unlink(server.at(path)?)?))
    }

    pub(super) fn mkdir(&mut self, id: u32, path: &[u8], attrs: &Attrs) -> Result<(), Stop> {
        let operation = SftpOperation { mode: Some(attrs.to_string()), ..self.operation("mkdir", path) };
        let mode = Mode::from_raw_mode(attrs.mode.unwrap_or(0o777) & 0o7777);
        self.change(id, operation, |server| Ok(fs::mkdir(server.at(path)?, mode)?))
    }

    pub(super) fn rmdir(&mut self, id: u32, path: &[u8]) -> Result<(), Stop> {
        let operation = self.operation("rmdir", path);
        self.change(id, operation, |server| Ok(fs::rmdir(server.at(path)?)?))
    }

    /// Renames, but never over an existing file: that is `posix-rename`.
    pub(super) fn rename(&mut self, id: u32, from: &[u8], to: &[u8]) -> Result<(), Stop> {
        let operation = SftpOperation { to: Some(to.into()), ..self.operation("rename", from) };
        self.change(id, operation, |server| rename_new(&server.at(from)?, &server.at(to)?))
    }

    pub(super) fn posix_rename(&mut self, id: u32, from: &[u8], to: &[u8]) -> Result<(), Stop> {
        let operation = SftpOperation { to: Some(to.into()), ..self.operation("posix-rename", from) };
        self.change(id, operation, |server| Ok(fs::rename(server.at(from)?, server.at(to)?)?))
    }

    pub(super) fn hardlink(&mut self, id: u32, from: &[u8], to: &[u8]) -> Result<(), Stop> {
        let operation = SftpOperation { to: Some(to.into()), ..self.operation("hardlink", from) };
        self.change(id, operation, |server| Ok(fs::link(server.at(from)?, server.at(to)?)?))
    }

    pub(super) fn symlink(&mut self, id: u32, target: &[u8], link: &[u8]) -> Result<(), Stop> {
        let operation = SftpOperation { to: Some(target.into()), ..self.operation("symlink", link) };
        self.change(id, operation, |server| Ok(fs::symlink(target, server.at(link)?)?))
    }

    pub(super) fn readlink(&mut self, id: u32, path: &[u8]) -> Result<(), Stop> {
        let operation = self.operation("readlink", path);
        self.look(
            id,
            operation,
            |server| Ok(fs::readlink(server.at(path)?, Vec::new())?),
            |answers, target| answers.path(id, target.as_bytes()),
        )
    }

    pub(super) fn realpath(&mut self, id: u32, path: &[u8]) -> Result<(), Stop> {
        let operation = self.operation("realpath", path);
        self.look(id, operation, |server| server.real(path), |answers, real| answers.path(id, real.as_os_str().as_bytes()))
    }

    /// Resolves a path without links; the empty path is the folder where relative ones begin.
    fn real(&self, path: &[u8]) -> Done<PathBuf> {
        Ok(canonical(&self.start.join(OsStr::from_bytes(path)))?)
    }

    /// Resolves as [`SftpServer::realpath`], with `~` or `~user` at the beginning: `~` alone is where relative paths begin, as with OpenSSH.
    pub(super) fn expand_path(&mut self, id: u32, path: &[u8]) -> Result<(), Stop> {
        let operation = self.operation("expand-path", path);
        let real = |server: &Self| match path.strip_prefix(b"~") {
            None => server.real(path),
            Some(rest) => {
                let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
                let (user, rest) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                let folder = if user.is_empty() { server.start.clone() } else { server.home_of(user)? };
                let mut expanded = folder.into_os_string().into_vec();
                expanded.extend_from_slice(rest);
                server.real(&expanded)
            }
        };
        self.look(id, operation, real, |answers, real| answers.path(id, real.as_os_str().as_bytes()))
    }

    pub(super) fn home_directory(&mut self, id: u32, user: &[u8]) -> Result<(), Stop> {
        let operation = self.operation("home-directory", user);
        self.look(id, operation, |server| server.home_of(user), |answers, home| answers.path(id, home.as_os_str().as_bytes()))
    }

    /// Returns a user's home; without a name that of the account.
    fn home_of(&self, user: &[u8]) -> Done<PathBuf> {
        match user {
            [] => Ok(self.home.clone()),
            user => accounts::home_of(user).ok_or(SftpFailure::Ours(SftpStatus::Failure, "No such user")),
        }
    }

    pub(super) fn statvfs(&mut self, id: u32, path: &[u8]) -> Result<(), Stop> {
        let operation = self.operation("statvfs", path);
        self.look(id, operation, |server| Ok(volume(&fs::statvfs(server.at(path)?)?)), |answers, volume| answers.volume(id, &volume))
    }

    pub(super) fn users_groups_by_id(&mut self, id: u32, users: &[u8], groups: &[u8]) -> Result<(), Stop> {
        self.conclude(self.operation("users-groups-by-id", b""), &Ok(()))?;
        let numbers = |list: &[u8]| -> Vec<u32> {
            let (numbers, _) = list.as_chunks::<4>();
            numbers.iter().map(|number| u32::from_be_bytes(*number)).collect()
        };
        let users: Vec<Vec<u8>> = numbers(users).into_iter().map(|number| self.accounts.user(number).to_vec()).collect();
        let groups: Vec<Vec<u8>> = numbers(groups).into_iter().map(|number| self.accounts.group(number).to_vec()).collect();
        self.answers.accounts(id, users.iter().map(Vec::as_slice), groups.iter().map(Vec::as_slice));
        Ok(())
    }
}

/// Converts what the system knows of a file.
pub(super) fn attrs(stat: &Stat) -> Attrs {
    // Version 3 can't express times before 1970 and after 2106: the nearest one is sent.
    let seconds = |time: i64| u32::try_from(time.max(0)).unwrap_or(u32::MAX);
    Attrs {
        size: u64::try_from(stat.st_size).ok(),
        owner: Some((stat.st_uid, stat.st_gid)),
        mode: Some(stat.st_mode),
        times: Some((seconds(stat.st_atime), seconds(stat.st_mtime))),
    }
}

/// Converts what the system knows of a file system. Of its flags only read-only (1) and no setuid (2) are sent.
pub(super) fn volume(volume: &StatVfs) -> Volume {
    Volume {
        bsize: volume.f_bsize,
        frsize: volume.f_frsize,
        blocks: volume.f_blocks,
        bfree: volume.f_bfree,
        bavail: volume.f_bavail,
        files: volume.f_files,
        ffree: volume.f_ffree,
        favail: volume.f_favail,
        fsid: volume.f_fsid,
        flag: volume.f_flag.bits() & 0b11,
        namemax: volume.f_namemax,
    }
}

/// The file whose attributes are set.
pub(super) enum AttrsTarget<'a> {
    /// A file by its path.
    Path(&'a Path),
    /// A file that is open.
    File(&'a OwnedFd),
    /// The path itself, even if it is a symbolic link.
    Link(&'a Path),
}

/// Sets all given attributes, each whether or not another fails; the first failure counts.
pub(super) fn set(target: &AttrsTarget<'_>, attrs: &Attrs) -> Done {
    let mut done = Ok(());
    let mut note = |result: Done| {
        if done.is_ok() {
            done = result;
        }
    };
    if let Some(size) = attrs.size {
        note(set_size(target, size));
    }
    if let Some(mode) = attrs.mode {
        note(set_mode(target, Mode::from_raw_mode(mode & 0o7777)).map_err(SftpFailure::from));
    }
    if let Some((accessed, modified)) = attrs.times {
        let time = |seconds: u32| Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
        let times = Timestamps { last_access: time(accessed), last_modification: time(modified) };
        let set = match target {
            AttrsTarget::Path(path) => fs::utimensat(CWD, *path, &times, AtFlags::empty()),
            AttrsTarget::File(fd) => fs::futimens(fd, &times),
            AttrsTarget::Link(path) => fs::utimensat(CWD, *path, &times, AtFlags::SYMLINK_NOFOLLOW),
        };
        note(set.map_err(SftpFailure::from));
    }
    if let Some((user, group)) = attrs.owner {
        // All bits set means unchanged for chown(2).
        let (user, group) = ((user != u32::MAX).then(|| Uid::from_raw(user)), (group != u32::MAX).then(|| Gid::from_raw(group)));
        let set = match target {
            AttrsTarget::Path(path) => fs::chownat(CWD, *path, user, group, AtFlags::empty()),
            AttrsTarget::File(fd) => fs::fchown(fd, user, group),
            AttrsTarget::Link(path) => fs::chownat(CWD, *path, user, group, AtFlags::SYMLINK_NOFOLLOW),
        };
        note(set.map_err(SftpFailure::from));
    }
    done
}

fn set_size(target: &AttrsTarget<'_>, size: u64) -> Done {
    match target {
        AttrsTarget::Path(path) => {
            let fd = open_file(path, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())?;
            Ok(fs::ftruncate(fd, size)?)
        }
        AttrsTarget::File(fd) => Ok(fs::ftruncate(fd, size)?),
        AttrsTarget::Link(_) => Err(SftpFailure::Ours(SftpStatus::BadMessage, SftpStatus::BadMessage.text())),
    }
}

fn set_mode(target: &AttrsTarget<'_>, mode: Mode) -> rustix::io::Result<()> {
    match target {
        AttrsTarget::Path(path) => fs::chmod(*path, mode),
        AttrsTarget::File(fd) => fs::fchmod(fd, mode),
        // A link has no permissions of its own; for other files this is glibc's way too.
        AttrsTarget::Link(path) => {
            let fd = fs::open(*path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            if FileType::from_raw_mode(fs::fstat(&fd)?.st_mode).is_symlink() {
                return Err(Errno::OPNOTSUPP);
            }
            fs::chmod(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd.as_fd())), mode)
        }
    }
}

/// Renames, unless the target exists. A file system that can't do that in one step is asked first: in between another process may act, as
/// with OpenSSH.
fn rename_new(from: &Path, to: &Path) -> Done {
    match fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => match fs::lstat(to) {
            Err(Errno::NOENT) => Ok(fs::rename(from, to)?),
            Err(errno) => Err(errno.into()),
            Ok(_) => Err(Errno::EXIST.into()),
        },
        other => Ok(other?),
    }
}

/// Returns the path without symbolic links, `.` and `..`. As with OpenSSH, its last part need not exist.
fn canonical(path: &Path) -> rustix::io::Result<PathBuf> {
    let mut real = PathBuf::from("/");
    let mut left = path.as_os_str().as_bytes().to_vec();
    let mut links = 0;
    while !left.is_empty() {
        let cut = left.iter().position(|byte| *byte == b'/');
        let rest = cut.map(|cut| left.split_off(cut).split_off(1));
        match &*left {
            b"" | b"." => {}
            b".." => drop(real.pop()),
            name => {
                let next = real.join(OsStr::from_bytes(name));
                match fs::lstat(&next) {
                    Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_symlink() => {
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(Errno::LOOP);
                        }
                        let mut target = fs::readlink(&next, Vec::new())?.into_bytes();
                        if target.starts_with(b"/") {
                            real = PathBuf::from("/");
                        }
                        if let Some(rest) = rest {
                            target.push(b'/');
                            target.extend_from_slice(&rest);
                        }
                        left = target;
                        continue;
                    }
                    Ok(_) => real = next,
                    Err(Errno::NOENT) if rest.is_none() => real = next,
                    Err(errno) => return Err(errno),
                }
            }
        }
        left = rest.unwrap_or_default();
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_path_has_no_links_and_may_end_in_what_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("a/b")).unwrap();
        std::os::unix::fs::symlink("a/b", base.join("short")).unwrap();
        std::os::unix::fs::symlink(base.join("a"), base.join("whole")).unwrap();
        std::os::unix::fs::symlink("round", base.join("round")).unwrap();
        std::fs::write(base.join("file"), "").unwrap();
        let real = |path: &str| canonical(&base.join(path));
        for (path, expected) in [
            ("", ""),
            ("./a//b/..", "a"),
            ("short/../x", "a/x"),
            ("whole/b/.", "a/b"),
            ("missing", "missing"),
            ("short/missing", "a/b/missing"),
        ] {
            assert_eq!(real(path), Ok(base.join(expected).components().collect::<PathBuf>()), "{path}");
        }
        assert_eq!(real("missing/x"), Err(Errno::NOENT));
        assert_eq!(real("missing/"), Err(Errno::NOENT));
        assert_eq!(real("file/x"), Err(Errno::NOTDIR));
        assert_eq!(real("round"), Err(Errno::LOOP));
        assert_eq!(canonical(Path::new("/../..")), Ok("/".into()));
    }

    #[test]
    fn rename_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("one"), "1").unwrap();
        std::fs::write(path("two"), "2").unwrap();
        assert_eq!(rename_new(&path("one"), &path("two")), Err(Errno::EXIST.into()));
        assert_eq!(rename_new(&path("one"), &path("three")), Ok(()));
        assert_eq!(rename_new(&path("one"), &path("four")), Err(Errno::NOENT.into()));
        assert_eq!((std::fs::read(path("two")).unwrap(), std::fs::read(path("three")).unwrap()), (b"2".into(), b"1".into()));
    }

    #[test]
    fn all_that_can_be_set_is_set() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "12345").unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("link")).unwrap();
        let wanted = Attrs { size: Some(3), mode: Some(0o100_600), times: Some((5, 7)), owner: Some((u32::MAX, u32::MAX)) };
        assert_eq!(set(&AttrsTarget::Path(&file), &wanted), Ok(()));
        let now = attrs(&fs::stat(&file).unwrap());
        assert_eq!((now.size, now.mode, now.times), (Some(3), Some(0o100_600), Some((5, 7))));
        let link = folder.path().join("link");
        let times = Attrs { times: Some((1, 1)), ..Attrs::default() };
        assert_eq!(set(&AttrsTarget::Link(&link), &times), Ok(()));
        assert_eq!(attrs(&fs::lstat(&link).unwrap()).times.map(|times| times.1), Some(1));
        assert_eq!(attrs(&fs::stat(&file).unwrap()).times, Some((5, 7)));
        let mode = Attrs { mode: Some(0o644), ..Attrs::default() };
        assert_eq!(set(&AttrsTarget::Link(&link), &mode), Err(Errno::OPNOTSUPP.into()));
        assert_eq!(set(&AttrsTarget::Link(&file), &mode), Ok(()));
        assert_eq!(attrs(&fs::stat(&file).unwrap()).mode, Some(0o100_644));
    }
}
