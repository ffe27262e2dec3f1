//! What `ssh relay devices` and its like answer.

use std::process::Command;

use crate::support::*;

/// A relay for alice, bob and an administrator, with two devices of which one is connected.
fn start() -> (Home, Relay, Client) {
    let home = Home::new();
    home.write("visitors", [home.line("alice", r#"permitopen="cam-*:22""#), home.line("bob", r#"permitopen="lab-1:22""#)].concat());
    home.write(
        "devices",
        [home.line("cam", r#"permitlisten="cam-17:22",permitlisten="cam-17:80""#), home.line("lab", r#"permitlisten="lab-1:22""#)].concat(),
    );
    home.write("admins", home.line("root", ""));
    let mut command = home.relay_of_files();
    command.arg("--admins").arg(home.path("admins"));
    let relay = Relay::start(&home, command);
    let device = home.hold(&relay, "cam", "cam-17:22:127.0.0.1:1");
    relay.await_events("register", 1);
    (home, relay, device)
}

fn ask(home: &Home, relay: &Relay, key: &str, command: &str) -> (Option<i32>, String, String) {
    let answer = run(home.via(relay, key).arg("-oLogLevel=ERROR").arg("relay").arg(command));
    (answer.status.code(), text(&answer.stdout), text(&answer.stderr))
}

#[test]
fn everybody_sees_what_they_may_reach() {
    let (home, relay, _device) = start();
    let names = |key: &str| -> Vec<(String, bool)> {
        let (status, said, error) = ask(&home, &relay, key, "devices --json");
        assert_eq!(status, Some(0), "{error}");
        let devices: Vec<serde_json::Value> = serde_json::from_str(&said).unwrap();
        devices.iter().map(|device| (device["name"].as_str().unwrap().to_owned(), device["connected"].as_bool().unwrap())).collect()
    };
    let (cam, lab) = (("cam-17".to_owned(), true), ("lab-1".to_owned(), false));
    assert_eq!(names("alice"), std::slice::from_ref(&cam));
    assert_eq!(names("bob"), std::slice::from_ref(&lab));
    assert_eq!(names("root"), [cam, lab]);
    let (_, said, _) = ask(&home, &relay, "alice", "devices");
    let mut lines = said.lines();
    assert_eq!(lines.next().unwrap().split_whitespace().collect::<Vec<_>>(), ["DEVICE", "PORTS", "STATE", "FROM"]);
    assert!(lines.next().unwrap().starts_with("cam-17  22     connected since 20"), "{said}");
    // Where it comes from is for administrators.
    assert!(!said.contains("127.0.0.1"), "{said}");
    assert!(ask(&home, &relay, "root", "devices").1.contains("127.0.0.1:"));
}

#[test]
fn there_is_never_a_shell() {
    let (home, relay, _device) = start();
    for (command, status, said) in [
        ("bash", Some(2), "there is no command 'bash' here, and no shell; try: help"),
        ("devices; id", Some(2), "there is no command 'devices;' here"),
        ("devices --all", Some(2), "there is no option --all"),
        ("kick cam-17", Some(1), "not permitted"),
        ("scp -f /etc/passwd", Some(2), "there is no option -f"),
        ("$(id)", Some(2), "there is no command '$(id)' here"),
        ("\u{1b}[2J", Some(2), "there is no command '\u{fffd}[2J' here"),
    ] {
        let (code, out, error) = ask(&home, &relay, "alice", command);
        assert_eq!((code, out.as_str()), (status, ""), "{command}: {error}");
        assert!(error.starts_with(said), "{command}: {error}");
    }
    let plain = run(home.via(&relay, "alice").args(["-oLogLevel=ERROR", "relay"]));
    assert!(plain.status.success() && text(&plain.stdout).starts_with("This is a relay: it has no shell."), "{}", text(&plain.stderr));
    let mut sftp = tool("sftp", "openssh-client");
    let refused = run(sftp.arg("-F").arg(home.config(&relay, "alice")).args(["-b", "/dev/null", "relay"]));
    assert!(!refused.status.success());
    // A device's key has no console.
    let (status, _, error) = ask(&home, &relay, "cam", "devices");
    assert_eq!((status, error.as_str()), (Some(1), "This account can only be used for forwarding\n"));
}

#[test]
fn on_a_terminal_lines_begin_at_its_left_edge() {
    let (home, relay, _device) = start();
    let mut terminal = Terminal::start(home.via(&relay, "alice").args(["-oLogLevel=ERROR", "-tt", "relay", "whoami"]));
    terminal.await_text("visitor@test (SHA256:");
    let (status, screen) = terminal.finish();
    assert!(status.success());
    assert!(screen.contains("\r\nroles: visitor\r\n"), "{screen:?}");
}

#[test]
fn an_administrator_sees_and_ends_everything() {
    let (home, relay, device) = start();
    let sshd = home.sshd();
    drop(device);
    relay.await_events("release", 1);
    let mut device = home.hold(&relay, "cam", &format!("cam-17:22:127.0.0.1:{}", sshd.port));
    relay.await_events("register", 2);
    let mut visit = Client::start(home.jump(&relay, "alice", "cam-17").arg("echo in; sleep 1000"));
    visit.await_line("in");
    let sessions = |key: &str| -> Vec<serde_json::Value> { serde_json::from_str(&ask(&home, &relay, key, "sessions --json").1).unwrap() };
    assert_eq!((sessions("alice").len(), sessions("bob").len(), sessions("root").len()), (1, 0, 1));
    let session = sessions("root")[0].clone();
    assert_eq!((&session["to"], &session["who"]), (&"cam-17:22".into(), &"visitor@test".into()));
    assert!(session["up"].as_u64().unwrap() > 0);
    let number = session["session"].to_string();
    assert_eq!(ask(&home, &relay, "bob", &format!("kick {number}")).0, Some(1));
    assert_eq!(ask(&home, &relay, "root", &format!("kick {number}")).1, format!("session {number} ended\n"));
    assert!(!visit.finish().0.success());
    assert_eq!(relay.await_events("close", 1)["why"], "kicked");
    assert_eq!(ask(&home, &relay, "root", "kick cam-17").1, "cam-17 disconnected\n");
    device.await_stderr("ended by an administrator");
    assert_eq!(ask(&home, &relay, "root", "kick cam-17").2, "cam-17 is not connected\n");
}

#[test]
fn whoami_says_what_a_key_may() {
    let (home, relay, _device) = start();
    let who: serde_json::Value = serde_json::from_str(&ask(&home, &relay, "alice", "whoami --json").1).unwrap();
    assert_eq!((&who["roles"], &who["reaches"]), (&serde_json::json!(["visitor"]), &serde_json::json!(["cam-*:22"])));
    let fingerprint = run(Command::new("ssh-keygen").arg("-lf").arg(home.path("alice.pub")));
    assert!(text(&fingerprint.stdout).contains(who["key"].as_str().unwrap()));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&ask(&home, &relay, "root", "whoami --json").1).unwrap()["roles"],
        serde_json::json!(["admin"])
    );
}

#[test]
fn a_key_with_a_command_has_no_console() {
    let home = Home::new();
    home.write("visitors", home.line("alice", r#"command="/bin/false",permitopen="cam-*:22""#));
    home.write("devices", home.line("cam", r#"permitlisten="cam-17:22""#));
    let relay = Relay::start(&home, home.relay_of_files());
    assert_eq!(ask(&home, &relay, "alice", "devices").2, "This account can only be used for forwarding\n");
}

/// A device may be called by a number too.
#[test]
fn a_number_is_a_session_and_a_device_of_that_name_is_said_so() {
    let home = Home::new();
    home.write("visitors", home.line("alice", ""));
    let names: String = (1..=9).map(|number| format!("permitlisten=\"{number}:22\",")).collect();
    home.write("devices", home.line("cam", names.trim_end_matches(',')));
    home.write("admins", home.line("root", ""));
    let mut command = home.relay_of_files();
    command.arg("--admins").arg(home.path("admins"));
    let relay = Relay::start(&home, command);
    let sshd = home.sshd();
    // The numbers that sessions get next.
    let mut holding = home.holding(&relay, "cam", &format!("1:22:127.0.0.1:{}", sshd.port));
    holding.args((2..=9).flat_map(|number| ["-R".to_owned(), format!("{number}:22:127.0.0.1:{}", sshd.port)]));
    let mut device = Client::start(&mut holding);
    relay.await_events("register", 9);
    // As the host of a URL, ssh would take it for an address.
    let mut visit = Client::start(home.via(&relay, "alice").args(["-W", "7:22", "relay"]));
    visit.await_line("SSH-2.0-");
    let session = relay.await_events("open", 1)["visit"].to_string();
    assert!((1..=9).any(|number| session == number.to_string()), "{session}");
    let kick = |what: &str| {
        let (_, said, error) = ask(&home, &relay, "root", &format!("kick {what}"));
        said + &error
    };
    assert_eq!(kick(&session), format!("session {session} ended\n"));
    assert_eq!(relay.await_events("close", 1)["why"], "kicked");
    // It has ended a moment ago: nothing else is meant by the number.
    let gone = format!("there is no session {session} (a device of that name is: kick device {session})\n");
    assert_eq!((kick(&session), kick(&format!("session {session}"))), (gone, format!("there is no session {session}\n")));
    assert_eq!(kick("device 10"), "10 is not connected\n");
    assert_eq!(kick(&format!("device {session}")), format!("{session} disconnected\n"));
    device.await_stderr("ended by an administrator");
    assert_eq!(kick("session cam"), "'cam' is not the number of a session\n");
}

/// A list is as long as the fleet: who asks for one all the time waits, and can do everything else.
#[test]
fn a_list_that_is_asked_for_again_and_again_has_a_rate() {
    let (home, relay, _device) = start();
    let control = home.path("control");
    let _shared = Client::start(home.via(&relay, "alice").args(["-N", "-M", "-S"]).arg(&control).arg("relay"));
    until("the connection is shared", || control.exists().then_some(()));
    let ask = |command: &str| {
        let answer = run(home.via(&relay, "alice").arg("-S").arg(&control).args(["relay", command]));
        (answer.status.code(), text(&answer.stdout) + &text(&answer.stderr))
    };
    let answered = (0..1000).map(|_| ask("devices --json")).take_while(|(status, _)| *status == Some(0)).count();
    assert!((10..1000).contains(&answered), "{answered}");
    let (status, said) = ask("devices");
    assert_eq!(status, Some(1));
    assert!(said.starts_with("too many lists for this key: try again in "), "{said}");
    assert_eq!((ask("sessions").0, ask("whoami").0), (Some(0), Some(0)));
    // Another key has its own.
    assert_eq!(self::ask(&home, &relay, "bob", "devices").0, Some(0));
}
