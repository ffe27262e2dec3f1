//! Events of visitors, devices and the broker in any order: each history must fulfil the conditions of the unit tests' model.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sally_proto::id::DeviceId;
use sally_proto::rate::Rate;
use sally_proto::rendezvous::*;
use sally_proto::wake::{Acknowledgement, ClockReading, DevicePresence, Jti, Ticket, WakeAnswer};

#[path = "../../crates/proto/src/rendezvous/tests/model.rs"]
mod model;

use model::{KEYS, Step, history};

/// The next step: a byte for what happens, one for each of its numbers.
fn step(bytes: &mut impl Iterator<Item = u8>) -> Option<Step> {
    let what = bytes.next()?;
    let mut below = |limit: u8| bytes.next().map(|byte| byte % limit);
    Some(match what % 12 {
        0 => {
            // One byte for both: the inputs of before mean the same.
            let who = below(3 * KEYS)?;
            Step::Visit { key: who / 3, device: who % 3, port: below(2)?, wait: Some(below(200)?.into()).filter(|wait| *wait > 0) }
        }
        1 => Step::DialledBack { device: below(3)?, ticket: below(8)?.into() },
        2 => Step::Listening { tunnel: below(8)?.into(), device: below(3)?, port: below(2)? },
        3 => Step::Opened(below(8)?.into()),
        4 => Step::Left(below(8)?.into()),
        5 => Step::Gone(below(8)?.into()),
        6 => Step::After(below(70)?.into()),
        7 => Step::Answered { device: below(3)?, wake: below(8)?.into(), answer: below(5)? },
        8 => Step::NotPublished { device: below(3)?, wake: below(8)?.into() },
        9 => Step::NotListening { tunnel: below(8)?.into(), device: below(3)?, port: below(2)? },
        10 => Step::Standing { device: below(3)? },
        _ => Step::Seen { device: below(3)?, online: below(2)? == 1 },
    })
}

fuzz_target!(|input: &[u8]| {
    let Some((broker, rest)) = input.split_first() else { return };
    let mut bytes = rest.iter().copied();
    history(broker % 2 == 1, std::iter::from_fn(|| step(&mut bytes)));
});
