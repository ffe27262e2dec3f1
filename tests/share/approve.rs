//! Viewers who wait until the host lets them in.

use std::process::Command;

use super::local::share_here_with;
use crate::support::*;

const WAITING: &str = "waiting for the host (q leaves)";
const SCRIPT: &str = "echo secret; while read word; do echo got $word; done";

/// A share that asks before each viewer joins.
fn asking(home: &Home, options: &[&str]) -> Share {
    home.shared(&[&["--approve"], options].concat(), SCRIPT)
}

/// Starts to join, and waits for the host to be asked: the number that the answer names.
fn ask(home: &Home, share: &mut Share, key: &str) -> (View, String) {
    let before = waiting(share);
    let view = home.join(share, key);
    view.await_line(WAITING);
    let number = waiting(share).into_iter().find(|number| !before.contains(number)).unwrap();
    (view, number)
}

/// The numbers of those who wait.
fn waiting(share: &Share) -> Vec<String> {
    let list = text(&share.command(&["list"]).stdout);
    list.lines().filter_map(|line| line.rsplit_once(" asks to join: approve ")).map(|(_, number)| number.to_owned()).collect()
}

#[test]
fn a_viewer_sees_and_types_nothing_before_the_host_says_yes() {
    let home = Home::new();
    let mut share = asking(&home, &[]);
    let (mut view, number) = ask(&home, &mut share, "id");
    share.process.await_stderr(&format!("asks to join, and may then write: approve {number}"));
    view.keys("typed before\r");
    assert_eq!(share.people().len(), 0);
    assert!(home.audits("join").is_empty() && !text(&view.sent()).contains("secret"), "{}", text(&view.sent()));
    let approved = share.command(&["approve", &number]);
    assert_eq!(approved.status.code(), Some(0), "{}", text(&approved.stderr));
    view.await_line("secret");
    view.keys("after\r");
    view.await_line("got after");
    assert_eq!(home.stream("stdin"), b"after\r");
    let events: Vec<_> = ["approve", "join"].iter().map(|name| home.audits(name)[0].clone()).collect();
    assert_eq!((&events[0]["approved"], &events[0]["role"]), (&true.into(), &"write".into()));
    assert_eq!((&events[0]["channel"], &events[0]["fingerprint"]), (&events[1]["channel"], &events[1]["fingerprint"]));
    let record = home.record();
    assert!(record.find("\\\"event\\\":\\\"approve\\\"").unwrap() < record.find("\\\"event\\\":\\\"join\\\"").unwrap());
    assert_eq!(share.command(&["approve", &number]).status.code(), Some(1), "an answer is given once");
    // The next time is asked again.
    ask(&home, &mut share, "id");
}

#[test]
fn a_viewer_who_is_denied_has_seen_nothing() {
    let home = Home::new();
    let watcher = home.watcher("watcher");
    let mut share = asking(&home, &watcher.each_ref().map(String::as_str));
    let (mut view, number) = ask(&home, &mut share, "watcher");
    assert_eq!(share.command(&["deny", &number]).status.code(), Some(0));
    let (status, screen) = view.finish();
    assert_eq!(status.code(), Some(1), "{screen}");
    assert!(screen.contains("the host has not let you in") && !text(&view.sent()).contains("secret"), "{screen}");
    let answer = &home.audits("approve")[0];
    assert_eq!((&answer["approved"], &answer["role"]), (&false.into(), &"watch".into()));
    assert!(answer["by"].is_string() && home.audits("join").is_empty());
}

#[test]
fn a_viewer_who_stops_waiting_is_on_the_record_and_can_not_be_let_in() {
    let home = Home::new();
    let mut share = asking(&home, &[]);
    let (mut view, number) = ask(&home, &mut share, "id");
    view.keys("q");
    assert_eq!(view.finish().0.code(), Some(0));
    until("nobody waits", || waiting(&share).is_empty().then_some(()));
    let answer = &home.audits("approve")[0];
    assert!(answer["approved"] == false && answer["by"].is_null(), "{answer}");
    assert_eq!(share.command(&["approve", &number]).status.code(), Some(1));
    let (lost, _) = ask(&home, &mut share, "id");
    drop(lost);
    until("the lost one is recorded", || (home.audits("approve").len() == 2).then_some(()));
}

#[test]
fn the_host_answers_on_the_status_line() {
    let home = Home::new();
    let (mut here, port) = share_here_with(&home, &["--approve"], &["sh", "-c", SCRIPT]);
    let view = View::start(&home.viewer(port, "id"));
    view.await_line(WAITING);
    here.await_words("asks to join: approve 2");
    here.keys("\x1c\x1capprove 2\r");
    view.await_line("secret");
    here.await_words("shared: 1 write, 0 watch");
}

#[test]
fn so_many_wait_and_no_more() {
    let home = Home::new();
    let names: Vec<_> = (0..5).map(|number| format!("key{number}")).collect();
    let options: Vec<_> = names.iter().flat_map(|name| home.watcher(name)).collect();
    let mut share = asking(&home, &options.iter().map(String::as_str).collect::<Vec<_>>());
    let mut views: Vec<_> = names[..4].iter().flat_map(|name| [name; 4]).map(|name| ask(&home, &mut share, name).0).collect();
    let (status, screen) = home.join(&share, "key0").finish();
    assert!(status.code() == Some(1) && screen.contains("this key waits 4 times already"), "{screen}");
    let (status, screen) = home.join(&share, "key4").finish();
    assert!(status.code() == Some(1) && screen.contains("16 viewers wait for the host already"), "{screen}");
    drop(views.pop());
    until("one waits no more", || (waiting(&share).len() == 15).then_some(()));
    ask(&home, &mut share, "key4");
}

#[test]
fn those_who_wait_read_how_the_share_ended() {
    let home = Home::new();
    let mut share = asking(&home, &[]);
    let (mut view, _) = ask(&home, &mut share, "id");
    assert_eq!(share.command(&["end"]).status.code(), Some(0));
    let (_, screen) = view.finish();
    assert!(screen.contains("The host has ended the share") && !screen.contains("secret"), "{screen}");
}

#[test]
fn sally_join_waits_too() {
    let home = Home::new();
    let mut share = asking(&home, &[]);
    let link = share.process.await_line("sally: sally join ");
    let print = link.split_once('#').unwrap().1;
    let mut join = Command::new(sally());
    join.args(["join", &format!("127.0.0.1:{}#{print}", share.port), "--identity"]).arg(home.path("id"));
    join.env("HOME", home.path("")).env("TERM", "xterm-256color").env_remove("SSH_AUTH_SOCK");
    let view = View::start(&join);
    view.await_words(WAITING);
    let number = waiting(&share).remove(0);
    assert_eq!(share.command(&["approve", &number]).status.code(), Some(0));
    view.await_line("secret");
}
