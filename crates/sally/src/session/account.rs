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
        let entry = passwd.split(|byte| *byte == b'\n').find_map(|line| Entry::parse(line, uid));
        let said = |value: Option<OsString>| value.filter(|value| !value.is_empty()).map(PathBuf::from);
        let (name, entry_home, entry_shell) = match entry {
            Some(entry) => (entry.name, entry.home, entry.shell),
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

struct Entry {
    name: String,
    home: Option<PathBuf>,
    shell: Option<PathBuf>,
}

impl Entry {
    /// passwd(5): `name:password:UID:GID:GECOS:directory:shell`.
    fn parse(line: &[u8], uid: u32) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next()?;
        let number = fields.nth(1)?;
        if std::str::from_utf8(number).ok()?.parse() != Ok(uid) {
            return None;
        }
        let path = |field: Option<&[u8]>| field.filter(|field| !field.is_empty()).map(|field| OsString::from_vec(field.to_vec()).into());
        let home = path(fields.nth(2));
        let shell = path(fields.next());
        Some(Self { name: String::from_utf8_lossy(name).into_owned(), home, shell })
    }
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
