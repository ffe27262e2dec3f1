//! A fleet on disk: what `sally fleet` makes is held against ssh-keygen, openssl and a real sshd.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sally::fleet::relay_dir::DeviceStanding;
use sally_proto::error::Fault;

use crate::support::*;

/// What a program of the machine says, on both streams, and whether it is content.
fn ask(program: &str, args: &[&str]) -> (bool, String) {
    let output = run(Command::new(program).args(args));
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

/// What ssh-keygen reads in a certificate, spaces squeezed.
fn certificate(file: &Path) -> String {
    let (good, said) = ask("ssh-keygen", &["-L", "-f", file.to_str().unwrap()]);
    assert!(good, "{said}");
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

#[test]
fn a_new_fleet_keeps_its_authorities_to_itself() {
    let fleet = Fleet::new();
    assert_eq!(mode(&fleet.path("FLEET")), 0o700);
    assert_eq!(mode(&fleet.path("FLEET/ca")), 0o700);
    for file in files(&fleet.path("FLEET")) {
        let private = text(&fs::read(&file).unwrap()).contains("PRIVATE KEY-----");
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(!private || mode(&file) == 0o600, "{}", file.display());
        assert!(!file.starts_with(fleet.path("FLEET/relay")) || !name.contains("_ca") || !private, "{}", file.display());
    }
    // Four authorities, all of them different keys.
    let keys = ["device_ca", "host_ca", "visitor_ca"]
        .map(|name| ask("ssh-keygen", &["-lf", fleet.path(&format!("FLEET/ca/{name}")).to_str().unwrap()]).1);
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2], "{keys:?}");
    let relay = certificate(&fleet.path("FLEET/relay/host_key-cert.pub"));
    assert!(relay.contains("host certificate") && relay.contains("Principals: relay.example.com Critical Options: (none)"), "{relay}");
}

#[test]
fn a_fleet_is_never_made_over_another() {
    let fleet = Fleet::new();
    let before = fs::read(fleet.path("FLEET/ca/device_ca")).unwrap();
    let init = ["init", "FLEET", "--relay", "r:22", "--broker", "mqtts://b"];
    assert_eq!(fleet.refused(&init), (Some(73), "Already there: FLEET".into()));
    assert_eq!(fs::read(fleet.path("FLEET/ca/device_ca")).unwrap(), before);
    // And half of one is none.
    fs::create_dir(fleet.path("shut")).unwrap();
    fs::set_permissions(fleet.path("shut"), fs::Permissions::from_mode(0o500)).unwrap();
    let mut inside = fleet.command(&["init", "shut/FLEET", "--relay", "r:22", "--broker", "mqtts://b"]);
    inside = without("-dac_override,-dac_read_search", &inside);
    let output = run(inside.current_dir(fleet.path(".")));
    assert_eq!(output.status.code(), Some(73), "{}", text(&output.stderr));
    assert_eq!(fs::read_dir(fleet.path("shut")).unwrap().count(), 0);
}

#[test]
fn a_bundle_holds_what_one_device_needs() {
    let fleet = Fleet::new();
    let bundle = fleet.add("Cam-17");
    let device = certificate(&bundle.join("device_key-cert.pub"));
    assert!(device.contains("user certificate") && device.contains("Principals: cam-17 Critical"), "{device}");
    assert!(device.ends_with("Extensions: permit-port-forwarding"), "{device}");
    let host = certificate(&bundle.join("ssh_host_key-cert.pub"));
    assert!(host.contains("host certificate") && host.contains("Principals: cam-17 Critical"), "{host}");
    for file in files(&bundle) {
        let private = text(&fs::read(&file).unwrap()).contains("PRIVATE KEY-----");
        assert_eq!(mode(&file) == 0o600, private, "{}", file.display());
    }
    let agent = fs::read_to_string(bundle.join("agent.toml")).unwrap();
    assert!(agent.contains("\nid = \"cam-17\"\n") && agent.contains("\nrelay = [\"relay.example.com:2222\"]\n"), "{agent}");
    let known = fs::read_to_string(bundle.join("known_hosts")).unwrap();
    assert!(known.starts_with("@cert-authority [relay.example.com]:2222,relay.example.com ssh-ed25519 "), "{known}");
    let listed = fs::read_to_string(fleet.path("FLEET/relay/devices")).unwrap();
    assert_eq!(listed, "{\"v\":1,\"id\":\"cam-17\",\"serial\":2,\"state\":\"active\"}\n");
}

