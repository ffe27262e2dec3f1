//! What is spoken: by the word of ssh-audit, and of clients that insist.

use std::path::Path;
use std::process::Command;

use crate::support::*;

/// What ssh-audit finds wrong: its exit status, and the lines that are a warning or a failure.
fn audit(options: &[&str]) -> (Option<i32>, Vec<String>) {
    let home = Home::new();
    let server = home.open(options);
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-venv/bin/ssh-audit");
    let output = run(tool(program.to_str().unwrap(), "see tests/requirements.txt").args([
        "--no-colors",
        "--port",
        &server.port.to_string(),
        "127.0.0.1",
    ]));
    let said = text(&output.stdout);
    assert!(said.contains("SSH-2.0-Sally_"), "{said}{}", text(&output.stderr));
    (output.status.code(), said.lines().filter(|line| line.contains("[warn]") || line.contains("[fail]")).map(String::from).collect())
}

#[test]
fn an_audit_warns_of_an_exchange_that_is_not_post_quantum_and_of_nothing_else() {
    let (status, findings) = audit(&[]);
    let warning = "[warn] does not provide protection against post-quantum attacks";
    assert_eq!((status, findings.len()), (Some(2), 2), "{findings:#?}");
    for kex in ["curve25519-sha256 ", "curve25519-sha256@libssh.org "] {
        let named = |line: &&String| line.contains(&format!("(kex) {kex}")) && line.contains(warning);
        assert_eq!(findings.iter().filter(named).count(), 1, "{kex}: {findings:#?}");
    }
}

#[test]
fn an_audit_of_post_quantum_exchanges_alone_is_clean() {
    assert_eq!(audit(&["--pq-only"]), (Some(0), vec![]));
}

#[test]
fn macs_without_encrypt_then_mac_are_for_clients_that_have_nothing_better() {
    const GOOD: &str = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com";
    const ALL: &str = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512";
    let home = Home::new();
    let server = home.open(&[]);
    let offered = |words: &[&str]| {
        let said = run(python("macs.py").arg(words[0]).arg(server.port.to_string()).args(&words[1..]));
        text(&said.stdout)
    };
    for (ciphers, macs, wanted) in [
        ("aes256-ctr,aes128-cbc", "hmac-md5,hmac-sha2-256", ALL),
        ("aes256-ctr,aes128-cbc", "hmac-sha2-256,hmac-sha2-512-etm@openssh.com", GOOD),
        ("aes256-ctr,chacha20-poly1305@openssh.com", "hmac-sha2-256", GOOD),
        ("aes128-gcm@openssh.com,aes256-ctr", "hmac-sha2-256", GOOD),
    ] {
        assert_eq!(offered(&["first", ciphers, macs]), format!("{wanted} {wanted}\n"), "{ciphers} {macs}");
    }
    // Who waits for the server's word gets it, with everything: nothing is known of them.
    assert_eq!(offered(&["waiting"]), format!("{ALL} {ALL}\n"));
    // OpenSSH's clients are known to go first.
    let id = home.path("id");
    let visit = |macs: &str| {
        let options = ["-oLogLevel=DEBUG1", "-c", "aes128-ctr", "-m", macs, "-i", id.to_str().unwrap()];
        text(&run(home.ssh_with(server.port, &options).arg("true")).stderr)
    };
    assert!(visit("hmac-sha1").contains("no matching MAC found"), "what is broken stays out");
    let said = visit("hmac-sha2-512,hmac-sha2-256-etm@openssh.com");
    assert!(said.contains("MAC: hmac-sha2-256-etm@openssh.com"), "{said}");
}

#[test]
fn clients_with_mlkem_come_in_and_others_are_told() {
    let home = Home::new();
    let mut server = home.open(&["--pq-only"]);
    let id = home.path("id");
    for kex in ["curve25519-sha256", "sntrup761x25519-sha512@openssh.com"] {
        let option = format!("-oKexAlgorithms={kex}");
        let old = run(home.ssh_with(server.port, &["-oLogLevel=INFO", &option, "-i", id.to_str().unwrap()]).arg("true"));
        assert_eq!(old.status.code(), Some(255));
        assert!(text(&old.stderr).contains("no matching key exchange method found"), "{}", text(&old.stderr));
    }
    let script = "import paramiko, sys; t = paramiko.Transport(('127.0.0.1', int(sys.argv[1]))); \
                  t.connect(username='anyone', pkey=paramiko.Ed25519Key.from_private_key_file(sys.argv[2])); \
                  c = t.open_session(); c.exec_command('echo in'); print(c.makefile().read().decode().strip())";
    let python = python("visits.py");
    let visit = run(Command::new(python.get_program()).args(["-c", script, &server.port.to_string()]).arg(id));
    assert_eq!(text(&visit.stdout), "in\n", "{}", text(&visit.stderr));
    assert_eq!(server.wait().0.code(), Some(0));
}

/// CVE-2026-46702: whoever insists on compression gets none.
#[test]
fn compression_is_refused() {
    let home = Home::new();
    let mut server = home.open(&[]);
    assert_eq!(text(&run(python("hostile.py").arg("compression-alone").arg(server.port.to_string())).stdout), "closed\n");
    let visit = run(home.ssh_with(server.port, &["-C", "-oLogLevel=DEBUG1", "-i", home.path("id").to_str().unwrap()]).arg("echo in"));
    assert!(text(&visit.stdout) == "in\n" && text(&visit.stderr).contains("compression: none"), "{}", text(&visit.stderr));
    assert_eq!(server.wait().0.code(), Some(0));
}
