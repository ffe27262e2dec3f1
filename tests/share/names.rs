//! The names of a share on a relay: by one, viewers only watch; by the other, those write whose keys may.

use std::process::Command;

use crate::support::*;

/// Repeats each line in capitals.
const REPEAT: &str = "echo ready; while read word; do echo $word | tr a-z A-Z; done";
/// What the relay lets a key hold that has names of its own.
const BOTH: &str = r#"permitlisten="team:22",permitlisten="ro-team:22""#;

/// A home whose key `app` is a device with these options, and a relay that keeps its host key and has an administrator.
fn relay_for(options: &str) -> (Home, Relay) {
    let home = Home::new();
    home.write("visitors", home.line("alice", ""));
    home.write("devices", home.line("app", options));
    home.write("admins", home.line("root", ""));
    let relay = keeping(&home, 0);
    (home, relay)
}

fn keeping(home: &Home, port: u16) -> Relay {
    let mut command = home.relay_at(port);
    command.arg("--state").arg(home.path("state")).arg("--admins").arg(home.path("admins"));
    Relay::start(home, command)
}

/// Adds the options of a share on a relay, for the device `key`.
fn through(command: &mut Command, home: &Home, relay: &Relay, key: &str) {
    command.args(["--foreground", "--relay", &format!("127.0.0.1:{}", relay.port), "--identity"]).arg(home.path(key));
    command.arg("--relay-host-key").arg(&relay.host_key);
}

/// A share on a relay, and on a port.
struct Named {
    share: Share,
    watching: String,
    writing: String,
}

fn named(home: &Home, relay: &Relay, options: &[&str]) -> Named {
    let mut command = home.share();
    through(&mut command, home, relay, "app");
    command.args(options).args(["--", "sh", "-c", REPEAT]);
    let mut share = Share::start(&mut command, home);
    let beginning = format!("ssh session: ssh -J 127.0.0.1:{} ", relay.port);
    let writing = share.process.await_line(&beginning);
    let watching = links(&share, &format!("ssh session read only: ssh -J 127.0.0.1:{} ", relay.port)).remove(0);
    Named { share, watching, writing }
}

/// The rests of the lines on stdout that begin so.
fn links(share: &Share, beginning: &str) -> Vec<String> {
    share.process.said().iter().filter_map(|line| line.strip_prefix(beginning)).map(str::to_owned).collect()
}

/// Joins a share by its name on a relay.
fn join(home: &Home, relay: &Relay, share: &Share, key: &str, name: &str) -> View {
    let known = home.write(&format!("known-{name}"), format!("{name} {}\n", share.host_key));
    let proxy = format!("ssh -F {} -W %h:%p relay", home.config(relay, key).display());
    let mut viewer = home.via(relay, key);
    viewer.args(["-t", "-o", &format!("ProxyCommand={proxy}"), "-oStrictHostKeyChecking=yes"]);
    viewer.arg(format!("-oUserKnownHostsFile={}", known.display())).arg(format!("anyone@{name}")).env("TERM", "xterm");
    View::start(&viewer)
}

/// The number of the only person with this role.
fn number(people: &[serde_json::Value], role: &str) -> String {
    let of_role: Vec<_> = people.iter().filter(|person| person["role"] == role).collect();
    assert_eq!(of_role.len(), 1, "{people:?}");
    of_role[0]["number"].to_string()
}

#[test]
fn by_the_read_only_link_a_key_that_may_write_only_watches() {
    let (home, relay) = relay_for("");
    let view_keys = home.watcher("watcher");
    let Named { share, watching, writing } = named(&home, &relay, &view_keys.each_ref().map(String::as_str));
    assert_eq!((watching.len(), writing.len()), (29, 26));
    assert!(watching.starts_with("ro-") && watching[3..] != writing, "{watching} {writing}");
    let (mut by_ro, mut by_rw) = (join(&home, &relay, &share, "id", &watching), join(&home, &relay, &share, "id", &writing));
    for view in [&by_ro, &by_rw] {
        view.await_line("ready");
        view.await_words("the relay can't read it");
    }
    by_ro.keys("xyz\r");
    by_ro.await_words("read only: q leaves");
    by_rw.keys("seen\r");
    by_ro.await_line("SEEN");
    let refused = share.command(&["promote", &number(&share.await_people(2), "watch")]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("has come by the read-only link"), "{}", text(&refused.stderr));
    assert_eq!(share.people().iter().filter(|person| person["role"] == "watch").count(), 1);
    // What a relay says of the link raises nobody: a key that may only watch watches by the other link too.
    by_ro.keys("q");
    assert_eq!(by_ro.finish().0.code(), Some(0));
    let mut watcher = join(&home, &relay, &share, "watcher", &writing);
    watcher.await_line("SEEN");
    watcher.keys("no\r");
    watcher.await_words("read only: q leaves");
    let refused = share.command(&["promote", &number(&share.await_people(2), "watch")]);
    assert!(text(&refused.stderr).contains("never write"), "{}", text(&refused.stderr));
    assert_eq!(home.stream("stdin"), b"seen\r");
    let roles: Vec<_> = home.audits("join").into_iter().map(|join| join["role"].clone()).collect();
    assert_eq!(roles.iter().filter(|role| *role == "watch").count(), 2, "{roles:?}");
}