#[test]
fn openssl_takes_the_tls_certificates_for_what_they_are() {
    let fleet = Fleet::new();
    let bundle = fleet.add("cam-17");
    let authority = fleet.path("FLEET/relay/tls_ca.pem");
    let verify = |purpose: &str, file: &Path| {
        ask("openssl", &["verify", "-x509_strict", "-purpose", purpose, "-CAfile", authority.to_str().unwrap(), file.to_str().unwrap()])
    };
    let (device, relay) = (bundle.join("tls.pem"), fleet.path("FLEET/relay/tls.pem"));
    assert!(verify("sslclient", &device).0, "{}", verify("sslclient", &device).1);
    assert!(!verify("sslserver", &device).0, "a device is no server");
    assert!(verify("sslserver", &relay).0 && verify("sslclient", &relay).0, "{}", verify("sslserver", &relay).1);
    let shown = ask("openssl", &["x509", "-noout", "-subject", "-ext", "subjectAltName", "-in", relay.to_str().unwrap()]).1;
    let names = ["CN = sally.relay", "DNS:relay.example.com", "DNS:broker.example.com"];
    assert!(names.iter().all(|name| shown.contains(name)), "{shown}");
    let shown = ask("openssl", &["x509", "-noout", "-subject", "-serial", "-enddate", "-in", device.to_str().unwrap()]).1;
    assert!(shown.contains("CN = cam-17") && shown.contains("serial=02") && shown.contains("9999"), "{shown}");
    let text = ask(
        "openssl",
        &["crl", "-noout", "-text", "-CAfile", authority.to_str().unwrap(), "-in", fleet.path("FLEET/relay/tls.crl").to_str().unwrap()],
    )
    .1;
    assert!(text.contains("verify OK") && text.contains("No Revoked Certificates"), "{text}");
}

#[test]
fn a_device_may_keep_its_own_host_key() {
    let fleet = Fleet::new();
    let key = fleet.home.key("ssh_host_rsa_key", "rsa");
    fleet.sally(&["add", "FLEET", "cam-17", "--out", "out", "--host-key", "ssh_host_rsa_key.pub"]);
    let host = certificate(&fleet.path("out/ssh_host_key-cert.pub"));
    let fingerprint = ask("ssh-keygen", &["-lf", key.to_str().unwrap()]).1.split(' ').nth(1).unwrap().to_owned();
    assert!(host.contains(&fingerprint) && host.contains("ssh-rsa-cert"), "{host}");
    assert!(!fleet.path("out/ssh_host_key").exists());
    assert!(!fs::read_to_string(fleet.path("out/sshd_config.d/sally.conf")).unwrap().contains("\nHostKey "));
    // Nobody's private key is asked for.
    let (status, said) = fleet.refused(&["add", "FLEET", "cam-18", "--out", "out2", "--host-key", "ssh_host_rsa_key"]);
    assert!(status == Some(78) && said.contains("it is a private key"), "{said}");
    assert!(!fleet.path("out2").exists());
}

#[test]
fn a_device_is_added_once_and_a_new_bundle_ends_the_old_one() {
    let fleet = Fleet::new();
    fleet.add("cam-17");
    assert_eq!(fleet.refused(&["add", "FLEET", "cam-17", "--out", "again"]), (Some(73), "Already there: cam-17".into()));
    assert_eq!(fleet.refused(&["add", "FLEET", "cam-18", "--out", "cam-17"]), (Some(73), "Already there: cam-17".into()));
    fleet.sally(&["add", "FLEET", "cam-17", "--out", "again", "--replace"]);
    let states: Vec<_> = fleet.list().iter().map(|entry| (entry["name"].as_str().unwrap().to_owned(), entry["state"].clone())).collect();
    assert_eq!(states, [("sally.relay".into(), "valid".into()), ("cam-17".into(), "revoked".into()), ("cam-17".into(), "valid".into())]);
    let known = fleet.relay_dir().unwrap().known;
    assert_eq!(known.values().map(|device| (device.serial, device.state)).collect::<Vec<_>>(), [(3, DeviceStanding::Active)]);
    let listed = |folder: &str| {
        let (krl, file) = (fleet.path("FLEET/relay/revoked"), fleet.path(folder).join("device_key-cert.pub"));
        ask("ssh-keygen", &["-Q", "-f", krl.to_str().unwrap(), file.to_str().unwrap()]).1.contains("REVOKED")
    };
    assert!(listed("cam-17") && !listed("again"));
}

