//! Becoming another user, for good.

use std::io;

use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

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

/// Keeps others from reading our memory (keys) or tracing us, and sees that it is so.
pub(crate) fn guard_memory() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    match dumpable_behavior()? {
        DumpableBehavior::NotDumpable => Ok(()),
        _ => Err(io::Error::other("our memory could be read by others")),
    }
}
