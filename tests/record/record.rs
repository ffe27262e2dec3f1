//! The record of a real visit: whole, exact, and proof against whoever changes it.

use std::path::Path;
use std::process::Command;

use crate::support::*;

/// The record of a short visit, and the key that sealed it.
fn small() -> (Home, String, Vec<String>) {
    let home = Home::new();
    let mut server = home.open(&[]);
    assert!(run(home.ssh(&server).arg("echo hello")).status.success());
    server.wait();
    let lines = home.record().split_inclusive('\n').map(str::to_owned).collect();
    (home, server.host_key.clone(), lines)
}

fn judge(home: &Home, key: &str, lines: &[String]) -> i32 {
    verify(&home.write("changed.cast", lines.concat()), Some(key)).0
}

const SEALED: i32 = 0;
const UNPROVEN: i32 = 4;
const NOT_SEALED: i32 = 5;
const BROKEN: i32 = 6;
const NO_RECORD: i32 = 65;

#[test]
fn whoever_knows_the_key_has_it_proven() {
    let (home, key, _) = small();
    let file = home.path("visit.cast");
    let (verdict, sentence) = verify(&file, Some(&key));
    assert!(verdict == SEALED && sentence.starts_with("Sealed by ") && sentence.contains("SHA256:"), "{sentence}");
    assert_eq!(verify(&file, None).0, UNPROVEN, "a key that only the file names proves nothing");
    let print = sentence.split_whitespace().find(|word| word.starts_with("SHA256:")).unwrap().trim_end_matches([',', ';', '.', ':']);
    assert_eq!(verify(&file, Some(print)).0, SEALED);
    assert_eq!(verify(&file, Some(&print[..print.len() - 1])).0, 2, "a key that was cut short is no other key");
    let other = home.key("other", "ed25519").with_extension("pub");
    assert_eq!(verify(&file, Some(std::fs::read_to_string(other).unwrap().trim())).0, BROKEN);
    // The key may be in a file, or in known_hosts.
    let by_file = home.write("host.pub", format!("{key}\n"));
    assert_eq!(verify(&file, Some(by_file.to_str().unwrap())).0, SEALED);
    let known = home.write("known_hosts", format!("[127.0.0.1]:2022 {key}\n"));
    let output = run(Command::new(sally()).args(["record", "verify"]).arg(&file).arg("--known-hosts").arg(known));
    assert_eq!(output.status.code(), Some(SEALED), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(verify(&home.path("missing"), Some(&key)).0, 66);
}

#[test]
fn a_byte_that_is_changed_in_any_line_shows() {
    let (home, key, lines) = small();
    for at in 0..lines.len() {
        for place in [0, 2, lines[at].len() / 2, lines[at].len() - 3] {
            let mut changed = lines.clone();
            let mut bytes = changed[at].clone().into_bytes();
            bytes[place] ^= 1;
            changed[at] = String::from_utf8(bytes).unwrap();
            let verdict = judge(&home, &key, &changed);
            // The last line may become none of ours: then the record just has no seal. The header may name a version that is not known.
            let expected: &[i32] = match at {
                0 => &[BROKEN, NO_RECORD],
                _ if at + 1 == lines.len() => &[BROKEN, NOT_SEALED],
                _ => &[BROKEN],
            };
            assert!(expected.contains(&verdict), "line {} byte {place}: {verdict}\n{}", at + 1, changed[at]);
        }
    }
}

#[test]
fn a_line_that_is_removed_shows() {
    let (home, key, lines) = small();
    for at in 0..lines.len() {
        let mut changed = lines.clone();
        changed.remove(at);
        let expected = if at + 1 == lines.len() { NOT_SEALED } else { BROKEN };
        assert_eq!(judge(&home, &key, &changed), expected, "line {}", at + 1);
    }
}

#[test]
fn a_line_that_is_added_shows() {
    let (home, key, lines) = small();
    let time = lines.last().unwrap().split(',').next().unwrap();
    for added in [format!("{time},\"o\",\"forged\"]\n"), lines[1].clone(), lines.last().unwrap().clone(), "not ours\n".into()] {
        for at in 1..=lines.len() {
            let mut changed = lines.clone();
            changed.insert(at, added.clone());
            let verdict = judge(&home, &key, &changed);
            // What other programs print after the seal is no part of the record; what a player could take for it is.
            let expected = if at == lines.len() && !added.starts_with('[') { SEALED } else { BROKEN };
            assert_eq!(verdict, expected, "{added} as line {}", at + 1);
        }
    }
}

#[test]
fn lines_that_change_places_show() {
    let (home, key, lines) = small();
    for at in 0..lines.len() - 1 {
        let mut changed = lines.clone();
        changed.swap(at, at + 1);
        assert_eq!(judge(&home, &key, &changed), BROKEN, "lines {} and {}", at + 1, at + 2);
    }
}

#[test]
fn a_record_that_is_cut_off_is_not_sealed() {
    let (home, key, lines) = small();
    assert_eq!(judge(&home, &key, &[]), NO_RECORD);
    for at in 1..lines.len() {
        assert_eq!(judge(&home, &key, &lines[..at]), NOT_SEALED, "after line {at}");
        let mut torn = lines[..at].to_vec();
        torn.push(lines[at][..lines[at].len() / 2].to_owned());
        assert_eq!(judge(&home, &key, &torn), NOT_SEALED, "within line {}", at + 1);
    }
    let mut last = lines.clone();
    let newline = last.last_mut().unwrap().pop();
    assert_eq!(newline, Some('\n'));
    assert_eq!(judge(&home, &key, &last), NOT_SEALED, "a torn last line proves nothing");
}

/// Computes every hash of a changed record anew, and signs with a key where there is one.
fn forge(home: &Home, lines: &[String], key: Option<&str>) -> Vec<String> {
    let mut forged: Vec<String> = Vec::new();
    for line in lines {
        let fields: Vec<_> = line.trim_end().splitn(3, ',').collect();
        let [time, "\"h\"", data] = fields[..] else {
            forged.push(line.clone());
            continue;
        };
        let hash = blake3::hash(forged.concat().as_bytes()).to_string();
        let mut words: Vec<_> = data.trim_end_matches(']').trim_matches('"').split(' ').map(str::to_owned).collect();
        words[0] = hash.clone();
        if let (Some(key), [_, kind, signature]) = (key, &mut words[..]) {
            *signature = sign(home, key, &format!("sally-record 2 {kind} {} {hash}\n", &time[1..]));
        }
        forged.push(format!("{time},\"h\",\"{}\"]\n", words.join(" ")));
    }
    forged
}

/// ssh-keygen's signature of a text, as a record has it.
fn sign(home: &Home, key: &str, text_to_sign: &str) -> String {
    let file = home.write("to-sign", text_to_sign);
    let signed = run(Command::new("ssh-keygen").args(["-q", "-Y", "sign", "-n", "sally-record", "-f"]).arg(home.path(key)).arg(&file));
    assert!(signed.status.success(), "{}", text(&signed.stderr));
    let armoured = home.read("to-sign.sig");
    std::fs::remove_file(home.path("to-sign.sig")).unwrap();
    armoured.lines().filter(|line| !line.starts_with("-----")).collect()
}

#[test]
fn ssh_keygen_and_b3sum_alone_confirm_the_seal() {
    let (home, key, lines) = small();
    assert_eq!(forge(&home, &lines, None), lines, "every hash is that of all bytes before its line");
    let (last, before) = lines.split_last().unwrap();
    let fields: Vec<_> = last.trim_end().splitn(3, ',').collect();
    let words: Vec<_> = fields[2].trim_end_matches(']').trim_matches('"').split(' ').collect();
    assert_eq!(words[1], "seal");
    let signed = format!("sally-record 2 seal {} {}\n", &fields[0][1..], b3sum(before.concat().as_bytes()));
    let blob: Vec<_> = words[2].as_bytes().chunks(70).map(text).collect();
    let signature = home.write("sig", format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", blob.join("\n")));
    let signers = home.write("signers", format!("host {key}\n"));
    let mut check = Command::new("ssh-keygen");
    check.args(["-Y", "verify", "-n", "sally-record", "-I", "host", "-f"]).arg(signers).arg("-s").arg(signature);
    let checked = run_with(&mut check, signed.as_bytes());
    assert!(checked.status.success(), "{}", text(&checked.stderr));
}

#[test]
fn a_forged_chain_shows() {
    let (home, key, lines) = small();
    let changed: Vec<_> = lines.iter().map(|line| line.replace("hello", "HELLO")).collect();
    assert_eq!(judge(&home, &key, &forge(&home, &changed, None)), BROKEN, "hashes alone can be made by anybody");
    // With a key of the forger's own, all of it is consistent, and yet not what was announced.
    let forger = home.key("forger", "ed25519");
    let public = std::fs::read_to_string(forger.with_extension("pub")).unwrap();
    let public = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let resigned: Vec<_> = changed.iter().map(|line| line.replace(&key, &public)).collect();
    let resigned = forge(&home, &resigned, Some("forger"));
    assert_eq!(judge(&home, &key, &resigned), BROKEN);
    assert_eq!(verify(&home.path("changed.cast"), None).0, UNPROVEN);
    assert_eq!(verify(&home.path("changed.cast"), Some(&public)).0, SEALED, "the forgery is well made");
}

/// Without carriage returns: the terminal that a player runs on adds some of its own.
fn plain(shown: &str) -> String {
    shown.replace('\r', "")
}

#[test]
fn asciinema_plays_it() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let mut terminal = Terminal::start(
        home.ssh(&server).args(["-tt", "printf 'grü\\303\\237e \\033[1mbold\\033[0m\\n'; printf 'raw \\377 byte\\n'; echo end"]),
    );
    let (_, shown) = terminal.finish();
    server.wait();
    let cast = home.path("visit.cast");
    let environment = [("LC_ALL", "C.UTF-8"), ("TERM", "xterm")];
    let expected = "grüße \x1b[1mbold\x1b[0m\n";
    assert!(plain(&shown).contains(expected));
    for arguments in [&["cat"][..], &["play", "-s", "100", "-i", "0.1"]] {
        let mut player = tool("asciinema", "asciinema");
        player.args(arguments).arg(&cast).envs(environment).env("ASCIINEMA_CONFIG_HOME", home.path(""));
        let (status, played) = Terminal::start(&player).finish();
        assert!(status.success() && plain(&played).contains(expected) && plain(&played).contains("end\n"), "{arguments:?}: {played}");
    }
}

#[test]
fn our_own_player_shows_the_same() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let (_, shown) = Terminal::start(home.ssh(&server).args(["-tt", "for i in 1 2 3; do echo line $i; done"])).finish();
    server.wait();
    let mut player = Command::new(sally());
    player.args(["record", "play", "--speed", "100"]).arg(home.path("visit.cast"));
    let (status, played) = Terminal::start(&player).finish();
    assert!(status.success() && plain(&played).contains(&plain(&shown)), "{played:?}\n{shown:?}");
}

