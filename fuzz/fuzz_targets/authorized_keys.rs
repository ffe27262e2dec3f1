//! A key file of anybody's making: no panic, and no line that is accepted in two ways.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sally_proto::authorized_keys::{Enforced, KeyRing, parse};

fuzz_target!(|bytes: &[u8]| {
    let good = parse(bytes).iter().filter(|line| line.is_ok()).count();
    if let Ok(ring) = KeyRing::read("fuzz", bytes, Enforced::all()) {
        assert_eq!(ring.len(), good);
    }
});
