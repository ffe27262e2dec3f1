//! `sally share`: one terminal, several people.

mod control;
mod ends;
mod faults;
mod local;
mod names;
mod roles;
mod share;
mod through_relay;
