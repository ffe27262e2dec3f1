//! Registering and releasing a device's names and ports.

use std::sync::Arc;

use sally_proto::authorized_keys::KeyRing;
use sally_proto::id::{DeviceId, NameKind};
use sally_proto::relay::{ADMITTED_BY_CONNECTION_MAX, ADMITTED_KEYS_MAX, Address, Claim, Listen, Refusal, Slot, SlotHolder};
use sally_proto::rendezvous::{RendezvousEvent as Happening, TunnelId};
use tokio_util::sync::CancellationToken;

use super::Relay;
use super::audit::RelayEvent;
use super::client::{Client, Sockets};
use super::metrics::Metrics;
use super::rules::{FORWARDS_MAX, RelayKind};
use crate::net::accept::accept_each;
use crate::net::ports;
use crate::term;
use crate::tunnel::registry::{SILENCE, Takeover};

/// The attempts to claim a slot: a connection that claims it after its holder was replaced is newer still.
const CLAIMS: usize = 3;

/// What a device got by `name@sally` before it registers: the name, and the keys that its registration will admit, including those of each
/// `admit@sally`.
#[derive(Debug, Default)]
pub(crate) struct ReservedName {
    pub(crate) name: Option<DeviceId>,
    pub(crate) admitted_keys: Option<KeyRing>,
}

impl Relay {
    /// Answers `name@sally`: returns the name that a device may register, or generates one if it asks for the prefix of a kind alone.
    pub(crate) fn promise(&self, client: &Client, asked: &str) -> Result<DeviceId, Refusal> {
        let device = client.access.device().filter(|_| matches!(self.rules.kind, RelayKind::Relay)).ok_or(Refusal::NotPermitted)?;
        let bare = device.permit_listen().is_empty() && device.allows_port_forwarding();
        if let Some(kind) = NameKind::ALL.into_iter().find(|kind| kind.prefix() == asked) {
            if !bare {
                return Err(Refusal::NotPermitted);
            }
            let random = getrandom::u64().map_err(|_| Refusal::NotPermitted)?;
            return Ok(self.generator.make(kind, random.to_be_bytes(), &client.fingerprint));
        }
        let name = DeviceId::parse(asked).map_err(|_| Refusal::NotAName(term::excerpt(asked)))?;
        let ours = device.permit_listen().iter().any(|rule| device.allows_name(&name, rule.port().unwrap_or(22)));
        // A device may ask for its earlier generated name again: it may have been passed on to a visitor.
        if ours || (bare && self.generator.made(&name, &client.fingerprint)) {
            Ok(name)
        } else {
            Err(Refusal::NotYourName(name.to_string()))
        }
    }

    /// Answers `admit@sally`, or the keys in `name@sally`: the promised name admits these keys too, at once if it is registered already.
    pub(crate) fn admit(&self, client: &Client, promised: &mut ReservedName, keys: Option<KeyRing>) -> Result<(), Refusal> {
        let ReservedName { name: Some(name), admitted_keys } = promised else { return Err(Refusal::NotPermitted) };
        let Some(keys) = keys else { return Ok(()) };
        let of_name = admitted_keys.as_ref().map_or(0, KeyRing::len).saturating_add(keys.len());
        let of_all = of_name.saturating_add(self.tunnels.admitted_beside(name, client.number));
        for (count, limit) in [(of_name, ADMITTED_KEYS_MAX), (of_all, ADMITTED_BY_CONNECTION_MAX)] {
            if count > limit {
                return Err(Refusal::TooMany { what: "keys to admit", limit });
            }
        }
        let all = match admitted_keys.take() {
            Some(before) => before.and(keys),
            None => keys,
        };
        self.tunnels.admit(name.clone(), client.number, all.clone());
        *admitted_keys = Some(all);
        Ok(())
    }

