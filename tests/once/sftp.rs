//! Files by SFTP: what clients do every day, and what the record says of it.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::*;

mod clients;
mod flags;
mod hostile;
mod several;
mod symlinks;

/// A folder to work in, at its real path.
fn folder(home: &Home) -> PathBuf {
    let folder = home.path("there");
    fs::create_dir_all(&folder).unwrap();
    folder.canonicalize().unwrap()
}

/// Bytes that don't compress and don't repeat.
fn random(file: &Path, bytes: usize) -> Vec<u8> {
    let script = format!("head -c {bytes} /dev/urandom >'{}'", file.display());
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    fs::read(file).unwrap()
}

fn digest(file: &Path) -> String {
    b3sum(&fs::read(file).unwrap())
}

/// OpenSSH's sftp or scp, about to be given its arguments.
fn openssh(home: &Home, server: &Server, name: &str) -> Command {
    let mut command = tool(name, "openssh-client");
    command.args(home.options()).arg("-i").arg(home.path("id")).args(["-P", &server.port.to_string()]).current_dir(home.path(""));
    command
}

/// A batch of sftp's commands; each must succeed that is not preceded by `-`.
fn batch(home: &Home, server: &Server, commands: &str) -> Output {
    let mut sftp = openssh(home, server, "sftp");
    let output = run_with(sftp.args(["-b", "-", "anyone@127.0.0.1"]), commands.as_bytes());
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    output
}

/// The visit is over in good order, and so is its record.
fn over(home: &Home, server: &mut Server) {
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    home.assert_sealed(server);
}

/// Operations on the record that have a result.
fn done(home: &Home) -> Vec<Value> {
    home.audits("sftp").into_iter().filter(|event| event["result"] != Value::Null).collect()
}

/// The one operation of this name whose path ends so.
fn operation(home: &Home, op: &str, path: &str) -> Value {
    let all: Vec<_> = done(home)
        .into_iter()
        .filter(|event| event["op"] == op && event["path"].as_str().is_some_and(|said| said.ends_with(path)))
        .collect();
    assert_eq!(all.len(), 1, "{op} {path}: {all:#?}");
    all.into_iter().next().unwrap()
}

#[test]
fn sftp_does_all_it_can() {
    let home = Home::new();
    let there = folder(&home);
    let content = random(&home.path("file"), 1_000_003);
    home.write("empty", "");
    let mut server = home.open(&[]);
    let output = batch(
        &home,
        &server,
        &format!(
            "cd {}\npwd\nput -p file one\nput empty\nget one back\nrename one two\nln two three\nln -s two four\nls -l\nls -la\ndf\ndf -hi\n\
             chmod 640 two\nchown {uid} two\nchgrp {gid} two\nmkdir sub\ncp two sub/copied\nls -l sub\nrm three\n-rm three\n-rmdir sub\n\
             rename two empty\nls -1\nrm sub/copied\nrmdir sub\n-chmod -h 600 four\n",
            there.display(),
            uid = fs::metadata(&there).unwrap().uid(),
            gid = fs::metadata(&there).unwrap().gid(),
        ),
    );
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(said.contains(&format!("Remote working directory: {}\n", there.display())), "{said}");
    assert!(said.contains("-rw-r-----") && said.contains("%Capacity"), "{said}");
    assert!(complained.contains("No such file or directory") && complained.contains("Failure"), "{complained}");
    assert_eq!(fs::read(home.path("back")).unwrap(), content);
    // OpenSSH's client renames by posix-rename where it can: over what was there.
    assert_eq!(fs::read(there.join("empty")).unwrap(), content);
    assert_eq!(fs::metadata(there.join("empty")).unwrap().permissions().mode() & 0o7777, 0o640);
    assert_eq!(fs::read_link(there.join("four")).unwrap(), Path::new("two"));
    let mut left: Vec<_> = fs::read_dir(&there).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["empty", "four"]);
    over(&home, &mut server);
    assert_eq!(home.audits("subsystem")[0]["name"], "sftp");
    let hash = digest(&home.path("file"));
    let put = done(&home).into_iter().find(|event| event["op"] == "close" && event["written"] == 1_000_003).unwrap();
    assert_eq!((&put["written_blake3"], &put["written_from"]), (&hash.as_str().into(), &0.into()));
    let got = done(&home).into_iter().find(|event| event["op"] == "close" && event["read"] == 1_000_003).unwrap();
    assert_eq!((&got["read_blake3"], &got["read_from"]), (&hash.as_str().into(), &0.into()));
    let copied = operation(&home, "copy-data", "/two");
    assert_eq!((&copied["written_blake3"], copied["to"].as_str().unwrap().ends_with("/sub/copied")), (&hash.into(), true));
    let nothing = operation(&home, "close", "/empty");
    assert_eq!((&nothing["written"], &nothing["written_from"]), (&0.into(), &Value::Null));
    assert!(done(&home).iter().any(|event| event["op"] == "rmdir" && event["result"] == "Directory not empty"));
    assert_eq!(operation(&home, "symlink", "/four")["to"], "two");
}

