//! The rules of this repository that a program can see, a test for each.
//!
//! A rule proves first that it sees what breaks it: `repo/proofs.txt` has small
//! repositories, and the offenders that the rule must find in each of them. Then
//! there must be none in ours. An offender is one line: the file, the line,
//! what is wrong, and the remedy.

#![allow(
    clippy::unwrap_used,
    reason = "these are tests; clippy.toml exempts only the functions marked so"
)]

use std::collections::HashSet;
use std::fmt::Display;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use checks::{LABS, Lab, Promise};
use toml::Value;

#[path = "repo/tree.rs"]
mod tree;

use tree::{
    Dependency, File, Include, Tree, dependencies, functions, includes,
    is_below, is_word, mark, numbered, words,
};

/// What may depend on what within the workspace. Whether we want a crate from
/// elsewhere is for `[workspace.dependencies]` to say.
const ARROWS: &[(&str, &[&str])] = &[
    ("labs/*", &["common"]),
    ("labs/telnet", &["telnet-codec"]),
    ("labs/chat-v1", &["telnet-codec"]),
    ("labs/chat-v2", &["telnet-codec"]),
    ("crates/book", &["checks", "common"]),
    ("crates/checks", &["lan"]),
    ("crates/common", &["text"]),
    ("crates/course", &["checks", "wire"]),
    ("crates/wire", &["lan"]),
    ("tests", &["book", "checks"]),
];

/// All that the tests of a lab use; `tokio` for its paused clock.
#[rustfmt::skip]
const FOR_TESTS_OF_LABS: &[&str] = &[
    "assert_cmd", "checks", "insta", "predicates", "proptest", "snapbox", "tempfile",
    "tokio",
];

/// The crates with `unsafe` code.
const UNSAFE: &[&str] = &["crates/checks"];

/// The chapters about no lab.
const OTHER_CHAPTERS: &[&str] = &[
    "SUMMARY.md",
    "chat.md",
    "checking.md",
    "datagrams.md",
    "debugging.md",
    "introduction.md",
    "life.md",
    "network.md",
    "streams.md",
    "using.md",
];

/// A lab is read to the end, in one go.
const LINES_OF_A_LAB: usize = 250;
const LINES_OF_A_FUNCTION: usize = 50;
const LINES_OF_A_HEADER: usize = 25;

/// What `common` does is on no lab's page. This is room for the log, Ctrl-C, the
/// story and one-line errors; whatever is more is a lesson.
const LINES_OF_COMMON: usize = 135;

/// What a lab must not say, and the remedy.
const NOT_IN_LABS: &[(&str, &str)] = &[
    ("print!", "it panics when stdout is closed; use `story!`"),
    ("println!", "it panics when stdout is closed; use `story!`"),
    (
        ".unwrap()",
        "return the error, with what failed and on what",
    ),
    (".expect(", "return the error, with what failed and on what"),
    (
        "process::exit",
        "return from `run`, so that all ends in order",
    ),
    (
        "unbounded",
        "give the queue a limit, and say what happens at it",
    ),
];

/// What a flag takes, and its names. Nobody connects where a datagram goes:
/// that is `--to` or `--group`. A `--path` is that of a Unix socket.
const FLAGS: &[(&str, &[&str])] = &[
    ("HOST:PORT", &["listen", "connect", "to", "group"]),
    ("PATH", &["file", "path"]),
];

/// Other names for the same.
#[rustfmt::skip]
const NO_FLAGS: &[&str] = &[
    "addr", "address", "bind", "filename", "host", "input", "output", "peer", "port",
    "remote", "server", "target",
];

// Packages.

/// Versions, the edition and the lints stand once, so that no two members
/// differ in them.
#[test]
fn every_member_inherits_from_the_workspace() {
    rule("every_member_inherits_from_the_workspace", |tree, found| {
        for file in tree.members() {
            let table = file.table();
            let mut must = |name: &str, value: Option<&Value>| {
                let workspace = value.and_then(|value| value.get("workspace"));
                if workspace != Some(&Value::Boolean(true)) {
                    let what = format!(
                        "`{name}` is not inherited: write `{name}.workspace = \
                         true`, and let the root Cargo.toml say what it is"
                    );
                    found.add(&file.path, file.line_of(name), what);
                }
            };
            for field in
                ["version", "edition", "rust-version", "license", "publish"]
            {
                must(field, table.get("package").and_then(|it| it.get(field)));
            }
            for Dependency { name, value, .. } in dependencies(&table) {
                must(&name, Some(&value));
            }
            must("lints", table.get("lints"));
        }
    });
}

