//! Requests, and a stock sshd beside the server: the answers to each in every order, and what comes of it.

use crate::support::*;

/// What a scenario of tests/python/beside.py prints at this port.
fn scenario(home: &Home, port: u16, user: &str, arguments: &[&str]) -> Vec<String> {
    let mut client = python("beside.py");
    client.arg(arguments[0]).arg(port.to_string()).arg(home.path("id")).args(&arguments[1..]).env("SSH_USER", user);
    let said = run(&mut client);
    assert!(said.status.success(), "{arguments:?}: {}", text(&said.stderr));
    text(&said.stdout).lines().map(String::from).collect()
}

/// It takes of a client's environment what Debian's does, and is as closed as a server without --allow.
fn sshd(home: &Home, options: &str) -> Sshd {
    home.sshd_for(&format!("{options} {}", home.read("id.pub")), "AcceptEnv LANG LC_*\nAllowAgentForwarding no\n")
}

fn server(home: &Home, options: &str, log: &str) -> Server {
    let keys = home.write("keys", format!("{options} {}", home.read("id.pub")));
    let mut command = home.once_for(&keys);
    command.args(["--max-sessions", "2", "--log"]).arg(home.path(log));
    Server::open(command)
}

/// The same at a server, and at an sshd, for a key with these options: line by line.
fn compared(home: &Home, options: &str, arguments: &[&str]) -> Vec<(String, String)> {
    let (sshd, server) = (sshd(home, options), server(home, options, "visit.cast"));
    let (theirs, ours) = (scenario(home, sshd.port, &whoami(), arguments), scenario(home, server.port, "anyone", arguments));
    assert_eq!(theirs.len(), ours.len(), "{theirs:#?} {ours:#?}");
    theirs.into_iter().zip(ours).collect()
}

