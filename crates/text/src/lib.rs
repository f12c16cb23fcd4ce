//! What passes between a program and a person, as text: bytes from a peer made
//! safe to show, addresses as they are written, errors of the system in words.
//! It opens nothing and waits for nothing: text in, text out.

mod address;
mod bytes;
mod errno;

pub use address::host_port;
pub use bytes::{Utf8, printable, quote};
pub use errno::{help, reason};
