//! mdBook's preprocessor: expands our blocks in every chapter.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use mdbook_preprocessor::book::{Book, BookItem};
use mdbook_preprocessor::{Preprocessor, PreprocessorContext};

use crate::site::{Problems, one_line};
use crate::{include, mutants, promises, transcript};

/// Expands includes, transcripts, mutants and promises.
///
/// Its name is that of the table in `book.toml`, where `before = ["links"]`
/// puts it before mdBook's own includes.
#[derive(Debug)]
pub struct Blocks;

const UNCHECKED: &str = "mdBook's directives are not checked; put an \
    `{{#include}}` into a fenced block, alone";

/// The names of our blocks.
pub(crate) const NAMES: &[&str] = &["transcript", "mutant", "promises"];

impl Preprocessor for Blocks {
    fn name(&self) -> &'static str {
        "labs"
    }

    fn supports_renderer(&self, renderer: &str) -> Result<bool> {
        Ok(renderer == "html")
    }

    fn run(
        &self,
        context: &PreprocessorContext,
        mut book: Book,
    ) -> Result<Book> {
        // mdBook says `.` when the book is here, and here has no parent.
        let root = context.root.canonicalize()?;
        let Some(repository) = root.parent() else {
            bail!("the book is in no repository");
        };
        let sources = root.join(&context.config.book.src);
        let mut problems = Problems::default();
        book.for_each_mut(|item| {
            let BookItem::Chapter(chapter) = item else {
                return;
            };
            let Some(path) = &chapter.source_path else {
                return;
            };
            let file = sources.join(path);
            let page = Page {
                repository,
                file: &file,
            };
            match page.expand(&chapter.content) {
                Ok(content) => chapter.content = content,
                Err(faults) => problems.0.extend(faults),
            }
        });
        problems.into_result()?;
        Ok(book)
    }
}

/// A chapter and where it is.
struct Page<'a> {
    repository: &'a Path,
    file: &'a Path,
}

/// The first line of a fenced block.
#[derive(Clone, Copy)]
struct Fence<'a> {
    marks: &'a str,
    info: &'a str,
    is_indented: bool,
}

impl<'a> Fence<'a> {
    fn open(line: &'a str) -> Option<Fence<'a>> {
        let text = line.trim_start();
        let n_marks = text.len() - text.trim_start_matches('`').len();
        let (marks, info) = text.split_at(n_marks);
        // A backtick after the marks: that is code within a sentence.
        let is_fence = n_marks >= 3 && !info.contains('`');
        let is_indented = line != text;
        is_fence.then(|| Fence {
            marks,
            info: info.trim(),
            is_indented,
        })
    }

    fn is_closed_by(&self, line: &str) -> bool {
        let line = line.trim();
        line.starts_with(self.marks) && line.chars().all(|c| c == '`')
    }
}

impl Page<'_> {
    /// The chapter with its blocks expanded, or what is wrong with it.
    fn expand(&self, content: &str) -> Result<String, Vec<String>> {
        let lines: Vec<&str> = content.lines().collect();
        let mut expanded: Vec<String> = Vec::new();
        let mut problems = Vec::new();
        let mut i = 0;
        while let Some(line) = lines.get(i) {
            let number = i + 1;
            i += 1;
            let Some(fence) = Fence::open(line) else {
                if has_directive(line) {
                    problems.push(self.problem(number, UNCHECKED));
                }
                expanded.push((*line).to_owned());
                continue;
            };
            let rest = &lines[i..];
            let Some(end) = rest.iter().position(|it| fence.is_closed_by(it))
            else {
                problems.push(self.problem(number, "this is never closed"));
                break;
            };
            match self.block(fence, &rest[..end]) {
                // Its last line has an end, so an empty line follows here,
                // which ends the HTML: what comes next is Markdown.
                Ok(Some(block)) => expanded.push(block),
                Ok(None) => expanded.push(lines[i - 1..=i + end].join("\n")),
                Err(error) => problems.push(match error.downcast() {
                    Ok(transcript::Error { line, message }) => {
                        self.problem(number + line, &message)
                    }
                    Err(error) => {
                        self.problem(number + 1, &format!("{error:#}"))
                    }
                }),
            }
            i += end + 1;
        }
        if problems.is_empty() {
            Ok(expanded.join("\n") + "\n")
        } else {
            Err(problems)
        }
    }

    /// What becomes of a block; `None` is for those that are not ours.
    fn block(&self, fence: Fence<'_>, body: &[&str]) -> Result<Option<String>> {
        let is_include = body.iter().any(|line| has_directive(line));
        if !is_include && !NAMES.contains(&fence.info) {
            return Ok(None);
        }
        ensure!(!fence.is_indented, "this block must begin at the margin");
        let block = match body {
            _ if fence.info == "transcript" && !is_include => {
                transcript::html(&transcript::parse(&body.join("\n"))?)
            }
            [line] if is_include => {
                let folder = self.file.parent().unwrap_or(self.repository);
                include::listing(self.repository, folder, fence.info, line)?
            }
            _ if is_include => {
                bail!("an include must stand alone in its block")
            }
            [id] if fence.info == "mutant" => {
                mutants::markdown(self.repository, id.trim())?
            }
            [lab] => promises::html(lab.trim())?,
            _ => bail!("this block must have one line"),
        };
        Ok(Some(block))
    }

    fn problem(&self, line: usize, message: &str) -> String {
        let file = self.file.strip_prefix(self.repository);
        let file = file.unwrap_or(self.file).display();
        one_line(&format!("{file}:{line}: {message}"))
    }
}

/// Whether mdBook would expand something here. `\{{#` is its way to write one
/// that it leaves alone.
fn has_directive(line: &str) -> bool {
    line.replace("\\{{#", "").contains("{{#")
}
