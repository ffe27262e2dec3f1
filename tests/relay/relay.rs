//! Visitors reach devices by name through a relay, with stock clients at both ends.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use crate::support::*;

/// How far apart marks in a large file are.
const MARKS: u64 = 64 << 10;

/// A relay with cam-17 connected, a stock sshd behind it.
struct Fleet {
    home: Home,
    relay: Relay,
    device: Client,
    sshd: Sshd,
}

impl Fleet {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(more: &[&str]) -> Self {
        let home = Home::new();
        let mut command = home.relay();
        command.args(more);
        Self::of(home, command)
    }

    fn of(home: Home, command: Command) -> Self {
        let (relay, device, sshd) = connected(&home, command);
        Self { home, relay, device, sshd }
    }

    /// The device stays connected, and its sshd is gone.
    fn without_anything_behind(mut self) -> Self {
        self.sshd = self.home.sshd();
        self
    }

    fn jump(&self, device: &str) -> Command {
        self.home.jump(&self.relay, "alice", device)
    }

    /// What a visitor reads who wants what is not to be had.
    fn refusal(&self, key: &str, arguments: &[&str]) -> String {
        let refused = run(self.home.via(&self.relay, key).args(arguments));
        assert!(!refused.status.success(), "{}", text(&refused.stdout));
        let said = text(&refused.stderr);
        let line = said.lines().find_map(|line| line.split_once("open failed: ")).unwrap_or_else(|| panic!("{said}"));
        line.1.to_owned()
    }
}

#[test]
fn a_visitor_reaches_a_device_by_its_name() {
    let fleet = Fleet::new();
    let visit = run(fleet.jump("cam-17").arg("echo hello; echo oops >&2; exit 3"));
    assert_eq!((visit.status.code(), text(&visit.stdout)), (Some(3), "hello\n".into()), "{}", text(&visit.stderr));
    assert!(text(&visit.stderr).contains("oops"));
    let open = fleet.relay.await_events("open", 1);
    assert_eq!((&open["slot"], &open["who"]), (&"cam-17:22".into(), &"visitor@test".into()));
    let close = fleet.relay.await_events("close", 1);
    assert!(close["up"].as_u64().unwrap() > 1000 && close["down"].as_u64().unwrap() > 1000, "{close}");
}