/// `sally record cat` with these arguments.
fn cat(home: &Home, arguments: &[&str]) -> Vec<u8> {
    let output = run(Command::new(sally()).args(["record", "cat"]).args(arguments).arg(home.path("visit.cast")));
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    output.stdout
}

#[test]
fn bytes_that_are_no_text_are_restored_exactly() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let input: Vec<u8> = (0..=255).cycle().take(70_000).chain(*b"text again\n").collect();
    let visit = run_with(home.ssh(&server).arg("tee /dev/stderr; head -c 100000 /dev/urandom"), &input);
    server.wait();
    assert!(home.record().contains("\"b\",\"o:"), "in base64");
    assert!(cat(&home, &["--stream", "stdout"]) == visit.stdout);
    assert!(cat(&home, &["--stream", "stderr"]) == input);
    assert!(cat(&home, &["--stream", "stdin"]) == input);
    // And so they are to a reader that shares no code with the writer.
    assert!(home.stream("stdout") == visit.stdout && home.stream("stderr") == input && home.stream("stdin") == input);
}

#[test]
fn stderr_is_apart_from_stdout() {
    let home = Home::new();
    let mut server = home.open(&[]);
    run(home.ssh(&server).arg("echo one; echo two >&2; echo three; echo four >&2"));
    server.wait();
    assert_eq!(text(&cat(&home, &["--stream", "stdout"])), "one\nthree\n");
    assert_eq!(text(&cat(&home, &["--stream", "stderr"])), "two\nfour\n");
}

