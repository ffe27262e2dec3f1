//! `sally share`: one terminal, several people.

mod control;
mod ends;
mod faults;
mod join;
mod local;
mod names;
mod roles;
mod share;
mod through_relay;
