//! Stock clients, as they come.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::*;

/// Whether two files, or folders, are byte for byte the same.
fn same(one: &Path, other: &Path) -> bool {
    let output = run(Command::new("diff").arg("-r").arg(one).arg(other));
    assert!(output.status.success() || output.status.code() == Some(1), "{}", text(&output.stderr));
    output.status.success()
}

fn random(home: &Home, name: &str, bytes: usize) -> std::path::PathBuf {
    let file = home.path(name);
    let script = format!("head -c {bytes} /dev/urandom >'{}'", file.display());
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    file
}

/// How much `tar` moves each way: 1 GiB, for which the disk needs four times as much, or what `$SALLY_TAR_MIB` says.
fn tar_bytes() -> usize {
    std::env::var("SALLY_TAR_MIB").map_or(1024, |mib| mib.parse().unwrap()) << 20
}

/// Runs a pipeline in which `$SSH` is ssh to the server, however long it takes.
fn pipeline(home: &Home, server: &Server, script: &str) -> std::process::Output {
    let ssh = format!("{} anyone@127.0.0.1", home.ssh_line(server));
    let mut shell = tool("bash", "bash");
    shell.args(["-c", &format!("set -o pipefail; {script}")]).env("SSH", ssh).current_dir(home.path(""));
    shell.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn scp_brings_a_file_and_fetches_it() {
    let home = Home::new();
    let file = random(&home, "file", 3_000_000);
    assert!(Command::new("chmod").arg("640").arg(&file).status().unwrap().success());
    let scp = |server: &Server, from: String, to: String| {
        let mut scp = tool("scp", "openssh-client");
        scp.args(["-O", "-p"]).args(home.options()).arg("-i").arg(home.path("id")).args(["-P", &server.port.to_string(), &from, &to]);
        run(&mut scp)
    };
    let remote = |name: &str| format!("anyone@127.0.0.1:{}", home.path(name).display());
    let mut server = Server::open(home.once_to(&home.path("up.cast")));
    let up = scp(&server, file.display().to_string(), remote("there"));
    assert!(up.status.success(), "{}", text(&up.stderr));
    assert_eq!(server.wait().0.code(), Some(0));
    let mut server = Server::open(home.once_to(&home.path("down.cast")));
    let down = scp(&server, remote("there"), home.path("back").display().to_string());
    assert!(down.status.success(), "{}", text(&down.stderr));
    assert_eq!(server.wait().0.code(), Some(0));
    assert!(same(&file, &home.path("back")));
    let mode = run(Command::new("stat").args(["-c", "%a"]).arg(home.path("back")));
    assert_eq!(text(&mode.stdout), "640\n");
}

#[test]
fn rsync_brings_a_folder_and_fetches_it() {
    let home = Home::new();
    std::fs::create_dir_all(home.path("src/deep/er")).unwrap();
    random(&home, "src/one", 500_000);
    random(&home, "src/deep/er/two", 100_000);
    for (name, from, to) in [("up", "src/", "there/"), ("down", "there/", "back/")] {
        let mut server = Server::open(home.once_to(&home.path(format!("{name}.cast"))));
        let remote = |folder: &str| format!("anyone@127.0.0.1:{}/", home.path(folder).display());
        let mut rsync = tool("rsync", "rsync");
        rsync.args(["-a", "-e", &home.ssh_line(&server)]);
        match name {
            "up" => rsync.arg(home.path(from)).arg(remote(to)),
            _ => rsync.arg(remote(from)).arg(home.path(to)),
        };
        let done = run(&mut rsync);
        assert!(done.status.success(), "{name}: {}", text(&done.stderr));
        assert_eq!(server.wait().0.code(), Some(0));
    }
    assert!(same(&home.path("src"), &home.path("back")));
}

#[test]
fn git_clones_and_pushes() {
    let home = Home::new();
    let git = |arguments: &[&str], ssh: &str| {
        let mut git = tool("git", "git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]).args(arguments);
        git.env("GIT_SSH_COMMAND", ssh).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", home.path("")).current_dir(home.path(""));
        let done = run(&mut git);
        assert!(done.status.success(), "{arguments:?}: {}", text(&done.stderr));
        text(&done.stdout)
    };
    git(&["init", "-q", "--bare", "origin.git"], "");
    git(&["init", "-q", "first"], "");
    random(&home, "first/file", 300_000);
    git(&["-C", "first", "add", "file"], "");
    git(&["-C", "first", "commit", "-qm", "one"], "");
    let url = format!("ssh://anyone@127.0.0.1{}", home.path("origin.git").display());
    let mut server = Server::open(home.once_to(&home.path("push.cast")));
    git(&["-C", "first", "push", "-q", &url, "HEAD:main"], &home.ssh_line(&server));
    assert_eq!(server.wait().0.code(), Some(0));
    let mut server = Server::open(home.once_to(&home.path("clone.cast")));
    git(&["clone", "-q", "-b", "main", &url, "second"], &home.ssh_line(&server));
    assert_eq!(server.wait().0.code(), Some(0));
    assert!(same(&home.path("first/file"), &home.path("second/file")));
}

#[test]
fn tar_brings_a_folder_byte_for_byte() {
    let _turn = big();
    let home = Home::new();
    std::fs::create_dir_all(home.path("src")).unwrap();
    std::fs::create_dir_all(home.path("dst")).unwrap();
    random(&home, "src/data", tar_bytes());
    let mut server = home.open(&[]);
    let done = pipeline(&home, &server, &format!("tar -C src -c . | $SSH \"tar -C {} -xv\"", home.path("dst").display()));
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(text(&done.stdout), "./\n./data\n");
    assert!(same(&home.path("src"), &home.path("dst")));
    assert_eq!(server.wait().0.code(), Some(0));
    home.assert_sealed(&server);
}

#[test]
fn tar_fetches_a_folder_byte_for_byte() {
    let _turn = big();
    let home = Home::new();
    std::fs::create_dir_all(home.path("src")).unwrap();
    std::fs::create_dir_all(home.path("dst")).unwrap();
    random(&home, "src/data", tar_bytes());
    let mut server = home.open(&[]);
    let done = pipeline(&home, &server, &format!("$SSH \"tar -C {} -c .\" | tar -C dst -x", home.path("src").display()));
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(same(&home.path("src"), &home.path("dst")));
    assert_eq!(server.wait().0.code(), Some(0));
    home.assert_sealed(&server);
}

/// What PuTTY's tools take to know the host.
fn fingerprint(home: &Home, server: &Server) -> String {
    let public = home.write("host.pub", format!("{}\n", server.host_key));
    let said = text(&run(Command::new("ssh-keygen").arg("-lf").arg(public)).stdout);
    said.split(' ').nth(1).unwrap().to_owned()
}

fn putty(home: &Home, server: &Server, name: &str) -> Command {
    let ppk = home.path("id.ppk");
    if !ppk.exists() {
        let made = run(tool("puttygen", "putty-tools").arg(home.path("id")).arg("-o").arg(&ppk));
        assert!(made.status.success(), "{}", text(&made.stderr));
    }
    let mut command = tool(name, "putty-tools");
    command
        .env("HOME", home.path(""))
        .args(["-batch", "-P", &server.port.to_string(), "-hostkey", &fingerprint(home, server), "-i"])
        .arg(ppk);
    command
}

#[test]
fn plink_runs_a_command() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let visit = run_with(putty(&home, &server, "plink").args(["anyone@127.0.0.1", "cat; echo oops >&2; exit 7"]), b"through\n");
    assert_eq!((text(&visit.stdout), text(&visit.stderr), visit.status.code()), ("through\n".into(), "oops\n".into(), Some(7)));
    assert_eq!(server.wait().0.code(), Some(7));
}

#[test]
fn pscp_brings_a_file_and_fetches_it() {
    let home = Home::new();
    let file = random(&home, "file", 2_000_000);
    let remote = format!("anyone@127.0.0.1:{}", home.path("there").display());
    let mut server = Server::open(home.once_to(&home.path("up.cast")));
    let up = run(putty(&home, &server, "pscp").args(["-scp", "-q"]).arg(&file).arg(&remote));
    assert!(up.status.success(), "{}", text(&up.stderr));
    assert_eq!(server.wait().0.code(), Some(0));
    let mut server = Server::open(home.once_to(&home.path("down.cast")));
    let down = run(putty(&home, &server, "pscp").args(["-scp", "-q", &remote]).arg(home.path("back")));
    assert!(down.status.success(), "{}", text(&down.stderr));
    assert_eq!(server.wait().0.code(), Some(0));
    assert!(same(&file, &home.path("back")));
}

fn dbclient(home: &Home, server: &Server) -> Command {
    let key = home.path("id.db");
    if !key.exists() {
        let made = run(tool("dropbearconvert", "dropbear-bin").args(["openssh", "dropbear"]).arg(home.path("id")).arg(&key));
        assert!(made.status.success(), "{}", text(&made.stderr));
    }
    let mut command = tool("dbclient", "dropbear-bin");
    command.env("HOME", home.path("")).args(["-y", "-y", "-p", &server.port.to_string(), "-i"]).arg(key);
    command
}

#[test]
fn dbclient_runs_a_command() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let visit = run_with(dbclient(&home, &server).args(["anyone@127.0.0.1", "cat; echo oops >&2; exit 7"]), b"through\n");
    assert_eq!((text(&visit.stdout), visit.status.code()), ("through\n".into(), Some(7)), "{}", text(&visit.stderr));
    assert!(text(&visit.stderr).ends_with("oops\n"), "{}", text(&visit.stderr));
    assert_eq!(server.wait().0.code(), Some(7));
}

