//! What no honest client does. Each class of past holes is a test; a real sshd was the oracle for what our raw client sends.

use crate::support::*;

/// Runs a scenario of tests/python/hostile.py: what it says.
fn scenario(server: &Server, name: &str, arguments: &[&str]) -> String {
    scenario_of("hostile.py", server, name, arguments)
}

/// The same of another script.
pub(super) fn scenario_of(script: &str, server: &Server, name: &str, arguments: &[&str]) -> String {
    let output = run(python(script).arg(name).arg(server.port.to_string()).args(arguments));
    assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The right visitor still comes in, and is the first to be recorded.
pub(super) fn still_open(home: &Home, server: &mut Server) {
    let visit = run(home.ssh(server).arg("echo in"));
    assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
    assert_eq!(server.wait().0.code(), Some(0));
    assert_eq!((home.audits("auth").len(), home.audits("exec").len()), (1, 1));
    home.assert_sealed(server);
}

/// Terrapin, CVE-2023-48795.
#[test]
fn a_message_smuggled_into_a_strict_key_exchange_closes_it() {
    let home = Home::new();
    let mut server = home.open(&[]);
    for name in ["ignore-before-kexinit", "ignore-after-kexinit"] {
        assert_eq!(scenario(&server, name, &["strict"]), "closed\n", "{name}");
    }
    // Without the strict exchange it is allowed (RFC 4253, section 11.2): the raw client sends what it should.
    assert_eq!(scenario(&server, "ignore-after-kexinit", &["lax"]), "went on\n");
    still_open(&home, &mut server);
}

/// CVE-2018-10933 and CVE-2025-32433: whatever is asked without a login, nothing is executed.
fn nothing_runs(name: &str) {
    let home = Home::new();
    let mut server = home.open(&[]);
    let witness = home.path("witness");
    assert_eq!(scenario(&server, name, &[witness.to_str().unwrap()]), "closed\n", "{name}");
    still_open(&home, &mut server);
    assert!(!witness.exists());
}

#[test]
fn a_clients_own_success_authenticates_nobody() {
    nothing_runs("own-success");
}

#[test]
fn a_command_before_the_key_exchange_is_not_executed() {
    nothing_runs("channel-before-kex");
}

#[test]
fn a_command_during_the_key_exchange_is_not_executed() {
    nothing_runs("channel-during-kex");
}

#[test]
fn a_command_before_authentication_is_not_executed() {
    nothing_runs("channel-before-service");
    nothing_runs("channel-before-auth");
    nothing_runs("connection-service-first");
}

/// Runs a scenario after a login: what it says, and what the server ends with.
fn visit(name: &str, more: &[&str]) -> (String, Option<i32>) {
    visit_allowing(&[], name, more)
}

fn visit_allowing(options: &[&str], name: &str, more: &[&str]) -> (String, Option<i32>) {
    let home = Home::new();
    let mut server = home.open(options);
    let before = server.rss();
    let id = home.path("id");
    let arguments: Vec<_> = [id.to_str().unwrap()].into_iter().chain(more.iter().copied()).collect();
    let mut command = python("hostile.py");
    command.arg(name).arg(server.port.to_string()).args(arguments);
    let mut client = Client::start(&mut command);
    let first = client.await_line("");
    // The client says its first line, and the connection goes on: the server is still there to be measured, unless it is over already.
    match status_field(server.child.id(), "VmRSS:") {
        Some(after) => assert!(after < before + (96 << 10), "{name}: {before} KiB grew to {after}"),
        // A process that ends has no memory any more, a moment before it can be waited for.
        None => drop(until("it is over, and there is no telling what it had grown to", || server.child.try_wait().unwrap())),
    }
    let (_, rest, stderr) = client.finish();
    assert!(stderr.is_empty(), "{name}: {stderr}");
    let (status, _) = server.wait();
    home.assert_sealed(&server);
    (format!("{first}\n{rest}").trim_end().to_owned(), status.code())
}

/// What a client asks for and can't be is refused: nothing is wrong with the machine, and the visit goes on.
#[test]
fn a_command_that_is_none_is_refused_in_words_of_its_own() {
    let forced = "command=\"test ${#SSH_ORIGINAL_COMMAND} -lt 100 && echo in\" ";
    for options in ["", forced] {
        let home = Home::new();
        let keys = home.write("keys", format!("{options}{}", home.read("id.pub")));
        let mut once = home.once_for(&keys);
        once.args(["--max-sessions", "9", "--log"]).arg(home.path("visit.cast"));
        let mut server = Server::open(once);
        let said = scenario(&server, "commands-that-are-none", &[home.path("id").to_str().unwrap()]);
        assert_eq!(said, "False\nFalse\nFalse\nTrue (b'in\\n', 0)\n", "{options}");
        let (status, stderr) = server.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
        let refusals: Vec<_> = home.audits("refusal").iter().map(|event| format!("{}: {}", event["what"], event["why"])).collect();
        let (nul, long) = ("\"exec\": \"there is a NUL in it\"", "\"exec\": \"it is longer than the system takes\"");
        assert_eq!(refusals, [nul, nul, long], "{options}");
        home.assert_sealed(&server);
    }
}

/// Where the visit has one session, and that came to nothing, the client is told so, and Sally ends as with any who ran nothing.
#[test]
fn a_visit_of_a_command_that_is_none_is_no_fault_of_the_machine() {
    let home = Home::new();
    let mut server = home.open(&[]);
    assert_eq!(scenario(&server, "long-command", &[home.path("id").to_str().unwrap(), "200000"]), "False\n");
    let (status, stderr) = server.wait();
    assert_eq!(status.code(), Some(255), "{stderr}");
    assert!(stderr.contains("Connection closed unexpectedly") && !stderr.contains("hint"), "{stderr}");
}

#[test]
fn data_for_an_unknown_channel_is_the_end() {
    assert_eq!(visit("data-for-an-unknown-channel", &[]).0, "closed");
}

#[test]
fn a_request_for_an_unknown_channel_is_the_end() {
    assert_eq!(visit("request-for-an-unknown-channel", &[]).0, "closed");
}

#[test]
fn a_second_close_is_the_end() {
    assert_eq!(visit("close-twice", &[]), ("closed".into(), Some(255)));
}

#[test]
fn more_than_the_window_is_the_end() {
    assert_eq!(visit("more-than-the-window", &[]), ("closed".into(), Some(255)));
}

#[test]
fn a_window_beyond_all_bounds_is_the_end() {
    assert_eq!(visit("window-beyond-all-bounds", &[]), ("closed".into(), Some(255)));
}

#[test]
fn a_packet_beyond_what_a_channel_takes_loses_nothing_and_one_beyond_the_maximum_is_the_end() {
    assert_eq!(visit("packet-of-length", &["200000"]), ("200000 0".into(), Some(0)));
    assert_eq!(visit("packet-of-length", &["300000"]), ("closed".into(), Some(255)));
}

#[test]
fn a_second_command_on_a_channel_is_refused() {
    assert_eq!(visit("exec-twice", &[]).0, "True False");
}

/// Thousands of channels and global requests: refused, and cut off when it doesn't end.
#[test]
fn twenty_thousand_global_requests_are_cut_off() {
    for name in ["tcpip-forward", "no-such-request@test"] {
        assert_eq!(visit("global-requests", &["20000", name]).0, "closed");
    }
}

#[test]
fn five_thousand_channels_are_one_and_cut_off() {
    assert_eq!(visit("channels", &["5000"]).0, "closed 1");
}

#[test]
fn five_thousand_forwards_are_bounded_and_cut_off() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let holding = std::thread::spawn(move || listener.incoming().map_while(Result::ok).take(128).collect::<Vec<_>>().len());
    let (said, status) = visit_allowing(&["--allow", "local-forward"], "forwards", &["5000", &port]);
    assert_eq!((&*said, status), ("closed 128", Some(0)));
    assert_eq!(holding.join().unwrap(), 128);
}

