//! Finds the account that a session runs as: that of this process, or another one that root chooses; from /etc/passwd and /etc/group, or
//! with defaults.
//!
//! The files are read directly: a static binary can't load the modules that getpwuid(3) needs, and a container may have none.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use sally_proto::error::Fault;
use sally_sys::account::{Credentials, as_user, become_user, traceable_while_changing};

use crate::term;

/// The account of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name, or its number if it has none.
    pub name: String,
    /// Its home directory.
    pub home: PathBuf,
    /// Its login shell: `$SHELL`, else passwd's, else /bin/sh.
    pub shell: PathBuf,
}

impl Account {
    /// Resolves the account of user `uid` from the text of /etc/passwd (empty if there is none) and from `$HOME` and `$SHELL` as given.
    pub fn resolve(uid: u32, passwd: &[u8], home: Option<OsString>, shell: Option<OsString>) -> Self {
        let entry = entries(passwd).find(|entry| entry.number == uid);
        let said = |value: Option<OsString>| value.filter(|value| !value.is_empty()).map(PathBuf::from);
        let (name, entry_home, entry_shell) = match entry {
            Some(entry) => (String::from_utf8_lossy(entry.name).into_owned(), entry.path(2), entry.path(3)),
            None => (uid.to_string(), None, None),
        };
        Self {
            name,
            home: entry_home.or_else(|| said(home)).unwrap_or_else(|| "/".into()),
            shell: said(shell).or(entry_shell).unwrap_or_else(|| "/bin/sh".into()),
        }
    }

    /// Returns the variables of a login that name the account.
    pub fn variables(&self) -> [(OsString, OsString); 4] {
        let (home, shell) = (self.home.clone().into(), self.shell.clone().into());
        [("USER", self.name.clone().into()), ("LOGNAME", self.name.clone().into()), ("HOME", home), ("SHELL", shell)]
            .map(|(name, value)| (name.into(), value))
    }

    /// Resolves the account of this process, as [`Account::resolve`], from the real file.
    pub fn current(home: Option<OsString>, shell: Option<OsString>) -> Self {
        let passwd = fs::read("/etc/passwd").unwrap_or_default();
        Self::resolve(rustix::process::geteuid().as_raw(), &passwd, home, shell)
    }
}

/// Another account that sessions run as.
#[derive(Clone, Debug)]
pub struct RunAs {
    named: String,
    account: Account,
    credentials: Credentials,
}

impl RunAs {
    /// Finds an account by its name, or by the number of its user.
    ///
    /// # Errors
    /// [`Fault::AccountInvalid`].
    pub fn find(user: &str) -> Result<Self, Fault> {
        let read = |file: &str| fs::read(file).unwrap_or_default();
        Self::resolve(user, &read("/etc/passwd"), &read("/etc/group"))
    }

    fn resolve(user: &str, passwd: &[u8], group: &[u8]) -> Result<Self, Fault> {
        let invalid = |reason: &str| Fault::AccountInvalid { user: term::excerpt(user), reason: reason.into() };
        let number = user.parse().ok();
        // setresuid(2) uses that number for "unchanged".
        if number == Some(u32::MAX) {
            return Err(invalid("no user has that number"));
        }
        let of_name = entries(passwd).find(|entry| entry.name == user.as_bytes());
        let entry = of_name.or_else(|| entries(passwd).find(|entry| Some(entry.number) == number));
        let id = entry.as_ref().map(|entry| entry.number).or(number).ok_or_else(|| invalid("there is none of that name"))?;
        let credentials = match &entry {
            Some(entry) => {
                let primary = entry.field(0).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
                let primary = primary.ok_or_else(|| invalid("its line in /etc/passwd names no group"))?;
                let others = entries(group).filter(|group| group.has_member(entry.name)).map(|group| group.number);
                Credentials { user: id, group: primary, groups: [primary].into_iter().chain(others.filter(|id| *id != primary)).collect() }
            }
            None => Credentials::of_number(id),
        };
        Ok(Self { named: user.to_owned(), account: Account::resolve(id, passwd, None, None), credentials })
    }

    /// Returns its name or number, as it was given.
    pub fn named(&self) -> &str {
        &self.named
    }

    /// Returns the account, for sessions.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Returns whether it is the account of this process already.
    pub fn is_ours(&self) -> bool {
        self.credentials.user == rustix::process::geteuid().as_raw()
    }

    /// Switches this process to the account for good.
    ///
    /// # Errors
    /// [`Fault::AccountInvalid`] if we may not, or if that account's processes could read our memory meanwhile.
    pub fn take_on(&self) -> Result<(), Fault> {
        if self.is_ours() {
            return Ok(());
        }
        self.untraced()?;
        become_user(&self.credentials).map_err(|error| self.invalid(&term::reason(&error)))
    }

