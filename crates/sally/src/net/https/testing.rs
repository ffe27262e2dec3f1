//! Serves HTTPS in tests, with its own certificate authority, and a proxy.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::net::network::NetworkSettings;

/// The reply to a request for a path.
pub(crate) enum TestReply {
    /// Sends these bytes, then ends properly.
    Say(Vec<u8>),
    /// Sends these bytes, then nothing more, and holds the connection open.
    Stall(Vec<u8>),
    /// Sends these bytes, then ends without TLS's close_notify.
    Break(Vec<u8>),
}

impl TestReply {
    pub(crate) fn ok(body: &str) -> Self {
        Self::Say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into())
    }

    pub(crate) fn status(status: &str) -> Self {
        Self::Say(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").into())
    }

    pub(crate) fn moved(to: &str) -> Self {
        Self::Say(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").into())
    }
}

pub(crate) struct TestServer {
    pub(crate) port: u16,
    authority: NamedTempFile,
    /// The requests that came.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

impl TestServer {
    /// Starts a server with the name localhost.
    pub(crate) async fn start(reply: impl Fn(&str, u16) -> TestReply + Send + Sync + 'static) -> Self {
        Self::start_as("localhost", reply).await
    }

    /// Starts a server with a certificate for this name. `reply` gets the path and the server's port.
    pub(crate) async fn start_as(name: &str, reply: impl Fn(&str, u16) -> TestReply + Send + Sync + 'static) -> Self {
        let (acceptor, authority) = certify(name);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (reply, requests) = (Arc::new(reply), Arc::new(Mutex::new(Vec::new())));
        let heads = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, port, Arc::clone(&reply), Arc::clone(&heads)));
            }
        });
        Self { port, authority, requests }
    }

    /// Returns network settings that trust this server.
    pub(crate) fn network(&self) -> NetworkSettings {
        NetworkSettings { ssl_cert_file: Some(self.authority.path().to_owned()), ..NetworkSettings::default() }
    }
}

async fn serve<F: Fn(&str, u16) -> TestReply>(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    port: u16,
    reply: Arc<F>,
    heads: Arc<Mutex<Vec<String>>>,
) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut head = read_head(&mut stream).await;
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    head.push_str(std::str::from_utf8(&body).unwrap());
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    heads.lock().unwrap().push(head);
    match reply(&path, port) {
        TestReply::Say(bytes) => {
            stream.write_all(&bytes).await.unwrap();
            // The client may have left after reading enough.
            drop(stream.shutdown().await);
        }
        TestReply::Stall(bytes) => {
            stream.write_all(&bytes).await.unwrap();
            stream.flush().await.unwrap();
            std::future::pending::<()>().await;
        }
        TestReply::Break(bytes) => {
            stream.write_all(&bytes).await.unwrap();
            stream.flush().await.unwrap();
        }
    }
}

async fn read_head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Makes a server's certificate for a name, and the file of the authority that signed it.
fn certify(name: &str) -> (TlsAcceptor, NamedTempFile) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(authority.self_signed(&authority_key).unwrap().pem().as_bytes()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.into()]).unwrap().signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), file)
}

/// Starts a proxy that gives this answer to CONNECT; returns its port and the heads of the requests that came.
pub(crate) async fn proxy(answer: &'static str) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let heads = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = read_head(&mut stream).await;
            let target = head.split(' ').nth(1).unwrap().to_owned();
            heads.lock().unwrap().push(head);
            stream.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).await.unwrap();
            if answer.starts_with("200") {
                let mut onward = TcpStream::connect(target.replace("localhost", "127.0.0.1")).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut stream, &mut onward).await });
            }
        }
    });
    (port, requests)
}
