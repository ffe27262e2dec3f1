//! `sally join`: a share joined by its link, and joined again after a lost connection.

use std::path::PathBuf;
use std::process::Command;

use crate::support::*;

/// `sally join LINK` for a key of this home, whose `.ssh` is the viewer's.
fn join(home: &Home, key: &str, link: &str) -> Command {
    let mut command = bare(home, link);
    command.arg("--identity").arg(home.path(key));
    command
}

/// `sally join LINK` for the keys that are found.
fn bare(home: &Home, link: &str) -> Command {
    let mut command = Command::new(sally());
    command.args(["join", link]).env("HOME", home.path("")).env("TERM", "xterm-256color").env_remove("SSH_AUTH_SOCK");
    command
}

/// The same, which leaves the modes of its terminal before and after in `before` and `after`.
fn between_modes(home: &Home, join: &Command) -> Command {
    let mut command = Command::new("sh");
    let script = "stty -a > \"$0/before\"; \"$@\"; status=$?; stty -a > \"$0/after\"; exit $status";
    command.args(["-c", script]).arg(home.path("")).arg(join.get_program()).args(join.get_args());
    for (name, value) in join.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// The link of a share that listens.
fn link_of(share: &mut Share) -> String {
    let link = share.process.await_line("sally: sally join ");
    let (host, print) = link.split_once('#').unwrap();
    assert!(host.ends_with(&format!(":{}", share.port)), "{link}");
    format!("127.0.0.1:{}#{print}", share.port)
}

/// A share on a relay whose host key stays the same, and the link.
struct Through {
    relay: Relay,
    share: Client,
    link: String,
}

impl Through {
    fn start(home: &Home, script: &str) -> Self {
        home.key("relay_host", "ed25519");
        home.write("visitors", home.line("alice", ""));
        home.write("devices", home.line("app", ""));
        let relay = Self::relay(home, free_port());
        let mut command = home.share();
        command.args(["--foreground", "--relay", &format!("127.0.0.1:{}", relay.port), "--identity"]).arg(home.path("app"));
        command.arg("--relay-host-key").arg(&relay.host_key).args(["--", "sh", "-c", script]);
        let mut share = Client::start(&mut command);
        let link = until("the relay's link is printed", || {
            let link = share.await_line("sally: sally join ");
            link.contains('@').then_some(link)
        });
        std::fs::create_dir_all(home.path(".ssh")).unwrap();
        home.write(".ssh/known_hosts", format!("[127.0.0.1]:{} {}\n", relay.port, relay.host_key));
        Self { relay, share, link }
    }

    fn relay(home: &Home, port: u16) -> Relay {
        let mut command = home.relay_at(port);
        command.arg("--host-key").arg(home.path("relay_host"));
        Relay::start(home, command)
    }
}

/// Nothing of a share is left on a terminal.
fn assert_restored(view: &View) {
    let screen = view.screen();
    assert!(!screen.alternate_screen() && !screen.bracketed_paste() && !screen.hide_cursor() && !screen.application_cursor());
    assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
}

/// Waits until the share is shown again: before that, what is typed is dropped.
fn await_again(view: &View) {
    until("the share is shown again", || (!view.screen().contents().contains("connection lost")).then_some(()));
}

const ECHO: &str = "echo ready; while read x; do echo got $x; done; exit 3";

#[test]
fn a_viewer_joins_through_a_relay_and_types() {
    let home = Home::new();
    let through = Through::start(&home, ECHO);
    let mut viewer = View::start(&join(&home, "id", &through.link));
    viewer.await_line("ready");
    viewer.keys("marker\r");
    viewer.await_line("got marker");
    viewer.keys("\x04");
    let (status, screen) = viewer.finish();
    assert_eq!(status.code(), Some(3), "{screen}");
    assert!(screen.contains("the share has ended: the program exited with status 3"), "{screen}");
    assert_restored(&viewer);
    assert_eq!(through.share.finish().0.code(), Some(3));
    assert_eq!(home.audits("join")[0]["via"], "jump");
}

#[test]
fn a_wrong_host_key_is_refused_and_nothing_typed_reaches_the_share() {
    let home = Home::new();
    let mut share = home.shared(&[], ECHO);
    let link = link_of(&mut share);
    let other = format!("{}#SHA256:{}", link.split('#').next().unwrap(), "A".repeat(43));
    let mut viewer = View::start(&join(&home, "id", &other));
    viewer.keys("marker\r");
    let (status, screen) = viewer.finish();
    assert_eq!(status.code(), Some(255), "{screen}");
    assert!(screen.contains("The share has another host key than the link"), "{screen}");
    assert!(!text(&viewer.sent()).contains("\x1b[?"), "{screen}");
    assert!(share.people().is_empty());
    let mut viewer = View::start(&join(&home, "id", &link));
    viewer.await_line("ready");
    viewer.keys("other\r");
    viewer.await_line("got other");
    assert!(!viewer.screen().contents().contains("got marker"));
    assert_eq!(home.audits("join").len(), 1);
}

#[test]
fn a_link_without_a_fingerprint_is_refused() {
    let home = Home::new();
    for (link, words) in
        [("host:22", "it has no fingerprint"), ("a@host#SHA256:x", "its fingerprint is not"), ("host:22#MD5:x", "its fingerprint")]
    {
        let output = run(&mut join(&home, "id", link));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words) && said.contains("hint: copy the whole link"), "{said}");
    }
}

