//! Decides for a relay, as pure functions and a state machine.
//!
//! - `connections`: how many connections at once, and how many of one key
//! - `guests`: the keys that a registration admits
//! - `listen`: what a `tcpip-forward` asks for, a name or a port of this machine, and whether a key may have it
//! - `registry`: which connection holds which name and port
//! - `mint`: names that a relay generates, and recognises
//! - `refusal`: every sentence of refusal
//! - `shares`: how many visits at once, and how many of one client
//! - `tally`: audit lines about clients without a key, and the sums of what isn't listed
//! - `veil`: what logs show in place of a generated name

mod connections;
mod guests;
mod listen;
mod mint;
mod refusal;
mod registry;
mod shares;
mod tally;
mod veil;

/// The global request (RFC 4254 section 4) with which a device asks a relay for a name: see docs/wire.md.
pub const NAME_REQUEST: &str = "name@sally";
/// The global request with which a device admits more keys to that name.
pub const ADMIT_REQUEST: &str = "admit@sally";
/// The global request with which a woken device shows its ticket.
pub const TICKET_REQUEST: &str = "ticket@sally";

pub use connections::{ConnectionShares, DescriptorShares};
pub use guests::{GUEST_BYTES_MAX, GUEST_KEYS_MAX, guest_requests, guests};
pub use listen::{Address, Listen, PortSet, around, covers_name, nearest, spelled_names};
pub use mint::Mint;
pub use refusal::Refusal;
pub use registry::{Claim, Held, Registry, Slot};
pub use shares::{Shares, Taker};
pub use tally::{Deed, Heap, Sum, Tally, Verdict};
pub use veil::Veiled;
