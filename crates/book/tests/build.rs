//! The good book builds; each fault in it is one line, and exit status 1.

#![allow(
    clippy::unwrap_used,
    reason = "these are tests; clippy.toml exempts only the functions marked so"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use checks::LABS;
use mdbook_driver::MDBook;
use tempfile::TempDir;

const BOOK: &str = env!("CARGO_BIN_EXE_book");

/// A repository with a book of two chapters and a lab, in which nothing is
/// wrong.
struct Repository(TempDir);

impl Repository {
    fn new() -> Repository {
        let repository = Repository(tempfile::tempdir().unwrap());
        repository.write(
            "book/book.toml",
            "[book]\ntitle = 'T'\nsrc = 'en'\n\
             [build]\ncreate-missing = false\n\
             [preprocessor.labs]\ncommand = 'false'\nbefore = ['links']\n",
        );
        repository
            .write("book/en/SUMMARY.md", "- [A](a.md)\n- [B](sub/b.md)\n");
        repository.write(
            "book/en/a.md",
            "# A\n\n[b](sub/b.md#deep) [c](#a) [d](https://example.com/no)\n\n\
             ```rust\n{{#include ../../labs/x/src/main.rs:part}}\n```\n\n\
             \\{{#include is written so}}\n\n```js\n{{#include x.js}}\n```\n",
        );
        repository.write(
            "book/en/sub/b.md",
            "# B\n\n## Deep\n\n[a](../a.md)\n\n## 深\n\n[b](#%E6%B7%B1)\n",
        );
        repository.write("book/en/x.js", "net.createServer();\n");
        repository.write(
            "labs/x/src/main.rs",
            "fn f() {\n    // ANCHOR: part\n    if go {\n        stop();\n    }\n\
             \x20   // ANCHOR_END: part\n}\n// ANCHOR: open\n",
        );
        repository
    }

    /// With one more text at the end of the first chapter.
    fn with(text: &str) -> Repository {
        let repository = Repository::new();
        let chapter = repository.read("book/en/a.md");
        repository.write("book/en/a.md", &format!("{chapter}\n{text}\n"));
        repository
    }

    /// With a mutant, in the chapter and in the file of mutants.
    fn with_mutant(id: &str, toml: &str) -> Repository {
        let repository = Repository::with(&format!("```mutant\n{id}\n```"));
        let lab = LABS[0].name;
        repository.write(&format!("labs/{lab}/mutants.toml"), toml);
        repository.write(&format!("labs/{lab}/src/main.rs"), "fn serve() {}\n");
        repository
    }

    fn write(&self, path: &str, text: &str) {
        let file = self.0.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.path().join(path)).unwrap()
    }

    fn page(&self, path: &str) -> String {
        self.read(&format!("target/book/en/{path}"))
    }

    /// What a chapter became, without the controls around it.
    fn text(&self, path: &str) -> String {
        let page = self.page(path);
        let (_, rest) = page.split_once("<main>").unwrap();
        rest.split_once("</main>").unwrap().0.to_owned()
    }

    fn build(&self) -> Output {
        let root = self.0.path();
        Command::new(BOOK).arg("--root").arg(root).output().unwrap()
    }

    fn succeeds(&self) {
        let output = self.build();
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }

    /// Fails with these lines and no others; `start` is how each begins, and
    /// what it must also contain.
    fn fails(&self, expected: &[(&str, &str)]) {
        let output = self.build();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<&str> = stderr.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{stderr}");
        for (line, (start, part)) in lines.iter().zip(expected) {
            assert!(line.starts_with(&format!("error: {start}")), "{stderr}");
            assert!(line.contains(part), "{part} in {stderr}");
        }
    }
}

fn mutant(name: &str, find: &str, fails: &str) -> String {
    format!(
        "[[mutant]]\nname = '{name}'\nwhy = 'It `sleeps`.'\nfind = '{find}'\n\
         put = 'fn sleep'\nfails = ['{fails}']\n"
    )
}

fn first_promise() -> &'static checks::Promise {
    &LABS[0].promises[0]
}

#[test]
fn the_good_book_builds_and_quotes_code_with_its_path() {
    let repository = Repository::new();
    repository.succeeds();
    let page = repository.text("a.html");
    assert!(
        page.contains("<figcaption>labs/x/src/main.rs</figcaption>"),
        "{page}"
    );
    let code = "<code class=\"language-rust\">if go {\n    stop();\n}</code>";
    assert!(page.contains(code), "{page}");
    assert!(page.contains("{{#include is written so}}"), "{page}");
    assert!(page.contains("net.createServer();"), "{page}");
    assert!(!page.contains("playground\""), "{page}");
    let toggle = "id=\"mdbook-sidebar-toggle\" role=\"button\" tabindex=\"0\"";
    for page in ["a.html", "sub/b.html", "index.html", "404.html"] {
        assert!(repository.page(page).contains(toggle), "{page}");
    }
    // The table of contents is not built twice, and no draft is left.
    let left = fs::read_dir(repository.0.path().join("target/book")).unwrap();
    assert_eq!(left.count(), 1);
}