/// Spellings of the address in a tcpip-forward: of all addresses, of the loopback ones, of one family each; and one that isn't here.
const ADDRESSES: [&str; 9] = ["", "*", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::", "127.0.0.2", "::ffff:127.0.0.1"];

/// Who may have the port already: nobody, or whoever listens on an address of one family.
const TAKEN: [&str; 3] = ["", "127.0.0.1", "::1"];

/// Where each spelling is listened on at this server.
fn listening(home: &Home, (server_port, user): (u16, &str), wanted: u16, taken: &str) -> Vec<String> {
    let port = wanted.to_string();
    let arguments: Vec<_> = ["forwarded", &*port, taken].into_iter().chain(ADDRESSES).collect();
    scenario(home, server_port, user, &arguments)
}

#[test]
fn a_port_of_a_jail_or_a_relay_is_bound_as_by_sshd() {
    let home = Home::new();
    let wanted = free_port();
    let sshd = home.sshd_for(&home.read("id.pub"), "GatewayPorts clientspecified\n");
    let jail = Relay::start(&home, home.jail(&wanted.to_string()));
    let device = Home::new();
    device.write("visitors", device.read("id.pub"));
    device.write("devices", format!("permitlisten=\"{wanted}\" {}", device.read("id.pub")));
    let relay = Relay::start(&device, device.relay_of_files());
    for taken in TAKEN {
        let theirs = listening(&home, (sshd.port, &whoami()), wanted, taken);
        assert_eq!(theirs[0] == "'' True 0.0.0.0 [::]", taken.is_empty(), "{theirs:?}");
        assert_eq!(listening(&home, (jail.port, "tunuser"), wanted, taken), theirs, "a jail, {taken}");
        assert_eq!(listening(&device, (relay.port, "anyone"), wanted, taken), theirs, "a relay, {taken}");
    }
}

/// Likewise at a server, which is sshd's `GatewayPorts no`; but an address of one family is of that one there too.
#[test]
fn a_forwarded_port_is_loopbacks_as_with_sshd() {
    let home = Home::new();
    let wanted = free_port();
    let sshd = home.sshd_for(&home.read("id.pub"), "GatewayPorts no\n");
    for taken in TAKEN {
        let mut command = home.once_to(&home.path(format!("{taken}.cast")));
        command.args(["--allow", "remote-forward"]);
        let server = Server::open(command);
        let theirs = listening(&home, (sshd.port, &whoami()), wanted, taken);
        let ours = listening(&home, (server.port, "anyone"), wanted, taken);
        assert_eq!(ours.len(), theirs.len());
        for (theirs, ours) in theirs.iter().zip(&ours) {
            let mut words = theirs.split(' ');
            let (address, _) = (words.next().unwrap(), words.next());
            let of_family = |place: &&str| match address {
                "'0.0.0.0'" | "'127.0.0.2'" | "'::ffff:127.0.0.1'" => *place == "127.0.0.1",
                "'::'" => *place == "[::1]",
                _ => true,
            };
            let places: Vec<_> = words.filter(of_family).collect();
            let answer = if places.is_empty() { "False" } else { "True" };
            let expected: Vec<_> = [address, answer].into_iter().chain(places).collect();
            assert_eq!(*ours, expected.join(" "), "where {taken:?} is taken; sshd: {theirs}");
        }
    }
}

#[test]
fn requests_before_a_command_are_answered_and_obeyed_as_by_sshd() {
    let home = Home::new();
    let all = compared(&home, "", &["before"]);
    assert!(all.len() > 100, "{all:#?}");
    for (theirs, ours) in all {
        assert_eq!(theirs, ours);
    }
    // Each size that a terminal had is on the record, that of a window-change before the command too.
    assert!(home.read("visit.cast").contains("\"r\",\"100x40\""), "{}", home.read("visit.cast"));
}

#[test]
fn requests_while_a_command_runs_are_answered_as_by_sshd() {
    let home = Home::new();
    for (theirs, ours) in compared(&home, "", &["after"]) {
        // An sshd of root's passes on no signals at all; another's does.
        if theirs.contains(" signal ") {
            assert!(ours.ends_with(" signal yes 3"), "{ours}");
        } else {
            assert_eq!(theirs, ours);
        }
    }
}

#[test]
fn a_terminal_is_what_it_is_with_sshd_whatever_its_request_says() {
    let home = Home::new();
    // sshd forgets all modes where something stands after their end, and exports a TERM that is no text.
    let different = ["after-the-end :", "undefined-255 :", "term-latin :"];
    for (theirs, ours) in compared(&home, "", &["terminal"]) {
        if different.iter().any(|name| ours.starts_with(name)) {
            assert!(ours.contains(": yes | 24 80 640 480 "), "{ours}");
        } else {
            assert_eq!(theirs, ours);
        }
    }
}

#[test]
fn a_terminal_request_that_is_cut_off_ends_the_connection_as_with_sshd() {
    let home = Home::new();
    let sshd = sshd(&home, "");
    for case in ["argument", "opcode", "length", "sizes", "term"] {
        let server = server(&home, "", case);
        for (port, user) in [(sshd.port, whoami()), (server.port, "anyone".into())] {
            assert_eq!(scenario(&home, port, &user, &["truncated", case]), ["closed"], "{case}");
        }
    }
}

#[test]
fn a_forced_command_hears_no_signals_as_with_sshd() {
    let home = Home::new();
    let options = "command=\"trap '' USR1; echo ready; read line; exit 3\"";
    for (theirs, ours) in compared(&home, options, &["after"]) {
        assert_eq!(theirs, ours);
    }
}

/// Byte by byte; SFTP is `internal-sftp` to what replaces it.
#[test]
fn a_forced_command_is_told_what_was_asked_as_by_sshd() {
    let home = Home::new();
    // What the account's own shell makes of the environment is not compared.
    let options = "command=\"printenv SSH_ORIGINAL_COMMAND | od -An -c; exit 3\"";
    let all = compared(&home, options, &["asked"]);
    assert!(all.iter().any(|(theirs, _)| theirs.starts_with("subsystem sftp yes") && theirs.contains("i   n   t   e   r   n   a   l")));
    for (theirs, ours) in all {
        assert_eq!(theirs, ours);
    }
}
