//! What viewers and hosts do to a share by mistake or on purpose, and what it must withstand.

use std::process::{Command, Stdio};

use super::local::share_here;
use crate::support::*;

/// Sends a signal to a process.
fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_full_record_gives_each_viewer_its_terminal_back_and_says_why() {
    let home = Home::new();
    let share = home.shared(&["--record-limit", "200K"], "printf '\\033[?1049h\\033[?1000h\\033[?2004h'; echo ready; read x; yes");
    let mut views: Vec<_> = (0..4).map(|_| home.join(&share, "id")).collect();
    views.iter().for_each(|view| view.await_words("ready"));
    views[0].keys("\r");
    for view in &mut views {
        let (status, said) = view.finish();
        assert!(said.contains("the share has ended: "), "{said}");
        assert_eq!(status.code(), Some(74), "{said}");
        let screen = view.screen();
        assert!(!screen.alternate_screen() && !screen.bracketed_paste());
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
    }
    assert_eq!(share.process.finish().0.code(), Some(74));
}

#[test]
fn a_window_that_changes_while_the_program_writes_changes_the_size() {
    let home = Home::new();
    let sizes = home.path("sizes");
    let script = format!("trap 'stty size >> {}' WINCH; echo ready; while :; do echo x; done", sizes.display());
    let share = home.shared(&["--size", "writers"], &script);
    let mut view = home.join(&share, "id");
    view.await_words("x");
    view.resize(90, 30);
    until("the program has the size", || std::fs::read_to_string(&sizes).ok()?.contains("30 90").then_some(()));
}

#[test]
fn a_key_that_only_holds_connections_leaves_places_for_others() {
    let home = Home::new();
    let watcher = home.watcher("watcher");
    let mut options: Vec<_> = watcher.iter().map(String::as_str).collect();
    options.extend(["--max-viewers", "9"]);
    let share = home.shared(&options, "echo ready; read x");
    let key = home.path("watcher").display().to_string();
    let mut idle = Vec::new();
    // They are let in one after the other: the tenth would find no place, and the ninth is one too many of its key.
    for number in 0..9 {
        let before = home.audits("auth").len();
        idle.push(Client::start(&mut home.ssh_with(share.port, &["-N", "-i", &key])));
        until("it has logged in", || (home.audits("auth").len() > before).then_some(()));
        if number == 8 {
            until("the ninth is refused", || home.record().contains("the limit of visits of one key is reached").then_some(()));
        }
    }
    home.join(&share, "id").await_line("ready");
}

#[test]
fn a_kick_ends_all_connections_of_the_key_even_of_a_viewer_that_is_stopped() {
    let home = Home::new();
    let watcher = home.watcher("watcher");
    let share = home.shared(&watcher.each_ref().map(String::as_str), "echo ready; read x");
    let mut view = home.join(&share, "watcher");
    view.await_line("ready");
    let stopped = home.join(&share, "watcher");
    stopped.await_line("ready");
    let key = home.path("watcher").display().to_string();
    let idle = Client::start(&mut home.ssh_with(share.port, &["-N", "-i", &key]));
    until("all have logged in", || (home.audits("auth").len() == 3).then_some(()));
    signal("STOP", stopped.pid());
    let number = share.people()[0]["number"].to_string();
    assert_eq!(share.command(&["kick", &number]).status.code(), Some(0));
    let (status, screen) = view.finish();
    assert_eq!(status.code(), Some(1), "{screen}");
    assert!(screen.contains("the host has removed you from the share"), "{screen}");
    assert!(!idle.finish().0.success(), "a connection without a session is the key's too");
    share.await_people(0);
    signal("CONT", stopped.pid());
    let who = run(home.ssh_with(share.port, &["-i", &key]).arg("who"));
    assert!(!who.status.success(), "{}", text(&who.stdout));
    let (status, screen) = home.join(&share, "watcher").finish();
    assert_eq!(status.code(), Some(1), "{screen}");
    assert!(screen.contains("the host has removed this key from the share"), "{screen}");
}

#[test]
fn the_hosts_interrupt_passes_a_flood_that_the_program_does_not_read() {
    let home = Home::new();
    let script = "stty -icanon -echo; trap 'echo interrupted' INT; echo ready; while :; do sleep 0.05; done";
    let (mut here, port) = share_here(&home, 80, 24, &["sh", "-c", script]);
    here.await_line("ready");
    let mut viewer = View::start(&home.viewer(port, "id"));
    viewer.await_line("ready");
    viewer.keys(&"x".repeat(200_000));
    until("the program gets some of it", || (!home.stream("stdin").is_empty()).then_some(()));
    quiet("the full terminal", || home.stream("stdin").len() as u64);
    here.keys("\x03");
    here.await_line("interrupted");
}