/// OpenSSH prefers ChaCha20, everywhere.
#[test]
fn ssh_is_given_aes_where_the_processor_has_it_and_what_it_insists_on_elsewhere() {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let has_aes = processor.split_whitespace().any(|flag| flag == "aes")
        && processor.split_whitespace().any(|flag| ["pclmulqdq", "pmull"].contains(&flag));
    let fastest = if has_aes { "aes128-gcm@openssh.com" } else { "chacha20-poly1305@openssh.com" };
    let home = Home::new();
    for (name, options, expected) in [
        ("default", &[][..], fastest),
        ("chacha", &["-c", "chacha20-poly1305@openssh.com"], "chacha20-poly1305@openssh.com"),
        ("ctr", &["-c", "aes256-ctr"], "aes256-ctr"),
        (
            "order",
            &["-c", "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com"],
            if has_aes { "aes256-gcm@openssh.com" } else { "chacha20-poly1305@openssh.com" },
        ),
        // The choice holds for every key exchange of the connection. More than a window has to go, so that one is over before the end is.
        ("rekey", &["-o", "RekeyLimit=64K"], fastest),
    ] {
        let server = Server::open(home.once_to(&home.path(format!("{name}.cast"))));
        let visit = run(home.ssh(&server).args(["-v", "-o", "LogLevel=DEBUG1"]).args(options).arg("yes | head -c 8000000"));
        assert_eq!(visit.stdout.len(), 8_000_000, "{name}: {}", text(&visit.stderr));
        let said = text(&visit.stderr);
        let ciphers: Vec<&str> = said
            .lines()
            .filter_map(|line| line.split_once("kex: server->client cipher: "))
            .filter_map(|(_, rest)| rest.split(' ').next())
            .collect();
        assert!(!ciphers.is_empty() && ciphers.iter().all(|cipher| *cipher == expected), "{name}: {ciphers:?}");
        assert_eq!(ciphers.len() > 1, name == "rekey", "{name}: {ciphers:?}");
    }
}

