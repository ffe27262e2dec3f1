//! Keys and certificates that are refused whatever else lets them in: `--revoked-keys`.

use std::path::{Path, PathBuf};

use crate::support::*;

/// Runs ssh-keygen.
fn keygen(arguments: &[&str]) {
    let made = run(tool("ssh-keygen", "openssh-client").arg("-q").args(arguments));
    assert!(made.status.success(), "{arguments:?} {}", text(&made.stderr));
}

/// A certificate for the key NAME, as `me`, with this serial number.
fn certify(home: &Home, name: &str, serial: u64) {
    let public = home.path(format!("{name}.pub"));
    let ca = home.path("ca");
    keygen(&["-s", ca.to_str().unwrap(), "-I", name, "-n", "me", "-z", &serial.to_string(), public.to_str().unwrap()]);
}

/// A revocation list of ssh-keygen's: what its own format says, under the authority.
fn krl(home: &Home, name: &str, says: &str) -> PathBuf {
    let (list, spec) = (home.path(name), home.write("spec", says));
    keygen(&["-k", "-f", list.to_str().unwrap(), "-s", home.path("ca.pub").to_str().unwrap(), spec.to_str().unwrap()]);
    list
}

/// Whether a key, with its certificate where there is one, comes in.
fn enters(home: &Home, port: u16, key: &str) -> bool {
    let key = home.path(key);
    let visit = run(home.ssh_with(port, &["-oUser=tunuser", "-oLogLevel=INFO", "-i", key.to_str().unwrap()]).arg("echo in"));
    let (said, told) = (text(&visit.stdout), text(&visit.stderr));
    let entered = said == "in\n" || told.contains("This account can only be used for forwarding");
    assert!(entered || told.contains("Permission denied (publickey)"), "{said}{told}");
    entered
}

#[test]
fn a_revoked_key_certificate_or_authority_is_refused() {
    let home = Home::new();
    home.key("ca", "ed25519");
    for (name, serial) in [("seven", 7), ("eight", 8)] {
        home.key(name, "ed25519");
        certify(&home, name, serial);
    }
    let keys = format!("{}cert-authority,principals=\"me\" {}", home.read("id.pub"), home.read("ca.pub"));
    let keys = home.write("keys", keys);
    let lists = [
        (krl(&home, "by-serial", "serial: 7\n"), ["id", "eight"], vec!["seven"]),
        (krl(&home, "by-id", "id: eight\n"), ["id", "seven"], vec!["eight"]),
        (krl(&home, "by-key", &format!("key: {}", home.read("id.pub"))), ["seven", "eight"], vec!["id"]),
        (krl(&home, "by-hash", &format!("sha256: {}", home.read("seven.pub"))), ["id", "eight"], vec!["seven"]),
        (krl(&home, "by-old-hash", &format!("sha1: {}", home.read("eight.pub"))), ["id", "seven"], vec!["eight"]),
        (home.write("authority", home.read("ca.pub")), ["id", "id"], vec!["seven", "eight"]),
        (home.write("keys-listed", format!("# gone\n{}{NEWER_KEY}\n", home.read("id.pub"))), ["seven", "eight"], vec!["id"]),
        (home.write("nothing", ""), ["seven", "id"], vec![]),
    ];
    for (number, (list, welcome, revoked)) in lists.iter().enumerate() {
        for (turn, name) in welcome.iter().enumerate() {
            let mut command = home.once_for(&keys);
            command.arg("--log").arg(home.path(format!("{number}-{turn}.cast"))).arg("--revoked-keys").arg(list);
            let server = Server::open(command);
            for name in revoked {
                assert!(!enters(&home, server.port, name), "{name} by {}", list.display());
            }
            assert!(enters(&home, server.port, name), "{name} by {}", list.display());
        }
    }
}

#[test]
fn a_list_that_can_not_be_relied_on_stops_the_start() {
    let home = Home::new();
    home.key("ca", "ed25519");
    let whole = std::fs::read(krl(&home, "whole", "serial: 1-100\nid: somebody\n")).unwrap();
    let unknown = [&whole[..], &[9, 0, 0, 0, 0]].concat();
    let hint = "\n  hint: make a revocation list with: ssh-keygen -k -f FILE KEY.pub...; or name a file of public keys, one per line\n";
    for (content, why) in [
        (None, "does not exist."),
        (Some(&whole[..whole.len() - 3]), "it is damaged"),
        (Some(&unknown[..]), "it has a section of a kind that isn't known (0x9)"),
        (Some(b"ssh-ed25519 AAAA\n"), "line 1: the key is damaged"),
        (Some(b"\n# whom?\nalice\n"), "line 3: `alice` is neither an option nor a key type"),
    ] {
        let list = home.path("list");
        if let Some(content) = content {
            home.write("list", content);
        }
        for mut command in [home.once(), home.relay(), home.jail("2022")] {
            let refused = run(command.arg("--revoked-keys").arg(&list));
            let expected = format!("Invalid list of revoked keys: {} ({why}){hint}", list.display());
            assert_eq!(refused.status.code(), Some(78));
            assert!(text(&refused.stderr).ends_with(&expected), "{} {expected}", text(&refused.stderr));
        }
    }
}

