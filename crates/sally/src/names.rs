//! Tests that each type has a name of its own, so that a search for a name finds one definition.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::floors::tokens;

/// The folders whose types are compared, below `crates/`.
const FOLDERS: [&str; 3] = ["proto/src", "sally/src", "sys/src"];

/// Names that several types may share, each with its reason. An exception that isn't needed any more fails the test.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// What a file defines outside its tests.
#[derive(Debug, Default, PartialEq, Eq)]
struct Definitions {
    /// Structs, enums, unions, traits and type aliases.
    types: Vec<String>,
    /// Modules that are compiled for tests only, and stand in files of their own.
    test_modules: Vec<String>,
}

impl Definitions {
    fn of(text: &str) -> Self {
        let (tokens, mut found) = (tokens(text), Self::default());
        // For each open brace, whether it is that of an `impl` or a `trait`, whose types are associated ones.
        let (mut braces, mut header) = (Vec::new(), None);
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let next = tokens.get(at + 1).filter(|next| next.starts_with(char::is_uppercase));
            match token.as_str() {
                "#" if tokens[at..].starts_with(&["#", "[", "cfg", "(", "test", ")", "]"].map(String::from)) => {
                    at = found.pass_over(&tokens, at + 7);
                    continue;
                }
                "fn" => header = Some("fn"),
                "impl" => header = header.or(Some("impl")),
                "{" => braces.push(header.take()),
                "}" => (header, _) = (None, braces.pop()),
                ";" => header = None,
                "type" if matches!(braces.last(), Some(Some("impl" | "trait"))) => {}
                "struct" | "enum" | "union" | "trait" | "type" => found.types.extend(next.cloned()),
                _ => {}
            }
            if token == "trait" {
                header = Some("trait");
            }
            at += 1;
        }
        found
    }

    /// Passes over an item that is compiled for tests only, and returns where the next one begins.
    fn pass_over(&mut self, tokens: &[String], begin: usize) -> usize {
        let mut depth = 0;
        for (at, token) in tokens.iter().enumerate().skip(begin) {
            match token.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            if depth == 0 && token == ";" && tokens[at - 2] == "mod" {
                self.test_modules.push(tokens[at - 1].clone());
            }
            if depth == 0 && (token == ";" || token == "}") {
                return at + 1;
            }
        }
        tokens.len()
    }
}

/// Returns the faults in these files, a line each. A file has its path below `crates/`.
fn faults(files: &[(String, String)], exceptions: &[(&str, &str)]) -> Vec<String> {
    let all: Vec<_> = files.iter().map(|(path, text)| (path, Definitions::of(text))).collect();
    let tests: BTreeSet<String> = all.iter().flat_map(|(path, found)| found.test_modules.iter().map(|name| below(path, name))).collect();
    let is_test =
        |path: &str| tests.iter().any(|module| path.strip_prefix(module.as_str()).is_some_and(|rest| rest.starts_with(['.', '/'])));
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, found) in all.iter().filter(|(path, _)| !is_test(path)) {
        for name in &found.types {
            places.entry(name).or_default().push(path);
        }
    }
    places.retain(|_, places| places.len() > 1);
    let excepted = |name: &str| exceptions.iter().any(|(exception, _)| *exception == name);
    let doubles = places.iter().filter(|(name, _)| !excepted(name));
    let mut faults: Vec<_> = doubles.map(|(name, places)| format!("{name} is defined in {}", places.join(", "))).collect();
    let unneeded = exceptions.iter().filter(|(name, _)| !places.contains_key(name));
    faults.extend(unneeded.map(|(name, _)| format!("the exception {name} is not needed any more")));
    faults
}

/// Returns the path of a module that a file declares, without its ending.
fn below(path: &str, module: &str) -> String {
    let (folder, file) = path.rsplit_once('/').unwrap();
    let stem = file.trim_end_matches(".rs");
    if ["mod", "lib", "main"].contains(&stem) { format!("{folder}/{module}") } else { format!("{folder}/{stem}/{module}") }
}

fn read(folder: &Path, prefix: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            read(&entry.path(), &name, files);
        } else if name.ends_with(".rs") {
            files.push((name, fs::read_to_string(entry.path()).unwrap()));
        }
    }
    files.sort();
}

#[test]
fn each_type_has_a_name_of_its_own() {
    let mut files = Vec::new();
    for folder in FOLDERS {
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder), folder, &mut files);
    }
    assert!(files.iter().map(|(_, text)| Definitions::of(text).types.len()).sum::<usize>() > 300, "the definitions are found");
    assert_eq!(faults(&files, EXCEPTIONS), [""; 0]);
}

fn file(path: &str, text: &str) -> (String, String) {
    (path.into(), text.into())
}

#[test]
fn a_name_that_two_types_share_is_found_however_they_are_written() {
    let first = file("proto/src/mask.rs", "/// A line.\npub struct Line<'a> { text: &'a str }");
    for second in [
        "struct Line;",
        "#[derive(Debug)]\npub(super) enum Line { Whole }",
        "pub trait Line: Send {}",
        "type Line = Vec<u8>;",
        "fn f(_: impl Sized) { struct Line(u8); }",
        "impl X for Y { type Out = u8; fn f() { type Line = u8; } }",
        "#[cfg(test)]\nuse std::fs;\nmod inner { struct Line {} }",
    ] {
        let seeded = [first.clone(), file("sally/src/relay/run.rs", second)];
        let double = "Line is defined in proto/src/mask.rs, sally/src/relay/run.rs";
        assert_eq!(faults(&seeded, &[]), [double], "{second}");
        assert_eq!(faults(&seeded, &[("Line", "a reason")]), [""; 0], "{second}");
    }
    let twice = [file("sally/src/relay/run.rs", "struct Line; mod inner { struct Line; }")];
    assert_eq!(faults(&twice, &[]), ["Line is defined in sally/src/relay/run.rs, sally/src/relay/run.rs"]);
}

#[test]
fn associated_types_variants_and_tests_are_let_be() {
    let first = file("proto/src/mask.rs", "pub struct Line;\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\npub(crate) mod testing;");
    for second in [
        "impl Iterator for Lines { type Line = u8; } trait Reader { type Line: Send; }",
        "enum Piece { Line(Line) } // struct Line;\nconst X: &str = \"struct Line;\";",
        "#[cfg(test)]\nmod tests { struct Line; }",
        "fn f(line: super::Line) -> Line { line }",
    ] {
        assert_eq!(faults(&[first.clone(), file("sally/src/relay/run.rs", second)], &[]), [""; 0], "{second}");
    }
    for path in ["proto/src/mask/tests.rs", "proto/src/mask/tests/mod.rs", "proto/src/mask/tests/model.rs", "proto/src/mask/testing.rs"] {
        assert_eq!(faults(&[first.clone(), file(path, "struct Line;")], &[]), [""; 0], "{path}");
    }
}

#[test]
fn an_exception_that_is_not_needed_any_more_is_found() {
    let single = [file("proto/src/mask.rs", "struct Line;")];
    assert_eq!(faults(&single, &[("Line", "a reason")]), ["the exception Line is not needed any more"]);
}
