//! `sally share`: one terminal, several people.

mod action;
mod announce;
mod approve;
mod container;
mod control;
mod ends;
mod faults;
mod join;
mod local;
mod names;
mod roles;
mod share;
mod sources;
mod through_relay;