#[test]
fn a_socket_is_not_listened_on_twice() {
    let home = Home::new();
    let mut server = home.open(&["--allow", "remote-forward"]);
    let (id, path) = (home.path("id"), home.path("remote.sock"));
    let said = scenario(&server, "listen-again", &[id.to_str().unwrap(), path.to_str().unwrap()]);
    assert_eq!(said, "True\nFalse\nFalse\n");
    server.wait();
    assert!(home.audits("refusal")[0]["why"].as_str().unwrap().ends_with("it is listened on already"));
    home.assert_sealed(&server);
}

/// Thousands of variables. No more than 64 are taken; a megabyte of requests that no program has read yet ends the connection.
#[test]
fn five_hundred_variables_are_64_and_three_thousand_are_the_end() {
    assert_eq!(visit("environment", &["500"]), ("True\n64 0".into(), Some(0)));
    let home = Home::new();
    let mut server = home.open(&[]);
    assert_eq!(scenario(&server, "environment", &[home.path("id").to_str().unwrap(), "3000"]), "closed\n");
    let (status, said) = server.wait();
    assert_eq!((status.code(), said.lines().last()), (Some(255), Some("Connection closed unexpectedly")));
    assert_eq!((home.audits("auth").len(), home.audits("exec").len()), (1, 0), "the visit is on the record, and that nothing ran");
    assert_eq!(home.audits("refusal")[0]["what"], "connection", "and that it was cut");
    home.assert_sealed(&server);
}

/// The columns and rows of a terminal, as `stty size` says them, and how many changes of it are on the record.
fn sizes(count: &str, again: &str) -> (String, usize) {
    let home = Home::new();
    let mut server = home.open(&[]);
    let said = scenario(&server, "window-changes", &[home.path("id").to_str().unwrap(), count, again]);
    assert_eq!(server.wait().0.code(), Some(0));
    home.assert_sealed(&server);
    (said, home.events("visit.cast").iter().filter(|(code, _)| code == "r").count())
}

/// What applies is clamped; one that is sensible applies before a flood and after it, where a size of nothing is 80 × 24.
const SIZES: &str = "True\n4096 4096\n43 132\n24 80\n0\n";

#[test]
fn a_flood_of_absurd_windows_is_clamped() {
    let (said, recorded) = sizes("5000", "again");
    assert_eq!(said, SIZES);
    // Those that were seen to apply at least. At most those that were sent: the first, one, the flood, and one with each question.
    assert!((4..=5000 + 3 + 200).contains(&recorded), "{recorded}");
}

#[test]
fn the_last_of_a_flood_of_windows_is_what_stays() {
    for _ in 0..20 {
        assert_eq!(sizes("5000", "once").0, SIZES);
    }
}
