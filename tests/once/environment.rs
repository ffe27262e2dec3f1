//! What a session finds around it.

use std::collections::BTreeMap;

use crate::support::*;

/// The environment as `env -0` prints it.
fn parse(output: &[u8]) -> BTreeMap<String, String> {
    let pairs = output.split(|byte| *byte == 0).filter(|pair| !pair.is_empty());
    pairs.map(|pair| text(pair).split_once('=').map(|(name, value)| (name.into(), value.into())).unwrap()).collect()
}

#[test]
fn the_whole_environment_is_copied_less_our_own_secrets() {
    let home = Home::new();
    let mut command = home.once();
    command.env("DATABASE_URL", "postgres://x\ny=z").env("EMPTY", "").env("TERM", "dumb").env("SSH_TTY", "/dev/pts/99");
    command.env("SALLY_TICKET", "secret").env("AUTHORIZED_KEYS", home.read("id.pub"));
    let mut server = Server::open(command);
    let visit = run(home.ssh(&server).arg("env -0"));
    let found = parse(&visit.stdout);
    assert_eq!(found["DATABASE_URL"], "postgres://x\ny=z");
    assert_eq!(found["EMPTY"], "");
    for name in ["SALLY_TICKET", "AUTHORIZED_KEYS", "TERM", "SSH_TTY"] {
        assert!(!found.contains_key(name), "{name}: {found:?}");
    }
    let id = |flag: &str| text(&run(std::process::Command::new("id").arg(flag)).stdout).trim().to_owned();
    let passwd = text(&run(std::process::Command::new("getent").args(["passwd", &id("-u")])).stdout);
    let folder = passwd.split(':').nth(5).unwrap();
    // A home that is not there is no place to be.
    let place = if std::path::Path::new(folder).is_dir() { folder } else { "/" };
    for (name, value) in
        [("USER", id("-un")), ("LOGNAME", id("-un")), ("HOME", folder.into()), ("PWD", place.into()), ("SHELL", "/bin/sh".into())]
    {
        assert_eq!(found[name], value, "{name}");
    }
    let peer = found["SSH_CLIENT"].split(' ').nth(1).unwrap();
    assert_eq!(found["SSH_CLIENT"], format!("127.0.0.1 {peer} {}", server.port));
    assert_eq!(found["SSH_CONNECTION"], format!("127.0.0.1 {peer} 127.0.0.1 {}", server.port));
    assert_eq!(home.audits("connect")[0]["peer"], format!("127.0.0.1:{peer}"));
    server.wait();
}

/// What a shell, a terminal and a login have put around the account that started the server, and the supervisor that did.
const STARTERS: &str = "SHLVL OLDPWD _ COLUMNS LINES GPG_TTY TERM COLORTERM COLORFGBG TERMCAP TERM_PROGRAM TERM_PROGRAM_VERSION TERM_SESSION_ID \
    VTE_VERSION WINDOWID ITERM_SESSION_ID KITTY_WINDOW_ID KONSOLE_VERSION WT_SESSION TMUX TMUX_PANE STY ZELLIJ INSIDE_EMACS NVIM \
    SSH_TTY SSH_ORIGINAL_COMMAND SSH_AUTH_SOCK SSH_AGENT_PID SSH_USER_AUTH SSH_TUNNEL DISPLAY WAYLAND_DISPLAY XAUTHORITY MAIL \
    XDG_SESSION_ID XDG_SESSION_TYPE XDG_SESSION_CLASS XDG_SESSION_DESKTOP XDG_SEAT XDG_VTNR XDG_CURRENT_DESKTOP DBUS_SESSION_BUS_ADDRESS \
    SUDO_USER SUDO_UID SUDO_GID SUDO_COMMAND NOTIFY_SOCKET LISTEN_FDS LISTEN_PID LISTEN_FDNAMES INVOCATION_ID JOURNAL_STREAM \
    WATCHDOG_USEC WATCHDOG_PID CREDENTIALS_DIRECTORY";

#[test]
fn what_tells_of_the_starter_stays_behind() {
    let home = Home::new();
    let mut command = home.once();
    for name in STARTERS.split_whitespace() {
        command.env(name, "the starter's");
    }
    let kept = ["LANGUAGE", "KUBERNETES_SERVICE_HOST", "HOSTNAME", "TERMINAL_ID", "SSH_ASKPASS", "XDG_RUNTIME_DIR", "LISTEN_ADDRESS"];
    for name in kept {
        command.env(name, "the container's");
    }
    let server = Server::open(command);
    let found = parse(&run(home.ssh(&server).arg("env -0")).stdout);
    let stayed: Vec<_> = found.iter().filter(|(_, value)| *value == "the starter's").map(|(name, _)| name).collect();
    assert!(stayed.is_empty(), "{stayed:?}");
    assert!(kept.iter().all(|name| found.get(*name).is_some_and(|value| value == "the container's")), "{found:?}");
}

