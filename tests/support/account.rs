//! An account that this machine hasn't got: one process and its children have files of accounts of their own.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Home, as_root, run, skipped, tool};

/// The number of the account `visitor`.
pub const VISITOR: u32 = 4711;
/// The number of a group, `readers`, that `visitor` is a member of.
const READERS: u32 = 4712;

/// `visitor`: user and group 4711, member of group 4712, with a home and /bin/sh.
pub struct VisitorAccount {
    passwd: PathBuf,
    group: PathBuf,
    pub home: PathBuf,
}

impl VisitorAccount {
    /// None, and said so, where this machine doesn't let a test have one.
    pub fn new(test: &str, home: &Home) -> Option<Self> {
        if !as_root() || !run(tool("unshare", "util-linux").args(["--mount", "true"])).status.success() {
            skipped(test, "it needs root, and a view of the files of its own");
            return None;
        }
        let folder = home.path("visitor-home");
        fs::create_dir(&folder).unwrap();
        chown(&folder, Some(VISITOR), Some(VISITOR)).unwrap();
        open_up(&home.path("."));
        let with = |file: &str, lines: String| home.write(&file[1..].replace('/', "-"), fs::read_to_string(file).unwrap() + &lines);
        let passwd = with("/etc/passwd", format!("visitor:x:{VISITOR}:{VISITOR}::{}:/bin/sh\n", folder.display()));
        let group = with("/etc/group", format!("visitor:x:{VISITOR}:\nreaders:x:{READERS}:daemon,visitor\n"));
        Some(Self { passwd, group, home: folder })
    }

    /// The same command, where `visitor` is known.
    pub fn known_to(&self, command: &Command) -> Command {
        let mut lesser = tool("unshare", "util-linux");
        let script = "mount --bind \"$1\" /etc/passwd; mount --bind \"$2\" /etc/group; shift 2; exec \"$@\"";
        lesser.args(["--mount", "sh", "-euc", script, "sh"]).arg(&self.passwd).arg(&self.group);
        lesser.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => lesser.env(name, value),
                None => lesser.env_remove(name),
            };
        }
        lesser
    }
}

/// Lets everybody into a folder: what keeps others from a file in it are the file's own owner and mode.
pub fn open_up(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The same command as the user of this number.
pub fn as_number(number: u32, command: &Command) -> Command {
    let mut other = tool("setpriv", "util-linux");
    other.args(["--reuid", &number.to_string(), "--regid", &number.to_string(), "--clear-groups"]);
    other.arg(command.get_program()).args(command.get_args());
    other
}
