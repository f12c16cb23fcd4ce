//! Bytes from a peer, made into text that is safe to show.

use std::borrow::Cow;
use std::mem;

/// Decodes UTF-8 that arrives in pieces, like Node's `setEncoding('utf8')`.
///
/// TCP may cut between any two bytes, so a read can end inside a character.
/// The beginning is held back until its rest arrives. What is no UTF-8 becomes
/// U+FFFD, one for each maximal ill-formed part (Unicode, section 3.9), as in
/// Node and in [`String::from_utf8_lossy`].
#[derive(Debug, Default)]
pub struct Utf8 {
    /// At most three bytes: the longest beginning of a character.
    held: Vec<u8>,
}

// ANCHOR: utf8
impl Utf8 {
    /// Takes what one read brought, returns the text that is complete now.
    pub fn push<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, str> {
        if self.held.is_empty()
            && let Ok(text) = str::from_utf8(bytes)
        {
            return Cow::Borrowed(text);
        }
        let mut bytes = [mem::take(&mut self.held).as_slice(), bytes].concat();
        self.held = bytes.split_off(bytes.len() - incomplete_tail(&bytes));
        Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// No more bytes will come: a character that was begun stays broken.
    pub fn end(&mut self) -> String {
        String::from_utf8_lossy(&mem::take(&mut self.held)).into_owned()
    }
}

/// How many bytes at the end are the beginning of a character, 0 to 3.
fn incomplete_tail(bytes: &[u8]) -> usize {
    let Some(last) = bytes.utf8_chunks().last() else {
        return 0;
    };
    match str::from_utf8(last.invalid()) {
        // No error length means: so far this is right, but there is no more.
        Err(error) if error.error_len().is_none() => last.invalid().len(),
        _ => 0,
    }
}
// ANCHOR_END: utf8

/// How many characters of one chunk a line of a story shows.
const SHOWN: usize = 1000;

/// Text in quotes, for a line of a story or a log: control characters, escape
/// sequences and direction marks show as `\n`, `\u{1b}`, `\u{202e}`. A long
/// text ends in `…`, so that a flood does not bury the rest.
pub fn quote(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?} …", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Text as it may go to a terminal: lines and tabs as they are, CR left out,
/// and everything else that is not visible escaped as in [`quote`]. Otherwise a
/// peer could move the cursor, change the title or rewrite what stands there.
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\r' => {}
            '\n' | '\t' | '\'' | '"' | '\\' => safe.push(character),
            _ => safe.extend(character.escape_debug()),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table that was measured with Node's `setEncoding`. Node may show a
    /// replacement character one read later; in all they are as many.
    #[rustfmt::skip]
    const ROWS: &[(&[&[u8]], &[&str])] = &[
        (&[b"\xe7", b"\x8f\xa0"], &["", "珠", ""]),
        (&[b"\xe7", b"\x8f", b"\xa0"], &["", "", "珠", ""]),
        (&[b"A\xe7\x8f", b"\xa0B"], &["A", "珠B", ""]),
        (&[b"\xf0", b"\x9f\x98\x80"], &["", "😀", ""]),
        (&[b"\xf0\x9f", b"\x98\x80"], &["", "😀", ""]),
        (&[b"\xf0\x9f\x98", b"\x80"], &["", "😀", ""]),
        (&[b"A\xe7\x8f"], &["A", "\u{fffd}"]),
        (&[b"\xf0\x9f\x98"], &["", "\u{fffd}"]),
        (&[b"\xe7"], &["", "\u{fffd}"]),
        (&[b"\xe7", b"A"], &["", "\u{fffd}A", ""]),
        (&[b"\xe7\x8f", b"A"], &["", "\u{fffd}A", ""]),
        (&[b"\xf0\x9f\x98", b"A"], &["", "\u{fffd}A", ""]),
        (&[b"A\xffB"], &["A\u{fffd}B", ""]),
        (&[b"\xff\xfe"], &["\u{fffd}\u{fffd}", ""]),
        (&[b"\xc0\x80"], &["\u{fffd}\u{fffd}", ""]),
        (&[b"\xed\xa0\x80"], &["\u{fffd}\u{fffd}\u{fffd}", ""]),
        (&[b"\xe0\x80\xaf"], &["\u{fffd}\u{fffd}\u{fffd}", ""]),
        (&[b"\xf4\x90\x80\x80"], &["\u{fffd}\u{fffd}\u{fffd}\u{fffd}", ""]),
        (&[b"\xf0\x80", b"\x80\xaf"], &["\u{fffd}\u{fffd}", "\u{fffd}\u{fffd}", ""]),
        (&[b"\xf8\x88\x80\x80\x80"], &["\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}", ""]),
        (&[b"\x80", b"A"], &["\u{fffd}", "A", ""]),
        (&[b"\xef\xbb\xbfA"], &["\u{feff}A", ""]),
    ];

    #[test]
    fn text_in_pieces_reads_as_node_reads_it() {
        for (reads, expected) in ROWS {
            let mut utf8 = Utf8::default();
            let mut texts: Vec<String> =
                reads.iter().map(|r| utf8.push(r).into_owned()).collect();
            texts.push(utf8.end());
            assert_eq!(&texts, expected, "for {reads:x?}");
        }
    }

    #[test]
    fn a_peer_cannot_command_the_terminal() {
        let evil = "a\u{1b}[2J\u{7}\u{202e}\u{9b}\r\n\t'珠\\";
        assert_eq!(
            printable(evil),
            "a\\u{1b}[2J\\u{7}\\u{202e}\\u{9b}\n\t'珠\\"
        );
        assert_eq!(quote("a\u{1b}\r\n"), r#""a\u{1b}\r\n""#);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let quoted = quote(&"珠".repeat(5000));
        assert_eq!(quoted, format!("\"{}\" …", "珠".repeat(SHOWN)));
    }
}
