use proptest::prelude::*;

use super::*;

#[test]
fn topics_are_those_that_are_documented() {
    let none = Prefix::default();
    for (topic, text) in [
        (Topic::Wake("cam-17".parse().unwrap()), "sally/v1/cam-17/wake"),
        (Topic::Status("r".parse().unwrap()), "sally/v1/r/status"),
        (Topic::Acknowledgement("relay-1".parse().unwrap()), "sally/v1/r/relay-1/ack"),
    ] {
        assert_eq!(topic.text(&none), text);
        assert_eq!(Topic::parse(text, &none), Some(topic.clone()));
        let prefix: Prefix = "acme/eu/".parse().unwrap();
        assert_eq!(topic.text(&prefix), format!("acme/eu/{text}"));
        assert_eq!(Topic::parse(&topic.text(&prefix), &prefix), Some(topic));
    }
}

#[test]
fn other_topics_are_nobodys() {
    for text in [
        "",
        "sally/v1",
        "sally/v1/Cam-17/wake",
        "sally/v1/+/wake",
        "sally/v1/#",
        "sally/v2/a/wake",
        "sally/v1/a/wake/x",
        "/sally/v1/a/wake",
    ] {
        assert_eq!(Topic::parse(text, &Prefix::default()), None, "{text}");
    }
    for prefix in ["/", "a//b", "#", "a/+", "a/b/c/d", "$aws\n"] {
        assert!(prefix.parse::<Prefix>().is_err(), "{prefix}");
    }
}

#[test]
fn a_status_is_a_small_thing_of_version_1() {
    let good = r#"{"v":1,"s":"offline","sid":"x","t":5,"ver":"0.1.0","new":true}"#;
    assert_eq!(StatusMessage::parse(good.as_bytes()).unwrap().s, DevicePresence::Offline);
    let long = good.replace("\"x\"", &format!("{:?}", "x".repeat(65)));
    for bad in [good.replace(":1,", ":2,"), good.replace("offline", "gone"), good.replace("\"x\"", "\"\\u001b\""), long, "[]".into()] {
        assert_eq!(StatusMessage::parse(bad.as_bytes()), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_topic_that_is_written_otherwise(text in "(sally/v1/)?[a-zA-Z0-9/+#_-]{0,40}") {
        if let Some(topic) = Topic::parse(&text, &Prefix::default()) {
            prop_assert_eq!(topic.text(&Prefix::default()), text);
        }
    }
}
