//! Where a server may run: as PID 1, on a read-only root, without /etc/passwd, as nobody in particular. Keys come by the environment and
//! the record goes to stdout, as in a container.

use std::process::Command;

use crate::support::*;

/// `sally once` through a shell in namespaces of its own, after these commands.
fn within(home: &Home, namespaces: &[&str], before: &str) -> Command {
    let mut command = rooted("unshare", "util-linux");
    let once = format!("exec {} once --port 0 --listen 127.0.0.1", sally().display());
    command.args(namespaces).args(["sh", "-c", &format!("{before} {once}")]);
    command.env("SHELL", "/bin/sh").env("HOME", "/").env("AUTHORIZED_KEYS", home.read("id.pub"));
    command
}

/// A visit that says this; the record on stdout is sealed.
fn visit(home: &Home, command: Command, script: &str) -> String {
    let mut server = Server::open(command);
    let visit = run(home.ssh(&server).arg(script));
    assert!(visit.status.success(), "{} {}", text(&visit.stderr), server.wait().1);
    let record = home.write("stdout.cast", server.rest_of_stdout().join("\n") + "\n");
    let (verdict, said) = verify(&record, Some(&server.host_key));
    assert_eq!(verdict, 0, "{said}");
    text(&visit.stdout)
}

#[test]
fn as_pid_1_it_buries_orphans() {
    let home = Home::new();
    let command = within(&home, &["--pid", "--fork", "--mount-proc"], "");
    // An orphan that ends at once is a zombie until PID 1 has waited for it.
    let script = "(sh -c 'exit 0' &); cat /proc/1/comm; while grep -qs '^State:.Z' /proc/[0-9]*/status; do :; done; echo clean";
    assert_eq!(visit(&home, command, script), "sally\nclean\n");
}

/// What a container's runtime does, from outside.
fn signal_pid_1(server: &Server, name: &str) {
    let inner = until("PID 1 is found", || {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.child.id())).ok()?;
        children.split_whitespace().next().map(String::from)
    });
    assert!(Command::new("kill").args(["-s", name, &inner]).status().unwrap().success());
}

#[test]
fn kill_9_of_pid_1_takes_even_who_left_its_session_with_it() {
    let home = Home::new();
    let mut command = within(&home, &["--pid", "--fork", "--mount-proc"], "");
    command.env("VISIT_MARK", home.path(""));
    let mark = format!("VISIT_MARK={}", home.path("").display());
    let mut server = Server::open(command);
    let mut client = Client::start(home.ssh(&server).arg("setsid sh -c 'trap \"\" HUP TERM; echo in; while :; do sleep 1000; done'"));
    client.await_line("in");
    assert!(!marked(&mark).is_empty());
    signal_pid_1(&server, "KILL");
    assert_eq!(client.finish().0.code(), Some(255));
    let record = home.write("stdout.cast", server.rest_of_stdout().join("\n") + "\n");
    until("nothing of the session is left", || marked(&mark).is_empty().then_some(()));
    let (verdict, said) = verify(&record, Some(&server.host_key));
    assert!(verdict == 5 && said.to_lowercase().contains("not sealed"), "{verdict} {said}");
}

#[test]
fn as_pid_1_it_ends_in_good_order_when_the_container_is_stopped() {
    let home = Home::new();
    let mut server = Server::open(within(&home, &["--pid", "--fork", "--kill-child", "--mount-proc"], ""));
    let mut client = Client::start(home.ssh(&server).arg("trap 'echo hung up' HUP; echo in; while :; do sleep 1000 & wait; done"));
    client.await_line("in");
    signal_pid_1(&server, "TERM");
    let (status, _, said) = client.finish();
    assert!(said.contains("sally: Stopped by signal 15"), "{said}");
    assert_eq!((status.code(), server.wait().0.code()), (Some(143), Some(143)));
}

#[test]
fn a_read_only_root_is_enough() {
    let home = Home::new();
    let sealed_off = "mount --make-rprivate / && mount -o remount,bind,ro / && ! touch /writable 2>/dev/null &&";
    let said = visit(&home, within(&home, &["--mount"], sealed_off), "touch /writable 2>/dev/null || echo read-only");
    assert_eq!(said, "read-only\n");
    // Where the record itself can't be written, nothing starts.
    let mut refused = within(&home, &["--mount"], sealed_off);
    let line = refused.get_args().last().unwrap().to_str().unwrap().to_owned() + " --log /visit.cast";
    let arguments: Vec<_> = refused.get_args().map(|word| word.to_owned()).collect();
    let mut command = Command::new(refused.get_program());
    command.args(&arguments[..arguments.len() - 1]).arg(line).env("AUTHORIZED_KEYS", home.read("id.pub"));
    refused = command;
    let output = run(&mut refused);
    assert_eq!(output.status.code(), Some(74), "{}", text(&output.stderr));
    assert!(text(&output.stderr).starts_with("Could not write to log file /visit.cast: Read-only file system"), "{}", text(&output.stderr));
}

#[test]
fn without_etc_an_account_is_its_number() {
    let home = Home::new();
    let command = within(&home, &["--mount"], "mount -t tmpfs none /etc && test ! -e /etc/passwd &&");
    assert_eq!(visit(&home, command, "echo \"$USER $HOME $(id -u)\""), "0 / 0\n");
}

#[test]
fn an_account_without_a_name_may_run_a_server() {
    let home = Home::new();
    let mut command = if as_root() { tool("setpriv", "util-linux") } else { tool("env", "coreutils") };
    if as_root() {
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    }
    // Not from a folder that only its builder may enter.
    let copy = tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let binary = copy.path().join("sally");
    std::fs::copy(sally(), &binary).unwrap();
    command.arg(&binary).args(["once", "--port", "0", "--listen", "127.0.0.1"]);
    command.env("SHELL", "/bin/sh").env("HOME", "/").env("AUTHORIZED_KEYS", home.read("id.pub"));
    let expected = if as_root() { "65534".into() } else { rustix::process::geteuid().as_raw().to_string() };
    assert_eq!(visit(&home, command, "id -u; tty >/dev/null || echo no terminal"), format!("{expected}\nno terminal\n"));
}