/// A lab never depends on another lab, and the checks see a program only from
/// outside.
#[test]
fn dependencies_follow_the_arrows() {
    rule("dependencies_follow_the_arrows", |tree, found| {
        let name = |file: &&File| {
            let table = file.table();
            let package = table.get("package").and_then(|it| it.get("name"));
            let folder = file.folder().rsplit('/').next();
            package
                .and_then(Value::as_str)
                .or(folder)
                .map(str::to_owned)
        };
        let ours: HashSet<String> =
            tree.members().iter().filter_map(name).collect();
        for file in tree.members() {
            let from = file.folder();
            let arrows = ARROWS.iter().filter(|(it, _)| is_below(from, it));
            let arrows: Vec<&str> =
                arrows.flat_map(|(_, to)| *to).copied().collect();
            for Dependency {
                name, is_for_tests, ..
            } in dependencies(&file.table())
            {
                let is_for_tests = is_for_tests && from.starts_with("labs/");
                let (may, allowed) = if is_for_tests {
                    (false, FOR_TESTS_OF_LABS)
                } else {
                    (!ours.contains(&name), arrows.as_slice())
                };
                if !may && !allowed.contains(&name.as_str()) {
                    let whose = if is_for_tests { "the tests of " } else { "" };
                    let what = format!(
                        "{whose}{from} must not use `{name}`; there are \
                         [{}]",
                        allowed.join(", ")
                    );
                    found.add(&file.path, file.line_of(&name), what);
                }
            }
        }
    });
}

/// Otherwise the lesson of a lab could hide in `common`.
#[test]
fn common_has_no_socket_code() {
    rule("common_has_no_socket_code", |tree, found| {
        const WHAT: &str = "`common` has no socket code: write it in the labs";
        let is_net = |line: &str| {
            words(line).any(|word| word == "net" || word == "socket2")
        };
        let manifest = tree.files("crates/common", "/Cargo.toml");
        found.lines(&manifest, |line| {
            line.starts_with("socket2").then_some(WHAT)
        });
        let sources = tree.files("crates/common/src", ".rs");
        found.lines(&sources, |line| is_net(line).then_some(WHAT));
    });
}

/// The unwanted were tried: they panic, lose bytes, or do not heed tokio's
/// paused clock. And every learner waits for what `full` builds.
#[test]
fn no_unwanted_crates_and_no_full_tokio() {
    rule("no_unwanted_crates_and_no_full_tokio", |tree, found| {
        let mut manifests = tree.members();
        manifests.extend(tree.file("Cargo.toml"));
        for file in manifests {
            for Dependency { name, value, .. } in dependencies(&file.table()) {
                let package = value.get("package").and_then(Value::as_str);
                let package = package.unwrap_or(&name);
                // `telnet-codec` is ours.
                let is_ours = value.get("path").is_some()
                    || value.get("workspace").is_some();
                let is_unwanted = package.contains("telnet")
                    || ["governor", "strip-ansi-escapes"].contains(&package);
                if is_unwanted && !is_ours {
                    let what = format!("`{package}` is unwanted: do without");
                    found.add(&file.path, file.line_of(&name), what);
                }
                let features = value.get("features").and_then(Value::as_array);
                let full = &Value::from("full");
                if package == "tokio"
                    && features.is_some_and(|it| it.contains(full))
                {
                    let what = "tokio with `full`: name what is used";
                    found.add(&file.path, file.line_of(&name), what);
                }
            }
        }
    });
}

// Code.

/// Whoever reads a lab need not ask whether it is sound.
#[test]
fn unsafe_code_is_in_one_place_with_reasons() {
    rule("unsafe_code_is_in_one_place_with_reasons", |tree, found| {
        for file in tree.files("*", ".rs") {
            let may = UNSAFE.iter().any(|it| is_below(&file.path, it));
            for (number, line) in numbered(&file.code) {
                let has = |word| words(line).any(|it| it == word);
                let allows = has("unsafe_code") && !has("forbid");
                if !may && (allows || has("unsafe")) {
                    let places = UNSAFE.join(", ");
                    let what =
                        format!("do without `unsafe`; it is for {places}");
                    found.add(&file.path, number, what);
                } else if has("unsafe") && !is_justified(file, number) {
                    found.add(
                        &file.path,
                        number,
                        "say why above: `// SAFETY: …`",
                    );
                }
            }
        }
    });
}

fn is_justified(file: &File, number: usize) -> bool {
    let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
    let above = lines[..number - 1].iter().rev();
    above
        .take_while(|line| line.starts_with("//") || line.starts_with("#["))
        .any(|line| line.contains("SAFETY:"))
}

