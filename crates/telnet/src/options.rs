//! What to say to a client that negotiates.

use crate::IAC;

/// Options by number, those that terminal clients speak of.
pub mod option {
    /// Eight bits for each character, RFC 856.
    pub const BINARY: u8 = 0;
    /// Show what is typed, RFC 857.
    pub const ECHO: u8 = 1;
    /// Suppress go-ahead, RFC 858: each key at once, instead of lines.
    pub const SGA: u8 = 3;
    /// Timing mark, RFC 860: "say when you have got this far".
    pub const TIMING_MARK: u8 = 6;
    /// Terminal type, RFC 1091.
    pub const TERMINAL_TYPE: u8 = 24;
    /// Negotiate about window size, RFC 1073.
    pub const NAWS: u8 = 31;
    /// Who edits the line, and with which keys, RFC 1184.
    pub const LINEMODE: u8 = 34;
}

/// What one side says of an option (RFC 855).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// "I offer to", or "I do".
    Will = 0xfb,
    /// "I do not".
    Wont = 0xfc,
    /// "Please do".
    Do = 0xfd,
    /// "Please do not".
    Dont = 0xfe,
}

impl Verb {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        let verbs = [Verb::Will, Verb::Wont, Verb::Do, Verb::Dont];
        verbs.into_iter().find(|verb| *verb as u8 == byte)
    }

    /// The three bytes that say it of an option.
    pub fn of(self, option: u8) -> [u8; 3] {
        [IAC, self as u8, option]
    }
}

// ANCHOR: options
/// What one client may do, has been asked to do, and does. We ourselves do
/// nothing but answer a timing mark: who does not echo and does not suppress
/// the go-ahead gets whole lines.
#[derive(Debug)]
pub struct Options {
    accepted: &'static [u8],
    /// Of those accepted: asked for, at any time.
    asked: Vec<u8>,
    /// Of those asked for: not answered yet.
    open: Vec<u8>,
    /// Of those accepted: the client does so.
    on: Vec<u8>,
}

impl Options {
    /// A client may do these, and nothing else.
    pub fn new(accepted: &'static [u8]) -> Self {
        Options {
            accepted,
            asked: Vec::new(),
            open: Vec::new(),
            on: Vec::new(),
        }
    }

    /// The answer, if there must be one. What changes nothing is not answered,
    /// or two machines would thank each other for ever (RFC 854).
    pub fn answer(&mut self, verb: Verb, option: u8) -> Option<(Verb, u8)> {
        let answer = match verb {
            Verb::Do if option == option::TIMING_MARK => Verb::Will,
            Verb::Do => Verb::Wont,
            // We do nothing that we could stop doing.
            Verb::Dont => return None,
            Verb::Will if !self.accepted.contains(&option) => Verb::Dont,
            Verb::Will => {
                let is_answer = take(&mut self.open, option);
                if self.is_on(option) {
                    return None;
                }
                self.on.push(option);
                if is_answer {
                    return None;
                }
                Verb::Do
            }
            Verb::Wont => {
                take(&mut self.open, option);
                if !take(&mut self.on, option) {
                    return None;
                }
                Verb::Dont
            }
        };
        Some((answer, option))
    }

    /// What to send to have the client do this, if it does not, and may. Once:
    /// a client that has refused is not asked for ever.
    pub fn ask(&mut self, option: u8) -> Option<(Verb, u8)> {
        let is_known = self.asked.contains(&option) || self.is_on(option);
        if is_known || !self.accepted.contains(&option) {
            return None;
        }
        self.asked.push(option);
        self.open.push(option);
        Some((Verb::Do, option))
    }

    /// Whether the client does this.
    pub fn is_on(&self, option: u8) -> bool {
        self.on.contains(&option)
    }
}

/// Takes an option out; tells whether it was in.
fn take(options: &mut Vec<u8>, option: u8) -> bool {
    let n_before = options.len();
    options.retain(|it| *it != option);
    options.len() < n_before
}
// ANCHOR_END: options
