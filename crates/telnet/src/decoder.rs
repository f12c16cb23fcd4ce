//! Text and orders, told apart.

use std::io;
use std::mem;

use bytes::{Buf, BytesMut};

use crate::line::Lines;
use crate::options::Verb;
use crate::{IAC, command};

/// The most bytes of a subnegotiation that are kept. The longest that a server
/// of ours asks for is the name of a terminal: 40 bytes (RFC 1091).
pub const MAX_SUBNEGOTIATION: usize = 64;

/// Something that a client has finished saying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A line without its end.
    Line(String),
    /// A line has more than [`MAX_LINE`](crate::MAX_LINE) bytes. It comes once,
    /// as soon as it is so; the rest of the line is dropped.
    LineTooLong,
    /// A line that is no text: these bytes are not UTF-8.
    LineNotUtf8(Vec<u8>),
    /// WILL, WONT, DO or DONT, and of which option (RFC 855).
    Negotiation(Verb, u8),
    /// What an option has to tell: the option, and the bytes for it.
    Subnegotiation(u8, Vec<u8>),
    /// One of more than [`MAX_SUBNEGOTIATION`] bytes, dropped.
    SubnegotiationTooLong(u8),
    /// An order of one byte. EC and EL have been carried out already.
    Command(u8),
}

// ANCHOR: decoder
/// Where the bytes so far have led. One byte finishes one thing at most, so it
/// makes no difference how the network has cut them.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    lines: Lines,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    /// After IAC.
    Order,
    /// After IAC and a verb: which option?
    Option(Verb),
    /// After IAC SB: which option?
    Subnegotiation,
    /// Within the subnegotiation of an option.
    Inside(Sub),
    /// After an IAC within it.
    InsideOrder(Sub),
}

/// The beginning of a subnegotiation.
#[derive(Debug)]
struct Sub {
    option: u8,
    data: Vec<u8>,
    is_too_long: bool,
}
// ANCHOR_END: decoder

impl Decoder {
    // ANCHOR: push
    /// Takes the next byte. Says what it has finished, if anything.
    pub fn push(&mut self, byte: u8) -> Option<Event> {
        match mem::take(&mut self.state) {
            State::Text if byte == IAC => self.state = State::Order,
            State::Text => return self.lines.push(byte),
            State::Order => return self.order(byte),
            State::Option(verb) => return Some(Event::Negotiation(verb, byte)),
            State::Subnegotiation if byte == IAC => self.state = State::Order,
            State::Subnegotiation => {
                self.state = State::Inside(Sub::new(byte));
            }
            State::Inside(sub) if byte == IAC => {
                self.state = State::InsideOrder(sub);
            }
            State::Inside(sub) => self.state = State::Inside(sub.with(byte)),
            State::InsideOrder(sub) => match byte {
                command::SE => return Some(sub.end()),
                IAC => self.state = State::Inside(sub.with(byte)),
                // Another order: this one was never finished. Forget it.
                _ => return self.order(byte),
            },
        }
        None
    }

    /// The byte after an IAC says what kind of order it is.
    fn order(&mut self, byte: u8) -> Option<Event> {
        match byte {
            IAC => return self.lines.push(byte),
            command::SB => {
                self.state = State::Subnegotiation;
                return None;
            }
            command::EC => self.lines.erase_character(),
            command::EL => self.lines.erase(),
            _ => {}
        }
        if let Some(verb) = Verb::from_byte(byte) {
            self.state = State::Option(verb);
            return None;
        }
        Some(Event::Command(byte))
    }
    // ANCHOR_END: push

    /// No more bytes will come. What stands without a line end is a last line;
    /// half an order is nothing.
    pub fn finish(&mut self) -> Option<Event> {
        self.state = State::Text;
        self.lines.finish()
    }
}

impl Sub {
    fn new(option: u8) -> Self {
        Sub {
            option,
            data: Vec::new(),
            is_too_long: false,
        }
    }

    fn with(mut self, byte: u8) -> Self {
        if self.data.len() < MAX_SUBNEGOTIATION {
            self.data.push(byte);
        } else {
            self.is_too_long = true;
        }
        self
    }

    fn end(self) -> Event {
        if self.is_too_long {
            Event::SubnegotiationTooLong(self.option)
        } else {
            Event::Subnegotiation(self.option, self.data)
        }
    }
}

// ANCHOR: codec
/// For `FramedRead`, and for whoever reads into a buffer: takes from it all
/// that the next event needs. It never fails, and leaves nothing behind.
impl tokio_util::codec::Decoder for Decoder {
    type Item = Event;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Event>> {
        while bytes.has_remaining() {
            let event = self.push(bytes.get_u8());
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn decode_eof(
        &mut self,
        bytes: &mut BytesMut,
    ) -> io::Result<Option<Event>> {
        let event = self.decode(bytes)?;
        Ok(event.or_else(|| self.finish()))
    }
}
// ANCHOR_END: codec
