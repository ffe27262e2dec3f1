//! Host keys of the operator's own: several, certified, in a format that isn't OpenSSH's.

use std::path::Path;
use std::process::Command;

use crate::support::*;

/// ssh that believes in nothing but what `hosts` says of a host named door.
fn believing(home: &Home, port: u16, hosts: &str, more: &[&str]) -> Command {
    let hosts = home.write("hosts", hosts);
    let known = format!("-oUserKnownHostsFile={}", hosts.display());
    let id = home.path("id");
    let strict =
        ["-oStrictHostKeyChecking=yes", "-oHostKeyAlias=door", "-oGlobalKnownHostsFile=/dev/null", &known, "-i", id.to_str().unwrap()];
    home.ssh_with(port, &[&strict, more].concat())
}

/// Runs ssh-keygen.
fn keygen(arguments: &[&str]) {
    let made = run(tool("ssh-keygen", "openssh-client").arg("-q").args(arguments));
    assert!(made.status.success(), "{arguments:?} {}", text(&made.stderr));
}

/// Certifies a host key as door's; the certificate lies beside it.
fn certify(home: &Home, key: &Path) {
    if !home.path("ca").exists() {
        home.key("ca", "ed25519");
    }
    let public = format!("{}.pub", key.display());
    keygen(&["-s", home.path("ca").to_str().unwrap(), "-h", "-I", "door", "-n", "door", &public]);
}

/// What a client of ours believes who knows the authority alone.
fn authority(home: &Home) -> String {
    format!("@cert-authority door {}", home.read("ca.pub"))
}

fn host_keys(home: &Home, kinds: &[&str]) -> Vec<String> {
    kinds.iter().flat_map(|kind| ["--host-key".to_owned(), home.key(&format!("host_{kind}"), kind).display().to_string()]).collect()
}

/// What stops a start: its status, the sentence and the hint.
fn refused(command: &mut Command) -> (Option<i32>, String) {
    let output = run(command);
    (output.status.code(), text(&output.stderr))
}

