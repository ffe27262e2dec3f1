//! What `sally once`, `sally relay` and `sally jail` have in common.

use std::path::PathBuf;

use clap::Args;
use sally_proto::address_block::AddressBlock;

/// What clients see of a server before anything else, and whom it refuses whatever they may.
#[derive(Args, Debug)]
#[command(next_help_heading = "Host keys and clients")]
pub struct DoorArgs {
    /// A host key of your own, an unencrypted OpenSSH private key (repeatable, one of each type). The Ed25519 one, else the first, is the one
    /// that is announced and signs; the others are for clients that don't know its type [default: a fresh Ed25519 key]
    #[arg(long, value_name = "FILE")]
    pub host_key: Vec<PathBuf>,
    /// A certificate for a host key (repeatable) [default: FILE-cert.pub beside each host key, where there is one]
    #[arg(long, value_name = "FILE")]
    pub host_cert: Vec<PathBuf>,
    /// Post-quantum key exchange alone: ML-KEM (OpenSSH 9.9 and later)
    #[arg(long)]
    pub pq_only: bool,
    /// Show this text before authentication (UTF-8, 64 KiB at most, as it is)
    #[arg(long, value_name = "FILE")]
    pub banner: Option<PathBuf>,
    /// Refuse these keys and certificates, whatever else lets them in: a key revocation list of ssh-keygen -k, or public keys, one a line
    #[arg(long, value_name = "FILE")]
    pub revoked_keys: Option<PathBuf>,
    /// Addresses that have no penalty for refused keys, garbage and the like, as 192.0.2.0/24 (repeatable)
    #[arg(long, value_name = "CIDR")]
    pub penalty_exempt: Vec<AddressBlock>,
    /// Balancers that begin each connection with a PROXY protocol header (version 2), which says where it comes from (repeatable); their
    /// connections without one are closed
    #[arg(long, value_name = "CIDR")]
    pub proxy_protocol: Vec<AddressBlock>,
}
