//! What a device without an sshd spends on connections that authenticate nobody: nothing that is scarce.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::*;

/// Processes for those who have not authenticated.
const UNAUTHENTICATED_MAX: usize = 16;

/// cam-17 with these settings of its own, and no sshd.
fn device(live: &Live, more: &str) -> (Agent, PathBuf) {
    let bundle = live.fleet.add("cam-17");
    let settings = bundle.join("agent.toml");
    fs::write(&settings, format!("{}serve = \"session\"\n{more}", fs::read_to_string(&settings).unwrap())).unwrap();
    let mut command = Command::new(sally());
    command.args(["-v", "agent", "--bundle"]).arg(&bundle);
    (Agent::start(&mut command), bundle.join("records"))
}

fn records(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// A port of this machine that leads to cam-17's.
fn forward(live: &Live) -> (Client, u16) {
    let port = free_port();
    let mut ssh = live.ssh();
    ssh.args(["-v", "-N", "-oExitOnForwardFailure=yes", &format!("-L127.0.0.1:{port}:cam-17:22"), "relay"]);
    let mut holder = Client::start(&mut ssh);
    holder.await_stderr("[port listener]");
    (holder, port)
}

/// Connects, and waits for the device's first word, or for the end.
fn connect(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut first = [0; 4];
    let _ = stream.read(&mut first).unwrap();
    stream
}

#[test]
fn whoever_says_nothing_costs_no_record_and_keeps_nobody_out() {
    for crowd in [15, 200] {
        let live = Live::new();
        let (agent, folder) = device(&live, "records_max = \"1M\"\n");
        let (_holder, port) = forward(&live);
        let silent: Vec<_> = (0..crowd).map(|_| connect(port)).collect();
        assert!(records(&folder).is_empty(), "{crowd}: {:?}", records(&folder));
        let processes = children(agent.child.id()).len();
        assert!((1..=UNAUTHENTICATED_MAX).contains(&processes), "{crowd}: {processes}");
        live.assert_reached();
        drop(silent);
        until("nobody is left", || children(agent.child.id()).is_empty().then_some(()));
        assert_eq!(records(&folder).len(), 1, "{crowd}: one visit, one record");
    }
}

#[test]
fn whoever_comes_and_goes_leaves_nothing() {
    let live = Live::new();
    let (agent, folder) = device(&live, "records_max = \"100K\"\n");
    let (_holder, port) = forward(&live);
    for said in [&b""[..], b"SSH-2.0-x\r\n", b"GET / HTTP/1.0\r\n\r\n", b"SSH-2.0-y\r\n\0\0\0\x0c\x0a\x14"] {
        for _ in 0..25 {
            let mut stream = connect(port);
            let _ = stream.write_all(said);
        }
    }
    // Whose key isn't let in comes as far as that.
    live.fleet.home.key("bob", "ed25519");
    let config = fs::read_to_string(live.config("bob")).unwrap();
    let through = format!("Host relay\n IdentityFile {}\n", live.fleet.path("alice").display());
    let config = live.fleet.home.write("through", config.replacen("Host relay\n", &through, 1));
    let refused = run(Command::new("ssh").arg("-F").arg(config).args(["-J", "relay", "cam-17", "true"]));
    assert!(text(&refused.stderr).contains("Permission denied (publickey)"), "{}", text(&refused.stderr));
    until("nobody is left", || children(agent.child.id()).is_empty().then_some(()));
    assert!(records(&folder).is_empty(), "{:?}", records(&folder));
    live.assert_reached();
}

#[test]
fn a_visitor_is_on_the_record_before_they_are_let_in() {
    let live = Live::new();
    let (_agent, folder) = device(&live, "");
    // The client asks for nothing when it has been let in, and doesn't leave.
    let mut client = Client::start(live.jump("cam-17").args(["-v", "-N"]));
    client.await_stderr("Authenticated to cam-17");
    let record = fs::read_to_string(&records(&folder)[0]).unwrap();
    let audits: Vec<_> = events(&record).into_iter().filter(|(code, _)| code == "a").map(|(_, event)| event).collect();
    assert!(audits[0].starts_with("{\"event\":\"connect\"") && audits[1].starts_with("{\"event\":\"auth\""), "{record}");
}

#[test]
fn visits_that_go_on_are_promised_little_and_no_more_than_the_next() {
    let live = Live::new();
    let (_agent, folder) = device(&live, "records_max = \"1M\"\n");
    let here: Vec<_> = (0..8)
        .map(|_| {
            let mut client = Client::start(live.jump("cam-17").arg("echo in; exec sleep 1000"));
            client.await_line("in");
            client
        })
        .collect();
    // One of them takes what it can get, and leaves as much for the others.
    let much = run(live.jump("cam-17").arg("head -c 2000000 /dev/urandom | base64"));
    assert_ne!(much.status.code(), Some(0));
    let largest = records(&folder).iter().map(|file| fs::metadata(file).unwrap().len()).max().unwrap();
    assert!((128 << 10..=512 << 10).contains(&largest), "{largest}");
    live.assert_reached();
    drop(here);
}

#[test]
fn what_records_take_is_counted_as_the_disk_does() {
    use std::os::unix::fs::MetadataExt as _;
    let live = Live::new();
    let (mut agent, folder) = device(&live, "records_max = \"128K\"\n");
    let blocks = |files: usize| {
        for number in 0..files {
            fs::write(folder.join(format!("{number}.cast")), "x").unwrap();
        }
        fs::File::open(&folder).unwrap().sync_all().unwrap();
        rustix::fs::sync();
        records(&folder).iter().map(|file| fs::metadata(file).unwrap().blocks() * 512).sum::<u64>()
    };
    let files = (1..).map(|number| number * 4).find(|files| blocks(*files) > 64 << 10).unwrap();
    assert!(files < 64 << 10, "this file system gives a file of one byte nothing: {files}");
    let refused = run(live.jump("cam-17").arg("true"));
    assert!(text(&refused.stderr).contains("refuses the connection"), "{}", text(&refused.stderr));
    assert!(agent.await_words("a visitor is refused").contains("limit of 131072 bytes"));
}