    /// Registers the slot that a `tcpip-forward` asks for.
    pub(crate) async fn register(
        self: &Arc<Self>,
        client: &Arc<Client>,
        address: &str,
        port: u32,
        promised: &ReservedName,
    ) -> Result<(), Refusal> {
        let listen = Listen::parse(address, port).ok_or_else(|| Refusal::NotListenable(term::excerpt(&format!("{address}:{port}"))))?;
        self.may_register(client, address, &listen, promised)?;
        if self.tunnels.count_of(client.number) >= FORWARDS_MAX {
            return Err(Refusal::TooMany { what: "forwards on this connection", limit: FORWARDS_MAX });
        }
        let slot = match &listen {
            Listen::Name(name, port) => Slot::Name(name.clone(), *port),
            Listen::Port(_, port) => Slot::Port(*port),
        };
        self.claim(client, &slot, address).await?;
        let occupied = self.occupy(client, &slot, address, &listen).await;
        // A newer connection may have taken the slot over meanwhile, before there was a socket to close.
        let replaced = self.tunnels.find(&slot).is_none_or(|forward| forward.connection != client.number);
        if occupied.is_err() || replaced {
            self.tunnels.release(&slot, client.number);
            self.close_port(client, &slot).await;
            return occupied.and(Err(Refusal::OtherKey(slot.to_string())));
        }
        if let (Slot::Name(name, _), ReservedName { name: Some(promised), admitted_keys: Some(admitted_keys) }) = (&slot, promised)
            && name == promised
        {
            self.tunnels.admit(name.clone(), client.number, admitted_keys.clone());
        }
        if let Slot::Name(device, port) = slot {
            self.apply(Happening::Listening { tunnel: TunnelId(client.number), device, port });
        }
        Metrics::count(&self.metrics.registered);
        Ok(())
    }

    fn may_register(&self, client: &Client, address: &str, listen: &Listen, promised: &ReservedName) -> Result<(), Refusal> {
        let denied = if client.access.has_expired() { Refusal::Expired } else { Refusal::NotPermitted };
        if let Some(own) = client.access.fleet_device() {
            return match listen {
                _ if self.shut.is_cancelled() => Err(Refusal::Stopping),
                Listen::Name(name, _) if name == own => Ok(()),
                Listen::Name(name, port) => Err(Refusal::NotYourName(format!("{name}:{port}"))),
                Listen::Port(_, port) => Err(Refusal::NotYourPort(*port)),
            };
        }
        let device = client.access.device().ok_or(denied)?;
        if self.shut.is_cancelled() {
            return Err(Refusal::Stopping);
        }
        let (allowed, refusal) = match (listen, &self.rules.kind) {
            (Listen::Name(name, port), RelayKind::Jail(_)) => (false, Refusal::NotYourName(format!("{name}:{port}"))),
            (Listen::Name(name, port), RelayKind::Relay) => {
                let promised = promised.name.as_ref() == Some(name) && device.permit_listen().is_empty();
                (promised || device.allows_name(name, *port), Refusal::NotYourName(format!("{name}:{port}")))
            }
            (Listen::Port(_, port), RelayKind::Jail(ports)) => {
                (ports.contains(*port) && device.allows_port(address, *port, true), Refusal::NotYourPort(*port))
            }
            (Listen::Port(_, port), RelayKind::Relay) => (device.allows_port(address, *port, false), Refusal::NotYourPort(*port)),
        };
        if allowed { Ok(()) } else { Err(refusal) }
    }

    /// Claims a slot, and replaces an earlier holder with the same key as the takeover rule says.
    async fn claim(&self, client: &Client, slot: &Slot, address: &str) -> Result<(), Refusal> {
        let me = SlotHolder { connection: client.number, key: client.fingerprint.clone() };
        for _ in 0..CLAIMS {
            let holder = match self.tunnels.claim(slot, &me, address) {
                Claim::Granted => return Ok(()),
                Claim::Already => return Err(Refusal::Already(slot.to_string())),
                Claim::OtherKey => return Err(Refusal::OtherKey(slot.to_string())),
                Claim::Contested(holder) => holder,
            };
            let Some(old) = self.client(holder.connection) else {
                // That connection is just ending.
                self.tunnels.release(slot, holder.connection);
                continue;
            };
            let stays = match self.rules.takeover {
                Takeover::Silent => old.line.answers(SILENCE).await,
                Takeover::AtOnce => false,
                Takeover::Never => true,
            };
            if stays {
                return Err(Refusal::Alive { what: slot.to_string(), peer: old.peer.to_string() });
            }
            let why = Refusal::Replaced(client.peer.to_string());
            Metrics::count(&self.metrics.takeovers);
            self.audit.note(RelayEvent::Takeover { slot: slot.veiled(), old: old.number, new: client.number }).await;
            self.release_everything(&old, why.word()).await;
            old.line.dismiss(&why.to_string());
        }
        Err(Refusal::OtherKey(slot.to_string()))
    }