#[test]
fn links_stand_in_their_order_and_commands_print_them_again() {
    let (home, relay) = relay_for("");
    let Named { mut share, .. } = named(&home, &relay, &[]);
    share.process.await_line("ssh session, host key pinned: ssh -o 'KnownHostsCommand=/bin/echo %H ");
    share.process.await_line("ssh session, host key pinned: ssh -o 'KnownHostsCommand=/bin/echo %H ");
    let said = share.process.said().to_vec();
    let kinds: Vec<_> = said.iter().map(|line| line.split(':').next().unwrap()).collect();
    let links = |read_only: &'static str, writing: &'static str| [read_only, writing, writing];
    let pinned = links("ssh session read only, host key pinned", "ssh session, host key pinned");
    let expected = [links("ssh session read only", "ssh session"), links("sally read only", "sally"), pinned].concat();
    assert_eq!(kinds, [vec!["host key"], expected].concat());
    assert_eq!(text(&share.command(&["links"]).stdout).lines().collect::<Vec<_>>(), said);
}

#[test]
fn a_share_that_is_read_only_has_the_read_only_name_alone() {
    let (home, relay) = relay_for("");
    let mut command = home.share();
    through(&mut command, &home, &relay, "app");
    let share = Share::start(command.args(["--read-only", "--", "sh", "-c", REPEAT]), &home);
    relay.await_events("register", 1);
    let said = text(&share.command(&["links"]).stdout);
    assert!(said.contains("ssh session read only: ssh -J ") && !said.contains("ssh session: "), "{said}");
    let beginning = format!("ssh session read only: ssh -J 127.0.0.1:{} ", relay.port);
    let watching = said.lines().find_map(|line| line.strip_prefix(&beginning)).unwrap();
    join(&home, &relay, &share, "id", watching).await_line("ready");
    assert_eq!(relay.events("register").len(), 1);
}

#[test]
fn no_console_no_suggestion_and_no_log_has_a_shares_names() {
    let (home, relay) = relay_for("");
    let Named { share, watching, writing } = named(&home, &relay, &[]);
    let viewer = join(&home, &relay, &share, "id", &watching);
    viewer.await_line("ready");
    let ask = |key: &str, command: &str| {
        let answer = run(home.via(&relay, key).args(["relay", command]));
        text(&answer.stdout) + &text(&answer.stderr)
    };
    let shown = |name: &str| format!("NAME~{}", &hash(name.as_bytes())[..12]);
    let dial = |key: &str, host: &str, port: u16| text(&run(home.via(&relay, key).args(["-W", &format!("{host}:{port}"), "relay"])).stderr);
    // A stranger, and a guest: one who has the read-only name learns of no other.
    for (key, command) in [("alice", "devices"), ("id", "devices"), ("id", "devices --json"), ("id", "sessions"), ("id", "whoami --json")] {
        let answer = ask(key, command).to_lowercase();
        assert!(!answer.contains(&writing) && !answer.contains(&watching), "{key} {command}: {answer}");
    }
    for key in ["alice", "id"] {
        let devices = ask(key, "devices");
        assert!(devices.contains("no devices that you may reach"), "{key}: {devices}");
    }
    // Names that are nearly these, one letter short, and the other kind's.
    for name in [&watching[..28], &writing[1..], &format!("ro-{writing}"), &watching[3..]] {
        for key in ["alice", "root", "id"] {
            let refused = dial(key, name, 22);
            assert!(!refused.contains("did you mean"), "{key} {name}: {refused}");
        }
    }
    let devices = ask("root", "devices");
    assert!(devices.contains(&shown(&watching)) && devices.contains(&shown(&writing)), "{devices}");
    dial("alice", &watching.to_uppercase(), 80);
    run(home.via(&relay, "id").args(["-l", &watching, "relay", "whoami"]));
    let log = home.read("audit");
    assert!(!log.contains(&writing) && !log.contains(&watching), "{log}");
    assert!(log.contains(&shown(&writing)) && log.contains(&shown(&watching)), "{log}");
    // The record has them as hashes too.
    let record = home.read("visit.cast");
    let hashes = home.audits("share")[0]["names"].clone();
    assert_eq!(hashes, serde_json::json!([hash(watching.as_bytes()), hash(writing.as_bytes())]));
    assert!(!record.contains(&writing) && !record.contains(&watching));
}

