//! Who sessions run as, and that this account has no key: of the device, of the server, or from the memory of whoever serves it.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::*;

/// Whom sessions of an agent that root has started become where nothing is said.
const NOBODYS: &str = "65533";
/// What a device may not lose.
const SECRETS: [&str; 3] = ["device_key", "tls.key", "ssh_host_key"];

/// The bundle of cam-17, with these settings too, in folders that everybody may enter.
fn bundle(live: &Live, more: &str) -> PathBuf {
    let bundle = live.fleet.add("cam-17");
    let settings = bundle.join("agent.toml");
    fs::write(&settings, format!("{}serve = \"session\"\n{more}", fs::read_to_string(&settings).unwrap())).unwrap();
    open_up(&live.fleet.path("."));
    bundle
}

fn agent(bundle: &Path) -> Command {
    let mut command = Command::new(sally());
    command.args(["-v", "agent", "--bundle"]).arg(bundle);
    command
}

/// What the unit for sessions leaves of root's rights, as setpriv says it.
fn unit_capabilities() -> String {
    let unit = include_str!("../../deploy/systemd/sally-agent-session.conf");
    let kept = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let kept = kept.split(' ').map(|name| format!(",+{}", name.strip_prefix("CAP_").unwrap().to_lowercase()));
    format!("-all{}", kept.collect::<String>())
}

/// What doesn't start: its status, and what it said.
fn refused(command: &mut Command) -> (Option<i32>, String) {
    let output = run(command);
    (output.status.code(), text(&output.stderr))
}

/// Says which of these files the session can read, one a line.
fn read_each(folder: &Path, files: &[&str]) -> String {
    let tries = files.iter().map(|file| format!("head -c 1 {}/{file} >/dev/null 2>&1 && echo read {file};", folder.display()));
    tries.collect()
}

/// Whatever gives a process' memory or descriptors away; says what succeeded.
fn rob(pid: &str) -> String {
    format!(
        "for file in mem environ maps auxv; do head -c 1 /proc/{pid}/$file >/dev/null 2>&1 && echo read $file; done; \
         for each in /proc/{pid}/fd/*; do head -c 1 \"$each\" >/dev/null 2>&1 && echo read \"$each\"; done; \
         readlink /proc/{pid}/exe && echo followed; timeout 10 strace -qq -p {pid} 2>&1 | grep -v 'Operation not permitted'; "
    )
}

#[test]
fn a_devices_visitor_has_an_account_of_their_own_and_none_of_its_keys() {
    let live = Live::new();
    let Some(visitor) = VisitorAccount::new("a_devices_visitor_has_an_account", &live.fleet.home) else { return };
    let bundle = bundle(&live, "run_as = \"visitor\"\n");
    // With no more rights of root's than its unit leaves it.
    let mut agent = Agent::start(&mut visitor.known_to(&without(&unit_capabilities(), &agent(&bundle))));
    // From now on nobody opens it by its path.
    fs::rename(bundle.join("ssh_host_key"), bundle.join("elsewhere")).unwrap();
    let home = visitor.home.display();
    let visit = run(live.jump("cam-17").arg("id -u; id -G; pwd; echo $USER $LOGNAME $HOME $SHELL; touch mine; stat -c %u mine"));
    let said = format!("4711\n4711 4712\n{home}\nvisitor visitor {home} /bin/sh\n4711\n");
    assert_eq!(text(&visit.stdout), said, "{}", text(&visit.stderr));
    let secrets = [&SECRETS[..], &["elsewhere", "agent.toml"]].concat();
    let visit = run(live.jump("cam-17").arg(read_each(&bundle, &secrets)));
    assert_eq!(text(&visit.stdout), "read agent.toml\n", "{}", text(&visit.stderr));
    // A file, fetched by whoever serves files.
    let mut sftp = tool("sftp", "openssh-client");
    sftp.arg("-F").arg(live.config("alice")).args(["-J", "relay", "-b", "-", "cam-17"]);
    let wanted = format!("pwd\n-get {0}/device_key {1}/x\n-get {0}/elsewhere {1}/x\n", bundle.display(), live.fleet.path(".").display());
    let fetched = run_with(&mut sftp, wanted.as_bytes());
    assert!(text(&fetched.stdout).contains(&format!("Remote working directory: {home}")), "{}", text(&fetched.stdout));
    assert!(!live.fleet.path("x").exists(), "{}", text(&fetched.stderr));
    for _ in 0..3 {
        agent.await_words("a session ended");
    }
}

