//! Bytes shown to a person.

use std::fmt::Write;

/// How many bytes on either side of a difference are shown.
const AROUND: usize = 8;

/// `"hello\r\n"`, or the first bytes and the number of the rest.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 60;
    let text = bytes.escape_ascii();
    match bytes.get(MOST..) {
        Some(rest) if !rest.is_empty() => {
            let text = bytes[..MOST].escape_ascii();
            format!("{} bytes \"{text}…\"", bytes.len())
        }
        _ => format!("\"{text}\""),
    }
}

/// `"a line"`, or its first characters and the number of its bytes.
pub(crate) fn shown_line(line: &str) -> String {
    const MOST: usize = 200;
    match line.char_indices().nth(MOST) {
        Some((to, _)) => format!("{:?}… of {} bytes", &line[..to], line.len()),
        None => format!("{line:?}"),
    }
}

/// Where two byte strings first differ, as text and as hex with a mark; `None`
/// when they are equal.
///
/// ```text
/// expected "hello\r\n"  68 65 6c 6c 6f 0d 0a
/// received "hellp"      68 65 6c 6c 70
///                                   ^^ byte 4 is the first wrong one
/// ```
pub fn difference(expected: &[u8], received: &[u8]) -> Option<String> {
    // Comparing byte by byte takes long for megabytes, and mostly for nothing.
    if expected == received {
        return None;
    }
    let longest = expected.len().max(received.len());
    let wrong = (0..longest).find(|&i| expected.get(i) != received.get(i))?;
    let from = wrong.saturating_sub(AROUND);
    let window = |bytes: &[u8]| {
        let to = bytes.len().min(wrong + AROUND);
        let bytes = bytes.get(from..to).unwrap_or_default();
        let mut hex = String::new();
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(hex, " {byte:02x}");
        }
        (format!("\"{}\"", bytes.escape_ascii()), hex)
    };
    let (expected_text, expected_hex) = window(expected);
    let (received_text, received_hex) = window(received);
    let width = expected_text.len().max(received_text.len());
    let indent = "expected ".len() + width + 2 + 3 * (wrong - from);
    Some(format!(
        "expected {expected_text:width$} {expected_hex}\n\
         received {received_text:width$} {received_hex}\n\
         {:indent$}^^ byte {wrong} is the first wrong one",
        ""
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wrong_byte_is_marked() {
        let shown = difference(b"hello\r\n", b"hellp").unwrap();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], r#"expected "hello\r\n"  68 65 6c 6c 6f 0d 0a"#);
        assert_eq!(lines[1], r#"received "hellp"      68 65 6c 6c 70"#);
        let mark = lines[2].find("^^").unwrap();
        assert_eq!(&lines[1][mark..mark + 2], "70");
        assert!(lines[2].ends_with("byte 4 is the first wrong one"));
    }

    #[test]
    fn of_a_long_line_the_beginning_is_shown() {
        assert_eq!(shown_line("short"), r#""short""#);
        let shown = shown_line(&"ü".repeat(1_000));
        assert_eq!(shown.chars().filter(|&c| c == 'ü').count(), 200);
        assert!(shown.ends_with("… of 2000 bytes"), "{shown}");
    }

    #[test]
    fn a_missing_end_is_a_difference() {
        assert!(difference(b"ab", b"a").unwrap().contains("byte 1"));
        assert_eq!(difference(b"ab", b"ab"), None);
    }
}
