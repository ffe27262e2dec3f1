//! `/metrics` and `/healthz` for a monitoring system. Nothing here changes anything, and nothing names a visitor or a device.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Relay;
use crate::ssh::listen::ACCEPT_PAUSE;

/// Connections at once: a scraper and a health check need two.
const CONNECTIONS: usize = 16;
/// How long a request's head may take.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection may last.
const LIMIT: Duration = Duration::from_secs(60);

/// Answers until the process ends.
pub(super) async fn serve(listener: TcpListener, relay: Arc<Relay>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((tcp, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let relay = Arc::clone(&relay);
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let relay = Arc::clone(&relay);
                async move { Ok::<_, Infallible>(answer(&relay, &request)) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            let serving = http.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).serve_connection(TokioIo::new(tcp), answer);
            let _ = tokio::time::timeout(LIMIT, serving).await; // A client that breaks off is none of our business.
            drop(place);
        });
    }
}

fn answer<B>(relay: &Relay, request: &Request<B>) -> Response<Full<Bytes>> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, "text/plain; version=0.0.4", relay.exposition()),
        (&Method::GET | &Method::HEAD, "/healthz") => {
            let (status, text) = health(relay);
            (status, "text/plain", format!("{text}\n"))
        }
        (&Method::GET | &Method::HEAD, _) => (StatusCode::NOT_FOUND, "text/plain", "/metrics and /healthz\n".into()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET\n".into()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
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
