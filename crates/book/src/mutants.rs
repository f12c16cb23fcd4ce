//! Deliberately wrong versions of a lab: `labs/<lab>/mutants.toml`.
//!
//! ```toml
//! [[mutant]]
//! name = "waits-for-each-client"
//! why = "A server that waits for one client keeps all others waiting."
//! find = '''
//!                 connections.spawn(talk(socket, peer, stop.clone()));
//! '''
//! put = '''
//!                 talk(socket, peer, stop.clone()).await;
//! '''
//! fails = ["serves-while-idle"]
//! ```
//!
//! A block named `mutant` in a chapter shows one as an experiment: what to
//! change, what to run, and which promises are then broken.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::include;
use crate::promises::{find_lab, find_promise};
use crate::text::{self, escape, sentence};

/// A change to a lab that breaks some of its promises.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// What the wrong lab does, `waits-for-each-client`.
    pub name: String,
    /// What is to be learnt from it, one sentence.
    pub why: String,
    /// The file to change, relative to the lab.
    #[serde(default = "main_file")]
    pub file: String,
    /// The text to change; the file has it exactly once.
    pub find: String,
    /// What to put in its place.
    pub put: String,
    /// The promises that are then broken, without the name of the lab.
    pub fails: Vec<String>,
}

/// How many lines a diff shows before and after the change.
const CONTEXT: usize = 2;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MutantsFile {
    mutant: Vec<Mutant>,
}

fn main_file() -> String {
    "src/main.rs".to_owned()
}

impl Mutant {
    /// The source with the change made. An error unless `find` stands in it
    /// exactly once.
    pub fn apply(&self, source: &str) -> Result<String> {
        match source.matches(&self.find).count() {
            1 => Ok(source.replacen(&self.find, &self.put, 1)),
            0 => bail!("{} does not have the text that it changes", self.file),
            n => bail!("{} has the text that it changes {n} times", self.file),
        }
    }
}

