//! Keys that are read again while a share lives.

use std::process::Command;

use super::local::share_here;
use crate::once::sources::key_server;
use crate::support::*;

/// A share for the keys of alice, as a server shows them from `id.pub`. SIGHUP finds no terminal.
fn of_alice(home: &Home, port: u16) -> Share {
    let plain = home.share();
    let mut command = tool("setsid", "util-linux");
    command.arg(sally()).args(["share", "--foreground", "--listen", "127.0.0.1:0", "--github", "alice", "--keys-url"]);
    command.arg(format!("https://localhost:{port}/{{user}}.keys")).arg("--log").arg(home.path("visit.cast"));
    command.args(["--", "sh", "-c", "echo ready; read x"]).env("SSL_CERT_FILE", home.path("root.pem"));
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    for name in ["https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"] {
        command.env_remove(name);
    }
    Share::start(&mut command, home)
}

/// Lets the server show these keys as alice's.
fn show(home: &Home, keys: &[&str]) {
    let keys: String = keys.iter().map(|key| std::fs::read_to_string(home.path(format!("{key}.pub"))).unwrap()).collect();
    home.write("id.pub", keys);
}

/// Whether a key is refused.
fn is_refused(home: &Home, share: &Share, key: &str) -> bool {
    home.join(share, key).finish().0.code() == Some(255)
}

#[test]
fn a_viewer_whose_key_is_gone_has_to_leave_and_a_new_key_waits_for_the_host() {
    let home = Home::new();
    home.key("old", "ed25519");
    home.key("new", "ed25519");
    show(&home, &["old"]);
    let (mut key_server, port, _) = key_server(&home);
    let share = of_alice(&home, port);
    key_server.await_line("GET /alice.keys");
    let mut view = home.join(&share, "old");
    view.await_line("ready");
    show(&home, &["old", "new"]);
    let said = text(&share.command(&["reload"]).stdout);
    assert!(said.contains("New keys in https://localhost") && said.contains(": 1. They may not join before"), "{said}");
    assert!(is_refused(&home, &share, "new"));
    assert_eq!(share.people().len(), 1);
    show(&home, &["new"]);
    let said = text(&share.command(&["reload"]).stdout);
    assert!(said.contains("Keys gone from https://localhost") && said.contains("Their viewers are removed"), "{said}");
    let (status, screen) = view.finish();
    assert_eq!(status.code(), Some(1), "{screen}");
    assert!(screen.contains("this key is no longer among those that may join the share"), "{screen}");
    share.await_people(0);
    let kicked = &home.audits("kick")[0];
    assert_eq!(kicked["by"], format!("https://localhost:{port}/alice.keys"));
    assert_eq!(home.audits("leave")[0]["reason"], "the key is gone from its source");
    assert!(is_refused(&home, &share, "old") && is_refused(&home, &share, "new"));
    let added = share.command(&["reload", "--add"]);
    assert!(text(&added.stdout).contains("They may join"), "{}", text(&added.stdout));
    home.join(&share, "new").await_line("ready");
}

#[test]
fn a_source_that_fails_removes_no_viewer_and_is_said_once() {
    let home = Home::new();
    home.key("old", "ed25519");
    show(&home, &["old"]);
    let (key_server, port, _) = key_server(&home);
    let mut share = of_alice(&home, port);
    let view = home.join(&share, "old");
    view.await_line("ready");
    home.write("id.pub", "<!DOCTYPE html><title>Unicorn!</title>");
    let said = text(&share.command(&["reload", "--add"]).stdout);
    assert!(said.contains("the last good keys serve for 15 minutes"), "{said}");
    share.process.await_stderr("the last good keys serve for 15 minutes");
    home.write("id.pub", "");
    assert_eq!(text(&share.command(&["reload", "--add"]).stdout), "the keys are the same\n");
    drop(key_server);
    assert_eq!(text(&share.command(&["reload"]).stdout), "the keys are the same\n");
    assert_eq!(share.people().len(), 1);
    home.join(&share, "old").await_line("ready");
}

#[test]
fn without_a_terminal_a_hangup_reads_the_keys_again() {
    let home = Home::new();
    home.key("old", "ed25519");
    home.key("new", "ed25519");
    show(&home, &["old"]);
    let (_key_server, port, _) = key_server(&home);
    let mut share = of_alice(&home, port);
    let mut view = home.join(&share, "old");
    view.await_line("ready");
    show(&home, &["new"]);
    share.process.signal("HUP");
    share.process.await_stderr("Keys gone from https://localhost");
    assert_eq!(view.finish().0.code(), Some(1));
    assert_eq!(share.command(&["end"]).status.code(), Some(0));
}

#[test]
fn the_host_lets_new_keys_join_on_the_status_line() {
    let home = Home::new();
    home.key("new", "ed25519");
    let (mut here, port) = share_here(&home, 120, 24, &["sh", "-c", "echo ready; read x"]);
    here.await_line("ready");
    let both = ["id.pub", "new.pub"].map(|file| std::fs::read_to_string(home.path(file)).unwrap()).concat();
    home.write("id.pub", both);
    here.keys("\x1c\x1creload\r");
    here.await_words("They may not join before");
    here.keys("\x1c\x1creload --add\r");
    here.await_words("They may join");
    View::start(&home.viewer(port, "new")).await_line("ready");
}

#[test]
fn a_program_inside_the_share_can_add_no_key() {
    let home = Home::new();
    let script = format!("echo ready; read x; {} share reload --add; echo done; read x", sally().display());
    let share = home.shared(&[], &script);
    let mut view = home.join(&share, "id");
    view.await_line("ready");
    view.keys("\r");
    view.await_words("this command can't be given from inside the share");
}

#[test]
fn keys_of_a_pipe_are_read_once() {
    let home = Home::new();
    let script = "exec \"$0\" \"$@\" --view-keys <(cat \"$KEYS\") --foreground -- sh -c 'echo ready; read x'";
    home.key("watcher", "ed25519");
    let plain = home.share();
    let mut command = Command::new("bash");
    command.args(["-c", script]).arg(plain.get_program()).args(plain.get_args()).env("KEYS", home.path("watcher.pub"));
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let share = Share::start(&mut command, &home);
    assert_eq!(text(&share.command(&["reload"]).stdout), "the keys are the same\n");
    home.join(&share, "watcher").await_line("ready");
}
