//! `sally relay`, and `sally jail`, which is a relay with everything taken away but ports.

use sally_proto::error::Fault;

use crate::config::Relay;
use crate::relay::start::start;
use crate::term;

/// Runs it to the exit status.
pub(super) fn run(config: Result<Relay, Fault>) -> u8 {
    let ended = config.and_then(|config| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Fault::Internal(error.to_string()))?;
        let ended = runtime.block_on(start(config));
        // Nothing that is left may keep us: what had to be said has been said.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => 0,
        Err(fault) => {
            term::fault(&fault);
            fault.exit_status()
        }
    }
}
