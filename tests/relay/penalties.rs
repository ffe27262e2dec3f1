//! What a source has coming to it at a relay or a jail, and what keeps it from that; addresses that a balancer says (the PROXY protocol).

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::process::Command;

use crate::support::*;

/// Somebody who comes through a balancer.
struct Through {
    _balancer: Client,
    port: u16,
}

/// A balancer before a port, whose headers are of a kind, and say that source.
fn balancer(port: u16, header: &str, source: &str) -> Through {
    let mut balancer = Client::start(python("balancer.py").args([&port.to_string(), header, source]));
    let port = balancer.await_line("port ").parse().unwrap();
    Through { _balancer: balancer, port }
}

impl Through {
    /// What is heard in answer to this, to the end.
    fn hears(&self, said: &[u8]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(said);
        let mut heard = Vec::new();
        if let Err(error) = stream.read_to_end(&mut heard) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "never closed");
        }
        text(&heard)
    }

    /// Whether garbage is answered as such, rather than not at all.
    fn is_heard(&self) -> bool {
        let heard = self.hears(b"garbage\r\n");
        assert!(heard.is_empty() || heard.ends_with("Invalid SSH identification string.\r\n"), "{heard}");
        !heard.is_empty()
    }

    /// Sends garbage until nothing of it is answered any more: twice at least.
    fn misbehaves(&self) {
        assert!(self.is_heard() && self.is_heard());
        // What is sent last counts once the connection is gone.
        until("it is refused", || (!self.is_heard()).then_some(()));
    }
}

/// A jail for the key `id`, behind balancers on this machine.
fn jail(home: &Home, more: &[&str]) -> Relay {
    let mut command = home.jail("2022");
    command.args(["--proxy-protocol", "127.0.0.0/8"]).args(more);
    Relay::start(home, command)
}

/// What the jail says to who has its key, over that port.
fn enters(home: &Home, port: u16) -> bool {
    let id = home.path("id");
    let visit = run(home.ssh_with(port, &["-oUser=tunuser", "-i", id.to_str().unwrap()]).arg("true"));
    text(&visit.stderr).contains("This account can only be used for forwarding")
}

#[test]
fn a_source_with_a_penalty_is_refused_and_whoever_comes_by_the_same_balancer_is_not() {
    let home = Home::new();
    let jail = jail(&home, &[]);
    let (bad, good) = (balancer(jail.port, "tcp", "198.51.100.7"), balancer(jail.port, "tcp", "198.51.100.8"));
    bad.misbehaves();
    assert!(!enters(&home, bad.port), "20 s are due at least");
    assert!(enters(&home, good.port) && enters(&home, balancer(jail.port, "tcp", "2001:db8::7").port));
    assert!(enters(&home, balancer(jail.port, "local", "198.51.100.7").port), "the balancer's own");
}

#[test]
fn an_exempt_source_has_no_penalty() {
    let home = Home::new();
    let jail = jail(&home, &["--penalty-exempt", "192.0.2.0/24", "--penalty-exempt=198.51.100.7"]);
    let (exempt, other) = (balancer(jail.port, "tcp", "198.51.100.7"), balancer(jail.port, "tcp", "198.51.100.8"));
    for _ in 0..5 {
        assert!(exempt.is_heard());
    }
    assert!(enters(&home, exempt.port));
    other.misbehaves();
}

/// An address of this machine's that isn't loopback, where it has one.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?; // Nothing is sent.
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback() && !address.is_unspecified())
}