/// An exception without a reason is copied without a thought.
#[test]
fn every_allow_has_a_reason() {
    rule("every_allow_has_a_reason", |tree, found| {
        for file in tree.files("*", ".rs") {
            for word in ["[allow(", "[expect("] {
                for (start, _) in file.code.match_indices(word) {
                    let attribute = file.code[start..].split(")]").next();
                    if !attribute.is_some_and(|it| it.contains("reason =")) {
                        let what = "say why: `reason = \"…\"`";
                        found.add(&file.path, file.line_at(start), what);
                    }
                }
            }
        }
    });
}

/// A time that is long enough here is too short on a busy machine. And a test
/// that does not run proves nothing.
#[test]
fn tests_wait_for_things_and_all_run() {
    rule("tests_wait_for_things_and_all_run", |tree, found| {
        const UNFINISHED: &[&str] = &["#[ignore", "todo!", "unimplemented!"];
        for file in tree.files("*", ".rs") {
            let may_pause = file.path == "crates/checks/src/wait.rs";
            let is_test = file.path.split('/').any(|part| part == "tests");
            found.lines(&[file], |line| {
                let pauses = line.contains("thread::sleep") && !may_pause;
                if pauses || is_test && line.contains("sleep(") {
                    return Some(
                        "wait for the thing itself: `wait_for`".into(),
                    );
                }
                let word = UNFINISHED.iter().find(|it| line.contains(**it))?;
                Some(format!("`{word}`: finish it, or take it away"))
            });
        }
    });
}

/// `common` grows by one useful thing at a time. Clippy sees to it that tests
/// come last in a file.
#[test]
fn common_is_small() {
    rule("common_is_small", |tree, found| {
        let mut n_lines = 0;
        let sources = tree.files("crates/common/src", ".rs");
        for file in &sources {
            let code = file.code.split("#[cfg(test)]").next();
            let lines = code.unwrap_or_default().lines();
            n_lines += lines.filter(|line| !line.trim().is_empty()).count();
        }
        println!("crates/common/src has {n_lines} lines of code");
        if let Some(file) = sources.first()
            && n_lines > LINES_OF_COMMON
        {
            let what = format!(
                "{n_lines} lines of code in `common`, of at most \
                 {LINES_OF_COMMON}: move into the labs what they are about"
            );
            found.add(&file.path, 1, what);
        }
    });
}

// Book.

/// mdBook prints the rest of the file for an anchor that does not end, and
/// nobody misses one that no chapter shows.
#[test]
fn every_anchor_is_whole_and_in_the_book() {
    rule("every_anchor_is_whole_and_in_the_book", |tree, found| {
        let includes = includes(tree);
        let mut sources = tree.files("labs/*/src", ".rs");
        sources.extend(tree.files("crates/*/src", ".rs"));
        for file in sources {
            let mut begun = HashSet::new();
            for (number, line) in numbered(&file.text) {
                let mut tell =
                    |what: String| found.add(&file.path, number, what);
                let Some((word, name)) = mark(line) else {
                    if is_misspelt_mark(line) {
                        tell("write `// ANCHOR: name`, and no more".into());
                    }
                    continue;
                };
                if word == "ANCHOR_END" {
                    if !begun.contains(name) {
                        tell(format!("`{name}` ends before `ANCHOR: {name}`"));
                    }
                    continue;
                }
                if !begun.insert(name) {
                    tell(format!("`{name}` is there twice: rename one"));
                }
                let is_end = |line| mark(line) == Some(("ANCHOR_END", name));
                let after = file.text.lines().skip(number);
                if after.filter(|line| is_end(line)).count() != 1 {
                    tell(format!("add one `ANCHOR_END: {name}` after it"));
                }
                let shows = |it: &Include<'_>| {
                    it.path == file.path && it.anchor == Some(name)
                };
                if !includes.iter().any(shows) {
                    tell(format!(
                        "no chapter shows `{name}`: include it, or take the \
                         anchor away"
                    ));
                }
            }
        }
    });
}

fn is_misspelt_mark(line: &str) -> bool {
    let comment = line.trim().strip_prefix("//");
    comment.is_some_and(|comment| {
        !comment.starts_with(['/', '!']) && comment.contains("ANCHOR")
    })
}

