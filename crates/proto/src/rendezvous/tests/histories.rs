//! Random histories.

use proptest::prelude::*;

use super::model::{KEYS, Step, history};

fn step() -> impl Strategy<Value = Step> {
    let (device, port, index) = (0_u8..3, 0_u8..2, 0_usize..8);
    prop_oneof![
        6 => (0..KEYS, device.clone(), port.clone(), proptest::option::of(1_u64..200))
            .prop_map(|(key, device, port, wait)| Step::Visit { key, device, port, wait }),
        2 => index.clone().prop_map(Step::Opened),
        2 => index.clone().prop_map(Step::Left),
        1 => (device.clone(), index.clone(), 0_u8..5).prop_map(|(device, wake, answer)| Step::Answered { device, wake, answer }),
        1 => (device.clone(), index.clone()).prop_map(|(device, wake)| Step::NotPublished { device, wake }),
        4 => (device.clone(), index.clone()).prop_map(|(device, ticket)| Step::DialledBack { device, ticket }),
        4 => (index.clone(), device.clone(), port.clone()).prop_map(|(tunnel, device, port)| Step::Listening { tunnel, device, port }),
        1 => (index.clone(), device.clone(), port).prop_map(|(tunnel, device, port)| Step::NotListening { tunnel, device, port }),
        1 => device.clone().prop_map(|device| Step::Standing { device }),
        1 => index.prop_map(Step::Gone),
        1 => (device, any::<bool>()).prop_map(|(device, online)| Step::Seen { device, online }),
        3 => (0_u64..70).prop_map(Step::After),
    ]
}

/// What happens to devices that never come.
fn in_vain() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2_u8, 0_u8..3, proptest::option::of(50_u64..200)).prop_map(|(key, device, wait)| Step::Visit { key, device, port: 0, wait }),
        1 => (0_usize..8).prop_map(Step::Left),
        4 => (1_u64..30).prop_map(Step::After),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_events_breaks_a_promise(steps in proptest::collection::vec(step(), 1..120), broker in any::<bool>()) {
        history(broker, steps);
    }

    #[test]
    fn whoever_waits_in_vain_wakes_no_more_than_they_may(steps in proptest::collection::vec(in_vain(), 1..120)) {
        history(true, steps);
    }
}
