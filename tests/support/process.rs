//! What /proc knows, and the tools that tests need.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::until;

/// A number of /proc/PID/status.
pub fn status_field(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Whether a process lives (a zombie does not).
pub fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}

/// Children of a process that it has not buried, zombies too.
pub fn children(pid: u32) -> Vec<String> {
    let stats = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let parent = |stat: &String| stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok();
    stats.filter(|stat| parent(stat) == Some(pid)).collect()
}

/// Ticks of CPU that a process has had.
pub fn cpu(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// Living processes with this text in their environment: everything that a server started with it has left running.
pub fn marked(mark: &str) -> BTreeSet<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has_mark = |pid: &u32| {
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| environ.windows(mark.len()).any(|window| window == mark.as_bytes()))
    };
    pids.filter(has_mark).collect()
}

/// Whether tests run as root: some faults are only root's to make, some only another's.
pub fn as_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The same command without these capabilities, which root alone has: `-dac_override`, say.
pub fn without(capabilities: &str, command: &Command) -> Command {
    let mut lesser = if as_root() { tool("setpriv", "util-linux") } else { tool("env", "coreutils") };
    if as_root() {
        lesser.args(["--bounding-set", capabilities, "--inh-caps", capabilities]);
    }
    lesser.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => lesser.env(name, value),
            None => lesser.env_remove(name),
        };
    }
    lesser
}

/// A command as root: as root of a user namespace of its own, where we are not.
pub fn rooted(name: &str, package: &str) -> Command {
    let there = tool(name, package);
    if as_root() {
        return there;
    }
    let mut command = tool("unshare", "util-linux");
    command.arg("-r").arg(there.get_program());
    command
}

/// Waits until a number no longer changes: whatever drives it is stuck, or done.
pub fn quiet(what: &str, mut number: impl FnMut() -> u64) -> u64 {
    let mut last = number();
    let mut same = 0;
    until(&format!("{what} comes to rest"), || {
        thread::sleep(Duration::from_millis(10));
        let now = number();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        (same == 40).then_some(now)
    })
}

/// A command that must be there; its package is named where it is not.
pub fn tool(name: &str, package: &str) -> Command {
    let there = name.contains('/') && Path::new(name).exists();
    let path = std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|folder| folder.join(name).is_file());
    assert!(there || path, "{name} is missing: install the package {package} (tests/run does)");
    Command::new(name)
}

/// A program of tests/requirements.txt.
pub fn from_requirements(name: &str) -> Command {
    let program: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-venv/bin").join(name);
    assert!(program.exists(), "{} is missing: tests/run makes it", program.display());
    Command::new(program)
}

/// The Python that has tests/requirements.txt, about to run a script of tests/python.
pub fn python(script: &str) -> Command {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python");
    let mut command = from_requirements("python");
    command.arg("-u").arg(tests.join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A program of tests/node, with what tests/node/package.json names.
pub fn node(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let modules = root.join("target/test-node/node_modules");
    assert!(modules.exists(), "{} is missing: tests/run makes it", modules.display());
    let mut command = tool("node", "nodejs");
    command.arg(root.join("tests/node").join(script)).env("NODE_PATH", modules);
    command
}