#[test]
fn what_changes_files_is_on_the_record_before_it_is_done() {
    let home = Home::new();
    let there = folder(&home);
    let mut server = home.open(&[]);
    batch(&home, &server, &format!("cd {}\nmkdir new\nrmdir new\n", there.display()));
    over(&home, &mut server);
    let events: Vec<_> = home.audits("sftp").into_iter().filter(|event| event["path"].as_str().unwrap().ends_with("/new")).collect();
    let told: Vec<_> = events.iter().map(|event| (event["op"].as_str().unwrap(), event["result"].as_str())).collect();
    assert_eq!(told, [("mkdir", None), ("mkdir", Some("ok")), ("rmdir", None), ("rmdir", Some("ok"))]);
}

#[test]
fn scp_brings_a_folder_and_fetches_it() {
    use std::os::unix::ffi::OsStrExt;
    let home = Home::new();
    let there = folder(&home);
    fs::create_dir_all(home.path("src/deep/er")).unwrap();
    random(&home.path("src/one"), 700_000);
    random(&home.path("src/deep/er/two"), 70_000);
    for name in [&b"empty"[..], b"new\nline", b"caf\xe9", b"-dash", b"sp ace \"quote\" $HOME `x`"] {
        fs::write(home.path("src").join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    fs::write(home.path("src/empty"), "").unwrap();
    fs::set_permissions(home.path("src/one"), fs::Permissions::from_mode(0o604)).unwrap();
    let remote = |name: &str| format!("anyone@127.0.0.1:{}/{name}", there.display());
    for (record, from, to) in [("up.cast", "src".to_owned(), remote("")), ("visit.cast", remote("src"), "back".to_owned())] {
        let mut server = Server::open(home.once_to(&home.path(record)));
        let copied = run(openssh(&home, &server, "scp").args(["-r", "-p", &from, &to]));
        assert!(copied.status.success(), "{record}: {}", text(&copied.stderr));
        let (status, said) = server.wait();
        assert_eq!(status.code(), Some(0), "{said}");
    }
    let same = run(Command::new("diff").arg("-r").arg(home.path("src")).arg(home.path("back")));
    assert!(same.status.success(), "{}", text(&same.stdout));
    let (one, back) = (fs::metadata(home.path("src/one")).unwrap(), fs::metadata(home.path("back/one")).unwrap());
    assert_eq!((one.mode(), one.mtime()), (back.mode(), back.mtime()));
    // A name that is no UTF-8 is on the record byte for byte.
    let names: Vec<_> = done(&home).into_iter().filter(|event| event["op"] == "close" && event["path"].is_object()).collect();
    assert_eq!(names.len(), 1, "{names:#?}");
    assert!(operation(&home, "close", "/new\nline")["read"] == 8);
    for file in ["src/one", "src/deep/er/two"] {
        let event = operation(&home, "close", &format!("/{file}"));
        assert_eq!(event["read_blake3"], digest(&home.path(file)), "{file}");
    }
}

#[test]
fn a_transfer_that_broke_off_is_resumed() {
    let home = Home::new();
    let there = folder(&home);
    let content = random(&home.path("file"), 900_000);
    fs::write(there.join("file"), &content[..300_000]).unwrap();
    home.write("back", &content[..500_000]);
    let mut server = home.open(&[]);
    batch(&home, &server, &format!("reput file {0}/file\nreget {0}/file back\n", there.display()));
    over(&home, &mut server);
    assert!(fs::read(there.join("file")).unwrap() == content && fs::read(home.path("back")).unwrap() == content);
    let part = |from: usize| {
        home.write("part", &content[from..]);
        digest(&home.path("part"))
    };
    let written = done(&home).into_iter().find(|event| event["op"] == "close" && event["written"] == 600_000).unwrap();
    assert_eq!((&written["written_from"], &written["written_blake3"]), (&300_000.into(), &part(300_000).into()));
    let read = done(&home).into_iter().find(|event| event["op"] == "close" && event["read"] == 400_000).unwrap();
    assert_eq!((&read["read_from"], &read["read_blake3"]), (&500_000.into(), &part(500_000).into()));
}

#[test]
fn a_file_may_be_larger_than_4_gib() {
    const FAR: u64 = 5 << 30;
    let home = Home::new();
    let there = folder(&home);
    let sparse = |file: PathBuf, tail: &[u8]| fs::File::create(file).unwrap().write_all_at(tail, FAR).unwrap();
    sparse(there.join("down"), b"the end");
    fs::File::create(home.path("down")).unwrap().set_len(FAR).unwrap();
    sparse(home.path("up"), b"its end");
    fs::File::create(there.join("up")).unwrap().set_len(FAR).unwrap();
    let mut server = home.open(&[]);
    let output = batch(&home, &server, &format!("cd {}\nreget down\nreput up\nls -l\n", there.display()));
    assert_eq!(text(&output.stdout).matches(&(FAR + 7).to_string()).count(), 2, "{}", text(&output.stdout));
    over(&home, &mut server);
    for (file, tail) in [(home.path("down"), b"the end"), (there.join("up"), b"its end")] {
        let mut read = [0; 7];
        fs::File::open(&file).unwrap().read_exact_at(&mut read, FAR).unwrap();
        assert_eq!((&read, fs::metadata(&file).unwrap().len()), (tail, FAR + 7));
    }
    let written = done(&home).into_iter().find(|event| event["written"] == 7).unwrap();
    assert_eq!(written["written_from"], FAR);
}

#[test]
fn sixty_four_mib_go_both_ways_byte_for_byte() {
    let _turn = big();
    let home = Home::new();
    let there = folder(&home);
    let content = random(&home.path("file"), 64 << 20);
    let mut server = home.open(&[]);
    batch(&home, &server, &format!("put file {0}/file\nget {0}/file back\n", there.display()));
    over(&home, &mut server);
    assert!(fs::read(there.join("file")).unwrap() == content && fs::read(home.path("back")).unwrap() == content);
    let hash = digest(&home.path("file"));
    let closes: Vec<_> = done(&home).into_iter().filter(|event| event["op"] == "close").collect();
    assert_eq!((&closes[0]["written_blake3"], &closes[1]["read_blake3"]), (&hash.as_str().into(), &hash.as_str().into()));
}

#[test]
fn relative_paths_begin_at_home() {
    let home = Home::new();
    let there = folder(&home);
    fs::write(there.join("file"), "at home").unwrap();
    symlink("file", there.join("link")).unwrap();
    let mut command = home.once();
    // Without a name in /etc/passwd, $HOME counts; with one, its directory does: both are asked for.
    command.env("HOME", &there);
    let mut server = Server::open(command);
    let wanted = home_directory().unwrap_or(there);
    let output = batch(&home, &server, "pwd\n");
    assert_eq!(text(&output.stdout).lines().last(), Some(&*format!("Remote working directory: {}", wanted.display())));
    over(&home, &mut server);
}

/// The home directory of who runs the tests, as /etc/passwd has it.
fn home_directory() -> Option<PathBuf> {
    let id = text(&run(Command::new("id").arg("-u")).stdout);
    let entry = text(&run(Command::new("getent").arg("passwd").arg(id.trim())).stdout);
    entry.split(':').nth(5).map(|home| PathBuf::from(home).canonicalize().unwrap())
}

/// A server for one key with these options.
fn with_options(home: &Home, options: &str) -> Server {
    let keys = home.write("keys", format!("{options} {}", home.read("id.pub")));
    let mut command = home.once_for(&keys);
    command.arg("--log").arg(home.path("visit.cast"));
    Server::open(command)
}

#[test]
fn a_restricted_key_may_use_sftp_and_internal_sftp_is_sftp_alone() {
    for options in ["restrict", "command=\"internal-sftp\"", "restrict,command=\"internal-sftp\""] {
        let home = Home::new();
        let mut server = with_options(&home, options);
        assert!(text(&batch(&home, &server, "pwd\n").stdout).contains("Remote working directory"));
        over(&home, &mut server);
    }
    for command in [&["echo in"][..], &["-T"], &["-s", "whatever"]] {
        let home = Home::new();
        let server = with_options(&home, "command=\"internal-sftp\"");
        let visit = run(home.ssh(&server).args(command));
        assert_eq!((text(&visit.stdout), visit.status.code()), (String::new(), Some(255)), "{}", text(&visit.stderr));
        assert_eq!(home.audits("refusal").len(), 1);
        assert!(home.audits("exec").is_empty() && home.audits("shell").is_empty());
    }
}

#[test]
fn a_record_that_fills_up_ends_the_session() {
    let home = Home::new();
    let inner = home.once();
    let mut command = tool("prlimit", "util-linux");
    command
        .arg("--fsize=20000:20000")
        .arg(inner.get_program())
        .args(inner.get_args())
        .env("SHELL", "/bin/sh")
        .env_remove("AUTHORIZED_KEYS");
    let mut server = Server::open(command);
    let seen = hostile::scenario(&home, &server, "stats");
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(74), "{said}");
    // No answer without its line.
    let record = text(&fs::read(home.path("visit.cast")).unwrap());
    let recorded = record.lines().filter(|line| line.contains("\\\"op\\\":\\\"stat\\\"") && line.ends_with("\"]")).count();
    let seen: usize = seen.trim().parse().unwrap();
    assert!(seen > 0 && recorded >= seen, "{seen} answered, {recorded} recorded");
}

/// Files are served by Sally itself: what it has in memory, and its record, are nobody's files.
#[test]
fn our_own_memory_is_no_file() {
    let home = Home::new();
    let server = home.open(&[]);
    let output =
        batch(&home, &server, "-get /proc/self/maps x\n-get /proc/self/environ x\n-put id.pub /proc/self/mem\nget /proc/meminfo meminfo\n");
    let complained = text(&output.stderr);
    assert_eq!(complained.matches("Permission denied").count(), 3, "{complained}");
    assert!(output.status.success() && home.read("meminfo").contains("MemTotal"), "{complained}");
}