#[test]
fn a_visitor_gets_no_key_from_the_processes_that_have_one() {
    let live = Live::new();
    let Some(visitor) = VisitorAccount::new("a_visitor_gets_no_key_from_the_processes", &live.fleet.home) else { return };
    let agent = Agent::start(&mut visitor.known_to(&agent(&bundle(&live, "run_as = \"visitor\"\n"))));
    let mut other = Client::start(live.jump("cam-17").arg("echo $PPID; exec sleep 1000"));
    let others = other.await_pid();
    assert_eq!(status_field(others, "Uid:"), Some(u64::from(VISITOR)), "it serves with no more rights than the session has");
    assert_eq!(fs::metadata(format!("/proc/{others}/fd")).unwrap().uid(), 0, "its memory is root's");
    // Their own, another visitor's, and the agent.
    for process in ["$PPID".to_owned(), others.to_string(), agent.child.id().to_string()] {
        let visit = run(live.jump("cam-17").arg(rob(&process)));
        assert_eq!(text(&visit.stdout), "", "{process}: {}", text(&visit.stderr));
    }
    let visit = run(live.jump("cam-17").arg(format!("kill {0} || kill -0 {0} || echo not ours", agent.child.id())));
    assert_eq!(text(&visit.stdout), "not ours\n", "{}", text(&visit.stderr));
    let command_line = fs::read_to_string(format!("/proc/{others}/cmdline")).unwrap();
    assert!(!SECRETS.iter().any(|secret| command_line.contains(secret)), "{command_line}");
}

#[test]
fn a_visitor_can_not_alter_the_record_of_their_visit() {
    let live = Live::new();
    let Some(visitor) = VisitorAccount::new("a_visitor_can_not_alter_the_record", &live.fleet.home) else { return };
    let bundle = bundle(&live, "run_as = \"visitor\"\n");
    let mut agent = Agent::start(&mut visitor.known_to(&agent(&bundle)));
    let records = bundle.join("records");
    open_up(&records);
    let each = format!("for each in {}/*.cast", records.display());
    let visit = run(live.jump("cam-17").arg(format!(
        "{each}; do echo there; cat $each && echo read; echo x >>$each && echo written; rm -f $each && echo removed; \
         mv $each /tmp && echo moved; truncate -s 0 $each && echo shortened; done"
    )));
    assert_eq!(text(&visit.stdout), "there\n");
    agent.await_words("a session ended");
    let record = fs::read_dir(&records).unwrap().next().unwrap().unwrap().path();
    let facts = fs::metadata(&record).unwrap();
    assert_eq!((facts.uid(), facts.gid(), facts.permissions().mode() & 0o777), (0, 0, 0o600));
    let (verdict, sentence) = verify(&record, Some(&live.fleet.home.read("cam-17/ssh_host_key.pub")));
    assert_eq!(verdict, 0, "{sentence}");
}

#[test]
fn an_agent_of_roots_gives_sessions_a_user_of_nobodys_where_nothing_is_said() {
    if !as_root() {
        return skipped("an_agent_of_roots_gives_sessions", "it needs root");
    }
    let live = Live::new();
    let bundle = bundle(&live, "");
    let _agent = Agent::start(&mut agent(&bundle));
    let visit = run(live.jump("cam-17").arg(format!("{} id -u; id -G; pwd", read_each(&bundle, &SECRETS))));
    assert_eq!(text(&visit.stdout), format!("{NOBODYS}\n{NOBODYS}\n/\n"), "{}", text(&visit.stderr));
}

