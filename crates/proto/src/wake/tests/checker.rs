use proptest::prelude::*;

use super::*;

fn answer(result: Result<Wake, Rejected>) -> Option<WakeAnswer> {
    result.unwrap_err().answer.map(|(_, _, answer)| answer)
}

#[test]
fn a_good_wake_is_followed_and_is_under_a_kilobyte() {
    let sealed = wake(1).seal(&wake_key(1)).unwrap();
    assert!(sealed.len() <= WAKE_MAX, "{}", sealed.len());
    assert_eq!(checker().admit(sealed.as_bytes(), moment(NOW + 3), 0), Ok(wake(1)));
    // The longest names there are.
    let mut long = wake(1);
    long.aud = "a".repeat(64).parse().unwrap();
    long.rid = "b".repeat(64).parse().unwrap();
    assert!(long.seal(&wake_key(1)).unwrap().len() < 800);
}

#[test]
fn both_pinned_keys_wake_and_no_other() {
    let mut next = wake(1);
    next.kid = wake_key(2).kid().to_string();
    assert!(checker().admit(next.seal(&wake_key(2)).unwrap().as_bytes(), moment(NOW), 0).is_ok());
    let mut foreign = wake(1);
    foreign.kid = wake_key(3).kid().to_string();
    assert_eq!(reason(checker().admit(foreign.seal(&wake_key(3)).unwrap().as_bytes(), moment(NOW), 0)), Reason::UnknownKey);
    // Says that it is one key's and is another's.
    assert_eq!(reason(checker().admit(wake(1).seal(&wake_key(2)).unwrap().as_bytes(), moment(NOW), 0)), Reason::BadSignature);
}

#[test]
fn the_domain_is_part_of_what_is_signed() {
    let payload = serde_json::to_vec(&wake(1)).unwrap();
    for domain in [&b""[..], ACKNOWLEDGEMENT_DOMAIN] {
        let signature = wake_key(1).sign(&signed(domain, &payload));
        assert_eq!(reason(checker().admit(join(&[&payload, &signature]).as_bytes(), moment(NOW), 0)), Reason::BadSignature);
    }
}

#[test]
fn another_major_version_is_refused_and_new_fields_are_passed_over() {
    let newer = altered(|wake| wake["v"] = 2.into());
    assert_eq!(reason(checker().admit(newer.as_bytes(), moment(NOW), 0)), Reason::Version(2));
    // Even where nothing else is as it was.
    let kid = wake_key(1).kid().to_string();
    let other = sign(serde_json::json!({ "v": 7, "kid": kid }).to_string().as_bytes(), 1);
    assert_eq!(reason(checker().admit(other.as_bytes(), moment(NOW), 0)), Reason::Version(7));
    let extended = altered(|wake| wake["why"] = serde_json::json!({ "deep": [1, 2] }));
    assert!(checker().admit(extended.as_bytes(), moment(NOW), 0).is_ok());
}

#[test]
fn another_devices_wake_is_passed_over_in_silence() {
    let rejected = checker().admit(altered(|wake| wake["aud"] = "cam-18".into()).as_bytes(), moment(NOW), 0);
    assert_eq!(rejected, Err(Rejected { reason: Reason::WrongDevice, answer: None }));
}

#[test]
fn it_is_good_from_a_minute_before_it_was_made_to_its_end() {
    let sealed = wake(1).seal(&wake_key(1)).unwrap();
    let at = |now| checker().admit(sealed.as_bytes(), moment(now), 0);
    assert!(at(NOW - SKEW).is_ok() && at(NOW + LIFETIME).is_ok());
    assert_eq!(reason(at(NOW - SKEW - 1)), Reason::Early(SKEW + 1));
    assert_eq!(reason(at(NOW + LIFETIME + 1)), Reason::Late(1));
    assert_eq!(answer(at(0)), Some(WakeAnswer::Clock));
    for (iat, exp) in [(NOW, NOW + LIFETIME + 1), (NOW, NOW - 1), (0, u64::MAX)] {
        let text = altered(|wake| (wake["iat"], wake["exp"]) = (iat.into(), exp.into()));
        assert_eq!(reason(checker().admit(text.as_bytes(), moment(NOW), 0)), Reason::TooLong);
    }
}

