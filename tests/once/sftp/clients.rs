//! Other clients than OpenSSH's.

use std::fs;
use std::process::Command;

use super::{digest, done, folder, over, random};
use crate::support::*;

/// A scenario of tests/python/sftp.py in a folder: what it says.
fn python_client(name: &str) -> (Home, String) {
    let home = Home::new();
    let there = folder(&home);
    let mut server = home.open(&[]);
    let visit = run(python("sftp.py").arg(name).arg(server.port.to_string()).arg(home.path("id")).arg(there));
    assert!(visit.status.success(), "{name}: {}", text(&visit.stderr));
    over(&home, &mut server);
    (home, text(&visit.stdout))
}

#[test]
fn paramiko_does_all_it_can() {
    let (home, said) = python_client("by-paramiko");
    let expected = "prefetched True\nb'far out' 5368709127\n0o100600 10 1 2\nb'onetwo'\nOSError File exists\n2 No such file\n2 No such file\n\
                    log True\n300 0o40750\n";
    assert_eq!(said, expected);
    let appended: Vec<_> = done(&home).into_iter().filter(|event| event["op"] == "close" && event["written"] == 3).collect();
    assert_eq!(appended.iter().map(|event| event["written_from"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 3]);
}

#[test]
fn asyncssh_does_all_it_can() {
    let (_, said) = python_client("by-asyncssh");
    assert_eq!(said, "version 3\nTrue\nTrue True\n2\n255\n255\nno such file: No such file\n['harder']\n");
}

fn putty(home: &Home, server: &Server, name: &str) -> Command {
    let ppk = home.path("id.ppk");
    if !ppk.exists() {
        let made = run(tool("puttygen", "putty-tools").arg(home.path("id")).arg("-o").arg(&ppk));
        assert!(made.status.success(), "{}", text(&made.stderr));
    }
    let public = home.write("host.pub", format!("{}\n", server.host_key));
    let fingerprint = text(&run(Command::new("ssh-keygen").arg("-lf").arg(public)).stdout).split(' ').nth(1).unwrap().to_owned();
    let mut command = tool(name, "putty-tools");
    command.env("HOME", home.path("")).current_dir(home.path(""));
    command.args(["-batch", "-P", &server.port.to_string(), "-hostkey", &fingerprint, "-i"]).arg(ppk);
    command
}

#[test]
fn psftp_brings_a_file_and_fetches_it() {
    let home = Home::new();
    let there = folder(&home);
    let content = random(&home.path("file"), 800_000);
    let mut server = home.open(&[]);
    let script = format!("cd {}\nput file one\nls\nmv one two\nget two back\nmkdir sub\nchmod 600 two\nrmdir sub\nquit\n", there.display());
    let script = home.write("script", script);
    let visit = run(putty(&home, &server, "psftp").arg("-b").arg(script).arg("anyone@127.0.0.1"));
    assert!(visit.status.success(), "{}{}", text(&visit.stdout), text(&visit.stderr));
    assert!(text(&visit.stdout).contains("  800000 ") && text(&visit.stdout).contains(" one\n"), "{}", text(&visit.stdout));
    assert_eq!(fs::read(home.path("back")).unwrap(), content);
    over(&home, &mut server);
    let read = done(&home).into_iter().find(|event| event["read"] == 800_000).unwrap();
    assert_eq!(read["read_blake3"], digest(&home.path("file")));
}

#[test]
fn pscp_brings_a_folder_and_fetches_it() {
    let home = Home::new();
    let there = folder(&home);
    fs::create_dir_all(home.path("src/deep")).unwrap();
    random(&home.path("src/one"), 400_000);
    random(&home.path("src/deep/two"), 4);
    fs::create_dir_all(home.path("back")).unwrap();
    let remote = |name: &str| format!("anyone@127.0.0.1:{}/{name}", there.display());
    for (record, from, to) in [("up.cast", "src".to_owned(), remote("")), ("visit.cast", remote("src"), "back".to_owned())] {
        let mut server = Server::open(home.once_to(&home.path(record)));
        let copied = run(putty(&home, &server, "pscp").args(["-sftp", "-r", "-p", "-q", &from, &to]));
        assert!(copied.status.success(), "{}", text(&copied.stderr));
        assert_eq!(server.wait().0.code(), Some(0));
    }
    assert!(run(Command::new("diff").arg("-r").arg(home.path("src")).arg(home.path("back/src"))).status.success());
}

#[test]
fn curl_brings_a_file_and_fetches_it() {
    let home = Home::new();
    let there = folder(&home);
    let content = random(&home.path("file"), 600_000);
    let curl = |server: &Server, path: &str| {
        let mut curl = tool("curl", "curl");
        curl.args(["-sS", "--insecure", "--user", "anyone:", "--key"]).arg(home.path("id")).arg("--pubkey").arg(home.path("id.pub"));
        curl.arg(format!("sftp://127.0.0.1:{}{}/{path}", server.port, there.display()));
        curl
    };
    let mut server = Server::open(home.once_to(&home.path("up.cast")));
    let up = run(curl(&server, "new/folder/file").arg("--ftp-create-dirs").arg("-T").arg(home.path("file")));
    assert!(up.status.success(), "{}", text(&up.stderr));
    assert_eq!(server.wait().0.code(), Some(0));
    let mut server = home.open(&[]);
    let down = run(curl(&server, "new/folder/file").arg("-o").arg(home.path("back")));
    assert!(down.status.success(), "{}", text(&down.stderr));
    over(&home, &mut server);
    assert_eq!(fs::read(home.path("back")).unwrap(), content);
}

/// libssh2 once more: its SCP is the remote program's, as with `scp -O`.
#[test]
fn curl_copies_by_scp() {
    let home = Home::new();
    let content = random(&home.path("file"), 600_000);
    let curl = |server: &Server| {
        let mut curl = tool("curl", "curl");
        curl.args(["-sS", "--insecure", "--user", "anyone:", "--key"]).arg(home.path("id")).arg("--pubkey").arg(home.path("id.pub"));
        curl.arg(format!("scp://127.0.0.1:{}{}", server.port, home.path("there").display()));
        curl
    };
    let mut server = Server::open(home.once_to(&home.path("up.cast")));
    let up = run(curl(&server).arg("-T").arg(home.path("file")));
    assert!(up.status.success(), "{}", text(&up.stderr));
    server.wait();
    let mut server = home.open(&[]);
    let down = run(curl(&server).arg("-o").arg(home.path("back")));
    assert!(down.status.success(), "{}", text(&down.stderr));
    server.wait();
    home.assert_sealed(&server);
    assert_eq!(fs::read(home.path("back")).unwrap(), content);
}

#[test]
fn lftp_mirrors_a_folder() {
    let home = Home::new();
    let there = folder(&home);
    fs::create_dir_all(home.path("src/deep/er")).unwrap();
    for (name, bytes) in [("one", 300_000), ("deep/two", 20_000), ("deep/er/empty", 0)] {
        random(&home.path("src").join(name), bytes);
    }
    std::os::unix::fs::symlink("one", home.path("src/link")).unwrap();
    let mut server = home.open(&[]);
    let mut lftp = tool("lftp", "lftp");
    let ssh = format!("ssh -a -x {} -i {}", home.options().join(" "), home.path("id").display());
    let script = format!(
        "set cmd:fail-exit yes; set sftp:connect-program \"{ssh}\"; open -p {} sftp://anyone:@127.0.0.1; mirror -R src {there}/m; \
         mirror {there}/m back; ls -l {there}/m",
        server.port,
        there = there.display()
    );
    let visit = run(lftp.args(["--norc", "-c", &script]).env("HOME", home.path("")).current_dir(home.path("")));
    assert!(visit.status.success(), "{}{}", text(&visit.stdout), text(&visit.stderr));
    let same = run(Command::new("diff").args(["-r", "--no-dereference"]).arg(home.path("src")).arg(home.path("back")));
    assert!(same.status.success(), "{}", text(&same.stdout));
    over(&home, &mut server);
}

#[test]
fn sshfs_mounts_a_folder() {
    // Where it can't be had, the test says so: a container usually has no /dev/fuse.
    let may = fs::File::options().read(true).write(true).open("/dev/fuse").is_ok();
    if !may {
        skipped("sshfs", "/dev/fuse is not there, or not ours to open");
        return;
    }
    let home = Home::new();
    let there = folder(&home);
    let content = random(&home.path("file"), 500_000);
    fs::create_dir(home.path("mount")).unwrap();
    let mut server = home.open(&[]);
    let mut sshfs = tool("sshfs", "sshfs");
    sshfs.arg("-f").args(["-p", &server.port.to_string()]).arg(format!("anyone@127.0.0.1:{}", there.display())).arg(home.path("mount"));
    for option in home.options().iter().filter_map(|option| option.strip_prefix("-o")) {
        // Options that sshfs does not know itself it hands to ssh, if it has heard of them; the others are in a file.
        fs::write(home.path("config"), fs::read_to_string(home.path("config")).unwrap_or_default() + option + "\n").unwrap();
    }
    sshfs.arg("-F").arg(home.path("config")).args(["-o", &format!("IdentityFile={}", home.path("id").display())]);
    let mount = Client::start(&mut sshfs);
    let mounted = home.path("mount").canonicalize().unwrap().display().to_string();
    until("it is mounted", || fs::read_to_string("/proc/mounts").unwrap().contains(&mounted).then_some(()));
    fs::copy(home.path("file"), home.path("mount/new")).unwrap();
    fs::rename(home.path("mount/new"), home.path("mount/file")).unwrap();
    assert_eq!(fs::read(home.path("mount/file")).unwrap(), content);
    assert_eq!(fs::read(there.join("file")).unwrap(), content);
    fs::remove_file(home.path("mount/file")).unwrap();
    let unmounted = run(tool("fusermount3", "fuse3").arg("-u").arg(home.path("mount")));
    assert!(unmounted.status.success(), "{}", text(&unmounted.stderr));
    drop(mount.finish());
    over(&home, &mut server);
}
