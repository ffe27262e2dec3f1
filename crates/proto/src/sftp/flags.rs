//! Reads `internal-sftp` and its flags, in `command=` or a certificate's force-command (sshd_config(5), sftp-server(8)).

use super::request::{OpenFlags, Request};

/// The forced command for the built-in SFTP and nothing else.
pub const INTERNAL_SFTP: &str = "internal-sftp";
/// The name of the subsystem.
pub const SUBSYSTEM: &str = "sftp";

const UMASK_MAX: u32 = 0o777;
/// The values of `-l` and `-f`.
const LOG_LEVELS: &str = "QUIET FATAL ERROR INFO VERBOSE DEBUG DEBUG1 DEBUG2 DEBUG3";
const FACILITIES: &str = "DAEMON USER AUTH AUTHPRIV LOCAL0 LOCAL1 LOCAL2 LOCAL3 LOCAL4 LOCAL5 LOCAL6 LOCAL7";

/// The flags. Those about a log (`-e`, `-f`, `-l`) are accepted without effect: the record has each operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SftpFlags {
    /// `-R`
    read_only: bool,
    /// `-d`, its tokens not yet expanded.
    start: Option<String>,
    /// `-u`
    umask: Option<u32>,
    /// `-p`
    allowed: Option<Vec<&'static str>>,
    /// `-P`
    denied: Option<Vec<&'static str>>,
}

impl SftpFlags {
    /// Reads a forced command. `None` if it isn't `internal-sftp`; an error names a flag that isn't obeyed here, and why.
    ///
    /// Words end at a space or a tab, and there are no quotes, as with sshd. Flags that print something (`-h`, `-Q`), operands, after
    /// which sshd reads no further flag, and values that sshd ignores are errors here.
    pub fn of_command(command: &str) -> Option<Result<Self, String>> {
        let rest = command.strip_prefix(INTERNAL_SFTP).filter(|rest| matches!(rest.as_bytes(), [] | [b' ' | b'\t', ..]))?;
        Some(Self::parse(rest).map_err(|why| format!("{INTERNAL_SFTP}: {why}")))
    }

    /// Reads flags as getopt(3) does: several in one word, a value in the same word or the next.
    fn parse(text: &str) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            let letters = word.strip_prefix('-').filter(|letters| !letters.is_empty() && *letters != "-");
            let mut letters = letters.ok_or_else(|| format!("{word:?} is not a flag"))?.chars();
            while let Some(letter) = letters.next() {
                match letter {
                    'R' => flags.read_only = true,
                    'e' => {}
                    'd' | 'f' | 'l' | 'P' | 'p' | 'u' => {
                        let value = Some(letters.as_str()).filter(|rest| !rest.is_empty()).or_else(|| words.next());
                        flags.set(letter, value.ok_or_else(|| format!("-{letter} needs a value"))?)?;
                        break;
                    }
                    other => return Err(format!("-{other} is not obeyed here").escape_debug().to_string()),
                }
            }
        }
        Ok(flags)
    }

    fn set(&mut self, letter: char, value: &str) -> Result<(), String> {
        let one_of = |names: &str| names.split(' ').any(|name| name.eq_ignore_ascii_case(value));
        let taken = match letter {
            'd' => {
                self.start = Some(value.to_owned());
                expand(value, "", "").is_some()
            }
            'u' => {
                let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                self.umask = u32::from_str_radix(value, 8).ok().filter(|mask| digits && *mask <= UMASK_MAX);
                self.umask.is_some()
            }
            'P' => set_once(&mut self.denied, requests(value)?),
            'p' => set_once(&mut self.allowed, requests(value)?),
            'f' => one_of(FACILITIES),
            _ => one_of(LOG_LEVELS),
        };
        if taken { Ok(()) } else { Err(format!("-{letter} can't be {value:?} here")) }
    }

    /// Returns whether a request is permitted, and an open with these flags. The list of denied requests takes precedence. An unknown
    /// request is permitted, because it is answered as unknown.
    pub fn permits(&self, request: &Request<'_>) -> bool {
        let Some(name) = request.name() else { return true };
        let changes = match request {
            Request::Open { flags, .. } => opens_for_change(*flags),
            _ => CHANGING.contains(&name),
        };
        !(self.read_only && changes) && self.permits_name(name)
    }

    /// Returns whether an extension is announced: sshd doesn't announce those that it would refuse.
    pub(super) fn offers(&self, extension: &str) -> bool {
        let name = extension.split('@').next().unwrap_or_default();
        !(self.read_only && CHANGING.contains(&name)) && self.permits_name(name)
    }

    fn permits_name(&self, name: &str) -> bool {
        let among = |list: &Vec<&str>| list.contains(&name);
        !self.denied.as_ref().is_some_and(among) && self.allowed.as_ref().is_none_or(among)
    }

    /// Returns the folder in which relative paths begin, if it isn't home: a path, relative to home.
    pub fn start(&self, home: &str, user: &str) -> Option<String> {
        self.start.as_ref().and_then(|start| expand(start, home, user))
    }

    /// Returns the umask for new files, if it isn't the account's.
    pub fn umask(&self) -> Option<u32> {
        self.umask
    }
}

