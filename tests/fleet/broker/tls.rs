//! Under TLS: the certificate says who somebody is.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SerialNumber};

use super::*;

/// A fleet with cam-17 in it, and a listener for it.
struct Fleet {
    home: Home,
    listener: Listener,
}

impl Fleet {
    fn new() -> Self {
        let home = Home::new();
        fleet(&home, &["init", "FLEET", "--relay", "localhost:2222", "--broker", "mqtts://localhost"]);
        fleet(&home, &["add", "FLEET", "cam-17", "--out", "cam-17"]);
        let listener = Listener::start(ClientIdentification::Certificates(home.path("FLEET/relay")), 0, BrokerLimits::default());
        Self { home, listener }
    }

    /// A stock client with the certificate and key in a folder.
    fn mosquitto(&self, name: &str, folder: &Path, id: &str) -> Command {
        let mut command = stock(name);
        let file = |name: &str| folder.join(name);
        command.args(["-h", "localhost", "-p", &self.listener.address.port().to_string(), "-q", "1", "-d", "-i", id, "--cafile"]);
        command.arg(self.home.path("cam-17/tls_ca.pem")).arg("--cert").arg(file("tls.pem")).arg("--key").arg(file("tls.key"));
        command
    }

    fn device(&self) -> PathBuf {
        self.home.path("cam-17")
    }

    fn relay_folder(&self) -> PathBuf {
        self.home.path("FLEET/relay")
    }

    /// A certificate of this name by an authority's key, in a folder of its own.
    fn certificate(&self, folder: &str, name: Option<&str>, authority: &KeyPair) -> PathBuf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.serial_number = Some(SerialNumber::from(77));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let mut issuer = CertificateParams::default();
        issuer.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        issuer.distinguished_name = DistinguishedName::new();
        issuer.distinguished_name.push(DnType::CommonName, "Sally fleet");
        let certificate = params.signed_by(&key, &Issuer::new(issuer, authority)).unwrap();
        fs::create_dir_all(self.home.path(folder)).unwrap();
        self.home.write(&format!("{folder}/tls.pem"), certificate.pem());
        self.home.write(&format!("{folder}/tls.key"), key.serialize_pem());
        self.home.path(folder)
    }

    fn authority(&self) -> KeyPair {
        KeyPair::from_pem(&self.home.read("FLEET/ca/tls_ca.key")).unwrap()
    }
}

fn fleet(home: &Home, args: &[&str]) {
    let output = run(Command::new(sally()).arg("fleet").args(args).current_dir(home.path(".")));
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
}

#[test]
fn a_certificate_s_name_decides_the_topics_whatever_the_client_says() {
    let fleet = Fleet::new();
    let mut relay = fleet.listener.relay(&[STATUS, ACK]);
    let will = ["--will-topic", STATUS, "--will-payload", "offline", "--will-retain"];
    let mut sub = fleet.mosquitto("mosquitto_sub", &fleet.device(), "somebody else");
    let mut device = Mosquitto::start(sub.args(["-t", WAKE, "-t", "sally/v1/cam-18/wake"]).args(will));
    device.await_line("Subscribed (mid: 1): 1, 128");
    relay.wake("wake up");
    assert_eq!(device.await_line("wake up"), "wake up");
    // The same certificate again: one connection each.
    let published = run(fleet.mosquitto("mosquitto_pub", &fleet.device(), "another").args(["-t", STATUS, "-m", "online", "-r"]));
    assert!(published.status.success(), "{}", text(&published.stderr));
    assert_eq!([relay.message(), relay.message()], [said(STATUS, "offline"), said(STATUS, "online")]);
    let forged = run(fleet.mosquitto("mosquitto_pub", &fleet.device(), "cam-18").args(["-t", "sally/v1/cam-18/status", "-m", "x"]));
    assert!(!forged.status.success());
    fleet.listener.await_count("forbidden", 1);
}

#[test]
fn a_relay_s_certificate_wakes_and_hears_from_another_process() {
    let fleet = Fleet::new();
    let mut sub = fleet.mosquitto("mosquitto_sub", &fleet.device(), "cam-17");
    let mut device = Mosquitto::start(sub.args(["-t", WAKE]));
    device.await_line("Subscribed");
    let mut sub = fleet.mosquitto("mosquitto_sub", &fleet.relay_folder(), "relay-1");
    let mut relay = Mosquitto::start(sub.args(["-t", ACK, "-t", STATUS, "-t", WAKE]));
    relay.await_line("Subscribed (mid: 1): 1, 1, 128");
    // Another relay, at the same time.
    let woken = run(fleet.mosquitto("mosquitto_pub", &fleet.relay_folder(), "relay-2").args(["-t", WAKE, "-m", "wake up"]));
    assert!(woken.status.success(), "{}", text(&woken.stderr));
    device.await_line("wake up");
    let answered = run(fleet.mosquitto("mosquitto_pub", &fleet.device(), "cam-17").args(["-t", ACK, "-m", "here"]));
    assert!(answered.status.success(), "{}", text(&answered.stderr));
    relay.await_line("here");
}

