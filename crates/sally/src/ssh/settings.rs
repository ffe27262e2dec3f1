//! What a door shows of itself, whoever comes.

use super::host_keys::HostKeys;
use crate::config::DoorOptions;

/// What is the same for every connection of a door, a relay or a jail.
#[derive(Clone, Debug)]
pub struct DoorSettings {
    /// The keys that it shows.
    pub host_keys: HostKeys,
    /// Post-quantum key exchange alone.
    pub post_quantum_only: bool,
}

impl DoorSettings {
    /// What the options say, with these keys.
    pub fn new(options: &DoorOptions, host_keys: HostKeys) -> Self {
        Self { host_keys, post_quantum_only: options.post_quantum_only }
    }
}
