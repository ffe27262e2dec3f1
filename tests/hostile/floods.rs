//! CVE-2024-43410 and CVE-2026-48108: much is sent, or said to come, and next to nothing of it is kept.

use super::hostile::{scenario_of, still_open};
use crate::support::*;

/// What the peak of a server's memory may rise by in KiB, whatever clients without a key send: some connections' buffers, and far from a flood.
const PEAK: u64 = 24 << 10;

/// Runs scenarios of tests/python/floods.py one after the other at one server: each ends as it is said, and the right visitor comes in.
fn pour(scenarios: &[(&[&str], &str)]) {
    let home = Home::new();
    let mut server = home.open(&[]);
    let before = server.peak();
    for (scenario, expected) in scenarios {
        assert_eq!(scenario_of("floods.py", &server, scenario[0], &scenario[1..]).trim_end(), *expected, "{scenario:?}");
        // While the server lives: a peak is nobody's to read afterwards.
        let after = server.peak();
        assert!(after < before + PEAK, "{scenario:?}: the peak of {before} KiB rose to {after}");
    }
    still_open(&home, &mut server);
}

#[test]
fn a_flood_in_place_of_a_banner_is_closed() {
    pour(&[(&["before-banner", "line"], "closed"), (&["before-banner", "lines"], "closed"), (&["before-banner", "noise"], "closed")]);
}

/// 256 MB each where the server doesn't close.
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
