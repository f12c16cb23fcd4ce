//! What may be shown of what somebody said.

/// What somebody said, without what a terminal would obey. An escape sequence
/// moves the cursor or types for the user; a direction mark turns the line
/// round, and somebody else seems to have said it.
//
// NOTE: a line longer than the window is wide goes on in the next row. With
// spaces enough, something else seems to begin there; only a client that draws
// its own window could tell.
pub(crate) fn clean(line: &str) -> String {
    let clean = |character| match character {
        '\t' => ' ',
        _ if is_unseen(character) => char::REPLACEMENT_CHARACTER,
        _ => character,
    };
    line.chars().map(clean).collect()
}

/// Controls, and the format characters that no script needs: spaces of no
/// width, direction marks, line separators, tags. Not the joiners U+200C and
/// U+200D, which Persian and emoji are written with.
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'
            | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}
