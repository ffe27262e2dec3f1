//! Whom nobody has to trust on the way to a sleeping device: the broker, other devices, other people, the relay itself.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use sally::agent::bundle::Bundle;
use sally::tunnel::relay_client::{HostTrust, RelayConnection, RelayIdentity};
use sally_proto::relay::TICKET_REQUEST;
use ssh_key::certificate::Certificate;
use ssh_key::{PrivateKey, PublicKey};

use crate::support::*;

/// The next wake for cam-17 that the broker's owner sees.
fn taken(listener: &mut Client) -> String {
    // `{"` in base64.
    format!("eyJ{}", listener.await_line("eyJ"))
}

/// A field of what is signed in a wake.
fn field(wake: &str, name: &str) -> String {
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(wake.split_once('.').unwrap().0).unwrap();
    serde_json::from_slice::<serde_json::Value>(&payload).unwrap()[name].as_str().unwrap().to_owned()
}

/// A connection to the relay as somebody: what they say may be anything.
async fn dialled(live: &Live, key: PrivateKey, certificate: Certificate) -> RelayConnection {
    let relay = format!("127.0.0.1:{}", live.relay.port).parse().unwrap();
    let trust = HostTrust::Key(Box::new(PublicKey::from_openssh(&live.relay.host_key).unwrap()));
    let identity = RelayIdentity { name: "the key".into(), key: Arc::new(key), certificate: Some(certificate) };
    RelayConnection::dial(&relay, trust, &identity).await.unwrap()
}

async fn dialled_as_device(live: &Live, id: &str) -> RelayConnection {
    if !live.fleet.path(id).exists() {
        live.fleet.add(id);
    }
    let bundle = Bundle::load(&live.fleet.path(id)).unwrap();
    dialled(live, bundle.key.as_ref().clone(), bundle.certificate.clone()).await
}

fn ticket(text: &str) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

#[tokio::test]
async fn a_ticket_that_is_made_up_or_anothers_opens_nothing() {
    let live = Live::new();
    let (_agent, _sshd) = live.device("cam-17");
    for shown in ["", "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let link = dialled_as_device(&live, "cam-18").await;
        let refused = link.ask(TICKET_REQUEST, &ticket(shown)).await.unwrap_err();
        assert_eq!(refused.reason, "no visitor waits for this device with that ticket", "{shown}");
    }
    live.assert_reached();
}

#[tokio::test]
async fn a_device_holds_no_name_but_its_own_and_no_port() {
    let live = Live::new();
    live.fleet.add("cam-17");
    let link = dialled_as_device(&live, "cam-18").await;
    assert_eq!(link.listen("cam-17", 22).await.unwrap_err().reason, "this key may not hold cam-17:22");
    let link = dialled_as_device(&live, "cam-18").await;
    assert_eq!(link.listen("", 2022).await.unwrap_err().reason, "this key may not forward port 2022");
    let link = dialled_as_device(&live, "cam-18").await;
    link.listen("cam-18", 22).await.unwrap();
}

#[tokio::test]
async fn a_visitors_certificate_makes_no_device_and_a_devices_no_visitor() {
    let live = Live::new();
    live.fleet.add("cam-17");
    let key = PrivateKey::read_openssh_file(live.fleet.path("alice")).unwrap();
    let certificate = Certificate::read_file(&live.fleet.path("alice-cert.pub")).unwrap();
    let link = dialled(&live, key, certificate).await;
    assert_eq!(link.listen("cam-17", 22).await.unwrap_err().reason, "not permitted");
    fs::copy(live.fleet.path("cam-17/device_key"), live.fleet.path("thief")).unwrap();
    fs::copy(live.fleet.path("cam-17/device_key-cert.pub"), live.fleet.path("thief-cert.pub")).unwrap();
    live.config("thief");
    let visit = run(Command::new("ssh").arg("-F").arg(live.config("thief")).args(["-J", "relay", "cam-17", "true"]));
    assert!(text(&visit.stderr).contains("open failed: connect failed: not permitted"), "{}", text(&visit.stderr));
}