/// mdBook shows nothing for an anchor or a file that is not there, and is
/// content.
#[test]
fn every_include_has_its_anchor() {
    rule("every_include_has_its_anchor", |tree, found| {
        for include in includes(tree) {
            let path = &include.path;
            let anchor = include.anchor.unwrap_or_default();
            let is_mark = |line| mark(line) == Some(("ANCHOR", anchor));
            let what = if include.word != "include" {
                format!("write `include`, not `{}`", include.word)
            } else if tree.file(path).is_none() {
                format!("there is no {path}: correct the path")
            } else if anchor.starts_with(|c: char| !c.is_alphabetic()) {
                "lines move, anchors stay: put `// ANCHOR: name` around the \
                 lines"
                    .into()
            } else if anchor.is_empty() && path.ends_with(".rs") {
                "name the anchor to show: `:name`".into()
            } else if !anchor.is_empty()
                && !tree.text(path).lines().any(is_mark)
            {
                format!("{path} has no anchor `{anchor}`: correct one of them")
            } else {
                continue;
            };
            found.add(&include.chapter.path, include.line, what);
        }
    });
}

/// The help line of an error sends its reader there.
#[test]
fn every_errno_has_its_section_in_the_book() {
    rule("every_errno_has_its_section_in_the_book", |tree, found| {
        const CHAPTER: &str = "book/en/debugging.md";
        let sections: Vec<&str> = tree.text(CHAPTER).lines().collect();
        for file in tree.files("crates/text/src", ".rs") {
            for (number, line) in numbered(&file.text) {
                let Some(row) = line.trim().strip_prefix("(libc::") else {
                    continue;
                };
                let name = row.split(',').next().unwrap_or_default();
                if !sections.contains(&format!("### {name}").as_str()) {
                    let what = format!("add a section {name} to {CHAPTER}");
                    found.add(&file.path, number, what);
                }
            }
        }
    });
}

/// A copy is wrong after the next change of the lab, and nothing tells.
#[test]
fn no_chapter_copies_the_code_of_a_lab() {
    rule("no_chapter_copies_the_code_of_a_lab", |tree, found| {
        const TOO_MANY: usize = 4;
        let mut of_labs = HashSet::new();
        for file in tree.files("labs/*/src", ".rs") {
            let lines = telling_lines(&file.text);
            of_labs.extend(lines.windows(TOO_MANY).map(<[&str]>::to_vec));
        }
        for file in tree.files("book", ".md") {
            for (start, _) in file.text.match_indices("```rust") {
                let block = file.text[start..].split("\n```").next();
                let lines = telling_lines(block.unwrap_or_default());
                if lines.windows(TOO_MANY).any(|it| of_labs.contains(it)) {
                    let what = "copied from a lab: include it by its anchor";
                    found.add(&file.path, file.line_at(start), what);
                }
            }
        }
    });
}

/// The lines that are not of brackets alone: those are alike everywhere.
fn telling_lines(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| line.contains(char::is_alphabetic))
        .collect()
}

/// Whoever runs all promises meets them in the order in which the book teaches
/// them.
#[test]
fn labs_are_in_the_order_of_the_book() {
    rule("labs_are_in_the_order_of_the_book", |tree, found| {
        let summary = tree.text("book/en/SUMMARY.md");
        let place = |lab: &&str| summary.find(&format!("({lab}.md)"));
        let mut names: Vec<&str> = tree.labs.iter().map(|l| l.name).collect();
        names.retain(|lab| place(lab).is_some());
        if !names.is_sorted_by_key(place) {
            let of_labs = names.join(", ");
            names.sort_by_key(place);
            let what = format!(
                "the order is {}; make it so in checks::LABS, which has \
                 {of_labs}",
                names.join(", ")
            );
            found.add("book/en/SUMMARY.md", 1, what);
        }
    });
}

// Labs.

/// Half a lab is none.
#[test]
fn every_lab_has_all_its_parts() {
    rule("every_lab_has_all_its_parts", |tree, found| {
        for lab in tree.lab_names() {
            let path = |end: &str| format!("labs/{lab}/{end}");
            let is_there = |path: &str| tree.file(path).is_some();
            let has = |path: &str, text: &str| tree.text(path).contains(text);

            let manifest = path("Cargo.toml");
            let is_named = tree.file(&manifest).is_some_and(|file| {
                let table = file.table();
                let name = table.get("package").and_then(|it| it.get("name"));
                name.and_then(Value::as_str) == Some(lab)
            });
            let test = path(&format!("tests/{lab}.rs"));
            let module = lab.replace('-', "_");
            let call =
                format!("checks::{module}!(env!(\"CARGO_BIN_EXE_{lab}\"))");
            let chapter = format!("book/en/{lab}.md");
            let is_row = |line: &str| {
                line.starts_with('|')
                    && linked_labs(line).any(|it| it == lab)
                    && line.contains(&format!("{chapter})"))
            };
            let has_row = tree.text("README.md").lines().any(is_row);
            let is_listed = tree.labs.iter().any(|it| it.name == lab);

            let mut must = |holds: bool, path: &str, what: &str| {
                if !holds {
                    found.add(path, 1, format_args!("{lab} needs {what}"));
                }
            };
            must(is_named, &manifest, "a manifest with its name");
            let main = path("src/main.rs");
            must(is_there(&main), &main, "its program");
            let is_tested = squeeze(tree.text(&test)).contains(&call);
            must(is_tested, &test, &format!("its tests: write `{call};`"));
            let mutants = path("mutants.toml");
            must(is_there(&mutants), &mutants, "mutants that break promises");
            must(is_there(&chapter), &chapter, "its chapter");
            let summary = "book/en/SUMMARY.md";
            let entry = format!("({lab}.md)");
            let what = format!("an entry: add `- [{lab}]{entry}`");
            must(has(summary, &entry), summary, &what);
            let what =
                format!("a row that links to labs/{lab} and {chapter}: add it");
            must(has_row, "README.md", &what);
            must(is_listed, LIST, "its promises in LABS: add them");
        }
    });
}

