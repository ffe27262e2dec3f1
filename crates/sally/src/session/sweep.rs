//! Ends processes until none is left.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sally_proto::visit::DEADLINES;

/// How often survivors are looked for while they are being killed.
const SWEEP: Duration = Duration::from_millis(10);
/// The most looks, in one round, for processes that were born since the last look.
const ROUNDS: u32 = 1000;
/// Kills the processes that `living` lists, and waits until `bury` has reaped them.
pub(crate) async fn sweep(living: impl Fn() -> Vec<Pid>, bury: impl Fn()) {
    let began = Instant::now();
    let (mut survivors, mut stuck_since) = (Vec::new(), began);
    loop {
        bury();
        let halted = halted(&living);
        if halted.is_empty() {
            return;
        }
        for pid in &halted {
            let _ = kill_process(*pid, Signal::KILL); // It may be gone already.
        }
        if halted != survivors {
            (survivors, stuck_since) = (halted, Instant::now());
        }
        if stuck_since.elapsed() > DEADLINES.stuck || began.elapsed() > DEADLINES.sweep {
            tracing::warn!("some processes of the session do not end");
            return;
        }
        tokio::time::sleep(SWEEP).await;
    }
}

/// Stops all of them, and returns them. If the members of a fork bomb were killed one by one, it would refill each free place meanwhile.
fn halted(living: impl Fn() -> Vec<Pid>) -> Vec<Pid> {
    let mut halted = HashSet::new();
    for _ in 0..ROUNDS {
        let living = living();
        let mut all = true;
        for pid in &living {
            if halted.insert(*pid) {
                all = false;
                let _ = kill_process(*pid, Signal::STOP);
            }
        }
        if all {
            return living;
        }
    }
    living()
}
