//! Row 18 of the faults, CVE-2024-43410 and CVE-2026-48108: much is sent, or said to come, and next to nothing of it is kept.

use super::{scenario_of, still_open};
use crate::support::*;

/// What the peak of a door's memory may rise by in KiB, whatever strangers send: some connections' buffers, and far from a flood.
const PEAK: u64 = 24 << 10;

/// Runs scenarios of tests/python/floods.py one after the other at one door: each ends as it is said, and the right visitor comes in.
fn pour(scenarios: &[(&[&str], &str)]) {
    let home = Home::new();
    let mut door = home.open(&[]);
    let before = door.peak();
    for (scenario, expected) in scenarios {
        assert_eq!(scenario_of("floods.py", &door, scenario[0], &scenario[1..]).trim_end(), *expected, "{scenario:?}");
        // While the door lives: a peak is nobody's to read afterwards.
        let after = door.peak();
        assert!(after < before + PEAK, "{scenario:?}: the peak of {before} KiB rose to {after}");
    }
    still_open(&home, &mut door);
}

#[test]
fn a_flood_in_place_of_a_banner_is_closed() {
    pour(&[(&["before-banner", "line"], "closed"), (&["before-banner", "lines"], "closed"), (&["before-banner", "noise"], "closed")]);
}

/// 256 MB each where the door doesn't close.
#[test]
fn a_flood_after_the_banner_is_closed_or_passed_over() {
    let _turn = big();
    pour(&[
        (&["empty-packets"], "closed"),
        (&["after-banner", "noise"], "closed"),
        // RFC 4253, section 11.2: it may come at any time, and a strict key exchange hasn't been asked for.
        (&["after-banner", "ignored"], "open 256"),
        (&["long-packet", "0xffffffff"], "closed"),
        (&["long-packet", "0x7ffffff0"], "closed"),
    ]);
}

#[test]
fn a_flood_after_the_key_exchange_is_closed_or_passed_over() {
    let _turn = big();
    pour(&[(&["after-kex", "noise"], "closed"), (&["after-kex", "ignored"], "open 256"), (&["unread-answers", "400000"], "stalled")]);
}

/// Each cipher has a way of its own to say how long a packet is.
#[test]
fn a_packet_of_four_gibibytes_under_good_keys_is_closed() {
    for cipher in ["gcm", "chacha", "ctr"] {
        pour(&[
            (&["impossible-length", cipher, "at once"], "closed"),
            (&["impossible-length", cipher, "after service"], "in service\nclosed"),
        ]);
    }
}

/// regreSSHion: the grace time is over for many at once, at every step of the way in, again and again.
#[test]
fn waves_of_strangers_that_run_out_of_time_leave_nothing_behind() {
    /// How many connections a wave of tests/python/floods.py has.
    const WAVE: usize = 40;
    let home = Home::new();
    let clock = Clock::new(&home);
    let mut command = home.once();
    command.args(["--timeout", "3600"]);
    let mut door = Door::open(clock.govern(command));
    let (memory, before) = (door.peak(), door.descriptors());
    let mut strangers = Client::start(python("floods.py").arg("waves").arg(door.port.to_string()).arg(home.path("id")).arg("20"));
    for wave in 1..=20 {
        strangers.await_line("there");
        until("all of them are in", || (door.descriptors() == before + WAVE).then_some(()));
        clock.put_forward_to(31 * wave);
        strangers.await_line("closed");
        until("all of them are gone", || (door.descriptors() == before).then_some(()));
        strangers.write("\n");
    }
    let (status, _, stderr) = strangers.finish();
    assert!(status.success() && stderr.is_empty(), "{stderr}");
    assert!(door.peak() < memory + PEAK, "the peak of {memory} KiB rose to {}", door.peak());
    still_open(&home, &mut door);
}