/// Where the labs are listed for all who judge programs.
const LIST: &str = "crates/checks/src/lib.rs";

/// What is left of a lab that is gone leads nowhere.
#[test]
fn no_part_is_without_its_lab() {
    rule("no_part_is_without_its_lab", |tree, found| {
        let labs = tree.lab_names();
        for lab in tree.labs {
            if !labs.contains(lab.name) {
                let name = lab.name;
                let what = format!("LABS has {name}: there is no labs/{name}");
                found.add(LIST, 1, what);
            }
        }
        for (number, line) in numbered(tree.text("README.md")) {
            for lab in linked_labs(line).filter(|lab| !labs.contains(lab)) {
                let what = format!("there is no labs/{lab}: correct the link");
                found.add("README.md", number, what);
            }
        }
        for file in tree.files("book", ".md") {
            let name = file.name();
            let lab = name.trim_end_matches(".md");
            if !labs.contains(lab) && !OTHER_CHAPTERS.contains(&name) {
                let what = format!(
                    "there is no labs/{lab}: if it is about no lab, list it in \
                     OTHER_CHAPTERS of tests/repo.rs"
                );
                found.add(&file.path, 1, what);
            }
        }
    });
}

/// The labs to which a line of Markdown links.
fn linked_labs(line: &str) -> impl Iterator<Item = &str> {
    let links = line.split("(labs/").skip(1);
    links.filter_map(|it| it.split(|c| !is_word(c) && c != '-').next())
}

/// The code is a page of the book.
#[test]
fn labs_and_their_functions_are_short() {
    rule("labs_and_their_functions_are_short", |tree, found| {
        for file in tree.files("labs", ".rs") {
            let n_lines = file.text.lines().count();
            if n_lines > LINES_OF_A_LAB {
                let what = format!(
                    "{n_lines} lines, of at most {LINES_OF_A_LAB}: move a part \
                     to a file of its own"
                );
                found.add(&file.path, n_lines, what);
            }
            for (start, end) in functions(&file.code) {
                let function = &file.code[start..end];
                let n_lines = function.lines().count();
                if n_lines > LINES_OF_A_FUNCTION {
                    let what = format!(
                        "`{}` has {n_lines} lines, of at most \
                         {LINES_OF_A_FUNCTION}: give a part of it a name",
                        words(function).nth(1).unwrap_or_default()
                    );
                    found.add(&file.path, file.line_at(start), what);
                }
            }
        }
    });
}

/// All labs are built alike, so that what differs is the lesson.
#[test]
fn every_lab_reads_in_the_same_order() {
    rule("every_lab_reads_in_the_same_order", |tree, found| {
        for file in tree.files("labs/*/src", "/main.rs") {
            let mut must = |holds: bool, line: usize, what: &str| {
                if !holds {
                    found.add(&file.path, line, what);
                }
            };
            let lines = file.text.lines();
            let header: Vec<&str> =
                lines.map_while(|line| line.strip_prefix("//!")).collect();
            let has = |start: &str| {
                header
                    .iter()
                    .any(|line| line.trim_start().starts_with(start))
            };
            let is_short = (1..=LINES_OF_A_HEADER).contains(&header.len());
            let what = format!("on top, 1 to {LINES_OF_A_HEADER} lines `//!`");
            must(is_short, 1, &what);
            must(has("| Node"), 1, "add a table `| Node | here |` on top");
            must(has("terminal 1"), 1, "tell on top what `terminal 1` runs");
            // One line may tell it for many: `terminals 2-4`.
            let is_told = has("terminal 2") || has("terminals 2");
            must(is_told, 1, "tell on top what `terminal 2` runs");

            let text = squeeze(&file.text);
            let thread = "#[tokio::main(flavor=\"current_thread\")]";
            let line = file.line_of("#[tokio::main");
            let what =
                "one thread: `#[tokio::main(flavor = \"current_thread\")]`";
            must(text.contains(thread), line, what);
            let example = "#[command(after_help=\"Example:";
            let line = file.line_of("#[command(");
            let what = "add `#[command(after_help = \"Example: …\")]`";
            must(text.contains(example), line, what);

            let items = ["struct Args", "fn main(", "fn run("];
            let places = items.map(|item| file.code.find(item));
            let last = places[2].map_or(1, |place| file.line_at(place));
            let is_sorted =
                places.iter().all(Option::is_some) && places.is_sorted();
            let what = "have `Args`, then `main`, then `run`";
            must(is_sorted, last, what);
        }
    });
}

