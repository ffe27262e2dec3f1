//! Tests which top module may name which: each stands on a floor, and names only modules on lower floors.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The floors, the lowest first.
const FLOORS: &[&[&str]] = &[
    &["term", "shutdown", "file_version", "arguments", "variables", "clock", "lock", "screen"],
    &["panic", "private_key"],
    &["logfile", "net", "host_key", "monitor", "client"],
    &["tunnel", "record", "fleet", "server_settings"],
    &["session", "keys", "mqtt"],
    &["announce", "broker", "cli", "agent"],
    &["relay", "share", "join"],
    &["ssh"],
    &["config"],
    &["cmd"],
];

/// Pairs that still break the rule. This list only shrinks: one that isn't needed any more fails the test.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// The modules that may name the SSH library, so that it can be replaced.
const SSH_LIBRARY: (&str, &[&str]) = ("russh", &["ssh", "tunnel"]);
/// The modules that may name the terminal emulator.
const EMULATOR: (&str, &[&str]) = ("alacritty_terminal", &["screen"]);
/// Files that name the SSH library all the same. This list only shrinks.
const SSH_LIBRARY_EXCEPTIONS: &[&str] = &[];

/// A file's text, and the path of its module from the root of the crate.
struct Source {
    file: String,
    module: Vec<String>,
    text: String,
}

impl Source {
    fn new(file: &str, text: String) -> Self {
        let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
        Self { file: file.into(), module: path.split('/').map(Into::into).collect(), text }
    }

    fn top(&self) -> &str {
        &self.module[0]
    }

    /// Returns the top modules that the text names, in a `use` or within an expression.
    fn names(&self) -> BTreeSet<String> {
        let tokens = tokens(&self.text);
        let (mut inline, mut depth, mut found) = (Vec::new(), 0, BTreeSet::new());
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token.as_str() {
                "{" => {
                    depth += 1;
                    if at >= 2 && tokens[at - 2] == "mod" {
                        inline.push(depth);
                    }
                }
                "}" => {
                    inline.pop_if(|opened| *opened == depth);
                    depth -= 1;
                }
                "crate" => found.extend(heads(&tokens[at + 1..])),
                "super" => {
                    let climbed = tokens[at..].chunks(2).take_while(|pair| pair[0] == "super").count();
                    if climbed == self.module.len() + inline.len() {
                        found.extend(heads(&tokens[at + 2 * climbed - 1..]));
                    }
                    at += 2 * (climbed - 1);
                }
                _ => {}
            }
            at += 1;
        }
        found
    }

    fn names_ssh_library(&self) -> bool {
        self.has(SSH_LIBRARY.0)
    }

    fn has(&self, name: &str) -> bool {
        tokens(&self.text).iter().any(|token| token == name)
    }
}

/// Returns the names after `::`: one name, or the first name of each path between braces.
fn heads(tokens: &[String]) -> Vec<String> {
    match tokens {
        [colons, name, ..] if colons == "::" && name != "{" => vec![name.clone()],
        [colons, _, group @ ..] if colons == "::" => {
            let (mut heads, mut depth, mut first) = (Vec::new(), 0, true);
            for token in group {
                match token.as_str() {
                    "}" if depth == 0 => break,
                    "}" => depth -= 1,
                    "{" => depth += 1,
                    "," if depth == 0 => first = true,
                    name if first => {
                        heads.push(name.to_owned());
                        first = false;
                    }
                    _ => {}
                }
            }
            heads
        }
        _ => Vec::new(),
    }
}

/// Returns names, `::`, and single other characters; no comments and no literals.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let (mut tokens, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let passed_over = comment(rest).or_else(|| literal(rest)).or_else(|| first.is_whitespace().then_some(first.len_utf8()));
        let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
        let length = match passed_over {
            Some(length) => length,
            None if is_of_name(first) => rest.find(|c| !is_of_name(c)).unwrap_or(rest.len()),
            None if rest.starts_with("::") => 2,
            None => first.len_utf8(),
        };
        if passed_over.is_none() {
            tokens.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
    }
    tokens
}

/// Returns the length of a comment at the beginning.
fn comment(text: &str) -> Option<usize> {
    let end = if text.starts_with("//") { "\n" } else { text.starts_with("/*").then_some("*/")? };
    Some(text.find(end).map_or(text.len(), |at| at + end.len()))
}

/// Returns the length of a string or character literal at the beginning; `None` if a quote belongs to a lifetime.
fn literal(text: &str) -> Option<usize> {
    let begins = |prefix: &&str| text.strip_prefix(*prefix).is_some_and(|rest| rest.starts_with(['"', '\'', '#']));
    let prefix = ["br", "b", "r", ""].into_iter().find(begins)?;
    let body = &text[prefix.len()..];
    let hashes = body.len() - body.trim_start_matches('#').len();
    if prefix.contains('r') && body[hashes..].starts_with('"') {
        let (start, end) = (prefix.len() + hashes + 1, format!("\"{}", "#".repeat(hashes)));
        return Some(start + text[start..].find(&end)? + end.len());
    }
    let quote = body.chars().next().filter(|quote| ['"', '\''].contains(quote))?;
    let (mut characters, mut read, mut escaped) = (body.char_indices().skip(1), 0, false);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => escaped = characters.next().is_some(),
            _ if character == quote => return Some(prefix.len() + at + 1),
            // A lifetime: 'a without a closing quote.
            _ if quote == '\'' && read == 1 && !escaped => return None,
            _ => {}
        }
        read += 1;
    }
    None
}

