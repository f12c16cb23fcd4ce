//! Two tests that take minutes, at the same time: in the one somebody types and
//! waits, in the other everybody talks.

mod book;
mod rooms;
