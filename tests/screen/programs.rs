//! Programs with what is typed to them, and the bytes that they write to a terminal of 100 × 30.

use std::fs;
use std::path::Path;
use std::time::Duration;

use sally::screen::{Screen, ScreenSize};

use crate::support::*;

pub const SIZE: ScreenSize = ScreenSize { columns: 100, rows: 30 };
/// How long a program writes nothing before the next keys.
const QUIET: Duration = Duration::from_millis(300);
/// The most output of a program that is looked at.
const OUTPUT_MAX: usize = 1 << 20;

/// A program, its package, its arguments, and what is typed to it.
type Program = (&'static str, &'static str, &'static str, &'static [&'static str]);

/// The name says which program, and what it does if there are several.
pub const PROGRAMS: &[Program] = &[
    (
        "vim",
        "vim",
        "vim --clean --cmd 'set nomodeline' code.c",
        &[
            "10j",
            "ohello \u{6f22}\u{5b57} e\u{301} \u{1f600}\x1b",
            ":vs\r",
            "\x17w",
            "/int\r",
            "Gzt",
            ":set nu list hls\r",
            "\x15\x04",
            "dd5Yp",
            ":terminal ls --color\r",
        ],
    ),
    ("htop", "htop", "htop -d 5", &["\x1bOB\x1bOB", "t", "\x1bOS", "\x1b", "H", "\x1bOP", "q", "q"]),
    ("less", "less", "less -R colors.txt", &[" ", " ", "b", "/the\r", "n", "G", "g", "h", "q", "20j", "k", "q"]),
    ("less-alternate", "less", "less -RSN code.c", &["\x1b[C", "G", "10k", "/main\r", "\x1b[D", "q"]),
    ("top", "procps", "top -d 0.4", &["1", "m", "t", "z", "x", "h", "q", "c", "V", "q"]),
    (
        "tmux",
        "tmux",
        "tmux -L sally-screen-test -f /dev/null new-session 'bash --norc'",
        &[
            "ls -la --color /usr\r",
            "\x02%",
            "cat colors.txt\r",
            "\x02\"",
            "printf '\\e]8;;http://a.example/\\e\\\\link\\e]8;;\\e\\\\ \\e[4:3;58:5:9mcurly\\e[m\\n'\r",
            "\x02o",
            "\x02z",
            "\x02z",
            "\x02[",
            "\x1b[5~",
            "q",
            "\x02c",
            "\x02w",
            "q",
            "\x02:kill-server\r",
        ],
    ),
    (
        "mc",
        "mc",
        "mc -x -b /usr /etc",
        &["\x1bOB\x1bOB\x1bOB", "\t", "\x1bOB", "\x1b[6~", "\x1bOR", "\x1b0", "\x0f", "ls\r", "\x0f", "\x1b[20~", "\x1b\x1b"],
    ),
    (
        "mc-color",
        "mc",
        "mc -x --colors normal=white,blue",
        &["\x1b[B", "\x1b[<0;10;5M\x1b[<0;10;5m", "\x1b[<0;70;8M\x1b[<0;70;8m", "\x1b[13~", "\x1b[21~"],
    ),
    ("nano", "nano", "nano -l code.c", &["\x1b[B\x1b[B", "text \u{e9}\u{6f22}", "\x17main\r", "\x16", "\x1b[5~", "\x07", "\x18", "\x18n"]),
    (
        "whiptail",
        "whiptail",
        "whiptail --title Title --checklist 'Choose some' 20 60 8 a one on b two off c three off",
        &["\x1b[B ", "\t", "\t", "\x1b[Z", "\r"],
    ),
    ("whiptail-gauge", "whiptail", "bash -c 'for n in 10 40 80; do echo $n; sleep 0.2; done | whiptail --gauge Wait 8 50 0'", &[]),
    (
        "bash",
        "bash",
        "bash --norc",
        &[
            ". /usr/share/bash-completion/bash_completion; PS1='\\[\\e[32m\\]\\w\\[\\e[m\\] $ '\r",
            "ls /us\t\t",
            "\x15git lo\t\t",
            "\x15cat /etc/pas\t\r",
            "echo this is a line that is much longer than the terminal is wide, so that it has to be wrapped at the end, and then once more",
            "\x01\x1bf\x1bf and words that are put in at its beginning\x05 end\x1b\x7f\x1b\x7f\x0c",
            "\r",
            "\x12cat",
            "\x03",
            "printf '%s\\t%s\\n' a b cc dd; seq 40\r",
            "clear\r",
            "for n in 1 2 3; do printf 'long %0120d\\n' $n; done\r",
            "tput smcup; ls --color /; tput rmcup\r",
            "exit\r",
        ],
    ),
    ("ls", "coreutils", "ls -la --color=always --hyperlink=always names", &[]),
    ("git", "git", "git -C repository --no-pager log --color --graph --stat", &[]),
    ("tig", "tig", "tig -C repository", &["j", "\r", "j", "\x1b[6~", "q", "h", "q", "q"]),
    ("fzf", "fzf", "bash -c 'ls /usr/bin | fzf --preview \"echo {}\"'", &["gr", "\x1b[A", "\x7f\x7f", "z", "\x1b"]),
    ("fzf-inline", "fzf", "bash -c 'ls /usr/bin | fzf --height 12 --reverse --border'", &["py", "\x1b[B", "\r"]),
    (
        "nvim",
        "neovim",
        "nvim --clean code.c",
        &[
            "10j",
            ":lua vim.diagnostic.set(vim.api.nvim_create_namespace('x'), 0, {{lnum=11, col=2, end_col=9, message='wrong', severity=1}})\r",
            "onew \u{1f469}\u{200d}\u{1f467} line\x1b",
            ":set termguicolors nu\r",
            ":vs\r",
            "G",
            ":hi DiagnosticUnderlineError gui=undercurl guisp=Red\r",
            ":q!\r",
            ":q!\r",
        ],
    ),
    ("sequences", "bash", "bash sequences.sh", &[]),
];

/// Makes what the programs show.
pub fn files(folder: &Path) {
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    let code: String = (0..120)
        .map(|n| format!("int function_{n}(char *text) {{ /* the {n}th */\n\treturn main(text, \"string {n}\") + 0x{n:x};\n}}\n\n"))
        .collect();
    write("code.c", &code);
    let colors = (0..90).map(|n| {
        let (color, style) = (n * 2, n % 10);
        format!("\x1b[38;5;{color}mcolor {n}\x1b[0m \x1b[{style}mstyle\x1b[m \x1b[4:3;58;2;{n};9;9mcurly\x1b[m the \x1b[48;2;{n};20;90mtrue\x1b[K\x1b[m \x1b]8;;https://a.example/{n}\x1b\\link\x1b]8;;\x1b\\ \u{6f22}\u{5b57}\n")
    });
    write("colors.txt", &colors.collect::<String>());
    write("sequences.sh", include_str!("sequences.sh"));
    fs::create_dir(folder.join("names")).unwrap();
    for name in [
        "cafe\u{301}",
        "\u{6f22}\u{5b57}.txt",
        "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467} family",
        "\u{2764}\u{fe0f}",
        "\u{1f1e9}\u{1f1ea}",
        "\u{915}\u{94d}\u{937}",
        "plain",
    ] {
        fs::write(folder.join("names").join(name), "").unwrap();
    }
    let script = "git init -q repository && cd repository && for n in 1 2 3 4 5 6 7 8 9; do echo line $n >> file; git add file; \
        git -c user.name=A -c user.email=a@b commit -q -m \"\u{1f680} change $n \u{6f22}\"; done";
    assert!(run(tool("bash", "bash").args(["-c", script]).env("HOME", folder).current_dir(folder)).status.success());
}

/// What a program writes, with a screen that answers it.
pub fn output(program: &Program, folder: &Path) -> Vec<u8> {
    let (_, package, line, keys) = program;
    let name = line.split(' ').next().unwrap();
    let _ = tool(name, package);
    let mut command = tool("bash", "bash");
    command.args(["-c", &format!("cd '{}' && exec {line}", folder.display())]);
    for (name, value) in [
        ("HOME", folder.to_str().unwrap()),
        ("LANG", "C.UTF-8"),
        ("COLORTERM", "truecolor"),
        ("SHELL", "/bin/bash"),
        ("TMUX", ""),
        ("TERM", "xterm-256color"),
    ] {
        command.env(name, value);
    }
    let mut terminal = Terminal::of_size(&command, SIZE.columns, SIZE.rows);
    let mut screen = Screen::new(SIZE, 0);
    let mut read = 0;
    let mut keys = keys.iter();
    loop {
        let (seen, closed) = terminal.at_rest(QUIET);
        screen.feed(&seen[read..]);
        read = seen.len();
        let replies = screen.take_replies();
        if closed || read >= OUTPUT_MAX {
            return seen;
        }
        if !replies.is_empty() {
            terminal.keys(std::str::from_utf8(&replies).unwrap());
        } else if let Some(keys) = keys.next() {
            terminal.keys(keys);
        } else {
            return seen;
        }
    }
}