/// Debian's bash does so for the first shell of a login by ssh, for which it takes itself by SHLVL and SSH_CLIENT.
#[test]
fn bash_reads_bashrc_for_a_command_as_with_sshd() {
    let home = Home::new();
    home.write(".bashrc", "echo from .bashrc\n");
    let line = format!("environment=\"HOME={}\" {}", home.path("").display(), home.read("id.pub"));
    let mut command = home.once_for(&home.write("keys", line));
    command.arg("--log").arg(home.path("visit.cast")).env("SHELL", "/bin/bash").env("SHLVL", "3");
    let server = Server::open(command);
    assert_eq!(text(&run(home.ssh(&server).arg("echo command")).stdout), "from .bashrc\ncommand\n");
}

#[test]
fn a_session_on_a_terminal_knows_it() {
    let home = Home::new();
    let server = home.open(&[]);
    let mut ssh = home.ssh(&server);
    ssh.args(["-tt", "echo \"tty=$SSH_TTY $(tty)\"; echo \"term=$TERM\""]);
    let mut terminal = Terminal::start(&ssh);
    let tty = terminal.await_word("tty=");
    let (said, real) = tty.split_once(' ').unwrap();
    assert!(said.starts_with("/dev/pts/") && said == real, "{tty}");
    assert_eq!(terminal.await_word("term="), "xterm");
    assert!(terminal.finish().0.success());
    let pty = &home.audits("pty")[0];
    assert_eq!((&pty["term"], &pty["cols"], &pty["rows"]), (&"xterm".into(), &80.into(), &24.into()), "{pty}");
}

#[test]
fn a_client_sets_its_language_and_nothing_else() {
    let home = Home::new();
    let server = home.open(&[]);
    let sent = "-oSetEnv=LANG=C.UTF-8 LC_TIME=de_DE LD_PRELOAD=/evil.so PATH=/evil BASH_ENV=/evil IFS=x LANGUAGE=evil SALLY_X=evil USER=evil HOME=/evil SSH_CONNECTION=evil MINE=evil";
    let id = home.path("id");
    let visit = run(home.ssh_with(server.port, &[sent, "-i", id.to_str().unwrap()]).arg("env -0"));
    let found = parse(&visit.stdout);
    assert_eq!((&*found["LANG"], &*found["LC_TIME"]), ("C.UTF-8", "de_DE"));
    assert!(found.values().all(|value| !value.contains("evil")), "{found:?}");
}

#[test]
fn accept_env_accepts_more_and_never_our_own() {
    let home = Home::new();
    let server = home.open(&["--accept-env", "GIT_*", "--accept-env", "MINE", "--accept-env", "SALLY_*"]);
    let sent = "-oSetEnv=GIT_PROTOCOL=version=2 MINE=1 MINE_TOO=1 SALLY_X=1";
    let id = home.path("id");
    let visit = run(home.ssh_with(server.port, &[sent, "-i", id.to_str().unwrap()]).arg("env -0"));
    let found = parse(&visit.stdout);
    assert_eq!((&*found["GIT_PROTOCOL"], &*found["MINE"]), ("version=2", "1"));
    assert!(!found.contains_key("MINE_TOO") && !found.contains_key("SALLY_X"), "{found:?}");
    // What was sent is on the record; what reached nobody without what it said, which may be a secret.
    let mut recorded = home.audits("env");
    recorded.sort_by_key(|event| event["name"].to_string());
    let expected = [("GIT_PROTOCOL", Some("version=2")), ("MINE", Some("1")), ("MINE_TOO", None), ("SALLY_X", None)];
    assert_eq!(recorded.len(), expected.len(), "{recorded:#?}");
    for (event, (name, value)) in recorded.iter().zip(expected) {
        assert_eq!((&event["name"], event["value"].as_str(), &event["accepted"]), (&name.into(), value, &value.is_some().into()));
    }
}

