//! The manual pages and completions that go with the binary.

use std::process::Command;

use crate::support::*;

/// Every long option that a help text names.
fn options(help: &str) -> Vec<&str> {
    let words = help.split([' ', ',', '[', '\n']).filter(|word| word.starts_with("--") && word.len() > 2);
    words.map(|word| word.split('=').next().unwrap().trim_end_matches(|c: char| !c.is_ascii_alphanumeric())).collect()
}

#[test]
fn each_command_has_a_page_with_all_its_options() {
    let home = Home::new();
    let written = run(Command::new(sally()).arg("man").arg(home.path("")));
    assert!(written.status.success(), "{}", text(&written.stderr));
    for (page, command) in [("sally-once.1", &["once"][..]), ("sally-record-verify.1", &["record", "verify"])] {
        let page = home.read(page).replace('\\', "");
        let help = text(&run(Command::new(sally()).args(command).arg("--help")).stdout);
        let options = options(&help);
        assert!(options.len() > 2, "{help}");
        for option in options {
            assert!(page.contains(option), "{option} is not in {page}");
        }
    }
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&run(Command::new(sally()).args(["completions", shell])).stdout);
        assert!(script.contains("once") && script.contains("authorized-keys"), "{shell}: {script}");
    }
}
