//! Serves HTTP/1.1: connections, TLS and limits. The answers are the router's.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use sally_proto::admission::AdmissionSettings;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::accept::accept_each;
use super::admission::{Connection, Origins, ServerAdmission};
use super::tls::ServerCertificate;

/// An answer.
pub type HttpResponse = Response<Full<Bytes>>;

/// The answers of a server.
pub trait Router: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = HttpResponse> + Send;
}

/// The limits of connections.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Connections at once. A new one is never refused: an older one of the source with the most connections makes room.
    pub connections: u32,
    /// How long the head of a request may take, and TLS before it.
    pub head: Duration,
    /// How long a connection may last.
    pub connection: Duration,
}

/// Serves until `shut`.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerCertificate>>,
    router: Arc<impl Router>,
    limits: HttpLimits,
    shut: CancellationToken,
) {
    let admission = ServerAdmission::new(AdmissionSettings::crowd(limits.connections), Origins::default());
    let each = |tcp, peer| {
        if let Some(connection) = admission.admit(Some(peer).into()) {
            tokio::spawn(attend(tcp, connection, tls.clone(), Arc::clone(&router), limits));
        }
    };
    accept_each(listener, &shut, each, || admission.make_room()).await;
}

/// Serves one connection, at most until it makes room for another.
async fn attend(tcp: TcpStream, connection: Connection, tls: Option<Arc<ServerCertificate>>, router: Arc<impl Router>, limits: HttpLimits) {
    let asked = AtomicBool::new(false);
    let served = async {
        match tls.map(|tls| tls.acceptor()) {
            None => converse(tcp, &*router, &asked, limits).await,
            Some(tls) => match tokio::time::timeout(limits.head, tls.accept(tcp)).await {
                Ok(Ok(stream)) => converse(stream, &*router, &asked, limits).await,
                Ok(Err(error)) => tracing::info!(%error, "the TLS handshake with a client failed"),
                Err(_) => {}
            },
        }
    };
    // A client that breaks off is no error.
    let _ = connection.cut.run_until_cancelled(tokio::time::timeout(limits.connection, served)).await;
    if asked.load(Ordering::Relaxed) {
        // A client that has made a request is the last to make room.
        connection.authenticated();
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, router: &impl Router, asked: &AtomicBool, limits: HttpLimits) {
    let answer = service_fn(async |request| {
        asked.store(true, Ordering::Relaxed);
        Ok::<_, Infallible>(router.answer(request).await)
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    let _ = http.timer(TokioTimer::new()).header_read_timeout(limits.head).serve_connection(TokioIo::new(stream), answer).await;
}

/// Makes an answer of a whole text.
pub fn text(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> HttpResponse {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
