//! `sally record verify|cat|export` on a record with something of everything.

use std::process::Command;

use super::*;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/tests/golden");

fn sally(arguments: &[&str]) -> (i32, String, String) {
    let binary = env!("CARGO_BIN_EXE_sally");
    let output = Command::new(binary).arg("record").args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}
