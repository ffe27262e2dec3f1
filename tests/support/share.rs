//! A running `sally share` without a terminal of its own, and the viewers that come to it.

use std::path::PathBuf;
use std::process::{Command, Output};

use super::{Client, Home, View, run, sally, until};

/// A running `sally share --foreground`. Killed when dropped.
pub struct Share {
    pub process: Client,
    pub port: u16,
    /// The public host key, as printed on stdout.
    pub host_key: String,
    pub socket: PathBuf,
}

impl Home {
    /// `sally share` for this home's key, which may write, on any port of loopback, with its record in `visit.cast`. It has a folder for its
    /// socket.
    pub fn share(&self) -> Command {
        self.share_to("visit.cast")
    }

    /// The same with another record.
    pub fn share_to(&self, log: &str) -> Command {
        let mut command = Command::new(sally());
        let runtime = self.path("run");
        std::fs::create_dir_all(&runtime).unwrap();
        command.arg("share").arg("--authorized-keys").arg(self.path("id.pub")).args(["--listen", "127.0.0.1:0"]);
        command.arg("--log").arg(self.path(log)).env("SHELL", "/bin/sh").env("XDG_RUNTIME_DIR", runtime);
        command.env("PS1", "$ ").env_remove("AUTHORIZED_KEYS").env_remove("VIEW_KEYS").env_remove("ENV");
        command
    }

    /// Starts a share of `sh -c SCRIPT` with these options.
    pub fn shared(&self, options: &[&str], script: &str) -> Share {
        let mut command = self.share();
        command.arg("--foreground").args(options).args(["--", "sh", "-c", script]);
        Share::start(&mut command, self)
    }

    /// A stock ssh that joins a share with a key of this home.
    pub fn viewer(&self, port: u16, key: &str) -> Command {
        let mut command = self.ssh_with(port, &["-t", "-i", self.path(key).to_str().unwrap()]);
        command.env("TERM", "xterm-256color");
        command
    }

    /// Joins a share.
    pub fn join(&self, share: &Share, key: &str) -> View {
        View::start(&self.viewer(share.port, key))
    }

    /// Makes a key that may only watch; gives the option for it.
    pub fn watcher(&self, name: &str) -> [String; 2] {
        self.key(name, "ed25519");
        ["--view-keys".into(), self.path(format!("{name}.pub")).display().to_string()]
    }
}

impl Share {
    /// Starts it and waits until it can be joined.
    pub fn start(command: &mut Command, home: &Home) -> Self {
        let mut process = Client::start(command);
        let host_key = process.await_line("host key: ");
        // Links through a relay have no port.
        let port = loop {
            let link = process.await_line("ssh session");
            if let Some(port) = link.split_whitespace().skip_while(|word| *word != "-p").nth(1) {
                break port.parse().unwrap();
            }
        };
        let folder = home.path("run/sally");
        let socket = until("the share's socket is there", || std::fs::read_dir(&folder).ok()?.flatten().map(|entry| entry.path()).next());
        Self { process, port, host_key, socket }
    }

    /// `sally share WORD… --share SOCKET`.
    pub fn command(&self, words: &[&str]) -> Output {
        run(Command::new(sally()).arg("share").args(words).arg("--share").arg(&self.socket))
    }

    /// Who is there, as `sally share list --json` says.
    pub fn people(&self) -> Vec<serde_json::Value> {
        serde_json::from_slice(&self.command(&["list", "--json"]).stdout).unwrap()
    }

    /// Waits until so many people are there.
    pub fn await_people(&self, count: usize) -> Vec<serde_json::Value> {
        until(&format!("{count} people are there"), || Some(self.people()).filter(|people| people.len() == count))
    }
}
