//! A TLS connection to a host, through a proxy where one is set.

use std::fmt::Display;
use std::sync::Arc;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::{Request, Uri, header};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::task::AbortOnDropHandle;

use super::network::Network;
use crate::net::dial;
use crate::net::tls::{self, Roots};

/// The port of https.
const HTTPS_PORT: u16 = 443;
/// The port of a proxy that names none.
const PROXY_PORT: u16 = 80;

/// Whatever TLS runs on.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Makes TLS connections to the hosts of https addresses.
pub(super) struct Dialer {
    tls: TlsConnector,
    proxies: Matcher,
    tcp: dial::Dialer,
}

impl Dialer {
    pub(super) fn new(network: &Network) -> Result<Self, String> {
        let proxies = Matcher::builder()
            .https(network.https_proxy.clone().unwrap_or_default())
            .no(network.no_proxy.clone().unwrap_or_default())
            .build();
        // The matcher takes what it can't read for no proxy at all, and goes past it.
        let example = Uri::from_static("https://proxied.invalid");
        let unproxied = Matcher::builder().https(network.https_proxy.clone().unwrap_or_default()).build().intercept(&example).is_none();
        if network.https_proxy.is_some() && unproxied {
            return Err("https_proxy is not the address of a proxy".into());
        }
        Ok(Self { tls: TlsConnector::from(Arc::new(client_config(network)?)), proxies, tcp: dial::Dialer::new() })
    }

    /// Connects to the host and port of an https address, its certificate checked.
    pub(super) async fn connect(&self, uri: &Uri) -> Result<TlsStream<Box<dyn Stream>>, String> {
        let host = uri.host().ok_or("the address has no host")?;
        let port = uri.port_u16().unwrap_or(HTTPS_PORT);
        let stream: Box<dyn Stream> = match self.proxies.intercept(uri) {
            None => Box::new(self.dial(host, port).await?),
            Some(proxy) => self.connect_through(&proxy, host, port).await?,
        };
        let name = ServerName::try_from(bare(host).to_owned()).map_err(say)?;
        self.tls.connect(name, stream).await.map_err(say)
    }

    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, String> {
        self.tcp.connect(bare(host), port).await.map_err(|reason| format!("{host} port {port}: {reason}"))
    }

    /// RFC 9110 §9.3.6: asks a proxy for a tunnel.
    async fn connect_through(&self, proxy: &Intercept, host: &str, port: u16) -> Result<Box<dyn Stream>, String> {
        let address = proxy.uri();
        if address.scheme_str() != Some("http") {
            return Err("https_proxy has to be an http:// address".into());
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
        // It has handed the stream over, and ended.
        drop(driver);
        Ok(Box::new(TokioIo::new(tunnel)))
    }
}

/// The roots that are built in, or those of `SSL_CERT_FILE` alone.
fn client_config(network: &Network) -> Result<ClientConfig, String> {
    match &network.ssl_cert_file {
        None => tls::client(&Roots::Web, None).map_err(say),
        Some(file) => tls::client(&Roots::Only(file.clone()), None).map_err(|error| format!("SSL_CERT_FILE {error}")),
    }
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn say(error: impl Display) -> String {
    error.to_string()
}
