//! `sally agent`.

use std::path::PathBuf;

use clap::Args;
use sally_proto::host_port::HostPort;
use sally_proto::wake::Prefix;

/// `sally agent`.
#[derive(Args, Debug)]
pub struct AgentArgs {
    /// Bundle of this device: the folder that sally fleet add made
    #[arg(long, value_name = "DIR")]
    pub bundle: PathBuf,
    /// Address of the server for visitors who connect to port 22 of this device [default: the bundle's setting, which is 127.0.0.1:22]
    #[arg(long, value_name = "HOST:PORT")]
    pub to: Option<HostPort>,
    /// Prefix of every MQTT topic, up to 3 levels such as acme/eu; the relay needs the same prefix
    #[arg(long, value_name = "LEVELS", default_value = "")]
    pub topic_prefix: Prefix,
}