/// Reads a `mutants.toml`.
pub fn load(path: &Path) -> Result<Vec<Mutant>> {
    let source = fs::read_to_string(path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    parse(&source).with_context(|| format!("{}", path.display()))
}

fn parse(source: &str) -> Result<Vec<Mutant>> {
    let MutantsFile { mutant: mutants } = toml::from_str(source)?;
    let mut names = HashSet::new();
    for Mutant {
        name,
        find,
        put,
        fails,
        ..
    } in &mutants
    {
        ensure!(names.insert(name), "two mutants are called `{name}`");
        ensure!(
            !find.trim().is_empty(),
            "`{name}` changes nothing: no `find`"
        );
        ensure!(find != put, "`{name}` changes nothing: `put` is `find`");
        ensure!(!fails.is_empty(), "`{name}` breaks no promise: no `fails`");
    }
    Ok(mutants)
}

/// The experiment that `id`, `lab/name`, names, as Markdown.
pub(crate) fn markdown(repository: &Path, id: &str) -> Result<String> {
    let Some((lab_name, name)) = id.split_once('/') else {
        bail!("`{id}` is no mutant; write LAB/NAME");
    };
    let lab = find_lab(lab_name)?;
    let folder = Path::new("labs").join(lab_name);
    let mutants = load(&repository.join(&folder).join("mutants.toml"))?;
    let Some(mutant) = mutants.iter().find(|mutant| mutant.name == name) else {
        bail!(
            "{} has no mutant `{name}`",
            folder.join("mutants.toml").display()
        );
    };
    let file = folder.join(&mutant.file);
    let source = fs::read_to_string(repository.join(&file))
        .with_context(|| format!("cannot read {}", file.display()))?;
    let changed = mutant
        .apply(&source)
        .with_context(|| format!("mutant `{id}`"))?;

    let mut fails = String::new();
    for name in &mutant.fails {
        let promise = find_promise(lab, name)
            .with_context(|| format!("mutant `{id}`"))?;
        fails.push_str(&format!(
            "<li><code>{}</code> - {}</li>\n",
            escape(promise.id),
            sentence(promise.title)
        ));
    }
    let diff = diff(&source, &changed);
    let listing = text::listing(&file.to_string_lossy(), "diff", &diff);
    let why = sentence(&mutant.why);
    let name = escape(name);
    Ok(format!(
        "<section class=\"experiment\" aria-label=\"Experiment: {name}\">\n\
         <p>{why}</p>\n\n{listing}\n<p>Prove it:</p>\n\n\
         ```text\ncargo test -p {lab_name}\n```\n\n\
         <p>These promises are then broken:</p>\n<ul>\n{fails}</ul>\n</section>\n"
    ))
}

/// The change in whole lines, with a few around it that stay.
fn diff(source: &str, changed: &str) -> Vec<String> {
    let is_code = |line: &&str| include::mark(line).is_none();
    let old: Vec<&str> = source.lines().filter(is_code).collect();
    let new: Vec<&str> = changed.lines().filter(is_code).collect();
    let shorter = old.len().min(new.len());
    let before = (0..shorter).take_while(|&i| old[i] == new[i]).count();
    let after = (1..=shorter - before)
        .take_while(|&i| old[old.len() - i] == new[new.len() - i])
        .count();

    let old_end = old.len() - after;
    let parts = [
        (' ', &old[before.saturating_sub(CONTEXT)..before]),
        ('-', &old[before..old_end]),
        ('+', &new[before..new.len() - after]),
        (' ', &old[old_end..old_end + after.min(CONTEXT)]),
    ];
    let shown = text::dedent(&parts.map(|(_, lines)| lines).concat());
    let marks = parts
        .iter()
        .flat_map(|(mark, lines)| vec![mark; lines.len()]);
    let mut lines: Vec<String> = marks
        .zip(shown)
        .map(|(mark, line)| format!("{mark}{line}").trim_end().to_owned())
        .skip_while(String::is_empty)
        .collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "
        [[mutant]]
        name = 'deaf'
        why = 'It does not listen.'
        find = '''
    listen();
'''
        put = ''
        fails = ['accepts']

        [[mutant]]
        name = 'slow'
        why = 'It sleeps.'
        file = 'src/other.rs'
        find = 'go'
        put = 'sleep'
        fails = ['is-fast']
    ";

    #[test]
    fn mutants_are_read_and_the_file_is_the_main_file() {
        let mutants = parse(TWO).unwrap();
        assert_eq!(mutants[0].file, "src/main.rs");
        assert_eq!(mutants[0].find, "    listen();\n");
        assert_eq!(mutants[1].file, "src/other.rs");
        assert_eq!(mutants[1].fails, ["is-fast"]);
    }

    #[test]
    fn a_mutant_that_proves_nothing_is_an_error() {
        for (from, to, expected) in [
            ("'slow'", "'deaf'", "two mutants are called `deaf`"),
            ("'go'", "' '", "no `find`"),
            ("'sleep'", "'go'", "`put` is `find`"),
            ("['is-fast']", "[]", "no `fails`"),
            ("why = 'It sleeps.'", "", "missing field `why`"),
            ("file =", "flie =", "unknown field `flie`"),
        ] {
            let error = parse(&TWO.replace(from, to)).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(expected), "{expected} in {error}");
        }
    }

    #[test]
    fn a_mutant_changes_the_one_place_it_names() {
        let mutant = &parse(TWO).unwrap()[1];
        assert_eq!(mutant.apply("now go.").unwrap(), "now sleep.");
        let error = mutant.apply("stop").unwrap_err().to_string();
        assert!(error.contains("src/other.rs does not have"), "{error}");
        let error = mutant.apply("go go").unwrap_err().to_string();
        assert!(error.contains("2 times"), "{error}");
    }

    #[test]
    fn a_diff_shows_whole_lines_and_two_around_them_without_indentation() {
        let source =
            "a\n    b {\n  // ANCHOR: x\n\n      c(1);\n    }\n    d\n  e\n";
        let diff = |find, put| diff(source, &source.replace(find, put));
        assert_eq!(
            diff("1", "2"),
            [" b {", "", "-  c(1);", "+  c(2);", " }", " d"]
        );
        let lines = diff("      c(1);\n", "");
        assert_eq!(lines, [" b {", "", "-  c(1);", " }", " d"]);
        let lines = diff("a\n", "a\na\n");
        assert_eq!(lines, [" a", "+a", "     b {"]);
        assert_eq!(diff("    }\n", ""), ["     c(1);", "-  }", "   d", " e"]);
        assert_eq!(diff("  e\n", ""), ["   }", "   d", "-e"]);
        assert_eq!(
            diff("    b {\n", ""),
            [" a", "-    b {", "", "       c(1);"]
        );
    }
}
