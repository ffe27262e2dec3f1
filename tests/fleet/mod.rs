//! `sally fleet`, `sally agent` and the MQTT listener: devices that sleep and are woken.

mod broker;
mod containers_fleet;
mod fleet;
mod wake;
mod wake_brokers;
mod wake_embedded;
mod wake_faults;
mod wake_session;
mod wake_trust;
mod wake_unauthenticated;
