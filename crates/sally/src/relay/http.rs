//! `/metrics` and `/healthz` for a monitoring system. Nothing here changes anything, and nothing names a visitor or a device.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use sally_proto::admission::{Settings, Startups};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::Relay;
use crate::net::accept::accept_each;
use crate::net::admission::{Connection, Gate, Origins};
use crate::net::tls::ServerCertificate;

/// Connections at once: a scraper and a health check need two. A newcomer is never refused: an older one makes room, of the source that has most.
const CONNECTIONS: u32 = 16;
/// How long a request's head may take, and TLS before it: they are sent by programs, over no great distance.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection may last.
const LIMIT: Duration = Duration::from_secs(60);

/// Answers until it is aborted.
pub(super) async fn serve(listener: TcpListener, tls: Option<Arc<ServerCertificate>>, relay: Arc<Relay>) {
    let startups = Startups { start: CONNECTIONS, rate: 100, full: CONNECTIONS };
    let gate = Gate::new(Settings { startups, refuse: false }, Origins::default());
    let each = |tcp, peer| {
        if let Some(connection) = gate.admit(Some(peer).into()) {
            tokio::spawn(attend(tcp, connection, tls.clone(), Arc::clone(&relay)));
        }
    };
    accept_each(listener, &CancellationToken::new(), each, || gate.make_room()).await;
}

/// Serves one connection, until it makes room for another at the latest.
async fn attend(tcp: TcpStream, connection: Connection, tls: Option<Arc<ServerCertificate>>, relay: Arc<Relay>) {
    let asked = AtomicBool::new(false);
    let served = async {
        match tls.map(|tls| tls.acceptor()) {
            None => converse(tcp, &relay, &asked).await,
            Some(tls) => match tokio::time::timeout(HEAD_LIMIT, tls.accept(tcp)).await {
                Ok(Ok(stream)) => converse(stream, &relay, &asked).await,
                Ok(Err(error)) => tracing::info!(%error, "no TLS with a monitoring system"),
                Err(_) => {}
            },
        }
    };
    // A client that breaks off is none of our business.
    let _ = connection.cut.run_until_cancelled(tokio::time::timeout(LIMIT, served)).await;
    if asked.load(Ordering::Relaxed) {
        // Who asks for what there is here is the last to make room.
        connection.authenticated();
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, relay: &Relay, asked: &AtomicBool) {
    let answer = service_fn(async |request| {
        asked.store(true, Ordering::Relaxed);
        Ok::<_, Infallible>(answer(relay, &request))
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