#[test]
fn who_has_no_certificate_of_the_fleet_s_for_a_device_is_refused() {
    let fleet = Fleet::new();
    let (own, foreign) = (fleet.authority(), KeyPair::generate().unwrap());
    // As it should be, so that the refusals below are for their reasons.
    let good = fleet.certificate("good", Some("cam-99"), &own);
    let mut sub = fleet.mosquitto("mosquitto_sub", &good, "x");
    Mosquitto::start(sub.args(["-t", "sally/v1/cam-99/wake"])).await_line("Subscribed (mid: 1): 1");
    for (folder, name, authority, why) in [
        ("nameless", None, &own, "no_name"),
        ("capital", Some("Cam-17"), &own, "nobody"),
        ("wild", Some("#"), &own, "nobody"),
        ("relays", Some("sally.relays"), &own, "nobody"),
        ("foreign", Some("cam-17"), &foreign, "tls"),
        ("forged", Some("sally.relay"), &foreign, "tls"),
    ] {
        let before = fleet.listener.counts().refused.get(why).copied().unwrap_or_default();
        let folder = fleet.certificate(folder, name, authority);
        let refused = run(fleet.mosquitto("mosquitto_pub", &folder, "cam-17").args(["-t", STATUS, "-m", "x"]));
        assert!(!refused.status.success(), "{name:?}");
        fleet.listener.await_count(why, before + 1);
    }
    // And one who shows none at all.
    let mut command = stock("mosquitto_pub");
    command.args(["-h", "localhost", "-p", &fleet.listener.address.port().to_string(), "-t", STATUS, "-m", "x", "--cafile"]);
    assert!(!run(command.arg(fleet.device().join("tls_ca.pem"))).status.success());
    assert!(fleet.listener.relay(&[]).events.try_recv().is_err());
}

#[test]
fn a_revoked_device_is_dropped_at_once_and_stays_out() {
    let fleet_ = Fleet::new();
    let mut relay = fleet_.listener.relay(&[STATUS]);
    let will = ["--will-topic", STATUS, "--will-payload", "offline", "--will-retain"];
    let mut sub = fleet_.mosquitto("mosquitto_sub", &fleet_.device(), "cam-17");
    Mosquitto::start(sub.args(["-t", WAKE]).args(will)).await_line("Subscribed");
    let mut sub = fleet_.mosquitto("mosquitto_sub", &fleet_.device(), "cam-17");
    let mut device = Mosquitto::start(sub.args(["-t", WAKE]).args(will));
    device.await_line("Subscribed");
    relay.message();
    fleet(&fleet_.home, &["revoke", "FLEET", "cam-17"]);
    // Nobody has to tell the listener.
    fleet_.listener.await_count("revoked", 1);
    assert_eq!(relay.message(), said(STATUS, "offline"));
    let refused = run(fleet_.mosquitto("mosquitto_pub", &fleet_.device(), "cam-17").args(["-t", STATUS, "-m", "x"]));
    assert!(!refused.status.success());
    // A new bundle is as good as the first.
    fleet(&fleet_.home, &["add", "FLEET", "cam-17", "--out", "again"]);
    fleet_.listener.runtime.block_on(fleet_.listener.broker().reload()).unwrap();
    let back = run(fleet_.mosquitto("mosquitto_pub", &fleet_.home.path("again"), "cam-17").args(["-t", STATUS, "-m", "online"]));
    assert!(back.status.success(), "{}", text(&back.stderr));
}

#[test]
fn without_a_revocation_list_nobody_new_is_let_in() {
    let fleet = Fleet::new();
    let mut sub = fleet.mosquitto("mosquitto_sub", &fleet.device(), "cam-17");
    let mut device = Mosquitto::start(sub.args(["-t", WAKE]));
    device.await_line("Subscribed");
    let list = fleet.relay_folder().join("tls.crl");
    let (good, relay) = (fs::read(&list).unwrap(), fleet.listener.relay(&[]));
    for damaged in [None, Some("damaged"), Some("")] {
        match damaged {
            None => fs::remove_file(&list).unwrap(),
            Some(content) => fs::write(&list, content).unwrap(),
        }
        let fault = fleet.listener.runtime.block_on(fleet.listener.broker().reload()).unwrap_err();
        assert_eq!(fault.exit_status(), 78, "{fault}");
        let refused = run(fleet.mosquitto("mosquitto_pub", &fleet.relay_folder(), "relay-1").args(["-t", WAKE, "-m", "x"]));
        assert!(!refused.status.success());
    }
    // Who is connected stays.
    relay.wake("wake up");
    device.await_line("wake up");
    fs::write(&list, good).unwrap();
    fleet.listener.runtime.block_on(fleet.listener.broker().reload()).unwrap();
    assert!(run(fleet.mosquitto("mosquitto_pub", &fleet.relay_folder(), "relay-1").args(["-t", WAKE, "-m", "x"])).status.success());
}
