//! A share whose program is another account's, and the images of deploy/docker/share and deploy/k8s/share.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use crate::once::sources::key_server;
use crate::support::*;

/// Says which of these files can be read; waits for a line afterwards.
fn read_each(files: &[&str]) -> String {
    let tries = files.iter().map(|file| format!("head -c 1 {file} >/dev/null 2>&1 && echo read {file}; "));
    tries.collect()
}

#[test]
fn the_program_of_another_account_gets_neither_keys_nor_the_record() {
    let home = Home::new();
    let Some(visitor) = VisitorAccount::new("the_program_of_another_account", &home) else { return };
    let (key, exposed) = (home.key("host_key", "ed25519"), home.key("exposed", "ecdsa"));
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o644)).unwrap();
    let folder = home.path(".").display().to_string();
    let files = ["host_key", "id.pub", "visit.cast", "host_key.pub"].map(|name| format!("{folder}/{name}"));
    let process = ["mem", "environ", "maps", "auxv"].map(|name| format!("/proc/$PPID/{name}"));
    let files: Vec<&str> = files.iter().chain(&process).map(String::as_str).collect();
    let script = format!(
        "id -u; id -G; pwd; echo $USER $HOME $SHELL ${{XDG_RUNTIME_DIR-none}}; {}ls {folder}/run/sally >/dev/null 2>&1 || echo closed; read x",
        read_each(&files),
    );
    // The keys file too is root's.
    fs::set_permissions(home.path("id.pub"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = home.share();
    command.args(["--foreground", "--size=120x24", "--run-as", "visitor", "--host", "visitor@example.com", "--host-key"]).arg(&key);
    command.arg("--host-key").arg(&exposed).args(["--", "sh", "-c", &script]);
    let mut share = Share::start(&mut visitor.known_to(&command), &home);
    let warning = share.process.await_stderr("warning: ");
    let expected =
        format!("warning: the program runs as visitor, who can read {}: a viewer who may write can copy that key", exposed.display());
    assert!(warning.starts_with(&expected), "{warning}");
    share.process.await_stderr("A viewer who may write has the rights of visitor");
    let mut view = View::sized(&home.viewer(share.port, "id"), 120, 24);
    view.await_line("closed");
    let lines = view.lines();
    let room = visitor.home.display().to_string();
    assert_eq!(lines[..4], ["4711", "4711 4712", &room, &format!("visitor {room} /bin/sh none")]);
    assert_eq!(lines[4], format!("read {folder}/host_key.pub"), "{lines:?}");
    assert_eq!(lines[5], "closed", "the share's socket is root's");
    // Root's commands are obeyed.
    assert_eq!(share.people()[0]["role"], "write");
    assert!(share.command(&["end"]).status.success());
    assert_eq!(view.finish().0.code(), Some(0));
    assert_eq!(share.process.finish().0.code(), Some(0));
    let facts = fs::metadata(home.path("visit.cast")).unwrap();
    assert_eq!((facts.uid(), facts.permissions().mode() & 0o777), (0, 0o600));
    assert_eq!(verify(&home.path("visit.cast"), Some(&share.host_key)).0, 0);
}

#[test]
fn only_root_can_give_the_program_to_another_account() {
    if !as_root() {
        return skipped("only_root_can_give_the_program", "it needs root");
    }
    let home = Home::new();
    for folder in [".", "run"] {
        fs::create_dir_all(home.path(folder)).unwrap();
        fs::set_permissions(home.path(folder), fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::set_permissions(home.path("id.pub"), fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = home.share();
    let output =
        run(as_number(VISITOR, command.args(["--foreground", "--run-as", "games", "--", "sh"])).env("XDG_RUNTIME_DIR", home.path("run")));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.starts_with("Invalid account: games (Operation not permitted)\n"), "{said}");
}

/// A container or a pod, and the folder of its records.
struct Container<'a> {
    podman: Arc<Podman>,
    home: &'a Home,
    name: &'static str,
}

impl<'a> Container<'a> {
    /// Runs the image with these options and words; the records are in a folder of the home.
    fn run(podman: &Arc<Podman>, home: &'a Home, name: &'static str, options: &[&str], words: &[&str]) -> Self {
        let records = home.path(format!("{name}-records"));
        fs::create_dir(&records).unwrap();
        let records = format!("--volume={}:/var/lib/sally/records", records.display());
        let first = ["run", "--detach", "--name", name, "--log-driver=k8s-file", &records];
        podman.say(&[&first, options, &[SHARE_IMAGE], words].concat());
        Self { podman: Arc::clone(podman), home, name }
    }

    /// What it has said: stdout, then stderr.
    fn logs(&self) -> (String, String) {
        let logs = run(&mut self.podman.command(&["logs", self.name]));
        (text(&logs.stdout), text(&logs.stderr))
    }

    /// Waits until it can be joined; what it has said on stdout.
    fn await_links(&self) -> String {
        until("the share is started", || {
            let (said, errors) = self.logs();
            errors.contains("Recording to ").then_some(said)
        })
    }

    /// Waits for its end: the exit status.
    fn wait(&self) -> i32 {
        self.podman.say(&["wait", self.name]).parse().unwrap()
    }

    /// Its only record, which root alone may read and the host key of its log has sealed.
    fn record(&self) -> String {
        let records = fs::read_dir(self.home.path(format!("{}-records", self.name))).unwrap().map(|entry| entry.unwrap().path());
        let [record]: [PathBuf; 1] = records.collect::<Vec<_>>().try_into().unwrap();
        let facts = fs::metadata(&record).unwrap();
        assert_eq!((facts.uid(), facts.permissions().mode() & 0o777), (0, 0o600));
        let (said, _) = self.logs();
        let host_key = said.lines().find_map(|line| line.strip_prefix("host key: ")).unwrap();
        let (verdict, sentence) = verify(&record, Some(host_key));
        assert_eq!(verdict, 0, "{sentence}");
        fs::read_to_string(record).unwrap()
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.podman.command(&["rm", "--force", "--time=0", self.name]).output();
    }
}

/// The lines that the seed's README shows, with the user and the third line of ours; the password that they give.
fn password_of<'a>(said: &'a str, user: &str) -> &'a str {
    let expected = [&*format!("== log: add public key for github user: {user}"), "== log: user to share session:", "   username: 'pair'"];
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[..3], expected, "{said}");
    assert_eq!(lines[4], "== log: become 'pair' and start 'sally share'", "{said}");
    assert!(lines[5].starts_with("host key: ssh-ed25519 ") && lines[6].starts_with("ssh session: ssh "), "{said}");
    let password = lines[3].strip_prefix("   password: '").and_then(|rest| rest.strip_suffix('\'')).expect(said);
    assert!(password.len() == 50 && password.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{said}");
    password
}

