//! Wires up the subcommands, one file for each.

#[cfg(feature = "share")]
mod join;
#[cfg(feature = "once")]
mod once;
#[cfg(feature = "once")]
mod runtime;
#[cfg(any(feature = "relay", feature = "agent"))]
mod server;
#[cfg(feature = "share")]
mod share;
#[cfg(feature = "once")]
mod supervisor;

use std::ffi::OsString;
#[cfg(feature = "manual")]
use std::path::Path;
use std::process::ExitCode;

#[cfg(feature = "manual")]
use clap::CommandFactory;
use sally_proto::error::exit;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::{Cli, Command, LogFormat, file};
#[cfg(any(feature = "once", feature = "relay", feature = "agent"))]
use crate::config;
use crate::panic;
use crate::term;
use crate::term::log::Log;
use crate::variables::Variables;

/// Parses the arguments, runs the command, and returns the exit status.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    sally_sys::process::tune_allocator();
    panic::report();
    panic::essential(|| run(arguments))
}

fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = match file::expand(arguments.collect()) {
        Ok(arguments) => arguments,
        Err(fault) => {
            term::fault(&fault);
            return ExitCode::from(fault.exit_status());
        }
    };
    let cli = match Cli::parse_line(arguments.into_iter()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout with status 0; usage errors go to stderr with status 2.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { 0 });
        }
    };
    let variables = Variables::of_process();
    diagnostics(&cli, &variables);
    let status = match cli.command {
        #[cfg(feature = "once")]
        Command::Once(args) => once::run(config::OnceConfig::resolve(*args, &variables)),
        #[cfg(feature = "share")]
        Command::Share(args) => match &args.command {
            Some(command) => share::command(command, &variables),
            None => share::run(config::Share::resolve(*args, &variables)),
        },
        #[cfg(feature = "share")]
        Command::Join(args) => join::run(config::of_join(*args, &variables)),
        #[cfg(feature = "relay")]
        Command::Relay(args) => server::run(config::of_relay(*args, &variables)),
        #[cfg(feature = "relay")]
        Command::Jail(args) => server::run(config::of_jail(*args, &variables)),
        #[cfg(feature = "agent")]
        Command::Agent(args) => server::run_agent(config::of_agent(args)),
        #[cfg(feature = "record")]
        Command::Record(command) => command.run(),
        #[cfg(feature = "fleet")]
        Command::Fleet(command) => command.run(),
        #[cfg(feature = "admin")]
        Command::Client(command) => command.run(&variables),
        #[cfg(feature = "manual")]
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "sally", &mut std::io::stdout());
            0
        }
        #[cfg(feature = "manual")]
        Command::Man { folder } => manual(folder.as_deref()),
    };
    ExitCode::from(status)
}

#[cfg(feature = "manual")]
fn manual(folder: Option<&Path>) -> u8 {
    let written = match folder {
        Some(folder) => clap_mangen::generate_to(Cli::command(), folder),
        None => clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout()),
    };
    match written {
        Ok(()) => 0,
        Err(error) => {
            term::say(&error.to_string());
            exit::RECORD
        }
    }
}

fn diagnostics(cli: &Cli, variables: &Variables) {
    let level = match cli.verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    // The writer adds the colours, and removes all other escape sequences.
    let events = tracing_subscriber::fmt().with_max_level(level).with_target(cli.verbose > 1).with_ansi(false);
    let coloured = variables.get("NO_COLOR").is_none_or(|value| value.is_empty()) && rustix::termios::isatty(rustix::stdio::stderr());
    match cli.log_format {
        LogFormat::Text => events.with_writer(Log::text(term::held_stderr, coloured)).init(),
        LogFormat::Json => events.json().with_writer(Log::json(term::held_stderr)).init(),
    }
}