/// dbclient leaves as soon as it has heard the status: the visit is over then, not broken off.
#[test]
fn a_visitor_who_leaves_at_the_last_word_has_had_their_visit() {
    let home = Home::new();
    for round in 0..30 {
        let mut server = Server::open(home.once_to(&home.path(format!("{round}.cast"))));
        let visit = run(dbclient(&home, &server).args(["anyone@127.0.0.1", "cat; exit 7"]));
        let (status, said) = server.wait();
        assert_eq!((visit.status.code(), status.code()), (Some(7), Some(7)), "round {round}: {said}");
    }
}

#[test]
fn dbclient_has_a_terminal() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let mut terminal = Terminal::start(dbclient(&home, &server).args(["-t", "anyone@127.0.0.1", "echo size=$(stty size); exit 4"]));
    assert_eq!(terminal.await_word("size="), "24 80");
    assert_eq!(terminal.finish().0.code(), Some(4));
    assert_eq!(server.wait().0.code(), Some(4));
}

/// A visit of tests/python/visits.py: what it says.
fn python_visit(home: &Home, server: &Server, scenario: &str) -> String {
    let visit = run(python("visits.py").arg(scenario).arg(server.port.to_string()).arg(home.path("id")));
    assert!(visit.status.success(), "{scenario}: {}", text(&visit.stderr));
    text(&visit.stdout)
}

