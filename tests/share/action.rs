//! deploy/github-action, as a runner starts it, and shares that end when their viewers have left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::once::sources::key_server;
use crate::support::*;

/// The folder of the action.
const ACTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/github-action");

/// The digest of the binary under test, as sha256sum says it.
fn digest() -> &'static str {
    static DIGEST: LazyLock<String> = LazyLock::new(|| {
        let said = run(Command::new("sha256sum").arg(sally()));
        text(&said.stdout).split(' ').next().unwrap().to_owned()
    });
    &DIGEST
}

/// The script with the defaults of action.yml, for this home's key, on any port of loopback.
fn action(home: &Home) -> Command {
    let mut command = Command::new(format!("{ACTION}/share"));
    let path = std::env::var_os("PATH").unwrap();
    fs::create_dir_all(home.path("runner")).unwrap();
    command.env_clear().env("PATH", path).env("HOME", home.path(".")).env("GITHUB_ACTOR", "alice").env("PS1", "$ ");
    command.env("RUNNER_TEMP", home.path("runner")).env("GITHUB_OUTPUT", home.path("output")).current_dir(home.path("."));
    // The key is the first step's alone.
    for (name, default) in inputs().into_iter().filter(|(name, _)| name != "SALLY_IDENTITY") {
        command.env(name, default);
    }
    command.env("SALLY_URL", format!("file://{}", sally().display())).env("SALLY_SHA256", digest());
    command.env("SALLY_LIMIT_TO_ACTOR", "false").env("SALLY_AUTHORIZED_KEYS", home.read("id.pub"));
    command.env("SALLY_LISTEN", "127.0.0.1:0").env("SALLY_CONTINUE_FILE", home.path("continue"));
    command
}

/// The variables that action.yml gives the script, and the defaults of their inputs.
fn inputs() -> Vec<(String, String)> {
    let action = fs::read_to_string(format!("{ACTION}/action.yml")).unwrap();
    let default = |input: &str| {
        let (_, section) = action.split_once(&format!("\n  {input}:\n")).unwrap_or_else(|| panic!("no input {input}"));
        let section = section.lines().take_while(|line| line.starts_with("    "));
        let value = section.filter_map(|line| line.trim().strip_prefix("default: ")).next().unwrap_or_default();
        value.trim_matches('"').replace("${{ github.server_url }}", "https://github.com")
    };
    let lines = action.lines().filter_map(|line| line.trim().strip_suffix(" }}")?.split_once(": ${{ inputs."));
    lines.map(|(name, input)| (name.to_owned(), default(input))).collect()
}

/// The variables that a step of action.yml gets, which runs this script.
fn inputs_of_step(script: &str) -> Vec<String> {
    let action = fs::read_to_string(format!("{ACTION}/action.yml")).unwrap();
    let (_, step) = action.split_once(&format!("GITHUB_ACTION_PATH/{script}\"")).unwrap();
    let step = step.split("\n  - ").next().unwrap();
    step.lines().filter_map(|line| Some(line.trim().split_once(": ${{ inputs.")?.0.to_owned())).collect()
}

/// A running script that can be joined at this port, and the share's host key.
fn start(command: &mut Command) -> (Client, u16, String) {
    let mut script = Client::start(command);
    let host_key = script.await_line("host key: ");
    let link = script.await_line("ssh session: ssh ");
    (script, link.rsplit(' ').next().unwrap().parse().unwrap(), host_key)
}

/// The folder that the script has made.
fn folder(home: &Home) -> PathBuf {
    let [folder]: [PathBuf; 1] =
        fs::read_dir(home.path("runner")).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>().try_into().unwrap();
    folder
}