    /// Calls `question` as that account, and returns its answer.
    ///
    /// # Errors
    /// As [`RunAs::take_on`].
    pub fn ask<T: Send>(&self, question: impl FnOnce() -> T + Send) -> Result<T, Fault> {
        self.untraced()?;
        as_user(&self.credentials, question).map_err(|error| self.invalid(&term::reason(&error)))
    }

    /// Refuses if the account's processes could read our memory: the kernel would allow that between the change of user and our forbidding
    /// it.
    fn untraced(&self) -> Result<(), Fault> {
        if traceable_while_changing() {
            return Err(self.invalid("with fs.suid_dumpable = 1 its processes could read our keys"));
        }
        Ok(())
    }

    fn invalid(&self, reason: &str) -> Fault {
        Fault::AccountInvalid { user: term::excerpt(&self.named), reason: reason.into() }
    }
}

/// Returns whether the account of this thread can read a file, or could after changing the mode of its own file. False for anything but a
/// file: a pipe's bytes are gone once they are read.
pub fn can_read(file: &Path) -> bool {
    let facts = fs::metadata(file);
    facts.is_ok_and(|facts| facts.is_file() && (facts.uid() == rustix::process::geteuid().as_raw() || File::open(file).is_ok()))
}

/// Returns whether the account of this thread can add and remove files in a folder, or could after changing the mode of its own folder.
pub fn can_alter(folder: &Path) -> bool {
    let own = fs::metadata(folder).is_ok_and(|facts| facts.uid() == rustix::process::geteuid().as_raw());
    own || accessat(CWD, folder, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// A line of passwd(5), `name:password:UID:GID:GECOS:directory:shell`, or of group(5), `name:password:GID:members`.
pub(super) struct AccountEntry<'a> {
    pub(super) name: &'a [u8],
    /// UID or GID.
    pub(super) number: u32,
    rest: &'a [u8],
}

impl<'a> AccountEntry<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(4, |byte| *byte == b':');
        let name = fields.next()?;
        let number = std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
        Some(Self { name, number, rest: fields.next().unwrap_or_default() })
    }

    /// Returns the directory (2) or the shell (3), if there is one: the fields after the number are counted from 0.
    pub(super) fn path(&self, field: usize) -> Option<PathBuf> {
        let path = self.field(field)?;
        (!path.is_empty()).then(|| OsString::from_vec(path.to_vec()).into())
    }

    fn field(&self, field: usize) -> Option<&'a [u8]> {
        self.rest.split(|byte| *byte == b':').nth(field)
    }

    /// Returns whether a group's line lists this member.
    fn has_member(&self, user: &[u8]) -> bool {
        self.field(0).unwrap_or_default().split(|byte| *byte == b',').any(|member| member == user)
    }
}

/// Returns the valid lines of /etc/passwd or /etc/group.
pub(super) fn entries(file: &[u8]) -> impl Iterator<Item = AccountEntry<'_>> {
    file.split(|byte| *byte == b'\n').filter_map(AccountEntry::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n\nbroken\napp:x:1000:1000::/app:\n";

    #[test]
    fn passwd_gives_name_and_home_and_shell() {
        let root = Account::resolve(0, PASSWD, Some("/elsewhere".into()), None);
        assert_eq!(root, Account { name: "root".into(), home: "/root".into(), shell: "/bin/bash".into() });
    }

    #[test]
    fn the_shell_variable_goes_before_passwd() {
        assert_eq!(Account::resolve(0, PASSWD, None, Some("/bin/zsh".into())).shell, PathBuf::from("/bin/zsh"));
        assert_eq!(Account::resolve(1000, PASSWD, None, Some("".into())).shell, PathBuf::from("/bin/sh"));
    }

    #[test]
    fn an_account_without_passwd_still_has_a_session() {
        let nobody = Account::resolve(4711, b"", Some("/data".into()), None);
        assert_eq!(nobody, Account { name: "4711".into(), home: "/data".into(), shell: "/bin/sh".into() });
    }

    #[test]
    fn another_account_has_its_groups_and_nothing_of_the_starters() {
        let group = b"root:x:0:\napp:x:1000:\naudio:x:29:pulse,app\nbroken\nvideo:x:44:application\nlog:x:4:app\n";
        let app = RunAs::resolve("app", PASSWD, group).unwrap();
        assert_eq!(app.credentials, Credentials { user: 1000, group: 1000, groups: vec![1000, 29, 4] });
        assert_eq!(app.account, Account { name: "app".into(), home: "/app".into(), shell: "/bin/sh".into() });
        assert_eq!(RunAs::resolve("1000", PASSWD, group).unwrap().credentials, app.credentials);
        let number = RunAs::resolve("4711", PASSWD, group).unwrap();
        assert_eq!(number.credentials, Credentials::of_number(4711));
        assert_eq!(number.account, Account { name: "4711".into(), home: "/".into(), shell: "/bin/sh".into() });
        for none in ["nobody", "", "-1", "4294967295", "4294967296", "ap"] {
            assert!(RunAs::resolve(none, PASSWD, group).is_err(), "{none}");
        }
    }
}
