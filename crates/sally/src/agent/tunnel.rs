//! Runs one connection to a relay, from the dial to its last visitor.

use std::time::Duration;

use sally_proto::host_port::HostPort;
use sally_proto::id::DeviceId;
use sally_proto::relay::TICKET_REQUEST;
use sally_proto::ssh_string;
use sally_proto::wake::Wake;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bundle::Ssh;
use super::visit;
use crate::tunnel::relay_client::{HostTrust, RelayConnection, RelayIdentity};

/// The time for all of a relay's addresses together to accept the connection and the ticket: the visitor waits for 8 s.
const DIAL_LIMIT: Duration = Duration::from_secs(7);
/// The time that a connection without a visitor is kept. The relay closes it earlier, unless it has lost track of it.
const UNUSED_LIMIT: Duration = Duration::from_secs(60);
/// The limit of visitors on one connection at once.
const VISITORS_MAX: usize = 64;

/// The servers that visitors may reach.
#[derive(Clone, Debug)]
pub(super) struct ServedPorts {
    /// The server at port 22.
    pub(super) ssh: Ssh,
    /// The ports that are exposed.
    pub(super) exposed: Vec<u16>,
}

/// A connection that a wake requests.
pub(super) struct RequestedTunnel {
    pub(super) id: DeviceId,
    pub(super) identity: RelayIdentity,
    pub(super) ports: ServedPorts,
    pub(super) stop: CancellationToken,
}

impl RequestedTunnel {
    /// Dials, and carries visitors until the connection isn't needed any more.
    ///
    /// # Errors
    /// The reason why no relay was reached, in words for the waiting visitor.
    pub(super) async fn run(self, wake: &Wake) -> Result<(), String> {
        let limit = Instant::now() + DIAL_LIMIT;
        let mut failure = "it names no address".to_owned();
        for (address, left) in wake.relay.iter().zip((1..=u32::try_from(wake.relay.len()).unwrap_or(1)).rev()) {
            // An address that doesn't answer leaves some time for the next.
            let share = limit.saturating_duration_since(Instant::now()) / left;
            match tokio::time::timeout(share, self.reach(address, wake)).await {
                Ok(Ok(link)) => {
                    self.serve(link).await;
                    return Ok(());
                }
                Ok(Err(why)) => failure = why,
                Err(_) => failure = "no answer".into(),
            }
        }
        Err(failure)
    }

    async fn reach(&self, address: &HostPort, wake: &Wake) -> Result<RelayConnection, String> {
        let link = RelayConnection::dial(address, HostTrust::Fingerprint(wake.hk), &self.identity).await.map_err(|failed| failed.reason)?;
        let shown = ssh_string::join([&*wake.tkt.expose()]);
        let wanted = if self.ports.exposed.contains(&wake.svc) { Some(wake.svc) } else { None };
        // Both take one round trip: the relay answers in order.
        let first = async {
            match wanted {
                Some(port) => link.listen(self.id.as_str(), port).await,
                None => Ok(()),
            }
        };
        let (ticket, listening) = tokio::join!(link.ask(TICKET_REQUEST, &shown), first);
        ticket.map(drop).and(listening).map_err(|failed| failed.reason)?;
        for port in self.ports.exposed.iter().filter(|port| Some(**port) != wanted) {
            link.listen(self.id.as_str(), *port).await.map_err(|failed| failed.reason)?;
        }
        Ok(link)
    }

    async fn serve(&self, mut link: RelayConnection) {
        let mut visits = JoinSet::new();
        let unused = tokio::time::sleep(UNUSED_LIMIT);
        tokio::pin!(unused);
        let (over, mut stopping) = (link.over(), false);
        loop {
            tokio::select! {
                visitor = link.next(), if !stopping => {
                    let Some(visitor) = visitor else { break };
                    // Visits that have ended must not count.
                    while visits.try_join_next().is_some() {}
                    // A visitor beyond the limit is refused.
                    if visits.len() < VISITORS_MAX {
                        visits.spawn(visit::carry(visitor, self.ports.clone()));
                    }
                }
                () = over.cancelled(), if stopping => break,
                Some(_) = visits.join_next() => {
                    unused.as_mut().reset(Instant::now() + UNUSED_LIMIT);
                    if stopping && visits.is_empty() {
                        break;
                    }
                }
                () = &mut unused, if visits.is_empty() => break,
                () = self.stop.cancelled(), if !stopping => {
                    link.close();
                    stopping = true;
                    if visits.is_empty() {
                        break;
                    }
                }
            }
        }
        link.leave("no visitor needs this connection any more").await;
    }
}
