//! Limits the size of a record.

/// How many bytes are asked for ahead, so that the last lines of a visit and the seal have room even if requests are no longer answered.
const LAST_LINES: u64 = 16 << 10;

/// Asks for more: returns how large a record may become in all, or why not.
pub(super) type Growth = Box<dyn FnMut() -> Result<u64, String> + Send>;

/// A limit in bytes, and the way to raise it, if there is one.
pub(super) struct Limit {
    bytes: u64,
    growth: Option<Growth>,
    /// Whether asking ahead was refused: then it is asked again only when there is no other way.
    refused: bool,
}

impl Limit {
    pub(super) fn new(bytes: u64, growth: Option<Growth>) -> Self {
        Self { bytes, growth, refused: false }
    }

    /// Lets a record grow to `size` bytes, or returns why it may not.
    pub(super) fn reach(&mut self, size: u64) -> Result<(), String> {
        while size > self.bytes {
            self.grow()?;
        }
        if size.saturating_add(LAST_LINES) > self.bytes && !self.refused {
            self.refused = self.grow().is_err();
        }
        Ok(())
    }

    fn grow(&mut self) -> Result<(), String> {
        let refused = |why: &str| format!("it may not be larger than {} bytes{why}", self.bytes);
        let Some(growth) = &mut self.growth else { return Err(refused("")) };
        match growth() {
            Ok(bytes) if bytes > self.bytes => {
                (self.bytes, self.refused) = (bytes, false);
                Ok(())
            }
            Ok(_) => Err(refused("")),
            Err(why) => Err(refused(&format!(": {why}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_limit_that_nobody_raises_is_one() {
        let mut limit = Limit::new(100, None);
        assert_eq!(limit.reach(100), Ok(()));
        assert_eq!(limit.reach(101), Err("it may not be larger than 100 bytes".into()));
    }

    #[test]
    fn more_is_asked_for_ahead_and_once_more_when_there_is_no_other_way() {
        let answers = Arc::new(Mutex::new(vec![Err("full".into()), Err("full".into()), Ok(2 * LAST_LINES)]));
        let asked = Arc::clone(&answers);
        let mut limit = Limit::new(LAST_LINES, Some(Box::new(move || asked.lock().unwrap().pop().unwrap())));
        assert_eq!(limit.reach(1), Ok(()), "asked at once, and given");
        assert_eq!(limit.reach(LAST_LINES + 1), Ok(()), "asked, and refused");
        assert_eq!(limit.reach(2 * LAST_LINES), Ok(()), "not asked");
        let refused = format!("it may not be larger than {} bytes: full", 2 * LAST_LINES);
        assert_eq!(limit.reach(2 * LAST_LINES + 1), Err(refused));
        assert!(answers.lock().unwrap().is_empty());
    }
}