#[test]
fn a_device_without_a_clock_skips_the_time_and_nothing_else() {
    let mut checker = WakeChecker::new(Pins { clock: Clock::Absent, ..pins() });
    let sealed = wake(1).seal(&wake_key(1)).unwrap();
    assert!(checker.admit(sealed.as_bytes(), moment(0), 0).is_ok());
    assert_eq!(reason(checker.admit(sealed.as_bytes(), moment(1), 0)), Reason::Replayed);
}

#[test]
fn a_replay_is_refused_without_an_answer() {
    let mut checker = checker();
    let sealed = wake(1).seal(&wake_key(1)).unwrap();
    assert!(checker.admit(sealed.as_bytes(), moment(NOW), 0).is_ok());
    let again = checker.admit(sealed.as_bytes(), moment(NOW + LIFETIME), 0);
    assert_eq!(again, Err(Rejected { reason: Reason::Replayed, answer: None }));
    // Forgotten when it has ended, and then it has ended.
    assert_eq!(reason(checker.admit(sealed.as_bytes(), moment(NOW + LIFETIME + 1), 0)), Reason::Late(1));
}

#[test]
fn only_permitted_relays_are_dialled() {
    let text = altered(|wake| wake["relay"] = serde_json::json!(["evil.example.com:22", "[2001:DB8::7]:2222"]));
    let followed = checker().admit(text.as_bytes(), moment(NOW), 0).unwrap();
    assert_eq!(followed.relay, ["[2001:db8::7]:2222".parse().unwrap()]);
    let text = altered(|wake| wake["relay"] = serde_json::json!(["evil.example.com:22"]));
    let refused = checker().admit(text.as_bytes(), moment(NOW), 0);
    assert_eq!(reason(refused.clone()), Reason::RelayNotAllowed);
    assert_eq!(answer(refused), Some(WakeAnswer::Denied));
    let many = altered(|wake| wake["relay"] = serde_json::json!(vec!["relay.example.com:2222"; 5]));
    assert_eq!(reason(checker().admit(many.as_bytes(), moment(NOW), 0)), Reason::Malformed);
}

#[test]
fn there_are_limits_whoever_asks() {
    let mut checker = checker();
    for number in 0..DIALS.burst {
        let sealed = wake(u8::try_from(number).unwrap()).seal(&wake_key(1)).unwrap();
        assert!(checker.admit(sealed.as_bytes(), moment(NOW), 0).is_ok());
    }
    let refused = checker.admit(wake(200).seal(&wake_key(1)).unwrap().as_bytes(), moment(NOW), 0);
    assert_eq!(reason(refused.clone()), Reason::TooMany);
    assert_eq!(answer(refused), Some(WakeAnswer::Busy));
    let mut checker = super::checker();
    assert_eq!(reason(checker.admit(wake(1).seal(&wake_key(1)).unwrap().as_bytes(), moment(NOW), 2)), Reason::TunnelCap);
}

#[test]
fn a_full_memory_lets_nothing_in_that_could_be_a_replay() {
    let mut checker = checker();
    let numbered = |number: u16| {
        let mut wake = wake(0);
        let mut jti = [0; 16];
        jti[..2].copy_from_slice(&number.to_be_bytes());
        wake.jti = Jti::new(jti);
        wake.seal(&wake_key(1)).unwrap()
    };
    let first = numbered(0);
    let reasons: Vec<_> =
        (0..300).map(|number| checker.admit(numbered(number).as_bytes(), moment(NOW), 0).map_err(|no| no.reason)).collect();
    assert_eq!(reasons.iter().filter(|result| result.is_ok()).count(), usize::try_from(DIALS.burst).unwrap());
    assert_eq!(reason(checker.admit(first.as_bytes(), moment(NOW), 0)), Reason::Replayed);
    assert_eq!(reasons.last().unwrap(), &Err(Reason::TooMany));
}

