//! What an agent is told.

use std::path::PathBuf;

use sally_proto::host_port::HostPort;
use sally_proto::wake::Prefix;

/// Everything `sally agent` runs on.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder that sally fleet add made.
    pub bundle: PathBuf,
    /// What visitors reach at port 22, if it isn't what the bundle says.
    pub to: Option<HostPort>,
    /// What stands before every topic.
    pub prefix: Prefix,
}
