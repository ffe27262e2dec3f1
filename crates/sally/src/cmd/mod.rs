//! One file a subcommand: wiring only.

mod once;
mod relay;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use sally_proto::error::exit;
use tracing_subscriber::filter::LevelFilter;

use crate::admin::cmd as admin;
use crate::admin::destination::Program;
use crate::cli::{Cli, Command, LogFormat};
use crate::config::{self, Variables};
use crate::term;

/// Parses, runs, and gives the exit status.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    sally_sys::process::tune_allocator();
    let cli = match Cli::parse_line(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout with status 0; a refusal goes to stderr with 2.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { 0 });
        }
    };
    let variables = Variables::of_process();
    diagnostics(&cli, &variables);
    let status = match cli.command {
        Command::Once(args) => once::run(config::Once::resolve(*args, &variables)),
        Command::Relay(args) => relay::run(Ok(config::Relay::of_relay(*args, &variables))),
        Command::Jail(args) => relay::run(config::Relay::of_jail(*args, &variables)),
        Command::Agent(args) => relay::run_agent(args.into()),
        Command::Record(command) => command.run(),
        Command::Fleet(command) => command.run(),
        Command::Ssh(args) => admin::visit(Program::Ssh, args, &variables),
        Command::Scp(args) => admin::visit(Program::Scp, args, &variables),
        Command::Sftp(args) => admin::visit(Program::Sftp, args, &variables),
        Command::Devices(args) => admin::devices(&args, &variables),
        Command::SshConfig(args) => admin::print_ssh_config(&args, &variables),
        Command::Proxy(args) => admin::proxy(&args, &variables),
        Command::KnownHosts(args) => admin::known_hosts(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "sally", &mut std::io::stdout());
            0
        }
        Command::Man { folder } => manual(folder.as_deref()),
    };
    ExitCode::from(status)
}

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
    let to_stderr = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(cli.verbose > 1);
    let coloured = variables.get("NO_COLOR").is_none_or(|value| value.is_empty()) && rustix::termios::isatty(rustix::stdio::stderr());
    match cli.log_format {
        LogFormat::Text => to_stderr.with_ansi(coloured).init(),
        LogFormat::Json => to_stderr.json().init(),
    }
}
