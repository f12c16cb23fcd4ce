//! Lines, whichever way they end.

use std::mem;

use crate::decoder::Event;

/// The longest line in bytes, without its end. A terminal that edits lines
/// itself sends 4,095 at the most (termios(3), "canonical mode").
pub const MAX_LINE: usize = 4096;

// ANCHOR: lines
/// The line that has begun. A line ends with LF, or with CR; a LF or NUL right
/// after the CR belongs to it, even if it comes an hour later.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// At most [`MAX_LINE`] bytes.
    line: Vec<u8>,
    is_after_cr: bool,
    /// The rest of a line that was too long is dropped.
    is_dropped: bool,
}

impl Lines {
    pub(crate) fn push(&mut self, byte: u8) -> Option<Event> {
        let is_after_cr = mem::replace(&mut self.is_after_cr, byte == b'\r');
        match byte {
            b'\n' | b'\0' if is_after_cr => None,
            b'\r' | b'\n' if mem::take(&mut self.is_dropped) => None,
            b'\r' | b'\n' => Some(self.take()),
            _ if self.is_dropped => None,
            _ if self.line.len() == MAX_LINE => {
                self.line = Vec::new();
                self.is_dropped = true;
                Some(Event::LineTooLong)
            }
            _ => {
                self.line.push(byte);
                None
            }
        }
    }

    fn take(&mut self) -> Event {
        match String::from_utf8(mem::take(&mut self.line)) {
            Ok(line) => Event::Line(line),
            Err(error) => Event::LineNotUtf8(error.into_bytes()),
        }
    }
    // ANCHOR_END: lines

    /// What stands there at the end is a line, too.
    pub(crate) fn finish(&mut self) -> Option<Event> {
        self.is_after_cr = false;
        self.is_dropped = false;
        (!self.line.is_empty()).then(|| self.take())
    }

    /// Takes the last character back: of UTF-8, its first byte and all that
    /// follow (10xxxxxx).
    pub(crate) fn erase_character(&mut self) {
        while let Some(byte) = self.line.pop() {
            if byte & 0b1100_0000 != 0b1000_0000 {
                break;
            }
        }
    }

    /// Takes back what stands in the line so far.
    pub(crate) fn erase(&mut self) {
        self.line.clear();
        self.is_dropped = false;
    }
}