#[test]
fn a_container_for_users_of_github_who_become_root_with_its_password() {
    let Some(podman) = Podman::with_share() else { return };
    let home = Home::new();
    let (_key_server, port, _) = key_server(&home);
    let roots = format!("--volume={}:/roots.pem:ro", home.path("root.pem").display());
    let keys = format!("--env=KEYS_URL=https://localhost:{port}/{{user}}.keys");
    let options = ["--network=host", "--env=SALLY_LISTEN=127.0.0.1:0", "--env=SSL_CERT_FILE=/roots.pem", &roots, &keys];
    let container = Container::run(&podman, &home, "share", &options, &["alice"]);
    let said = container.await_links();
    let password = password_of(&said, "alice");
    let link = said.lines().find_map(|line| line.strip_prefix("ssh session: ssh pair@HOST -p ")).expect(&said);
    let mut view = View::sized(&home.viewer(link.parse().unwrap(), "id"), 160, 40);
    view.await_words(":~$");
    let files = ["/proc/1/environ", "/proc/1/mem", "/etc/sally/secret", "/var/lib/sally/records"];
    view.keys(&format!(
        "PS1='> '; id -un; pwd; {} ls /etc/sally /var/lib/sally 2>/dev/null; env | grep -c SALLY_; echo do''ne\r",
        read_each(&files)
    ));
    view.await_line("done");
    let lines = view.lines();
    let shown = lines.iter().skip_while(|line| *line != "pair").take(4).collect::<Vec<_>>();
    assert_eq!(shown, ["pair", "/home/pair", "1", "done"], "{lines:?}");
    view.keys("sudo -p 'pass''word: ' sh -c 'id -u; ls /var/lib/sally/records | wc -l; tr \"\\0\" \" \" </proc/1/cmdline'\r");
    view.await_line("password:");
    view.keys(&format!("{password}\r"));
    view.await_words("/usr/local/bin/sally share --run-as pair --foreground");
    assert!(view.lines().windows(2).any(|two| two == ["0", "1"]), "{:?}", view.lines());
    // The host's commands are root's.
    let list = podman.say(&["exec", "share", "sally", "share", "list"]);
    assert!(list.contains(" alice write direct 160x40 "), "{list}");
    view.keys("\rexit 3\r");
    assert_eq!(view.finish().0.code(), Some(3));
    assert_eq!(container.wait(), 3);
    let record = container.record();
    assert!(!record.contains(password), "what is typed at a prompt for a password is masked");
    assert!(record.contains("id -un"), "{record}");
}

