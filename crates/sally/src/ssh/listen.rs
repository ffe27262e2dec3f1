//! Takes a server's connections from a socket, from a relay, or from standard input and output.

use std::net::SocketAddr;
use std::sync::Arc;

use sally_proto::error::Fault;
use sally_proto::id::DeviceId;
use sally_proto::proxy_header::ProxyHeader;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::connection::ConnectionError;
use crate::net::accept::accept_each;
use crate::net::admission::{Connection, ServerAdmission};
use crate::net::endpoint::Endpoint;
use crate::net::proxy;
use crate::net::stream::Wire;
use crate::panic::caught;
use crate::tunnel::dial::RelayVisitor;
use crate::tunnel::reconnect::KeptRegistration;

/// A service that connections are accepted for.
pub(crate) trait ConnectionService: Send + Sync + 'static {
    /// Returns the token that is cancelled when no more connections are accepted.
    fn shut(&self) -> &CancellationToken;
    /// Returns the admission, which decides which connections may be mid-authentication.
    fn admission(&self) -> &Arc<ServerAdmission>;
    /// Notes that the socket is closed, and that every connection which was not authenticated is dropped.
    fn listener_closed(&self);
    /// Notes that no client can come any more: for the reason `why`, or because the only connection has ended.
    fn cut_off(&self, why: Option<Fault>);
    /// Serves one connection to its end.
    fn connect(
        self: Arc<Self>,
        wire: Wire,
        local: Endpoint,
        connection: Arc<Connection>,
    ) -> impl Future<Output = Result<(), ConnectionError>> + Send;
}

/// A way on which clients reach a server.
pub enum Arrivals {
    /// A listening socket.
    Port(TcpListener),
    /// Names on a relay.
    Name(Box<KeptRegistration>),
    /// A connection that exists already, with its peer's and its local address.
    Here(Wire, Endpoint, Endpoint),
}

impl Arrivals {
    /// Returns the port of a listening socket.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Port(listener) => listener.local_addr().ok().map(|address| address.port()),
            Self::Name(..) | Self::Here(..) => None,
        }
    }

    /// Returns the names on a relay.
    pub fn names(&self) -> &[DeviceId] {
        match self {
            Self::Name(registration) => registration.names(),
            Self::Port(..) | Self::Here(..) => &[],
        }
    }

    /// Serves connections until the service accepts no more, or none can come. Returns the reason if no client can come on this way any
    /// more though the service would accept it; the service is told first.
    pub(crate) async fn serve<S: ConnectionService>(self, service: Arc<S>) -> Option<Fault> {
        match self {
            Self::Port(listener) => accept(listener, service).await,
            Self::Name(registration) => return take_in(*registration, service).await,
            Self::Here(wire, peer, local) => serve_one(wire, peer, local, service).await,
        }
        None
    }
}

/// Accepts until the service accepts no more; then closes the socket, and drops every connection that isn't authenticated.
pub(crate) async fn accept<S: ConnectionService>(listener: TcpListener, service: Arc<S>) {
    let shut = service.shut().clone();
    accept_each(listener, &shut, |tcp, peer| admit(tcp, peer, &service), || service.admission().make_room()).await;
    service.admission().dismiss();
    service.listener_closed();
}

fn admit<S: ConnectionService>(tcp: TcpStream, peer: SocketAddr, service: &Arc<S>) {
    let Some(connection) = service.admission().admit(Some(peer).into()) else { return };
    let local = tcp.local_addr().ok().into();
    match Wire::tcp(tcp) {
        Ok(wire) => drop(tokio::spawn(serve(wire, local, connection, Arc::clone(service)))),
        Err(error) => tracing::info!(peer = %connection.peer, %error, "connection ended"),
    }
}

/// Takes the connections that a relay sends, until the service accepts no more; then gives up the names. Keeps the connection to the relay,
/// which carries the visits. Returns why, if the relay refuses the names for good.
async fn take_in<S: ConnectionService>(mut registration: KeptRegistration, service: Arc<S>) -> Option<Fault> {
    let shut = service.shut().clone();
    let refused = loop {
        let visitor = tokio::select! {
            biased;
            () = shut.cancelled() => break None,
            visitor = registration.next() => visitor,
        };
        let RelayVisitor { name, stream } = match visitor {
            Ok(visitor) => visitor,
            Err(fault) => break Some(fault),
        };
        // Only the relay vouches for the address that a client comes from.
        if let Some(mut connection) = service.admission().admit(Endpoint::UNKNOWN) {
            connection.relay_name = Some(name);
            tokio::spawn(serve(Wire::Other(Box::new(stream)), Endpoint::UNKNOWN, connection, Arc::clone(&service)));
        }
    };
    if refused.is_some() {
        service.cut_off(refused.clone());
    }
    registration.close().await;
    // Clients may still come on another way.
    if shut.is_cancelled() {
        service.admission().dismiss();
    }
    service.listener_closed();
    registration.lost().await;
    refused
}

