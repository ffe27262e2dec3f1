//! Reads any bytes as a key file, and as a file of revoked keys: no panic, no line has two readings, and a line that accepts a key in the one
//! revokes it in the other.
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
