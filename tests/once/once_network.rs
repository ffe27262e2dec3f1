//! One visit over a network that fails: a server and its visitor on hosts of their own, in namespaces.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::support::*;

/// What a server may grow by, in KiB: a window each way and the buffers around it.
const GROWTH: u64 = 64 << 10;
/// What OpenSSH's client takes before its reader does, and what pipes and pieces on the way hold.
const UNDELIVERED: usize = (2 << 20) + (1 << 20);
/// More than windows and buffers hold: whoever moved so much has somebody at the other end.
const FLOWING: u64 = 8 << 20;

/// A server on the public side of the NAT.
fn open(lab: &Lab, home: &Home, options: &[&str], governed: impl FnOnce(Command) -> Command) -> Server {
    let mut command = elsewhere(&home.once(), "0.0.0.0");
    command.args(options);
    let command = governed(command);
    lab.at("relay", || Server::open(command))
}

/// A stock ssh behind the NAT. Killed when dropped.
struct Visitor(Child);

impl Visitor {
    fn start(lab: &Lab, mut ssh: Command) -> Self {
        Self(lab.at("device", move || ssh.stderr(Stdio::null()).spawn().unwrap()))
    }

    fn stdin(&mut self) -> ChildStdin {
        self.0.stdin.take().unwrap()
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status().unwrap().success());
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.kill();
    }
}

fn ssh(home: &Home, server: &Server) -> Command {
    elsewhere(&home.ssh(server), RELAY)
}

/// A file from a server and one to another: both whole, both on a record that is sealed.
fn there_and_back(lab: &Lab, bytes: usize) {
    let data = noise(bytes);
    let home = Home::new();
    let file = home.write("data", &data);
    let mut server = open(lab, &home, &[], |command| command);
    let mut down = ssh(&home, &server);
    down.arg(format!("cat {}", file.display()));
    let down = lab.at("device", move || run(&mut down));
    assert_eq!(hash(&down.stdout), hash(&data), "{} bytes; {}", down.stdout.len(), text(&down.stderr));
    assert_eq!(server.wait().0.code(), Some(0));
    assert!(home.stream("stdout") == data);
    home.assert_sealed(&server);
    upload(lab, &data);
}

fn upload(lab: &Lab, data: &[u8]) {
    let home = Home::new();
    let mut server = open(lab, &home, &[], |command| command);
    let mut up = ssh(&home, &server);
    up.arg("sha256sum");
    let up = lab.at("device", move || run_with(&mut up, data));
    assert_eq!(text(&up.stdout), format!("{}  -\n", hash(data)), "{}", text(&up.stderr));
    assert_eq!(server.wait().0.code(), Some(0));
    assert!(home.stream("stdin") == data);
    home.assert_sealed(&server);
}

#[test]
fn over_a_way_that_loses_every_tenth_packet_all_is_whole_and_sealed() {
    let test = "over_a_way_that_loses_every_tenth_packet_all_is_whole_and_sealed";
    let Some(lab) = Lab::slow(test, 0.002, 0.1) else { return };
    there_and_back(&lab, 2 << 20);
}

/// A visit in which the network goes away.
struct Lost {
    lab: Lab,
    home: Home,
    clock: Clock,
    server: Server,
}

impl Lost {
    fn new(test: &str) -> Option<Self> {
        let (lab, home) = (Lab::new(test)?, Home::new());
        let clock = Clock::new(&home);
        let server = open(&lab, &home, &[], |command| clock.govern(command));
        Some(Self { lab, home, clock, server })
    }

    /// The number of a program that has written it to this file.
    fn program(&self, file: &Path) -> u32 {
        until("the program runs", || fs::read_to_string(file).ok()?.trim().parse().ok())
    }

    /// Nothing gets through any more and nobody is told; a minute later the visit is over.
    fn assert_noticed(mut self, program: u32) {
        self.lab.cut();
        let (status, said) = self.server.wait();
        assert_eq!((status.code(), said.lines().last()), (Some(255), Some("Connection closed unexpectedly")), "{said}");
        assert!(!lives(program));
        assert_eq!(self.home.audits("close")[0]["reason"], "no answer to keepalives");
        self.home.assert_sealed(&self.server);
    }
}

/// Waits until a program has read or written so much that it must have got through.
fn await_flow(program: u32, field: &str) {
    until("bytes flow", || {
        let io = fs::read_to_string(format!("/proc/{program}/io")).ok()?;
        let moved: u64 = io.lines().find_map(|line| line.strip_prefix(field))?.trim().parse().ok()?;
        (moved >= FLOWING).then_some(())
    });
}

