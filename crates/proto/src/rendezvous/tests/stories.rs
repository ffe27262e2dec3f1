use super::*;

#[test]
fn a_visitor_wakes_a_device_and_comes_in() {
    let mut relay = Relay::new();
    let actions = relay.visit(1, "cam-17");
    let (_, ticket) = published(&actions).unwrap();
    assert!(actions.contains(&Action::Watch(id("cam-17"))));
    assert_eq!(relay.dial_back(5, "cam-17", ticket), [Action::Accept(TunnelId(5))]);
    let actions = relay.listening(5, "cam-17", 22);
    let open = Action::Open { visitor: VisitorId(1), tunnel: TunnelId(5), device: id("cam-17"), port: 22 };
    assert_eq!(actions, [open, Action::Unwatch(id("cam-17"))]);
    assert_eq!(relay.on(RendezvousEvent::Opened(VisitorId(1))), []);
    // A second one finds the tunnel there.
    assert_eq!(opened(&relay.visit(2, "cam-17")), [2]);
    relay.on(RendezvousEvent::Left(VisitorId(1)));
    assert_eq!(relay.after(100), []);
    relay.on(RendezvousEvent::Left(VisitorId(2)));
    assert_eq!(relay.after(LINGER.as_secs() - 1), []);
    assert_eq!(relay.after(1), [Action::Close(TunnelId(5))]);
    assert!(relay.state.is_idle());
}

#[test]
fn later_visitors_join_the_wake_that_is_out() {
    let mut relay = Relay::new();
    let (_, ticket) = relay.wake(1, "cam-17");
    relay.after(3);
    assert_eq!(relay.visit(2, "cam-17"), []);
    relay.dial_back(5, "cam-17", ticket);
    assert_eq!(opened(&relay.listening(5, "cam-17", 22)), [1, 2]);
}

#[test]
fn whoever_joined_late_still_has_the_whole_deadline() {
    let mut relay = Relay::new();
    let (first, ticket) = relay.wake(1, "cam-17");
    relay.after(7);
    relay.visit(2, "cam-17");
    let actions = relay.after(1);
    assert_eq!(refused(&actions), [(1, "cam-17 did not answer within 8 s".into())]);
    // Another wake, and the ticket that a slow device may have already.
    let (second, same) = published(&actions).unwrap();
    assert!(second != first && same == ticket);
    relay.dial_back(5, "cam-17", ticket);
    assert_eq!(opened(&relay.listening(5, "cam-17", 22)), [2]);
}

#[test]
fn a_ticket_opens_once_and_for_its_device_alone() {
    let mut relay = Relay::new();
    let (_, ticket) = relay.wake(1, "cam-17");
    let (_, other) = relay.wake(2, "cam-18");
    assert_eq!(relay.dial_back(5, "cam-18", ticket), [Action::Reject(TunnelId(5))]);
    assert_eq!(relay.dial_back(6, "cam-17", other), [Action::Reject(TunnelId(6))]);
    assert_eq!(relay.dial_back(7, "cam-17", ticket), [Action::Accept(TunnelId(7))]);
    assert_eq!(relay.dial_back(8, "cam-17", ticket), [Action::Reject(TunnelId(8))]);
    // Woken as one device, it offers no other.
    assert!(opened(&relay.listening(7, "cam-18", 22)).is_empty());
    assert_eq!(opened(&relay.listening(7, "cam-17", 22)), [1]);
}

#[test]
fn the_ticket_of_a_visitor_who_left_is_gone() {
    let mut relay = Relay::new();
    let (_, ticket) = relay.wake(1, "cam-17");
    assert_eq!(relay.on(RendezvousEvent::Left(VisitorId(1))), [Action::Unwatch(id("cam-17"))]);
    assert!(relay.state.is_idle());
    assert_eq!(relay.dial_back(5, "cam-17", ticket), [Action::Reject(TunnelId(5))]);
}

#[test]
fn a_device_that_comes_too_late_is_sent_away() {
    let mut relay = Relay::new();
    let (_, ticket) = relay.wake(1, "cam-17");
    relay.on(RendezvousEvent::Seen { device: id("cam-17"), presence: DevicePresence::Offline, since: START - 3 * 3600 });
    assert_eq!(refused(&relay.after(8)), [(1, "cam-17 is offline: last seen 2027-01-15 05:00 UTC (3 h ago)".into())]);
    assert_eq!(relay.dial_back(5, "cam-17", ticket), [Action::Reject(TunnelId(5))]);
    assert!(relay.state.is_idle());
}

