//! Sends every HTTP request of Sally: over HTTPS only, and through a proxy if one is set. It follows no redirect: the caller decides where
//! one may lead.

use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Empty, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::http::uri::Scheme;
use hyper::{HeaderMap, Request, Response, StatusCode, Uri, header};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::task::AbortOnDropHandle;

use super::dial::Dialer;
use super::network::NetworkSettings;
use super::stream::Duplex;
use super::tls::{self, Roots};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

/// The default port of https.
const HTTPS_PORT: u16 = 443;
/// The default port of a proxy.
const PROXY_PORT: u16 = 80;

/// The limits of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct HttpsLimits {
    /// The largest answer, in bytes.
    pub answer: usize,
    /// When the last byte has to be there; the time for resolving, connecting and the request is included.
    pub deadline: Instant,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// The deadline has passed.
    #[error("no complete answer in time")]
    Late,
    /// The answer is too long; its limit in bytes.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// Any other failure. It may quote the server.
    #[error("{0}")]
    Failed(String),
}

impl From<String> for HttpsError {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

/// Sends requests to https addresses.
pub struct Https {
    tls: TlsConnector,
    proxies: Matcher,
    tcp: Dialer,
}

impl Https {
    /// Makes a client that uses this proxy and these roots.
    ///
    /// # Errors
    /// [`HttpsError::Failed`] if the proxy or the roots are invalid.
    pub fn new(network: &NetworkSettings) -> Result<Self, HttpsError> {
        let proxies = Matcher::builder()
            .https(network.https_proxy.clone().unwrap_or_default())
            .no(network.no_proxy.clone().unwrap_or_default())
            .build();
        // The matcher takes an unreadable address for no proxy, and would bypass it.
        let example = Uri::from_static("https://proxied.invalid");
        let unproxied = Matcher::builder().https(network.https_proxy.clone().unwrap_or_default()).build().intercept(&example).is_none();
        if network.https_proxy.is_some() && unproxied {
            return Err(HttpsError::Failed("https_proxy is not the address of a proxy".into()));
        }
        Ok(Self { tls: TlsConnector::from(Arc::new(client_config(network)?)), proxies, tcp: Dialer::new() })
    }

    /// Sends a request on its own connection, and waits for the answer's head. Sets `Host` and `User-Agent`.
    ///
    /// # Errors
    /// [`HttpsError`].
    pub async fn send(&self, request: Request<Bytes>, limits: HttpsLimits) -> Result<HttpsResponse, HttpsError> {
        let exchange = timeout_at(limits.deadline, self.exchange(request)).await.map_err(|_| HttpsError::Late)?;
        let (response, connection) = exchange?;
        Ok(HttpsResponse { response, limits, _connection: connection })
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<(Response<Incoming>, AbortOnDropHandle<()>), String> {
        let uri = request.uri().clone();
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Err("only https:// URLs are accepted".into());
        }
        let stream = self.connect(&uri).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| chain(&error))?;
        // The request gets the error that ends the connection.
        let connection = AbortOnDropHandle::new(tokio::spawn(async move { drop(connection.await) }));
        let answer = sender.send_request(addressed(request, &uri).map_err(say)?).await.map_err(|error| chain(&error))?;
        Ok((answer, connection))
    }

    /// Connects to the host and port of an https address, and checks its certificate.
    async fn connect(&self, uri: &Uri) -> Result<TlsStream<Box<dyn Duplex>>, String> {
        let host = uri.host().ok_or("the address has no host")?;
        let port = uri.port_u16().unwrap_or(HTTPS_PORT);
        let stream: Box<dyn Duplex> = match self.proxies.intercept(uri) {
            None => Box::new(self.dial(host, port).await?),
            Some(proxy) => self.connect_through(&proxy, host, port).await?,
        };
        let name = ServerName::try_from(bare(host).to_owned()).map_err(say)?;
        self.tls.connect(name, stream).await.map_err(say)
    }

    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, String> {
        self.tcp.connect(bare(host), port).await.map_err(|reason| format!("{host} port {port}: {reason}"))
    }

    /// Asks a proxy for a tunnel (RFC 9110 §9.3.6).
    async fn connect_through(&self, proxy: &Intercept, host: &str, port: u16) -> Result<Box<dyn Duplex>, String> {
        let address = proxy.uri();
        if address.scheme_str() != Some("http") {
            return Err("https_proxy must be an http:// URL".into());
        }
        let proxy_host = address.host().ok_or("https_proxy has no host")?;
        let stream = self.dial(proxy_host, address.port_u16().unwrap_or(PROXY_PORT)).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(say)?;
        let driver = AbortOnDropHandle::new(tokio::spawn(connection.with_upgrades()));
        let target = format!("{host}:{port}");
        let mut request = Request::connect(&target).header(header::HOST, &target);
        if let Some(credentials) = proxy.basic_auth() {
            request = request.header(header::PROXY_AUTHORIZATION, credentials);
        }
        let answer = sender.send_request(request.body(Empty::<Bytes>::new()).map_err(say)?).await.map_err(say)?;
        if !answer.status().is_success() {
            return Err(format!("the proxy {proxy_host} answered {}", answer.status()));
        }
        let tunnel = hyper::upgrade::on(answer).await.map_err(say)?;
        // The driver has handed the stream over, and has ended.
        drop(driver);
        Ok(Box::new(TokioIo::new(tunnel)))
    }
}

/// Converts a request to the form that servers expect: only the path in the first line.
fn addressed(request: Request<Bytes>, uri: &Uri) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let (mut head, body) = request.into_parts();
    head.uri = Uri::builder().path_and_query(uri.path_and_query().map_or("/", |path| path.as_str())).build()?;
    let host = uri.authority().map_or("", |authority| authority.as_str());
    head.headers.insert(header::HOST, host.parse().map_err(hyper::http::Error::from)?);
    head.headers.insert(header::USER_AGENT, header::HeaderValue::from_static(concat!("sally/", env!("CARGO_PKG_VERSION"))));
    Ok(Request::from_parts(head, Full::new(body)))
}

/// An answer whose head has come.
pub struct HttpsResponse {
    response: Response<Incoming>,
    limits: HttpsLimits,
    _connection: AbortOnDropHandle<()>,
}

impl HttpsResponse {
    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Returns the headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Reads the body.
    ///
    /// # Errors
    /// [`HttpsError`].
    pub async fn body(self) -> Result<Bytes, HttpsError> {
        let Self { response, limits, _connection } = self;
        let whole = Limited::new(response.into_body(), limits.answer).collect();
        match timeout_at(limits.deadline, whole).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(HttpsError::TooLong(limits.answer)),
            Ok(Err(error)) => Err(HttpsError::Failed(format!("the answer is incomplete: {}", chain(&*error)))),
            Err(_) => Err(HttpsError::Late),
        }
    }
}

/// Trusts the built-in roots, or only those of `SSL_CERT_FILE`.
fn client_config(network: &NetworkSettings) -> Result<ClientConfig, String> {
    match &network.ssl_cert_file {
        None => tls::client(&Roots::Web, None).map_err(say),
        Some(file) => tls::client(&Roots::Only(file.clone()), None).map_err(|error| format!("SSL_CERT_FILE {error}")),
    }
}

/// Returns a host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn say(error: impl Display) -> String {
    error.to_string()
}

/// Returns the text of an error and of its causes.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}
