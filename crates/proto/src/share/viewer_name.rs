//! Names viewers, so that no two can be taken for each other.

use std::collections::BTreeMap;
use std::fmt;

/// The longest name, in characters.
const NAME_MAX: usize = 32;
/// How many characters of a fingerprint's base64 are shown: 72 bits, too many to find a key that has them too.
const FINGERPRINT_SHOWN: usize = 12;
/// What stands for a character that a name can't have.
const REPLACEMENT: char = '?';

/// Returns the text in the characters of a name, `[A-Za-z0-9._@+-]`, with `?` for each other one, and cut after 32. Look-alike letters
/// of other scripts, invisible characters and those that change a line's direction can't be in it.
#[must_use]
pub fn cleaned(text: &str) -> String {
    let name: String = text.chars().take(NAME_MAX).map(|c| if is_of_names(c) { c } else { REPLACEMENT }).collect();
    if name.is_empty() { REPLACEMENT.into() } else { name }
}

const fn is_of_names(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '@' | '+' | '-')
}

/// A viewer who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedViewer {
    /// Their number, of which no other viewer of the share has or had the same: the channel of the record that their keyboard is. From 1,
    /// because 0 is the terminal's.
    pub number: u32,
    /// Their name, which no other viewer has who is there.
    pub name: String,
}

/// The names and numbers of a share's viewers.
#[derive(Debug, Default)]
pub struct ViewerNames {
    /// The number that was given last.
    last: u32,
    names: BTreeMap<u32, String>,
}

impl ViewerNames {
    /// Names a viewer who comes, by what their key's comment, account or certificate says. The second of a name is `alice#2`: no text of a
    /// viewer's own has a `#`. `None`: every number was given.
    pub fn join(&mut self, text: &str) -> Option<NamedViewer> {
        let number = self.last.checked_add(1)?;
        self.last = number;
        let wanted = cleaned(text);
        // One of so many differs from each that is there.
        let name = (1..=self.names.len() + 1).map(|n| numbered(&wanted, n)).find(|name| !self.names.values().any(|taken| taken == name))?;
        self.names.insert(number, name.clone());
        Some(NamedViewer { number, name })
    }

    /// Gives back the name of a viewer who has left; the number is not given again.
    pub fn leave(&mut self, number: u32) {
        self.names.remove(&number);
    }

    /// Returns the number of the viewer who has this name, or whose number it is, if they are there.
    #[must_use]
    pub fn find(&self, said: &str) -> Option<u32> {
        let number = said.parse::<u32>().ok().filter(|number| self.names.contains_key(number));
        // A name may consist of digits: who is meant must not depend on which of the two is looked for first.
        let named = self.names.iter().find(|(_, name)| *name == said).map(|(number, _)| *number);
        match (number, named) {
            (Some(number), Some(named)) if number != named => None,
            (number, named) => number.or(named),
        }
    }
}

/// Returns `alice`, or `alice#2` and so on, of at most 32 characters.
fn numbered(name: &str, n: usize) -> String {
    if n == 1 {
        return name.to_owned();
    }
    let suffix = format!("#{n}");
    let kept: String = name.chars().take(NAME_MAX.saturating_sub(suffix.len())).collect();
    kept + &suffix
}

