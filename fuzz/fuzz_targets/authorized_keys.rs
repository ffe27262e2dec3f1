//! A key file of anybody's making, and a file of revoked keys: no panic, no line that is accepted in two ways, and no key that is let in and
//! not revoked by the same line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sally_proto::authorized_keys::{Enforced, KeyRing, parse};
use sally_proto::revocation;

fuzz_target!(|bytes: &[u8]| {
    let good = parse(bytes).iter().filter(|line| line.is_ok()).count();
    let revoked = revocation::read(bytes);
    if let Ok(ring) = KeyRing::read("fuzz", bytes, Enforced::all()) {
        assert_eq!(ring.len(), good);
        if let Ok((list, _)) = revoked {
            assert!(ring.entries().all(|(_, entry)| list.revokes_key(entry.key())));
        }
    }
});
