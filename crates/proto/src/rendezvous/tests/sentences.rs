use super::*;

/// docs/guide-fleet.md has them too.
#[test]
fn every_refusal_is_a_sentence() {
    let device = || id("cam-17");
    let detail = || "connection refused".to_owned();
    let relay = "relay.example.com:2222".parse().unwrap();
    let all = [
        Unreachable::Offline { device: device(), since: START - 3 * 3600, now: START },
        Unreachable::NotConnected(device()),
        Unreachable::DialFailed { device: device(), relay, detail: detail() },
        Unreachable::NoAnswer { device: device(), within: WAKE_DEADLINE },
        Unreachable::Clock { device: device(), seconds: 2 * 86_400 },
        Unreachable::Clock { device: device(), seconds: 95 },
        Unreachable::Busy { device: device(), detail: detail() },
        Unreachable::Denied { device: device(), detail: detail() },
        Unreachable::NoSuchPort { device: device(), port: 80 },
        Unreachable::Lost(device()),
        Unreachable::Broker,
        Unreachable::TooManyWakes { after: Duration::from_millis(300) },
        Unreachable::Crowded(32),
    ];
    let said: Vec<_> = all.iter().map(|why| format!("{:<15}{why}", why.word())).collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    offline        cam-17 is offline: last seen 2027-01-15 05:00 UTC (3 h ago)
    not_connected  cam-17 is not connected
    dial_failed    cam-17 is awake but could not reach relay.example.com:2222 (connection refused)
    no_answer      cam-17 did not answer within 8 s
    clock          cam-17's clock is 2 days off
    clock          cam-17's clock is 95 s off
    busy           cam-17 is awake but busy (connection refused)
    denied         cam-17 is awake but refuses (connection refused)
    no_such_port   cam-17 is connected and offers no port 80
    lost           the connection to cam-17 broke while the channel was being opened
    broker         the broker is unreachable
    too_many_wakes too many devices were woken from here: try again in 1 s
    too_many       too many are waiting: the limit is 32
    ");
}
