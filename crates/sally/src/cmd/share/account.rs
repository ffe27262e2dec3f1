//! Changes to the account that the program runs as.

use std::path::Path;

use sally_proto::error::Fault;

use crate::config::Share;
use crate::record::RecordTarget;
use crate::session::account::{can_alter, can_read};
use crate::term;

/// Switches to the account of the program, if it is another one. Warns if that account can read a key that outlives this share.
pub(super) fn settle(config: &Share) -> Result<(), Fault> {
    let Some(run_as) = &config.run_as else { return Ok(()) };
    run_as.take_on()?;
    let host_keys = config.server.host_keys.iter().map(|file| (file, "imitate this server and sign records"));
    let identity = config.relay.iter().map(|dial| (&dial.identity, "hold its names on the relay"));
    for (file, harm) in host_keys.chain(identity).filter(|(file, _)| can_read(file)) {
        term::warn(&format!(
            "the program runs as {}, who can read {}: a viewer who may write can copy that key, and {harm}, also after this share. Make root the \
             file's owner, with mode 0600",
            run_as.named(),
            file.display()
        ));
    }
    if let RecordTarget::File(file) = &config.target
        && can_alter(file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
    {
        term::warn(&format!(
            "the program runs as {}, who can remove the record {}: name a file in a folder that only root can write to",
            run_as.named(),
            file.display()
        ));
    }
    Ok(())
}