/// The same without a balancer: somebody else's garbage, from where clients come in too.
#[test]
fn an_address_with_failed_logins_is_not_locked_out_after_a_login_or_if_exempt() {
    let Some(own) = own_address() else { return skipped("who_shares_an_address_…", "this machine has no address but loopback") };
    let home = Home::new();
    let jail = |more: &[&str]| {
        let mut command = Command::new(sally());
        command.args(["jail", "--listen", &format!("{own}:0"), "--run-as", &rustix::process::getuid().as_raw().to_string()]);
        command.args(["--permit-listen", "2022", "--audit"]).arg(home.path("audit")).args(more);
        command.env("AUTHORIZED_KEYS", home.read("id.pub")).env_remove("OPEN_PORTS");
        Relay::start(&home, command)
    };
    let unknown = |port: u16| {
        let mut stream = TcpStream::connect((own, port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(b"garbage\r\n");
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        !heard.is_empty()
    };
    let enters = |port: u16| {
        let mut ssh = Command::new("ssh");
        ssh.args(home.options()).arg("-i").arg(home.path("id")).args(["-p", &port.to_string(), &format!("tunuser@{own}"), "true"]);
        text(&run(&mut ssh).stderr).contains("This account can only be used for forwarding")
    };
    let strict = jail(&[]);
    assert!(unknown(strict.port) && unknown(strict.port));
    until("the address is refused", || (!unknown(strict.port)).then_some(()));
    assert!(!enters(strict.port));
    let exempt = jail(&["--penalty-exempt", &own.to_string()]);
    assert!((0..5).all(|_| unknown(exempt.port)) && enters(exempt.port));
    let visited = jail(&[]);
    assert!(enters(visited.port));
    assert!((0..5).all(|_| unknown(visited.port)) && enters(visited.port));
}

/// An office, or a provider, behind one address.
#[test]
fn a_source_from_which_a_client_got_in_lately_is_not_refused_for_what_others_do() {
    let home = Home::new();
    let jail = jail(&home, &[]);
    let office = balancer(jail.port, "tcp", "198.51.100.7");
    assert!(enters(&home, office.port));
    for _ in 0..5 {
        assert!(office.is_heard());
    }
    assert!(enters(&home, office.port));
}

#[test]
fn a_connection_of_a_balancers_without_a_good_header_is_closed_without_a_word() {
    let home = Home::new();
    let jail = jail(&home, &[]);
    for header in ["none", "text", "udp", "unspecified", "long", "damaged", "cut"] {
        let through = balancer(jail.port, header, "198.51.100.7");
        for _ in 0..3 {
            assert_eq!(through.hears(b"SSH-2.0-x\r\n"), "", "{header}");
        }
    }
    // Nor is that held against the balancer.
    assert!(enters(&home, balancer(jail.port, "tcp", "198.51.100.7").port));
}

#[test]
fn a_header_of_anybody_else_is_garbage() {
    let home = Home::new();
    for more in [&[][..], &["--proxy-protocol", "192.0.2.0/24"]] {
        let mut command = home.jail("2022");
        command.args(more);
        let jail = Relay::start(&home, command);
        let heard = balancer(jail.port, "tcp", "198.51.100.7").hears(b"SSH-2.0-x\r\n");
        assert!(heard.starts_with("SSH-2.0-Sally") && heard.ends_with("Invalid SSH identification string.\r\n"), "{heard}");
    }
}

#[test]
fn the_address_that_a_balancer_says_is_the_one_that_counts() {
    let home = Home::new();
    let bare = home.read("id.pub");
    for (from, permitted) in [("198.51.100.0/24", true), ("127.0.0.1", false)] {
        home.write("id.pub", format!("from=\"{from}\" {bare}"));
        let _ = std::fs::remove_file(home.path("visit.cast"));
        let server = home.open(&["--proxy-protocol", "127.0.0.1"]);
        let through = balancer(server.port, "tcp", "198.51.100.7");
        let visit = run(home.ssh_to(through.port).arg("echo $SSH_CONNECTION"));
        let said = if permitted { "198.51.100.7 50000 192.0.2.1 22\n" } else { "" };
        assert_eq!(text(&visit.stdout), said, "{from} {}", text(&visit.stderr));
        if permitted {
            let connect = &home.audits("connect")[0];
            assert_eq!((&connect["peer"], &connect["local"]), (&"198.51.100.7:50000".into(), &"192.0.2.1:22".into()));
        }
    }
    home.write("id.pub", format!("from=\"198.51.100.0/24\" {bare}"));
    let jail = jail(&home, &[]);
    assert!(enters(&home, balancer(jail.port, "tcp", "198.51.100.7").port));
    assert_eq!(jail.await_events("auth", 1)["peer"], "198.51.100.7:50000");
    home.key("other", "ed25519");
    let other = home.path("other");
    let through = balancer(jail.port, "tcp", "203.0.113.1");
    run(home.ssh_with(through.port, &["-oUser=tunuser", "-i", other.to_str().unwrap()]).arg("true"));
    assert_eq!(jail.await_events("auth_refused", 1)["peer"], "203.0.113.1:50000");
}

#[test]
fn a_relay_takes_addresses_from_its_options_in_a_file_too() {
    let home = Home::new();
    home.relay();
    let [visitors, devices] = ["visitors", "devices"].map(|name| home.path(name).display().to_string());
    home.write("visitors", home.line("alice", r#"permitopen="cam-*:22",from="198.51.100.7""#));
    let file = format!(
        "listen = \"127.0.0.1:0\"\nvisitors = \"{visitors}\"\ndevices = \"{devices}\"\nproxy-protocol = [\"127.0.0.1\", \"::1\"]\n\
         penalty-exempt = \"192.0.2.0/24\"\n"
    );
    let mut command = Command::new(sally());
    command.arg("relay").arg("--config").arg(home.write("relay.toml", file)).arg("--audit").arg(home.path("audit"));
    let relay = Relay::start(&home, command);
    let alice = home.path("alice");
    let said = |port: u16| text(&run(home.ssh_with(port, &["-i", alice.to_str().unwrap()]).arg("whoami")).stdout);
    assert!(said(balancer(relay.port, "tcp", "198.51.100.7").port).contains("visitor"));
    assert_eq!(said(balancer(relay.port, "tcp", "198.51.100.8").port), "");
}

/// haproxy itself, with all that it can add to a header.
#[test]
fn haproxy_tells_where_a_client_comes_from() {
    let home = Home::new();
    home.write("id.pub", format!("from=\"127.0.0.2\" {}", home.read("id.pub")));
    let server = home.open(&["--proxy-protocol", "127.0.0.1"]);
    let front = free_port();
    let config = format!(
        "global\n maxconn 100\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         frontend ssh\n bind 127.0.0.1:{front}\n unique-id-format %{{+X}}o\\ %ci:%cp_%rt\n default_backend door\n\
         backend door\n server door 127.0.0.1:{} source 127.0.0.1 send-proxy-v2 proxy-v2-options crc32c,unique-id\n",
        server.port
    );
    let mut haproxy = tool("/usr/sbin/haproxy", "haproxy");
    let mut haproxy = haproxy.arg("-db").arg("-f").arg(home.write("haproxy.cfg", config)).spawn().unwrap();
    until("haproxy listens", || TcpStream::connect(("127.0.0.1", front)).ok());
    let id = home.path("id");
    let visit = run(home.ssh_with(front, &["-b", "127.0.0.2", "-i", id.to_str().unwrap()]).arg("echo $SSH_CONNECTION"));
    let _ = haproxy.kill();
    let _ = haproxy.wait();
    let said = text(&visit.stdout);
    assert!(said.starts_with("127.0.0.2 ") && said.ends_with(&format!(" 127.0.0.1 {front}\n")), "{said} {}", text(&visit.stderr));
    assert!(home.audits("connect")[0]["peer"].as_str().unwrap().starts_with("127.0.0.2:"));
}
