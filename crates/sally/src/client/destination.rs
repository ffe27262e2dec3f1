//! Finds the hosts in OpenSSH's command lines, and checks their names. A name ends up in a ProxyCommand, which ssh gives to a shell:
//! OpenSSH before 9.6 lets a name contain shell syntax (CVE-2023-51385), so that a submodule's URL could run a program.

/// An OpenSSH program that connects to hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenSshProgram {
    /// ssh(1).
    Ssh,
    /// scp(1).
    Scp,
    /// sftp(1).
    Sftp,
}

/// A parsed command line.
#[derive(Default)]
struct CommandLine<'a> {
    /// The options with a value, and their values.
    options: Vec<(char, &'a str)>,
    destinations: Vec<&'a str>,
}

impl OpenSshProgram {
    /// Returns its name in `$PATH`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Scp => "scp",
            Self::Sftp => "sftp",
        }
    }

    /// Returns the options that take a value (ssh.c, scp.c, sftp.c of OpenSSH 10).
    fn options_with_word(self) -> &'static str {
        match self {
            Self::Ssh => "BbcDEeFIiJLlmOoPpQRSWw",
            Self::Scp => "cDFiJloPSX",
            Self::Sftp => "BbcDFiJloPRSsX",
        }
    }

    /// Parses a command line. ssh has one destination, followed by a command (after more options); scp has any number.
    fn take_apart<'a>(self, words: &'a [String]) -> CommandLine<'a> {
        let mut line = CommandLine::default();
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word.strip_prefix('-') {
                Some("-") if self == Self::Ssh && !line.destinations.is_empty() => break,
                Some("-") => {}
                Some(letters) if !letters.is_empty() => {
                    let takes = letters.char_indices().find(|(_, letter)| self.options_with_word().contains(*letter));
                    if let Some((at, letter)) = takes {
                        let glued = letters.get(at + 1..).filter(|rest| !rest.is_empty());
                        line.options.extend(glued.or_else(|| words.next()).map(|value| (letter, value)));
                    }
                }
                _ if self == Self::Ssh && !line.destinations.is_empty() => break,
                _ => line.destinations.push(word),
            }
        }
        line
    }

    /// Returns the configuration file that is named in place of `~/.ssh/config`.
    pub fn config_file(self, words: &[String]) -> Option<&str> {
        self.take_apart(words).options.into_iter().find(|(letter, _)| *letter == 'F').map(|(_, value)| value)
    }

    /// Returns the first host whose name may contain shell syntax.
    pub fn first_unfit(self, words: &[String]) -> Option<&str> {
        let host = |word| if self == Self::Scp { remote_host(word) } else { Some(word) };
        self.take_apart(words).destinations.into_iter().find(|word| host(word).is_some_and(|host| !is_plain(host)))
    }
}

/// Returns the host in an argument of scp: the part before a colon that no slash precedes, or a whole URI. `None` for a local file.
fn remote_host(word: &str) -> Option<&str> {
    if word.starts_with("scp://") {
        return Some(word);
    }
    if word.starts_with('[') {
        return word.split_once("]:").map(|(host, _)| host);
    }
    let (host, _) = word.split_once(':')?;
    (!host.contains('/') && !host.is_empty()).then_some(host)
}

/// Returns whether a word has only characters of users, hosts, addresses and URIs, without shell syntax.
fn is_plain(word: &str) -> bool {
    word.chars().all(|c| c.is_alphanumeric() || "@%+=:,./_-[]~".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(Into::into).collect()
    }

    #[test]
    fn the_word_that_names_the_host() {
        for (line, host) in [
            ("cam-17", "cam-17"),
            ("-v -p 22 cam-17 uptime", "cam-17"),
            ("-vp 22 cam-17", "cam-17"),
            ("-oBatchMode=yes -L 8080:localhost:80 alice@cam-17 -- ls -l", "alice@cam-17"),
            ("-- cam-17 ls", "cam-17"),
        ] {
            assert_eq!(OpenSshProgram::Ssh.take_apart(&words(line)).destinations, [host], "{line}");
        }
        assert_eq!(OpenSshProgram::Scp.take_apart(&words("-P 22 -r a cam-17:b")).destinations, ["a", "cam-17:b"]);
    }

    #[test]
    fn another_configuration_is_named() {
        assert_eq!(OpenSshProgram::Ssh.config_file(&words("-v -F a cam-17")), Some("a"));
        assert_eq!(OpenSshProgram::Ssh.config_file(&words("-vFa cam-17 -- -F b")), Some("a"));
        assert_eq!(OpenSshProgram::Ssh.config_file(&words("cam-17 -- -F b")), None);
    }

    #[test]
    fn a_name_that_a_shell_would_run_is_no_name() {
        for line in ["$(id)", "-v `id`", "a;b", "cam'17", "a|b -- x"] {
            assert!(OpenSshProgram::Ssh.first_unfit(&words(line)).is_some(), "{line}");
        }
        assert_eq!(OpenSshProgram::Ssh.first_unfit(&words("cam-17 -- $(id)")), None, "the command is the visitor's own affair");
        assert_eq!(OpenSshProgram::Scp.first_unfit(&words("./it's cam-17:/tmp/$x")), None, "so are files");
        assert_eq!(OpenSshProgram::Scp.first_unfit(&words("a $(id):/tmp")), Some("$(id):/tmp"));
    }
}