#[test]
fn sessions_of_the_agents_own_account_are_warned_of() {
    if !as_root() {
        return skipped("sessions_of_the_agents_own_account", "it needs root");
    }
    let live = Live::new();
    let bundle = bundle(&live, "run_as = \"root\"\n");
    let warning = |account: &str| {
        format!(
            "warning: sessions run as {account}, the agent's own account: a visitor can copy this device's keys, and act as this device after \
             the visitor's certificate has ended"
        )
    };
    assert!(Agent::begin(&mut agent(&bundle)).await_words("warning: ").starts_with(&warning("root")));
    // Another's agent has no other account to give.
    let settings = bundle.join("agent.toml");
    fs::write(&settings, fs::read_to_string(&settings).unwrap().replace("run_as = \"root\"\n", "")).unwrap();
    let every = fs::read_dir(&bundle).unwrap().map(|entry| entry.unwrap().path()).chain([bundle.clone()]);
    every.for_each(|path| chown(path, Some(VISITOR), Some(VISITOR)).unwrap());
    let mut theirs = Agent::start(&mut as_number(VISITOR, &agent(&bundle)));
    assert!(theirs.said().iter().any(|line| line.starts_with(&warning("4711"))), "{:?}", theirs.said());
    let visit = run(live.jump("cam-17").arg("id -u"));
    assert_eq!(text(&visit.stdout), "4711\n", "{}", text(&visit.stderr));
    theirs.await_words("a session ended");
}

#[test]
fn an_agent_whose_sessions_could_read_a_key_does_not_start() {
    let live = Live::new();
    let Some(visitor) = VisitorAccount::new("an_agent_whose_sessions_could_read_a_key", &live.fleet.home) else { return };
    let bundle = bundle(&live, "run_as = \"visitor\"\n");
    fs::write(bundle.join("broker_login"), "user\npassword\n").unwrap();
    let mode = |name: &str, mode: u32| fs::set_permissions(bundle.join(name), fs::Permissions::from_mode(mode)).unwrap();
    for file in [&SECRETS[..], &["broker_login"]].concat() {
        mode("broker_login", 0o600);
        let (owner, all) = (bundle.join(file), [(0, 0o604), (4712, 0o640)]);
        for (group, bits) in all {
            chown(&owner, Some(0), Some(group)).unwrap();
            mode(file, bits);
            let (status, said) = refused(&mut visitor.known_to(&agent(&bundle)));
            let expected = format!("Invalid fleet: {} (sessions run as visitor, who can read it)\n", bundle.join(file).display());
            assert!(status == Some(78) && said.starts_with(&expected), "{file} {bits:o}: {status:?} {said}");
            mode(file, 0o600);
        }
        chown(&owner, Some(VISITOR), Some(0)).unwrap();
        mode(file, 0o000);
        let (status, said) = refused(&mut visitor.known_to(&agent(&bundle)));
        assert!(status == Some(78) && said.contains("who can read it"), "{file}: its owner says who may: {status:?} {said}");
        chown(&owner, Some(0), Some(0)).unwrap();
        mode(file, 0o600);
    }
    fs::set_permissions(&bundle, fs::Permissions::from_mode(0o777)).unwrap();
    let (status, said) = refused(&mut visitor.known_to(&agent(&bundle)));
    assert!(status == Some(78) && said.contains("(sessions run as visitor, who can write to it)"), "{status:?} {said}");
}

