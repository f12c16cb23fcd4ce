//! The files of a repository, and what the rules ask of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use checks::Lab;
use toml::{Table, Value};

/// The text files below a folder, and the labs that have promises.
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
    pub(crate) labs: &'static [&'static Lab],
}

pub(crate) struct File {
    /// From the top, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text; of Rust, without comments and what stands in quotes.
    pub(crate) code: String,
}

impl Tree {
    /// Reads what is there, whether git knows of it or not.
    pub(crate) fn read(top: &Path, labs: &'static [&'static Lab]) -> Tree {
        let mut files = Vec::new();
        add_files(top, "", &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Tree { files, labs }
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    pub(crate) fn text(&self, path: &str) -> &str {
        self.file(path).map_or("", |file| &file.text)
    }

    /// The files below a place whose paths end so.
    pub(crate) fn files(&self, place: &str, end: &str) -> Vec<&File> {
        let files = self.files.iter();
        let files = files.filter(|file| is_below(&file.path, place));
        files.filter(|file| file.path.ends_with(end)).collect()
    }

    /// The manifests of the workspace's members. What lies deeper is a
    /// workspace of its own, for `cargo fuzz`.
    pub(crate) fn members(&self) -> Vec<&File> {
        let mut files = self.files("*/*", "/Cargo.toml");
        files.retain(|file| file.path.split('/').count() <= 3);
        files
    }

    /// The directories in `labs`.
    pub(crate) fn lab_names(&self) -> BTreeSet<&str> {
        let files = self.files("labs/*/*", "");
        let names = files.iter().map(|file| file.path.split('/').nth(1));
        names.flatten().collect()
    }
}

fn add_files(folder: &Path, path: &str, files: &mut Vec<File>) {
    // The last two hold what `cargo fuzz` has made.
    const NOT_OURS: &[&str] =
        &["target", ".git", "node_modules", "artifacts", "corpus"];

    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{path}{name}");
        let kind = entry.file_type().unwrap();
        if NOT_OURS.contains(&name.as_str()) {
            continue;
        }
        if kind.is_dir() {
            add_files(&entry.path(), &format!("{path}/"), files);
        }
        // A link is read where it leads to; what has a zero byte is no text.
        if kind.is_file()
            && let Ok(text) = String::from_utf8(fs::read(entry.path()).unwrap())
            && !text.contains('\0')
        {
            let is_rust = path.ends_with(".rs");
            let code = if is_rust { code(&text) } else { text.clone() };
            files.push(File { path, text, code });
        }
    }
}

/// Whether a path is that place or below it; `*` is any one name.
pub(crate) fn is_below(path: &str, place: &str) -> bool {
    let mut parts = path.split('/');
    place.split('/').all(|name| {
        let part = parts.next();
        part.is_some_and(|part| name == "*" || name == part)
    })
}

impl File {
    pub(crate) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The number of the line of a place in the text or in the code.
    pub(crate) fn line_at(&self, place: usize) -> usize {
        let before = self.code.bytes().take(place);
        before.filter(|byte| *byte == b'\n').count() + 1
    }

    /// The first line that begins with this word.
    pub(crate) fn line_of(&self, word: &str) -> usize {
        let has = |(_, line): &(usize, &str)| {
            let rest = line.trim_start().strip_prefix(word);
            rest.is_some_and(|it| !it.starts_with(|c| is_word(c) || c == '-'))
        };
        numbered(&self.text)
            .find(has)
            .map_or(1, |(number, _)| number)
    }

    pub(crate) fn table(&self) -> Table {
        let table = self.text.parse();
        table.unwrap_or_else(|error| panic!("{}: {error}", self.path))
    }
}

/// The lines with their numbers. A CR is left at the end, to be seen.
pub(crate) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.split_terminator('\n'))
}

pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) value: Value,
    pub(crate) is_for_tests: bool,
}

/// All dependencies of a manifest: those of single systems, and of the
/// workspace, as well.
pub(crate) fn dependencies(manifest: &Table) -> Vec<Dependency> {
    let tables = |key| manifest.get(key).and_then(Value::as_table);
    let targets = tables("target").into_iter().flat_map(Table::values);
    let tables = targets
        .filter_map(Value::as_table)
        .chain(tables("workspace"));
    let mut found = Vec::new();
    for table in tables.chain([manifest]) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let entries = table.get(kind).and_then(Value::as_table);
            for (name, value) in entries.into_iter().flatten() {
                found.push(Dependency {
                    name: name.clone(),
                    value: value.clone(),
                    is_for_tests: kind == "dev-dependencies",
                });
            }
        }
    }
    found
}

