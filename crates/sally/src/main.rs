//! Runs Sally, and returns its exit status.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    sally::cmd::main(std::env::args_os())
}