#[test]
fn a_job_goes_on_when_a_viewer_touches_the_file() {
    let home = Home::new();
    let (_key_server, keys_port, _) = key_server(&home);
    let mut command = action(&home);
    command.env("SALLY_LIMIT_TO_ACTOR", "true").env("SALLY_AUTHORIZED_KEYS", "").env("SSL_CERT_FILE", home.path("root.pem"));
    command.env("SALLY_KEYS_URL", format!("https://localhost:{keys_port}/{{user}}.keys"));
    let (mut script, port, host_key) = start(&mut command);
    script.await_line("To go on with the job: leave, or touch ");
    let mut view = home.viewer(port, "id");
    let mut view = View::sized(view.env("LANG", "C"), 160, 24);
    script.await_stderr("alice (");
    view.keys("pwd; env | grep -c ^SALLY_; echo do''ne\r");
    view.await_line("done");
    let (lines, folder_of_job) = (view.lines(), fs::canonicalize(home.path(".")).unwrap().display().to_string());
    assert!(lines.windows(3).any(|three| three == [&*folder_of_job, "1", "done"]), "{lines:?}");
    view.keys(&format!("touch {}\r", home.path("continue").display()));
    view.await_words("The host has ended the share");
    assert_eq!(view.finish().0.code(), Some(0));
    script.await_line("The shared terminal has ended with status 0");
    assert_eq!(script.finish().0.code(), Some(0));
    assert!(!home.path("continue").exists(), "the next step can share a terminal again");
    let record = home.read("output").trim().strip_prefix("record=").unwrap().to_owned();
    assert_eq!(verify(Path::new(&record), Some(&host_key)).0, 0);
    let left: Vec<_> = fs::read_dir(folder(&home)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name == "binary" || name == "identity"), "{left:?}");
}

#[test]
fn a_job_goes_on_when_the_last_viewer_has_left() {
    let home = Home::new();
    home.write("visitors", home.line("visitor", ""));
    home.write("devices", home.line("runner-key", ""));
    let relay = Relay::start(&home, home.relay_of_files());
    let mut command = action(&home);
    command.env("SALLY_UNTIL_LEFT", "1").env("SALLY_LISTEN", "").env("SALLY_RELAY", format!("127.0.0.1:{}", relay.port));
    command.env("SALLY_RELAY_HOST_KEY", &relay.host_key);
    let mut identity = Command::new(format!("{ACTION}/identity"));
    identity.env("SALLY_IDENTITY", home.read("runner-key").trim()).env("RUNNER_TEMP", home.path("runner"));
    assert!(run(&mut identity).status.success());
    assert!(home.path("runner/sally-identity-0").exists());
    let mut script = Client::start(&mut command);
    let name = script.await_line("ssh session: ssh -J ").split(' ').nth(1).unwrap().to_owned();
    // No viewer finds the key: not in a file, and not in what a process that lives was started with.
    assert!(!home.path("runner/sally-identity-0").exists());
    folder(&home);
    assert!(!inputs_of_step("share").contains(&"SALLY_IDENTITY".to_owned()));
    let proxy = format!("ssh -F {} -W %h:%p relay", home.config(&relay, "id").display());
    let mut viewer = home.via(&relay, "id");
    viewer.args(["-t", "-o", &format!("ProxyCommand={proxy}")]).arg(format!("anyone@{name}"));
    let view = View::start(&viewer);
    script.await_stderr(" has joined, and may write");
    drop(view);
    script.await_stderr("The share ended: the last viewer left");
    script.await_line("The shared terminal has ended with status 0");
    assert_eq!(script.finish().0.code(), Some(0));
}

#[test]
fn a_job_for_the_author_of_a_pull_request_shares_nothing() {
    let home = Home::new();
    for event in ["pull_request_target", "workflow_run"] {
        let output = run(action(&home).env("GITHUB_EVENT_NAME", event));
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("it shares no terminal"), "{}", text(&output.stdout));
    }
    assert!(fs::read_dir(home.path("runner")).unwrap().next().is_none());
}

