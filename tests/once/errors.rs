//! What a person reads when the server does not start, word for word, and its exit status.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::*;

/// Runs to its end: status and the first line on stderr.
fn refused(command: &mut Command) -> (Option<i32>, String) {
    let output = run(command);
    let stderr = text(&output.stderr);
    assert!(!text(&output.stdout).contains("PRIVATE"), "{}", text(&output.stdout));
    (output.status.code(), stderr.lines().next().unwrap_or_default().to_owned())
}

/// The same with these keys.
fn keys_refused(home: &Home, keys: impl AsRef<[u8]>) -> String {
    let file = home.write("keys", keys);
    let (status, said) = refused(&mut home.once_for(&file));
    assert_eq!(status, Some(78), "{said}");
    let prefix = format!("authorized keys invalid: {} ", file.display());
    said.strip_prefix(&prefix).unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[test]
fn keys_that_are_not_there() {
    let home = Home::new();
    let missing = home.path("missing");
    let expected = format!("authorized keys invalid: {} does not exist.", missing.display());
    assert_eq!(refused(&mut home.once_for(&missing)), (Some(78), expected));
}

#[test]
fn keys_that_can_not_be_read() {
    let home = Home::new();
    let folder = home.path("folder");
    std::fs::create_dir(&folder).unwrap();
    let (status, said) = refused(&mut home.once_for(&folder));
    let expected = format!("authorized keys invalid: {} is not readable. (", folder.display());
    assert!(status == Some(78) && said.starts_with(&expected), "{status:?} {said}");
}

#[test]
fn keys_of_somebody_else() {
    let home = Home::new();
    let keys = home.path("id.pub");
    assert!(Command::new("chmod").arg("000").arg(&keys).status().unwrap().success());
    // Root reads everything, unless it gives that up.
    let mut command = without("-dac_override,-dac_read_search", &home.once_for(&keys));
    let expected = format!("authorized keys invalid: {} is not readable. (Permission denied)", keys.display());
    assert_eq!(refused(&mut command), (Some(78), expected));
}

#[test]
fn keys_that_do_not_parse_name_the_line() {
    let home = Home::new();
    let good = home.read("id.pub");
    let said = keys_refused(&home, format!("# mine\n\n{good}\nssh-ed25519 AAAAnonsense mallory\n"));
    assert!(said.starts_with("contains unparseable data. (line 5: "), "{said}");
    let said = keys_refused(&home, home.read("id"));
    assert!(said.starts_with("contains unparseable data. (line 1: ") && said.contains("private key"), "{said}");
}

#[test]
fn keys_that_are_none() {
    let home = Home::new();
    for nothing in ["", "\n\n", "# nobody\n   # at all\n"] {
        assert_eq!(keys_refused(&home, nothing), "contained no keys.");
    }
}

#[test]
fn keys_of_types_that_are_not_supported_are_none() {
    let home = Home::new();
    let said = keys_refused(&home, format!("# mine\n{NEWER_KEY} me\n"));
    assert_eq!(said, "contained no keys. (line 2: keys of type `ssh-new@example.com` are not supported)");
    // One of another type than its line says is damaged, whatever type that is.
    let blob = NEWER_KEY.rsplit(' ').next().unwrap();
    let said = keys_refused(&home, format!("{}ssh-newer@example.com {blob}\n", home.read("id.pub")));
    assert!(said.starts_with("contains unparseable data. (line 2: "), "{said}");
}

#[test]
fn an_option_that_is_not_known_names_the_line() {
    let home = Home::new();
    let said = keys_refused(&home, format!("# first\nno-such-option {}", home.read("id.pub")));
    assert!(said.starts_with("contains unparseable data. (line 2: ") && said.contains("no-such-option"), "{said}");
}

#[test]
fn an_option_that_is_not_enforced_names_the_line() {
    let home = Home::new();
    let said = keys_refused(&home, format!("tunnel=\"0\" {}", home.read("id.pub")));
    assert!(said.starts_with("contains unparseable data. (line 1: ") && said.contains("tunnel"), "{said}");
}

#[test]
fn one_bad_source_among_good_ones_stops_the_start() {
    let home = Home::new();
    let mut command = home.once();
    command.arg("--authorized-keys").arg(home.path("missing"));
    let (status, said) = refused(&mut command);
    assert!(status == Some(78) && said.ends_with("missing does not exist."), "{status:?} {said}");
    let mut command = home.once();
    command.env("AUTHORIZED_KEYS", "");
    assert_eq!(refused(&mut command), (Some(78), "authorized keys invalid: AUTHORIZED_KEYS contained no keys.".into()));
}

#[test]
fn no_source_of_keys_at_all() {
    let mut command = Command::new(sally());
    command.args(["once", "--port", "0"]).env_remove("AUTHORIZED_KEYS");
    assert_eq!(refused(&mut command), (Some(78), "authorized keys invalid: no source of keys was given.".into()));
}

#[test]
fn a_hint_follows_on_a_line_of_its_own() {
    let home = Home::new();
    let output = run(&mut home.once_for(&home.path("missing")));
    let said = text(&output.stderr);
    assert!(said.lines().nth(1).is_some_and(|line| line.starts_with("  hint: ")), "{said}");
}

#[test]
fn keys_come_through_stdin() {
    let home = Home::new();
    let keys = Stdio::from(std::fs::File::open(home.path("id.pub")).unwrap());
    let mut command = home.once_for(Path::new("-"));
    command.arg("--log").arg(home.path("visit.cast"));
    let server = Server::open_with(command, keys);
    assert!(run(home.ssh(&server).arg("true")).status.success());

    let empty = run(&mut home.once_for(Path::new("-")));
    let said = text(&empty.stderr);
    assert!(empty.status.code() == Some(78) && said.starts_with("authorized keys invalid: - contained no keys.\n"), "{said}");
}

#[test]
fn keys_come_through_the_environment() {
    for newline in ["\n", "\\n"] {
        let home = Home::new();
        let other = home.key("other", "ecdsa");
        let other = std::fs::read_to_string(other.with_extension("pub")).unwrap();
        let mut command = Command::new(sally());
        command.args(["once", "--port", "0", "--listen", "127.0.0.1", "--log"]).arg(home.path("visit.cast"));
        command.env("AUTHORIZED_KEYS", format!("# mine{newline}{}{newline}{}", other.trim(), home.read("id.pub").trim()));
        let server = Server::open(command);
        assert!(run(home.ssh(&server).arg("true")).status.success());
        assert_eq!(home.audits("auth")[0]["source"], "AUTHORIZED_KEYS:3");
    }
}

/// A start that failed leaves nothing behind that would stop the next one.
#[test]
fn the_same_command_works_once_the_port_is_free() {
    let home = Home::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let command = || {
        let mut command = at(&home, "127.0.0.1", port);
        command.arg("--log").arg(home.path("visit.cast"));
        command
    };
    assert_eq!(refused(&mut command()).0, Some(69));
    drop(taken);
    let server = Server::open(command());
    assert!(run(home.ssh(&server).arg("true")).status.success());
}

/// A server at an address of our choice.
fn at(home: &Home, address: &str, port: u16) -> Command {
    let mut command = Command::new(sally());
    command.arg("once").arg("--authorized-keys").arg(home.path("id.pub")).args(["--listen", address, "--port", &port.to_string()]);
    command
}

#[test]
fn a_port_that_is_taken() {
    let home = Home::new();
    for address in ["127.0.0.1", "0.0.0.0"] {
        let taken = TcpListener::bind((address, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let expected = format!("Could not bind to port {port}: Address already in use");
        assert_eq!(refused(&mut at(&home, "127.0.0.1", port)), (Some(69), expected));
    }
}

#[test]
fn an_address_that_is_not_ours() {
    let home = Home::new();
    assert_eq!(refused(&mut at(&home, "192.0.2.1", 0)), (Some(69), "Could not bind to port 0: Cannot assign requested address".into()));
}

#[test]
fn a_record_that_can_not_be_made_refuses_to_start() {
    let home = Home::new();
    let folder = home.path("folder");
    std::fs::create_dir(&folder).unwrap();
    for (log, reason) in [
        (home.path("no/such/folder/visit.cast"), "No such file or directory"),
        (folder, "Is a directory"),
        ("/dev/full".into(), "No space left on device"),
        ("/proc/visit.cast".into(), "No such file or directory"),
    ] {
        let (status, said) = refused(&mut home.once_to(&log));
        assert_eq!((status, said), (Some(74), format!("Could not write to log file {}: {reason}", log.display())));
    }
}

#[test]
fn a_record_on_a_read_only_file_system_refuses_to_start() {
    let home = Home::new();
    // In a mount namespace of our own. A container that allows none has a /sys that is read-only.
    let aside = || {
        let mut aside = rooted("unshare", "util-linux");
        aside.arg("-m");
        aside
    };
    let (log, mut command) = if run(aside().arg("true")).status.success() {
        let mount = format!("mount -t tmpfs -o ro none '{0}' && exec \"$@\"", home.path("mount").display());
        std::fs::create_dir(home.path("mount")).unwrap();
        let mut aside = aside();
        aside.args(["sh", "-c", &mount, "sh"]);
        (home.path("mount/visit.cast"), aside)
    } else {
        ("/sys/visit.cast".into(), tool("env", "coreutils"))
    };
    let inner = home.once_to(&log);
    command.arg(inner.get_program()).args(inner.get_args()).env_remove("AUTHORIZED_KEYS");
    let expected = format!("Could not write to log file {}: Read-only file system", log.display());
    assert_eq!(refused(&mut command), (Some(74), expected));
}

#[test]
fn a_record_is_never_written_over_or_added_to() {
    let home = Home::new();
    let log = home.write("old.cast", "precious\n");
    let (status, said) = refused(&mut home.once_to(&log));
    let expected = format!("Could not write to log file {}: ", log.display());
    assert!(status == Some(74) && said.starts_with(&expected), "{status:?} {said}");
    assert_eq!(home.read("old.cast"), "precious\n");
    let empty = home.write("empty.cast", "");
    Server::open(home.once_to(&empty));
}

#[test]
fn a_host_key_that_can_not_be_used() {
    let home = Home::new();
    let locked = home.path("locked");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "secret", "-f"]).arg(&locked).status().unwrap();
    assert!(made.success());
    for file in [locked, home.path("missing"), home.path("id.pub")] {
        let mut command = home.once();
        command.arg("--host-key").arg(&file);
        let (status, said) = refused(&mut command);
        assert!(status == Some(78) && said.starts_with(&format!("Invalid host key: {} (", file.display())), "{status:?} {said}");
    }
}

#[test]
fn arguments_that_are_refused() {
    for arguments in
        [&["once", "--port", "65536"][..], &["once", "--timeout", "0"], &["once", "--record", "some"], &["once", "--wat"], &["wat"]]
    {
        let output = run(Command::new(sally()).args(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
    assert_eq!(run(Command::new(sally()).arg("--version")).status.code(), Some(0));
    assert_eq!(run(Command::new(sally()).args(["once", "--help"])).status.code(), Some(0));
}

#[test]
fn nothing_is_printed_or_bound_where_the_keys_fail() {
    let home = Home::new();
    let mut command = home.once_to(&home.path("visit.cast"));
    command.arg("--authorized-keys").arg(home.path("missing"));
    let output = run(&mut command);
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    assert!(!home.path("visit.cast").exists());
    assert!(!text(&output.stderr).contains("Listening"));
}
