//! What a relay decides, as pure functions and a state machine.
//!
//! - `connections`: how many connections at once, and whose
//! - `guests`: the keys that a registration admits
//! - `listen`: what a `tcpip-forward` asks for, a name or a port of this machine, and whether a key may have it
//! - `registry`: who holds which name and port
//! - `mint`: names that a relay makes, and knows again
//! - `refusal`: every sentence that somebody is refused with
//! - `shares`: how many visits at once, and whose
//! - `tally`: lines of strangers on the audit log, and sums of those that are left out
//! - `veil`: what logs say in place of a name that was made

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
/// The global request with which a device shows why it has dialled.
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