/// A lab that panics in front of a class teaches the wrong thing, and so does a
/// queue without a limit.
#[test]
fn labs_do_not_panic_exit_or_hoard() {
    rule("labs_do_not_panic_exit_or_hoard", |tree, found| {
        found.lines(&tree.files("labs/*/src", ".rs"), |line| {
            let faults = NOT_IN_LABS.iter();
            let mut faults = faults.filter(|(word, _)| line.contains(word));
            let (word, remedy) = faults.next()?;
            Some(format!("`{word}`: {remedy}"))
        });
    });
}

/// What is learnt in one lab holds in the next.
#[test]
fn flags_have_the_same_names_everywhere() {
    rule("flags_have_the_same_names_everywhere", |tree, found| {
        for file in tree.files("labs/*/src", ".rs") {
            // What stands above a field, from its first `#[arg(`.
            let mut above = String::new();
            for (number, line) in numbered(&file.text) {
                let line = line.trim();
                if line.starts_with("#[arg(") || !above.is_empty() {
                    above.push_str(line);
                }
                let line = line.trim_start_matches("pub ");
                let Some((name, _)) = line.split_once(": ") else {
                    continue;
                };
                if above.is_empty() || !name.chars().all(is_word) {
                    continue;
                }
                if NO_FLAGS.contains(&name) {
                    let what = format!("`--{name}`: call it as other labs do");
                    found.add(&file.path, number, what);
                }
                for (value, names) in FLAGS {
                    let takes = format!("value_name = \"{value}\"");
                    if above.contains(&takes) && !names.contains(&name) {
                        let names = names.join(" or --");
                        let what = format!(
                            "`--{name}` takes a {value}: call it --{names}"
                        );
                        found.add(&file.path, number, what);
                    }
                }
                above.clear();
            }
        }
    });
}

/// A group is at no place: on which interface it is joined, another flag says.
/// But it must not be somebody else's (RFC 2365).
fn is_private_group(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 239)
}

/// Nobody in the next room reaches a lab whose user did not ask for it.
#[test]
fn labs_use_loopback_by_default() {
    rule("labs_use_loopback_by_default", |tree, found| {
        for file in tree.files("labs/*/src", ".rs") {
            for (number, line) in numbered(&file.text) {
                let default = line.split("default_value = \"").nth(1);
                let value = default.and_then(|it| it.split('"').next());
                let address = value.and_then(|it| it.rsplit_once(':'));
                let Some((host, port)) = address else {
                    continue;
                };
                let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
                let is_ours = ip.map_or(host == "localhost", |ip| {
                    ip.is_loopback() || is_private_group(ip)
                });
                if port.parse::<u16>().is_ok() && !is_ours {
                    let what = format!("`{host}`: take 127.0.0.1 or [::1]");
                    found.add(&file.path, number, what);
                }
            }
        }
    });
}

// Promises.

/// What CI skips it does not prove: an exception has a reason, and goes when
/// its check does.
#[test]
fn what_may_be_skipped_has_a_reason() {
    rule("what_may_be_skipped_has_a_reason", |tree, found| {
        let promises = tree.labs.iter().flat_map(|lab| lab.promises);
        let mut names: HashSet<&str> = promises.map(|it| it.id).collect();
        // The tests of a whole file skip themselves, by a name of their own.
        for file in tree.files("tests", ".rs") {
            let calls = file.text.split("checks::skip(\"").skip(1);
            names.extend(calls.filter_map(|call| call.split('"').next()));
        }
        found.lines(&tree.files(".ci", "/may-be-skipped.txt"), |line| {
            if line.is_empty() || line.starts_with('#') {
                return None;
            }
            match line.split_once(": ") {
                Some((id, _)) if !names.contains(id) => {
                    Some(format!("`{id}` is no check: take the line away"))
                }
                Some((_, reason)) if !reason.trim().is_empty() => None,
                _ => Some("write the name, `: ` and the reason".into()),
            }
        });
    });
}