#[test]
fn a_name_is_matched_without_case() {
    let home = Home::new();
    home.write("visitors", home.line("alice", r#"permitopen="CAM-*:22""#.to_lowercase().as_str()));
    home.write("devices", home.line("cam", r#"permitlisten="cam-17:22""#));
    let relay = Relay::start(&home, home.relay_of_files());
    let sshd = home.sshd();
    // The device says it in capitals: what it said comes back byte for byte, or its ssh would not take the channel.
    let _device = home.hold(&relay, "cam", &format!("CAM-17:22:127.0.0.1:{}", sshd.port));
    relay.await_events("register", 1);
    let visit = run(home.jump(&relay, "alice", "Cam-17").arg("echo in"));
    assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
}

#[test]
fn scp_sftp_rsync_and_git_go_through_the_relay() {
    let fleet = Fleet::new();
    let config = fleet.home.config(&fleet.relay, "alice");
    let config = config.to_str().unwrap();
    let there = fleet.home.path("there");
    std::fs::create_dir(&there).unwrap();
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let file = fleet.home.write("file", &content);
    let (file, there) = (file.to_str().unwrap(), there.to_str().unwrap());
    let host = format!("{}@cam-17", whoami());
    for (name, flags) in [("new", vec![]), ("old", vec!["-O"])] {
        let copied = run(Command::new("scp").args(&flags).args(["-F", config, "-J", "relay", file, &format!("{host}:{there}/{name}")]));
        assert!(copied.status.success(), "scp {flags:?}: {}", text(&copied.stderr));
        assert!(std::fs::read(format!("{there}/{name}")).unwrap() == content, "scp {flags:?}");
    }
    let batch = fleet.home.write("batch", format!("get {there}/new {there}/got\n"));
    let got = run(tool("sftp", "openssh-client").args(["-F", config, "-J", "relay", "-b", batch.to_str().unwrap(), &host]));
    assert!(got.status.success(), "{}", text(&got.stderr));
    assert!(std::fs::read(format!("{there}/got")).unwrap() == content);
    let ssh = format!("ssh -F {config} -J relay");
    let synced = run(tool("rsync", "rsync").args(["-a", "-e", &ssh, file, &format!("{host}:{there}/synced")]));
    assert!(synced.status.success(), "{}", text(&synced.stderr));
    assert!(std::fs::read(format!("{there}/synced")).unwrap() == content);
    let repository = format!("{there}/repository");
    let git = |arguments: &[&str]| {
        let done = run(tool("git", "git")
            .env("GIT_SSH_COMMAND", &ssh)
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .args(["-c", "user.name=a", "-c", "user.email=a@b"])
            .args(arguments));
        assert!(done.status.success(), "{arguments:?}: {}", text(&done.stderr));
    };
    git(&["init", "-q", &repository]);
    git(&["-C", &repository, "commit", "-q", "--allow-empty", "-m", "first"]);
    git(&["clone", "-q", &format!("{host}:{repository}"), &format!("{there}/clone")]);
}

#[test]
fn a_half_that_is_closed_leaves_the_other_open_byte_for_byte() {
    let _turn = big();
    let fleet = Fleet::new();
    let from = fleet.home.path("from");
    std::fs::create_dir_all(from.join("deep/er")).unwrap();
    let content: Vec<u8> = (0..4_000_000_u32).flat_map(u32::to_be_bytes).collect();
    std::fs::write(from.join("deep/er/file"), &content).unwrap();
    // There and back: the far tar sees the end of its input while its output still runs.
    let back = fleet.home.path("back");
    std::fs::create_dir(&back).unwrap();
    let ssh = format!("ssh -F {} -J relay {}@cam-17", fleet.home.config(&fleet.relay, "alice").display(), whoami());
    let far = fleet.home.path("far");
    std::fs::create_dir(&far).unwrap();
    let script = format!(
        "tar -cC {} . | {ssh} 'cd {} && tar -x && sleep 0.2 && tar -c .' | tar -xC {}",
        from.display(),
        far.display(),
        back.display()
    );
    let done = run(Command::new("bash").args(["-o", "pipefail", "-c", &script]));
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(std::fs::read(back.join("deep/er/file")).unwrap() == content);
}

#[test]
fn a_large_file_arrives_byte_for_byte() {
    through_tar(256 << 20);
}

#[test]
#[ignore = "half a minute of a machine's whole attention: cargo test -p sally --test e2e -- --ignored a_gibibyte"]
fn a_gibibyte_arrives_byte_for_byte() {
    through_tar(1 << 30);
}

/// A file of so many bytes through `tar | ssh -J | tar`, and back.
fn through_tar(bytes: u64) {
    let _turn = big();
    let fleet = Fleet::new();
    // A file of holes, but for a mark in every packet or two: it costs no disk, and nothing can be lost, doubled or out of order unseen.
    let mut file = File::create(fleet.home.path("file")).unwrap();
    for mark in 0..bytes / MARKS {
        file.seek(SeekFrom::Start(mark * MARKS + mark % 1000)).unwrap();
        file.write_all(&mark.to_be_bytes()).unwrap();
    }
    file.set_len(bytes).unwrap();
    let ssh = format!("ssh -F {} -J relay {}@cam-17", fleet.home.config(&fleet.relay, "alice").display(), whoami());
    let home = fleet.home.path("").display().to_string();
    let script = format!("tar -cC {home} file | {ssh} tar -xO | cmp - {home}/file");
    let done = run(Command::new("bash").args(["-o", "pipefail", "-c", &script]));
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    let close = fleet.relay.await_events("close", 1);
    assert!(close["up"].as_u64().unwrap() > bytes && close["down"].as_u64().unwrap() > bytes, "{close}");
}

#[test]
fn w_and_l_reach_the_same_name() {
    let fleet = Fleet::new();
    let config = fleet.home.config(&fleet.relay, "alice");
    let mut stdio = Client::start(Command::new("ssh").arg("-F").arg(&config).args(["-W", "cam-17:22", "relay"]));
    stdio.await_line("SSH-2.0-OpenSSH");
    let port = free_port();
    let _forward = Client::start(Command::new("ssh").arg("-F").arg(&config).args(["-N", "-L", &format!("{port}:cam-17:22"), "relay"]));
    let mut stream = until("the forward listens", || TcpStream::connect(("127.0.0.1", port)).ok());
    let mut greeting = [0; 7];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"SSH-2.0");
}

#[test]
fn refusals_are_sentences() {
    let home = Home::new();
    home.write("visitors", format!("{}{}", home.line("alice", r#"permitopen="cam-*:*""#), home.line("eve", r#"permitopen="other:22""#)));
    home.write("devices", [home.line("cam", r#"permitlisten="cam-17:22""#), home.line("off", r#"permitlisten="cam-18:22""#)].concat());
    let command = home.relay_of_files();
    let fleet = Fleet::of(home, command);
    let fleet = fleet.without_anything_behind();
    let ask = |key: &str, target: &str| format!("{key}, {target}: {}", fleet.refusal(key, &["-W", target, "relay"]));
    let said = [
        ask("alice", "cam-18:22"),
        ask("alice", "cam-71:22"),
        ask("alice", "cam-99999:22"),
        ask("alice", "cam-17:80"),
        // Known or unknown, connected or not: who may not see it learns nothing.
        ask("eve", "cam-17:22"),
        ask("eve", "cam-18:22"),
        ask("eve", "cam-99:22"),
        ask("eve", "other:23"),
        ask("alice", "localhost:22"),
        ask("alice", "127.0.0.1:22"),
        ask("alice", "host.example.com:22"),
        // A device is no visitor.
        ask("cam", "cam-17:22"),
        // Nothing is behind the tunnel any more.
        ask("alice", "cam-17:22"),
    ];
    insta::assert_snapshot!(said.join("\n"));
    fleet.relay.await_events("refused", said.len());
}

#[test]
fn a_key_holds_only_the_names_that_its_line_spells() {
    let home = Home::new();
    home.write("visitors", home.line("alice", ""));
    let lines = [
        home.line("cam", r#"permitlisten="cam-17:22""#),
        home.line("bare", ""),
        home.line("port", r#"permitlisten="2022""#),
        home.line("any", r#"permitlisten="*:22""#),
        home.line("shut", r#"restrict,permitlisten="cam-17:22""#),
    ];
    home.write("devices", lines.concat());
    let relay = Relay::start(&home, home.relay_of_files());
    let refused = |key: &str, forward: &str| {
        let refused = run(&mut home.holding(&relay, key, forward));
        let said = text(&refused.stderr);
        let line = said.lines().find_map(|line| line.split_once(":11: ")).unwrap_or_else(|| panic!("{key} {forward}: {said}"));
        format!("{key} -R {forward}: {}", line.1)
    };
    let said = [
        refused("cam", "cam-18:22:127.0.0.1:1"),
        refused("cam", "cam-17:23:127.0.0.1:1"),
        refused("cam", "2022:127.0.0.1:1"),
        refused("cam", "0:127.0.0.1:1"),
        refused("cam", "cam.17:22:127.0.0.1:1"),
        refused("bare", "cam-17:22:127.0.0.1:1"),
        refused("bare", "2022:127.0.0.1:1"),
        refused("port", "cam-17:2022:127.0.0.1:1"),
        refused("any", "cam-17:22:127.0.0.1:1"),
        refused("shut", "cam-17:22:127.0.0.1:1"),
        refused("alice", "cam-17:22:127.0.0.1:1"),
    ];
    insta::assert_snapshot!(said.join("\n"));
    assert!(relay.events("register").is_empty());
}

#[test]
fn a_real_port_is_bound_where_the_key_is_permitted_to() {
    let home = Home::new();
    let port = free_port();
    home.write("visitors", home.line("alice", ""));
    home.write("devices", home.line("cam", &format!(r#"permitlisten="localhost:{port}",permitlisten="cam-17:22""#)));
    let relay = Relay::start(&home, home.relay_of_files());
    let behind = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let target = behind.local_addr().unwrap().port();
    let _device = home.hold(&relay, "cam", &format!("{port}:127.0.0.1:{target}"));
    relay.await_events("register", 1);
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.write_all(b"question").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let (mut served, _) = behind.accept().unwrap();
    let mut heard = String::new();
    served.read_to_string(&mut heard).unwrap();
    served.write_all(b"answer").unwrap();
    drop(served);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!((heard.as_str(), answer.as_str()), ("question", "answer"));
    let close = relay.await_events("close", 1);
    assert_eq!((&close["up"], &close["down"]), (&8.into(), &6.into()));
    // A visitor reaches names, and never a port of the relay.
    let refused = run(home.via(&relay, "alice").args(["-W", &format!("localhost:{port}"), "relay"]));
    assert!(text(&refused.stderr).contains("is not the name of a device"), "{}", text(&refused.stderr));
}

#[test]
fn certificates_let_visitors_and_devices_in() {
    let home = Home::new();
    home.key("ca", "ed25519");
    home.line("alice", "");
    home.line("cam", "");
    for (key, principal) in [("alice", "people"), ("cam", "cameras")] {
        let signed = Command::new("ssh-keygen")
            .args(["-q", "-s"])
            .arg(home.path("ca"))
            .args(["-I", key, "-n", principal])
            .arg(home.path(format!("{key}.pub")))
            .status();
        assert!(signed.unwrap().success());
    }
    home.write("visitors", home.line("ca", r#"cert-authority,principals="people",permitopen="cam-*:22""#));
    home.write("devices", home.line("ca", r#"cert-authority,principals="cameras",permitlisten="cam-*:22""#));
    let command = home.relay_of_files();
    let fleet = Fleet::of(home, command);
    let visit = run(fleet.jump("cam-17").arg("echo in"));
    assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
    let auth = fleet.relay.await_events("auth", 2);
    assert_eq!((&auth["who"], &auth["roles"]), (&"alice".into(), &serde_json::json!(["visitor"])));
    // The device's certificate is none for a visitor.
    assert_eq!(fleet.refusal("cam", &["-W", "cam-17:22", "relay"]), "connect failed: not permitted");
    // ssh shows the plain key first; it is nobody's refusal, and another key's is.
    assert!(fleet.relay.events("auth_refused").is_empty());
    fleet.home.key("unknown", "ed25519");
    let config = fleet.home.config(&fleet.relay, "alice");
    let both =
        |command: &mut Command| run(command.arg("-i").arg(fleet.home.path("unknown")).arg("-F").arg(&config).args(["relay", "help"]));
    assert!(both(&mut Command::new("ssh")).status.success());
    let unknown = run(Command::new("ssh-keygen").arg("-lf").arg(fleet.home.path("unknown.pub")));
    let event = fleet.relay.await_events("auth_refused", 1);
    assert_eq!(Some(event["key"].as_str().unwrap()), text(&unknown.stdout).split(' ').nth(1));
    // Without a certificate that is let in, the plain key's refusal stays one.
    assert!(!run(fleet.home.via(&fleet.relay, "unknown").args(["relay", "help"])).status.success());
    assert_eq!(fleet.relay.await_events("auth_refused", 2)["reason"], "no line has this key");
}

#[test]
fn an_unknown_key_is_refused_and_it_is_on_the_log_once() {
    let fleet = Fleet::new();
    fleet.home.key("unknown", "ed25519");
    let refused = run(fleet.home.via(&fleet.relay, "unknown").args(["relay", "help"]));
    assert!(text(&refused.stderr).contains("Permission denied (publickey)"), "{}", text(&refused.stderr));
    let event = fleet.relay.await_events("auth_refused", 1);
    assert_eq!(event["reason"], "no line has this key");
}

#[test]
fn a_visitor_opens_many_channels_on_one_connection() {
    let fleet = Fleet::new();
    let config = fleet.home.config(&fleet.relay, "alice");
    let control = fleet.home.path("control");
    let master = |command: &mut Command| {
        command
            .arg("-F")
            .arg(&config)
            .arg("-S")
            .arg(&control)
            .arg("relay")
            .args::<_, &str>([])
            .stdin(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut shared = master(Command::new("ssh").args(["-M", "-N"]));
    until("the shared connection", || control.exists().then_some(()));
    let mut visits: Vec<_> = (0..8)
        .map(|number| {
            let proxy = format!("ProxyCommand=ssh -F {} -S {} -W %h:%p relay", config.display(), control.display());
            Client::start(Command::new("ssh").arg("-F").arg(&config).args([
                "-o",
                &proxy,
                &format!("{}@cam-17", whoami()),
                &format!("echo {number}; read x"),
            ]))
        })
        .collect();
    for (number, visit) in visits.iter_mut().enumerate() {
        visit.await_line(&number.to_string());
    }
    assert_eq!(fleet.relay.events("auth").len(), 2, "the device and one visitor");
    let _ = shared.kill();
    let _ = shared.wait();
    drop(fleet.device);
}