#[test]
fn a_container_without_a_relay_listens_on_2222_for_keys_of_its_variables() {
    let Some(podman) = Podman::with_share() else { return };
    let home = Home::new();
    home.key("watcher", "ed25519");
    let keys = format!("--env=AUTHORIZED_KEYS={}", home.read("id.pub"));
    let watchers = format!("--env=VIEW_KEYS={}", home.read("watcher.pub"));
    let options = [&*keys, &watchers, "--env=USER_PASSWORD=given", "--env=SALLY_HOST=build-7"];
    let container = Container::run(&podman, &home, "listening", &options, &["--size=80x24"]);
    let said = container.await_links();
    assert!(said.starts_with("== log: user to share session:\n   username: 'pair'\n   password: as in USER_PASSWORD\n"), "{said}");
    assert!(!said.contains("given") && said.contains("\nssh session: ssh pair@build-7 -p 2222\n"), "{said}");
    let address = podman.say(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", "listening"]);
    let view = |key: &str| {
        let mut ssh = std::process::Command::new("ssh");
        ssh.args(home.options()).arg("-t").arg("-i").arg(home.path(key)).args([&format!("pair@{address}"), "-p", "2222"]);
        View::start(&ssh)
    };
    let (mut writer, mut watcher) = (view("id"), view("watcher"));
    writer.await_words(":~$");
    watcher.await_words(":~$");
    watcher.keys("echo no''thing\r");
    writer.keys("echo given | sudo -S -p '' id -u; stty size; echo do''ne\r");
    watcher.await_line("done");
    let lines = watcher.lines();
    assert!(lines.windows(2).any(|two| two == ["0", "24 80"]) && !lines.iter().any(|line| line == "nothing"), "{lines:?}");
    podman.say(&["stop", "--time=30", "listening"]);
    assert_eq!(writer.finish().0.code(), Some(128 + 15));
    assert_eq!(container.wait(), 128 + 15);
    container.record();
}

#[test]
fn a_container_that_nobody_may_join_or_whose_relay_it_has_no_key_for_does_not_start() {
    let Some(podman) = Podman::with_share() else { return };
    let home = Home::new();
    let keys = format!("--env=AUTHORIZED_KEYS={}", home.read("id.pub"));
    let cases = [
        ("closed", &[][..], "authorized keys"),
        ("keyless", &[&*keys, "--env=SALLY_RELAY=relay.example.com"][..], "share: SALLY_RELAY needs a key that the relay knows"),
    ];
    for (name, options, reason) in cases {
        let container = Container::run(&podman, &home, name, options, &[]);
        assert_eq!(container.wait(), 78);
        let (_, errors) = container.logs();
        assert!(errors.to_lowercase().contains(&reason.to_lowercase()), "{errors}");
        assert_eq!(fs::read_dir(home.path(format!("{name}-records"))).unwrap().count(), 0, "without a share there is no record");
    }
}

#[test]
fn a_pod_whose_relay_leads_to_its_terminal() {
    let Some(podman) = Podman::with_share() else { return };
    let home = Home::new();
    let (_key_server, port, _) = key_server(&home);
    home.write("visitors", home.line("visitor", ""));
    home.write("devices", home.line("pod", ""));
    let relay = Relay::start(&home, home.relay_of_files());
    // `podman play kube` of 4.3 doesn't decode what a Secret has in `data`, so that it has to stand there in clear.
    let data = serde_json::json!({"identity": home.read("pod"), "USER_PASSWORD": "secret-word", "roots": home.read("root.pem")});
    let secret = serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "share"}, "data": data});
    let secret = home.write("secret.json", secret.to_string()).display().to_string();
    podman.say(&["secret", "create", "share", &secret]);
    let example = |name: &str| fs::read_to_string(format!("{}/../../deploy/k8s/share/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let variables = format!(
        "    env:\n    - {{name: KEYS_URL, value: 'https://localhost:{port}/{{user}}.keys'}}\n    \
         - {{name: SSL_CERT_FILE, value: /etc/sally/secret/roots}}\n"
    );
    let replaced = [
        ("relay.example.com:2222", &*format!("127.0.0.1:{}", relay.port)),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLE", &relay.host_key),
        ("    env:\n", &variables),
    ];
    let pod = replaced.iter().fold(example("pod.yaml"), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replace(from, to)
    });
    let pod = home.write("pod.yaml", pod).display().to_string();
    podman.say(&["play", "kube", "--network=host", "--log-driver=k8s-file", &pod]);
    let container = Container { podman: Arc::clone(&podman), home: &home, name: "share-share" };
    let said = container.await_links();
    assert!(said.contains("\n   password: as in USER_PASSWORD\n") && !said.contains("secret-word"), "{said}");
    let name =
        said.lines().find_map(|line| line.strip_prefix("ssh session: ssh -J ")).and_then(|rest| rest.split(' ').nth(1)).expect(&said);
    let proxy = format!("ssh -F {} -W %h:%p relay", home.config(&relay, "id").display());
    let mut viewer = home.via(&relay, "id");
    viewer.args(["-t", "-o", &format!("ProxyCommand={proxy}")]).arg(format!("anyone@{name}"));
    let mut view = View::sized(&viewer, 120, 30);
    view.await_words(":~$");
    // podman gives the secret's files to everybody: their folder is root's.
    view.keys("id -un; cat /etc/sally/secret/identity; ls /var/run/secrets 2>/dev/null; echo do''ne\r");
    view.await_line("done");
    let lines = view.lines();
    assert!(lines.iter().any(|line| line == "pair") && lines.iter().any(|line| line.ends_with("Permission denied")), "{lines:?}");
    assert!(!container.logs().1.contains("warning"), "{}", container.logs().1);
    podman.say(&["stop", "--time=30", "share-share"]);
    assert_eq!(view.finish().0.code(), Some(128 + 15));
    podman.say(&["play", "kube", "--down", &pod]);
    podman.say(&["secret", "rm", "share"]);
}
