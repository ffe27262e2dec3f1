//! Reads the environment. Nothing else reads it.

use std::ffi::OsString;

/// The process environment, read once.
#[derive(Clone, Debug)]
pub struct Variables(Vec<(OsString, OsString)>);

impl Variables {
    /// Reads the environment of this process.
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// Returns the value of a variable.
    pub fn get(&self, name: &str) -> Option<OsString> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
    /// Returns all variables.
    pub fn all(&self) -> impl Iterator<Item = (OsString, OsString)> {
        self.0.iter().cloned()
    }
}
