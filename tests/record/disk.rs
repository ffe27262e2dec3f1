//! The record can not be written: nothing runs unrecorded.

use std::process::{Command, Stdio};

use crate::support::*;

/// Prints a numbered line again and again: whoever compares sees what is missing.
const COUNT: &str = "n=0; while :; do n=$((n+1)); echo line $n; done";

/// A visit to a server whose record fails: the server ends with the named error, the visitor has seen nothing that is not recorded, and nothing
/// that the session started lives on.
fn visit_fails(home: &Home, command: Command, name: &str) {
    let mark = format!("VISIT_MARK={}", home.path(name).display());
    let (variable, value) = mark.split_once('=').unwrap();
    let mut command = command;
    command.env(variable, value);
    let log = home.path(name);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = lines(child.stderr.take().unwrap());
    let mut said = Vec::new();
    let port = loop {
        // It may fail before it listens: then there is nobody to visit.
        let Ok(line) = stderr.recv_timeout(PATIENCE) else { break None };
        said.push(line.clone());
        if let Some(rest) = line.strip_prefix("Listening on port ") {
            break Some(rest.split(';').next().unwrap().parse::<u16>().unwrap());
        }
    };
    let seen = port.map(|port| run(home.ssh_to(port).arg(COUNT)).stdout).unwrap_or_default();
    let status = wait(&mut child);
    said.extend(stderr.iter());
    let said = said.join("\n");
    assert_eq!(status.code(), Some(74), "{name}: {said}");
    assert_eq!(said.matches(&format!("Could not write to log file {}: ", log.display())).count(), 1, "{name}: {said}");
    until(&format!("{name}: nothing is left"), || marked(&mark).is_empty().then_some(()));
    let record = std::fs::read(&log).unwrap_or_default();
    // The last line may be torn.
    let whole = record.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let recorded = stream(&text(&record[..whole]), "stdout");
    assert!(recorded.starts_with(&seen), "{name}: {} bytes seen, {} recorded", seen.len(), recorded.len());
    if !record.is_empty() {
        let (verdict, sentence) = verify(&log, None);
        assert!([5, 65].contains(&verdict), "{name}: {verdict} {sentence}");
    }
}

/// `sally once` where no file may grow beyond so many bytes: a full disk for everybody, EFBIG instead of ENOSPC.
fn limited(home: &Home, bytes: usize, name: &str, prelude: &str) -> Command {
    let inner = home.once_to(&home.path(name));
    let mut command = tool("prlimit", "util-linux");
    command.arg(format!("--fsize={bytes}:{bytes}")).args(["sh", "-c", &format!("{prelude}exec \"$@\""), "sh"]);
    command.arg(inner.get_program()).args(inner.get_args()).env("SHELL", "/bin/sh").env_remove("AUTHORIZED_KEYS");
    command
}

#[test]
fn a_disk_that_fills_up_ends_the_session() {
    let home = Home::new();
    // Before the header is whole, after it, at the claim, in the midst of it all.
    for bytes in [100, 700, 1000, 1500, 2000, 3000, 10_000, 65_536, 1_000_000] {
        let name = format!("{bytes}.cast");
        visit_fails(&home, limited(&home, bytes, &name, "trap '' XFSZ; "), &name);
        assert!(std::fs::metadata(home.path(&name)).unwrap().len() <= bytes as u64);
    }
}

/// A file system of 64 KiB: ENOSPC from the kernel itself.
#[test]
fn a_small_file_system_that_fills_up_ends_the_session() {
    let home = Home::new();
    let (name, kept) = ("small/visit.cast", home.path("kept"));
    std::fs::create_dir(home.path("small")).unwrap();
    let inner = home.once_to(&home.path(name));
    let mut command = tool("unshare", "util-linux");
    command.args(if as_root() { &["-m"][..] } else { &["-r", "-m"] });
    // What it wrote is brought out to the same place.
    let script = format!(
        "cd /; mount -t tmpfs -o size=64k none '{0}' || exit; \"$@\"; status=$?; cp '{0}/visit.cast' '{1}'; umount '{0}'; cp '{1}' '{0}/visit.cast'; exit $status",
        home.path("small").display(),
        kept.display()
    );
    command.args(["sh", "-c", &script, "sh"]);
    command.arg(inner.get_program()).args(inner.get_args()).env("SHELL", "/bin/sh").env_remove("AUTHORIZED_KEYS");
    visit_fails(&home, command, name);
    assert_eq!(std::fs::metadata(kept).unwrap().len(), 64 << 10, "to the last byte");
}

#[test]
fn a_limit_on_file_sizes_is_an_error_and_not_a_death() {
    let home = Home::new();
    // As above, with SIGXFSZ at its default, which would kill us without a word.
    visit_fails(&home, limited(&home, 65_536, "limited.cast", ""), "limited.cast");
}

