//! Starts children, each in its own session and killed by the kernel if we are, and finds every descendant at the end.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal};

/// What to run, where, and with which descriptors.
#[derive(Debug)]
pub struct Launch {
    /// The executable.
    pub program: PathBuf,
    /// `argv[0]` as the program sees it (`-sh` for a login shell).
    pub arg0: OsString,
    /// The other arguments.
    pub args: Vec<OsString>,
    /// The whole environment: nothing is inherited.
    pub environment: Vec<(OsString, OsString)>,
    /// The working directory; `/` if it can't be entered.
    pub directory: PathBuf,
    /// Standard input, output and error.
    pub stdio: [OwnedFd; 3],
    /// Whether standard input is a terminal that will control the new session.
    pub terminal: bool,
}

/// The size from which a block gets its own pages: larger than any buffer for one piece.
#[cfg(target_env = "gnu")]
const MMAP_THRESHOLD: libc::c_int = 1 << 20;
/// How much free memory is kept at the end of a heap: what is in flight within a session.
#[cfg(target_env = "gnu")]
const TRIM_THRESHOLD: libc::c_int = 2 << 20;

type LaunchJob = (Launch, mpsc::SyncSender<io::Result<Pid>>);

/// Starts children from one thread that lives as long as the process.
///
/// The kernel delivers a parent-death signal when the THREAD that forked ends: children forked from a runtime's worker would die with it.
#[derive(Clone, Debug)]
pub struct Spawner {
    jobs: mpsc::SyncSender<LaunchJob>,
}

impl Spawner {
    /// Starts the thread.
    ///
    /// # Errors
    /// If no thread can be made.
    pub fn new() -> io::Result<Self> {
        let (jobs, inbox) = mpsc::sync_channel::<LaunchJob>(1);
        thread::Builder::new().name("spawner".into()).stack_size(256 << 10).spawn(move || {
            while let Ok((launch, reply)) = inbox.recv() {
                // A caller that has gone has no use for the answer; the reaper handles the child.
                let _ = reply.send(start(launch));
            }
        })?;
        Ok(Self { jobs })
    }

    /// Starts a child as a session leader whose process group has its own number. Returns when exec(2) has succeeded or failed.
    ///
    /// # Errors
    /// Those of fork(2), chdir(2) or execve(2).
    pub fn spawn(&self, launch: Launch) -> io::Result<Pid> {
        let (reply, answer) = mpsc::sync_channel(1);
        let gone = || io::Error::other("the spawning thread has ended");
        self.jobs.send((launch, reply)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}

/// Passes one of our descriptors to the child of this command, and returns its number there. No other child gets it.
pub fn hand_down(command: &mut Command, descriptor: OwnedFd) -> RawFd {
    let number = descriptor.as_raw_fd();
    let keep = move || Ok(rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::empty())?);
    // SAFETY: between fork and exec the closure makes one system call: no allocation, no lock.
    unsafe { command.pre_exec(keep) };
    number
}

/// Returns a folder, or `/` if it can't be entered.
pub fn enterable(folder: PathBuf) -> PathBuf {
    if can_enter(&folder) { folder } else { PathBuf::from("/") }
}

/// Returns whether a path is a folder that we may enter.
pub fn can_enter(folder: &Path) -> bool {
    folder.is_dir() && rustix::fs::access(folder, rustix::fs::Access::EXEC_OK).is_ok()
}

fn start(launch: Launch) -> io::Result<Pid> {
    let [stdin, stdout, stderr] = launch.stdio;
    let directory = enterable(launch.directory);
    let mut command = Command::new(launch.program);
    command
        .arg0(launch.arg0)
        .args(launch.args)
        .env_clear()
        .envs(launch.environment)
        .current_dir(directory)
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr));
    let terminal = launch.terminal;
    let parent = rustix::process::getpid();
    // SAFETY: between fork and exec the closure makes system calls only: no allocation, no lock.
    unsafe { command.pre_exec(move || enter_session(terminal, parent)) };
    let child = command.spawn()?;
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("a child without a number"))
}

/// Sets up a new session in the child, between fork and exec.
fn enter_session(terminal: bool, parent: Pid) -> io::Result<()> {
    rustix::process::setsid()?;
    if terminal {
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
    }
    default_signals();
    close_inherited();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // If the parent died before that call, the signal would never be sent.
    if rustix::process::getppid() != Some(parent) {
        return Err(io::Error::from(rustix::io::Errno::SRCH));
    }
    Ok(())
}

/// Sets every signal to its default: we may have been started under nohup(1), which ignores SIGHUP.
fn default_signals() {
    for signal in 1..32 {
        // SAFETY: SIG_DFL is a valid disposition for every signal; KILL and STOP answer EINVAL, which changes nothing.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Closes the descriptors that we were started with: they are not the client's (sshd: closefrom).
fn close_inherited() {
    // SAFETY: close_range(2) with CLOSE_RANGE_CLOEXEC marks descriptors and closes none; old kernels answer ENOSYS, and then the child
    // inherits only what our own parent left open.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Raises the limit of descriptors to what the system permits, because a server has many connections. Returns the new limit.
///
/// # Errors
/// If the limit can't be read or set.
pub fn raise_descriptor_limit() -> io::Result<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX))
}