#[test]
fn many_at_once_get_numbers_of_their_own() {
    let fleet = Fleet::new();
    let children: Vec<_> = (0..8)
        .map(|number| {
            let (id, out) = (format!("cam-{number}"), format!("out-{number}"));
            fleet.command(&["add", "FLEET", &id, "--out", &out]).stderr(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(wait(&mut child).success());
    }
    let mut serials: Vec<_> = fleet.list().iter().map(|entry| entry["serial"].as_u64().unwrap()).collect();
    serials.dedup();
    assert_eq!(serials, (1..=9).collect::<Vec<_>>());
    assert_eq!(fleet.relay_dir().unwrap().known.len(), 8);
}

#[test]
fn a_visitor_gets_a_certificate_and_a_line() {
    let fleet = Fleet::new();
    fs::copy(fleet.path("id.pub"), fleet.path("alice.pub")).unwrap();
    let said = fleet.sally(&["visitor", "add", "FLEET", "alice.pub", "--for", "cam-*", "--for", "Door-1", "--valid", "7d"]);
    assert!(said.starts_with("@cert-authority [relay.example.com]:2222,relay.example.com,cam-*,door-1 ssh-ed25519 "), "{said}");
    let made = certificate(&fleet.path("alice-cert.pub"));
    assert!(
        made.contains("user certificate") && made.contains("Key ID: \"alice\"") && made.contains("Principals: cam-* door-1 Critical"),
        "{made}"
    );
    assert!(made.contains("permit-pty") && made.contains("permit-port-forwarding") && !made.contains("X11"), "{made}");
    let entry = &fleet.list()[1];
    assert_eq!((entry["name"].as_str(), entry["for"].as_array().unwrap().len()), (Some("alice"), 2));
    assert_eq!(entry["until"].as_u64().unwrap() - entry["since"].as_u64().unwrap(), 7 * 86_400);
    // Tomorrow's takes the place of today's.
    fleet.sally(&["visitor", "add", "FLEET", "alice.pub", "--for", "*"]);
    assert!(certificate(&fleet.path("alice-cert.pub")).contains("Principals: * Critical"));
    for bad in [["--for", "cam.*"], ["--for", "$(id)"], ["--for", ""]] {
        assert_eq!(fleet.refused(&["visitor", "add", "FLEET", "alice.pub", bad[0], bad[1]]).0, Some(2), "{bad:?}");
    }
}

#[test]
fn whoever_is_revoked_is_on_both_lists() {
    let fleet = Fleet::new();
    let (bundle, other) = (fleet.add("cam-17"), fleet.add("cam-18"));
    fs::copy(fleet.path("id.pub"), fleet.path("alice.pub")).unwrap();
    fleet.sally(&["visitor", "add", "FLEET", "alice.pub", "--for", "*"]);
    let krl = fleet.path("FLEET/relay/revoked");
    let revoked = |file: &Path| ask("ssh-keygen", &["-Q", "-f", krl.to_str().unwrap(), file.to_str().unwrap()]).1.contains("REVOKED");
    let certificates = [bundle.join("device_key-cert.pub"), bundle.join("ssh_host_key-cert.pub"), fleet.path("alice-cert.pub")];
    assert!(certificates.iter().all(|file| !revoked(file)));
    fleet.sally(&["revoke", "FLEET", "cam-17"]);
    assert!(revoked(&certificates[0]) && revoked(&certificates[1]) && !revoked(&certificates[2]));
    assert!(!revoked(&other.join("device_key-cert.pub")) && !revoked(&other.join("ssh_host_key-cert.pub")));
    let (authority, crl) = (fleet.path("FLEET/relay/tls_ca.pem"), fleet.path("FLEET/relay/tls.crl"));
    let verify = |file: PathBuf| {
        ask(
            "openssl",
            &["verify", "-crl_check", "-CAfile", authority.to_str().unwrap(), "-CRLfile", crl.to_str().unwrap(), file.to_str().unwrap()],
        )
    };
    let (good, said) = verify(bundle.join("tls.pem"));
    assert!(!good && said.contains("certificate revoked"), "{said}");
    assert!(verify(other.join("tls.pem")).0);
    assert!(verify(fleet.path("FLEET/relay/tls.pem")).0);
    fleet.sally(&["revoke", "FLEET", "--visitor", "alice"]);
    assert!(revoked(&certificates[2]) && revoked(&certificates[0]), "an old entry stays");
    assert_eq!(fleet.refused(&["revoke", "FLEET", "--visitor", "bob"]), (Some(78), "Not in the fleet: bob".into()));
    assert_eq!(fleet.refused(&["revoke", "FLEET", "--serial", "1"]), (Some(78), "Not in the fleet: number 1".into()));
    let dir = fleet.relay_dir().unwrap();
    assert_eq!(dir.known.values().map(|device| device.state).collect::<Vec<_>>(), [DeviceStanding::Revoked, DeviceStanding::Active]);
    // Taken in again, it is a new device.
    fleet.sally(&["add", "FLEET", "cam-17", "--out", "back"]);
    assert!(!revoked(&fleet.path("back/device_key-cert.pub")));
}

#[test]
fn the_wake_key_is_rotated_in_two_steps() {
    let fleet = Fleet::new();
    let pinned = || fs::read_to_string(fleet.path("FLEET/relay/wake.pub")).unwrap();
    let first = pinned();
    assert_eq!(fleet.refused(&["rotate-wake", "FLEET", "--retire"]).0, Some(2));
    fleet.sally(&["rotate-wake", "FLEET"]);
    let both = pinned();
    assert!(both.starts_with(&first) && both.lines().count() == 2);
    assert_eq!(fleet.refused(&["rotate-wake", "FLEET"]).0, Some(2));
    // New bundles have both; the relay signs with the first until it is retired.
    assert_eq!(fs::read_to_string(fleet.add("cam-17").join("wake.pub")).unwrap(), both);
    let kid = || fleet.relay_dir().unwrap().wake_key.kid().to_string();
    let old = kid();
    fleet.sally(&["rotate-wake", "FLEET", "--retire"]);
    assert_eq!(pinned(), both.lines().last().unwrap().to_owned() + "\n");
    assert!(kid() != old);
}

#[test]
fn a_relay_takes_its_folder_as_it_was_made() {
    let fleet = Fleet::new();
    fleet.add("cam-17");
    fleet.sally(&["rotate-wake", "FLEET"]);
    let dir = fleet.relay_dir().unwrap();
    let fingerprint = ask("ssh-keygen", &["-lf", fleet.path("FLEET/relay/host_key.pub").to_str().unwrap()]).1;
    assert!(fingerprint.contains(&dir.host_fingerprint().to_string()), "{fingerprint}");
}

#[test]
fn a_relay_refuses_an_authoritys_private_key_whatever_it_is_called() {
    for (from, to) in [
        ("ca/device_ca", "relay/device_ca"),
        ("ca/visitor_ca", "relay/host_key"),
        ("ca/host_ca", "relay/wake_key.next"),
        ("ca/tls_ca.key", "relay/tls.key"),
        ("ca/tls_ca.key", "relay/backup/x"),
        ("../id", "relay/somebody"),
    ] {
        let fleet = Fleet::new();
        let target = fleet.path("FLEET").join(to);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(fleet.path("FLEET").join(from), &target).unwrap();
        let fault = fleet.relay_dir().unwrap_err();
        assert_eq!(fault, Fault::AuthorityExposed { file: target.display().to_string() }, "{from} as {to}");
    }
}

#[test]
fn a_relay_refuses_one_authority_in_two_roles() {
    let fleet = Fleet::new();
    let public = |name: &str| fleet.path(&format!("FLEET/relay/{name}_ca.pub"));
    let both = fs::read_to_string(public("visitor")).unwrap() + &fs::read_to_string(public("device")).unwrap();
    fs::write(public("device"), both).unwrap();
    let fault = fleet.relay_dir().unwrap_err();
    assert!(matches!(&fault, Fault::TwoRoles { one, other, .. } if one == "device_ca.pub" && other == "visitor_ca.pub"), "{fault}");
}

#[test]
fn a_relay_refuses_what_is_missing_or_damaged() {
    for file in ["fleet.toml", "revoked", "host_key", "host_key-cert.pub", "wake_key", "devices", "visitor_ca.pub", "tls_ca.pem"] {
        let fleet = Fleet::new();
        fleet.add("cam-17");
        let path = fleet.path("FLEET/relay").join(file);
        fs::write(&path, "nonsense\n").unwrap();
        let damaged = fleet.relay_dir();
        fs::remove_file(&path).unwrap();
        let missing = fleet.relay_dir();
        // The TLS authority is for the broker's side to read.
        for fault in [damaged.err().filter(|_| file != "tls_ca.pem"), missing.err()].into_iter().flatten() {
            assert!(fault.to_string().contains(file), "{file}: {fault}");
        }
        assert!(fleet.relay_dir().is_err(), "{file}");
    }
    // A certificate for another role, in the relay's place.
    let fleet = Fleet::new();
    let bundle = fleet.add("cam-17");
    fs::copy(bundle.join("device_key"), fleet.path("FLEET/relay/host_key")).unwrap();
    fs::copy(bundle.join("device_key-cert.pub"), fleet.path("FLEET/relay/host_key-cert.pub")).unwrap();
    assert!(fleet.relay_dir().unwrap_err().to_string().contains("not a host's certificate"));
}

#[test]
fn whom_the_relay_lets_pass_the_devices_sshd_lets_in() {
    let fleet = Fleet::new();
    let device = Device::start(&fleet, "cam-17", &[]);
    let mut known = String::new();
    for (name, pattern, admitted) in [
        ("alice", "cam-*", true),
        ("bob", "door-*", false),
        ("carol", "cam-1?", true),
        ("dave", "cam-17", true),
        ("erin", "cam-1", false),
        ("frank", "*", true),
    ] {
        fleet.home.key(name, "ed25519");
        known += &fleet.sally(&["visitor", "add", "FLEET", &format!("{name}.pub"), "--for", pattern]);
        fleet.home.write("known_hosts", known.replace("door-*", "door-*,cam-17").replace("cam-1 ", "cam-1,cam-17 "));
        let (entered, said) = device.log_in(&fleet, name, "cam-17");
        assert_eq!(entered, admitted, "{name}, for {pattern}: {said}");
        assert!(admitted || said.contains("Permission denied"), "{said}");
        // The relay decides the same by the same certificate.
        let dir = fleet.relay_dir().unwrap();
        let certificate = ssh_key::Certificate::from_openssh(fleet.home.read(&format!("{name}-cert.pub")).trim()).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let visitor = dir.visitors.visitor(&certificate, &dir.krl, None, now).unwrap();
        assert_eq!(visitor.may_reach(&"cam-17".parse().unwrap()), admitted, "{name}");
    }
    // A key without a certificate is nobody; the device's own certificate opens no shell.
    fleet.home.key("mallory", "ed25519");
    assert!(!device.log_in(&fleet, "mallory", "cam-17").0);
    let own = device.folder.path().join("sally");
    for file in ["device_key", "device_key.pub", "device_key-cert.pub"] {
        fs::copy(own.join(file), fleet.path(file)).unwrap();
    }
    assert!(!device.log_in(&fleet, "device_key", "cam-17").0);
    // Under another device's name the host key isn't believed.
    let (entered, said) = device.log_in(&fleet, "alice", "cam-18");
    assert!(!entered && said.contains("Host key verification failed"), "{said}");
    // Revoked, and the list copied onto the device.
    fleet.sally(&["revoke", "FLEET", "--visitor", "alice"]);
    fs::copy(fleet.path("FLEET/relay/revoked"), own.join("revoked")).unwrap();
    assert!(!device.log_in(&fleet, "alice", "cam-17").0);
    assert!(device.log_in(&fleet, "frank", "cam-17").0);
    // A list that is gone lets nobody in.
    fs::remove_file(own.join("revoked")).unwrap();
    assert!(!device.log_in(&fleet, "frank", "cam-17").0);
    let mut device = device;
    assert!(device.sshd.child.try_wait().unwrap().is_none());
}
