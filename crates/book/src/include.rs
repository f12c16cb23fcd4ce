//! `{{#include path:anchor}}`: code by the name of its anchor.
//!
//! mdBook shows an empty block for a misspelt anchor, the rest of the file for
//! one without an end, and keeps the indentation of the function around it. So
//! we include ourselves, and what is wrong is an error.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::text;

/// The path and anchor of a line that is an include directive.
fn directive(line: &str) -> Option<&str> {
    line.trim()
        .strip_prefix("{{#include")?
        .strip_suffix("}}")
        .map(str::trim)
}

/// The code that a line with an include names, as Markdown: a listing with a
/// caption. `folder` is that of the chapter, to which the path is relative.
pub(crate) fn listing(
    repository: &Path,
    folder: &Path,
    info: &str,
    line: &str,
) -> Result<String> {
    let target = directive(line).with_context(|| {
        format!("`{line}` is no `{{{{#include PATH:NAME}}}}`")
    })?;
    let (path, anchor) = match target.split_once(':') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (target, None),
    };
    let file = folder.join(path);
    ensure!(
        file.is_file(),
        "cannot include {path}: there is no such file"
    );
    let file = file
        .canonicalize()
        .with_context(|| format!("cannot include {path}"))?;
    let Ok(caption) = file.strip_prefix(repository) else {
        bail!("cannot include {path}: it is outside the repository");
    };
    let source = fs::read_to_string(&file)
        .with_context(|| format!("cannot include {path}"))?;

    let lines = match anchor {
        Some(anchor) => anchored(&source, anchor)
            .with_context(|| format!("cannot include {target}"))?,
        None if path.ends_with(".rs") => {
            bail!("cannot include all of {path}: name an anchor, {path}:NAME")
        }
        None => source.lines().collect(),
    };
    let caption = caption.to_string_lossy();
    Ok(text::listing(&caption, info, &text::dedent(&lines)))
}

/// The lines between `ANCHOR: name` and `ANCHOR_END: name`, without those that
/// mark other anchors.
fn anchored<'a>(source: &'a str, name: &str) -> Result<Vec<&'a str>> {
    let is_number = |c: char| c.is_ascii_digit() || c == ':';
    ensure!(
        !name.starts_with(is_number) && !name.is_empty(),
        "lines move, anchors stay; write `// ANCHOR: NAME` around the lines"
    );
    let begin = only_line(source, "ANCHOR:", name)?;
    let end = only_line(source, "ANCHOR_END:", name)?;
    ensure!(
        begin < end,
        "`ANCHOR_END: {name}` stands before `ANCHOR: {name}`"
    );

    let between = source.lines().take(end).skip(begin + 1);
    let lines: Vec<&str> =
        between.filter(|line| mark(line).is_none()).collect();
    ensure!(!lines.is_empty(), "nothing is between the marks of {name}");
    Ok(lines)
}

fn only_line(source: &str, word: &str, name: &str) -> Result<usize> {
    let mut found = source
        .lines()
        .enumerate()
        .filter(|(_, line)| mark(line) == Some((word, name)))
        .map(|(number, _)| number);
    match (found.next(), found.next()) {
        (Some(number), None) => Ok(number),
        (Some(_), Some(_)) => bail!("`{word} {name}` stands there twice"),
        (None, _) => bail!("`{word} {name}` is missing there"),
    }
}

/// The word and the name, where a line marks the begin or end of an anchor.
pub(crate) fn mark(line: &str) -> Option<(&'static str, &str)> {
    ["ANCHOR:", "ANCHOR_END:"].into_iter().find_map(|word| {
        let (_, name) = line.split_once(word)?;
        Some((word, name.split_whitespace().next()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
        mod x {\n    // ANCHOR: outer\n    fn f() {\n        // ANCHOR: inner\n\
        \x20       g();\n        // ANCHOR_END: inner\n    }\n\
        \x20   // ANCHOR_END: outer\n}\n# ANCHOR: open\n# ANCHOR: twice\n\
        # ANCHOR_END: twice\n# ANCHOR: twice\n# ANCHOR_END: back\n# ANCHOR: back\n\
        # ANCHOR: bare\n# ANCHOR_END: bare\n";

    fn error(name: &str) -> String {
        anchored(SOURCE, name).unwrap_err().to_string()
    }

    #[test]
    fn an_anchor_gives_its_lines_without_the_marks_of_others() {
        let lines = anchored(SOURCE, "outer").unwrap();
        assert_eq!(lines, ["    fn f() {", "        g();", "    }"]);
        assert_eq!(anchored(SOURCE, "inner").unwrap(), ["        g();"]);
    }

    #[test]
    fn what_is_not_a_whole_anchor_is_an_error() {
        assert_eq!(error("out"), "`ANCHOR: out` is missing there");
        assert_eq!(error("open"), "`ANCHOR_END: open` is missing there");
        assert_eq!(error("twice"), "`ANCHOR: twice` stands there twice");
        assert!(error("back").contains("stands before"));
        assert!(error("bare").contains("nothing is between"));
    }

    #[test]
    fn line_numbers_are_an_error() {
        for name in ["3", "3:7", ":7", "10:", ""] {
            assert!(error(name).starts_with("lines move"), "{name}");
        }
    }

    #[test]
    fn a_directive_is_known_by_its_braces() {
        assert_eq!(directive("  {{#include a.rs:b}}"), Some("a.rs:b"));
        assert_eq!(directive("{{#include  a.js }} "), Some("a.js"));
        assert_eq!(directive("see {{#include a}}"), None);
    }
}
