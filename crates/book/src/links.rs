//! Looks at the rendered pages as a browser would, without a network.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer,
};
use percent_encoding::percent_decode_str;

use crate::blocks;
use crate::site::files_below;

/// What other pages may point to, and what a page points to.
#[derive(Debug, Default)]
struct Page {
    ids: HashSet<String>,
    links: BTreeSet<String>,
    problems: BTreeSet<String>,
}

/// Checks every link, fragment and picture of the pages in `out`, and that
/// nothing is fetched from elsewhere. `sources` is the folder of the chapters
/// in the repository `root`, so that a problem can name the chapter.
pub(crate) fn check(
    out: &Path,
    root: &Path,
    sources: &Path,
) -> Result<Vec<String>> {
    let mut pages = BTreeMap::new();
    for file in files_below(out)? {
        if file.extension().is_some_and(|it| it == "html") {
            let html = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            pages.insert(file, read(&html));
        }
    }
    let mut problems = Vec::new();
    for (file, page) in &pages {
        let name = file.strip_prefix(out)?;
        let chapter = sources.join(name).with_extension("md");
        // The first chapter is there twice, and so are all on the page to
        // print. 404.html is for a server that has it answer for any path.
        if !root.join(&chapter).exists() {
            continue;
        }
        let faults = page.problems.iter().cloned();
        let dead = page.links.iter().filter_map(|link| {
            dead_link(&pages, file, link)
                .map(|reason| format!("the link `{link}` is dead: {reason}"))
        });
        for fault in faults.chain(dead) {
            problems.push(format!("{}: {fault}", chapter.display()));
        }
    }
    Ok(problems)
}

/// Why a link leads nowhere, if it does.
fn dead_link(
    pages: &BTreeMap<PathBuf, Page>,
    from: &Path,
    link: &str,
) -> Option<String> {
    if has_scheme(link) {
        return None;
    }
    let (path, id) = link.split_once('#').unwrap_or((link, ""));
    let path = path.split('?').next().unwrap_or_default();
    let decode = |text| percent_decode_str(text).decode_utf8_lossy();
    let target = match path {
        "" => from.to_owned(),
        path => without_dots(&from.with_file_name("").join(&*decode(path))),
    };
    if !target.is_file() {
        let hint = if target.is_dir() {
            "; name the page itself"
        } else {
            ""
        };
        return Some(format!("there is no such page or file{hint}"));
    }
    let page = pages.get(&target)?;
    if id.is_empty() || page.ids.contains(&*decode(id)) {
        return None;
    }
    Some(format!("that page has no `{id}`"))
}

/// `a/b/../c` is `a/c`, even when there is no `b`.
fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

fn has_scheme(link: &str) -> bool {
    link.starts_with("//")
        || link.split_once(':').is_some_and(|(scheme, _)| {
            scheme.chars().all(|c| c.is_ascii_alphanumeric())
        })
}

fn read(html: &str) -> Page {
    let tokenizer = Tokenizer::new(Tags::default(), Default::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(html));
    // It stops at the end of each script, so that one could run.
    while !input.is_empty() {
        let _ = tokenizer.feed(&input);
    }
    tokenizer.end();
    tokenizer.sink.page.into_inner()
}

#[derive(Default)]
struct Tags {
    page: RefCell<Page>,
}

impl TokenSink for Tags {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let Token::TagToken(tag) = token else {
            return TokenSinkResult::Continue;
        };
        if tag.kind == TagKind::EndTag {
            return TokenSinkResult::Continue;
        }
        self.page.borrow_mut().add(&tag);
        // What is inside is no HTML.
        match &*tag.name {
            "script" => TokenSinkResult::RawData(RawKind::ScriptData),
            "style" => TokenSinkResult::RawData(RawKind::Rawtext),
            _ => TokenSinkResult::Continue,
        }
    }
}

impl Page {
    fn add(&mut self, tag: &Tag) {
        for attribute in &tag.attrs {
            let value = attribute.value.to_string();
            match &*attribute.name.local {
                "id" => self.add_id(value),
                "src" => self.add_resource(value),
                "href" if &*tag.name == "link" => self.add_resource(value),
                "href" => {
                    self.links.insert(value);
                }
                "class" => self.add_class(&value),
                _ => {}
            }
        }
    }

    fn add_id(&mut self, id: String) {
        if self.ids.contains(&id) {
            self.problems
                .insert(format!("the id `{id}` is there twice"));
        }
        self.ids.insert(id);
    }

    fn add_resource(&mut self, link: String) {
        if has_scheme(&link) && !link.starts_with("data:") {
            let fault = format!("`{link}` is fetched from another server");
            self.problems.insert(fault);
        } else {
            self.links.insert(link);
        }
    }

    /// Our blocks must be gone. Within a quote or a list mdBook takes them for
    /// code in a language of that name.
    fn add_class(&mut self, classes: &str) {
        for class in classes.split_whitespace() {
            let name = class.strip_prefix("language-");
            if let Some(name) = name.filter(|it| blocks::NAMES.contains(it)) {
                let fault =
                    format!("a `{name}` block must begin at the margin");
                self.problems.insert(fault);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_a_browser_reads_it() {
        let page = read(
            "<!-- <a href=1> --><script>'<a href=2>'</script><p id=x>\
             <a href='a.html#b&amp;c'>&lt;a href=3></a><img src=d.png>",
        );
        assert!(page.ids.contains("x"));
        assert!(page.links.iter().eq(["a.html#b&c", "d.png"]), "{page:?}");
        assert!(page.problems.is_empty(), "{page:?}");
    }

    #[test]
    fn what_a_page_must_not_have_is_named() {
        for (html, expected) in [
            ("<p id=x><p id=x>", "the id `x` is there twice"),
            ("<script src=https://a.b/c></script>", "from another server"),
            ("<img src='//a.b/c'>", "from another server"),
            ("<link href=http://a.b/c.css>", "from another server"),
            ("<code class='language-mutant hljs'>", "at the margin"),
        ] {
            let problems = read(html).problems;
            assert_eq!(problems.len(), 1, "{html}: {problems:?}");
            let problem = problems.first().unwrap();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn links_to_other_servers_are_left_alone() {
        for link in ["https://a.b/", "mailto:a@b", "//a.b", "data:x"] {
            assert!(has_scheme(link), "{link}");
        }
        for link in ["a.html", "#x:y", "../a.html#b", "a/b:c"] {
            assert!(!has_scheme(link), "{link}");
        }
    }
}
