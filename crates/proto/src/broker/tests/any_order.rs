//! Whatever is said, in whatever order.

use proptest::prelude::*;

use super::*;
use crate::wake::Topic;

#[derive(Clone, Debug)]
enum Step {
    Connect(usize, bool),
    Say(usize, Packet),
    Gone(usize, bool),
    Stale(usize),
}

fn clients() -> [BrokerClient; 4] {
    [device("a"), device("b"), relay(), BrokerClient::Local(1)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let topic = prop_oneof!["sally/v1/[ab+]/(wake|status)", "sally/v1/r/[ab]/ack", Just("#".to_owned()), "[a-z/+#]{0,12}",];
    let publish = (topic.clone(), 0_usize..5000, any::<bool>(), any::<Option<u16>>())
        .prop_map(|(topic, length, retain, id)| Packet::Publish { topic, payload: vec![b'x'; length / 40].into(), retain, id });
    let topics = proptest::collection::vec((topic.clone(), any::<bool>()), 1..4);
    let packet = prop_oneof![
        4 => publish,
        3 => (any::<u16>(), topics).prop_map(|(id, topics)| Packet::Subscribe(id, topics)),
        1 => (any::<u16>(), proptest::collection::vec(topic, 1..4)).prop_map(|(id, topics)| Packet::Unsubscribe(id, topics)),
        1 => Just(Packet::Acknowledged),
        1 => Just(Packet::Ping),
    ];
    let step = prop_oneof![
        2 => (0_usize..4, any::<bool>()).prop_map(|(who, will)| Step::Connect(who, will)),
        6 => (0_usize..4, packet).prop_map(|(who, packet)| Step::Say(who, packet)),
        1 => (0_usize..4, any::<bool>()).prop_map(|(who, goodbye)| Step::Gone(who, goodbye)),
        1 => (0_usize..4).prop_map(Step::Stale),
    ];
    proptest::collection::vec(step, 0..80)
}

proptest! {
    /// Whatever anybody says in whatever order: nobody is handed what is not theirs to hear or longer than it may be, with a number twice while one is
    /// under way, or after being cut; and nothing stays of who is gone.
    #[test]
    fn nobody_hears_what_is_not_theirs(steps in steps()) {
        let mut place = Place::new();
        let mut lines: BTreeMap<BrokerClient, (u64, Line)> = BTreeMap::new();
        for step in steps {
            let who = |index: usize| clients()[index].clone();
            match step {
                Step::Connect(index, with_will) => {
                    let client = who(index);
                    let with = match &client {
                        BrokerClient::Device(id) if with_will => Some(will(id.as_str())),
                        _ => None,
                    };
                    let new = place.connect_with(&client, with, Line::with_room(20));
                    if let Some((_, old)) = lines.insert(client, new) {
                        prop_assert!(old.end().is_some());
                    }
                }
                Step::Say(index, packet) => {
                    let client = who(index);
                    let connection = lines.get(&client).map_or(999, |line| line.0);
                    if place.hub.packet(&client, connection, packet, NOW).is_err()
                        && let Some((_, line)) = lines.remove(&client)
                    {
                        prop_assert!(line.end().is_some());
                    }
                }
                Step::Gone(index, goodbye) => {
                    if let Some((connection, _)) = lines.remove(&who(index)) {
                        place.hub.gone(&who(index), connection, if goodbye { End::Goodbye } else { End::Lost });
                    }
                }
                Step::Stale(index) => place.hub.gone(&who(index), 998, End::Lost),
            }
            lines.retain(|_, (_, line)| line.end().is_none());
            for (client, (_, line)) in &lines {
                let mut state = line.0.lock().unwrap();
                for delivery in std::mem::take(&mut state.handed) {
                    prop_assert!(client.may_subscribe(&delivery.topic), "{client} {:?}", delivery.topic);
                    let most = match delivery.topic {
                        Topic::Wake(_) => WAKE_MAX,
                        Topic::Status(_) => STATUS_MAX,
                        Topic::Acknowledgement(_) => ACKNOWLEDGEMENT_MAX,
                    };
                    prop_assert!(delivery.payload.len() <= most && delivery.id != Some(0));
                    prop_assert!(delivery.id.is_none() || !matches!(client, BrokerClient::Local(_)));
                }
            }
            prop_assert_eq!(place.hub.counts().0, lines.len());
            prop_assert!(place.hub.counts().1 <= 2);
        }
        for (client, (connection, _)) in lines {
            place.hub.gone(&client, connection, End::Lost);
        }
        prop_assert!(place.hub.is_bare());
    }

    #[test]
    fn any_subject_is_a_name_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Some(name) = common_name(&bytes) {
            prop_assert!(bytes.windows(name.len().max(1)).any(|window| name.is_empty() || window == name.as_bytes()));
        }
    }
}
