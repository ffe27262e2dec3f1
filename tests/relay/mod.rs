//! `sally relay`: devices that are connected, the users who reach them, and the operator.

mod penalties;
mod relay;
mod relay_admitted;
mod relay_audit;
mod relay_console;
mod relay_faults;
mod relay_http;
mod relay_keys;
mod relay_names;
mod relay_network;
mod relay_once;
mod relay_operation;
mod relay_options;
mod relay_places;
