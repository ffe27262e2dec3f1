//! The screen of programs that people use, beside a terminal that has had their output from the beginning.

mod exact;
mod programs;
