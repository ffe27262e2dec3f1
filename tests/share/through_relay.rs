//! A share on a relay: end to end, by a name that the relay makes.

use crate::support::*;

#[test]
fn a_share_through_a_relay_that_nobody_else_sees() {
    let home = Home::new();
    home.line("app", "");
    home.write("visitors", home.line("alice", ""));
    home.write("devices", home.line("app", ""));
    let relay = Relay::start(&home, home.relay_of_files());
    let mut command = home.share();
    command.args(["--foreground", "--relay", &format!("127.0.0.1:{}", relay.port), "--identity"]).arg(home.path("app"));
    command.arg("--relay-host-key").arg(&relay.host_key).args(["--", "sh", "-c", "echo ready; read x; echo got $x; read x"]);
    let mut share = Client::start(&mut command);
    let host_key = share.await_line("host key: ");
    let link = until("the relay's link is printed", || {
        let line = share.await_line("ssh session: ssh ");
        line.starts_with("-J ").then_some(line)
    });
    let name = link.split(' ').nth(2).unwrap().to_owned();
    let stranger = run(home.via(&relay, "alice").args(["relay", "devices"]));
    assert!(!text(&stranger.stdout).contains(&name), "{}", text(&stranger.stdout));

    let known = home.write("known", format!("{name} {host_key}\n"));
    let proxy = format!("ssh -F {} -W %h:%p relay", home.config(&relay, "id").display());
    let mut viewer = home.via(&relay, "id");
    viewer.args(["-t", "-o", &format!("ProxyCommand={proxy}"), "-oStrictHostKeyChecking=yes"]);
    viewer.arg(format!("-oUserKnownHostsFile={}", known.display())).arg(format!("anyone@{name}")).env("TERM", "xterm");
    let mut viewer = View::start(&viewer);
    viewer.await_line("ready");
    viewer.await_words("the relay can't read it");
    viewer.keys("marker\r");
    viewer.await_line("got marker");
    viewer.keys("\r");
    assert_eq!(viewer.finish().0.code(), Some(0));
    assert_eq!(share.finish().0.code(), Some(0));
    assert_eq!(home.audits("join")[0]["via"], "jump");
    assert_eq!(verify(&home.path("visit.cast"), Some(&host_key)).0, 0);
}
