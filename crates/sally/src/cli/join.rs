//! `sally join`.

use std::path::PathBuf;

use clap::Args;

/// `sally join`.
#[derive(Args, Debug)]
#[command(after_help = KEYS)]
pub struct JoinArgs {
    /// Link that the share printed after "sally join" [default port: 2222 of a relay, 22 of a share]
    #[arg(value_name = "NAME@RELAY[:PORT]#SHA256:…|HOST[:PORT]#SHA256:…")]
    pub link: String,
    /// Private key to log in with, or a public key whose private key the agent has [default: the keys of the agent, then
    /// ~/.ssh/id_ed25519, id_ecdsa and id_rsa]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Host key of the relay, such as 'ssh-ed25519 AAAA…' [default: the relay's keys in ~/.ssh/known_hosts]
    #[arg(long, value_name = "KEY")]
    pub relay_host_key: Option<ssh_key::PublicKey>,
}

const KEYS: &str = "Keys:\n  ~.  leaves, at the beginning of a line (~~ types one ~)\n  q   leaves, if you may only watch, or while the connection is lost\n\n\
                    A lost connection is joined again by itself. The exit status is the share's, 0 after you left, and 255 if the connection \
                    could not be made or was lost when you left.";
