//! What is said while nobody is written to: many lines, and then one write for
//! each member.

use std::io::IoSlice;
use std::ops::Range;

/// When so many bytes are said, it is time to write. Half of what may wait for
/// a client, so that nobody is put out by a single turn.
pub(crate) const FULL: usize = 32 * 1024;

// ANCHOR: turn
/// All that is said to all, from one write to the next. It stands here once,
/// however many read it.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    lines: Vec<u8>,
    /// Bytes said, to all and to single members.
    n_bytes: usize,
}

/// How one member's share of a turn is not what all are told.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// It came when so much had been said.
    from: usize,
    /// In the order of their places.
    detours: Vec<Detour>,
}

#[derive(Debug)]
enum Detour {
    /// These bytes are its own words.
    Without(Range<usize>),
    /// Here it is told something by itself.
    With(usize, String),
}
// ANCHOR_END: turn

impl Turn {
    /// Says a line to all.
    pub(crate) fn say(&mut self, line: &str) -> Range<usize> {
        let start = self.lines.len();
        self.lines.extend_from_slice(line.as_bytes());
        // CR LF is what ends a line on every terminal.
        self.lines.extend_from_slice(b"\r\n");
        self.n_bytes += self.lines.len() - start;
        start..self.lines.len()
    }

    /// The share of somebody who comes now.
    pub(crate) fn share(&self) -> Share {
        Share {
            from: self.lines.len(),
            detours: Vec::new(),
        }
    }

    /// Says a line to one alone, after what was said so far.
    pub(crate) fn say_to(&mut self, share: &mut Share, line: &str) {
        let line = format!("{line}\r\n");
        self.n_bytes += line.len();
        share.detours.push(Detour::With(self.lines.len(), line));
    }

    pub(crate) fn is_full(&self) -> bool {
        self.n_bytes >= FULL
    }

    // ANCHOR: shared
    /// Gives `write` what one member is owed, as pieces for a single `writev`:
    /// nothing is copied, and for who said nothing there is one piece.
    pub(crate) fn hand_out(
        &self,
        share: &mut Share,
        write: impl FnOnce(&mut [IoSlice<'_>]),
    ) {
        let Share { from, detours } = std::mem::take(share);
        let lines = self.lines.as_slice();
        if detours.is_empty() {
            if from < lines.len() {
                write(&mut [IoSlice::new(&lines[from..])]);
            }
            return;
        }
        let mut at = from;
        let mut pieces = Vec::with_capacity(2 * detours.len() + 1);
        for detour in &detours {
            let (end, with, next) = match detour {
                Detour::Without(own) => (own.start, "", own.end),
                Detour::With(place, line) => (*place, line.as_str(), *place),
            };
            pieces.push(IoSlice::new(&lines[at..end]));
            pieces.push(IoSlice::new(with.as_bytes()));
            at = next;
        }
        pieces.push(IoSlice::new(&lines[at..]));
        pieces.retain(|piece| !piece.is_empty());
        if !pieces.is_empty() {
            write(&mut pieces);
        }
    }
    // ANCHOR_END: shared

    /// All have been written to.
    pub(crate) fn end(&mut self) {
        self.lines.clear();
        self.n_bytes = 0;
    }
}

impl Share {
    /// Leaves out a line that was said to all.
    pub(crate) fn without(&mut self, line: Range<usize>) {
        self.detours.push(Detour::Without(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(turn: &Turn, share: &mut Share) -> Vec<String> {
        let mut found = Vec::new();
        turn.hand_out(share, |pieces| {
            let text = |it: &IoSlice<'_>| String::from_utf8_lossy(it).into();
            found = pieces.iter().map(text).collect();
        });
        found
    }

    #[test]
    fn each_is_owed_what_others_say_in_one_write() {
        let mut turn = Turn::default();
        let (mut ann, mut bob) = (turn.share(), turn.share());
        ann.without(turn.say("ann: one"));
        ann.without(turn.say("ann: two"));
        turn.say_to(&mut bob, "(private) ann: three");
        bob.without(turn.say("bob: four"));
        let mut carl = turn.share();
        turn.say("* carl joined (3 online)");
        let joined = "* carl joined (3 online)\r\n";
        assert_eq!(pieces(&turn, &mut ann), [format!("bob: four\r\n{joined}")]);
        assert_eq!(
            pieces(&turn, &mut bob),
            [
                "ann: one\r\nann: two\r\n",
                "(private) ann: three\r\n",
                joined
            ]
        );
        assert_eq!(pieces(&turn, &mut carl), [joined]);
        turn.end();
        assert!(pieces(&turn, &mut ann).is_empty());
        ann.without(turn.say("ann: alone"));
        assert!(pieces(&turn, &mut ann).is_empty());
    }

    #[test]
    fn a_turn_is_full_by_what_one_is_told_too() {
        let mut turn = Turn::default();
        let mut share = turn.share();
        while !turn.is_full() {
            turn.say_to(&mut share, "(private) ann: hello");
        }
        assert!(turn.lines.is_empty());
    }
}