/// Serves the only connection of a server without a socket. When it ends, the visit is over.
async fn serve_one<S: ConnectionService>(wire: Wire, peer: Endpoint, local: Endpoint, service: Arc<S>) {
    service.listener_closed();
    if let Some(connection) = service.admission().admit(peer) {
        // The panic is reported already, and it ends the visit.
        let _ = caught(serve(wire, local, connection, Arc::clone(&service))).await;
    }
    service.cut_off(None);
}

async fn serve<S: ConnectionService>(mut wire: Wire, mut local: Endpoint, mut connection: Connection, service: Arc<S>) {
    if connection.is_by_proxy() {
        match introduce(&mut wire, &mut connection).await {
            Some(ProxyHeader::Local) => {}
            Some(ProxyHeader::Proxied { server, .. }) => local = Some(server).into(),
            None => return,
        }
    }
    let connection = Arc::new(connection);
    let served = async {
        let ended = service.connect(wire, local, Arc::clone(&connection)).await;
        connection.ended(ended.as_ref().is_err_and(|error| error.is_garbage()));
        if let Err(error) = ended {
            tracing::info!(peer = %connection.peer, %error, "connection ended");
        }
    };
    tokio::join!(served, connection.grace());
}

/// Reads the PROXY header that names a balancer's client. Returns `None` if it doesn't come in time, or if that client is refused.
async fn introduce(wire: &mut Wire, connection: &mut Connection) -> Option<ProxyHeader> {
    match connection.before_deadline(proxy::read(wire)).await? {
        Ok(header @ ProxyHeader::Proxied { client, .. }) => connection.is_for(client).then_some(header),
        Ok(header @ ProxyHeader::Local) => Some(header),
        Err(error) => {
            tracing::info!(peer = %connection.peer, %error, "connection ended");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use sally_proto::admission::AdmissionSettings;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::net::admission::Origins;

    /// Echoes each byte, but panics at `!`.
    struct Echo {
        shut: CancellationToken,
        admission: Arc<ServerAdmission>,
    }

    impl ConnectionService for Echo {
        fn shut(&self) -> &CancellationToken {
            &self.shut
        }

        fn admission(&self) -> &Arc<ServerAdmission> {
            &self.admission
        }

        fn listener_closed(&self) {}

        fn cut_off(&self, _: Option<Fault>) {}

        async fn connect(self: Arc<Self>, mut wire: Wire, _: Endpoint, connection: Arc<Connection>) -> Result<(), ConnectionError> {
            connection.authenticated();
            loop {
                let byte = wire.read_u8().await?;
                assert_ne!(byte, b'!', "as a test does");
                wire.write_u8(byte).await?;
            }
        }
    }

    #[tokio::test]
    async fn a_panic_ends_one_connection_and_others_go_on() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let echo = Arc::new(Echo {
            shut: CancellationToken::new(),
            admission: ServerAdmission::new(AdmissionSettings::MANY_VISITS, Origins::default()),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&echo)));
        let mut lives = TcpStream::connect(address).await.unwrap();
        lives.write_u8(b'a').await.unwrap();
        assert_eq!(lives.read_u8().await.unwrap(), b'a');
        let mut broken = TcpStream::connect(address).await.unwrap();
        broken.write_u8(b'!').await.unwrap();
        assert!(broken.read_u8().await.is_err(), "it is closed");
        lives.write_u8(b'b').await.unwrap();
        assert_eq!(lives.read_u8().await.unwrap(), b'b');
        let mut later = TcpStream::connect(address).await.unwrap();
        later.write_u8(b'c').await.unwrap();
        assert_eq!(later.read_u8().await.unwrap(), b'c');
        echo.shut.cancel();
        accepting.await.unwrap();
    }
}
