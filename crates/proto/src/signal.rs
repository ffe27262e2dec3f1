//! Signals that SSH names (RFC 4254 section 6.10), with OpenSSH's additions, and their numbers on Linux.

const SIGNALS: [(&str, i32); 15] = [
    ("ABRT", 6),
    ("ALRM", 14),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("KILL", 9),
    ("PIPE", 13),
    ("QUIT", 3),
    ("SEGV", 11),
    ("TERM", 15),
    ("USR1", 10),
    ("USR2", 12),
    ("BUS", 7),
    ("TRAP", 5),
];

/// The number and the name of a signal that a client may send, by its name without `SIG`.
pub fn by_name(name: &str) -> Option<(i32, &'static str)> {
    SIGNALS.iter().find(|(known, _)| *known == name).map(|(name, number)| (*number, *name))
}

/// The name of a signal without `SIG`; its number where SSH has no name for it.
pub fn name(number: i32) -> String {
    SIGNALS.iter().find(|(_, known)| *known == number).map_or_else(|| number.to_string(), |(name, _)| (*name).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_one_name_and_one_number() {
        for (known, number) in SIGNALS {
            assert_eq!((by_name(known), name(number).as_str()), (Some((number, known)), known));
        }
        assert_eq!((by_name("WINCH"), name(28).as_str()), (None, "28"));
    }
}