/// `{{#include path:anchor}}` in a chapter.
pub(crate) struct Include<'a> {
    pub(crate) chapter: &'a File,
    pub(crate) line: usize,
    /// Mostly `include`.
    pub(crate) word: &'a str,
    /// From the top.
    pub(crate) path: String,
    pub(crate) anchor: Option<&'a str>,
}

pub(crate) fn includes(tree: &Tree) -> Vec<Include<'_>> {
    let mut found = Vec::new();
    for chapter in tree.files("book", ".md") {
        for (start, _) in chapter.text.match_indices("{{#") {
            // `\{{#include` is how to write about it.
            if chapter.text[..start].ends_with('\\') {
                continue;
            }
            let inside = chapter.text[start + 3..].split("}}").next();
            let inside = inside.unwrap_or_default();
            let (word, target) = inside.split_once(' ').unwrap_or((inside, ""));
            let mut target = target.trim().splitn(2, ':');
            let path = target.next().unwrap_or_default();
            found.push(Include {
                chapter,
                line: chapter.line_at(start),
                word,
                path: join(chapter.folder(), path),
                anchor: target.next(),
            });
        }
    }
    found
}

/// `a/b` and `../c` is `a/c`.
fn join(folder: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in relative.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// `ANCHOR` or `ANCHOR_END`, and the name.
pub(crate) fn mark(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let comment = line.strip_prefix("// ").or(line.strip_prefix("# "))?;
    let (word, name) = comment.split_once(": ")?;
    let is_mark = word == "ANCHOR" || word == "ANCHOR_END";
    let is_name = name.chars().all(|c| is_word(c) || c == '-');
    (is_mark && is_name).then_some((word, name))
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_word(c)).filter(|word| !word.is_empty())
}

/// Where each function begins and ends; one without a body is left out.
pub(crate) fn functions(code: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (start, _) in code.match_indices("fn ") {
        if code[..start].ends_with(is_word) {
            continue;
        }
        let (mut round, mut curly) = (0, 0);
        for (at, c) in code[start..].char_indices() {
            match c {
                '(' | '[' => round += 1,
                ')' | ']' => round -= 1,
                '{' => curly += 1,
                '}' => curly -= 1,
                _ => {}
            }
            if curly == 0 && round == 0 && matches!(c, ';' | '}') {
                if c == '}' {
                    found.push((start, start + at + 1));
                }
                break;
            }
        }
    }
    found
}

/// Blanks comments and what stands in quotes, byte for byte.
fn code(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while !rest.is_empty() {
        let (length, is_code) = token(rest);
        let (token, after) = rest.split_at(length);
        rest = after;
        if is_code {
            code.push_str(token);
        } else {
            let blank = |byte| if byte == b'\n' { '\n' } else { ' ' };
            code.extend(token.bytes().map(blank));
        }
    }
    code
}

/// How long the first token is, and whether it is code.
fn token(rest: &str) -> (usize, bool) {
    let to = |end: &str, from: usize| {
        let found = rest[from..].find(end);
        found.map_or(rest.len(), |at| from + at + end.len())
    };
    let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    let after = rest[word..].trim_start_matches('#');
    let n_hashes = rest.len() - word - after.len();
    if ["r", "br", "cr"].contains(&&rest[..word]) && after.starts_with('"') {
        let end = format!("\"{}", "#".repeat(n_hashes));
        return (to(&end, word + n_hashes + 1), false);
    }
    if word > 0 {
        return (word, true);
    }
    let mut chars = rest.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some('/'), Some('/'), _) => (to("\n", 0), false),
        (Some('/'), Some('*'), _) => (to("*/", 2), false),
        (Some('"'), ..) => (quoted(rest, '"'), false),
        // Other than these it is a lifetime.
        (Some('\''), Some('\\'), _) | (Some('\''), _, Some('\'')) => {
            (quoted(rest, '\''), false)
        }
        (first, ..) => (first.map_or(0, char::len_utf8), true),
    }
}

/// How long it is from one quote to the other.
fn quoted(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !is_escaped {
            return at + 1;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    rest.len()
}

/// Every rule about code relies on it.
#[test]
fn comments_and_quotes_are_no_code() {
    for (source, expected) in [
        ("a // b\nc", "a     \nc"),
        ("/* a\nb */c", "    \n    c"),
        (r#"a("b\"c", d)"#, "a(      , d)"),
        ("r#\"a\"b\"#c", "        c"),
        (r#"br"\"c"#, "     c"),
        (r"'{'; '\''; 'a: &'a", "   ;     ; 'a: &'a"),
        ("r#fn 'é'", "r#fn     "),
    ] {
        assert_eq!(code(source), expected, "{source}");
    }
}
