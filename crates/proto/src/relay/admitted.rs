//! Reads and writes the keys that a registration admits, as they go over the wire: see docs/wire.md.

use super::Refusal;
use crate::authorized_keys::{ADMITTED_OPTIONS, AdmittedLine, Enforced, KeyRing};
use crate::error::{Fault, KeyDefect};

/// How many keys one registration admits: more than any team has, and less than a megabyte.
pub const ADMITTED_KEYS_MAX: usize = 1024;
/// How many keys the registrations of one connection admit: those of a share's two names.
pub const ADMITTED_BY_CONNECTION_MAX: usize = 2 * ADMITTED_KEYS_MAX;
/// The size of all keys in one request, in bytes: a packet's.
pub const ADMITTED_BYTES_MAX: usize = 32 << 10;
/// How many keys without options `name@sally` has at most: a relay that doesn't know `admit@sally` takes no more.
const FIRST_KEYS_MAX: usize = 64;

/// Returns the requests that admit all unrevoked keys of a server: the first for `name@sally`, each other one for `admit@sally`.
/// `account`: the name that a certificate must have if an authority's line has no `principals=`.
///
/// # Errors
/// [`Fault::KeysInvalid`] with the first line that a relay can't admit.
pub fn admit_requests(keys: &KeyRing, account: &str) -> Result<Vec<String>, Fault> {
    let (mut first, mut others): (Vec<AdmittedLine>, Vec<AdmittedLine>) = (Vec::new(), Vec::new());
    let mut first_bytes = 0;
    for (number, (source, entry)) in keys.unrevoked().enumerate() {
        let invalid = |reason: String| {
            let defect = KeyDefect::Unparseable { line: entry.line(), reason };
            Fault::KeysInvalid { source_name: source.to_owned(), defect }
        };
        let line = entry.for_relay(account).map_err(invalid)?;
        if number >= ADMITTED_KEYS_MAX {
            return Err(invalid(format!("a relay admits {ADMITTED_KEYS_MAX} keys at most")));
        }
        if line.text.len() > ADMITTED_BYTES_MAX {
            return Err(invalid(format!(
                "what it says of who may come is longer than {ADMITTED_BYTES_MAX} bytes, the most that a relay takes"
            )));
        }
        let bytes = line.text.len().saturating_add(first_bytes);
        if line.bare && first.len() < FIRST_KEYS_MAX && bytes <= ADMITTED_BYTES_MAX {
            first_bytes = bytes;
            first.push(line);
        } else {
            others.push(line);
        }
    }
    let mut requests = vec![first.into_iter().map(|line| line.text).collect::<String>()];
    for (index, line) in others.into_iter().enumerate() {
        match requests.last_mut().filter(|last| index > 0 && last.len().saturating_add(line.text.len()) <= ADMITTED_BYTES_MAX) {
            Some(last) => last.push_str(&line.text),
            None => requests.push(line.text),
        }
    }
    Ok(requests)
}

/// Reads the lines of a request; `None` if there are none.
///
/// # Errors
/// Why the lines are not admitted.
pub fn admitted_keys(lines: &[u8]) -> Result<Option<KeyRing>, Refusal> {
    if lines.len() > ADMITTED_BYTES_MAX {
        return Err(Refusal::TooMany { what: "bytes of keys to admit in one request", limit: ADMITTED_BYTES_MAX });
    }
    match KeyRing::read(super::NAME_REQUEST, lines, Enforced::new(ADMITTED_OPTIONS)) {
        Ok(keys) if keys.len() > ADMITTED_KEYS_MAX => Err(Refusal::TooMany { what: "keys to admit", limit: ADMITTED_KEYS_MAX }),
        Ok(keys) => Ok(Some(keys)),
        Err(KeyDefect::Unparseable { line, reason }) => Err(Refusal::NotAdmitted { line, reason }),
        Err(_) => Ok(None), // Nothing but blank lines and comments: nothing else fails here.
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ssh_key::PublicKey;
    use ssh_key::public::Ed25519PublicKey;

    use super::*;

    fn key(number: u32) -> String {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        PublicKey::from(Ed25519PublicKey(bytes)).to_openssh().unwrap()
    }

    fn ring(lines: &str) -> KeyRing {
        KeyRing::read("keys", lines.as_bytes(), Enforced::all()).unwrap()
    }

    #[test]
    fn a_relay_hears_who_may_come_and_not_what_they_may() {
        let keys = [
            format!("{} comment", key(0)),
            format!("command=\"x\",no-pty {}", key(1)),
            format!("expiry-time=\"20270101Z\",no-touch-required,permitopen=\"a:1\" {}", key(2)),
            format!("cert-authority {}", key(3)),
            format!("cert-authority,principals=\"ops,dev\" {}", key(4)),
        ];
        let [first, others] = <[String; 2]>::try_from(admit_requests(&ring(&keys.join("\n")), "dev").unwrap()).unwrap();
        assert_eq!(first, format!("{}\n{}\n", key(0), key(1)));
        let wanted = [
            format!("no-touch-required,expiry-time=\"20270101000000Z\" {}", key(2)),
            format!("cert-authority,principals=\"dev\" {}", key(3)),
            format!("cert-authority,principals=\"ops,dev\" {}", key(4)),
        ];
        assert_eq!(others, wanted.join("\n") + "\n");
    }

    #[test]
    fn what_cannot_be_admitted_is_named() {
        let fault = |lines: &str| admit_requests(&ring(lines), "dev").unwrap_err().to_string();
        assert!(fault(&format!("{}\nfrom=\"192.0.2.1\" {}", key(0), key(1))).contains("(line 2: from= admits no client"));
        assert!(fault(&(0..1025).map(|number| key(number) + "\n").collect::<String>()).contains("(line 1025: a relay admits 1024 keys"));
        assert!(fault(&format!("cert-authority,principals=\"{}\" {}", "a,".repeat(20_000), key(0))).contains("(line 1: what it says"));
        let refused = |lines: &str| admitted_keys(lines.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            refused(&format!("\ncommand=\"x\" {}", key(0))),
            "line 2 of the keys to admit is refused: option command is not enforced here"
        );
        assert_eq!(refused(&"#".repeat(ADMITTED_BYTES_MAX + 1)), "too many bytes of keys to admit in one request: the limit is 32768");
        assert!(admitted_keys(b"").unwrap().is_none() && admitted_keys(b"# nobody\n").unwrap().is_none());
    }

    proptest! {
        /// Every key gets there, in requests that a relay takes; what a relay of before takes goes first.
        #[test]
        fn no_key_is_left_out(options in proptest::collection::vec(0..4_u8, 1..300)) {
            let line = |(number, option): (u32, &u8)| {
                let before = ["", "no-pty ", "expiry-time=\"20270101Z\" ", "cert-authority,principals=\"a long name of somebody\" "];
                format!("{}{}\n", before[usize::from(*option)], key(number))
            };
            let keys = ring(&(0..).zip(&options).map(line).collect::<String>());
            let requests = admit_requests(&keys, "dev").unwrap();
            let taken: Vec<_> = requests.iter().map(|request| admitted_keys(request.as_bytes()).unwrap()).collect();
            prop_assert_eq!(taken.iter().flatten().map(KeyRing::len).sum::<usize>(), keys.len());
            prop_assert!(taken[1..].iter().all(Option::is_some));
            let first: Vec<_> = taken[0].iter().flat_map(KeyRing::entries).collect();
            prop_assert!(first.len() <= FIRST_KEYS_MAX && first.iter().all(|(_, entry)| entry.options().kinds == Enforced::NONE));
        }
    }
}