/// A promise is known by its name in chapters, in mutants and in the output of
/// tests.
#[test]
fn promises_are_named_as_their_checks() {
    rule("promises_are_named_as_their_checks", |tree, found| {
        for file in tree.files("crates/checks/src/labs", ".rs") {
            for (line, check, name) in declarations(file) {
                if check != name.replace('-', "_") {
                    let what = format!(
                        "`{check}` checks `{name}`: give both the same name"
                    );
                    found.add(&file.path, line, what);
                }
            }
        }
    });
}

/// A name must do for a file and a link, and what a promise says stands in the
/// book.
#[test]
fn promises_have_ids_and_sentences() {
    rule("promises_have_ids_and_sentences", |tree, found| {
        let mut ids = HashSet::new();
        for lab in tree.labs {
            for promise in lab.promises {
                let (path, line) = declared(tree, lab, promise);
                let mut must = |holds: bool, what: &str| {
                    if !holds {
                        let what = format!("{}: {what}", promise.id);
                        found.add(&path, line, what);
                    }
                };
                let name = promise.id.strip_prefix(lab.name);
                let name = name.and_then(|it| it.strip_prefix('/'));
                let is_good = name.is_some_and(is_kebab_case);
                must(is_good, "write the id as LAB/SMALL-LETTERS");
                must(ids.insert(promise.id), "this id is taken: rename one");
                must(is_sentence(promise.title), "make the title a sentence.");
                must(is_sentence(promise.why), "make the why a sentence.");
            }
        }
    });
}

/// Where a promise is declared; the lab itself, when many labs share it.
fn declared(tree: &Tree, lab: &Lab, promise: &Promise) -> (String, usize) {
    let module = lab.name.replace('-', "_");
    let path = format!("crates/checks/src/labs/{module}.rs");
    let declarations = tree.file(&path).map(declarations).unwrap_or_default();
    let name = promise.name();
    let found = declarations.iter().find(|(_, _, it)| *it == name);
    let line = found.map_or(1, |(line, _, _)| *line);
    (path, line)
}

/// The line, check and name of each `check = "name":` in a `lab!`.
fn declarations(file: &File) -> Vec<(usize, &str, &str)> {
    let ends = file.text.match_indices("\":").map(|(end, _)| end);
    let declaration = |end: usize| {
        let (before, name) = file.text[..end].rsplit_once('"')?;
        let line = file.line_at(before.len());
        let before = before.trim_end().strip_suffix('=')?;
        Some((line, words(before).last()?, name))
    };
    ends.filter_map(declaration).collect()
}

fn is_kebab_case(name: &str) -> bool {
    let is_part = |part: &str| {
        let is_good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        !part.is_empty() && part.chars().all(is_good)
    };
    name.split('-').all(is_part)
}

fn is_sentence(text: &str) -> bool {
    // Names that begin small.
    let is_name = ["nc ", "telnet ", "tokio "]
        .iter()
        .any(|it| text.starts_with(it));
    text.ends_with('.') && (is_name || !text.starts_with(char::is_lowercase))
}

// Text.

/// The repository speaks of the course, not of the machine on which it was
/// written.
#[test]
fn no_path_is_of_one_machine() {
    rule("no_path_is_of_one_machine", |tree, found| {
        const FOLDERS: &[&str] = &["home", "root", "Users", "work"];
        for file in &tree.files {
            for (number, line) in numbered(&file.text) {
                // `a/home/` is elsewhere, and so is `https://a.b/home/`.
                let is_top = |at: usize| {
                    let is_more = |c| is_word(c) || "-.~".contains(c);
                    !line[..at].ends_with(is_more)
                };
                let has = |folder: &&&str| {
                    let path = format!("/{folder}/");
                    line.match_indices(&path).any(|(at, _)| is_top(at))
                };
                if let Some(folder) = FOLDERS.iter().find(has) {
                    let what = format!(
                        "a path of one machine, in {folder}: make it relative"
                    );
                    found.add(&file.path, number, what);
                }
            }
        }
    });
}

/// What an editor changes by the way hides what its user has changed.
#[test]
fn text_is_tidy() {
    rule("text_is_tidy", |tree, found| {
        for file in &tree.files {
            for (number, line) in numbered(&file.text) {
                if line.ends_with('\r') {
                    found.add(&file.path, number, "end the line with LF alone");
                } else if line.ends_with(char::is_whitespace) {
                    let what = "take away the whitespace at the end";
                    found.add(&file.path, number, what);
                }
            }
            let text = file.text.as_str();
            if !text.is_empty() && !text.ends_with('\n')
                || text.ends_with("\n\n")
            {
                let last = text.lines().count();
                found.add(&file.path, last, "end the file with one line end");
            }
        }
    });
}