#[test]
fn what_the_broker_sends_again_or_alters_wakes_nobody() {
    let live = Live::new();
    let device = Device::start(&live.fleet, "cam-17", &[]);
    device.set("clock = true", "clock = false"); // A wake is old after 30 s; this test may be slow.
    let mut owner = live.broker.overhear("sally/v1/cam-17/wake");
    // Nobody listens yet: the visitor leaves, the broker's owner keeps the wake.
    let visitor = Client::start(live.jump("cam-17").arg("true"));
    let wake = taken(&mut owner);
    visitor.signal("KILL");
    let _ = visitor.finish();
    let mut agent = Agent::start(&mut device.agent());
    let (payload, signature) = wake.split_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    for (sent, reason) in [
        ("x.y".to_owned(), "it is not a wake"),
        (payload.to_owned(), "it is not a wake"),
        (format!("{payload}.{other}{}", &signature[1..]), "the signature is wrong"),
        (format!("{}.{signature}", payload.replacen("eyJ2IjoxL", "eyJ2IjoyL", 1)), "the signature is wrong"),
    ] {
        live.broker.publish("sally/v1/cam-17/wake", &sent);
        let said = agent.await_words("a wake is refused");
        assert!(said.contains(reason), "{said}");
    }
    // The device follows the true one, once, and the relay, where nobody waits any more, refuses it. Sent again, it is not even dialled.
    live.broker.publish("sally/v1/cam-17/wake", &wake);
    agent.await_words("no visitor waits for this device with that ticket");
    live.broker.publish("sally/v1/cam-17/wake", &wake);
    let said = agent.await_words("a wake is refused");
    assert!(said.contains("it was seen before"), "{said}");
    assert_eq!(live.relay.events("register").len(), 0);
    live.assert_reached();
}

#[test]
fn a_wake_of_another_device_or_another_fleet_wakes_nobody() {
    let (live, other) = (Live::new(), Live::new());
    let (mut agent, _sshd) = live.device("cam-17");
    for (from, name, reason) in [(&live, "cam-18", "it is for another device"), (&other, "cam-17", "not one of those pinned here")] {
        if !from.fleet.path(name).exists() {
            from.fleet.add(name);
        }
        let mut owner = from.broker.overhear(&format!("sally/v1/{name}/wake"));
        let visitor = Client::start(from.jump(name).arg("true"));
        live.broker.publish("sally/v1/cam-17/wake", &taken(&mut owner));
        let said = agent.await_words("a wake is refused");
        assert!(said.contains(reason), "{said}");
        visitor.signal("KILL");
        let _ = visitor.finish();
    }
}

#[test]
fn an_answer_that_is_forged_or_anothers_changes_nothing() {
    let live = Live::new();
    let (agent, _sshd) = live.device("cam-17");
    let mut owner = live.broker.overhear("sally/v1/cam-17/wake");
    agent.signal("STOP");
    let mut visitor = Client::start(live.jump("cam-17").arg("echo in"));
    let topic = format!("sally/v1/r/{}/ack", field(&taken(&mut owner), "rid"));
    for payload in ["", "x.y.z", "eyJ2IjoxfQ.AAAA.AAAA"] {
        live.broker.publish(&topic, payload);
    }
    agent.signal("CONT");
    visitor.await_line("in");
    assert_eq!(live.relay.events("wake").iter().filter(|event| event["what"] == "answered").count(), 1);
}

#[test]
fn whoever_is_revoked_is_gone_at_once() {
    let live = Live::new();
    let (_agent, _sshd) = live.device("cam-17");
    let mut visitor = Client::start(live.jump("cam-17").arg("echo in; cat"));
    visitor.await_line("in");
    let _open = visitor.take_stdin();
    live.fleet.sally(&["revoke", "FLEET", "--visitor", "alice"]);
    let (status, _, said) = visitor.finish();
    assert_eq!(status.code(), Some(255), "{said}");
    assert!(said.contains("this key is no longer permitted"), "{said}");
    let again = run(live.jump("cam-17").arg("true"));
    assert!(text(&again.stderr).contains("Permission denied (publickey)"), "{}", text(&again.stderr));
    // Of the certificate, not of the plain key that ssh shows before it.
    assert_eq!(live.relay.await_events("auth_refused", 1)["reason"], "the certificate is revoked");
}

#[test]
fn a_visitor_whose_time_is_over_is_told_from_an_unknown_key() {
    let live = Live::new();
    live.fleet.home.key("bob", "ed25519");
    let yesterday = run(&mut off_by("-1d", live.fleet.command(&["visitor", "add", "FLEET", "bob.pub", "--for", "*"])));
    assert!(yesterday.status.success(), "{}", text(&yesterday.stderr));
    let mut visitor = Command::new("ssh");
    let refused = run(visitor.arg("-F").arg(live.config("bob")).args(["-J", "relay", "cam-17", "true"]));
    assert!(text(&refused.stderr).contains("Permission denied (publickey)"), "{}", text(&refused.stderr));
    assert_eq!(live.relay.await_events("auth_refused", 1)["reason"], "the certificate has expired");
}