#[test]
fn a_write_that_fails_ends_the_session_whichever_it_is() {
    let home = Home::new();
    for (call, error, when) in [
        ("write", "ENOSPC", 1),
        ("write", "ENOSPC", 2),
        ("write", "EIO", 3),
        ("write", "ENOSPC", 5),
        ("write", "EIO", 8),
        ("write", "EDQUOT", 30),
        ("fdatasync", "EIO", 1),
        ("fdatasync", "EIO", 4),
    ] {
        let name = format!("{call}-{error}-{when}.cast");
        let log = home.path(&name);
        let mut inner = home.once_to(&log);
        if call == "fdatasync" {
            inner.arg("--record-sync");
        }
        // strace counts by thread: each of ours fails from its Nth write on. Only root sees which file a process like ours writes to.
        let mut command = rooted("strace", "strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(&log).args(["-e", &format!("inject={call}:error={error}:when={when}+")]);
        command.arg(inner.get_program()).args(inner.get_args()).env("SHELL", "/bin/sh").env_remove("AUTHORIZED_KEYS");
        visit_fails(&home, command, &name);
    }
}

#[test]
fn the_visitor_is_told_nothing_more_and_does_not_hang() {
    let home = Home::new();
    let mut server = Server::open(limited(&home, 20_000, "visit.cast", "trap '' XFSZ; "));
    let mut terminal = Terminal::start(home.ssh(&server).args(["-tt", COUNT]));
    let (status, _) = terminal.finish();
    assert_ne!(status.code(), Some(0));
    assert_eq!(server.wait().0.code(), Some(74));
}

/// Does something to the record in the midst of a visit; what the server says then.
fn tampered(home: &Home, tamper: impl FnOnce(&std::path::Path)) -> String {
    let mut server = home.open(&[]);
    let mut visit = home.visit(&server, "echo $$; exec cat", "");
    tamper(&home.path("visit.cast"));
    visit.write("anything\n");
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(74), "{said}");
    assert_ne!(visit.finish().0.code(), Some(0));
    let prefix = format!("Could not write to log file {}: ", home.path("visit.cast").display());
    said.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[test]
fn a_record_that_is_shortened_ends_the_session() {
    let said = tampered(&Home::new(), |log| std::fs::File::options().write(true).open(log).unwrap().set_len(10).unwrap());
    assert!(said.contains("shortened"), "{said}");
}

#[test]
fn a_record_that_is_removed_ends_the_session() {
    let said = tampered(&Home::new(), |log| std::fs::remove_file(log).unwrap());
    assert!(said.contains("removed"), "{said}");
}

#[test]
fn a_record_that_is_replaced_ends_the_session() {
    let said = tampered(&Home::new(), |log| {
        std::fs::copy(log, log.with_extension("copy")).unwrap();
        std::fs::hard_link(log, log.with_extension("kept")).unwrap();
        std::fs::rename(log.with_extension("copy"), log).unwrap();
    });
    assert!(said.contains("replaced"), "{said}");
}

#[test]
fn a_record_whose_reader_is_gone_ends_the_session() {
    let home = Home::new();
    let pipe = home.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut reader = Command::new("cat").arg(&pipe).stdout(Stdio::null()).spawn().unwrap();
    let mut server = Server::open(home.once_to(&pipe));
    let visit = home.visit(&server, "echo in; while :; do echo more; done", "in");
    reader.kill().unwrap();
    reader.wait().unwrap();
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(74), "{said}");
    assert!(said.contains(&format!("Could not write to log file {}: Broken pipe", pipe.display())), "{said}");
    drop(visit);
}

#[test]
fn a_record_whose_reader_is_slow_slows_the_session() {
    let home = Home::new();
    let pipe = home.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (sender, gate) = std::sync::mpsc::channel();
    let reading = std::thread::spawn({
        let pipe = pipe.clone();
        move || {
            let mut file = std::fs::File::open(pipe).unwrap();
            let mut all = vec![0; 4096];
            std::io::Read::read_exact(&mut file, &mut all[..400]).unwrap();
            all.truncate(400);
            gate.recv().unwrap();
            std::io::Read::read_to_end(&mut file, &mut all).unwrap();
            all
        }
    });
    let mut server = Server::open(home.once_to(&pipe));
    let mut visit = Client::start(home.ssh(&server).arg("echo 1; read go; seq 2 100000; exit 3"));
    visit.await_line("1");
    // The pipe holds 64 KiB: the visitor gets no further until somebody reads what is recorded.
    visit.write("go\n");
    quiet("the session", || cpu(server.child.id()));
    sender.send(()).unwrap();
    let (status, rest, _) = visit.finish();
    assert!(status.code() == Some(3) && rest.ends_with("\n100000"), "{status:?}");
    assert_eq!(server.wait().0.code(), Some(3));
    let record = text(&reading.join().unwrap());
    assert_eq!(stream(&record, "stdout").len(), 588_895);
}