#[test]
fn what_the_device_says_is_told_at_once() {
    for (answer, clock, sentence) in [
        (WakeAnswer::DialFailed, START, "cam-17 is awake but could not reach relay.example.com:2222 (because)"),
        (WakeAnswer::Busy, START, "cam-17 is awake but busy (because)"),
        (WakeAnswer::Denied, START, "cam-17 is awake but refuses (because)"),
        (WakeAnswer::Clock, START - 2 * 86_400, "cam-17's clock is 2 days off"),
    ] {
        let mut relay = Relay::new();
        let (jti, _) = relay.wake(1, "cam-17");
        relay.visit(2, "cam-17");
        // Of another device's wake, or by another device, it says nothing.
        assert_eq!(relay.answered("cam-18", jti, answer, "because", clock), []);
        assert_eq!(relay.answered("cam-17", Jti::new([99; 16]), answer, "because", clock), []);
        assert_eq!(refused(&relay.answered("cam-17", jti, answer, "because", clock)), [(1, sentence.into()), (2, sentence.into())]);
        assert!(relay.state.is_idle());
    }
}

#[test]
fn a_device_that_dials_and_never_arrives() {
    let mut relay = Relay::new();
    let (jti, _) = relay.wake(1, "cam-17");
    assert_eq!(relay.answered("cam-17", jti, WakeAnswer::Ok, "", START), []);
    let sentence = "cam-17 is awake but could not reach relay.example.com:2222 (no connection within 8 s)";
    assert_eq!(refused(&relay.after(8)), [(1, sentence.into())]);
}

#[test]
fn without_a_broker_nobody_is_woken() {
    let mut relay = Relay::with(None, RendezvousLimits::default());
    assert_eq!(refused(&relay.visit(1, "cam-17")), [(1, "cam-17 is not connected".into())]);
    relay.on(visit(7, 2, "cam-17", 22, Some(3600)));
    relay.after(600);
    // `ssh -R` of the device itself: no ticket, and it stays.
    assert_eq!(opened(&relay.listening(5, "cam-17", 22)), [2]);
    relay.on(RendezvousEvent::Left(VisitorId(2)));
    assert_eq!(relay.after(1000), []);
    assert_eq!(opened(&relay.visit(3, "cam-17")), [3]);
}

#[test]
fn the_broker_is_gone() {
    let mut relay = Relay::new();
    let (jti, _) = relay.wake(1, "cam-17");
    assert_eq!(refused(&relay.on(RendezvousEvent::NotPublished(id("cam-17"), jti))), [(1, "the broker is unreachable".into())]);
    assert!(relay.state.is_idle());
}

#[test]
fn whoever_waits_for_an_offline_device_gets_it_when_it_comes() {
    let mut relay = Relay::new();
    let actions = relay.on(visit(7, 1, "cam-17", 22, Some(3600)));
    let (first, _) = published(&actions).unwrap();
    relay.on(RendezvousEvent::Seen { device: id("cam-17"), presence: DevicePresence::Offline, since: START - 60 });
    assert_eq!(relay.after(8), []);
    assert_eq!(relay.after(20), []);
    let (second, ticket) =
        published(&relay.on(RendezvousEvent::Seen { device: id("cam-17"), presence: DevicePresence::Online, since: START + 28 })).unwrap();
    assert!(second != first);
    relay.dial_back(5, "cam-17", ticket);
    assert_eq!(opened(&relay.listening(5, "cam-17", 22)), [1]);
}

#[test]
fn whoever_waits_does_not_depend_on_the_status() {
    let mut relay = Relay::new();
    relay.on(visit(7, 1, "cam-17", 22, Some(100)));
    relay.after(8);
    assert!(published(&relay.after(60)).is_some());
    assert_eq!(refused(&relay.after(32)), [(1, "cam-17 did not answer within 8 s".into())]);
    assert!(relay.state.is_idle());
}

#[test]
fn a_port_that_the_device_does_not_offer() {
    let mut relay = Relay::new();
    let (_, ticket) = relay.wake(1, "cam-17");
    relay.on(visit(7, 2, "cam-17", 80, None));
    relay.dial_back(5, "cam-17", ticket);
    assert_eq!(opened(&relay.listening(5, "cam-17", 22)), [1]);
    // It may still come.
    relay.on(visit(7, 3, "cam-17", 443, None));
    assert_eq!(opened(&relay.listening(5, "cam-17", 443)), [3]);
    assert_eq!(refused(&relay.after(2)), [(2, "cam-17 is connected and offers no port 80".into())]);
    assert_eq!(refused(&relay.on(visit(7, 4, "cam-17", 80, None))), [(4, "cam-17 is connected and offers no port 80".into())]);
}

