//! Runs `sally relay`; `sally jail`, which is a relay that only forwards ports; and `sally agent`, on the other side.

#[cfg(feature = "relay")]
use std::sync::Arc;

use sally_proto::error::Fault;

#[cfg(feature = "agent")]
use crate::agent;
use crate::panic::caught_as_fault;
#[cfg(feature = "relay")]
use crate::relay::{self, start::start};
#[cfg(feature = "relay")]
use crate::ssh::{listen, relay::RelayService};
use crate::term;

/// Runs a relay or a jail, and returns the exit status.
#[cfg(feature = "relay")]
pub(super) fn run(config: Result<relay::RelayConfig, Fault>) -> u8 {
    status(config.and_then(|config| to_the_end(serve(config))))
}

#[cfg(feature = "relay")]
async fn serve(config: relay::RelayConfig) -> Result<(), Fault> {
    let started = start(config).await?;
    let service = RelayService::new(Arc::clone(&started.parts.relay), started.server);
    relay::run::run(started.parts, listen::accept(started.listener, service)).await
}

/// Runs an agent, and returns the exit status.
#[cfg(feature = "agent")]
pub(super) fn run_agent(config: agent::AgentConfig) -> u8 {
    status(to_the_end(agent::run(config)))
}

fn to_the_end(work: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fault::Internal(error.to_string()))?;
    let ended = runtime.block_on(caught_as_fault(work));
    // The runtime is not shut down: remaining tasks must not delay the exit, and one that waits for a timer would panic.
    std::mem::forget(runtime);
    ended
}

fn status(ended: Result<(), Fault>) -> u8 {
    match ended {
        Ok(()) => 0,
        Err(fault) => {
            term::fault(&fault);
            fault.exit_status()
        }
    }
}
