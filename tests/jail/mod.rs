//! `sally jail`: one reverse tunnel, and nothing else.

mod jail;
mod refusals;
