//! An untrusted broker sends any bytes: wakes to a device, acknowledgements and statuses to a relay.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sally_proto::authority::{Authorities, Role};
use sally_proto::krl::Krl;
use sally_proto::wake::{Acknowledgement, Clock, ClockReading, Pins, StatusMessage, WakeChecker, WakeKeys};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";

fuzz_target!(|bytes: &[u8]| {
    let (Ok(id), Ok(relay), Ok(keys)) = ("cam-17".parse(), "relay-1".parse(), WakeKeys::parse(KEY)) else { return };
    let pins = Pins { id, keys, relays: Vec::new(), clock: Clock::Checked, tunnels_max: 1 };
    let now = ClockReading { unix: 1_800_000_000, monotonic: Duration::ZERO };
    assert!(WakeChecker::new(pins).admit(bytes, now, 0).is_err());
    let Ok(devices) = Authorities::parse(Role::Device, KEY) else { return };
    assert!(Acknowledgement::open(bytes, &relay, &devices, &Krl::default(), now.unix).is_err());
    let _ = StatusMessage::parse(bytes);
    if let Ok(krl) = Krl::parse(bytes) {
        assert_eq!(krl.encode().and_then(|bytes| Krl::parse(&bytes)), Ok(krl));
    }
});
