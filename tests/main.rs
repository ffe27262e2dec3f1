//! End to end with real clients: scenarios named for what a user does. They await events, never sleep.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod support;

mod accounts;
mod admin;
mod algorithms;
mod announce;
mod banner;
mod beside;
mod bomb;
mod broker;
mod characters;
mod clients;
mod clock;
mod constrained_keys;
mod containers;
mod containers_fleet;
mod deadlines;
mod diagnostics;
mod digests;
mod disk;
mod ends;
mod environment;
mod errors;
mod fleet;
mod flow;
mod forged;
mod forward;
mod host_keys;
mod hostile;
mod inetd;
mod interactive;
mod jail;
mod libraries;
mod lifecycle;
mod limits;
mod manual;
mod masking;
mod multiplex;
mod once_network;
mod once_ports;
mod options;
mod penalties;
mod places;
mod prepared;
mod record;
mod relay;
mod relay_audit;
mod relay_console;
mod relay_faults;
mod relay_guests;
mod relay_http;
mod relay_keys;
mod relay_names;
mod relay_network;
mod relay_once;
mod relay_operation;
mod relay_options;
mod relay_places;
mod revoked;
mod security_keys;
mod sftp;
mod smoke;
mod sources;
mod status;
mod strangers;
mod streams;
mod waits;
mod wake;
mod wake_brokers;
mod wake_embedded;
mod wake_faults;
mod wake_session;
mod wake_strangers;
mod wake_trust;