#[test]
fn a_binary_of_another_digest_is_not_run() {
    let home = Home::new();
    let ran = home.path("ran");
    let other = home.write("other", format!("#!/bin/sh\ntouch {}\n", ran.display()));
    let url = format!("file://{}", other.display());
    let cases = [
        (url.as_str(), digest().to_owned(), "the binary of the input url has another SHA-256 than the input sha256"),
        (&url, String::new(), "the input sha256 must be the 64 hexadecimal digits that sha256sum prints"),
        ("file:///nowhere/sally", digest().to_owned(), "the binary of the input url could not be fetched"),
        ("ftp://127.0.0.1/sally", digest().to_owned(), "the binary of the input url could not be fetched"),
    ];
    for (url, sha256, reason) in cases {
        let output = run(action(&home).env("SALLY_URL", url).env("SALLY_SHA256", sha256));
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), format!("::error title=sally share::{reason}\n"));
    }
    assert!(!ran.exists());
}

#[test]
fn a_job_that_nobody_may_join_or_that_could_not_start_fails() {
    let home = Home::new();
    home.write("there", "");
    let there = home.path("there").display().to_string();
    let cases = [
        ("GITHUB_ACTOR", "dependabot[bot]", "'dependabot[bot]' is no user with keys: name others with the input users"),
        ("GITHUB_ACTOR", "--listen=0", "'--listen?0' is no user with keys: name others with the input users"),
        ("SALLY_CONTINUE_FILE", &there, &format!("{there} is there already: remove it, or name another with the input continue-file")),
        ("SALLY_LISTEN", "", "sally share did not start (status 78): the lines above say why"),
        ("SALLY_AUTHORIZED_KEYS", "", "sally share did not start (status 78): the lines above say why"),
    ];
    for (name, value, reason) in cases {
        let mut command = action(&home);
        let actor = if name == "GITHUB_ACTOR" { "true" } else { "false" };
        let output = run(command.env("SALLY_LIMIT_TO_ACTOR", actor).env(name, value));
        let said = text(&output.stdout);
        assert_eq!((output.status.code(), said.trim_end()), (Some(1), &*format!("::error title=sally share::{reason}")), "{name}");
    }
}

#[test]
fn a_job_that_is_cancelled_ends_its_share_and_seals_the_record() {
    let home = Home::new();
    let (mut script, port, host_key) = start(&mut action(&home));
    let mut view = View::start(&home.viewer(port, "id"));
    script.await_stderr(" has joined");
    script.signal("TERM");
    assert_eq!(view.finish().0.code(), Some(128 + 15));
    assert_eq!(script.finish().0.code(), Some(128 + 15));
    assert_eq!(verify(&folder(&home).join("share.cast"), Some(&host_key)).0, 0);
}

#[test]
fn a_share_goes_on_while_viewers_come_back_in_time() {
    let home = Home::new();
    let share = home.shared(&["--until-left", "2"], "echo ready; read x; for i in 1 2 3 4 5 6 7; do sleep 0.5; echo tick $i; done; read x");
    let mut first = home.join(&share, "id");
    first.await_line("ready");
    first.keys("\r");
    first.await_line("tick 1");
    drop(first);
    share.await_people(0);
    let second = home.join(&share, "id");
    // Two seconds after the first has left, the share is still there.
    second.await_line("tick 7");
    drop(second);
    let (status, _, said) = share.process.finish();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("The share ended: the last viewer left"), "{said}");
}

#[test]
fn each_variable_of_the_script_is_an_input_of_the_action() {
    let script = fs::read_to_string(format!("{ACTION}/share")).unwrap();
    let (_, used) = script.split_once("set -euo").unwrap();
    let mut used: Vec<_> = used
        .match_indices("SALLY_")
        .map(|(at, _)| {
            let rest = &used[at..];
            rest[..rest.find(|c: char| !c.is_ascii_uppercase() && c != '_' && !c.is_ascii_digit()).unwrap_or(rest.len())].to_owned()
        })
        .collect();
    let mut given = inputs_of_step("share");
    used.sort();
    used.dedup();
    given.sort();
    assert_eq!(used, given);
}
