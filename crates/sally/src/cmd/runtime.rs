//! Runs a visit in a runtime of its own.

use std::time::Duration;

use sally_proto::error::Fault;

use crate::panic::caught_as_fault;
use crate::term;

/// The threads of the runtime: enough for a handful of tasks, and few on a machine with other work.
const WORKERS: usize = 2;
/// How long the runtime keeps an idle thread. The runtime panics if it needs its first one and the visit has used up the system's threads
/// (`pids.max`).
const SPARE_THREAD: Duration = Duration::from_secs(365 * 86_400);

/// Runs a visit to its end, and returns the exit status.
pub(super) fn run<C>(config: Result<C, Fault>, visit: impl AsyncFnOnce(C) -> Result<u8, Fault>) -> u8 {
    let ended = config.and_then(|config| {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).thread_keep_alive(SPARE_THREAD).enable_all().build();
        let runtime = runtime.map_err(|error| Fault::Internal(error.to_string()))?;
        let ended = runtime.block_on(caught_as_fault(async {
            // Starts the spare thread.
            let started = tokio::task::spawn_blocking(|| ()).await;
            started.map_err(|error| Fault::Internal(error.to_string()))?;
            visit(config).await
        }));
        // The runtime is not shut down: a thread that reads an announce command's last output must not delay the exit, and a thread that
        // waits for a timer would panic. The exit ends both.
        std::mem::forget(runtime);
        ended
    });
    ended.unwrap_or_else(|fault| {
        term::fault(&fault);
        fault.exit_status()
    })
}
