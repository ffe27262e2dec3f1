use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const NOW: Duration = Duration::from_secs(1000);

fn admitted(arrival: Arrival) -> (ArrivalNumber, Option<ArrivalNumber>) {
    match arrival {
        Arrival::Admitted { ticket, makes_room } => (ticket, makes_room),
        Arrival::Refused { remaining } => panic!("refused for {remaining:?}"),
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn room_is_made_as_max_startups_says() {
    let startups: Startups = "10:30:100".parse().unwrap();
    assert_eq!([9, 10, 55, 99, 100, 1000].map(|waiting| startups.percent(waiting)), [0, 30, 65, 99, 100, 100]);
    assert_eq!(startups.to_string(), "10:30:100");
    for nonsense in ["", "10", "10:30", "0:30:100", "10:101:100", "10:30:9", "10:30:100:1", "a:b:c", "1:1:4000000000"] {
        assert!(nonsense.parse::<Startups>().is_err(), "{nonsense}");
    }
}

#[test]
fn a_silent_crowd_keeps_nobody_out() {
    let mut admission = Admission::new(AdmissionSettings::ONE_VISIT, vec![]);
    for _ in 0..1000 {
        admission.arrive(address("192.0.2.1"), NOW, 0);
    }
    let (visitor, _) = admitted(admission.arrive(address("192.0.2.1"), NOW, 0));
    for _ in 0..Startups::DEFAULT.start / 2 {
        assert_ne!(admitted(admission.arrive(address("192.0.2.1"), NOW, 0)).1, Some(visitor));
    }
}

#[test]
fn a_crowd_from_one_address_drives_out_itself() {
    let mut admission = Admission::new(AdmissionSettings::ONE_VISIT, vec![]);
    let (visitor, _) = admitted(admission.arrive(address("2001:db8::7"), NOW, 0));
    for host in 0..1000u16 {
        let crowd = IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
        assert_ne!(admitted(admission.arrive(crowd, NOW, 0)).1, Some(visitor), "one network of 64 bits is one source");
    }
}

#[test]
fn misdeeds_add_up_and_are_forgiven() {
    let mut admission = Admission::new(AdmissionSettings::MANY_VISITS, vec![]);
    let bad = address("::ffff:192.0.2.1");
    let once = |admission: &mut Admission, outcome, now| {
        let (ticket, _) = admitted(admission.arrive(bad, now, 99));
        admission.settle(ticket, outcome, now);
    };
    once(&mut admission, LoginOutcome::Denied, NOW);
    once(&mut admission, LoginOutcome::Denied, NOW);
    once(&mut admission, LoginOutcome::TooLate, NOW);
    let refused = Arrival::Refused { remaining: Duration::from_secs(20) };
    assert_eq!(admission.arrive(address("192.0.2.1"), NOW, 99), refused, "the same address, whatever it is written like");
    admitted(admission.arrive(address("192.0.2.2"), NOW, 99));
    let later = NOW + Duration::from_secs(6);
    once(&mut admission, LoginOutcome::Authenticated, later);
    once(&mut admission, LoginOutcome::Garbage, later);
    admitted(admission.arrive(bad, later, 99));
}

#[test]
fn a_source_from_which_a_client_got_in_lately_is_not_refused() {
    let mut admission = Admission::new(AdmissionSettings::MANY_VISITS, vec![]);
    let (shared, now) = (address("192.0.2.1"), NOW);
    let once = |admission: &mut Admission, outcome, now| {
        let (ticket, _) = admitted(admission.arrive(shared, now, 99));
        admission.settle(ticket, outcome, now);
    };
    once(&mut admission, LoginOutcome::Authenticated, now);
    let last = now + LATELY - Duration::from_secs(1);
    for _ in 0..100 {
        once(&mut admission, LoginOutcome::Garbage, last);
    }
    admitted(admission.arrive(shared, last, 99));
    assert!(matches!(admission.arrive(shared, now + LATELY, 99), Arrival::Refused { .. }), "that was long ago");
}

#[test]
fn an_exempt_source_has_no_penalty() {
    let mut admission =
        Admission::new(AdmissionSettings::MANY_VISITS, vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
    for peer in ["192.0.2.200", "::ffff:192.0.2.9", "2001:db8:1::1"].map(address) {
        for _ in 0..100 {
            let (ticket, _) = admitted(admission.arrive(peer, NOW, 99));
            admission.settle(ticket, LoginOutcome::Garbage, NOW);
        }
        admitted(admission.arrive(peer, NOW, 99));
        assert!(admission.penalties.of(peer.into(), NOW).is_none(), "nor is it the first to make room");
    }
}

#[test]
fn whom_a_proxy_brings_is_judged_by_their_own_address_and_the_proxy_never() {
    let mut admission = Admission::new(AdmissionSettings::MANY_VISITS, vec![]);
    let (proxy, bad, good) = (address("192.0.2.1"), address("198.51.100.1"), address("198.51.100.2"));
    let brought = |admission: &mut Admission, client: Option<IpAddr>, outcome| {
        let (ticket, _) = admitted(admission.arrive_by_proxy(proxy, NOW, 99));
        let let_in = client.is_none_or(|client| admission.bring(ticket, client, NOW).is_ok());
        admission.settle(ticket, outcome, NOW);
        let_in
    };
    for _ in 0..100 {
        assert!(brought(&mut admission, None, LoginOutcome::Garbage), "no header");
    }
    assert!(brought(&mut admission, Some(bad), LoginOutcome::Garbage) && brought(&mut admission, Some(bad), LoginOutcome::Garbage));
    assert!(!brought(&mut admission, Some(bad), LoginOutcome::Left), "it has 20 s by now");
    assert!(brought(&mut admission, Some(good), LoginOutcome::Left) && brought(&mut admission, None, LoginOutcome::Left));
    assert!(matches!(admission.arrive(bad, NOW, 99), Arrival::Refused { .. }));
    admitted(admission.arrive(proxy, NOW, 99));
    assert_eq!(admission.waiting(), 1, "whoever is refused has no place");
}

#[test]
fn who_made_room_has_not_failed() {
    let mut admission = Admission::new(AdmissionSettings::MANY_VISITS, vec![]);
    let (ticket, _) = admitted(admission.arrive(address("192.0.2.1"), NOW, 99));
    for _ in 0..2 {
        assert!(admission.make_room(NOW).is_none_or(|gone| gone == ticket));
        for _ in 0..10 {
            admission.settle(ticket, LoginOutcome::Garbage, NOW);
        }
    }
    admitted(admission.arrive(address("192.0.2.1"), NOW, 99));
}

#[test]
fn loopback_is_never_refused_and_one_visit_refuses_nobody() {
    for (peer, settings) in [
        ("127.0.0.9", AdmissionSettings::MANY_VISITS),
        ("::1", AdmissionSettings::MANY_VISITS),
        ("192.0.2.1", AdmissionSettings::ONE_VISIT),
    ] {
        let mut admission = Admission::new(settings, vec![]);
        for _ in 0..1000 {
            let (ticket, _) = admitted(admission.arrive(address(peer), NOW, 99));
            admission.settle(ticket, LoginOutcome::Garbage, NOW);
        }
        admitted(admission.arrive(address(peer), NOW, 99));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Arrive { peer: u16, roll: u32 },
    Settle { which: usize, outcome: LoginOutcome },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        Just(LoginOutcome::Authenticated),
        Just(LoginOutcome::Left),
        Just(LoginOutcome::Denied),
        Just(LoginOutcome::TooLate),
        Just(LoginOutcome::Garbage)
    ];
    prop_oneof![
        8 => (any::<u16>(), 0..100u32).prop_map(|(peer, roll)| Step::Arrive { peer: peer % 300, roll }),
        4 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Step::Settle { which, outcome }),
        1 => (0..100u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn bounds_hold_whatever_happens(steps in proptest::collection::vec(step(), 0..400), refuse: bool) {
        let startups = Startups { start: 10, rate: 30, full: 20 };
        let mut admission = Admission::new(AdmissionSettings { startups, refuse }, vec![]);
        let (mut now, mut inside) = (NOW, Vec::<ArrivalNumber>::new());
        for step in steps {
            match step {
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
                Step::Settle { which, outcome } if !inside.is_empty() => {
                    let ticket = inside.remove(which % inside.len());
                    admission.settle(ticket, outcome, now);
                }
                Step::Settle { .. } => {}
                Step::Arrive { peer, roll } => {
                    let [high, low] = peer.to_be_bytes();
                    match admission.arrive(IpAddr::from([10, 0, high, low]), now, roll) {
                        Arrival::Refused { remaining } => {
                            prop_assert!(refuse && (PENALTY_MIN..=PENALTY_MAX).contains(&remaining));
                        }
                        Arrival::Admitted { ticket, makes_room } => {
                            if let Some(gone) = makes_room {
                                prop_assert!(inside.len() >= 10, "below start nobody makes room");
                                let younger = inside.iter().filter(|other| **other > gone).count();
                                prop_assert!(younger >= 5, "only for who came well after");
                                inside.retain(|other| *other != gone);
                            }
                            inside.push(ticket);
                        }
                    }
                }
            }
            prop_assert!(admission.waiting() <= 20);
            prop_assert_eq!(admission.waiting(), inside.len());
        }
    }

    #[test]
    fn penalties_are_bounded_in_number_and_length(misdeeds in 0..600u32, seconds in 0..2000u64) {
        let mut penalties = Penalties::default();
        let source = ClientSource::from(address("192.0.2.1"));
        for _ in 0..misdeeds {
            penalties.add(source, LoginOutcome::Garbage.penalty(), NOW);
        }
        let left = penalties.of(source, NOW + Duration::from_secs(seconds));
        prop_assert!(left.is_none_or(|left| left + Duration::from_secs(seconds) <= PENALTY_MAX));
        prop_assert!(left.is_none() || u64::from(misdeeds) * 10 >= seconds + 15);
    }
}

#[test]
fn of_too_many_sources_the_quietest_is_forgotten() {
    let mut penalties = Penalties::default();
    let source = |number: u32| ClientSource::from(IpAddr::from(Ipv4Addr::from(number)));
    for number in 0..10_000 {
        penalties.add(source(number), PENALTY_MIN, NOW);
        penalties.add(source(0), PENALTY_MIN, NOW);
        assert!(penalties.0.of.len() <= SOURCES && penalties.0.of.len() == penalties.0.order.len());
    }
    assert!(penalties.of(source(0), NOW).is_some() && penalties.of(source(1), NOW).is_none());
    assert!(penalties.of(source(9_999), NOW).is_some());
}
