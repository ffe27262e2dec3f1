//! `sally record`: what can be done with a record.

/// What to do with a record.
#[derive(Debug, clap::Subcommand)]
pub enum RecordCommand {}

impl RecordCommand {
    /// Does it; the exit status comes back.
    pub fn run(self) -> u8 {
        match self {}
    }
}