/// Makes us the parent of orphaned descendants, and forbids other processes to read our memory (keys) or to trace us.
///
/// # Errors
/// Those of prctl(2).
pub fn guard_ourselves() -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    crate::account::guard_memory()
}

/// Tells the C library's allocator that buffers come and go: by default it returns the memory of a few packets to the system and asks for
/// it again thousands of times per second. Call it before there are other threads.
pub fn tune_allocator() {
    #[cfg(target_env = "gnu")]
    for (what, value) in [(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD), (libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD)] {
        // SAFETY: mallopt(3) takes two integers, and refuses those that it doesn't know.
        unsafe { libc::mallopt(what, value) };
    }
}

/// One row of /proc.
#[derive(Clone, Copy, Debug)]
struct ProcessRow {
    pid: i32,
    parent: i32,
    group: i32,
    session: i32,
    zombie: bool,
}

impl ProcessRow {
    fn living(&self) -> Option<Pid> {
        if self.zombie { None } else { Pid::from_raw(self.pid) }
    }
}

/// Returns the living descendants of this process: all of them, or those of one session (`setsid` escapes a session, not its ancestry).
pub fn descendants(session: Option<Pid>) -> Vec<Pid> {
    let wanted = |row: &&ProcessRow| session.is_none_or(|session| row.session == number(session));
    family(&table(), &[rustix::process::getpid()]).iter().filter(wanted).filter_map(ProcessRow::living).collect()
}

/// Returns which of these processes and their descendants are alive.
pub fn descendants_of(ancestors: &[Pid]) -> Vec<Pid> {
    let rows = table();
    let themselves = rows.iter().filter(|row| ancestors.iter().any(|pid| number(*pid) == row.pid)).copied();
    themselves.chain(family(&rows, ancestors)).filter_map(|row| row.living()).collect()
}

/// Returns the children of this process, including those that have ended and aren't reaped.
pub fn children() -> Vec<Pid> {
    let ours = number(rustix::process::getpid());
    table().iter().filter(|row| row.parent == ours).filter_map(|row| Pid::from_raw(row.pid)).collect()
}

fn number(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}

/// Returns all processes that descend from these.
fn family(rows: &[ProcessRow], ancestors: &[Pid]) -> Vec<ProcessRow> {
    let children = |parent: i32| rows.iter().filter(move |row| row.parent == parent).copied();
    let mut family: Vec<_> = ancestors.iter().flat_map(|pid| children(number(*pid))).collect();
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        at += 1;
        family.extend(children(parent.pid));
    }
    family
}

fn table() -> Vec<ProcessRow> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read(entry.path().join("stat")).ok()?;
            parse_stat(pid, &String::from_utf8_lossy(&stat))
        })
        .collect()
}

/// Reads a line of proc(5): `pid (comm) state ppid pgrp session …`; a comm may contain spaces and parentheses, so the last `)` counts.
fn parse_stat(pid: i32, stat: &str) -> Option<ProcessRow> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    Some(ProcessRow { pid, parent, group, session, zombie: matches!(state, "Z" | "X") })
}

/// Returns whether no other process is alive in the group that a process leads.
pub fn is_alone_in_its_group(leader: Pid) -> bool {
    let leader = leader.as_raw_nonzero().get();
    table().iter().all(|row| row.group != leader || row.pid == leader || row.zombie)
}

/// Returns whether a process runs this file; false if the process has ended or we may not look at it.
pub fn runs(pid: Pid, file: &Path) -> bool {
    let place = |path: &Path| rustix::fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino)).ok();
    place(Path::new(&format!("/proc/{}/exe", pid.as_raw_nonzero()))).is_some_and(|running| place(file) == Some(running))
}

/// Returns the command line of a process, its arguments joined by spaces; empty if it has ended or we may not read it.
pub fn command_line(pid: Pid) -> String {
    let bytes = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let words: Vec<_> = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(String::from_utf8_lossy).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let row = parse_stat(7, "7 (a) b (c) S 3 7 5 0 -1").unwrap();
        assert_eq!((row.parent, row.group, row.session, row.zombie), (3, 7, 5, false));
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_of_spawn() {
        let null = || OwnedFd::from(std::fs::File::options().read(true).write(true).open("/dev/null").unwrap());
        let launch = Launch {
            program: "/no/such/program".into(),
            arg0: "x".into(),
            args: vec![],
            environment: vec![],
            directory: "/".into(),
            stdio: [null(), null(), null()],
            terminal: false,
        };
        let error = Spawner::new().unwrap().spawn(launch).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