/// Returns the faults in these files, a line each.
fn faults(sources: &[Source], exceptions: &[(&str, &str)], library: &[&str]) -> Vec<String> {
    let floor = |module: &str| FLOORS.iter().position(|floor| floor.contains(&module));
    let (mut faults, mut needed) = (Vec::new(), BTreeSet::new());
    for source in sources {
        let top = source.top();
        for named in source.names().iter().filter(|named| *named != top) {
            match (floor(top), floor(named)) {
                (Some(own), Some(other)) if other < own => {}
                (Some(_), Some(_)) if exceptions.contains(&(top, named)) => drop(needed.insert((top.to_owned(), named.clone()))),
                (Some(_), Some(_)) => faults.push(format!("{}: {top} may not name {named}", source.file)),
                _ => faults.push(format!("{}: {top} or {named} has no floor", source.file)),
            }
        }
        if source.names_ssh_library() && !SSH_LIBRARY.1.contains(&top) && !library.contains(&source.file.as_str()) {
            faults.push(format!("{}: names the SSH library", source.file));
        }
        if source.has(EMULATOR.0) && !EMULATOR.1.contains(&top) {
            faults.push(format!("{}: names the emulator", source.file));
        }
    }
    let unneeded = exceptions.iter().filter(|(from, to)| !needed.contains(&((*from).to_owned(), (*to).to_owned())));
    faults.extend(unneeded.map(|(from, to)| format!("the exception {from} → {to} is not needed any more")));
    let named = |file: &&&str| sources.iter().any(|source| source.file == **file && source.names_ssh_library());
    faults.extend(library.iter().filter(|file| !named(file)).map(|file| format!("the exception {file} is not needed any more")));
    faults
}

fn read(folder: &Path, prefix: &str, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            read(&entry.path(), &format!("{name}/"), sources);
        } else if name.ends_with(".rs") && !["lib.rs", "main.rs", "floors.rs", "names.rs"].contains(&name.as_str()) {
            sources.push(Source::new(&name, fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

#[test]
fn no_arrow_goes_up() {
    let mut sources = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut sources);
    assert_eq!(faults(&sources, EXCEPTIONS, SSH_LIBRARY_EXCEPTIONS), [""; 0]);
    let tops: BTreeSet<&str> = sources.iter().map(Source::top).collect();
    assert_eq!(tops, FLOORS.iter().copied().flatten().copied().collect());
}

#[test]
fn an_arrow_that_goes_up_is_found_however_it_is_written() {
    for text in [
        "use crate::cmd::once;",
        "use crate::{term, cmd::{once, server}};",
        "use crate::{\n    record::{Entry, Recorder},\n    cmd,\n};",
        "use super::super::super::cmd;",
        "fn f<'a>(x: &'a str) -> char { let c = '\"'; crate::cmd::main(x); c }",
        "/* // */ const X: &str = \"\\\"{\"; type Y = super::super::super::cmd::Y;",
        "mod tests {\n    use super::super::super::super::cmd;\n}",
        "#[arg(value_parser = crate::cmd::parse)]",
        "const X: &[u8] = br#\"\"{\"#; use crate::cmd;",
    ] {
        let seeded = [Source::new("ssh/relay/handler.rs", text.into())];
        assert_eq!(faults(&seeded, &[], &[]), ["ssh/relay/handler.rs: ssh may not name cmd"], "{text}");
        assert_eq!(faults(&seeded, &[("ssh", "cmd")], &[]), [""; 0], "{text}");
    }
    let along = [Source::new("tunnel/mod.rs", "use crate::fleet;".into())];
    assert_eq!(faults(&along, &[], &[]), ["tunnel/mod.rs: tunnel may not name fleet"]);
}

#[test]
fn what_names_nothing_above_is_let_be() {
    for text in [
        "// crate::cmd\n/// [`crate::cmd`]\nconst X: &str = \"crate::cmd\"; const Y: &str = r#\"\"crate::cmd\"#;",
        "use crate::term; use super::super::cmd; pub(in crate::ssh) struct X; use super::relay::cmd;",
        "mod tests { use super::super::super::cmd; }",
    ] {
        assert_eq!(faults(&[Source::new("ssh/relay/handler.rs", text.into())], &[], &[]), [""; 0], "{text}");
    }
}

#[test]
fn an_exception_that_is_not_needed_any_more_is_found() {
    let clean = [Source::new("agent/visit.rs", "use crate::term;".into())];
    assert_eq!(faults(&clean, &[("agent", "ssh")], &[]), ["the exception agent → ssh is not needed any more"]);
    assert_eq!(faults(&clean, &[], &["agent/visit.rs"]), ["the exception agent/visit.rs is not needed any more"]);
}

#[test]
fn the_ssh_library_is_named_in_its_own_places_alone() {
    let text = || "fn f(x: russh::ChannelId) {}".to_owned();
    assert_eq!(faults(&[Source::new("relay/run.rs", text())], &[], &[]), ["relay/run.rs: names the SSH library"]);
    assert_eq!(faults(&[Source::new("ssh/run.rs", text()), Source::new("tunnel/mod.rs", text())], &[], &[]), [""; 0]);
}

#[test]
fn the_emulator_is_named_by_the_screen_alone() {
    let text = || "use alacritty_terminal::Term;".to_owned();
    assert_eq!(faults(&[Source::new("record/play.rs", text())], &[], &[]), ["record/play.rs: names the emulator"]);
    assert_eq!(faults(&[Source::new("screen/state.rs", text())], &[], &[]), [""; 0]);
}