#[test]
fn exports_have_everything_that_was_shown() {
    let home = Home::new();
    let mut server = home.open(&[]);
    Terminal::start(home.ssh(&server).args(["-tt", "echo shown; printf '\\033[31mred\\033[0m\\n'"])).finish();
    server.wait();
    let export = |format: &str| {
        let output = run(Command::new(sally()).args(["record", "export", "--format", format]).arg(home.path("visit.cast")));
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let plain = export("text");
    assert!(plain.contains("shown") && plain.contains("red") && !plain.contains('\x1b'), "{plain:?}");
    let v3 = export("v3");
    let header: serde_json::Value = serde_json::from_str(v3.lines().next().unwrap()).unwrap();
    assert_eq!(header["version"], 3, "{v3}");
    assert!(
        v3.lines().skip(1).filter(|line| !line.starts_with('#')).all(|line| serde_json::from_str::<(f64, String, String)>(line).is_ok()),
        "{v3}"
    );
    assert!(v3.contains("shown"));
}

#[test]
fn a_head_is_recorded_and_the_rest_counted_and_hashed() {
    let home = Home::new();
    let mut server = home.open(&["--record", "head=1K"]);
    let file = home.path("data");
    assert!(Command::new("sh").args(["-c", &format!("head -c 3000000 /dev/urandom >'{}'", file.display())]).status().unwrap().success());
    let data = std::fs::read(&file).unwrap();
    let visit = run_with(home.ssh(&server).arg("cat; echo short >&2"), &data);
    assert!(visit.stdout == data);
    server.wait();
    let (verdict, sentence) = home.verify(&server);
    assert_eq!(verdict, 3, "partial: {sentence}");
    assert!(home.record_length() < 20_000);
    assert!(home.stream("stdout") == data[..1024] && home.stream("stdin") == data[..1024]);
    let (sum, short) = (b3sum(&data), b3sum(b"short\n"));
    let ends = home.audits("stream-end");
    for (stream, bytes, hash) in [("stdin", 3_000_000, &sum), ("stdout", 3_000_000, &sum), ("stderr", 6, &short)] {
        let end = ends.iter().find(|end| end["stream"] == stream).unwrap_or_else(|| panic!("{stream}: {ends:?}"));
        assert_eq!((end["bytes"].as_u64(), end["blake3"].as_str()), (Some(bytes), Some(hash.as_str())), "{stream}");
    }
}

#[test]
fn a_terminal_is_recorded_whole_whatever_the_head() {
    let home = Home::new();
    let mut server = home.open(&["--record", "head=0"]);
    let (_, shown) = Terminal::start(home.ssh(&server).args(["-tt", "seq 3000"])).finish();
    server.wait();
    assert_eq!(home.recorded("o"), shown);
}

#[test]
fn on_stdout_it_follows_the_key_and_no_line_is_longer_than_a_log_driver_takes() {
    let home = Home::new();
    a_visit_on_stdout(&home, home.once_for(&home.path("id.pub")));
}

#[test]
fn a_dash_is_stdout() {
    let home = Home::new();
    a_visit_on_stdout(&home, home.once_to(Path::new("-")));
}

fn a_visit_on_stdout(home: &Home, once: Command) {
    let mut server = Server::open(once);
    let key = server.host_key.clone();
    let input: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let visit = run_with(home.ssh(&server).arg(format!("cat; seq 20000; : {}", "x".repeat(50_000))), &input);
    assert!(visit.status.success());
    let lines = server.rest_of_stdout();
    assert!(lines[0].starts_with("{\"version\":2,"), "{}", lines[0]);
    assert!(lines.iter().all(|line| line.len() < 16 * 1024), "{}", lines.iter().map(String::len).max().unwrap());
    // A platform's log has other programs' lines around it.
    let log = home.write("visit.cast", format!("starting\n{key}\n{}\nstopped\n", lines.join("\n")));
    let (verdict, sentence) = verify(&log, Some(&key));
    assert_eq!(verdict, SEALED, "{sentence}");
    assert!(home.stream("stdout") == visit.stdout);
}

#[test]
fn only_the_owner_reads_it() {
    let home = Home::new();
    let _server = home.open(&[]);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(home.path("visit.cast")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_a_visitor_says_can_not_forge_a_line() {
    let home = Home::new();
    let mut server = home.open(&[]);
    let evil = "printf '\\n[0.1,\"x\",\"0\"]\\n'; : '\n[0.2,\"o\",\"forged\"]\n' \"\u{1b}]0;x\u{7}\"";
    run(home.ssh(&server).arg(evil));
    server.wait();
    home.assert_sealed(&server);
    assert!(!home.events("visit.cast").contains(&("o".into(), "forged".into())));
    assert_eq!(home.audits("exec")[0]["command"], evil);
}

#[test]
fn a_long_record_has_checkpoints() {
    let home = Home::new();
    let mut server = home.open(&[]);
    run(home.ssh(&server).arg("head -c 6000000 /dev/zero | tr '\\0' x"));
    server.wait();
    let record = home.record();
    assert!(record.matches(" checkpoint ").count() >= 5, "{}", record.matches(" checkpoint ").count());
    assert!(record.lines().all(|line| line.len() < 64 * 1024));
    home.assert_sealed(&server);
}

#[test]
fn without_a_stdout_that_somebody_keeps_nothing_starts() {
    let home = Home::new();
    for stdout in [">&-", ">/dev/null"] {
        let script = format!("exec \"$0\" once --authorized-keys \"$1\" --port 0 --listen 127.0.0.1 {stdout}");
        let output = run(Command::new("sh").args(["-c", &script]).arg(sally()).arg(home.path("id.pub")));
        assert_eq!(output.status.code(), Some(74), "{}", text(&output.stderr));
        assert!(
            text(&output.stderr).starts_with("Could not write to log file stdout: it is closed, or it is /dev/null"),
            "{}",
            text(&output.stderr)
        );
    }
}
