use proptest::prelude::*;

use super::*;

fn answer(detail: &str) -> Acknowledgement {
    Acknowledgement::new("relay-1".parse().unwrap(), Jti::new([1; 16]), NOW, WakeAnswer::DialFailed, detail)
}

fn open(text: &str) -> Result<(String, Acknowledgement), NotAnswered> {
    let opened = Acknowledgement::open(text.as_bytes(), &"relay-1".parse().unwrap(), &devices(), &Krl::default(), NOW);
    opened.map(|(device, serial, answer)| {
        assert_eq!(serial, 5, "the certificate's");
        (device.to_string(), answer)
    })
}

#[test]
fn a_devices_answer_is_its_own() {
    let sealed = answer("connection refused").seal(&private(20), &certificate(10, "cam-17")).unwrap();
    assert!(sealed.len() <= ACKNOWLEDGEMENT_MAX, "{}", sealed.len());
    assert_eq!(open(&sealed), Ok(("cam-17".into(), answer("connection refused"))));
}

#[test]
fn nobody_answers_for_it() {
    // By another key with the device's certificate, which is no secret.
    let stolen = answer("").seal(&private(21), &certificate(10, "cam-17")).unwrap();
    assert_eq!(open(&stolen), Err(NotAnswered::BadSignature));
    // With a certificate of one's own making.
    let made = answer("").seal(&private(20), &certificate(11, "cam-17")).unwrap();
    assert!(matches!(open(&made), Err(NotAnswered::Certificate(_))));
    // Signed as something else.
    let payload = serde_json::to_vec(&answer("")).unwrap();
    let signature = wake_key(20).sign(&signed(WAKE_DOMAIN, &payload));
    let wake = join(&[&payload, &signature, &certificate(10, "cam-17").to_bytes().unwrap()]);
    assert_eq!(open(&wake), Err(NotAnswered::BadSignature));
}

#[test]
fn a_revoked_device_answers_nothing() {
    let sealed = answer("").seal(&private(20), &certificate(10, "cam-17")).unwrap();
    let mut krl = Krl::default();
    krl.revoke_serial(private(10).public_key().key_data(), 5);
    let opened = Acknowledgement::open(sealed.as_bytes(), &"relay-1".parse().unwrap(), &devices(), &krl, NOW);
    assert_eq!(opened, Err(NotAnswered::Certificate(crate::authorized_keys::Denial::Revoked)));
}

#[test]
fn an_answer_is_for_one_relay() {
    let other = Acknowledgement { aud: "relay-2".parse().unwrap(), ..answer("") };
    assert_eq!(open(&other.seal(&private(20), &certificate(10, "cam-17")).unwrap()), Err(NotAnswered::WrongRelay));
}

#[test]
fn a_detail_is_short_and_printable() {
    assert_eq!(answer("a\x1b[2Jb\né").detail, "a?[2Jb??");
    assert_eq!(answer(&"x".repeat(500)).detail.len(), DETAIL_MAX);
    for detail in ["\x1b[2J", "é", &"x".repeat(121)] {
        let rude = Acknowledgement { detail: detail.into(), ..answer("") };
        assert_eq!(open(&rude.seal(&private(20), &certificate(10, "cam-17")).unwrap()), Err(NotAnswered::Detail));
    }
}

#[test]
fn another_major_version_of_an_answer_is_refused() {
    let newer = Acknowledgement { v: 2, ..answer("") };
    assert_eq!(open(&newer.seal(&private(20), &certificate(10, "cam-17")).unwrap()), Err(NotAnswered::Version(2)));
}

proptest! {
    #[test]
    fn no_bit_of_an_answer_can_be_changed(at in 0_usize..4000, bit in 0_u8..8) {
        let mut text = answer("no").seal(&private(20), &certificate(10, "cam-17")).unwrap().into_bytes();
        let at = at % text.len();
        text[at] ^= 1 << bit;
        let opened = Acknowledgement::open(&text, &"relay-1".parse().unwrap(), &devices(), &Krl::default(), NOW);
        prop_assert!(opened.is_err());
    }

    #[test]
    fn no_bytes_are_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..1200)) {
        prop_assert!(Acknowledgement::open(&bytes, &"relay-1".parse().unwrap(), &devices(), &Krl::default(), NOW).is_err());
    }
}
