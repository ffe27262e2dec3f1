//! Shares one program's terminal with several people, each on a terminal of their own.
//!
//! - `hub`: the state that the program and the people share: the screen, who is there, whose input is next
//! - `person`: one person: what may be typed, and what waits to be
//! - `program`: the program's side: its output goes to the screen, its input comes from the people in turn
//! - `viewer`: one person's side: the screen is drawn there, what is typed there waits its turn
//! - `service`: a viewer on a session channel
//! - `waiting`: what a viewer sees until the host has let them in
//! - `local`: a viewer on the terminal that Sally was started on
//! - `status`: the last row of that terminal, and the commands typed there
//! - `sources`: the keys, which are read again while the share lives
//! - `control`: the socket on which `sally share list|kick|…` reaches a running share
//!
//! The program runs as one session of `session::run`: all its bytes are recorded there before the hub sees them.

pub mod control;
pub mod hub;
pub mod local;
mod person;
pub mod program;
pub mod service;
pub mod sources;
mod status;
mod viewer;
mod waiting;

use sally_proto::record::Via;

/// Returns the name of a way, as records have it.
fn via_name(via: Via) -> &'static str {
    match via {
        Via::Local => "local",
        Via::Direct => "direct",
        Via::Jump => "jump",
        Via::Relay => "relay",
        Via::Web => "web",
    }
}