/// The requests that change something, by sftp-server's names (`sftp-server -Q requests`); an open does so by its flags.
const CHANGING: &[&str] = &[
    "write",
    "setstat",
    "fsetstat",
    "remove",
    "mkdir",
    "rmdir",
    "rename",
    "symlink",
    "posix-rename",
    "hardlink",
    "fsync",
    "lsetstat",
    "copy-data",
];
/// The requests that change nothing.
const LOOKING: &[&str] = &[
    "open",
    "close",
    "read",
    "lstat",
    "fstat",
    "opendir",
    "readdir",
    "realpath",
    "stat",
    "readlink",
    "statvfs",
    "fstatvfs",
    "limits",
    "expand-path",
    "home-directory",
    "users-groups-by-id",
];

/// Reads a list of requests. An unknown name is an error, because it would be denied, or permitted, in vain.
fn requests(list: &str) -> Result<Vec<&'static str>, String> {
    let known = |name: &str| [CHANGING, LOOKING].into_iter().flatten().find(|known| **known == name).copied();
    list.split(',').map(|name| known(name).ok_or_else(|| format!("there is no request {name:?}"))).collect()
}

/// Sets a list; returns true if it was not set before: sshd ends the session at a second one.
fn set_once(list: &mut Option<Vec<&'static str>>, names: Vec<&'static str>) -> bool {
    list.replace(names).is_none()
}

fn opens_for_change(flags: OpenFlags) -> bool {
    flags.write() || flags.create() || flags.truncate()
}

/// Expands `~` at the beginning and `%d` to the home, `%u` to the user, `%%` to `%`. `None` for any other token, and for the home of
/// another user.
fn expand(text: &str, home: &str, user: &str) -> Option<String> {
    let (mut expanded, rest) = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => (home.to_owned(), rest),
        Some(_) => return None,
        None => (String::new(), text),
    };
    let mut characters = rest.chars();
    while let Some(c) = characters.next() {
        match c {
            '%' => match characters.next()? {
                '%' => expanded.push('%'),
                'd' => expanded.push_str(home),
                'u' => expanded.push_str(user),
                _ => return None,
            },
            c => expanded.push(c),
        }
    }
    Some(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(command: &str) -> SftpFlags {
        SftpFlags::of_command(command).unwrap().unwrap()
    }

    #[test]
    fn it_is_internal_sftp_or_another_command() {
        for other in ["internal-sftpd", "internal-sftp-R", " internal-sftp", "/usr/lib/openssh/sftp-server -R", "sftp", ""] {
            assert_eq!(SftpFlags::of_command(other), None, "{other}");
        }
        for none in ["internal-sftp", "internal-sftp ", "internal-sftp -e", "internal-sftp -l debug3 -fLOCAL7", "internal-sftp\t-f auth"] {
            assert_eq!(flags(none), SftpFlags::default(), "{none}");
        }
    }

    #[test]
    fn flags_are_read_as_getopt_does() {
        let all = flags("internal-sftp -Ru 027 -d/srv/%u -p read,open -P write");
        assert_eq!((all.read_only, all.umask()), (true, Some(0o27)));
        assert_eq!(all.start("/home/app", "app").as_deref(), Some("/srv/app"));
        assert_eq!((all.allowed, all.denied), (Some(vec!["read", "open"]), Some(vec!["write"])));
        assert!(flags("internal-sftp\t-R").read_only, "sshd takes the tab for a part of the name, and no flag");
        for (start, wanted) in [("~", "/h"), ("~/x", "/h/x"), ("%d/100%%", "/h/100%"), ("up", "up")] {
            assert_eq!(flags(&format!("internal-sftp -d {start}")).start("/h", "u").as_deref(), Some(wanted));
        }
    }

    #[test]
    fn what_is_not_obeyed_is_an_error() {
        for wrong in [
            "-h",
            "-Q requests",
            "-c",
            "-x",
            "-RX",
            "--",
            "-",
            "folder",
            "-R folder",
            "-d",
            "-d %h",
            "-d %",
            "-d ~app",
            "-u",
            "-u 8",
            "-u 1000",
            "-u +22",
            "-u -1",
            "-u 0x1",
            "-l LOUD",
            "-f MAIL",
            "-p",
            "-p nothing",
            "-P open,,read",
            "-p read -p open",
            "-P read -P open",
        ] {
            assert!(SftpFlags::of_command(&format!("internal-sftp {wrong}")).unwrap().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_denied_goes_before_what_is_allowed() {
        let open = |bits| Request::Open { path: b"x", flags: OpenFlags(bits), attrs: super::super::Attrs::default() };
        let read = Request::Read { handle: b"", offset: 0, length: 1 };
        let remove = Request::Remove { path: b"x" };
        let both = flags("internal-sftp -p read,open -P open");
        assert!(both.permits(&read) && !both.permits(&open(1)) && !both.permits(&remove));
        let reading = flags("internal-sftp -R");
        assert!(reading.permits(&read) && reading.permits(&open(1)) && !reading.permits(&remove));
        for writing in [0b10, 0b11, 0b1001, 0b1_0001] {
            assert!(!reading.permits(&open(writing)), "{writing:b}");
        }
        assert!(reading.offers("statvfs@openssh.com") && !reading.offers("posix-rename@openssh.com") && !reading.offers("copy-data"));
        assert!(reading.permits(&Request::Unknown { kind: 99 }));
    }
}
