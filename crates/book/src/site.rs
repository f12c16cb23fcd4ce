//! From chapters to pages.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use mdbook_driver::MDBook;
use mdbook_driver::book::BookItem;
use mdbook_driver::config::Config;

use crate::blocks::Blocks;
use crate::{accessible, links, log};

/// The languages of the book: folders in `book/`, folders in `target/book/`.
const LANGUAGES: &[&str] = &["en"];

/// What is wrong with the book, one line each.
#[derive(Debug, Default)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    /// Whoever prints this writes `error: ` before the first line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\nerror: "))
    }
}

impl std::error::Error for Problems {}

impl Problems {
    /// An error when there is any problem.
    pub(crate) fn into_result(self) -> Result<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(self.into())
        }
    }

    /// Takes over what went wrong elsewhere, as one line each.
    fn add(&mut self, error: &anyhow::Error) {
        match error.downcast_ref::<Problems>() {
            Some(problems) => self.0.extend_from_slice(&problems.0),
            None => self.0.push(one_line(&format!("{error:#}"))),
        }
    }
}

/// A repository with a book in it.
#[derive(Debug, Clone)]
pub struct Site {
    root: PathBuf,
}

impl Site {
    /// `root` is the folder in which `book/` and `labs/` are.
    pub fn new(root: &Path) -> Result<Site> {
        let root = root
            .canonicalize()
            .with_context(|| format!("cannot open {}", root.display()))?;
        Ok(Site { root })
    }

    /// Where the pages are, a folder for each language.
    pub fn pages(&self) -> PathBuf {
        self.root.join("target/book")
    }

    /// Everything the pages are made from.
    pub(crate) fn sources(&self) -> [PathBuf; 3] {
        ["book", "labs", "crates"].map(|folder| self.root.join(folder))
    }

    /// Builds every language and returns the first page of each. The pages of
    /// the last build stay as they are until all is well; an error is
    /// [`Problems`] where the book is to blame.
    pub fn build(&self) -> Result<Vec<PathBuf>> {
        let pages = self.pages();
        fs::create_dir_all(&pages)
            .with_context(|| format!("cannot create {}", pages.display()))?;
        let draft = tempfile::Builder::new()
            .prefix(".draft-")
            .tempdir_in(&pages)
            .with_context(|| format!("cannot write to {}", pages.display()))?;

        let mut problems = Problems::default();
        for language in LANGUAGES {
            let out = draft.path().join(language);
            let (result, warnings) =
                log::collect(|| self.build_language(language, &out));
            for warning in warnings {
                problems.add(&anyhow!("book/{language}: {warning}"));
            }
            if let Err(error) = result {
                problems.add(&error);
            }
        }
        problems.into_result()?;

        let mut first_pages = Vec::new();
        for language in LANGUAGES {
            let out = pages.join(language);
            replace(&draft.path().join(language), &out)
                .with_context(|| format!("cannot replace {}", out.display()))?;
            first_pages.push(out.join("index.html"));
        }
        Ok(first_pages)
    }

    fn build_language(&self, language: &str, out: &Path) -> Result<()> {
        let book_dir = self.root.join("book");
        let mut config = Config::from_disk(book_dir.join("book.toml"))?;
        config.book.language = Some(language.to_owned());
        config.book.src = language.into();
        config.build.build_dir = out.to_owned();
        // mdBook would write an empty chapter where one is missing.
        config.build.create_missing = false;
        // A block that runs asks a server for its crates as the page opens.
        config.set("output.html.playground.runnable", false)?;

        let mut book = MDBook::load_with_config(&book_dir, config)
            .with_context(|| format!("book/{language}"))?;
        book.with_preprocessor(Blocks);
        let mut problems = Problems(unlisted(&book)?);
        match book.build() {
            Ok(()) => {
                accessible::mend(out)?;
                let sources = Path::new("book").join(language);
                problems.0.extend(links::check(out, &self.root, &sources)?);
            }
            Err(error) => problems.add(&error),
        }
        problems.into_result()
    }
}

/// Chapters that no reader would find.
fn unlisted(book: &MDBook) -> Result<Vec<String>> {
    let listed: Vec<&Path> = book
        .iter()
        .filter_map(|item| match item {
            BookItem::Chapter(chapter) => chapter.source_path.as_deref(),
            _ => None,
        })
        .collect();
    let sources = book.source_dir();
    let mut problems = Vec::new();
    for file in files_below(&sources)? {
        let path = file.strip_prefix(&sources)?;
        let is_chapter = path.extension().is_some_and(|it| it == "md")
            && path != Path::new("SUMMARY.md");
        if is_chapter && !listed.contains(&path) {
            problems.push(format!(
                "{}: not in SUMMARY.md; list it there, or remove it",
                Path::new("book")
                    .join(&book.config.book.src)
                    .join(path)
                    .display()
            ));
        }
    }
    Ok(problems)
}

/// Every file in a folder and in those inside it, in order of their names.
/// Hidden ones are left out: editors keep their locks and copies in them.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            } else if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn replace(new: &Path, old: &Path) -> std::io::Result<()> {
    if old.exists() {
        fs::remove_dir_all(old)?;
    }
    fs::rename(new, old)
}

/// A message of several lines as one.
pub(crate) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
