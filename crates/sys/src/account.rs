//! Changes to another user: the whole process for good, or one thread for a question.

use std::io;
use std::thread;

use rustix::process::{DumpableBehavior, Gid, Uid, dumpable_behavior, set_dumpable_behavior};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// The numbers by which the kernel decides what a process may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The number of the user.
    pub user: u32,
    /// The number of the user's own group.
    pub group: u32,
    /// The numbers of all other groups.
    pub groups: Vec<u32>,
}

impl Credentials {
    /// Makes the credentials of a user and a group with this number, without other groups.
    pub fn of_number(id: u32) -> Self {
        Self { user: id, group: id, groups: Vec::new() }
    }
}

/// Changes to this user for good, in all threads of the process. Afterwards no process of that user can read our memory or trace us: the
/// kernel forgets at a change of user what [`super::process::guard_ourselves`] has asked of it.
///
/// # Errors
/// If we may not change, root could be regained, or our memory could be read.
pub fn become_user(credentials: &Credentials) -> io::Result<()> {
    let check = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    let Credentials { user, group, groups } = credentials;
    // setresuid(2) and setresgid(2) take this number for "leave it as it is".
    if [user, group].contains(&&u32::MAX) {
        return Err(rustix::io::Errno::INVAL.into());
    }
    // SAFETY: the pointer and the length are those of a living slice; the C library makes every thread follow.
    unsafe {
        check(libc::setgroups(groups.len(), groups.as_ptr()))?;
        check(libc::setresgid(*group, *group, *group))?;
        check(libc::setresuid(*user, *user, *user))?;
        if *user != 0 && libc::setuid(0) == 0 {
            return Err(io::Error::other("root could be had back"));
        }
    }
    guard_memory()
}

/// Runs a question as this user, on a thread of its own: for example whether a file can be read.
///
/// # Errors
/// If we may not change to that user.
pub fn as_user<T: Send>(credentials: &Credentials, question: impl FnOnce() -> T + Send) -> io::Result<T> {
    let answered = thread::scope(|scope| {
        let asking = thread::Builder::new().spawn_scoped(scope, || {
            let group = Gid::from_raw(credentials.group);
            let user = Uid::from_raw(credentials.user);
            set_thread_groups(&credentials.groups.iter().copied().map(Gid::from_raw).collect::<Vec<_>>())?;
            set_thread_res_gid(group, group, group)?;
            set_thread_res_uid(user, user, user)?;
            Ok(question())
        })?;
        asking.join().unwrap_or_else(|_| Err(io::Error::other("the thread that asked has ended")))
    });
    guard_memory()?;
    answered
}

/// Forbids other processes to read our memory (keys) or to trace us, and checks that this took effect.
pub(crate) fn guard_memory() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    match dumpable_behavior()? {
        DumpableBehavior::NotDumpable => Ok(()),
        _ => Err(io::Error::other("our memory could be read by others")),
    }
}

/// Returns whether a process that changes its user can be traced by that user's processes for a moment, before it forbids it: if
/// `fs.suid_dumpable` is 1 (proc_sys_fs(5): "intended for system debugging situations only").
pub fn traceable_while_changing() -> bool {
    std::fs::read_to_string("/proc/sys/fs/suid_dumpable").is_ok_and(|value| value.trim() == "1")
}
