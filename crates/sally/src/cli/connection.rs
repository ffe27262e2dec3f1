//! The options that `sally once`, `sally relay` and `sally jail` share.

use std::path::PathBuf;

use clap::Args;
use sally_proto::address_block::AddressBlock;

/// What a server shows to clients before they log in, and which clients it refuses in any case.
#[derive(Args, Debug)]
#[command(next_help_heading = "Host keys and clients")]
pub struct ConnectionArgs {
    /// Host key to use: an unencrypted OpenSSH private key (repeatable, one of each type). Sally announces the Ed25519 key, else the first
    /// one, and signs records with it; clients that don't support its type get another [default: a new Ed25519 key]
    #[arg(long, value_name = "FILE")]
    pub host_key: Vec<PathBuf>,
    /// Certificate of a host key (repeatable) [default: FILE-cert.pub beside each --host-key FILE, if it exists]
    #[arg(long, value_name = "FILE")]
    pub host_cert: Vec<PathBuf>,
    /// Offer post-quantum key exchange only: ML-KEM (clients need OpenSSH 9.9 or later)
    #[arg(long)]
    pub pq_only: bool,
    /// Text file to show before authentication (UTF-8, at most 64 KiB, sent unchanged)
    #[arg(long, value_name = "FILE")]
    pub banner: Option<PathBuf>,
    /// Refuse the keys and certificates in this file, even if another option accepts them: a key revocation list (ssh-keygen -k), or public
    /// keys, one per line
    #[arg(long, value_name = "FILE")]
    pub revoked_keys: Option<PathBuf>,
    /// Addresses exempt from the penalties for refused keys and protocol errors, such as 192.0.2.0/24 (repeatable)
    #[arg(long, value_name = "CIDR")]
    pub penalty_exempt: Vec<AddressBlock>,
    /// Addresses of load balancers that send a PROXY protocol header (version 2), such as 192.0.2.0/24 (repeatable). The header gives the
    /// client's address; Sally closes a connection from a balancer that sends no header
    #[arg(long, value_name = "CIDR")]
    pub proxy_protocol: Vec<AddressBlock>,
}

/// Sources of authorized keys. Several may be given; Sally doesn't start if one of them fails.
#[derive(Args, Debug)]
#[command(next_help_heading = "Keys that may log in (at least one source; $AUTHORIZED_KEYS is one too)")]
pub struct KeyArgs {
    /// File of keys that may log in, in the format of ~/.ssh/authorized_keys; - reads stdin (repeatable)
    #[arg(long, value_name = "FILE")]
    pub authorized_keys: Vec<PathBuf>,
    /// Accept the public keys of this GitHub user (repeatable)
    #[arg(long, value_name = "USER")]
    pub github: Vec<String>,
    /// URL to fetch the keys of --github from; {user} stands for the user's name
    #[arg(long, value_name = "TEMPLATE", default_value = crate::keys::GITHUB, value_parser = crate::keys::parse_template)]
    pub keys_url: String,
    /// Accept only this user name [default: any name; for a jail: tunuser]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
}
