//! Who a session runs as: the account that started the process, as /etc/passwd knows it, or as good as can be without.
//!
//! The file is read directly: a static binary can't load the modules that getpwuid(3) needs, and a container may have no such file.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The account of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name, or its number where there is none.
    pub name: String,
    /// Its home directory.
    pub home: PathBuf,
    /// Its login shell: `$SHELL`, else passwd's, else /bin/sh.
    pub shell: PathBuf,
}

impl Account {
    /// The account of user `uid`, from the text of /etc/passwd (empty where there is none) and from `$HOME` and `$SHELL` as given.
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

    /// As [`Account::resolve`], for this process and the real file.
    pub fn current(home: Option<OsString>, shell: Option<OsString>) -> Self {
        let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
        Self::resolve(rustix::process::geteuid().as_raw(), &passwd, home, shell)
    }
}

/// A line of passwd(5), `name:password:UID:GID:GECOS:directory:shell`, or of group(5), `name:password:GID:members`.
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    /// UID or GID.
    pub(super) number: u32,
    rest: &'a [u8],
}

impl<'a> Entry<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(4, |byte| *byte == b':');
        let name = fields.next()?;
        let number = std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
        Some(Self { name, number, rest: fields.next().unwrap_or_default() })
    }

    /// The directory (2) or shell (3), where there is one: the fields after the number are counted from 0.
    pub(super) fn path(&self, field: usize) -> Option<PathBuf> {
        let path = self.rest.split(|byte| *byte == b':').nth(field)?;
        (!path.is_empty()).then(|| OsString::from_vec(path.to_vec()).into())
    }
}

/// The lines of /etc/passwd or /etc/group that can be understood.
pub(super) fn entries(file: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    file.split(|byte| *byte == b'\n').filter_map(Entry::parse)
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
}
