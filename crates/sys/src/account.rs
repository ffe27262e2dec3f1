//! Becoming another user: the whole process for good, or one thread for a question.

use std::io;
use std::thread;

use rustix::process::{DumpableBehavior, Gid, Uid, dumpable_behavior, set_dumpable_behavior};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// The numbers by which the kernel decides what a process may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: u32,
    /// The user's own group.
    pub group: u32,
    /// Every other group.
    pub groups: Vec<u32>,
}

impl Credentials {
    /// A user and a group of this number, and no other group.
    pub fn of_number(id: u32) -> Self {
        Self { user: id, group: id, groups: Vec::new() }
    }
}

/// Becomes this user for good: all threads of the process. Afterwards no process of that user reads our memory or traces us: the kernel
/// forgets at a change of user what [`super::process::guard_ourselves`] has asked of it.
///
/// # Errors
/// Where we may not, root could be had back, or our memory could be read.
pub fn become_user(credentials: &Credentials) -> io::Result<()> {
    let check = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    let Credentials { user, group, groups } = credentials;
    // The number that means "leave it as it is" to setresuid(2) and setresgid(2).
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

/// Asks something as this user, on a thread of its own that is nobody else's: whether a file can be read, say.
///
/// # Errors
/// Where we may not become that user.
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

/// Keeps others from reading our memory (keys) or tracing us, and sees that it is so.
pub(crate) fn guard_memory() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    match dumpable_behavior()? {
        DumpableBehavior::NotDumpable => Ok(()),
        _ => Err(io::Error::other("our memory could be read by others")),
    }
}

/// Whether a process that changes its user can be traced by that user's others for a moment, before it can forbid it: where
/// `fs.suid_dumpable` is 1 (proc_sys_fs(5): "intended for system debugging situations only").
pub fn traceable_while_changing() -> bool {
    std::fs::read_to_string("/proc/sys/fs/suid_dumpable").is_ok_and(|value| value.trim() == "1")
}