#[test]
fn a_tunnel_that_breaks_before_the_channel_is_open_is_replaced_once() {
    let mut relay = Relay::new();
    let (_, ticket) = relay.wake(1, "cam-17");
    relay.dial_back(5, "cam-17", ticket);
    relay.listening(5, "cam-17", 22);
    assert_eq!(published(&relay.on(RendezvousEvent::Gone(TunnelId(5)))), None);
    let (_, ticket) = published(&relay.after(1)).unwrap();
    relay.dial_back(6, "cam-17", ticket);
    assert_eq!(opened(&relay.listening(6, "cam-17", 22)), [1]);
    let sentence = "the connection to cam-17 broke while the channel was being opened";
    assert_eq!(refused(&relay.on(RendezvousEvent::Gone(TunnelId(6)))), [(1, sentence.into())]);
    assert!(relay.state.is_idle());
}

#[test]
fn a_device_that_dials_and_breaks_off_is_woken_again_but_not_in_a_circle() {
    let mut relay = Relay::new();
    let (_, mut ticket) = relay.wake(1, "cam-17");
    let mut wakes = 1;
    for tunnel in 0..100 {
        relay.dial_back(tunnel, "cam-17", ticket);
        relay.on(RendezvousEvent::Gone(TunnelId(tunnel)));
        let Some((_, next)) = published(&relay.after(1)) else { break };
        assert!(next != ticket, "a ticket that was shown is used up");
        ticket = next;
        wakes += 1;
    }
    assert_eq!(wakes, 8);
    assert!(relay.state.is_idle());
}

#[test]
fn the_newest_connection_of_a_device_is_used() {
    let mut relay = Relay::new();
    relay.listening(5, "cam-17", 22);
    relay.listening(6, "cam-17", 22);
    let open = Action::Open { visitor: VisitorId(1), tunnel: TunnelId(6), device: id("cam-17"), port: 22 };
    assert_eq!(relay.visit(1, "cam-17"), [open]);
    // The old one's end concerns nobody.
    assert_eq!(relay.on(RendezvousEvent::Gone(TunnelId(5))), []);
    assert_eq!(opened(&relay.visit(2, "cam-17")), [2]);
}

#[test]
fn a_forward_that_is_taken_back_is_offered_no_longer() {
    let mut relay = Relay::with(None, RendezvousLimits::default());
    relay.listening(5, "cam-17", 22);
    relay.on(RendezvousEvent::NotListening { tunnel: TunnelId(5), device: id("cam-17"), port: 22 });
    assert_eq!(refused(&relay.visit(1, "cam-17")), [(1, "cam-17 is not connected".into())]);
    assert!(relay.state.is_idle());
}

#[test]
fn one_key_wakes_so_many_devices_and_joining_costs_nothing() {
    let mut relay = Relay::new();
    for number in 0..u64::from(WAKES_PER_KEY.burst) {
        assert!(published(&relay.visit(number, &format!("cam-{number}"))).is_some());
    }
    assert_eq!(refused(&relay.visit(1000, "cam-1000")), [(1000, "too many devices were woken from here: try again in 1 s".into())]);
    assert_eq!(relay.visit(1001, "cam-1"), []);
}

fn visit_by(key: &str, number: usize, device: &str, wait: Option<u64>) -> RendezvousEvent {
    let mut event = visit(7, number.try_into().unwrap(), device, 22, wait);
    if let RendezvousEvent::Visit(visit) = &mut event {
        visit.key = key.into();
    }
    event
}

#[test]
fn so_many_wait_for_one_device() {
    let mut relay = Relay::new();
    let mut ask = |number: usize, key: &str, device: &str| refused(&relay.on(visit_by(key, number, device, None)));
    for number in 0..WAITING_PER_KEY_AND_DEVICE {
        assert_eq!(ask(number, "alice", "cam-17"), []);
        assert_eq!(ask(100 + number, "bob", "cam-17"), []);
    }
    assert_eq!(ask(1000, "alice", "cam-17"), [(1000, "too many are waiting: the limit is 16".into())]);
    for number in 0..WAITING_PER_KEY_AND_DEVICE {
        assert_eq!(ask(200 + number, "carol", "cam-18"), []);
    }
    assert_eq!(ask(1001, "carol", "cam-18"), [(1001, "too many are waiting: the limit is 16".into())]);
    assert_eq!(ask(1002, "dave", "cam-18"), []);
}

#[test]
fn one_key_leaves_places_for_others() {
    let mut relay = Relay::new();
    let mut ask = |number: usize, key: &str| refused(&relay.on(visit_by(key, number, &format!("cam-{}", number % 64), Some(3600))));
    for number in 0..WAITING_PER_KEY {
        assert_eq!(ask(number, "alice"), []);
    }
    assert_eq!(ask(1000, "alice"), [(1000, "too many are waiting: the limit is 256".into())]);
    assert_eq!(ask(1001, "bob"), []);
}

