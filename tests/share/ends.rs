//! How a share ends, and what it leaves.

use std::process::Command;

use crate::support::*;

#[test]
fn a_record_that_is_full_ends_the_share_for_everybody() {
    let home = Home::new();
    let share = home.shared(&["--record-limit", "200K"], "echo ready; read x; yes");
    let (mut one, mut two) = (home.join(&share, "id"), home.join(&share, "id"));
    one.await_line("ready");
    two.await_line("ready");
    one.keys("\r");
    for view in [&mut one, &mut two] {
        let (status, screen) = view.finish();
        assert_ne!(status.code(), Some(0), "{screen}");
    }
    let (status, _, said) = share.process.finish();
    assert_eq!(status.code(), Some(74), "{said}");
    assert!(home.record_length() <= 200 << 10);
}

#[test]
fn a_share_that_no_viewer_joins_ends_after_its_time() {
    let home = Home::new();
    let share = home.shared(&["--timeout", "1"], "read x");
    let (status, _, said) = share.process.finish();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("no viewer joined within 1 s"), "{said}");
}

#[test]
fn a_signal_ends_the_program_and_tells_the_viewers() {
    let home = Home::new();
    let share = home.shared(&[], "echo ready; read x");
    let mut view = home.join(&share, "id");
    view.await_line("ready");
    share.process.signal("TERM");
    let (status, screen) = view.finish();
    assert_eq!(status.code(), Some(143));
    assert!(screen.contains("the share has ended: Stopped by signal 15"), "{screen}");
    assert_eq!(share.process.finish().0.code(), Some(143));
    assert_eq!(verify(&home.path("visit.cast"), Some(&share.host_key)).0, 0);
}

#[test]
fn a_viewer_that_is_stopped_keeps_nobody_waiting_and_is_exact_when_it_wakes() {
    let home = Home::new();
    let share = home.shared(&[], "echo ready; read x; seq 200000; echo done; read x");
    let (mut one, stopped) = (home.join(&share, "id"), home.join(&share, "id"));
    one.await_line("ready");
    stopped.await_line("ready");
    let signal = |name: &str| assert!(Command::new("kill").args(["-s", name, &stopped.pid().to_string()]).status().unwrap().success());
    signal("STOP");
    one.keys("\r");
    one.await_line("done");
    signal("CONT");
    stopped.await_line("done");
    assert_eq!(one.lines(), stopped.lines());
}

#[test]
fn the_viewers_terminal_is_as_it_was_after_they_leave() {
    let home = Home::new();
    let share = home.shared(&[], "printf '\\033[?1049h\\033[?1000h\\033[?2004h\\033[?25l\\033[4mready'; read x");
    let mut view = home.join(&share, "id");
    view.await_words("ready");
    view.keys("\r");
    assert_eq!(view.finish().0.code(), Some(0));
    let screen = view.screen();
    assert!(!screen.alternate_screen() && !screen.bracketed_paste() && !screen.hide_cursor() && !screen.underline());
    assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
}

#[test]
fn a_share_that_is_idle_ends_and_one_in_use_does_not() {
    let home = Home::new();
    let share = home.shared(&["--idle-timeout", "3"], "echo ready; for i in 1 2 3 4 5 6 7 8; do sleep 0.5; echo $i; done; read x");
    let mut view = home.join(&share, "id");
    view.await_line("8");
    let (status, screen) = view.finish();
    assert_eq!(status.code(), Some(124));
    assert!(screen.contains("idle for 3 s"), "{screen}");
    assert_eq!(share.process.finish().0.code(), Some(124));
}
