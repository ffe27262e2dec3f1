//! What no honest client does, and what it must not cost.

mod bomb;
mod floods;
mod hostile;
mod logins;
mod unauthenticated;
