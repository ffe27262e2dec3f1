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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Relay;
use super::tls::Tls;
use crate::ssh::listen::ACCEPT_PAUSE;

/// Connections at once: a scraper and a health check need two.
const CONNECTIONS: usize = 16;
/// How long a request's head may take.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection may last.
const LIMIT: Duration = Duration::from_secs(60);

/// Answers until the process ends.
pub(super) async fn serve(listener: TcpListener, tls: Option<Arc<Tls>>, relay: Arc<Relay>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((tcp, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (relay, tls) = (Arc::clone(&relay), tls.as_ref().map(|tls| tls.acceptor()));
        tokio::spawn(async move {
            // A client that breaks off is none of our business.
            let _ = tokio::time::timeout(LIMIT, async {
                match tls {
                    None => converse(tcp, relay).await,
                    Some(tls) => match tokio::time::timeout(HEAD_LIMIT, tls.accept(tcp)).await {
                        Ok(Ok(stream)) => converse(stream, relay).await,
                        Ok(Err(error)) => tracing::info!(%error, "no TLS with a monitoring system"),
                        Err(_) => {}
                    },
                }
            })
            .await;
            drop(place);
        });
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, relay: Arc<Relay>) {
    let answer = service_fn(move |request| {
        let relay = Arc::clone(&relay);
        async move { Ok::<_, Infallible>(answer(&relay, &request)) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    let _ = http.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).serve_connection(TokioIo::new(stream), answer).await;
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