/// A viewer as announcements and prompts show them: `alice (github) SHA256:2gNl0jYxzKdW`.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The viewer's name, of [`ViewerNames::join`].
    pub name: &'a str,
    /// Where the key is from: `github`, a file's name.
    pub source: Option<&'a str>,
    /// The key's fingerprint, `SHA256:…`.
    pub fingerprint: Option<&'a str>,
    /// Whether a relay says who it is, and no signature that was checked here.
    pub as_relay_says: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if let Some(source) = self.source {
            write!(f, " ({})", cleaned(source))?;
        }
        if let Some(fingerprint) = self.fingerprint {
            let (algorithm, digest) = fingerprint.split_once(':').unwrap_or(("", fingerprint));
            // Base64 has a slash, which names have not.
            let shown: String = digest.chars().filter(|c| is_of_names(*c) || *c == '/').take(FINGERPRINT_SHOWN).collect();
            write!(f, " {}:{shown}", cleaned(algorithm))?;
        }
        if self.as_relay_says { f.write_str(", as the relay says") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_have_no_characters_that_lie() {
        for (text, name) in [
            ("alice@laptop", "alice@laptop"),
            ("a.b_c+d-E9", "a.b_c+d-E9"),
            ("al\u{202e}ice", "al?ice"),
            ("\u{430}lice", "?lice"),
            ("alice\u{200b}", "alice?"),
            ("alice#2", "alice?2"),
            ("a b\nc\x1b[31m", "a?b?c??31m"),
            ("", "?"),
            ("日本", "??"),
        ] {
            assert_eq!(cleaned(text), name, "{text:?}");
        }
        assert_eq!(cleaned(&"a".repeat(40)).len(), 32);
    }

    #[test]
    fn the_second_of_a_name_has_a_number() {
        let mut viewers = ViewerNames::default();
        let mut join = |text: &str| viewers.join(text).map(|viewer| (viewer.number, viewer.name)).unwrap();
        assert_eq!(join("alice"), (1, "alice".into()));
        assert_eq!(join("bob"), (2, "bob".into()));
        assert_eq!(join("alice"), (3, "alice#2".into()));
        assert_eq!(join("alice"), (4, "alice#3".into()));
        viewers.leave(3);
        assert_eq!(viewers.join("alice"), Some(NamedViewer { number: 5, name: "alice#2".into() }));
        assert_eq!((viewers.find("alice#2"), viewers.find("1"), viewers.find("3"), viewers.find("carol")), (Some(5), Some(1), None, None));
        let long = "x".repeat(50);
        let names = [viewers.join(&long).unwrap().name, viewers.join(&long).unwrap().name];
        assert_eq!(names, ["x".repeat(32), "x".repeat(30) + "#2"]);
    }

    #[test]
    fn a_name_that_is_another_viewers_number_finds_neither() {
        let mut viewers = ViewerNames::default();
        viewers.join("2");
        viewers.join("bob");
        assert_eq!((viewers.find("2"), viewers.find("1"), viewers.find("bob")), (None, Some(1), Some(2)));
    }

    #[test]
    fn announcements_say_where_a_key_is_from() {
        let shown = Shown {
            name: "alice",
            source: Some("github"),
            fingerprint: Some("SHA256:2gNl0jYxzKdWab/defghijklmnopqrstuvwxyzABCDE"),
            as_relay_says: false,
        };
        assert_eq!(shown.to_string(), "alice (github) SHA256:2gNl0jYxzKdW");
        assert_eq!(Shown { as_relay_says: true, ..shown }.to_string(), "alice (github) SHA256:2gNl0jYxzKdW, as the relay says");
        assert_eq!(Shown { source: None, fingerprint: None, ..shown }.to_string(), "alice");
    }

    proptest! {
        #[test]
        fn no_two_are_the_same(deeds in prop::collection::vec((any::<bool>(), "[ab#2?]{0,2}|x{31,33}"), 1..60)) {
            let mut viewers = ViewerNames::default();
            let (mut there, mut numbers) = (Vec::<NamedViewer>::new(), Vec::new());
            for (leave, text) in deeds {
                if leave && !there.is_empty() {
                    viewers.leave(there.remove(0).number);
                    continue;
                }
                let viewer = viewers.join(&text).unwrap();
                prop_assert!(viewer.name.len() <= NAME_MAX && !numbers.contains(&viewer.number));
                prop_assert!(there.iter().all(|other| other.name != viewer.name));
                numbers.push(viewer.number);
                there.push(viewer);
            }
        }
    }
}
