//! Decides for a relay, as pure functions and a state machine.
//!
//! - `connections`: how many connections at once, and how many of one key
//! - `admitted`: the keys that a registration admits
//! - `listen`: what a `tcpip-forward` asks for, a name or a port of this machine, and whether a key may have it
//! - `registry`: which connection holds which name and port
//! - `name_generator`: names that a relay generates, and recognises
//! - `refusal`: every sentence of refusal
//! - `visit_shares`: how many visits at once, and how many of one client
//! - `tally`: audit lines about clients without a key, and the sums of what isn't listed
//! - `veil`: what logs show in place of a generated name

mod admitted;
mod connections;
mod listen;
mod name_generator;
mod refusal;
mod registry;
mod tally;
mod veil;
mod visit_shares;

/// The global request (RFC 4254 section 4) with which a device asks a relay for a name: see docs/wire.md.
pub const NAME_REQUEST: &str = "name@sally";
/// The global request with which a device admits more keys to that name.
pub const ADMIT_REQUEST: &str = "admit@sally";
/// The global request with which a woken device shows its ticket.
pub const TICKET_REQUEST: &str = "ticket@sally";

pub use admitted::{ADMITTED_BY_CONNECTION_MAX, ADMITTED_BYTES_MAX, ADMITTED_KEYS_MAX, admit_requests, admitted_keys};
pub use connections::{ConnectionShares, DescriptorShares};
pub use listen::{Address, Listen, PortSet, around, covers_name, nearest, spelled_names};
pub use name_generator::NameGenerator;
pub use refusal::Refusal;
pub use registry::{Claim, Registry, Slot, SlotHolder};
pub use tally::{LineVerdict, Sum, Tally, TallyKey, UnauthenticatedAction};
pub use veil::Veiled;
pub use visit_shares::{PermitHolder, VisitShares};