#[test]
fn a_viewer_whose_relay_restarts_joins_again_and_sees_the_exact_screen() {
    let home = Home::new();
    let script = "printf '\\033[1;31mready\\033[0m\\n\\033[10;20Hhere'; while read x; do echo got $x; done";
    let mut through = Through::start(&home, script);
    let mut viewer = View::start(&join(&home, "id", &through.link));
    viewer.await_line("ready");
    let port = through.relay.port;
    through.relay.signal("KILL");
    through.relay.wait();
    viewer.await_words("connection lost: joining again");
    viewer.await_words("(q leaves)");
    viewer.keys("lost\r");
    through.relay = Through::relay(&home, port);
    await_again(&viewer);
    assert_eq!(home.audits("join").len(), 2);
    viewer.keys("kept\r");
    viewer.await_words("got kept");
    assert!(!viewer.screen().contents().contains("got lost") && !viewer.screen().contents().contains("connection lost"));
    let mut other = View::start(&join(&home, "id", &through.link));
    other.await_words("got kept");
    let shown = |view: &View| view.screen().contents_formatted();
    until("both screens are the same", || (shown(&viewer) == shown(&other)).then_some(()));
    other.keys("\r~.");
    assert_eq!(other.finish().0.code(), Some(0));
    viewer.keys("\x04");
    assert_eq!(viewer.finish().0.code(), Some(0));
    assert_restored(&viewer);
}

#[test]
fn a_viewer_leaves_while_the_connection_is_lost() {
    let home = Home::new();
    let mut through = Through::start(&home, ECHO);
    let mut viewer = View::start(&between_modes(&home, &join(&home, "id", &through.link)));
    viewer.await_line("ready");
    through.relay.signal("KILL");
    through.relay.wait();
    viewer.await_words("joining again in 1 s");
    viewer.keys("q");
    let (status, screen) = viewer.finish();
    assert_eq!(status.code(), Some(255), "{screen}");
    assert_restored(&viewer);
    assert_eq!(home.read("before"), home.read("after"));
}

#[test]
fn the_host_ends_the_share_for_good() {
    let home = Home::new();
    let mut share = home.shared(&[], ECHO);
    let link = link_of(&mut share);
    let mut viewer = View::start(&join(&home, "id", &link));
    viewer.await_line("ready");
    let print = link.split('#').nth(1).unwrap();
    let links = text(&share.command(&["links"]).stdout);
    assert!(links.lines().any(|line| line.starts_with("sally: sally join ") && line.ends_with(print)), "{links}");
    assert!(share.command(&["end"]).status.success());
    let (status, screen) = viewer.finish();
    assert_eq!(status.code(), Some(0), "{screen}");
    assert!(screen.contains("The host has ended the share"), "{screen}");
    assert_restored(&viewer);
}

