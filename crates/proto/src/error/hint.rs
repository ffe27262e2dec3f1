//! Says what the user can do about a fault.

use super::{Fault, KeyDefect};

impl KeyDefect {
    fn hint(&self) -> &'static str {
        match self {
            Self::Missing => "name a file in the format of ~/.ssh/authorized_keys, or - for stdin",
            Self::Unreadable(_) => "check the file's owner and mode",
            Self::Unparseable { .. } => "fix or remove that line: Sally rejects a key file that has an invalid line",
            Self::Empty | Self::Unsupported { .. } => "add a public key, such as the line in ~/.ssh/id_ed25519.pub",
            Self::Unfetched(_) => {
                "check the URL: the server must answer over https with status 200, and with public keys that have no options"
            }
        }
    }
}

impl Fault {
    /// Returns what the user can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::KeysInvalid { defect, .. } => Some(defect.hint()),
            Self::KeysUnnamed => Some("add --authorized-keys FILE or --github USER, or set AUTHORIZED_KEYS"),
            Self::HostKeyInvalid { .. } => Some("make a host key with: ssh-keygen -t ed25519 -N '' -f FILE"),
            Self::HostKeyPem { .. } => Some("convert the file in place with: ssh-keygen -p -N '' -f FILE"),
            Self::HostCertificateInvalid { .. } => Some("make a certificate with: ssh-keygen -s CA -h -I NAME -n HOSTNAME,... FILE.pub"),
            Self::BannerInvalid { .. } => Some("name a file of UTF-8 text, at most 64 KiB"),
            Self::RevokedKeysInvalid { .. } => {
                Some("make a revocation list with: ssh-keygen -k -f FILE KEY.pub...; or name a file of public keys, one per line")
            }
            Self::AnnounceInvalid { .. } => Some("name one executable file, without arguments: Sally runs it without a shell"),
            Self::AnnounceFailed { .. } => {
                Some("test the command with the host's public key as its only argument: it must exit with 0 within 30 s")
            }
            Self::Bind { .. } => Some("choose another port with --port (once) or --listen (relay, jail); port 0 picks a free one"),
            Self::Inetd(_) => {
                Some("start it from inetd, from a systemd socket or as a ProxyCommand: stdin and stdout must be a socket or two pipes")
            }
            Self::Record { .. } => Some("free some disk space, or name a new file: Sally runs nothing that it can't record"),
            Self::Relay { .. } => Some(
                "check that known_hosts or --relay-host-key has the relay's host key, and that the relay's --devices file has the key of \
                 --identity, with permitlisten= for --name and without it otherwise",
            ),
            Self::TlsInvalid { .. } => Some("give --http-cert a certificate with its chain, and --http-key its private key, both in PEM"),
            Self::Options { .. } => {
                Some("use the long options of sally relay as names: listen = 2222, visitors = [\"FILE\"], pq-only = true")
            }
            Self::Audit { .. } => Some("name a new file, a file of yours that no other account may write to, or - for stdout"),
            Self::State { .. } => Some("name a folder that you own: Sally keeps the host key there, with mode 0600"),
            Self::FleetInvalid { .. } => Some(
                "check the path: a relay takes the whole folder FLEET/relay, an agent the folder of sally fleet add, \
                 and sally fleet visitor add a .pub file",
            ),
            Self::AuthorityExposed { .. } => Some("keep FLEET/ca away from relays; if its keys have been on a relay, make a new fleet"),
            Self::TwoRoles { .. } => {
                Some("make a separate key for each authority: a certificate by this key would be valid for both roles")
            }
            Self::NotInFleet { .. } => Some("list the devices and visitors with: sally fleet list FLEET"),
            Self::Exists { .. } => Some("name another, or add --replace to give a device a new bundle: Sally overwrites nothing"),
            Self::Unwritable { .. } => Some("check the folder's owner and mode, and the free disk space"),
            Self::Settings { .. } => Some("use only the settings relay, identity and known_hosts, each with a string as its value"),
            Self::NoRelay => {
                Some("add --relay HOST[:PORT], set SALLY_RELAY, or write relay = \"HOST:PORT\" into ~/.config/sally/config.toml")
            }
            Self::AccountInvalid { .. } => {
                Some("name an account of /etc/passwd, or a user number; only root can run sessions as another account")
            }
            Self::Shell { .. } => Some(
                "check that the shell ($SHELL, else the one in /etc/passwd) exists and is executable, \
                 and that no process or descriptor limit is reached",
            ),
            Self::Client { .. } => Some("install OpenSSH's client (on Debian: openssh-client)"),
            Self::Internal(_) => Some("run it again with -v, and report what it prints"),
            Self::NoEntrance | Self::NoTerminal | Self::NoShare(_) | Self::Program { .. } => self.hint_of_share(),
            Self::ShareEnded | Self::KeyRemoved | Self::KeyGone | Self::Unvisited(_) | Self::ViewersLeft => None,
            Self::JoinLink(_) | Self::NoViewerTerminal | Self::NotJoined(_) | Self::ShareHostKey(_) => self.hint_of_join(),
            Self::ConnectionLost | Self::Usage(_) | Self::Idle(_) | Self::MaxDuration(_) | Self::Signalled(_) | Self::NoSession(_) => None,
        }
    }

    fn hint_of_share(&self) -> Option<&'static str> {
        match self {
            Self::NoEntrance => Some("add --relay HOST[:PORT] or --listen [ADDR:]PORT"),
            Self::NoTerminal => Some("start it in a terminal, or add --foreground"),
            Self::NoShare(_) => Some("name the socket that the share printed at its start: --share PATH"),
            Self::Program { .. } => Some("name an executable file, or one in $PATH"),
            _ => None,
        }
    }

    fn hint_of_join(&self) -> Option<&'static str> {
        match self {
            Self::JoinLink(_) => {
                Some("copy the whole link that the share printed after 'sally join': NAME@RELAY:PORT#SHA256:… or HOST:PORT#SHA256:…")
            }
            Self::NoViewerTerminal => Some("start it in a terminal"),
            Self::NotJoined(_) => Some(
                "check that known_hosts or --relay-host-key has the relay's host key, and that the share accepts the key: name it with --identity",
            ),
            Self::ShareHostKey(_) => {
                Some("don't go on: ask the host for the link again; a restarted share has a new key, but so has an impostor")
            }
            _ => None,
        }
    }
}
