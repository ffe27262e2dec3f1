//! Keys that somebody has to touch: what the key says of it is signed, and decides.

use std::process::Command;

use crate::support::*;

/// The bits of a signature's flags (OpenSSH's PROTOCOL.u2f).
const TOUCHED: &str = "1";
const TOUCHED_AND_VERIFIED: &str = "5";

/// A security key in software, and a server for it with these options.
fn open(home: &Home, kind: &str, options: &str) -> Server {
    let key = home.path("sk");
    assert!(run(python("security_key.py").arg("make").arg(kind).arg(&key)).status.success());
    let file = home.write("keys", format!("{options} {}", home.read("sk.pub")).trim_start());
    let _ = std::fs::remove_file(home.path("visit.cast"));
    let mut command = home.once_for(&file);
    command.arg("--log").arg(home.path("visit.cast"));
    Server::open(command)
}

/// Signs with these flags: `in` or `denied`.
fn login(home: &Home, server: &Server, arguments: &[&str]) -> String {
    let output = run(python("security_key.py").arg("login").arg(server.port.to_string()).arg(home.path("sk")).args(arguments));
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

#[test]
fn a_security_key_has_to_be_touched() {
    for kind in ["ed25519", "ecdsa"] {
        let home = Home::new();
        let mut server = open(&home, kind, "");
        assert_eq!(login(&home, &server, &["0"]), "denied", "{kind}");
        assert_eq!(login(&home, &server, &["4"]), "denied", "{kind}: a PIN is no touch");
        assert_eq!(login(&home, &server, &["0", TOUCHED]), "denied", "{kind}: whoever claims a touch that was not signed");
        assert_eq!(login(&home, &server, &[TOUCHED]), "in", "{kind}");
        assert_eq!(server.wait().0.code(), Some(0));
        assert!(home.audits("auth")[0]["key_type"].as_str().unwrap().starts_with("sk-"), "{:?}", home.audits("auth"));
        home.assert_sealed(&server);
    }
}

#[test]
fn no_touch_required_says_so() {
    let home = Home::new();
    let server = open(&home, "ed25519", "no-touch-required");
    assert_eq!(login(&home, &server, &["0"]), "in");
}

#[test]
fn verify_required_wants_a_pin_and_a_touch() {
    let home = Home::new();
    let server = open(&home, "ed25519", "verify-required");
    assert_eq!(login(&home, &server, &[TOUCHED]), "denied");
    assert_eq!(login(&home, &server, &["4"]), "denied");
    assert_eq!(login(&home, &server, &[TOUCHED_AND_VERIFIED]), "in");
}

/// A certificate over the security key: it needs the touch unless both the line and the certificate say otherwise.
#[test]
fn a_certificate_over_a_security_key_has_to_be_touched() {
    let home = Home::new();
    home.key("ca", "ed25519");
    let certified = |options: &[&str]| {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-s"]).arg(home.path("ca")).args(["-I", "visitor", "-n", "dev"]).args(options).arg(home.path("sk.pub"));
        assert!(run(&mut keygen).status.success());
        home.path("sk-cert.pub").to_str().unwrap().to_owned()
    };
    for (line, options, without) in [
        ("", &[][..], "denied"),
        ("", &["-O", "no-touch-required"], "denied"),
        (",no-touch-required", &[], "denied"),
        (",no-touch-required", &["-O", "no-touch-required"], "in"),
    ] {
        drop(open(&home, "ed25519", ""));
        let certificate = certified(options);
        let _ = std::fs::remove_file(home.path("visit.cast"));
        let file = home.write("keys", format!("cert-authority,principals=\"dev\"{line} {}", home.read("ca.pub")));
        let mut command = home.once_for(&file);
        command.arg("--log").arg(home.path("visit.cast"));
        let server = Server::open(command);
        assert_eq!(login(&home, &server, &["0", "0", &certificate]), without, "{line} {options:?}");
        if without == "denied" {
            assert_eq!(login(&home, &server, &[TOUCHED, TOUCHED, &certificate]), "in", "{line} {options:?}");
        }
    }
}

/// A relay of a fleet without a broker, and somebody's security key.
struct OfFleet {
    fleet: Fleet,
    relay: Relay,
}

impl OfFleet {
    fn new() -> Self {
        let fleet = Fleet::new();
        assert!(run(python("security_key.py").args(["make", "ed25519"]).arg(fleet.path("sk"))).status.success());
        fleet.add("cam-1");
        let relay = fleet.lonely_relay(&[]);
        Self { fleet, relay }
    }

    /// A certificate over the key, as the fleet's authority for this role can make one.
    fn certify(&self, authority: &str, options: &[&str]) {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-s"]).arg(self.fleet.path("FLEET/ca").join(authority)).args(["-I", "alice", "-z", "99"]).args(options);
        assert!(run(keygen.arg(self.fleet.path("sk.pub"))).status.success());
    }

    /// What comes of asking for cam-1, which sleeps for good: `denied`, or the relay's refusal.
    fn reach(&self, flags: &str) -> String {
        let mut command = python("security_key.py");
        command.arg("reach").arg(self.relay.port.to_string()).arg(self.fleet.path("sk")).args([flags, "cam-1"]);
        let output = run(command.arg(self.fleet.path("sk-cert.pub")));
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    }
}

/// A fleet's certificate over the security key, at a relay: a port that a device exposes has no other guard.
#[test]
fn a_fleets_certificate_over_a_security_key_has_to_be_touched() {
    let there = OfFleet::new();
    let asleep = "cam-1 did not answer within 1 s";
    there.fleet.sally(&["visitor", "add", "FLEET", "sk.pub", "--name", "alice", "--for", "cam-*"]);
    assert_eq!(there.reach("0"), "denied");
    assert_eq!(there.reach("4"), "denied", "a PIN is no touch");
    assert_eq!(there.relay.await_events("auth_refused", 2)["reason"], "the security key was not touched");
    assert_eq!(there.reach(TOUCHED), asleep);
    let named = ["-n", "cam-*"];
    there.certify("visitor_ca", &[&named[..], &["-O", "no-touch-required"]].concat());
    assert_eq!(there.reach("0"), asleep, "the authority says that no touch is needed");
    there.certify("visitor_ca", &[&named[..], &["-O", "verify-required"]].concat());
    assert_eq!(there.reach(TOUCHED), "denied");
    assert_eq!(there.relay.await_events("auth_refused", 3)["reason"], "the security key did not verify its user");
    assert_eq!(there.reach(TOUCHED_AND_VERIFIED), asleep);
    // A device's key may be one too.
    there.certify("device_ca", &["-n", "cam-1"]);
    assert_eq!(there.reach("0"), "denied");
    assert_eq!(there.reach(TOUCHED), "not permitted", "a device visits nobody");
}
