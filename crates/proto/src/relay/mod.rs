//! What a relay decides, as pure functions and a state machine.
//!
//! - `listen`: what a `tcpip-forward` asks for, a name or a port of this machine, and whether a key may have it
//! - `registry`: who holds which name and port
//! - `refusal`: every sentence that somebody is refused with

mod listen;
mod refusal;
mod registry;

pub use listen::{Address, Listen, PortSet, covers_name, nearest, spelled_names};
pub use refusal::Refusal;
pub use registry::{Claim, Held, Registry, Slot};
