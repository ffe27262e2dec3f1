//! A fork bomb in a visit, where the system gives only so many processes (`pids.max`).

use std::fs;
use std::path::PathBuf;

use crate::support::*;

/// What the server and its visit may have together, threads too.
const PLACES: u32 = 120;

/// A cgroup of that many processes; gone when dropped.
struct Crowded(PathBuf);

impl Crowded {
    /// None where none can be had: said on stderr, loudly.
    fn new(test: &str) -> Option<Self> {
        let name = format!("sally-{}-{test}", std::process::id());
        let made = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"]
            .iter()
            .map(|root| Self(PathBuf::from(root).join(&name)))
            .find(|group| fs::create_dir(&group.0).is_ok() && fs::write(group.0.join("pids.max"), PLACES.to_string()).is_ok());
        if made.is_none() {
            skipped(test, "no cgroup for processes is to be had here");
        }
        made
    }

    fn current(&self) -> u32 {
        fs::read_to_string(self.0.join("pids.current")).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Crowded {
    fn drop(&mut self) {
        // Where the test has failed: whoever is in it stands still before the first is killed, or others take the places.
        for name in ["-STOP", "-KILL"] {
            for pid in fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
                let _ = tool("kill", "procps").args([name, pid]).status();
            }
        }
        let emptied = || fs::remove_dir(&self.0).is_ok().then_some(());
        if std::thread::panicking() {
            emptied();
        } else {
            until("the cgroup is empty", emptied);
        }
    }
}

/// A bomb that has filled all places, and goes on trying, beside a shell that then says much; ended in this way, with this status.
fn a_bomb_leaves_nothing(test: &str, status: i32, end: impl FnOnce(&Server, &mut Client)) {
    let Some(crowd) = Crowded::new(test) else { return };
    let home = Home::new();
    let mut once = tool("sh", "dash");
    let plain = home.once();
    once.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(crowd.0.join("cgroup.procs"));
    once.arg(plain.get_program()).args(plain.get_args()).env("SHELL", "/bin/bash").env("HOME", home.path(""));
    let mut server = Server::open(once);
    // Nothing can be started any more, no thread either: what the shell says, it says by itself.
    let script = "perl -e 'while (1) { fork }' 2>/dev/null & while read -r _; do printf '%0300000d\\n' 7; done";
    let mut client = Client::start(home.ssh(&server).arg(script));
    until("all places are taken", || (crowd.current() == PLACES).then_some(()));
    client.write("go\n");
    client.await_line(&format!("{}7", "0".repeat(299_999)));
    end(&server, &mut client);
    assert_eq!(server.wait().0.code(), Some(status));
    until("nothing is left", || (crowd.current() == 0).then_some(()));
    home.assert_sealed(&server);
}

#[test]
fn a_fork_bomb_is_gone_with_its_visitor() {
    a_bomb_leaves_nothing("visitor", 255, |_, client| client.child.kill().unwrap());
}

#[test]
fn a_fork_bomb_is_gone_when_the_server_is_told_to_stop() {
    a_bomb_leaves_nothing("stop", 143, |server, _| server.signal("TERM"));
}