/// Two files stand side by side on a screen.
#[test]
fn lines_are_short() {
    rule("lines_are_short", |tree, found| {
        const COLUMNS: usize = 100;
        for file in tree.files("*", ".rs") {
            let mut is_table = false;
            for (number, line) in numbered(&file.text) {
                is_table |= line.trim() == "#[rustfmt::skip]";
                is_table &= !line.trim().is_empty();
                let n_columns = line.chars().count();
                let is_url = line.contains("://");
                if n_columns > COLUMNS && !is_table && !is_url {
                    let what = format!("{n_columns} columns: break the line");
                    found.add(&file.path, number, what);
                }
            }
        }
    });
}

// The proof.

/// What a rule has found.
struct Found(Vec<String>);

impl Found {
    fn add(&mut self, path: &str, line: usize, what: impl Display) {
        self.0.push(format!("{path}:{line}: {what}"));
    }

    /// Adds what `fault` says of each line of code.
    fn lines<T: Display>(
        &mut self,
        files: &[&File],
        fault: impl Fn(&str) -> Option<T>,
    ) {
        for file in files {
            for (number, line) in numbered(&file.code) {
                if let Some(what) = fault(line) {
                    self.add(&file.path, number, what);
                }
            }
        }
    }
}

/// Has a rule find its offenders in the proofs, and none in the repository.
fn rule(name: &str, find: impl Fn(&Tree, &mut Found)) {
    let find = |tree: &Tree| {
        let mut found = Found(Vec::new());
        find(tree, &mut found);
        found.0
    };
    let proofs = proofs(name);
    assert!(!proofs.is_empty(), "nothing proves that {name} can fail");
    for (tree, expected) in proofs {
        assert_eq!(find(&tree), expected, "{name} does not see what it must");
    }
    let offenders = find(&Tree::read(tests::root(), LABS));
    let list = offenders.join("\n");
    assert!(
        offenders.is_empty(),
        "{} offenders\n{list}",
        offenders.len()
    );
}

/// The labs of the proofs.
const PROOF_LABS: &[&Lab] = &[&ECHO, &ODD];

const ECHO: Lab = lab(
    "echo",
    &[promise("echo/is-up", "`It` is up.", "It matters.")],
);

const ODD: Lab = lab(
    "odd",
    &[
        promise("odd/is-up", "It is up", "it matters."),
        promise("odd/is-up", "It is up.", "It matters."),
        promise("echo/Is_up", "It is up.", "It matters."),
    ],
);

const fn lab(name: &'static str, promises: &'static [Promise]) -> Lab {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080);
    Lab {
        name,
        default_address: SocketAddr::V4(address),
        flags_for_many: &[],
        promises,
    }
}

const fn promise(
    id: &'static str,
    title: &'static str,
    why: &'static str,
) -> Promise {
    Promise {
        id,
        title,
        why,
        check: |_| Ok(()),
    }
}

/// The trees that prove a rule, each with its offenders.
fn proofs(name: &str) -> Vec<(Tree, Vec<String>)> {
    let all = include_str!("repo/proofs.txt");
    let of_rule = all.split("\n==== ").skip(1).filter_map(|proof| {
        let (title, files) = proof.split_once('\n')?;
        (title == name).then_some(files)
    });
    of_rule.map(read_proof).collect()
}

fn read_proof(proof: &str) -> (Tree, Vec<String>) {
    let top = tempfile::tempdir().unwrap();
    let mut offenders = Vec::new();
    for file in format!("\n{proof}").split("\n---- ").skip(1) {
        let (path, text) = file.split_once('\n').unwrap_or((file, ""));
        if path == "offenders" {
            let lines = text.lines().filter(|line| !line.is_empty());
            offenders.extend(lines.map(str::to_owned));
            continue;
        }
        let path = top.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.split('\n').map(read_line).collect::<String>())
            .unwrap();
    }
    (Tree::read(top.path(), PROOF_LABS), offenders)
}

/// A line of a proof; its head tells what the signs mean.
fn read_line(line: &str) -> String {
    let line = line.replace('␠', " ").replace('␍', "\r").replace('␡', "");
    if let Some(line) = line.strip_suffix('␃') {
        return line.to_owned();
    }
    let times = line.strip_prefix('⟳').and_then(|it| it.split_once(' '));
    match times {
        Some((times, line)) => {
            format!("{line}\n").repeat(times.parse().unwrap())
        }
        None => line + "\n",
    }
}

/// The text without spaces and line ends.
fn squeeze(text: &str) -> String {
    text.split_whitespace().collect()
}