#[test]
fn a_block_that_is_not_ours_stays_as_it_is() {
    let text = "1. a\n\n   ```js\n   x\n   ```\n\n   *b*\n\n\
        ````text\n```transcript\n```\n````\n\n```c``` *d*\n\n\
        ```\n```\n\n*e*";
    let repository = Repository::with(text);
    repository.succeeds();
    let page = repository.text("a.html");
    for part in [
        "<pre><code class=\"language-js\">x\n</code></pre>\n<p><em>b</em></p>",
        "<code class=\"language-text\">```transcript\n```\n</code>",
        "<p><code>c</code> <em>d</em></p>\n<pre><code></code></pre>",
        "<p><em>e</em></p>",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[test]
fn our_own_book_builds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    book::Site::new(&root).unwrap().build().unwrap();
}

#[test]
fn every_block_is_shown() {
    let (lab, promise) = (LABS[0].name, first_promise());
    let toml = mutant("sleepy", "fn serve", promise.name());
    let repository = Repository::with_mutant(&format!("{lab}/sleepy"), &toml);
    let chapter = repository.read("book/en/a.md");
    repository.write(
        "book/en/a.md",
        &format!(
            "{chapter}\n```transcript\nserver $ run\nserver |\nserver | *x*\n```\n\
             **text**\n\n```promises\n{lab}\n```\n[p](#promise-{})\n",
            promise.name()
        ),
    );
    repository.succeeds();
    let page = repository.text("a.html");
    for part in [
        "<samp>*x*</samp></pre>",
        "<strong>text</strong>",
        "<p>It <code>sleeps</code>.</p>",
        "<code class=\"language-diff\">-fn serve() {}\n+fn sleep() {}\n</code>",
        &format!("cargo test -p {lab}"),
        &format!("<li><code>{}</code> - ", promise.id),
        &format!("<div id=\"promise-{}\">", promise.name()),
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[test]
fn a_faulty_include_is_an_error() {
    for (target, part) in [
        ("x/src/main.rs:prat", "`ANCHOR: prat` is missing"),
        ("x/src/main.rs:open", "`ANCHOR_END: open` is missing"),
        ("x/src/main.rs:3:7", "anchors stay"),
        ("x/src/main.rs:3", "anchors stay"),
        ("x/src/main.rs", "name an anchor"),
        (
            "x/src/lib.rs:part",
            "cannot include ../../labs/x/src/lib.rs: there is no",
        ),
        (
            "../../../../../../../../../etc/passwd:x",
            "outside the repository",
        ),
    ] {
        let text =
            format!("```rust\n{{{{#include ../../labs/{target}}}}}\n```");
        Repository::with(&text).fails(&[("book/en/a.md:16: ", part)]);
    }
}

#[test]
fn an_include_stands_alone_in_a_fenced_block() {
    let start = "book/en/a.md:";
    for (text, part) in [
        ("{{#include x.js}}", "fenced block"),
        ("a {{#rustdoc_include x.js}}", "fenced block"),
        ("```js\n{{#include x.js}}\n1\n```", "stand alone"),
        ("```js\n{{#playground x.js}}\n```", "is no"),
        ("1. a\n\n   ```js\n   {{#include x.js}}\n   ```", "margin"),
    ] {
        Repository::with(text).fails(&[(start, part)]);
    }
}

#[test]
fn a_faulty_block_is_an_error_that_names_its_line() {
    let unclosed = "```transcript\na $ x\nb | y";
    for (text, start, part) in [
        (
            "```transcript\na $ x\nb | y\n```",
            "17: ",
            "no command runs in b",
        ),
        ("```promises\nnone\n```", "16: ", "no lab is called `none`"),
        ("```promises\na\nb\n```", "16: ", "one line"),
        ("```mutant\nnone/x\n```", "16: ", "no lab is called `none`"),
        ("```mutant\nx\n```", "16: ", "LAB/NAME"),
        ("  ```promises\n  x\n  ```", "16: ", "margin"),
    ] {
        let start = format!("book/en/a.md:{start}");
        Repository::with(text).fails(&[(&start, part)]);
    }
    Repository::with(unclosed).fails(&[("book/en/a.md:15: ", "never closed")]);
    Repository::with("> ```promises\n> x\n> ```")
        .fails(&[("book/en/a.md: ", "margin")]);
}

#[test]
fn a_faulty_mutant_is_an_error() {
    let lab = LABS[0].name;
    let id = format!("{lab}/sleepy");
    let promise = first_promise().name();
    for (toml, part) in [
        (
            mutant("awake", "fn serve", promise),
            "has no mutant `sleepy`",
        ),
        (
            mutant("sleepy", "fn swerve", promise),
            "does not have the text",
        ),
        (mutant("sleepy", "e", promise), "2 times"),
        (mutant("sleepy", "fn serve", "flies"), "promises no `flies`"),
        (
            mutant("sleepy", "fn serve", promise) + "x = 1",
            "unknown field `x`",
        ),
    ] {
        let repository = Repository::with_mutant(&id, &toml);
        repository.fails(&[("book/en/a.md:16: ", part)]);
    }
}

#[test]
fn a_dead_link_is_an_error() {
    for (text, part) in [
        ("[x](c.md)", "`c.html`"),
        ("[x](sub/b.md#depe)", "no `depe`"),
        ("[x](#depe)", "no `depe`"),
        ("[x](sub/)", "name the page itself"),
        ("![x](x.png)", "`x.png`"),
    ] {
        Repository::with(text).fails(&[("book/en/a.md: the link ", part)]);
    }
}

#[test]
fn what_mdbook_only_warns_of_is_an_error() {
    Repository::with("x <b>y").fails(&[("book/en: ", "`<b>` found in `a.md`")]);
}

#[test]
fn what_is_fetched_from_elsewhere_is_an_error() {
    let part = "fetched from another server";
    Repository::with("![x](https://example.com/x.png)")
        .fails(&[("book/en/a.md: ", part)]);

    let repository = Repository::new();
    let toml = repository.read("book/book.toml");
    let toml = format!("{toml}[output.html]\nmathjax-support = true\n");
    repository.write("book/book.toml", &toml);
    repository.fails(&[("book/en/a.md: ", part), ("book/en/sub/b.md: ", part)]);
}

#[test]
fn a_chapter_that_is_not_listed_or_not_there_is_an_error() {
    let repository = Repository::new();
    repository.write("book/en/sub/lost.md", "# Lost\n");
    repository.write("book/en/.#a.md", "what an editor leaves");
    repository.fails(&[("book/en/sub/lost.md: ", "not in SUMMARY.md")]);

    let repository = Repository::new();
    repository.write("book/en/SUMMARY.md", "- [A](a.md)\n- [C](c.md)\n");
    repository.fails(&[("book/en: ", "c.md")]);
    assert!(!repository.0.path().join("book/en/c.md").exists());
}

#[test]
fn a_failed_build_leaves_the_last_good_pages() {
    let repository = Repository::new();
    repository.succeeds();
    let before = repository.page("a.html");
    repository.write("book/en/a.md", "# Changed\n\n[x](#nowhere)\n");
    repository.fails(&[("book/en/a.md: ", "no `nowhere`")]);
    assert_eq!(repository.page("a.html"), before);
}

#[test]
fn mdbook_alone_makes_the_same_pages_through_our_command() {
    let lab = LABS[0].name;
    let repository = Repository::with(&format!(
        "```transcript\na $ x\n```\n\n```promises\n{lab}\n```"
    ));
    repository.succeeds();
    let ours = repository.text("a.html");

    let toml = repository
        .read("book/book.toml")
        .replace(
            "command = 'false'",
            &format!("command = '\"{BOOK}\" preprocess'"),
        )
        .replace("[build]", "[build]\nbuild-dir = '../target/book/en'")
        + "[output.html.playground]\nrunnable = false\n";
    repository.write("book/book.toml", &toml);
    let build = || MDBook::load(repository.0.path().join("book"))?.build();
    build().unwrap();
    assert_eq!(repository.text("a.html"), ours);
    let toggle = "role=\"button\"";
    assert!(
        !repository.page("a.html").contains(toggle),
        "not built anew"
    );

    repository.write("book/en/a.md", "```promises\nnone\n```\n");
    assert!(build().is_err());
}

#[test]
fn only_pages_of_html_are_supported() {
    for (renderer, code) in [("html", 0), ("markdown", 1)] {
        let mut command = Command::new(BOOK);
        command.args(["preprocess", "supports", renderer]);
        assert_eq!(command.status().unwrap().code(), Some(code), "{renderer}");
    }
}
