//! What a record is hashed with: BLAKE3, or SHA-256 for those who must have it. Stock tools check either.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::*;

/// A visit that leaves every kind of digest on the record: of a stream past its head, of a file both ways, of a forwarded connection.
fn visit_with_everything(more: &[&str]) -> (Home, Server) {
    let home = Home::new();
    home.write("file", "file\n".repeat(1000));
    let mut server = home.open(&[&["--record", "head=1K", "--max-sessions", "4", "--allow", "local-forward"], more].concat());
    let (id, socket) = (home.path("id"), home.path("control"));
    let control = format!("-oControlPath={}", socket.display());
    let master = Client::start(home.ssh_with(server.port, &["-i", id.to_str().unwrap(), "-M", &control]).arg("-N"));
    until("the master listens", || socket.exists().then_some(()));
    let mut copying = tool("sftp", "openssh-client");
    copying.args(home.options()).args(["-b", "-", &control, "anyone@127.0.0.1"]);
    let script = format!("put {0} {1}\nget {1} {1}.2\n", home.path("file").display(), home.path("copied").display());
    let copied = run_with(&mut copying, script.as_bytes());
    assert!(copied.status.success(), "{}", text(&copied.stderr));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let answering = std::thread::spawn(move || std::io::Write::write_all(&mut listener.accept().unwrap().0, b"answer").unwrap());
    let forwarded = run_with(&mut home.ssh_with(server.port, &[&control, "-W", &target]), b"");
    answering.join().unwrap();
    assert_eq!(text(&forwarded.stdout), "answer", "{}", text(&forwarded.stderr));
    let ran = run(home.ssh_with(server.port, &[&control]).arg("seq 10000"));
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    master.signal("TERM");
    master.finish();
    server.wait();
    (home, server)
}

/// Each line's hash is what `sum` says of the file before it, and each digest field ends with `name` and is what `sum` says of the bytes.
fn assert_hashed(home: &Home, name: &str, sum: impl Fn(&[u8]) -> String) {
    let record = home.record();
    let (mut before, mut checked) = (String::new(), 0);
    for line in record.split_inclusive('\n') {
        if let Some((_, data)) = line.split_once(",\"h\",\"") {
            assert_eq!(data[..64], sum(before.as_bytes()), "{line}");
            checked += 1;
        }
        before.push_str(line);
    }
    assert!(checked > 10, "{record}");
    let numbers: String = (1..=10_000).map(|number| format!("{number}\n")).collect();
    let file = fs::read(home.path("file")).unwrap();
    let field = |event: &Value, what: &str| event[format!("{what}{name}")].as_str().map(str::to_owned);
    let all = home.audits("stream-end").into_iter().chain(home.audits("sftp")).chain(home.audits("forward-end")).collect::<Vec<_>>();
    for (what, bytes) in [("", numbers.as_bytes()), ("read_", &file), ("written_", &file), ("sent_", b"answer"), ("received_", b"")] {
        let expected = sum(bytes);
        assert!(all.iter().any(|event| field(event, what).as_ref() == Some(&expected)), "{what}{name}: {all:?}");
    }
    let other = if name == "blake3" { "sha256" } else { "blake3" };
    assert!(!record.contains(other), "{record}");
}

#[test]
fn stock_b3sum_says_what_every_line_and_every_digest_says() {
    let (home, server) = visit_with_everything(&[]);
    assert!(home.record().contains(r#","sally":"2","digest":"blake3","record":"head=1024","#), "{}", home.record());
    assert_hashed(&home, "blake3", b3sum);
    assert_eq!(home.verify(&server).0, 3);
}

#[test]
fn who_must_have_sha256_gets_format_1() {
    let (home, server) = visit_with_everything(&["--digest", "sha256"]);
    assert!(home.record().contains(r#","sally":"1","record":"head=1024","#), "{}", home.record());
    assert_hashed(&home, "sha256", hash);
    assert_eq!(home.verify(&server).0, 3);
    for format in ["v3", "text", "audit"] {
        let exported = run(Command::new(sally()).args(["record", "export", "--format", format]).arg(home.path("visit.cast")));
        assert!(exported.status.success(), "{}", text(&exported.stderr));
    }
}

#[test]
fn a_digest_or_version_that_is_not_known_is_said_in_a_sentence() {
    let home = Home::new();
    let refused = run(home.once().args(["--digest", "md5"]));
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("'md5' is neither blake3 nor sha256"), "{}", text(&refused.stderr));
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/tests/golden/v2.cast");
    let record = fs::read_to_string(golden).unwrap();
    for (from, to, words) in [
        (r#""sally":"2""#, r#""sally":"3""#, "format version 3"),
        (r#""digest":"blake3""#, r#""digest":"k12""#, "this record's digest is \"k12\""),
    ] {
        let file = home.write("newer.cast", record.replace(from, to));
        for command in ["verify", "cat", "play"] {
            let refused = run(Command::new(sally()).args(["record", command]).arg(&file));
            assert_eq!(refused.status.code(), Some(65), "{command}");
            assert!(text(&refused.stderr).contains(words), "{}", text(&refused.stderr));
        }
    }
}
