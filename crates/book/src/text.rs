//! Small things every block needs.

/// Text as HTML shows it.
pub(crate) fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            _ => html.push(character),
        }
    }
    html
}

/// A sentence as HTML, with `code` between backticks.
pub(crate) fn sentence(text: &str) -> String {
    let mut html = String::new();
    for (i, part) in text.split('`').enumerate() {
        if i % 2 == 0 {
            html.push_str(&escape(part));
        } else {
            html.push_str(&format!("<code>{}</code>", escape(part)));
        }
    }
    html
}

/// Takes away the indentation that all lines share.
pub(crate) fn dedent(lines: &[&str]) -> Vec<String> {
    let width = lines
        .iter()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.len() - line.trim_start_matches(' ').len())
        .min()
        .unwrap_or(0);
    let cut = |line: &&str| line.get(width..).unwrap_or_default().to_owned();
    lines.iter().map(cut).collect()
}

/// Code with the path of its file above it, as Markdown.
pub(crate) fn listing(path: &str, info: &str, lines: &[String]) -> String {
    // A fence must be longer than any that stands in the code.
    let longest = lines.iter().map(|line| backticks(line)).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let path = escape(path);
    let code = lines.join("\n");
    format!(
        "<figure class=\"listing\">\n<figcaption>{path}</figcaption>\n\n\
         {fence}{info}\n{code}\n{fence}\n\n</figure>\n"
    )
}

fn backticks(line: &str) -> usize {
    let line = line.trim_start();
    line.len() - line.trim_start_matches('`').len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_in_a_text_stays_text() {
        assert_eq!(escape("<a b=\"&\">"), "&lt;a b=&quot;&amp;&quot;&gt;");
        assert_eq!(
            sentence("see `<x>` & y"),
            "see <code>&lt;x&gt;</code> &amp; y"
        );
    }

    #[test]
    fn dedent_takes_only_what_all_lines_share() {
        let lines = ["    if x {", "", "        y", "    }"];
        assert_eq!(dedent(&lines), ["if x {", "", "    y", "}"]);
        assert_eq!(dedent(&["  中", " é"]), [" 中", "é"]);
    }

    #[test]
    fn a_fence_in_the_code_does_not_end_the_listing() {
        let lines = ["````".to_owned(), "x".to_owned()];
        let markdown = listing("a.md", "md", &lines);
        assert!(
            markdown.contains("\n`````md\n````\nx\n`````\n"),
            "{markdown}"
        );
    }
}