#[test]
fn a_viewer_who_is_kicked_does_not_come_again() {
    let home = Home::new();
    let mut share = home.shared(&[], ECHO);
    let link = link_of(&mut share);
    let mut viewer = View::start(&join(&home, "id", &link));
    viewer.await_line("ready");
    let number = share.await_people(1)[0]["number"].to_string();
    assert!(share.command(&["kick", &number]).status.success());
    assert_eq!(viewer.finish().0.code(), Some(1));
    assert_eq!(home.audits("join").len(), 1);
}

#[test]
fn tilde_and_dot_leave_and_the_terminal_is_as_it_was() {
    let home = Home::new();
    let mut share = home.shared(&[], "printf '\\033[?1000h\\033[?2004h\\033[?1hready\\n'; while read x; do echo got $x; done");
    let link = link_of(&mut share);
    let mut viewer = View::start(&between_modes(&home, &join(&home, "id", &link)));
    viewer.await_line("ready");
    until("the modes are those of the program", || viewer.screen().bracketed_paste().then_some(()));
    assert!(viewer.screen().alternate_screen());
    viewer.keys("a~.\r~~x\r");
    viewer.await_line("got a~.");
    viewer.await_line("got ~x");
    viewer.keys("~.");
    let (status, screen) = viewer.finish();
    assert_eq!(status.code(), Some(0), "{screen}");
    assert_restored(&viewer);
    assert_eq!(home.read("before"), home.read("after"));
    share.await_people(0);
}

#[test]
fn a_signal_gives_the_terminal_back() {
    for (signal, status) in [("TERM", 143), ("HUP", 129)] {
        let home = Home::new();
        let mut share = home.shared(&[], ECHO);
        let link = link_of(&mut share);
        let mut viewer = View::start(&between_modes(&home, &join(&home, "id", &link)));
        viewer.await_line("ready");
        let sally = children(viewer.pid())[0].split(' ').next().unwrap().to_owned();
        assert!(Command::new("kill").args(["-s", signal, &sally]).status().unwrap().success());
        let (ended, screen) = viewer.finish();
        assert_eq!(ended.code(), Some(status), "{screen}");
        assert_restored(&viewer);
        assert_eq!(home.read("before"), home.read("after"));
    }
}

#[test]
fn the_window_of_a_writer_decides_the_size() {
    let home = Home::new();
    let mut share = home.shared(&["--size", "writers"], "trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done");
    let link = link_of(&mut share);
    let mut viewer = View::sized(&join(&home, "id", &link), 70, 20);
    viewer.await_line("20 70");
    viewer.resize(91, 31);
    viewer.await_line("31 91");
}

#[test]
fn a_key_that_is_refused_is_tried_once() {
    let home = Home::new();
    home.key("stranger", "ed25519");
    let through = Through::start(&home, ECHO);
    let mut viewer = View::start(&join(&home, "stranger", &through.link));
    let (status, screen) = viewer.finish();
    assert_eq!(status.code(), Some(255), "{screen}");
    assert!(screen.contains("the relay accepts none of the keys"), "{screen}");
    through.relay.await_events("auth_refused", 1);
    assert_eq!(through.relay.events("auth_refused").len(), 1);

    // The relay lets alice reach every name, and the share doesn't know her key.
    let mut viewer = View::start(&join(&home, "alice", &through.link));
    let (status, screen) = viewer.finish();
    assert_eq!(status.code(), Some(255), "{screen}");
    assert!(screen.contains("the share accepts none of the keys"), "{screen}");
    assert!(!screen.contains("ready"), "{screen}");
    assert!(home.audits("join").is_empty());
}

#[test]
fn a_relay_whose_host_key_is_not_known_is_refused() {
    let home = Home::new();
    let through = Through::start(&home, ECHO);
    home.write(".ssh/known_hosts", "");
    let mut viewer = View::start(&join(&home, "id", &through.link));
    let (status, screen) = viewer.finish();
    assert_eq!(status.code(), Some(255), "{screen}");
    assert!(screen.contains("the relay's host key SHA256:") && screen.contains("is not known"), "{screen}");
    assert!(!screen.contains(through.link.split('@').next().unwrap()), "{screen}");
    assert!(through.relay.events("auth").iter().all(|event| event["who"] != "id"));
    let mut viewer = join(&home, "id", &through.link);
    viewer.arg("--relay-host-key").arg(&through.relay.host_key);
    View::start(&viewer).await_line("ready");
}

