//! Gives the terminal the size that the policy says.

use std::time::{Duration, Instant};

use sally_proto::record::AuditEvent;
use sally_proto::share::{SharedSize, SizePolicy};
use sally_sys::pty::WindowSize;
use tokio::sync::watch;

use super::people::shown;
use super::{ShareHub, ShareState, on_screen};
use crate::lock::lock;
use crate::share::person::Person;

impl ShareHub {
    /// Notes the size of a person's window.
    pub(in crate::share) fn window(&self, number: u32, window: WindowSize) {
        let mut state = lock(&self.state);
        if let Some(person) = state.people.get_mut(&number) {
            person.window = shown(window);
        }
        self.fit(&mut state);
    }

    /// Asks for the size that the policy says.
    pub(super) fn fit(&self, state: &mut ShareState) {
        let windows = |wanted: fn(&Person) -> bool| {
            let people = state.people.values().filter(move |person| wanted(person));
            people.map(|person| SharedSize { cols: person.window.columns, rows: person.window.rows })
        };
        let local = windows(Person::is_local).next();
        let Some(wanted) = self.rules.size.size(local, windows(Person::may_write)) else { return };
        // Only a person whose window decides is named.
        let decides = |person: &&Person| match self.rules.size {
            SizePolicy::Host => person.is_local(),
            SizePolicy::Writers => {
                let window = SharedSize { cols: person.window.columns, rows: person.window.rows }.bounded();
                person.may_write() && (window.cols == wanted.cols || window.rows == wanted.rows)
            }
            SizePolicy::Fixed(_) => false,
        };
        let by = state.people.values().find(decides).map(|person| person.name.clone());
        state.resized_by = by.unwrap_or_else(|| self.rules.size.to_string());
        state.resizes.ask(wanted);
        self.resized.notify_one();
    }

    /// Gives the terminal its sizes, as often as they may change. Each is on the record before the program has it.
    pub async fn resize(&self, terminal: watch::Sender<WindowSize>) {
        let origin = Instant::now();
        loop {
            let due = lock(&self.state).resizes.due();
            match due.map(|due| due.saturating_sub(origin.elapsed())) {
                None => self.resized.notified().await,
                Some(wait) if !wait.is_zero() => tokio::time::sleep(wait).await,
                Some(_) => {
                    if let Some(size) = self.take_size(origin.elapsed()) {
                        terminal.send_replace(WindowSize { columns: size.cols, rows: size.rows, ..WindowSize::default() });
                        self.change();
                    }
                }
            }
        }
    }

    fn take_size(&self, now: Duration) -> Option<SharedSize> {
        let mut state = lock(&self.state);
        let size = state.resizes.take(now)?;
        let by = state.resized_by.as_str().into();
        // A record that fails ends the share, for that reason.
        self.recorder.audit(&AuditEvent::Size { cols: size.cols, rows: size.rows, by }).ok()?;
        state.screen.resize(on_screen(size));
        Some(size)
    }
}