/// Fills every place of the patient: four keys, each for as many offline devices as there have to be.
fn crowd(relay: &mut Relay) {
    for number in 0..WAITING_MAX {
        relay.seconds += 1;
        let (key, device) = (number % 4, number / WAITING_PER_KEY_AND_DEVICE);
        let waits = visit_by(&format!("crowd-{key}"), number, &format!("off-{device}"), Some(86_400));
        assert_eq!(refused(&relay.on(waits)), [], "{number}");
    }
}

#[test]
fn the_patient_keep_nobody_out_who_wants_in_now() {
    let mut relay = Relay::new();
    crowd(&mut relay);
    let actions = relay.on(visit_by("dave", 2000, "cam-1", None));
    assert!(published(&actions).is_some() && refused(&actions).is_empty(), "{actions:?}");
}

#[test]
fn the_most_patient_of_the_fullest_key_makes_room() {
    let mut relay = Relay::new();
    for number in 0..WAITING_PER_KEY_AND_DEVICE {
        let longer = 600 * u64::from(number == 7);
        assert_eq!(refused(&relay.on(visit_by("alice", number, "cam-2", Some(3600)))), []);
        assert_eq!(refused(&relay.on(visit_by("bob", 100 + number, "cam-2", Some(7200 + longer)))), []);
    }
    let crowded = "too many are waiting: the limit is 32".to_owned();
    assert_eq!(refused(&relay.on(visit_by("carol", 1000, "cam-2", Some(60)))), [(107, crowded.clone())]);
    // Bob has one less, and alice is the fullest key; among equals whoever came first.
    assert_eq!(refused(&relay.on(visit_by("dave", 1001, "cam-2", Some(60)))), [(0, crowded)]);
    // Who has as many as anybody gets no more.
    assert_eq!(refused(&relay.on(visit_by("alice", 1002, "cam-2", Some(60)))), [(1002, "too many are waiting: the limit is 32".into())]);
}

#[test]
fn those_who_want_in_now_make_room_for_each_other_too() {
    let mut relay = Relay::new();
    for number in 0..WAITING_PER_KEY_AND_DEVICE {
        relay.on(visit_by("alice", number, "cam-2", None));
        relay.on(visit_by("bob", 100 + number, "cam-2", None));
    }
    relay.on(visit_by("erin", 900, "cam-2", Some(3600)));
    // The patient one is no part of it.
    assert_eq!(refused(&relay.on(visit_by("carol", 1000, "cam-2", None))), [(0, "too many are waiting: the limit is 32".into())]);
}

#[test]
fn the_wakes_of_those_who_wait_on_are_counted() {
    let mut relay = Relay::new();
    let wakes = |relay: &mut Relay, seconds: u64| {
        let (end, mut count) = (relay.seconds + seconds, 0);
        while let Some(next) = relay.state.deadline().map(|at| at.as_secs()).filter(|next| *next <= end) {
            relay.seconds = relay.seconds.max(next);
            count += relay.on(RendezvousEvent::Tick).iter().filter(|action| matches!(action, Action::Publish { .. })).count();
        }
        relay.seconds = end;
        count
    };
    for number in 0..140 {
        wakes(&mut relay, 1);
        assert_eq!(refused(&relay.on(visit_by("alice", number, &format!("off-{number}"), Some(86_400)))), []);
    }
    let (most, minutes) = (usize::try_from(WAKES_PER_KEY.burst).unwrap(), 10);
    let count = wakes(&mut relay, 60 * minutes);
    assert!((500..=most + 600).contains(&count), "{count}: a wake a second");
    // Another key's are its own.
    assert!(published(&relay.on(visit_by("bob", 1000, "cam-1", None))).is_some());
    assert_eq!(
        refused(&relay.on(visit_by("alice", 1001, "cam-2", None))),
        [(1001, "too many devices were woken from here: try again in 1 s".into())]
    );
}

#[test]
fn a_device_that_comes_after_the_wake_is_woken_again_at_once() {
    let mut relay = Relay::new();
    let (first, ticket) = relay.wake(1, "cam-17");
    // What it said before the wake was published says nothing about whether it heard it.
    let before = RendezvousEvent::Seen { device: id("cam-17"), presence: DevicePresence::Online, since: START - 60 };
    assert_eq!(published(&relay.on(before)), None);
    relay.after(2);
    let now = RendezvousEvent::Seen { device: id("cam-17"), presence: DevicePresence::Online, since: START + 2 };
    let (second, same) = published(&relay.on(now)).unwrap();
    assert!(second != first && same == ticket);
    let again = RendezvousEvent::Seen { device: id("cam-17"), presence: DevicePresence::Online, since: START + 2 };
    assert_eq!(published(&relay.on(again)), None);
    assert_eq!(opened(&relay.dial_back(7, "cam-17", ticket)), [0; 0]);
    assert_eq!(opened(&relay.listening(7, "cam-17", 22)), [1]);
}
