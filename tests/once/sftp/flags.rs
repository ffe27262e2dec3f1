//! `command="internal-sftp …"`: its flags are obeyed as by a stock sshd beside the server, or nothing starts.

use std::process::Output;

use super::{batch, folder, openssh, over, with_options};
use crate::support::*;

/// What a client of every request hears, and what of it is there afterwards.
fn each_request(home: &Home, port: u16, user: &str) -> Vec<String> {
    let mut client = python("sftp.py");
    client.arg("each-request").arg(port.to_string()).arg(home.path("id")).arg(folder(home)).env("SSH_USER", user);
    let said = run(&mut client);
    assert!(said.status.success(), "{}", text(&said.stderr));
    text(&said.stdout).lines().map(String::from).collect()
}

/// The same at an sshd and at a server, of a key with these flags.
fn is_as_with_sshd(flags: &str) -> (Home, Vec<String>) {
    let home = Home::new();
    let flags = flags.replace("FOLDER", folder(&home).to_str().unwrap());
    let options = format!("command=\"internal-sftp {flags}\"");
    let sshd = home.sshd_for(&format!("{options} {}", home.read("id.pub")), "");
    let theirs = each_request(&home, sshd.port, &whoami());
    let mut server = with_options(&home, &options);
    let ours = each_request(&home, server.port, "anyone");
    over(&home, &mut server);
    assert_eq!(ours, theirs, "{flags}");
    (home, ours)
}

#[test]
fn without_flags_all_is_permitted() {
    let (_, said) = is_as_with_sshd("");
    assert!(said.iter().all(|line| !line.ends_with(" 3 ")), "{said:#?}");
}

#[test]
fn r_is_read_only() {
    for flags in ["-R", "-eR", "-R -p open,read,write,mkdir", "-u 027 -R -d FOLDER/start"] {
        let (home, said) = is_as_with_sshd(flags);
        for denied in ["open-write 3 ", "mkdir 3 ", "remove 3 ", "symlink 3 ", "copy-data 3 "] {
            assert!(said.iter().any(|line| line == denied), "{flags}: {denied}: {said:#?}");
        }
        // What is denied is on the record, with its path.
        let refused = super::operation(&home, "mkdir", "/made");
        assert_eq!(refused["result"], "Permission denied");
    }
}

#[test]
fn d_is_where_relative_paths_begin() {
    for (flags, there) in [
        ("-d FOLDER/start", true),
        ("-dFOLDER/start", true),
        ("-d %d", false),
        ("-d ~", false),
        ("-d ~/nowhere", false),
        ("-d /nowhere/%u%%", false),
    ] {
        let (_, said) = is_as_with_sshd(flags);
        assert_eq!(said.iter().any(|line| line == "realpath kind 104 FOLDER/start"), there, "{flags}: {said:#?}");
        assert_eq!(said.iter().any(|line| line == "stat-relative kind 105 "), there, "{flags}: {said:#?}");
    }
}

#[test]
fn u_is_the_umask() {
    for (flags, made) in [("-u 077", "0o40700"), ("-u0", "0o40777"), ("-u 27", "0o40750")] {
        let (_, said) = is_as_with_sshd(flags);
        assert!(said.iter().any(|line| line.trim_end() == format!("made {made}")), "{flags}: {said:#?}");
    }
}

#[test]
fn p_says_which_requests_are_allowed_and_denied() {
    for flags in [
        "-P remove,rename,posix-rename",
        "-p open,read,close,realpath",
        "-P read -p open,read,close",
        "-P setstat,fsetstat,symlink,hardlink,open",
        "-P write,limits,statvfs,home-directory,copy-data,fsync,expand-path,users-groups-by-id",
        "-p stat",
    ] {
        let (_, said) = is_as_with_sshd(flags);
        assert!(said.iter().any(|line| line.ends_with(" 3 ")), "{flags}: {said:#?}");
    }
}

#[test]
fn what_is_logged_is_on_the_record_already() {
    for flags in ["-e", "-l INFO -f LOCAL3", "-l debug3"] {
        is_as_with_sshd(flags);
    }
}

#[test]
fn a_flag_that_is_not_obeyed_stops_the_start() {
    for (flags, why) in [
        ("-X", "-X is not obeyed here"),
        ("-h", "-h is not obeyed here"),
        ("-Q requests", "-Q is not obeyed here"),
        ("-R folder", "\"folder\" is not a flag"),
        ("-u 999", "-u can't be \"999\" here"),
        ("-d /srv/%h", "-d can't be \"/srv/%h\" here"),
        ("-p open,opne", "there is no request \"opne\""),
        ("-P", "-P needs a value"),
    ] {
        let home = Home::new();
        let keys = home.write("keys", format!("# mine\ncommand=\"internal-sftp {flags}\" {}", home.read("id.pub")));
        let refused = run(&mut home.once_for(&keys));
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(78), "{flags}: {said}");
        assert!(said.contains(&format!("(line 2: command: internal-sftp: {why})")), "{flags}: {said}");
    }
}

/// A certificate's force-command likewise: who has it is not let in.
#[test]
fn a_certificate_says_so_too() {
    for (flags, enters) in [("-R", true), ("-X", false)] {
        let home = Home::new();
        home.key("ca", "ed25519");
        let mut keygen = tool("ssh-keygen", "openssh-client");
        let command = format!("force-command=internal-sftp {flags}");
        keygen.args(["-q", "-s"]).arg(home.path("ca")).args(["-I", "files", "-n", "dev", "-O", &command]).arg(home.path("id.pub"));
        assert!(run(&mut keygen).status.success());
        let keys = home.write("keys", format!("cert-authority,principals=\"dev\" {}", home.read("ca.pub")));
        let mut command = home.once_for(&keys);
        command.arg("-v").arg("--log").arg(home.path("visit.cast"));
        let mut server = Server::open(command);
        if enters {
            denies_a_put(&home, &server);
            over(&home, &mut server);
        } else {
            assert!(!run_batch(&home, &server, "pwd\n").status.success());
            server.await_stderr_with("the certificate's force-command is not obeyed here: internal-sftp: -X is not obeyed here");
        }
    }
}

fn run_batch(home: &Home, server: &Server, commands: &str) -> Output {
    run_with(openssh(home, server, "sftp").args(["-b", "-", "anyone@127.0.0.1"]), commands.as_bytes())
}

fn denies_a_put(home: &Home, server: &Server) {
    let there = folder(home);
    home.write("there/file", "content");
    let output = batch(home, server, &format!("cd {}\nget file back\n-put back new\n-rm file\nls\n", there.display()));
    assert_eq!(text(&output.stderr).matches("Permission denied").count(), 2, "{}", text(&output.stderr));
    assert_eq!((home.read("back"), there.join("new").exists()), ("content".into(), false));
}