/// Replaces a file as ssh-keygen and editors do, at once.
fn replace(home: &Home, file: &Path, content: impl AsRef<[u8]>) {
    std::fs::rename(home.write("new", content), file).unwrap();
}

#[test]
fn a_key_that_is_revoked_while_a_relay_runs_goes_and_a_list_that_breaks_lets_nobody_new_in() {
    let home = Home::new();
    let list = home.write("revoked", "");
    let mut command = home.relay();
    let other = home.line("other", r#"permitlisten="cam-18:22""#);
    home.write("devices", [home.read("devices"), other].concat());
    command.arg("--revoked-keys").arg(&list);
    let (mut relay, mut device, _sshd) = connected(&home, command);
    let _other = home.hold(&relay, "other", "cam-18:22:127.0.0.1:1");
    relay.await_events("register", 2);
    replace(&home, &list, home.read("cam.pub"));
    device.await_stderr("this key is no longer permitted");
    assert_eq!(relay.await_events("release", 1)["slot"], "cam-17:22");
    let refused = run(&mut home.holding(&relay, "cam", "cam-17:22:127.0.0.1:1"));
    assert!(text(&refused.stderr).contains("Permission denied"), "{}", text(&refused.stderr));
    assert_eq!(relay.await_events("auth_refused", 1)["reason"], "the key is revoked");
    // Who is in stays, and nobody else comes in, while it can't be known who may.
    replace(&home, &list, "nonsense\n");
    relay.await_stderr(&format!("Invalid list of revoked keys: {} (line 1: ", list.display()));
    assert!(relay.await_events("keys_failed", 1)["reason"].as_str().unwrap().contains("line 1: "));
    let who = |relay: &Relay| run(home.via(relay, "alice").args(["relay", "whoami"])).status.success();
    assert!(!who(&relay));
    assert_eq!(relay.await_events("auth_refused", 2)["reason"], "the list of revoked keys can't be read");
    // Keys that are read again meanwhile are judged by the last good list.
    relay.signal("HUP");
    relay.await_events("keys", 2);
    assert_eq!(relay.events("release").len(), 1);
    std::fs::remove_file(&list).unwrap();
    assert!(!who(&relay), "gone is not empty");
    replace(&home, &list, "");
    until("everybody is let in again", || who(&relay).then_some(()));
    let _device = home.hold(&relay, "cam", "cam-17:22:127.0.0.1:1");
    relay.await_events("register", 3);
    assert_eq!(relay.events("release").len(), 1);
}

#[test]
fn a_jails_tunnel_ends_when_its_key_is_revoked() {
    let home = Home::new();
    let list = home.write("revoked", "");
    let port = free_port();
    let mut command = home.jail(&port.to_string());
    command.arg("--revoked-keys").arg(&list);
    let jail = Relay::start(&home, command);
    let mut tunnel = home.hold(&jail, "id", &format!("{port}:127.0.0.1:1"));
    jail.await_events("register", 1);
    home.write("revoked", home.read("id.pub"));
    jail.signal("HUP");
    tunnel.await_stderr("this key is no longer permitted");
    assert!(!enters(&home, jail.port, "id"));
}

/// Of a fleet's certificates, beside the fleet's own list.
#[test]
fn a_list_counts_for_a_fleets_visitors_too() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("revoked");
    std::fs::write(&list, "").unwrap();
    let live = Live::with(&["--revoked-keys", list.to_str().unwrap()]);
    let (_agent, _sshd) = live.device("cam-17");
    let mut visitor = Client::start(live.jump("cam-17").arg("echo in; cat"));
    visitor.await_line("in");
    let _open = visitor.take_stdin();
    std::fs::write(&list, live.fleet.home.read("alice.pub")).unwrap();
    let (status, _, said) = visitor.finish();
    assert!(status.code() == Some(255) && said.contains("this key is no longer permitted"), "{said}");
    let again = run(live.jump("cam-17").arg("true"));
    assert!(text(&again.stderr).contains("Permission denied (publickey)"), "{}", text(&again.stderr));
    assert_eq!(live.relay.await_events("auth_refused", 1)["reason"], "the certificate is revoked");
}
