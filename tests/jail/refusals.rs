//! What a jail refuses: everything but its one tunnel.

use std::io::Read;
use std::net::TcpStream;
use std::process::Command;

use super::jail::*;
use crate::support::*;

#[test]
fn a_session_gets_one_line_and_is_closed() {
    let jail = Jail::new();
    let line = "This account can only be used for forwarding";
    for arguments in [&["-T"][..], &["-tt"]] {
        let refused = run(&mut jail.ssh(arguments));
        assert!(text(&refused.stderr).contains(line), "{arguments:?}: {}", text(&refused.stderr));
        assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(1), String::new()), "{arguments:?}");
    }
    let mut command = jail.ssh(&[]);
    let refused = run(command.arg("id; cat /etc/passwd"));
    assert!(text(&refused.stderr).contains(line) && refused.stdout.is_empty(), "{}", text(&refused.stderr));
    let port = jail.relay.port.to_string();
    let (home, id) = (&jail.home, jail.home.path("id"));
    let file = home.write("file", "x");
    for copying in [&["-O"][..], &[]] {
        let copied = run(Command::new("scp")
            .args(home.options())
            .args(copying)
            .arg("-i")
            .arg(&id)
            .args(["-P", &port])
            .arg(&file)
            .arg("tunuser@127.0.0.1:x"));
        assert!(!copied.status.success() && text(&copied.stderr).contains(line), "{}", text(&copied.stderr));
    }
    let events = jail.relay.events("console");
    assert!(events.len() == 5 && events.iter().all(|event| event["allowed"] == false), "{events:?}");
}

#[test]
fn whatever_is_no_reverse_tunnel_is_refused() {
    let jail = Jail::new();
    let echo = Echo::start();
    // -W, -L and -D: nothing is dialled.
    let direct = run(&mut jail.ssh(&["-W", &format!("127.0.0.1:{}", echo.port)]));
    assert!(!direct.status.success() && text(&direct.stderr).contains("open failed"), "{}", text(&direct.stderr));
    let jumped = run(&mut jail.ssh(&["-W", "cam-17:22"]));
    assert!(text(&jumped.stderr).contains("open failed: connect failed: not permitted"), "{}", text(&jumped.stderr));
    let (local, socks) = (free_port(), free_port());
    let _forwarding = Client::start(&mut jail.ssh(&["-N", "-L", &format!("{local}:127.0.0.1:{}", echo.port), "-D", &socks.to_string()]));
    let mut stream = until("ssh listens", || TcpStream::connect(("127.0.0.1", local)).ok());
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "closed, with nothing said");
    let socks = run(tool("curl", "curl").args([
        "-s",
        "-m",
        "20",
        "--socks5",
        &format!("127.0.0.1:{socks}"),
        &format!("http://127.0.0.1:{}/", echo.port),
    ]));
    assert!(!socks.status.success());
    // Unix sockets, both ways.
    let path = jail.home.path("socket");
    let refused = run(&mut jail.ssh(&["-N", "-oExitOnForwardFailure=yes", "-R", &format!("{}:127.0.0.1:{}", path.display(), echo.port)]));
    assert!(!refused.status.success() && !path.exists(), "{}", text(&refused.stderr));
    let _listening = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let local = free_port();
    let _forwarding = Client::start(&mut jail.ssh(&["-N", "-L", &format!("{local}:{}", path.display())]));
    let mut stream = until("ssh listens", || TcpStream::connect(("127.0.0.1", local)).ok());
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "closed, with nothing said");
    assert!(jail.relay.events("open").is_empty() && jail.relay.events("register").is_empty());
}

#[test]
fn the_agent_and_the_display_are_refused() {
    let jail = Jail::new();
    let agent = jail.home.path("agent");
    let mut running = Client::start(Command::new("ssh-agent").args(["-D", "-a"]).arg(&agent));
    until("the agent listens", || agent.exists().then_some(()));
    let refused = run(jail
        .ssh(&["-A", "-v", "-oForwardX11=yes", "-oForwardX11Trusted=yes", "-T"])
        .env("SSH_AUTH_SOCK", &agent)
        .env("DISPLAY", ":99"));
    let said = text(&refused.stderr);
    assert!(said.contains("This account can only be used for forwarding"), "{said}");
    assert!(!said.contains("client_request_agent") && !said.contains("channel 1: new"), "{said}");
    let _ = running.child.kill();
}

#[test]
fn no_other_port_name_or_address_is_forwarded() {
    let home = Home::new();
    let port = free_port();
    let command = home.jail(&port.to_string());
    let jail = Jail::of(home, command, port);
    let said = [
        jail.refused("0:127.0.0.1:1"),
        jail.refused("2:127.0.0.1:1"),
        jail.refused("*:2:127.0.0.1:1"),
        jail.refused("cam-17:22:127.0.0.1:1"),
        jail.refused(&format!("cam-17:{port}:127.0.0.1:1")),
        jail.refused(&format!("*.*:{port}:127.0.0.1:1")),
        jail.refused(&format!("192.0.2.1:{port}:127.0.0.1:1")),
    ];
    insta::assert_snapshot!(said.join("\n").replace(&port.to_string(), "PORT"));
    // No wildcard of another's sneaks beside a port that is held.
    let _tunnel = jail.home.hold(&jail.relay, "id", &format!("127.0.0.1:{port}:127.0.0.1:1"));
    jail.relay.await_events("register", 1);
    for address in ["*:", "", "127.0.0.2:", "[::1]:", "0.0.0.0:"] {
        let said = jail.refused(&format!("{address}{port}:127.0.0.1:1"));
        assert!(said.contains("is held by a connection of the same key from 127.0.0.1:"), "{address}: {said}");
    }
}

#[test]
fn a_keys_own_permitlisten_narrows_further() {
    let home = Home::new();
    let (one, other) = (free_port(), free_port());
    let mut command = home.jail(&format!("{one},{other}"));
    command.env("AUTHORIZED_KEYS", home.line("id", &format!(r#"restrict,port-forwarding,permitlisten="localhost:{one}""#)));
    let jail = Jail::of(home, command, one);
    assert_eq!(jail.refused(&format!("{other}:127.0.0.1:1")), format!("this key may not forward port {other}"));
    assert_eq!(jail.refused(&format!("*:{one}:127.0.0.1:1")), format!("this key may not forward port {one}"));
    let _tunnel = jail.home.hold(&jail.relay, "id", &format!("{one}:127.0.0.1:1"));
    jail.relay.await_events("register", 1);
}

#[test]
fn only_tunuser_with_the_key_comes_in() {
    let jail = Jail::new();
    for user in ["root", "tunuser2", "", "TUNUSER"] {
        let refused = run(&mut jail.ssh_as(user, &["-N", "-oConnectTimeout=20"]));
        assert!(text(&refused.stderr).contains("Permission denied"), "{user:?}: {}", text(&refused.stderr));
    }
    // No password is even asked for.
    let mut command = Command::new("ssh");
    command.args(["-F", "/dev/null", "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oPubkeyAuthentication=no"]);
    command.args(["-oNumberOfPasswordPrompts=1", "-l", "tunuser", "-N", "-p", &jail.relay.port.to_string(), "127.0.0.1"]);
    let refused = run(tool("setsid", "util-linux").arg("-w").arg("ssh").args(command.get_args()));
    assert!(text(&refused.stderr).contains("Permission denied (publickey)"), "{}", text(&refused.stderr));
}