    /// Puts a claimed slot into operation: binds the sockets of a port, and writes the line in the audit log.
    async fn occupy(self: &Arc<Self>, client: &Arc<Client>, slot: &Slot, address: &str, listen: &Listen) -> Result<(), Refusal> {
        if let Listen::Port(where_, port) = listen {
            self.open_port(client, *where_, *port)?;
        }
        let event =
            RelayEvent::Register { connection: client.number, key: &client.fingerprint, slot: slot.veiled(), address: address.into() };
        if self.audit.write(event).await || self.rules.unaudited { Ok(()) } else { Err(Refusal::Unrecorded) }
    }

    fn open_port(self: &Arc<Self>, client: &Arc<Client>, address: Address, port: u16) -> Result<(), Refusal> {
        let reason = |error: std::io::Error| Refusal::Bind { port, reason: term::reason(&error) };
        let stop = CancellationToken::new();
        let descriptors = self.descriptors.take(&client.identity, ports::sockets(address))?;
        let listeners = ports::bind(address, port).map_err(reason)?;
        let accept = |listener| {
            let (relay, client) = (Arc::clone(self), Arc::clone(client));
            let each = move |tcp, peer| {
                let (relay, client) = (Arc::clone(&relay), Arc::clone(&client));
                tokio::spawn(async move {
                    match relay.open_registered_port(&client, port, peer).await {
                        Ok(tunnelled) => tunnelled.carry_socket(tcp).await,
                        Err(refusal) => {
                            relay.metrics.refused(refusal.word());
                            tracing::info!(%peer, port, %refusal, "a connection to a forwarded port was dropped");
                        }
                    }
                });
            };
            let stop = stop.clone();
            tokio::spawn(async move { accept_each(listener, &stop, each, || ()).await })
        };
        let loops = listeners.into_iter().map(accept).collect();
        client.sockets().insert(port, Sockets { stop, loops, _descriptors: descriptors });
        Ok(())
    }

    /// Releases one slot, as `cancel-tcpip-forward` asks. Only the connection that holds it can release it.
    pub(crate) async fn cancel(&self, client: &Client, address: &str, port: u32) -> bool {
        let slot = match Listen::parse(address, port) {
            Some(Listen::Name(name, port)) => Slot::Name(name, port),
            Some(Listen::Port(_, port)) => Slot::Port(port),
            None => return false,
        };
        let mine = self.tunnels.find(&slot).is_some_and(|forward| forward.connection == client.number && forward.address == address);
        if !mine || !self.tunnels.release(&slot, client.number) {
            return false;
        }
        self.close_port(client, &slot).await;
        self.not_listening(client, &slot);
        self.audit.note(RelayEvent::Release { connection: client.number, slot: slot.veiled(), why: "cancelled" }).await;
        true
    }

    /// Releases everything that a connection holds. When this returns, its ports can be bound again.
    pub(super) async fn release_everything(&self, client: &Client, why: &str) {
        // All its sockets are closed, even of a slot that was taken over already, and before any slot is free: only its holder binds a
        // port.
        let sockets: Vec<_> = client.sockets().drain().map(|(_, sockets)| sockets).collect();
        for sockets in sockets {
            sockets.close().await;
        }
        for slot in self.tunnels.release_all(client.number) {
            self.not_listening(client, &slot);
            self.audit.note(RelayEvent::Release { connection: client.number, slot: slot.veiled(), why }).await;
        }
    }

    fn not_listening(&self, client: &Client, slot: &Slot) {
        if let Slot::Name(device, port) = slot {
            self.apply(Happening::NotListening { tunnel: TunnelId(client.number), device: device.clone(), port: *port });
        }
    }

    async fn close_port(&self, client: &Client, slot: &Slot) {
        let Slot::Port(port) = slot else { return };
        let sockets = client.sockets().remove(port);
        if let Some(sockets) = sockets {
            sockets.close().await;
        }
    }
}
