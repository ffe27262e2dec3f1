//! A device of a fleet, asleep: a visitor with stock ssh wakes it through a stock mosquitto, and it dials back.

use std::fs;
use std::process::Command;

use crate::support::*;

/// What was done about a device, in order.
fn done(live: &Live) -> Vec<String> {
    live.relay.events("wake").iter().map(|event| event["what"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_sleeping_device_is_reached_with_plain_ssh_and_sleeps_again() {
    let live = Live::with(&["--linger", "1s"]);
    let (mut agent, _sshd) = live.device("cam-17");
    let visit = run(live.jump("cam-17").arg("echo in; echo aside >&2; exit 7"));
    assert_eq!((visit.status.code(), text(&visit.stdout).as_str()), (Some(7), "in\n"), "{}", text(&visit.stderr));
    assert_eq!(text(&visit.stderr), "aside\n");
    agent.await_words("woken");
    // Nobody is there any more: the connection goes, and the next visitor wakes the device again.
    live.relay.await_events("release", 1);
    assert!(run(live.jump("CAM-17").arg("true")).status.success());
    until("the log", || (done(&live).iter().filter(|what| *what == "ticket taken").count() == 2).then_some(()));
    assert_eq!(done(&live).iter().filter(|what| *what == "woken").count(), 2);
}

#[test]
fn visitors_share_what_one_of_them_woke() {
    let live = Live::new();
    let (_agent, _sshd) = live.device("cam-17");
    let mut visitors: Vec<_> = (0..5).map(|_| Client::start(live.jump("cam-17").arg("echo in; cat"))).collect();
    for visitor in &mut visitors {
        visitor.await_line("in");
    }
    assert_eq!(done(&live).iter().filter(|what| *what == "woken").count(), 1);
    assert_eq!(live.relay.events("register").len(), 1);
}

#[test]
fn a_name_that_is_none_and_one_that_is_not_ours() {
    let live = Live::new();
    live.fleet.add("cam-17");
    live.fleet.add("door-1");
    let refused = |name: &str| text(&run(live.jump(name).arg("true")).stderr);
    assert!(refused("cam-71").contains("cam-71 is not a known device (did you mean cam-17?)"), "{}", refused("cam-71"));
    // Known or not, the answer is the same to who may not.
    for name in ["door-1", "door-2"] {
        assert!(refused(name).contains("open failed: connect failed: not permitted"), "{}", refused(name));
    }
}

#[test]
fn files_and_tools_go_through() {
    let live = Live::new();
    let (_agent, device) = live.device("cam-17");
    let config = live.config("alice");
    let config = config.to_str().unwrap();
    let home = &live.fleet.home;
    let content: String = (0..20_000).map(|line| format!("{line}\n")).collect();
    home.write("here", &content);
    let there = device.folder.path().join("there").display().to_string();
    let copied = |command: &mut Command| {
        let output = run(command);
        assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
        output
    };
    for old in [&["-O"][..], &[]] {
        copied(
            tool("scp", "openssh-client")
                .args(["-F", config, "-J", "relay"])
                .args(old)
                .arg(home.path("here"))
                .arg(format!("cam-17:{there}")),
        );
        assert_eq!(fs::read_to_string(&there).unwrap(), content);
        copied(
            tool("scp", "openssh-client")
                .args(["-F", config, "-J", "relay"])
                .args(old)
                .arg(format!("cam-17:{there}"))
                .arg(home.path("back")),
        );
        assert_eq!(home.read("back"), content);
    }
    let batch = home.write("batch", format!("put {} {there}.sftp\n", home.path("here").display()));
    copied(tool("sftp", "openssh-client").args(["-F", config, "-J", "relay", "-b"]).arg(batch).arg("cam-17"));
    assert_eq!(fs::read_to_string(format!("{there}.sftp")).unwrap(), content);
    let through = format!("ssh -F {config} -J relay");
    copied(tool("rsync", "rsync").args(["-a", "-e", &through]).arg(home.path("here")).arg(format!("cam-17:{there}.rsync")));
    assert_eq!(fs::read_to_string(format!("{there}.rsync")).unwrap(), content);
    let repository = device.folder.path().join("repository.git").display().to_string();
    copied(tool("git", "git").args(["init", "-q", "--bare", &repository]));
    copied(
        tool("git", "git").args(["clone", "-q", &format!("cam-17:{repository}")]).arg(home.path("clone")).env("GIT_SSH_COMMAND", &through),
    );
    assert!(home.path("clone/.git").exists());
}

#[test]
fn ansible_reaches_a_sleeping_device() {
    let live = Live::new();
    let (_agent, _sshd) = live.device("cam-17");
    let config = live.config("alice");
    let inventory = live.fleet.home.write(
        "inventory",
        format!("cam-17 ansible_ssh_common_args='-F {} -J relay' ansible_python_interpreter=/usr/bin/python3\n", config.display()),
    );
    let mut ansible = from_requirements("ansible");
    ansible
        .args(["all", "-m", "ping", "-i"])
        .arg(inventory)
        .env("ANSIBLE_LOCAL_TEMP", live.fleet.path("ansible"))
        .env("HOME", live.fleet.path("."));
    let output = run(&mut ansible);
    assert!(text(&output.stdout).contains("\"ping\": \"pong\""), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn ports_that_a_device_exposes_are_reached_and_others_are_not() {
    let live = Live::new();
    let device = Device::start(&live.fleet, "cam-17", &[]);
    let service = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = service.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in service.incoming() {
            std::io::Write::write_all(&mut stream.unwrap(), b"served\n").unwrap();
        }
    });
    device.set(r#"expose = ["22"]"#, &format!(r#"expose = ["22", "{port}"]"#));
    let _agent = Agent::start(&mut device.agent());
    let reach = |port: u16| run(live.ssh().args(["-W", &format!("cam-17:{port}"), "relay"]));
    assert_eq!(text(&reach(port).stdout), "served\n");
    let refused = reach(1);
    assert!(text(&refused.stderr).contains("cam-17 is connected and offers no port 1"), "{}", text(&refused.stderr));
}

#[test]
fn a_device_with_stock_ssh_needs_no_agent() {
    let live = Live::new();
    let device = Device::start(&live.fleet, "cam-17", &[]);
    let bundle = device.folder.path().join("sally");
    let mut ssh = Command::new("ssh");
    ssh.args([
        "-F",
        "/dev/null",
        "-oBatchMode=yes",
        "-oIdentitiesOnly=yes",
        "-oStrictHostKeyChecking=yes",
        "-oExitOnForwardFailure=yes",
        "-N",
    ]);
    ssh.arg(format!("-oUserKnownHostsFile={}", bundle.join("known_hosts").display())).arg("-i").arg(bundle.join("device_key"));
    ssh.args(["-R", &format!("cam-17:22:127.0.0.1:{}", device.port), "-p", &live.relay.port.to_string(), "127.0.0.1"]);
    let _tunnel = Client::start(&mut ssh);
    live.relay.await_events("register", 1);
    assert_eq!(text(&run(live.jump("cam-17").arg("echo in")).stdout), "in\n");
    assert_eq!(done(&live), [""; 0]);
}

#[test]
fn whoever_waits_for_an_offline_device_gets_it_when_it_comes() {
    let live = Live::with(&["--wake-deadline", "1s"]);
    let device = Device::start(&live.fleet, "cam-17", &[]);
    let home = &live.fleet.home;
    home.write("config.toml", format!("relay = \"relay\"\nidentity = \"{}\"\n", home.path("alice").display()));
    let mut ssh = Command::new(sally());
    ssh.args(["ssh", "--wait", "1h", "--config"]).arg(home.path("config.toml")).arg("-F").arg(live.config("alice"));
    let mut visitor = Client::start(ssh.args(["cam-17", "echo in"]));
    // The first wake was in vain: the visitor waits on.
    until("the wake", || live.relay.events("wake").iter().find(|event| event["what"] == "woken").cloned());
    let _agent = Agent::start(&mut device.agent());
    visitor.await_line("in");
}
