//! What a terminal client sends, made into lines of text; and what it
//! negotiates by the way, told apart from them (RFC 854).
//!
//! Telnet is text with orders in between. The byte FF, *interpret as command*
//! (IAC), begins an order, and a second FF means that the first was only data.
//! Nobody promises that a read ends where an order or a line does. So a
//! [`Decoder`] takes one byte after the other, remembers where it is, and says
//! so whenever something is complete: an [`Event`]. It opens nothing, waits for
//! nothing and holds at most a line.
//!
//! ```
//! use telnet_codec::{Decoder, Event, Verb, option};
//!
//! let mut decoder = Decoder::default();
//! let mut events = b"\xff\xfb\x1fhello\r\n".iter().filter_map(|byte| decoder.push(*byte));
//! assert_eq!(events.next(), Some(Event::Negotiation(Verb::Will, option::NAWS)));
//! assert_eq!(events.next(), Some(Event::Line("hello".into())));
//! ```
//!
//! What to say to a client that negotiates, [`Options`] knows. A client that
//! sends no order, such as `nc`, is never sent one.

mod decoder;
mod line;
mod options;

pub use decoder::{Decoder, Event, MAX_SUBNEGOTIATION};
pub use line::MAX_LINE;
pub use options::{Options, Verb, option};

/// Interpret As Command: begins every order, and is doubled where it is data.
pub const IAC: u8 = 0xff;

/// The orders of one byte after IAC (RFC 854; the first three: RFC 1184).
pub mod command {
    /// The user has no more to say: Ctrl-D in PuTTY.
    pub const EOF: u8 = 0xec;
    /// Suspend the program: Ctrl-Z in `telnet`.
    pub const SUSP: u8 = 0xed;
    /// Break the program off.
    pub const ABORT: u8 = 0xee;
    /// The end of a subnegotiation.
    pub const SE: u8 = 0xf0;
    /// Nothing.
    pub const NOP: u8 = 0xf1;
    /// Data mark: where a Synch, sent as urgent data, has its place.
    pub const DM: u8 = 0xf2;
    /// The break key: Ctrl-\ in `telnet`.
    pub const BRK: u8 = 0xf3;
    /// Interrupt process: Ctrl-C in `telnet`.
    pub const IP: u8 = 0xf4;
    /// Abort output: Ctrl-O in `telnet`.
    pub const AO: u8 = 0xf5;
    /// Are you there? Whoever is should say something.
    pub const AYT: u8 = 0xf6;
    /// Erase the last character.
    pub const EC: u8 = 0xf7;
    /// Erase the line.
    pub const EL: u8 = 0xf8;
    /// Go ahead.
    pub const GA: u8 = 0xf9;
    /// The beginning of a subnegotiation.
    pub const SB: u8 = 0xfa;
}
