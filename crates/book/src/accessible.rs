//! Mends what mdBook's pages lack for people who use a keyboard or have the
//! page read to them. What a style sheet or a script can mend stands in
//! `book/theme`; this is the rest.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::site::files_below;

/// Literals of mdBook's template, and what stands there afterwards.
const MENDS: &[(&str, &str)] = &[
    // A label that opens the sidebar: not reached by a keyboard, and not
    // allowed to tell whether the sidebar is open.
    (
        "<label id=\"mdbook-sidebar-toggle\" ",
        "<label id=\"mdbook-sidebar-toggle\" role=\"button\" tabindex=\"0\" ",
    ),
    // It names an id that no element has.
    (
        "aria-describedby=\"searchresults-header\"",
        "aria-label=\"Search this book\" \
         aria-describedby=\"mdbook-searchresults-header\"",
    ),
];

/// Mends every page in `out`.
pub(crate) fn mend(out: &Path) -> Result<()> {
    for file in files_below(out)? {
        if file.extension().is_none_or(|it| it != "html") {
            continue;
        }
        let html = fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        // The table of contents for browsers without scripts has no controls.
        if !html.contains("<main>") {
            continue;
        }
        fs::write(&file, mended(html)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn mended(mut html: String) -> Result<String> {
    for (old, new) in MENDS {
        ensure!(
            html.matches(old).count() == 1,
            "mdBook's pages have changed, `{old}` is not there once; \
             look again at crates/book/src/accessible.rs"
        );
        html = html.replacen(old, new, 1);
    }
    Ok(html)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_has_changed_is_an_error() {
        let page: String = MENDS.iter().map(|(old, _)| *old).collect();
        assert!(mended(page.clone()).is_ok());
        assert!(mended(page + MENDS[0].0).is_err());
        assert!(mended(String::new()).is_err());
    }
}