#[test]
fn an_account_that_can_not_be_had_stops_the_start() {
    if !as_root() {
        return skipped("an_account_that_can_not_be_had", "it needs root");
    }
    let live = Live::new();
    let bundle = bundle(&live, "run_as = \"nobody-of-that-name\"\n");
    let (status, said) = refused(&mut agent(&bundle));
    assert!(
        status == Some(78) && said.starts_with("Invalid account: nobody-of-that-name (there is none of that name)\n"),
        "{status:?} {said}"
    );
    let settings = bundle.join("agent.toml");
    let text_of = fs::read_to_string(&settings).unwrap();
    for never in ["4294967295", "-1"] {
        fs::write(&settings, text_of.replace("nobody-of-that-name", never)).unwrap();
        let (status, said) = refused(&mut agent(&bundle));
        assert!(status == Some(78) && said.starts_with(&format!("Invalid account: {never} (")), "{status:?} {said}");
    }
    // Only root can give another account.
    fs::write(&settings, text_of.replace("nobody-of-that-name", "games")).unwrap();
    let every = fs::read_dir(&bundle).unwrap().map(|entry| entry.unwrap().path()).chain([bundle.clone()]);
    every.for_each(|path| chown(path, Some(VISITOR), Some(VISITOR)).unwrap());
    let (status, said) = refused(&mut as_number(VISITOR, &agent(&bundle)));
    assert!(status == Some(78) && said.starts_with("Invalid account: games (Operation not permitted)\n"), "{status:?} {said}");
    let home = Home::new();
    open_up(&home.path("."));
    let mut once = as_number(VISITOR, home.once_for(&home.path("id.pub")).args(["--run-as", "games", "--log", "/dev/null"]));
    fs::set_permissions(home.path("id.pub"), fs::Permissions::from_mode(0o644)).unwrap();
    let (status, said) = refused(once.env_remove("AUTHORIZED_KEYS"));
    assert!(status == Some(78) && said.starts_with("Invalid account: games (Operation not permitted)\n"), "{status:?} {said}");
}

#[test]
fn a_host_key_that_sessions_can_read_is_warned_of() {
    let home = Home::new();
    let key = home.key("host", "ed25519");
    let mut server = home.open(&["--host-key", key.to_str().unwrap()]);
    let warning = server.await_stderr("warning: ");
    let account = whoami();
    let expected =
        format!("warning: sessions run as {account}, who can read {}: a visitor can copy that key, and imitate this server", key.display());
    assert!(warning.starts_with(&expected), "{warning}");
    drop(server);
    // A fresh one is nobody's but the server's; what comes through a pipe is in no file.
    let pipe = format!(
        "cat {} | {} once --host-key /dev/stdin --authorized-keys {} --port 0 --timeout 1",
        key.display(),
        sally().display(),
        home.path("id.pub").display()
    );
    for mut quiet in [home.once(), {
        let mut sh = Command::new("sh");
        sh.args(["-c", &pipe]).env_remove("AUTHORIZED_KEYS");
        sh
    }] {
        quiet.args(["--timeout", "1"]);
        let said = text(&run(&mut quiet).stderr);
        assert!(!said.contains("warning"), "{said}");
    }
}

/// The words of the unit's ExecStart, with this in place of what systemd puts there.
fn exec_start(unit: &str, replaced: &[(&str, &str)]) -> Command {
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap().to_owned();
    let line = replaced.iter().fold(line, |line, (from, to)| {
        assert!(line.contains(from), "{line}");
        line.replace(from, to)
    });
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}