#[test]
fn a_login_shell_reads_the_profile_and_a_command_does_not() {
    for (command, profile) in [("", true), ("sh", false)] {
        let home = Home::new();
        let mut once = home.once();
        once.env("PATH", format!("/odd:{}", std::env::var("PATH").unwrap()));
        let server = Server::open(once);
        let visit = run_with(home.ssh(&server).args(["-T", command]), b"echo \"$0 $PATH\"\n");
        let said = text(&visit.stdout);
        let expected = if profile { said.starts_with("-sh ") && !said.contains("/odd") } else { said.starts_with("sh /odd:") };
        assert!(expected, "{command:?}: {said}");
    }
}

#[test]
fn bash_knows_that_it_is_a_login_shell() {
    let home = Home::new();
    let mut once = home.once();
    once.env("SHELL", "/bin/bash").env("HOME", home.path(""));
    let server = Server::open(once);
    let visit = run_with(home.ssh(&server).arg("-T"), b"shopt -q login_shell && echo \"login $0 $SHELL\"\n");
    assert_eq!(text(&visit.stdout), "login -bash /bin/bash\n");
}

#[test]
fn a_command_runs_through_the_shell() {
    let home = Home::new();
    let mut once = home.once();
    once.env("SHELL", "/bin/bash").env("HOME", home.path(""));
    let server = Server::open(once);
    let visit = run(home.ssh(&server).arg("echo $0 ${BASH_VERSION%%.*}; [[ a == a ]] && echo {1..3} | tr ' ' -"));
    let version = text(&run(std::process::Command::new("bash").args(["-c", "echo ${BASH_VERSION%%.*}"])).stdout);
    assert_eq!(text(&visit.stdout), format!("bash {version}1-2-3\n"), "{}", text(&visit.stderr));
}

/// As where a container runs under a number that its image does not know.
#[test]
fn a_home_that_can_not_be_entered_is_no_obstacle() {
    let home = Home::new();
    let mut command = if as_root() {
        let mut other = tool("bash", "bash");
        // Only the file itself need be executable for others, not the way to it.
        other.args(["-c", "exec 9<\"$1\"; shift; exec setpriv --reuid 4711 --regid 4711 --clear-groups /proc/self/fd/9 \"$@\"", "bash"]);
        let closed = home.path("closed");
        assert!(std::process::Command::new("mkdir").args(["-m", "700"]).arg(&closed).status().unwrap().success());
        other.arg(sally()).env("HOME", closed);
        other
    } else {
        // The root of a user namespace has a home that is closed to us.
        rooted("env", "coreutils")
    };
    if !as_root() {
        command.arg(sally());
    }
    command.args(["once", "--port", "0", "--listen", "127.0.0.1"]).env("AUTHORIZED_KEYS", home.read("id.pub")).env("SHELL", "/bin/sh");
    let server = Server::open(command);
    let visit = run(home.ssh(&server).arg("pwd"));
    assert_eq!(text(&visit.stdout), "/\n", "{}", text(&visit.stderr));
}

#[test]
fn nothing_of_ours_is_inherited() {
    let home = Home::new();
    let mut once = tool("bash", "bash");
    // Descriptors and an ignored signal, as a careless supervisor leaves them; nohup ignores SIGHUP.
    once.args(["-c", "exec 7</etc/passwd 8>/dev/null; trap '' HUP INT PIPE; exec \"$@\"", "bash"]);
    let inner = home.once();
    once.arg(inner.get_program()).args(inner.get_args()).env("SHELL", "/bin/sh").env_remove("AUTHORIZED_KEYS");
    let server = Server::open(once);
    let visit = run(home.ssh(&server).arg("ls /proc/self/fd | tr '\\n' ' '; grep -E 'Sig(Ign|Blk)' /proc/self/status"));
    let said = text(&visit.stdout);
    // 3 is that of ls itself.
    assert!(said.starts_with("0 1 2 3 "), "{said}");
    for mask in said.split('\t').skip(1) {
        // The first 31: the others are the C library's own, and real-time ones.
        let mask = u64::from_str_radix(&mask[..16], 16).unwrap() & 0x7fff_ffff;
        assert_eq!(mask, 0, "no signal is ignored or blocked: {said}");
    }
}

#[test]
fn the_memory_of_the_server_can_not_be_read_from_the_session() {
    let home = Home::new();
    // Root may trace every process, unless it gives that up.
    let server = Server::open(without("-sys_ptrace,-sys_admin,-perfmon", &home.once()));
    let visit = run(home.ssh(&server).arg(format!("cd /proc/{}; for file in environ mem fd/0; do cat $file; done", server.child.id())));
    assert_eq!(text(&visit.stderr).matches("Permission denied").count(), 3, "{}", text(&visit.stderr));
}
