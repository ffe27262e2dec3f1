//! Clients that would open a second connection, each as the guide says that it works: a visit is one connection.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{folder, over, random};
use crate::scale::multiplex::master;
use crate::support::*;

/// Some files here, in folders, and where they are to go there.
fn files(home: &Home) -> (PathBuf, PathBuf) {
    for name in ["a/1", "a/2", "b/c/3", "b/4", "5"] {
        let file = home.path("src").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        random(&file, 100_000);
    }
    (home.path("src"), folder(home).join("copied"))
}

fn are_same(one: &std::path::Path, other: &std::path::Path) {
    let same = run(Command::new("diff").arg("-r").arg(one).arg(other));
    assert!(same.status.success(), "{}", text(&same.stdout));
}

#[test]
fn rclone_copies_a_folder_and_back() {
    let home = Home::new();
    let (src, copied) = files(&home);
    let remote = format!(":sftp:{}", copied.display());
    let back = home.path("back");
    for (record, from, to) in [("up.cast", src.to_str().unwrap(), &*remote), ("visit.cast", &remote, back.to_str().unwrap())] {
        let mut server = Server::open(home.once_to(&home.path(record)));
        let mut rclone = tool("rclone", "rclone");
        rclone.args(["copy", "--transfers", "1", "--checkers", "1", "--sftp-host", "127.0.0.1", "--sftp-user", "anyone"]);
        rclone.args(["--sftp-port", &server.port.to_string(), "--sftp-key-file"]).arg(home.path("id")).args([from, to]);
        let done = run(rclone.env("RCLONE_CONFIG", "/dev/null").env("HOME", home.path("")));
        assert!(done.status.success(), "{}", text(&done.stderr));
        server.wait();
        are_same(&src, if to == remote { &copied } else { &back });
    }
}

#[test]
fn restic_makes_a_repository_and_fills_it_through_one_connection() {
    let home = Home::new();
    let (src, repository) = files(&home);
    let mut server = home.open(&["--max-sessions", "8"]);
    let (client, control) = master(&home, &server);
    let ssh = format!("sftp.command=ssh -F /dev/null {control} anyone@127.0.0.1 -s sftp");
    for words in [vec!["init"], vec!["backup", src.to_str().unwrap()], vec!["check"]] {
        let mut restic = tool("restic", "restic");
        restic.args(["--no-cache", "-o", &ssh, "-r"]).arg(format!("sftp:127.0.0.1:{}", repository.display())).args(&words);
        let done = run(restic.env("RESTIC_PASSWORD", "secret").env("HOME", home.path("")));
        assert!(done.status.success(), "{words:?}: {}", text(&done.stderr));
    }
    client.signal("TERM");
    client.finish();
    over(&home, &mut server);
}

#[test]
fn lftp_mirrors_by_several_at_once_through_one_connection() {
    let home = Home::new();
    let (src, copied) = files(&home);
    let mut server = home.open(&["--max-sessions", "8"]);
    let (client, control) = master(&home, &server);
    let script = format!(
        "set cmd:fail-exit yes; set sftp:connect-program \"ssh -a -x -F /dev/null {control}\"; open sftp://anyone:@127.0.0.1; \
         mirror -P 3 -R {} {}; mirror -P 3 {1} {}",
        src.display(),
        copied.display(),
        home.path("back").display()
    );
    let done = run(tool("lftp", "lftp").args(["--norc", "-c", &script]).env("HOME", home.path("")));
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    client.signal("TERM");
    client.finish();
    over(&home, &mut server);
    are_same(&src, &copied);
    are_same(&src, &home.path("back"));
}