#[test]
fn an_idle_shell_whose_network_goes_away_is_over_in_a_minute() {
    let Some(lost) = Lost::new("an_idle_shell_whose_network_goes_away_is_over_in_a_minute") else { return };
    let (pid, heard) = (lost.home.path("pid"), lost.home.path("heard"));
    let mut shell = ssh(&lost.home, &lost.server);
    shell.arg("-tt").stdin(Stdio::piped()).stdout(Stdio::null());
    let mut visitor = Visitor::start(&lost.lab, shell);
    let mut typing = visitor.stdin();
    typing.write_all(format!("echo $$ >{}\n", pid.display()).as_bytes()).unwrap();
    let program = lost.program(&pid);
    lost.clock.hurry(30);
    // A wait that has begun is as long as it was: the next is by the new pace.
    typing.write_all(format!("echo >{}\n", heard.display()).as_bytes()).unwrap();
    until("the shell hears", || heard.exists().then_some(()));
    lost.assert_noticed(program);
}

#[test]
fn a_torrent_whose_network_goes_away_is_over_in_a_minute() {
    let Some(lost) = Lost::new("a_torrent_whose_network_goes_away_is_over_in_a_minute") else { return };
    let pid = lost.home.path("pid");
    let mut torrent = ssh(&lost.home, &lost.server);
    torrent.arg(format!("echo $$ >{}; exec yes", pid.display())).stdout(Stdio::null());
    let _visitor = Visitor::start(&lost.lab, torrent);
    let program = lost.program(&pid);
    lost.clock.hurry(30);
    await_flow(program, "wchar:");
    lost.assert_noticed(program);
}

#[test]
fn an_upload_whose_network_goes_away_is_over_in_a_minute() {
    let Some(lost) = Lost::new("an_upload_whose_network_goes_away_is_over_in_a_minute") else { return };
    let pid = lost.home.path("pid");
    let mut upload = ssh(&lost.home, &lost.server);
    upload.arg(format!("echo $$ >{}; exec cat >/dev/null", pid.display())).stdout(Stdio::null());
    upload.stdin(fs::File::open("/dev/zero").unwrap());
    let _visitor = Visitor::start(&lost.lab, upload);
    let program = lost.program(&pid);
    lost.clock.hurry(30);
    await_flow(program, "rchar:");
    lost.assert_noticed(program);
}

/// 256 kbit/s each way.
fn narrow(test: &str) -> Option<Lab> {
    let lab = Lab::new(test)?;
    lab.narrow(256);
    Some(lab)
}

#[test]
fn over_a_narrow_way_the_command_waits_and_fills_neither_memory_nor_record() {
    let Some(lab) = narrow("over_a_narrow_way_the_command_waits_and_fills_neither_memory_nor_record") else { return };
    let home = Home::new();
    let pid = home.path("pid");
    let mut server = open(&lab, &home, &[], |command| command);
    let before = server.rss();
    let mut torrent = ssh(&home, &server);
    torrent.arg(format!("echo $$ >{}; exec cat /dev/urandom", pid.display())).stdout(Stdio::piped());
    let mut visitor = Visitor::start(&lab, torrent);
    let mut delivered = vec![0; 256 << 10];
    visitor.0.stdout.as_mut().unwrap().read_exact(&mut delivered).unwrap();
    let program: u32 = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    let peak = status_field(server.child.id(), "VmHWM:").unwrap();
    visitor.kill();
    let (status, said) = server.wait();
    assert_eq!((status.code(), said.lines().last()), (Some(255), Some("Connection closed unexpectedly")), "{said}");
    assert!(peak < before + GROWTH, "{before} KiB grew to {peak}");
    assert!(!lives(program));
    let recorded = home.stream("stdout");
    assert!(recorded.starts_with(&delivered), "what was delivered is on the record");
    assert!(recorded.len() < delivered.len() + UNDELIVERED, "{} bytes for {}", recorded.len(), delivered.len());
    home.assert_sealed(&server);
}

#[test]
fn over_a_narrow_way_an_upload_is_whole() {
    let Some(lab) = narrow("over_a_narrow_way_an_upload_is_whole") else { return };
    upload(&lab, &noise(256 << 10));
}

/// A stopped process has a kernel that still acknowledges, so TCP never tells.
#[test]
fn a_client_that_is_stopped_in_a_torrent_is_gone_after_a_minute() {
    let home = Home::new();
    let (clock, pid) = (Clock::new(&home), home.path("pid"));
    let mut server = Server::open(clock.govern(home.once()));
    let before = server.rss();
    let mut torrent = home.ssh(&server);
    torrent.arg(format!("echo $$ >{}; exec yes", pid.display())).stdout(Stdio::null()).stderr(Stdio::null());
    let visitor = Visitor(torrent.spawn().unwrap());
    let program = until("the program runs", || fs::read_to_string(&pid).ok()?.trim().parse().ok());
    clock.hurry(30);
    await_flow(program, "wchar:");
    visitor.signal("STOP");
    let mut peak = 0;
    let status = until("the server ends", || {
        peak = status_field(server.child.id(), "VmHWM:").unwrap_or(peak);
        server.child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(255));
    assert!(peak < before + GROWTH, "{before} KiB grew to {peak}");
    assert!(!lives(program));
    assert_eq!(home.audits("close")[0]["reason"], "no answer to keepalives");
    home.assert_sealed(&server);
}
