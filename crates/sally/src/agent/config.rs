//! The configuration of an agent.

use std::path::PathBuf;

use sally_proto::host_port::HostPort;
use sally_proto::wake::Prefix;

/// The configuration of `sally agent`.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The bundle, the folder that sally fleet add made.
    pub bundle: PathBuf,
    /// The address that visitors reach at port 22, if it isn't the bundle's.
    pub to: Option<HostPort>,
    /// The prefix of every topic.
    pub prefix: Prefix,
}