#[test]
fn old_wakes_sent_for_ever_get_few_answers() {
    let mut checker = checker();
    let sealed = wake(1).seal(&wake_key(1)).unwrap();
    let late = ClockReading { unix: NOW + 3600, monotonic: Duration::from_secs(5) };
    let answers = (0..1000).filter(|_| checker.admit(sealed.as_bytes(), late, 0).unwrap_err().answer.is_some()).count();
    assert_eq!(answers, usize::try_from(DIALS.burst).unwrap());
    // And dialling is not held up by them.
    assert!(checker.admit(wake(2).seal(&wake_key(1)).unwrap().as_bytes(), ClockReading { unix: NOW, ..late }, 0).is_ok());
}

#[test]
fn what_is_no_wake_is_refused() {
    let sealed = wake(1).seal(&wake_key(1)).unwrap();
    let twice = sealed.replace('.', "..");
    let long = format!("{sealed}{}", "A".repeat(1024));
    for text in ["", ".", "a", "{}", &sealed[..sealed.len() - 3], &twice, &long, &format!("{sealed}="), &format!(" {sealed}")] {
        assert!(checker().admit(text.as_bytes(), moment(NOW), 0).is_err(), "{text}");
    }
    let doubled = String::from_utf8(serde_json::to_vec(&wake(1)).unwrap()).unwrap().replace("\"v\":1", "\"v\":1,\"v\":1");
    assert_eq!(reason(checker().admit(sign(doubled.as_bytes(), 1).as_bytes(), moment(NOW), 0)), Reason::Malformed);
    for field in ["aud", "jti", "iat", "exp", "relay", "hk", "svc", "tkt", "rid"] {
        let text = altered(|wake| drop(wake.as_object_mut().unwrap().remove(field)));
        assert_eq!(reason(checker().admit(text.as_bytes(), moment(NOW), 0)), Reason::Malformed, "{field}");
    }
}

#[test]
fn a_device_pins_two_keys_at_most() {
    let line = |seed| private(seed).public_key().to_openssh().unwrap();
    assert_eq!(WakeKeys::parse("# none yet\n").unwrap_err(), WakeKeyError::None);
    assert_eq!(WakeKeys::parse(&[line(1), line(2), line(3)].join("\n")).unwrap_err(), WakeKeyError::TooMany);
    assert_eq!(WakeKeys::parse(&format!("{}\nssh-rsa AAAA", line(1))).unwrap_err(), WakeKeyError::NotAKey(2));
    assert_eq!(WakeKeys::parse(&line(1)).unwrap().kids().count(), 1);
}

proptest! {
    /// One bit anywhere, and it is no wake any more: nothing in it is without meaning.
    #[test]
    fn no_bit_can_be_changed(at in 0_usize..2000, bit in 0_u8..8) {
        let mut text = wake(1).seal(&wake_key(1)).unwrap().into_bytes();
        let at = at % text.len();
        text[at] ^= 1 << bit;
        prop_assert!(checker().admit(&text, moment(NOW), 0).is_err());
    }

    #[test]
    fn nothing_that_is_sent_gets_through(bytes in proptest::collection::vec(any::<u8>(), 0..1200)) {
        prop_assert!(checker().admit(&bytes, moment(NOW), 0).is_err());
    }

    /// Whatever order wakes come in, each is followed once at most, and none outside its time.
    #[test]
    fn each_wake_is_followed_once(order in proptest::collection::vec((0_u8..6, 0_u64..40), 1..60)) {
        let mut checker = checker();
        let mut followed = std::collections::BTreeSet::new();
        let mut now = NOW - 70;
        for (number, later) in order {
            now += later;
            let sealed = wake(number).seal(&wake_key(1)).unwrap();
            if checker.admit(sealed.as_bytes(), moment(now), 0).is_ok() {
                prop_assert!(followed.insert(number));
                prop_assert!((NOW - SKEW..=NOW + LIFETIME).contains(&now));
            }
        }
    }
}