#[test]
fn a_revoked_device_is_gone_at_once() {
    let live = Live::new();
    let (_agent, _sshd) = live.device("cam-17");
    let mut visitor = Client::start(live.jump("cam-17").arg("echo in; cat"));
    visitor.await_line("in");
    let _open = visitor.take_stdin();
    live.fleet.sally(&["revoke", "FLEET", "cam-17"]);
    let (status, _, said) = visitor.finish();
    assert_eq!(status.code(), Some(255), "{said}");
    let again = run(live.jump("cam-17").arg("true"));
    assert!(text(&again.stderr).contains("cam-17 is not a known device"), "{}", text(&again.stderr));
}

#[test]
fn a_list_of_the_revoked_that_is_gone_lets_nobody_in() {
    let live = Live::new();
    let (_agent, _sshd) = live.device("cam-17");
    live.assert_reached();
    let list = live.fleet.path("FLEET/relay/revoked");
    let content = fs::read(&list).unwrap();
    fs::remove_file(&list).unwrap();
    let refused = run(live.jump("cam-17").arg("true"));
    assert!(text(&refused.stderr).contains("Permission denied (publickey)"), "{}", text(&refused.stderr));
    fs::write(&list, content).unwrap();
    live.assert_reached();
}

#[test]
fn wake_keys_are_rotated_without_losing_a_device() {
    let live = Live::new();
    let (_agent, device) = live.device("cam-17");
    live.fleet.sally(&["rotate-wake", "FLEET"]);
    fs::copy(live.fleet.path("FLEET/relay/wake.pub"), device.folder.path().join("sally/wake.pub")).unwrap();
    live.fleet.sally(&["rotate-wake", "FLEET", "--retire"]);
    live.assert_reached();
}

#[tokio::test]
async fn nobody_in_the_middle_sees_a_session_or_a_secret() {
    let live = Live::new();
    let (_agent, device) = live.device("cam-17");
    let mut owner = live.broker.overhear("#");
    let marker = "a-word-that-nobody-else-writes";
    let mut visitor = Client::start(live.jump("cam-17").arg("cat"));
    visitor.write(format!("{marker}\n"));
    visitor.await_line(marker);
    let memory = memory_of(&live, live.relay.child.id());
    assert!(!holds(&memory, marker), "the relay holds what was said");
    assert!(holds(&memory, "sally/v1/"), "the search finds what is there");
    let wake = taken(&mut owner);
    live.broker.publish("sally/v1/the/end", "the end");
    let seen = std::iter::from_fn(|| Some(owner.await_line("")).filter(|line| line != "the end")).collect::<Vec<_>>().join("\n");
    assert!(!seen.contains(marker) && !wake.contains(marker));
    // What the wake carried is used up, for the device itself too.
    let bundle = Bundle::load(&device.folder.path().join("sally")).unwrap();
    let link = dialled(&live, bundle.key.as_ref().clone(), bundle.certificate.clone()).await;
    let refused = link.ask(TICKET_REQUEST, &ticket(&field(&wake, "tkt"))).await.unwrap_err();
    assert_eq!(refused.reason, "no visitor waits for this device with that ticket");
}

fn holds(file: &std::path::Path, words: &str) -> bool {
    Command::new("grep").args(["-q", "-a", "-F", words]).arg(file).status().unwrap().success()
}

/// Everything that a process can write to.
fn memory_of(live: &Live, pid: u32) -> std::path::PathBuf {
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        memory.seek(SeekFrom::Start(from)).unwrap();
        let _ = memory.by_ref().take(to - from).read_to_end(&mut all); // Some pages are nobody's.
    }
    live.fleet.home.write("memory", all)
}

/// A disk that was thrown away when the device was given a newer certificate: its answer makes nobody believe that the device is awake.
#[test]
fn a_device_of_before_answers_for_nobody() {
    let live = Live::with(&["--wake-deadline", "3s"]);
    let (mut agent, _sshd) = live.device("cam-17");
    // What `fleet add --replace` writes, without the revocation that it writes too, and which may come later.
    let list = live.fleet.path("FLEET/relay/devices");
    let known = fs::read_to_string(&list).unwrap();
    fs::write(&list, format!("{known}{{\"v\":1,\"id\":\"cam-17\",\"serial\":99,\"state\":\"active\"}}\n")).unwrap();
    let refused = text(&run(live.jump("cam-17").arg("true")).stderr);
    agent.await_words("woken");
    assert!(refused.contains("cam-17 did not answer within 3 s"), "{refused}");
    assert!(live.relay.events("wake").iter().all(|event| event["what"] != "answered"), "{:?}", live.relay.events("wake"));
}
