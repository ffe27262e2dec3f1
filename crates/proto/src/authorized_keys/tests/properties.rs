//! Properties over whatever may come.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

/// sshd's own recursion, as plainly as it can be said.
fn naive(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => naive(rest, text) || (!text.is_empty() && naive(pattern, &text[1..])),
        ([b'?', rest @ ..], [_, tail @ ..]) => naive(rest, tail),
        ([byte, rest @ ..], [first, tail @ ..]) => byte == first && naive(rest, tail),
        _ => false,
    }
}

fn flags() -> impl Strategy<Value = Vec<&'static str>> {
    let names = [
        "restrict",
        "pty",
        "no-pty",
        "port-forwarding",
        "no-port-forwarding",
        "agent-forwarding",
        "no-agent-forwarding",
        "X11-forwarding",
        "no-x11-forwarding",
        "user-rc",
        "no-user-rc",
        "no-touch-required",
        "verify-required",
        "cert-authority",
    ];
    prop::collection::vec(prop::sample::select(names.to_vec()), 0..8)
}

fn values() -> impl Strategy<Value = Vec<String>> {
    let quoted = |name: &'static str| "[a-z \"\\\\,#=é]{0,12}".prop_map(move |text| format!("{name}=\"{}\"", text.replace('"', "\\\"")));
    let rule = (prop::sample::select(vec!["permitopen", "permitlisten"]), "[a-z*?.]{0,8}|\\[[a-f0-9:]{1,12}\\]", "\\*|[1-9][0-9]{0,3}")
        .prop_map(|(name, host, port)| format!("{name}=\"{host}:{port}\""));
    let once = (quoted("command"), quoted("principals"), quoted("from")).prop_map(|(a, b, c)| vec![a, b, c]);
    let many = prop::collection::vec(
        prop_oneof![
            rule,
            "[A-Z_]{1,4}=[a-z]{0,4}".prop_map(|pair| format!("environment=\"{pair}\"")),
            "20[3-9][0-9]0[1-9][01][1-9]Z?".prop_map(|time| format!("expiry-time=\"{time}\"")),
            "[0-9]{1,4}|any".prop_map(|unit| format!("tunnel=\"{unit}\"")),
        ],
        0..6,
    );
    (prop::sample::subsequence(vec![0_usize, 1, 2], 0..=3), once, many)
        .prop_map(|(chosen, once, many)| chosen.into_iter().map(|at| once[at].clone()).chain(many).collect())
}

proptest! {
    #[test]
    fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        parse(&bytes);
    }

    #[test]
    fn a_key_of_any_type_is_taken_or_passed_over_and_one_whose_blob_is_anothers_is_damaged(
        name in "[a-z][a-z0-9-]{0,20}(@[a-z.]{1,10})?",
        key in prop::collection::vec(any::<u8>(), 1..60),
        other in "[a-z][a-z0-9-]{0,20}",
    ) {
        let line = |named: &str| {
            let length = u32::try_from(named.len()).unwrap().to_be_bytes();
            format!("{name} {}", STANDARD.encode([&length, named.as_bytes(), &key].concat()))
        };
        let [read] = parse(line(&name).as_bytes()).try_into().unwrap();
        prop_assert!(read.is_err_and(|error| error.may_be_passed_over()), "{}", name);
        let [read] = parse(line(&other).as_bytes()).try_into().unwrap();
        prop_assert!(name == other || read.is_err_and(|error| !error.may_be_passed_over()), "{} {}", name, other);
    }

    #[test]
    fn parsing_near_misses_never_panics(text in "(command|from|pty|restrict|,|=|\"|\\\\| |ssh-ed25519|ssh-rsa|AAAA[A-Za-z0-9+/=]{0,40}|\n|\0){0,30}") {
        parse(text.as_bytes());
    }

    #[test]
    fn a_written_entry_reads_as_itself(flags in flags(), values in values(), comment in "[ -~é\u{1}]{0,60}") {
        let options = [flags.iter().map(|flag| (*flag).to_owned()).collect(), values].concat().join(",");
        let read = parse(format!("{options} {} {comment}", line(1)).as_bytes());
        // A trailing backslash in a value escapes its quote: such a line is refused.
        if let [Ok(entry)] = read.as_slice() {
            let again = parse(entry.to_string().as_bytes());
            prop_assert_eq!(again, vec![Ok(entry.clone())]);
        } else {
            prop_assert!(options.contains('\\'), "{:?} {:?}", options, read);
        }
    }

    #[test]
    fn flags_hold_in_their_order(flags in flags()) {
        let parsed = Options::parse(flags.join(",").as_bytes()).unwrap();
        let mut pty = true;
        for flag in &flags {
            pty = match *flag {
                "pty" => true,
                "no-pty" | "restrict" => false,
                _ => pty,
            };
        }
        prop_assert_eq!(parsed.pty, pty);
        // Whatever comes before restrict counts for nothing but the flags that it leaves alone.
        let restricted = Options::parse(format!("{},restrict", flags.join(",")).as_bytes()).unwrap();
        prop_assert!(!restricted.pty && !restricted.port_forwarding && !restricted.agent_forwarding);
        prop_assert!(!restricted.x11_forwarding && !restricted.user_rc);
    }

    #[test]
    fn patterns_match_as_the_plain_definition_says(pattern in "[ab*?]{0,10}", text in "[abc]{0,10}") {
        prop_assert_eq!(matches_pattern(&pattern, &text), naive(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn adding_a_negated_element_never_lets_more_in(list in "([0-9.*/]{1,12},?){1,4}", peer in any::<u32>(), denied in any::<u32>()) {
        let (peer, denied) = (IpAddr::from(peer.to_be_bytes()), IpAddr::from(denied.to_be_bytes()));
        let longer = match_from(&format!("{list},!{denied}"), peer);
        prop_assert!(longer != PatternMatch::Matches || match_from(&list, peer) == PatternMatch::Matches);
        prop_assert_ne!(match_from(&format!("*,!{peer}"), peer), PatternMatch::Matches);
    }

    #[test]
    fn times_read_as_they_are_written(seconds in 1_u64..250_000_000_000) {
        prop_assert_eq!(parse_expiry(&format_expiry(seconds)), Some(seconds));
    }
}