#[test]
fn a_paste_that_does_not_end_keeps_others_waiting_for_a_moment_only() {
    let home = Home::new();
    home.key("other", "ed25519");
    let options = ["--authorized-keys".to_owned(), home.path("other.pub").display().to_string()];
    let share = home.shared(&options.each_ref().map(String::as_str), "stty -icanon -echo; echo ready; exec cat -v");
    let (mut one, mut two) = (home.join(&share, "id"), home.join(&share, "other"));
    one.await_line("ready");
    two.await_line("ready");
    one.keys("\x1b[200~begun");
    two.await_words("^[[200~begun");
    two.keys("hello");
    two.await_words("^[[200~begun^[[201~hello");
    // The rest of the paste is nobody's keys; after its end the viewer types again.
    one.keys("dropped\x1b[201~typed");
    two.await_words("^[[200~begun^[[201~hellotyped");
}

#[test]
fn what_a_watcher_pastes_is_no_key() {
    let home = Home::new();
    let watcher = home.watcher("watcher");
    let share = home.shared(&watcher.each_ref().map(String::as_str), "echo ready; read x");
    let mut view = home.join(&share, "watcher");
    view.await_line("ready");
    view.keys("\x1b[200~quit\x1b[201~\x1b[?62;22cw");
    // The key can't be allowed to write, and so the host isn't asked.
    view.await_words("never write");
    assert_eq!(share.people()[0]["asks"], false);
    view.keys("q");
    assert_eq!(view.finish().0.code(), Some(0));
}

#[test]
fn a_window_of_any_size_is_shown_a_part_that_costs_no_more_than_the_largest_screen() {
    let home = Home::new();
    let share = home.shared(&["--size", "writers"], "echo ready; read x");
    let large = View::sized(&home.viewer(share.port, "id"), 1000, 1000);
    large.await_line("ready");
    assert_eq!(share.people()[0]["window"], serde_json::json!([500, 200]));
    let small = View::sized(&home.viewer(share.port, "id"), 1, 1);
    share.await_people(2);
    until("the small one is shown something", || (!small.sent().is_empty()).then_some(()));
}

#[test]
fn a_notice_goes_though_the_program_writes() {
    let home = Home::new();
    let share = home.shared(&[], "i=0; while :; do i=$((i+1)); printf '%s\\r' $i; sleep 0.02; done");
    let view = home.join(&share, "id");
    view.await_words("recorded");
    until("the notice is gone", || (!view.screen().contents().contains("recorded")).then_some(()));
}

#[test]
fn a_runtime_folder_that_is_none_is_left_alone() {
    for value in ["", "run", "/nowhere", "/etc/passwd"] {
        let home = Home::new();
        let mut command = home.share();
        command.env("XDG_RUNTIME_DIR", value).args(["--foreground", "--", "sh", "-c", "read x"]).stderr(Stdio::piped());
        let mut share = Client::start(&mut command);
        let said = share.await_stderr("--share /tmp/sally-");
        let socket = said.split("--share ").nth(1).unwrap().split_whitespace().next().unwrap();
        assert!(std::path::Path::new(socket).exists(), "{socket}");
        share.signal("TERM");
        share.finish();
        assert!(!std::path::Path::new(socket).exists(), "{socket}");
    }
}

#[test]
fn no_viewer_has_the_hosts_name_and_requests_are_announced() {
    let home = Home::new();
    home.key("other", "ed25519");
    let line = home.read("other.pub");
    let key = line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let host = text(&run(Command::new("id").arg("-un")).stdout).trim().to_owned();
    std::fs::write(home.path("named"), format!("{key} {host}\n")).unwrap();
    let share = home.shared(&["--authorized-keys", home.path("named").to_str().unwrap()], "echo ready; read x");
    let mut view = home.join(&share, "other");
    view.await_line("ready");
    let person = share.people()[0].clone();
    assert_eq!(person["name"], format!("{host}#2"));
    assert_eq!(share.command(&["demote", &person["number"].to_string()]).status.code(), Some(0));
    view.keys("w");
    view.await_words("the host is asked");
    share.process.signal("TERM");
    let (_, _, said) = share.process.finish();
    assert!(said.contains(&format!("{host}#2 (named) SHA256:")), "{said}");
    assert!(said.contains(&format!("asks to write: promote {}", person["number"])), "{said}");
}

#[test]
fn a_signal_gives_the_hosts_terminal_back() {
    let home = Home::new();
    let script = "stty -a > \"$0/before\"; \"$@\"; echo $? > \"$0/status\"; stty -a > \"$0/after\"";
    let share = home.share();
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(home.path("")).arg(share.get_program()).args(share.get_args());
    command.args(["--", "sh", "-c", "printf '\\033[?1049h\\033[?1000hready'; read x"]);
    for (name, value) in share.get_envs() {
        value.map(|value| command.env(name, value));
    }
    let mut here = View::start(&command);
    here.await_words("ready");
    let sally = children(here.pid())[0].split_whitespace().next().unwrap().parse().unwrap();
    signal("QUIT", sally);
    assert_eq!(here.finish().0.code(), Some(0));
    assert_eq!(home.read("status"), "131\n");
    assert_eq!(home.read("before"), home.read("after"));
    let screen = here.screen();
    assert!(!screen.alternate_screen() && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None);
}
