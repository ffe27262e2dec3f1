//! Decides whether a viewer may write.

use std::fmt;
use std::str::FromStr;

/// What a viewer may do, from the least to the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareRole {
    /// See the terminal.
    #[default]
    Watch,
    /// Type, too: a viewer who may write has the host's account.
    Write,
}

impl ShareRole {
    /// Returns the least of what the link, the source of the key, the share (`--read-only`) and the host's last word allow.
    #[must_use]
    pub fn least(link: Self, source: Self, share: Self, host: Self) -> Self {
        link.min(source).min(share).min(host)
    }

    /// Returns the name in records and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Write => "write",
        }
    }
}

impl fmt::Display for ShareRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Says that a text isn't a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("say `watch` or `write`")]
pub struct RoleError;

impl FromStr for ShareRole {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        [Self::Watch, Self::Write].into_iter().find(|role| role.name() == text).ok_or(RoleError)
    }
}

/// Says why a viewer can't be promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromoteError {
    /// The viewer has come by the read-only link.
    #[error("this viewer has come by the read-only link: only a viewer of the other link can be promoted")]
    Link,
    /// The source of the viewer's key (`--view-github`, `--view-keys`) lets its keys watch only.
    #[error("the source of this key lets its keys watch, and never write")]
    Source,
    /// The share is read-only.
    #[error("this share is read-only: no viewer can be promoted")]
    Share,
}

/// What each of those who have a say allows one viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    link: ShareRole,
    source: ShareRole,
    share: ShareRole,
    host: ShareRole,
}

impl Rights {
    /// Makes the rights of a viewer who has just come, of whom the host has said nothing.
    #[must_use]
    pub const fn new(link: ShareRole, source: ShareRole, share: ShareRole) -> Self {
        Self { link, source, share, host: ShareRole::Write }
    }

    /// Returns what the viewer may do.
    #[must_use]
    pub fn role(self) -> ShareRole {
        ShareRole::least(self.link, self.source, self.share, self.host)
    }

    /// Lets the viewer write, by the host's word, which never goes beyond the link, the source of the key or the share.
    ///
    /// # Errors
    /// [`PromoteError`], where nothing changes.
    pub fn promote(&mut self) -> Result<(), PromoteError> {
        if self.share < ShareRole::Write {
            return Err(PromoteError::Share);
        }
        if self.source < ShareRole::Write {
            return Err(PromoteError::Source);
        }
        if self.link < ShareRole::Write {
            return Err(PromoteError::Link);
        }
        self.host = ShareRole::Write;
        Ok(())
    }

    /// Lets the viewer watch only, by the host's word.
    pub const fn demote(&mut self) {
        self.host = ShareRole::Watch;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ShareRole::{Watch, Write};
    use super::*;

    #[test]
    fn one_who_allows_watching_only_is_enough() {
        assert_eq!(ShareRole::least(Write, Write, Write, Write), Write);
        for least in [
            ShareRole::least(Watch, Write, Write, Write),
            ShareRole::least(Write, Watch, Write, Write),
            ShareRole::least(Write, Write, Watch, Write),
            ShareRole::least(Write, Write, Write, Watch),
        ] {
            assert_eq!(least, Watch);
        }
    }

    #[test]
    fn the_host_lifts_what_the_host_has_said_and_no_more() {
        let mut rights = Rights::new(Write, Write, Write);
        rights.demote();
        assert_eq!((rights.role(), rights.promote(), rights.role()), (Watch, Ok(()), Write));
        assert_eq!(Rights::new(Watch, Write, Write).promote(), Err(PromoteError::Link));
        assert_eq!(Rights::new(Write, Watch, Write).promote(), Err(PromoteError::Source));
        assert_eq!(Rights::new(Watch, Watch, Write).promote(), Err(PromoteError::Source));
        assert_eq!(Rights::new(Write, Write, Watch).promote(), Err(PromoteError::Share));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for role in [Watch, Write] {
            assert_eq!(role.to_string().parse(), Ok(role));
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
        }
        assert_eq!("Write".parse::<ShareRole>(), Err(RoleError));
    }

    fn any_role() -> impl Strategy<Value = ShareRole> {
        prop_oneof![Just(Watch), Just(Write)]
    }

    proptest! {
        #[test]
        fn no_word_of_the_hosts_goes_beyond_link_source_and_share(
            link in any_role(), source in any_role(), share in any_role(), words in prop::collection::vec(any::<bool>(), 0..8),
        ) {
            let mut rights = Rights::new(link, source, share);
            for promote in words {
                let before = rights;
                if promote {
                    prop_assert_eq!(rights.promote().is_ok(), link.min(source).min(share) == Write);
                    prop_assert!(rights.role() == Write || rights == before);
                } else {
                    rights.demote();
                    prop_assert_eq!(rights.role(), Watch);
                }
                prop_assert!(rights.role() <= link.min(source).min(share));
            }
        }

        /// The link is the relay's word: whatever a relay says, the role is at most what the key's source and the share allow.
        #[test]
        fn a_relay_that_names_the_other_link_only_lowers_the_role(said in any_role(), source in any_role(), share in any_role()) {
            let honest = Rights::new(Write, source, share).role();
            prop_assert!(Rights::new(said, source, share).role() <= honest);
        }
    }
}