#[test]
fn the_unit_for_visits_keeps_its_key_and_its_record_from_the_visitor() {
    let home = Home::new();
    let Some(visitor) = VisitorAccount::new("the_unit_for_visits", &home) else { return };
    let key = home.key("host_key", "ed25519");
    let unit = include_str!("../../deploy/systemd/sally-once@.service");
    let program = sally().display().to_string();
    let keys = home.path("id.pub").display().to_string();
    let folder = home.path(".").display().to_string();
    let replaced = [
        ("/usr/bin/sally", &*program),
        ("/etc/sally/authorized_keys", &*keys),
        ("%S/sally-once", &*folder),
        ("%L/sally-once/%b-%i", &*format!("{folder}/visit")),
    ];
    // The keys file too is root's.
    fs::set_permissions(home.path("id.pub"), fs::Permissions::from_mode(0o600)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut once = visitor.known_to(&exec_start(unit, &replaced));
    once.env_remove("AUTHORIZED_KEYS").env("SHELL", "/nowhere").env("HOME", "/root");
    let script = format!(
        "id -un; id -G; pwd; echo $HOME $SHELL; {} {} for each in {}/visit.cast; do echo x >>$each && echo written; done",
        read_each(&home.path("."), &["host_key", "id.pub", "visit.cast", "host_key.pub"]),
        rob("$PPID"),
        home.path(".").display(),
    );
    let mut client = Client::start(home.ssh_to(port).arg(script));
    let (socket, _) = listener.accept().unwrap();
    let (input, output) = (OwnedFd::from(socket.try_clone().unwrap()), OwnedFd::from(socket));
    let mut once = once.stdin(input).stdout(output).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = Stderr::of(&mut once);
    let room = visitor.home.display();
    client.await_line("visitor");
    let (_, stdout, stderr) = client.finish();
    assert_eq!(stdout, format!("4711 4712\n{room}\n{room} /bin/sh\nread host_key.pub"), "{stderr}");
    wait(&mut once);
    assert!(!said.whole().contains("warning"), "{}", said.whole());
    let facts = fs::metadata(home.path("visit.cast")).unwrap();
    assert_eq!((facts.uid(), facts.permissions().mode() & 0o777), (0, 0o600));
    let (verdict, sentence) = verify(&home.path("visit.cast"), Some(&fs::read_to_string(key.with_extension("pub")).unwrap()));
    assert_eq!(verdict, 0, "{sentence}");
}

#[test]
fn a_server_forbids_to_read_its_memory_once_more_when_it_has_changed_its_user() {
    if !as_root() {
        return skipped("a_server_forbids_to_read_its_memory", "it needs root");
    }
    let home = Home::new();
    let jail = home.jail("2022");
    let (port, calls) = (free_port(), home.path("calls"));
    // strace as a grandchild: the jail itself is ours, and dies with the test.
    let mut traced = tool("strace", "strace");
    traced.args(["-D", "-f", "-qq", "-e", "trace=setresuid,prctl", "-o"]).arg(&calls).arg(jail.get_program());
    traced.args(["jail", "--listen", &format!("127.0.0.1:{port}"), "--permit-listen", "2022"]);
    traced.env("AUTHORIZED_KEYS", home.read("id.pub")).env_remove("OPEN_PORTS");
    let mut jail = Client::start(&mut traced);
    jail.await_stderr("Server listening on ");
    jail.signal("TERM");
    jail.finish();
    let calls = until("strace has written everything", || fs::read_to_string(&calls).ok().filter(|calls| calls.contains("setresuid(")));
    let (_, after) = calls.rsplit_once("setresuid(65532, 65532, 65532)").expect(&calls);
    assert!(after.contains("prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE) = 0"), "{calls}");
    assert!(after.contains("prctl(PR_GET_DUMPABLE) "), "and sees that it is so: {calls}");
}

#[test]
fn a_copied_host_key_is_believed_until_a_client_has_the_list() {
    if !as_root() {
        return skipped("a_copied_host_key", "a stock sshd with the fleet's drop-in needs root");
    }
    let fleet = Fleet::new();
    fleet.home.key("alice", "ed25519");
    let known = fleet.sally(&["visitor", "add", "FLEET", "alice.pub", "--for", "cam-*"]);
    fleet.home.write("known_hosts", known);
    // Its holder answers as cam-17.
    let copy = Device::start(&fleet, "cam-17", &[]);
    let again = fleet.path("again").display().to_string();
    fleet.sally(&["add", "FLEET", "cam-17", "--out", &again, "--replace"]);
    assert!(copy.log_in(&fleet, "alice", "cam-17").0, "the certificate says nothing of it");
    let list = fleet.path("FLEET/relay/revoked");
    let (believed, said) = copy.log_in_with(&fleet, "alice", "cam-17", &[&format!("-oRevokedHostKeys={}", list.display())]);
    assert!(!believed && said.contains("revoked"), "{said}");
}