#[test]
fn a_name_of_ones_own_has_a_read_only_one_where_the_key_may_hold_it() {
    for (options, both) in [(BOTH, true), (r#"permitlisten="team:22""#, false)] {
        let (home, relay) = relay_for(options);
        home.key("hostkey", "ed25519");
        let host_key = home.path("hostkey").display().to_string();
        let mut command = home.share();
        through(&mut command, &home, &relay, "app");
        command.args(["--name", "Team", "--host-key", &host_key, "--", "sh", "-c", REPEAT]);
        let mut share = Share::start(&mut command, &home);
        assert!(home.read("hostkey.pub").starts_with(&share.host_key));
        if !both {
            let said = share.process.await_stderr("doesn't give the name ro-team");
            assert!(said.ends_with("(this key may not hold ro-team): going on without it"), "{said}");
        }
        share.process.await_line(&format!("ssh session: ssh -J 127.0.0.1:{} team", relay.port));
        assert_eq!(links(&share, "ssh session read only: ").len(), usize::from(both));
        for name in ["team"].into_iter().chain(both.then_some("ro-team")) {
            join(&home, &relay, &share, "id", name).await_line("ready");
        }
        let roles: Vec<_> = home.audits("join").into_iter().map(|join| join["role"].clone()).collect();
        assert_eq!(roles, if both { vec!["write", "watch"] } else { vec!["write"] });
        // A second host with the key, and one with another that may hold it too: the first one keeps it.
        home.write("devices", [home.read("devices"), home.line("other", options)].concat());
        relay.signal("HUP");
        relay.await_events("keys", 2);
        let port = relay.port;
        for (key, why) in
            [("app", "team:22 is held by a connection of the same key from 127.0.0.1:"), ("other", "team:22 is held by another key")]
        {
            let mut second = home.share_to("second.cast");
            through(&mut second, &home, &relay, key);
            let refused = run(second.args(["--name", "team", "--host-key", &host_key]));
            assert_eq!(refused.status.code(), Some(69));
            let said = text(&refused.stderr);
            assert!(
                said.contains(&format!("\nCould not hold a name on relay 127.0.0.1:{port}: {why}"))
                    || said.starts_with(&format!("Could not hold a name on relay 127.0.0.1:{port}: {why}")),
                "{said}"
            );
            assert!(key != "app" || said.contains(", which is alive"), "{said}");
        }
        join(&home, &relay, &share, "id", "team").await_line("ready");
    }
}

#[test]
fn a_name_that_a_share_can_not_have_is_refused_before_it_starts() {
    let (home, relay) = relay_for(BOTH);
    let asked = |options: &[&str]| {
        let mut command = home.share();
        through(&mut command, &home, &relay, "app");
        let ended = run(command.args(options));
        assert!(!home.path("visit.cast").exists() || ended.status.code() == Some(69));
        (ended.status.code(), text(&ended.stderr))
    };
    home.key("hostkey", "ed25519");
    let host_key = home.path("hostkey").display().to_string();
    let (status, said) = asked(&["--name", "team"]);
    assert!(status == Some(2) && said.contains("--host-key"), "{said}");
    let (status, said) = asked(&["--host-key", &host_key, "--name", "ro-team"]);
    assert!(status == Some(2) && said.contains("viewers only watch"), "{said}");
    let (status, said) = asked(&["--host-key", &host_key, "--name", &"a".repeat(62)]);
    assert!(status == Some(2) && said.contains("too long"), "{said}");
    let (status, said) = asked(&["--host-key", &host_key, "--name", "other"]);
    assert!(status == Some(69) && said.contains("this key may not hold other"), "{said}");
}

#[test]
fn both_names_outlive_the_relay_and_viewers_come_back() {
    let (home, relay) = relay_for("");
    let Named { mut share, watching, writing } = named(&home, &relay, &[]);
    let (mut here, mut by_ro) = (home.join(&share, "id"), join(&home, &relay, &share, "id", &watching));
    here.await_line("ready");
    by_ro.await_line("ready");
    let port = relay.port;
    drop(relay); // SIGKILL
    share.process.await_stderr("dialling again in ");
    assert_eq!(by_ro.finish().0.code(), Some(255));
    // Those who came on another way notice nothing.
    here.keys("meanwhile\r");
    here.await_line("MEANWHILE");
    let relay = keeping(&home, port);
    for name in [&watching, &writing] {
        let shown = &hash(name.as_bytes())[..12];
        share.process.await_stderr(&format!("Reached again as: ssh -J 127.0.0.1:{port} NAME~{shown}"));
    }
    let (mut by_ro, mut by_rw) = (join(&home, &relay, &share, "id", &watching), join(&home, &relay, &share, "id", &writing));
    by_ro.await_line("MEANWHILE");
    by_rw.await_line("MEANWHILE");
    by_ro.keys("no\r");
    by_ro.await_words("read only: q leaves");
    by_rw.keys("again\r");
    here.await_line("AGAIN");
    assert_eq!(home.stream("stdin"), b"meanwhile\ragain\r");
}

#[test]
fn a_relay_that_refuses_for_good_ends_the_names_and_not_the_share() {
    let (home, relay) = relay_for("");
    let Named { mut share, .. } = named(&home, &relay, &[]);
    let mut here = home.join(&share, "id");
    here.await_line("ready");
    let port = relay.port;
    drop(relay);
    share.process.await_stderr("dialling again in ");
    home.write("devices", home.line("other", ""));
    let _relay = keeping(&home, port);
    share.process.await_stderr("The share goes on without that relay");
    here.keys("still\r");
    here.await_line("STILL");
    home.join(&share, "id").await_line("STILL");
}

#[test]
fn a_share_that_no_viewer_can_reach_any_more_ends() {
    let (home, relay) = relay_for("");
    let mut command = Command::new(sally());
    std::fs::create_dir_all(home.path("run")).unwrap();
    command.arg("share").arg("--authorized-keys").arg(home.path("id.pub")).arg("--log").arg(home.path("visit.cast"));
    through(&mut command, &home, &relay, "app");
    command.args(["--", "sh", "-c", REPEAT]).env("XDG_RUNTIME_DIR", home.path("run"));
    let mut share = Client::start(command.env_remove("AUTHORIZED_KEYS").env_remove("VIEW_KEYS"));
    share.await_line("ssh session: ssh -J ");
    let port = relay.port;
    drop(relay);
    share.await_stderr("dialling again in ");
    home.write("devices", home.line("other", ""));
    let _relay = keeping(&home, port);
    let (status, _, said) = share.finish();
    assert_eq!(status.code(), Some(69), "{said}");
    assert!(said.contains("it doesn't accept the key of"), "{said}");
}

/// A relay that names what it likes, with its host key, and the share that dials it.
fn lied_to(home: &Home, kind: &[&str], options: &[&str]) -> (Client, Command) {
    home.key("lying", "ed25519");
    home.line("app", "");
    let mut relay = Client::start(python("lying_relay.py").arg(home.path("lying")).args(kind));
    let port = relay.await_line("port ");
    let mut command = home.share();
    command.args(["--foreground", "--relay", &format!("127.0.0.1:{port}"), "--identity"]).arg(home.path("app"));
    command.args(["--relay-host-key", home.read("lying.pub").trim()]).args(options).args(["--", "sh", "-c", REPEAT]);
    (relay, command)
}

#[test]
fn a_relay_that_lies_about_the_link_lowers_a_role_and_raises_none() {
    let home = Home::new();
    let view_keys = home.watcher("watcher");
    let (mut relay, mut command) = lied_to(&home, &[], &view_keys.each_ref().map(String::as_str));
    let share = Share::start(&mut command, &home);
    let mut port = |name: &str| relay.await_line(&format!("{name} ")).parse::<u16>().unwrap();
    // In the order in which it prints them.
    let (watching, unknown, writing) = (port(&format!("ro-{}", "a".repeat(26))), port("rw-unknown"), port(&"b".repeat(26)));
    let join = |key: &str, port| View::start(&home.viewer(port, key));
    let mut lowered = join("id", watching);
    lowered.await_line("ready");
    lowered.keys("no\r");
    lowered.await_words("read only: q leaves");
    let mut not_raised = join("watcher", writing);
    not_raised.await_line("ready");
    not_raised.keys("no\r");
    not_raised.await_words("read only: q leaves");
    let people = share.await_people(2);
    assert!(people.iter().all(|person| person["role"] == "watch"), "{people:?}");
    // What the share doesn't hold leads nowhere.
    assert_eq!(join("id", unknown).finish().0.code(), Some(255));
    assert_eq!(share.await_people(2).len(), 2);
    assert_eq!(home.stream("stdin"), b"");
    let mut writer = join("id", writing);
    writer.await_line("ready");
    writer.keys("yes\r");
    lowered.await_line("YES");
}

#[test]
fn a_relay_that_gives_a_name_of_another_kind_is_refused() {
    let home = Home::new();
    let (_relay, mut command) = lied_to(&home, &["plain"], &[]);
    let refused = run(&mut command);
    assert_eq!(refused.status.code(), Some(69));
    let said = text(&refused.stderr);
    assert!(said.contains("it gave the name NAME~") && said.contains(", not the requested one"), "{said}");
}
