//! Where a relay's options and keys come from, and what its monitoring is shown.

use std::process::Command;

use rcgen::{CertificateParams, KeyPair};

use crate::support::*;

/// A certificate for localhost, which vouches for itself: `NAME.pem` and `NAME.key`.
fn certify(home: &Home, name: &str) {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    home.write(&format!("{name}.pem"), cert.pem());
    home.write(&format!("{name}.key"), key.serialize_pem());
}

/// What a monitoring system that believes this certificate is answered.
fn health(home: &Home, port: u16, believed: &str) -> Option<String> {
    let mut curl = tool("curl", "curl");
    curl.args(["-sS", "--noproxy", "*", "--cacert"]).arg(home.path(believed)).arg(format!("https://localhost:{port}/healthz"));
    let answer = run(&mut curl);
    answer.status.success().then(|| text(&answer.stdout))
}

#[test]
fn monitoring_is_answered_over_tls_with_the_certificate_of_the_moment() {
    let home = Home::new();
    certify(&home, "shown");
    certify(&home, "next");
    let (mut command, port) = (home.relay(), free_port());
    command.args(["--http", &format!("127.0.0.1:{port}"), "--http-cert"]).arg(home.path("shown.pem"));
    command.arg("--http-key").arg(home.path("shown.key"));
    let mut relay = Relay::start(&home, command);
    relay.await_stderr("Metrics and health on https://127.0.0.1:");
    home.write("believed.pem", home.read("shown.pem"));
    assert_eq!(health(&home, port, "believed.pem"), Some("ok\n".into()));
    assert_eq!(health(&home, port, "next.pem"), None);
    // Half a renewal leaves what was shown before.
    home.write("shown.pem", home.read("next.pem"));
    relay.signal("HUP");
    relay.await_stderr("Invalid TLS certificate or key: ");
    assert_eq!(health(&home, port, "believed.pem"), Some("ok\n".into()));
    home.write("shown.key", home.read("next.key"));
    relay.signal("HUP");
    until("the next one is shown", || health(&home, port, "next.pem"));
    assert_eq!(health(&home, port, "believed.pem"), None);
}

#[test]
fn a_key_that_is_not_the_certificates_stops_the_start() {
    let home = Home::new();
    certify(&home, "one");
    certify(&home, "other");
    let mut command = home.relay();
    command.args(["--http", "127.0.0.1:0", "--http-cert"]).arg(home.path("one.pem")).arg("--http-key").arg(home.path("other.key"));
    let refused = run(&mut command);
    assert_eq!(refused.status.code(), Some(78));
    assert!(text(&refused.stderr).contains("Invalid TLS certificate or key: "), "{}", text(&refused.stderr));
}

#[test]
fn a_relay_starts_from_a_file() {
    let home = Home::new();
    home.relay();
    let path = |name: &str| home.path(name).display().to_string();
    let file = format!(
        "visitors = [{:?}]\ndevices = {:?}\naudit = {:?}\nlisten = \"127.0.0.1:1\"\nalive-count = 5\n",
        path("visitors"),
        path("devices"),
        path("audit")
    );
    let file = home.write("relay.toml", file);
    let mut command = Command::new(sally());
    command.args(["relay", "--config"]).arg(&file).args(["--listen", "127.0.0.1:0"]);
    let (relay, _device, _sshd) = connected(&home, command);
    let visit = run(home.jump(&relay, "alice", "cam-17").arg("echo in"));
    assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
    home.write("relay.toml", home.read("relay.toml") + "vistors = \"x\"\n");
    let refused = run(Command::new(sally()).args(["relay", "--config"]).arg(&file));
    assert_eq!(refused.status.code(), Some(78));
    assert!(text(&refused.stderr).contains("vistors is not an option of sally relay"), "{}", text(&refused.stderr));
}

#[test]
fn a_github_users_keys_reach_what_the_option_says_and_nothing_else() {
    let home = Home::new();
    home.relay();
    let (mut server, port, _) = crate::once::sources::key_server(&home);
    home.write("visitors", home.line("alice", ""));
    let mut command = home.relay_of_files();
    command.args(["--github", "alice", "--keys-url", &format!("https://localhost:{port}/{{user}}.keys")]);
    let bare = run(&mut command);
    assert_eq!(bare.status.code(), Some(2), "{}", text(&bare.stderr));
    assert!(text(&bare.stderr).contains("--github-permitopen"), "{}", text(&bare.stderr));
    command.args(["--github-permitopen", "cam-*:22"]).env("SSL_CERT_FILE", home.path("root.pem"));
    for name in ["https_proxy", "HTTPS_PROXY"] {
        command.env_remove(name);
    }
    let relay = Relay::start(&home, command);
    server.await_line("GET /alice.keys");
    let whoami = run(home.via(&relay, "id").args(["relay", "whoami"]));
    assert!(text(&whoami.stdout).contains("may reach: cam-*:22\n"), "{}{}", text(&whoami.stdout), text(&whoami.stderr));
    let refused = |key: &str, target: &str| text(&run(home.via(&relay, key).args(["-W", target, "relay"])).stderr);
    assert!(refused("id", "cam-17:22").contains("cam-17 is not connected"));
    assert!(refused("id", "cam-17:80").contains("not permitted") && refused("id", "nas:22").contains("not permitted"));
}