#[test]
fn paramiko_comes_in_with_its_second_key() {
    let home = Home::new();
    let wrong = home.key("wrong", "ed25519");
    let mut server = home.open(&[]);
    let mut visit = python("visits.py");
    visit.arg("paramiko-wrong-key-first").arg(server.port.to_string()).arg(wrong).arg(home.path("id"));
    let visit = run(&mut visit);
    assert_eq!(text(&visit.stdout), "b'through\\n' b'oops\\n' 9\n", "{}", text(&visit.stderr));
    assert_eq!(server.wait().0.code(), Some(9));
}

#[test]
fn paramiko_has_a_terminal() {
    let home = Home::new();
    let mut server = home.open(&[]);
    assert_eq!(python_visit(&home, &server, "paramiko-shell"), "True 3\n");
    assert_eq!(server.wait().0.code(), Some(3));
}

#[test]
fn asyncssh_sends_signals() {
    let home = Home::new();
    let mut server = home.open(&[]);
    assert_eq!(python_visit(&home, &server, "signals"), "ready\ngot TERM\ngot INT\ngot USR1\nKILL\n");
    assert_eq!(server.wait().0.code(), Some(137));
    let names: Vec<_> = home.audits("signal").iter().map(|event| event["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["TERM", "INT", "USR1", "KILL"]);
}

#[test]
fn asyncssh_changes_the_window() {
    let home = Home::new();
    let server = home.open(&[]);
    assert_eq!(python_visit(&home, &server, "window"), "30 100\n['43', '132']\n");
    let sizes: Vec<_> = home.events("visit.cast").into_iter().filter(|(code, _)| code == "r").map(|(_, size)| size).collect();
    assert_eq!(sizes, ["100x30", "132x43"]);
}

#[test]
fn asyncssh_sets_its_language_alone() {
    let home = Home::new();
    let server = home.open(&[]);
    assert_eq!(python_visit(&home, &server, "environment"), "C C.UTF-8\n");
}

#[test]
fn asyncssh_sends_a_break_and_the_session_goes_on() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let mut visit = Client::start(python("visits.py").arg("break").arg(server.port.to_string()).arg(home.path("id")));
    visit.await_line("sent");
    until("it is on the record", || (home.audits("break").len() == 1).then_some(()));
    visit.write("go on\n");
    visit.await_line("3");
    assert_eq!(server.wait().0.code(), Some(3));
}

#[test]
fn asyncssh_is_told_why_a_second_session_is_refused() {
    let home = Home::new();
    let server = home.open(&[]);
    let said = python_visit(&home, &server, "second-session");
    let (refusal, rest) = said.split_once('\n').unwrap();
    // 1: administratively prohibited (RFC 4254, section 5.1).
    assert!(refusal.starts_with("1 ") && refusal.contains("session"), "{refusal}");
    assert_eq!(rest, "still here\n");
}

#[test]
fn forwards_are_refused_and_the_session_goes_on() {
    let home = Home::new();
    let server = home.open(&[]);
    let said = python_visit(&home, &server, "forwards");
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].starts_with("1 ") && lines[0].contains("forwarding is not allowed"), "{said}");
    assert_eq!((lines[1].contains("opened"), lines[2]), (false, "in"), "{said}");
    let refused: Vec<_> = home.audits("refusal").iter().map(|event| event["what"].as_str().unwrap().to_owned()).collect();
    assert_eq!(refused, ["direct-tcpip", "tcpip-forward"]);
}

#[test]
fn asyncssh_closes_one_half() {
    let home = Home::new();
    let server = home.open(&[]);
    assert_eq!(python_visit(&home, &server, "half-close"), "b'300000\\nafter\\n' b'err\\n' 0\n");
}

#[test]
fn an_agent_is_not_forwarded() {
    let home = Home::new();
    let server = home.open(&[]);
    let id = home.path("id");
    let visit =
        run(home.ssh_with(server.port, &["-A", "-i", id.to_str().unwrap()]).arg("echo agent=$SSH_AUTH_SOCK").env_remove("SSH_AUTH_SOCK"));
    assert_eq!(text(&visit.stdout), "agent=\n");
}

#[test]
fn a_subsystem_that_is_not_there_is_refused() {
    let home = Home::new();
    let server = home.open(&[]);
    let visit = run(home.ssh(&server).args(["-s", "no-such-subsystem"]).stdin(Stdio::null()));
    assert_eq!(visit.status.code(), Some(255));
    assert!(text(&visit.stderr).contains("subsystem request failed"), "{}", text(&visit.stderr));
}
