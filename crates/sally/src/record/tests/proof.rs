//! Tests records with other programs: ssh-keygen with b3sum or sha256sum verifies them, asciinema plays them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use ssh_key::PrivateKey;

use super::*;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/tests/golden");

fn shell(script: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("sh").args(["-euc", script, "sh"]).args(arguments).stdin(Stdio::null()).output().unwrap();
    (output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

/// Returns the commands of docs/record-format.md, between the fences named `sh verify-line`.
fn documented() -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/record-format.md")).unwrap();
    let (_, after) = page.split_once("```sh verify-line\n").expect("the page has the commands");
    after.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_documented_commands_prove_checkpoints_and_seal_with_every_kind_of_key() {
    let dir = tempfile::tempdir().unwrap();
    let script = documented();
    for (kind, bits, digest) in [
        ("ed25519", "256", DigestName::Blake3),
        ("ed25519", "256", DigestName::Sha256),
        ("rsa", "3072", DigestName::Blake3),
        ("ecdsa", "256", DigestName::Blake3),
        ("ecdsa", "384", DigestName::Blake3),
        ("ecdsa", "521", DigestName::Sha256),
    ] {
        let file = dir.path().join(format!("{kind}{bits}{}", digest.name()));
        let made = Command::new("ssh-keygen").args(["-q", "-t", kind, "-b", bits, "-N", "", "-f"]).arg(&file).status().unwrap();
        assert!(made.success());
        let key = PrivateKey::read_openssh_file(&file).unwrap();
        let mut public = key.public_key().clone();
        public.set_comment("");
        let public = public.to_openssh().unwrap();
        let cast = file.with_extension("cast");
        let settings = RecordSettings { digest, ..settings(Policy::All) };
        let recorder = Recorder::start(RecordSink::open(&RecordTarget::File(cast.clone()), false).unwrap(), settings, key).unwrap();
        recorder.stream(0, StreamKind::PtyOutput).record(b"hello\r\n").unwrap();
        recorder.seal().unwrap();
        let text = std::fs::read_to_string(&cast).unwrap();
        let signed: Vec<_> = (1..).zip(text.lines()).filter(|(_, line)| line.contains(" checkpoint ") || line.contains(" seal ")).collect();
        assert_eq!(signed.len(), 2);
        for (number, _) in signed {
            let (good, said) = shell(&script, &[cast.to_str().unwrap(), &number.to_string(), &public]);
            assert!(good && said.contains("Good \"sally-record\" signature"), "{kind} {bits} line {number}: {said}");
        }
        // A change is noticed.
        std::fs::write(&cast, text.replace("hello", "HELLO")).unwrap();
        let last = text.lines().count().to_string();
        assert!(!shell(&script, &[cast.to_str().unwrap(), &last, &public]).0);
        let (good, said) = shell(&script, &[cast.to_str().unwrap(), "2", &key_of_golden()]);
        assert!(!good, "{said}");
    }
}

fn key_of_golden() -> String {
    std::fs::read_to_string(PathBuf::from(GOLDEN).join("host_key.pub")).unwrap().trim().to_owned()
}

#[test]
fn asciinema_shows_the_text_of_a_golden_record() {
    let script = r#"ASCIINEMA_CONFIG_HOME=$2 LC_ALL=C.UTF-8 script -qefc "asciinema cat '$1'" /dev/null; ASCIINEMA_CONFIG_HOME=$2 LC_ALL=C.UTF-8 script -qefc "asciinema play -s 1000 -i 0.1 '$1'" /dev/null"#;
    let dir = tempfile::tempdir().unwrap();
    for golden in ["v1.cast", "v2.cast"] {
        let (good, said) = shell(script, &[&format!("{GOLDEN}/{golden}"), dir.path().to_str().unwrap()]);
        assert!(good, "{said}");
        assert_eq!(said.matches("\x1b[1mgrüße\x1b[0m \"q\" \\ \r\n").count(), 2, "{golden}: {said}");
    }
}