#[test]
fn a_client_that_knows_one_type_alone_sees_a_key_of_that_type_and_the_ed25519_one_is_announced_and_seals() {
    for (kind, algorithm) in [("rsa", "rsa-sha2-512"), ("ecdsa", "ecdsa-sha2-nistp256"), ("ed25519", "ssh-ed25519")] {
        let home = Home::new();
        let keys = host_keys(&home, &["rsa", "ed25519", "ecdsa"]);
        let mut server = home.open(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        let announced = home.read("host_ed25519.pub");
        assert!(announced.starts_with(&server.host_key), "{announced} {}", server.host_key);
        let hosts = format!("door {}", home.read(&format!("host_{kind}.pub")));
        let algorithms = format!("-oHostKeyAlgorithms={algorithm}");
        let visit = run(believing(&home, server.port, &hosts, &[&algorithms]).arg("echo in"));
        assert_eq!(text(&visit.stdout), "in\n", "{kind} {}", text(&visit.stderr));
        let (status, said) = server.wait();
        assert!(status.success() && said.contains("\nHost key: ssh-rsa ") && said.contains("\nHost key: ecdsa-sha2-nistp256 "), "{said}");
        home.assert_sealed(&server);
    }
}

#[test]
fn a_relay_and_a_jail_show_several_keys_too_and_name_them() {
    let home = Home::new();
    let keys = host_keys(&home, &["ecdsa", "rsa"]);
    for mut command in [home.relay(), home.jail("2022")] {
        command.args(&keys);
        let mut relay = Relay::start(&home, command);
        assert!(home.read("host_ecdsa.pub").starts_with(&relay.host_key), "the first, where none is Ed25519");
        relay.await_stderr("Host key: ssh-rsa ");
        for kind in ["ecdsa", "rsa"] {
            let hosts = format!("door {}", home.read(&format!("host_{kind}.pub")));
            let visit = run(believing(&home, relay.port, &hosts, &["-oUser=tunuser"]).arg("true"));
            assert!(!text(&visit.stderr).contains("Host key verification failed"), "{kind} {}", text(&visit.stderr));
        }
    }
    let again = home.key("again", "rsa");
    let (status, said) = refused(home.once().args(&keys).arg("--host-key").arg(again));
    assert_eq!(status, Some(78));
    assert!(said.contains("another host key of type ssh-rsa is named before it"), "{said}");
}

#[test]
fn a_certificate_beside_a_host_key_or_named_is_shown() {
    let home = Home::new();
    let key = home.key("host", "ed25519");
    certify(&home, &key);
    let elsewhere = home.path("elsewhere.pub");
    for beside in [true, false] {
        let mut command = home.once_to(&home.path(format!("visit-{beside}.cast")));
        command.arg("--host-key").arg(&key);
        if !beside {
            std::fs::rename(home.path("host-cert.pub"), &elsewhere).unwrap();
            command.arg("--host-cert").arg(&elsewhere);
        }
        let server = Server::open(command);
        let visit = run(believing(&home, server.port, &authority(&home), &[]).arg("echo in"));
        assert_eq!(text(&visit.stdout), "in\n", "beside: {beside} {}", text(&visit.stderr));
    }
    // Who knows the key and not the authority is served as well.
    let server = home.open(&["--host-key", key.to_str().unwrap(), "--host-cert", elsewhere.to_str().unwrap()]);
    let hosts = format!("door {}", home.read("host.pub"));
    assert_eq!(text(&run(believing(&home, server.port, &hosts, &[]).arg("echo in")).stdout), "in\n");
}

#[test]
fn certificates_of_several_keys_a_jails_and_a_kept_keys() {
    let home = Home::new();
    let keys = host_keys(&home, &["rsa", "ed25519"]);
    for kind in ["rsa", "ed25519"] {
        certify(&home, &home.path(format!("host_{kind}")));
    }
    let mut command = home.jail("2022");
    command.args(keys);
    let jail = Relay::start(&home, command);
    for algorithm in ["rsa-sha2-512-cert-v01@openssh.com", "ssh-ed25519-cert-v01@openssh.com"] {
        let algorithms = format!("-oHostKeyAlgorithms={algorithm}");
        let visit = run(believing(&home, jail.port, &authority(&home), &["-oUser=tunuser", &algorithms]).arg("true"));
        assert!(text(&visit.stderr).contains("This account can only be used for forwarding"), "{algorithm} {}", text(&visit.stderr));
    }
    // The key that a relay keeps is certified where it lies.
    let state = home.path("state");
    let kept = |home: &Home| {
        let mut command = home.relay();
        command.arg("--state").arg(&state);
        Relay::start(home, command)
    };
    let relay = kept(&home);
    home.write("state/ssh_host_ed25519_key.pub", &relay.host_key);
    drop(relay);
    certify(&home, &state.join("ssh_host_ed25519_key"));
    let relay = kept(&home);
    let alice = home.path("alice");
    let visit = run(believing(&home, relay.port, &authority(&home), &["-i", alice.to_str().unwrap()]).arg("whoami"));
    assert!(text(&visit.stdout).contains("visitor"), "{}", text(&visit.stderr));
}

#[test]
fn a_certificate_that_is_not_for_a_host_key_stops_the_start() {
    let home = Home::new();
    let (key, other) = (home.key("host", "ed25519"), home.key("other", "ed25519"));
    certify(&home, &other);
    let foreign = home.path("other-cert.pub");
    let once = |more: &[&Path]| {
        let mut command = home.once();
        command.arg("--host-key").arg(&key);
        for file in more {
            command.arg("--host-cert").arg(file);
        }
        refused(&mut command)
    };
    let hint = "\n  hint: make a certificate with: ssh-keygen -s CA -h -I NAME -n HOSTNAME,... FILE.pub\n";
    let (status, said) = once(&[&foreign]);
    assert_eq!(
        (status, said),
        (Some(78), format!("Invalid host certificate: {} (it is for none of the host keys){hint}", foreign.display()))
    );
    std::fs::copy(&foreign, home.path("host-cert.pub")).unwrap();
    let (status, said) = once(&[]);
    let beside = home.path("host-cert.pub");
    let expected = format!("Invalid host certificate: {} (it is for another key than the one beside it){hint}", beside.display());
    assert_eq!((status, said), (Some(78), expected));
    keygen(&["-s", home.path("ca").to_str().unwrap(), "-I", "me", "-n", "me", home.path("host.pub").to_str().unwrap()]);
    assert!(once(&[]).1.contains("it is a user's certificate"));
    std::fs::write(&beside, "ssh-ed25519-cert-v01@openssh.com AAAA").unwrap();
    assert_eq!(once(&[]).0, Some(78));
    std::fs::remove_file(&beside).unwrap();
    assert!(once(&[&home.path("nowhere")]).1.contains("nowhere (No such file or directory)"));
    let (status, said) = refused(home.once().arg("--host-cert").arg(&foreign));
    assert!(status == Some(78) && said.contains("it is for none of the host keys: name its key with --host-key"), "{said}");
}

#[test]
fn a_key_in_pem_is_named_as_such_and_the_hint_mends_it() {
    let home = Home::new();
    let file = home.path("pem");
    keygen(&["-t", "rsa", "-m", "PEM", "-N", "", "-f", file.to_str().unwrap()]);
    let pkcs8 = home.path("pkcs8");
    let mut openssl = tool("openssl", "openssl");
    assert!(run(openssl.args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"]).arg(&pkcs8)).status.success());
    assert!(Command::new("chmod").arg("600").arg(&pkcs8).status().unwrap().success());
    for file in [file, pkcs8] {
        let (status, said) = refused(home.once().arg("--host-key").arg(&file));
        let expected = format!(
            "Invalid host key: {} (it is in PEM, not in OpenSSH's own format)\n  hint: convert the file in place with: ssh-keygen -p -N '' -f FILE\n",
            file.display()
        );
        assert_eq!((status, said), (Some(78), expected));
        let mut at_a_relay = Command::new(sally());
        at_a_relay.args(["once", "--relay", "127.0.0.1:1", "--log", "/dev/null", "--identity"]).arg(&file);
        at_a_relay.arg("--authorized-keys").arg(home.path("id.pub"));
        let (_, said) = refused(&mut at_a_relay);
        assert!(said.contains("it is in PEM: convert it with ssh-keygen -p -N '' -f FILE"), "{said}");
        keygen(&["-p", "-N", "", "-f", file.to_str().unwrap()]);
        let mut command = home.once_to(&file.with_extension("cast"));
        command.arg("--host-key").arg(&file);
        let server = Server::open(command);
        assert_eq!(text(&run(home.ssh(&server).arg("echo in")).stdout), "in\n");
    }
}
