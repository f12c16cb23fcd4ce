//! A block named `promises`: what a lab promises, in the order of its chapter.

use anyhow::{Context, Result};
use checks::{LABS, Lab, Promise};

use crate::text::{escape, sentence};

/// The lab of that name.
pub(crate) fn find_lab(name: &str) -> Result<&'static Lab> {
    let found = LABS.iter().find(|lab| lab.name == name);
    found.copied().with_context(|| {
        let names: Vec<&str> = LABS.iter().map(|lab| lab.name).collect();
        format!("no lab is called `{name}`; there are: {}", names.join(", "))
    })
}

/// The promise of that name, which is its id without the lab.
pub(crate) fn find_promise(lab: &Lab, name: &str) -> Result<&'static Promise> {
    let found = lab.promises.iter().find(|promise| promise.name() == name);
    found.with_context(|| format!("`{}` promises no `{name}`", lab.name))
}

/// The promises as a list of definitions. Other pages link to one of them by
/// the id `promise-` and its name.
pub(crate) fn html(lab_name: &str) -> Result<String> {
    let lab = find_lab(lab_name)?;
    let mut html = String::from("<dl class=\"promises\">\n");
    for promise in lab.promises {
        html.push_str(&format!(
            "<div id=\"promise-{}\">\n<dt>{}</dt>\n\
             <dd>{}</dd>\n<dd><code>{}</code></dd>\n</div>\n",
            escape(promise.name()),
            sentence(promise.title),
            sentence(promise.why),
            escape(promise.id),
        ));
    }
    html.push_str("</dl>\n");
    Ok(html)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_of_the_lab_is_shown_with_an_id_to_link_to() {
        let lab = LABS[0];
        let html = html(lab.name).unwrap();
        for promise in lab.promises {
            let id = format!("id=\"promise-{}\"", promise.name());
            assert!(html.contains(&id), "{id} in {html}");
            assert!(html.contains(&sentence(promise.title)), "{html}");
            assert!(html.contains(&sentence(promise.why)), "{html}");
        }
        assert!(!html.contains("\n\n"), "a blank line ends HTML: {html}");
    }

    #[test]
    fn an_unknown_lab_or_promise_is_an_error() {
        let error = html("tcp-sever").unwrap_err().to_string();
        assert!(
            error.starts_with("no lab is called `tcp-sever`; "),
            "{error}"
        );
        assert!(find_promise(LABS[0], "flies").is_err());
    }
}
