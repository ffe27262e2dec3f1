//! The host's commands to a running share.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::support::*;

#[test]
fn the_socket_is_the_hosts_alone_and_goes_with_the_share() {
    let home = Home::new();
    let share = home.shared(&[], "echo ready; read x");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(home.path("run/sally")), mode(share.socket.clone())), (0o700, 0o600));
    let ended = share.command(&["end"]);
    assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
    let (status, _, said) = share.process.finish();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("The host has ended the share"), "{said}");
    assert!(!share.socket.exists());
}

#[test]
fn a_folder_that_others_may_use_is_refused() {
    let home = Home::new();
    fs::create_dir_all(home.path("run/sally")).unwrap();
    fs::set_permissions(home.path("run/sally"), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = run(home.share().arg("--foreground"));
    assert_eq!(refused.status.code(), Some(73), "{}", text(&refused.stderr));
    fs::remove_dir(home.path("run/sally")).unwrap();
    std::os::unix::fs::symlink("/tmp", home.path("run/sally")).unwrap();
    assert_eq!(run(home.share().arg("--foreground")).status.code(), Some(73));
}

#[test]
fn the_only_share_needs_no_name_and_several_do() {
    let home = Home::new();
    let list = || run(Command::new(sally()).args(["share", "list"]).env("XDG_RUNTIME_DIR", home.path("run")));
    let none = list();
    assert_eq!(none.status.code(), Some(69));
    assert!(text(&none.stderr).starts_with("No share is there"), "{}", text(&none.stderr));
    let share = home.shared(&[], "read x");
    assert_eq!(list().status.code(), Some(0));
    let mut second = Client::start(home.share_to("second.cast").arg("--foreground"));
    second.await_line("ssh session: ");
    let several = list();
    assert_eq!(several.status.code(), Some(2));
    assert!(text(&several.stderr).contains(share.socket.to_str().unwrap()), "{}", text(&several.stderr));
}

#[test]
fn from_inside_the_share_only_a_list_is_answered() {
    let home = Home::new();
    let script = "echo ready; read x; \"$0\" share list; \"$0\" share kick 2; echo $?; read x";
    let mut command = home.share();
    command.args(["--foreground", "--", "sh", "-c", script]).arg(sally());
    let share = Share::start(&mut command, &home);
    let mut view = home.join(&share, "id");
    view.await_line("ready");
    view.keys("\r");
    view.await_words("can't be given from inside the share");
    view.await_line("1");
    assert!(view.screen().contents().contains("write direct"), "{}", view.screen().contents());
    assert_eq!(share.people().len(), 1);
}