/// An agent with a key. Ended when dropped.
struct KeyAgent(std::process::Child, PathBuf);

impl KeyAgent {
    fn start(home: &Home, key: &str) -> Self {
        let socket = home.path("agent");
        let agent = Self(
            tool("ssh-agent", "openssh-client").args(["-D", "-a"]).arg(&socket).stdout(std::process::Stdio::null()).spawn().unwrap(),
            socket,
        );
        until("the agent listens", || agent.1.exists().then_some(()));
        let added = run(Command::new("ssh-add").arg(home.path(key)).env("SSH_AUTH_SOCK", &agent.1));
        assert!(added.status.success(), "{}", text(&added.stderr));
        agent
    }
}

impl Drop for KeyAgent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn keys_are_those_of_the_agent_or_of_the_default_files() {
    let home = Home::new();
    home.key("rsa", "rsa");
    home.write("keys", home.line("rsa", "") + &home.line("id", ""));
    let mut share = home.shared(&["--authorized-keys", home.path("keys").to_str().unwrap()], ECHO);
    let link = link_of(&mut share);
    let agent = KeyAgent::start(&home, "rsa");
    let mut command = bare(&home, &link);
    command.env("SSH_AUTH_SOCK", &agent.1);
    View::start(&command).await_line("ready");
    command.arg("--identity").arg(home.path("rsa.pub"));
    View::start(&command).await_line("ready");
    let mut viewer = View::start(&bare(&home, &link));
    assert_eq!(viewer.finish().0.code(), Some(255), "there is no key");
    std::fs::create_dir_all(home.path(".ssh")).unwrap();
    std::fs::copy(home.path("id"), home.path(".ssh/id_ed25519")).unwrap();
    View::start(&bare(&home, &link)).await_line("ready");
}

#[test]
fn the_passphrase_of_a_key_is_asked_for() {
    let home = Home::new();
    let protect = run(Command::new("ssh-keygen").args(["-q", "-p", "-P", "", "-N", "open sesame", "-a", "1", "-f"]).arg(home.path("id")));
    assert!(protect.status.success());
    let mut share = home.shared(&[], ECHO);
    let link = link_of(&mut share);
    let mut viewer = View::start(&between_modes(&home, &join(&home, "id", &link)));
    viewer.await_words("Enter passphrase for key");
    viewer.keys("wrong\r");
    until("it is asked for again", || (text(&viewer.sent()).matches("Enter passphrase").count() == 2).then_some(()));
    viewer.keys("open sesame\r");
    viewer.await_line("ready");
    viewer.keys("~.");
    assert_eq!(viewer.finish().0.code(), Some(0));
    assert!(!text(&viewer.sent()).contains("sesame"));
    assert_eq!(home.read("before"), home.read("after"));
}

#[test]
fn a_dead_connection_is_found_at_once_after_a_suspension() {
    let home = Home::new();
    let mut share = home.shared(&[], ECHO);
    let link = link_of(&mut share);
    let clock = Clock::new(&home);
    let mut viewer = View::start(&clock.govern_dates(join(&home, "id", &link)));
    viewer.await_line("ready");
    clock.set_off_by("+1h");
    viewer.keys("here\r");
    viewer.await_line("got here");
    share.process.signal("STOP");
    clock.set_off_by("+2h");
    viewer.await_words("connection lost: joining again");
    viewer.await_words("the machine was suspended");
    share.process.signal("CONT");
    await_again(&viewer);
    assert_eq!(home.audits("join").len(), 2);
    viewer.keys("again\r");
    viewer.await_line("got again");
}

#[test]
fn a_banner_moves_no_cursor() {
    let home = Home::new();
    let banner = home.write("banner", "Welcome\x1b[2J\x1b]0;title\x07\r\nto all\n");
    let mut share = home.shared(&["--banner", banner.to_str().unwrap()], ECHO);
    let link = link_of(&mut share);
    let viewer = View::start(&join(&home, "id", &link));
    viewer.await_line("ready");
    let sent = text(&viewer.sent());
    let before = sent.split("to all").next().unwrap();
    assert!(before.contains("Welcome\u{fffd}[2J") && !before.contains('\x1b') && sent.contains("to all"), "{sent:?}");
}
