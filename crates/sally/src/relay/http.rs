//! `/metrics` and `/healthz` for a monitoring system. They change nothing, and name no visitor and no device.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};

use super::Relay;
use crate::net::http::{HttpLimits, HttpResponse, Router, text};

/// A scraper and a health check need two connections; both are programs nearby.
pub(super) const LIMITS: HttpLimits = HttpLimits { connections: 16, head: Duration::from_secs(5), connection: Duration::from_secs(60) };

/// The routes for a monitoring system.
pub(super) struct Monitoring(pub(super) Arc<Relay>);

impl Router for Monitoring {
    async fn answer(&self, request: Request<Incoming>) -> HttpResponse {
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/metrics") => text(StatusCode::OK, "text/plain; version=0.0.4", self.0.exposition()),
            (&Method::GET | &Method::HEAD, "/healthz") => {
                let (status, said) = health(&self.0);
                text(status, "text/plain", format!("{said}\n"))
            }
            (&Method::GET | &Method::HEAD, _) => text(StatusCode::NOT_FOUND, "text/plain", "/metrics and /healthz\n"),
            _ => text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET\n"),
        }
    }
}

fn health(relay: &Relay) -> (StatusCode, &'static str) {
    if relay.shut().is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping")
    } else if relay.audit.is_failing() {
        (StatusCode::SERVICE_UNAVAILABLE, "the audit log can't be written")
    } else {
        (StatusCode::OK, "ok")
    }
}
