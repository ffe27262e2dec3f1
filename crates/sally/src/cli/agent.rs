//! `sally agent`.

use std::path::PathBuf;

use clap::Args;
use sally_proto::host_port::HostPort;
use sally_proto::wake::Prefix;

/// `sally agent`.
#[derive(Args, Debug)]
pub struct AgentArgs {
    /// The folder that sally fleet add made for this device
    #[arg(long, value_name = "DIR")]
    pub bundle: PathBuf,
    /// What visitors reach at port 22 [default: the bundle's, which is 127.0.0.1:22]
    #[arg(long, value_name = "HOST:PORT")]
    pub to: Option<HostPort>,
    /// What stands before every topic, as the relay has it
    #[arg(long, value_name = "LEVELS", default_value = "")]
    pub topic_prefix: Prefix,
}
