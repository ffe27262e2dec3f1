//! Keeps names: when the connection to the relay is lost, dials again until the names are held again.

use std::time::Instant;

use sally_proto::backoff::{Backoff, Pace};
use sally_proto::error::Fault;
use sally_proto::id::DeviceId;
use sally_proto::relay::Veiled;

use super::dial::{Dial, Registration, RelayVisitor, WantedName};
use super::relay_client::{NotRegistered, RelayIdentity};
use crate::term;

/// Names that are kept on a relay while this lives.
pub struct KeptRegistration {
    dial: Dial,
    identity: RelayIdentity,
    admitted: Vec<String>,
    names: Vec<DeviceId>,
    registration: Registration,
    backoff: Backoff,
    since: Instant,
}

impl KeptRegistration {
    /// Dials once, so that a mistake is reported at the start. `admitted` as in [`Dial::register`].
    ///
    /// # Errors
    /// [`Fault::Relay`].
    pub async fn begin(mut dial: Dial, admitted: Vec<String>) -> Result<Self, Fault> {
        let identity = dial.read_identity().map_err(|why| fault(&dial, why))?;
        let registration = dial.register(&identity, &admitted).await.map_err(|why| fault(&dial, why))?;
        let names = registration.names().to_vec();
        // The user may have passed on the names already: from now on only these will do.
        dial.names = names.iter().cloned().map(WantedName::Chosen).collect();
        Ok(Self { dial, identity, admitted, names, registration, backoff: Backoff::new(Pace::FLEET), since: Instant::now() })
    }

    /// Returns the names, in the order in which they were wanted.
    pub fn names(&self) -> &[DeviceId] {
        &self.names
    }

    /// Returns the next visitor. If the caller stops waiting while the relay is dialled again, the names are lost.
    ///
    /// # Errors
    /// [`Fault::Relay`] if dialling again is useless.
    pub async fn next(&mut self) -> Result<RelayVisitor, Fault> {
        loop {
            if let Some(visitor) = self.registration.next().await {
                return Ok(visitor);
            }
            self.resume().await?;
        }
    }

    async fn resume(&mut self) -> Result<(), Fault> {
        let mut why = self.registration.lost().await;
        self.backoff.held(self.since.elapsed());
        loop {
            let pause = self.backoff.pause(getrandom::u64().unwrap_or_default());
            let lost = Veiled::from(why);
            term::say(&format!("Relay {} is lost ({lost}): dialling again in {:.1} s", self.dial.relay, pause.as_secs_f32()));
            tokio::time::sleep(pause).await;
            match self.dial.register(&self.identity, &self.admitted).await {
                Ok(registration) => {
                    (self.registration, self.since) = (registration, Instant::now());
                    for name in &self.names {
                        term::say(&format!("Reached again as: ssh -J {} {}", self.dial.relay, shown(name)));
                    }
                    return Ok(());
                }
                Err(failed) if failed.lasting => return Err(fault(&self.dial, failed)),
                Err(failed) => why = failed.reason,
            }
        }
    }

    /// Gives up the names, as [`Registration::close`].
    pub async fn close(&mut self) {
        self.registration.close().await;
    }

    /// Waits for the connection's end, as [`Registration::lost`].
    pub async fn lost(&self) -> String {
        self.registration.lost().await
    }
}

/// Returns a name for stderr, which goes into logs: a generated name is printed in full only on stdout.
pub fn shown(name: &DeviceId) -> String {
    if name.looks_generated() { format!("{} (its name is on stdout)", name.veiled()) } else { name.to_string() }
}

fn fault(dial: &Dial, failed: NotRegistered) -> Fault {
    Fault::Relay { relay: dial.relay.to_string(), reason: Veiled::from(failed.reason).to_string() }
}
