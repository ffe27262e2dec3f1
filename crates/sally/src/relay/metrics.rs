//! The metrics, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Relay;
use crate::broker::BrokerCounts;
use crate::lock::lock;

/// Counters that only grow.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections rejected because their key has reached its limit.
    pub turned_away: AtomicU64,
    /// Connections that logged in.
    pub authenticated: AtomicU64,
    /// Visits carried.
    pub visits: AtomicU64,
    /// Bytes towards devices.
    pub up: AtomicU64,
    /// Bytes from devices.
    pub down: AtomicU64,
    /// Names and ports registered.
    pub registered: AtomicU64,
    /// Older connections replaced.
    pub takeovers: AtomicU64,
    /// Times that the fleet's folder couldn't be read.
    pub fleet_failures: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl Metrics {
    /// Adds 1 to a counter.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds 1 to the refusals of this kind.
    pub fn refused(&self, why: &'static str) {
        let mut refused = lock(&self.refused);
        let count = refused.entry(why).or_default();
        *count = count.saturating_add(1);
    }
}

impl Relay {
    /// Returns all metrics, as `/metrics` serves them.
    pub fn exposition(&self) -> String {
        let metrics = &self.metrics;
        let mut text = String::new();
        let (names, ports) = self.tunnels.counts();
        let (live, clients) = (self.visits().len() as u64, self.clients().len() as u64);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (up, down) = self.visits().values().fold((load(&metrics.up), load(&metrics.down)), |(up, down), visit| {
            let (u, d) = visit.bytes();
            (up.saturating_add(u), down.saturating_add(d))
        });
        let mut counter = |name, help, samples: &[(&str, u64)]| family(&mut text, name, "counter", help, samples);
        counter("connections_total", "Connections accepted", &[("", load(&metrics.connections))]);
        counter("authenticated_total", "Connections that logged in", &[("", load(&metrics.authenticated))]);
        counter(
            "connections_turned_away_total",
            "Connections refused because their key is at its limit",
            &[("", load(&metrics.turned_away))],
        );
        counter("registered_total", "Names and ports registered", &[("", load(&metrics.registered))]);
        counter("takeovers_total", "Silent connections replaced by newer ones", &[("", load(&metrics.takeovers))]);
        counter("visits_total", "Visits begun", &[("", load(&metrics.visits))]);
        counter("bytes_total", "Bytes carried", &[("direction=\"up\"", up), ("direction=\"down\"", down)]);
        let logged = self.audit.counters();
        counter("audit_bytes_total", "Bytes written to the audit log", &[("", load(&logged.bytes))]);
        counter("audit_lost_total", "Lines that could not be written to the audit log", &[("", load(&logged.lost))]);
        counter(
            "audit_left_out_total",
            "Lines about clients without a key that were counted instead of written",
            &[("", load(&self.unauthenticated.left_out))],
        );
        counter("audit_rotations_total", "Rotations of the audit log", &[("", load(&logged.rotations))]);
        counter("audit_rotation_failures_total", "Rotations of the audit log that failed", &[("", load(&logged.rotation_failures))]);
        if let Some(wakes) = &self.wakes {
            counter("wakes_total", "Wakes published", &[("", load(&wakes.published))]);
            counter("fleet_reads_total", "Times that the fleet's folder was read", &[("", load(&wakes.fleet.reads))]);
            counter("fleet_failures_total", "Times that the fleet's folder couldn't be read", &[("", load(&metrics.fleet_failures))]);
        }
        let mut gauge = |name, help, samples: &[(&str, u64)]| family(&mut text, name, "gauge", help, samples);
        gauge("connected", "Connections that are logged in", &[("", clients)]);
        gauge("connections_free", "Connections that can be accepted besides the open ones", &[("", self.descriptors.free() as u64)]);
        gauge("tunnels", "Names and ports registered", &[("kind=\"name\"", names as u64), ("kind=\"port\"", ports as u64)]);
        gauge("visits", "Visits that are open", &[("", live)]);
        gauge("audit_failing", "Whether the audit log can't be written (1: yes)", &[("", self.audit.is_failing().into())]);
        if let Some(wakes) = &self.wakes {
            gauge("broker_up", "Whether the broker is connected (1: yes)", &[("", wakes.broker_up.load(Ordering::Relaxed).into())]);
            gauge("waiting", "Visitors that wait for a device", &[("", wakes.waiting() as u64)]);
            if let Some(broker) = &wakes.embedded {
                broker_families(&mut text, &broker.counts());
            }
        }
        let refused = lock(&metrics.refused);
        let labels: Vec<_> = refused.iter().map(|(why, count)| (format!("why=\"{why}\""), *count)).collect();
        let samples: Vec<_> = labels.iter().map(|(label, count)| (label.as_str(), *count)).collect();
        family(&mut text, "refused_total", "counter", "Requests refused", &samples);
        text
    }
}

/// Appends the counters of the broker in this process.
fn broker_families(text: &mut String, counts: &BrokerCounts) {
    let mut one = |name, kind, help, samples: &[(&str, u64)]| family(text, name, kind, help, samples);
    one("mqtt_clients", "gauge", "MQTT clients connected", &[("", counts.connected as u64)]);
    one("mqtt_retained", "gauge", "Statuses retained", &[("", counts.retained as u64)]);
    one("mqtt_accepted_total", "counter", "MQTT connections accepted", &[("", counts.accepted)]);
    one("mqtt_entered_total", "counter", "MQTT clients whose CONNECT was accepted", &[("", counts.entered)]);
    let messages = [("direction=\"in\"", counts.published), ("direction=\"out\"", counts.delivered), ("direction=\"lost\"", counts.lost)];
    one("mqtt_messages_total", "counter", "MQTT messages", &messages);
    for (name, help, reasons) in
        [("mqtt_refused_total", "MQTT connections refused", &counts.refused), ("mqtt_ended_total", "MQTT connections ended", &counts.ended)]
    {
        let labels: Vec<_> = reasons.iter().map(|(why, count)| (format!("why=\"{why}\""), *count)).collect();
        let samples: Vec<_> = labels.iter().map(|(label, count)| (label.as_str(), *count)).collect();
        one(name, "counter", help, &samples);
    }
}

fn family(text: &mut String, name: &str, kind: &str, help: &str, samples: &[(&str, u64)]) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "# HELP sally_{name} {help}\n# TYPE sally_{name} {kind}");
    for (labels, value) in samples {
        let _ = match *labels {
            "" => writeln!(text, "sally_{name} {value}"),
            labels => writeln!(text, "sally_{name}{{{labels}}} {value}"),
        };
    }
}
