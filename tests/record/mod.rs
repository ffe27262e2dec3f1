//! The record of a session: what is in it, what proves it, and what happens where it cannot be written.

mod characters;
mod digests;
mod disk;
mod forged;
mod masking;
mod prepared;
mod record;
