//! A relay, and devices behind a NAT, on a network that fails: hosts of their own, in namespaces.

use std::process::{Command, Output, Stdio};

use crate::support::*;

/// A relay on the public side of a NAT.
struct Net {
    lab: Lab,
    home: Home,
    relay: Relay,
    options: Vec<String>,
}

impl Net {
    fn new(lab: Lab, options: &[&str]) -> Self {
        let home = Home::new();
        home.relay();
        home.write("devices", [home.read("devices"), home.line("app", r#"permitlisten="my-app:22""#)].concat());
        let options: Vec<String> = options.iter().map(|option| (*option).into()).collect();
        let relay = serve(&lab, &home, "0", &options);
        Self { lab, home, relay, options }
    }

    /// SIGKILL, and another in its place.
    fn kill_relay(&mut self) {
        let port = self.relay.port.to_string();
        let _ = self.relay.child.kill();
        let _ = self.relay.child.wait();
        self.relay = serve(&self.lab, &self.home, &port, &self.options);
    }

    /// A stock ssh that holds cam-17, on one of the hosts behind the NAT, and gives up within seconds.
    fn device(&self, to: u16) -> Command {
        self.device_with(to, ["-oServerAliveCountMax=3", "-oConnectTimeout=2"])
    }

    /// One that does not give up.
    fn patient_device(&self, to: u16) -> Command {
        self.device_with(to, ["-oServerAliveCountMax=1000", "-oConnectTimeout=1000"])
    }

    fn device_with(&self, to: u16, patience: [&str; 2]) -> Command {
        let holding = self.home.holding(&self.relay, "cam", &format!("cam-17:22:127.0.0.1:{to}"));
        let mut command = Command::new("ssh");
        command.args(holding.get_args().map(|arg| if arg == "127.0.0.1" { RELAY.as_ref() } else { arg }));
        command.arg("-oServerAliveInterval=1").args(patience);
        command
    }

    fn start(&self, host: &str, mut command: Command) -> Client {
        self.lab.at(host, move || Client::start(&mut command))
    }

    /// A visitor's ssh, from the relay's own host.
    fn visit(&self, key: &str, name: &str, command: &str, input: &[u8]) -> Output {
        let mut visit = self.home.jump(&self.relay, key, name);
        visit.arg(command);
        self.lab.at("relay", move || run_with(&mut visit, input))
    }

    fn assert_reached(&self, key: &str, name: &str) {
        let visit = self.visit(key, name, "echo in", b"");
        assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
    }

    fn sshd(&self) -> Sshd {
        let home = &self.home;
        self.lab.at("device", || home.sshd())
    }
}

fn serve(lab: &Lab, home: &Home, port: &str, options: &[String]) -> Relay {
    let mut command = Command::new(sally());
    command.args(["relay", "--listen", &format!("0.0.0.0:{port}"), "--visitors"]).arg(home.path("visitors"));
    command.arg("--devices").arg(home.path("devices")).arg("--audit").arg(home.path("audit")).arg("--state").arg(home.path("state"));
    command.args(options);
    lab.at("relay", || Relay::start(home, command))
}

#[test]
fn a_device_that_vanishes_is_noticed_and_its_name_is_free() {
    let Some(lab) = Lab::new("a_device_that_vanishes_is_noticed_and_its_name_is_free") else { return };
    let net = Net::new(lab, &["--alive-interval", "1s", "--alive-count", "2", "--takeover", "never"]);
    let _gone = net.start("device", net.device(1));
    net.relay.await_events("register", 1);
    net.lab.pull("device");
    assert_eq!(net.relay.await_events("disconnect", 1)["why"], "no answer to keepalives");
    assert_eq!(net.relay.await_events("release", 1)["slot"], "cam-17:22");
    let _again = net.start("spare", net.device(1));
    net.relay.await_events("register", 2);
}

#[test]
fn a_device_that_vanished_and_is_back_has_its_name_before_any_keepalive_said_so() {
    let Some(lab) = Lab::new("a_device_that_vanished_and_is_back_has_its_name_before_any_keepalive_said_so") else { return };
    let net = Net::new(lab, &["--alive-interval", "1h"]);
    let _gone = net.start("device", net.device(1));
    let first = net.relay.await_events("register", 1);
    net.lab.pull("device");
    let _again = net.start("spare", net.device(1));
    let second = net.relay.await_events("register", 2);
    let takeover = net.relay.await_events("takeover", 1);
    assert_eq!((&takeover["old"], &takeover["new"]), (&first["connection"], &second["connection"]));
}

/// What the relay's kernel has sent to devices and not been acknowledged.
fn unacknowledged(net: &Net) -> u64 {
    let mut shown = tool("ss", "iproute2");
    shown.args(["-Htn", "state", "established", "src", RELAY]);
    let shown = net.lab.at("relay", move || run(&mut shown));
    text(&shown.stdout).lines().filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

#[test]
fn a_partition_that_is_shorter_than_the_budget_costs_no_tunnel() {
    let Some(lab) = Lab::new("a_partition_that_is_shorter_than_the_budget_costs_no_tunnel") else { return };
    let net = Net::new(lab, &["--alive-interval", "1s", "--alive-count", "1000"]);
    let sshd = net.sshd();
    let _device = net.start("device", net.patient_device(sshd.port));
    net.relay.await_events("register", 1);
    net.lab.cut();
    // Several questions have had no answer: the kernel merges what it sends again.
    let first = until("a question has no answer", || Some(unacknowledged(&net)).filter(|bytes| *bytes > 0));
    until("several have none", || (unacknowledged(&net) >= 3 * first).then_some(()));
    net.lab.heal();
    net.assert_reached("alice", "cam-17");
    assert_eq!(net.relay.events("register").len(), 1);
    assert!(net.relay.events("release").is_empty());
}

/// A device that autossh keeps connected, and a server: both behind the NAT, and both there.
fn both(net: &Net, to: u16) -> (Client, Client) {
    let mut autossh = tool("autossh", "autossh");
    autossh.args(["-M", "0"]).args(net.device(to).get_args()).env("AUTOSSH_GATETIME", "0").env("AUTOSSH_POLL", "5");
    let autossh = net.start("device", autossh);
    let mut once = Command::new(sally());
    once.arg("once").arg("--authorized-keys").arg(net.home.path("id.pub")).arg("--log").arg(net.home.path("visit.cast"));
    once.args(["--relay", &format!("{RELAY}:{}", net.relay.port), "--name", "my-app", "--identity"]).arg(net.home.path("app"));
    once.arg("--relay-host-key").arg(&net.relay.host_key).env("SHELL", "/bin/sh").env_remove("AUTHORIZED_KEYS").stdin(Stdio::null());
    let mut once = net.start("spare", once);
    once.await_line("my-app");
    net.relay.await_events("register", 2);
    (autossh, once)
}

#[test]
fn after_a_partition_that_is_longer_both_ends_come_back_by_themselves() {
    let Some(lab) = Lab::new("after_a_partition_that_is_longer_both_ends_come_back_by_themselves") else { return };
    let net = Net::new(lab, &["--alive-interval", "1s", "--alive-count", "2"]);
    let sshd = net.sshd();
    let (_autossh, once) = both(&net, sshd.port);
    net.lab.cut();
    net.relay.await_events("release", 2);
    net.lab.heal();
    net.relay.await_events("register", 4);
    net.assert_reached("alice", "cam-17");
    net.assert_reached("id", "my-app");
    assert!(once.finish().0.success());
}

#[test]
fn after_the_relay_was_killed_both_ends_come_back_by_themselves() {
    let Some(lab) = Lab::new("after_the_relay_was_killed_both_ends_come_back_by_themselves") else { return };
    let mut net = Net::new(lab, &[]);
    let sshd = net.sshd();
    let (_autossh, once) = both(&net, sshd.port);
    net.kill_relay();
    net.relay.await_events("register", 4);
    net.assert_reached("alice", "cam-17");
    net.assert_reached("id", "my-app");
    assert!(once.finish().0.success());
}

#[test]
fn over_a_long_way_that_loses_packets_every_byte_arrives() {
    // 80 ms there and back, and one packet of ten.
    let Some(lab) = Lab::slow("over_a_long_way_that_loses_packets_every_byte_arrives", 0.04, 0.1) else { return };
    let net = Net::new(lab, &[]);
    let sshd = net.sshd();
    let _device = net.start("device", net.patient_device(sshd.port));
    net.relay.await_events("register", 1);
    let sent: Vec<u8> = (0..40_000_u32).flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_be_bytes()).collect();
    let visit = net.visit("alice", "cam-17", "cat", &sent);
    assert!(visit.stdout == sent, "{} of {} bytes; {}", visit.stdout.len(), sent.len(), text(&visit.stderr));
}
