//! Other programs at the other end: stock clients, libraries, and Sally's own client commands.

mod admin;
mod algorithms;
mod clients;
mod interactive;
mod libraries;
