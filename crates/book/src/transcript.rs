//! A block named `transcript`: what happens in several terminals, in order.
//!
//! ```text
//! # The server waits.
//! server $ cargo run -p tcp-server
//! server | listening on 127.0.0.1:8080
//! client $ nc 127.0.0.1 8080
//! client < hello
//! client | hello
//! client ^D
//! client ends
//! server ^C
//! server ends with 1
//! ```
//!
//! A command starts with `$`, `|` is a line of output, `<` a line typed. The
//! same text that a reader sees can be run by a test, so [`parse`] is strict
//! about what is possible.

use std::collections::HashMap;
use std::error;
use std::fmt;

use crate::text::{escape, sentence};

/// What happens, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// Steps, and remarks between them.
    pub items: Vec<Item>,
}

/// A step or a remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A word to the reader about what comes next.
    Remark(String),
    /// Something that happens.
    Step(Step),
}

/// Something that happens in one terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The line of the transcript, from 1.
    pub line: usize,
    /// The name of the terminal.
    pub terminal: String,
    /// What happens there.
    pub event: Event,
}

/// What can happen in a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A command is started.
    Start(String),
    /// The command prints a line.
    Output(String),
    /// The learner types a line.
    Input(String),
    /// The learner presses keys.
    Key(Key),
    /// The command ends with this status.
    End(i32),
}

/// Keys that a terminal does not pass on as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Ends a command.
    CtrlC,
    /// Ends what is typed to a command.
    CtrlD,
}

/// A line that is no step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The line of the transcript, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl error::Error for Error {}

impl Transcript {
    /// The steps without the remarks.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.items.iter().filter_map(|item| match item {
            Item::Step(step) => Some(step),
            Item::Remark(_) => None,
        })
    }

    /// The names of the terminals, in the order in which they appear.
    pub fn terminals(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for step in self.steps() {
            if !names.contains(&step.terminal.as_str()) {
                names.push(&step.terminal);
            }
        }
        names
    }
}

/// Reads a transcript.
pub fn parse(source: &str) -> Result<Transcript, Error> {
    let mut items = Vec::new();
    // Which terminals have been used, and whether a command runs there.
    let mut running = HashMap::new();
    for (i, line) in source.lines().enumerate() {
        let fail = |message| Error {
            line: i + 1,
            message,
        };
        if line.trim().is_empty() {
            continue;
        }
        if let Some(remark) = line.strip_prefix('#') {
            items.push(Item::Remark(remark.trim().to_owned()));
            continue;
        }
        let (terminal, event) = parse_step(line).map_err(fail)?;
        let runs = running.entry(terminal).or_insert(false);
        match (&event, *runs) {
            (Event::Start(_), true) => {
                return Err(fail(format!(
                    "a command runs in {terminal}; say `{terminal} ends` first"
                )));
            }
            (Event::Start(_), false) => *runs = true,
            (_, false) => {
                return Err(fail(format!(
                    "no command runs in {terminal}; start one with \
                     `{terminal} $ COMMAND`"
                )));
            }
            (Event::End(_), true) => *runs = false,
            (_, true) => {}
        }
        let terminal = terminal.to_owned();
        items.push(Item::Step(Step {
            line: i + 1,
            terminal,
            event,
        }));
    }
    if running.is_empty() {
        let message = "nothing happens in this transcript".to_owned();
        return Err(Error { line: 1, message });
    }
    Ok(Transcript { items })
}

fn parse_step(line: &str) -> Result<(&str, Event), String> {
    let (terminal, what) = line.split_once(' ').unwrap_or((line, ""));
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if terminal.is_empty() || !terminal.chars().all(is_word) {
        return Err(format!("`{line}` does not begin with a terminal's name"));
    }
    let (mark, rest) = what.split_once(' ').unwrap_or((what, ""));
    let event = match (mark, rest) {
        ("$", "") => return Err("no command follows the `$`".to_owned()),
        ("$", command) => Event::Start(command.to_owned()),
        ("|", text) => Event::Output(text.to_owned()),
        ("<", text) => Event::Input(text.to_owned()),
        ("^C", "") => Event::Key(Key::CtrlC),
        ("^D", "") => Event::Key(Key::CtrlD),
        ("ends", "") => Event::End(0),
        ("ends", rest) => {
            let status = rest.strip_prefix("with ").map(str::parse);
            let Some(Ok(status)) = status else {
                return Err(format!(
                    "`{what}` is neither `ends` nor `ends with 1`"
                ));
            };
            Event::End(status)
        }
        _ => {
            return Err(format!(
                "`{what}` is none of `$ COMMAND`, `| OUTPUT`, `< INPUT`, `^C`, \
                 `^D`, `ends`, `ends with STATUS`"
            ));
        }
    };
    Ok((terminal, event))
}

/// The transcript as a list of turns: what happens in one terminal until
/// something happens in another.
pub(crate) fn html(transcript: &Transcript) -> String {
    let terminals = transcript.terminals();
    let mut html = format!(
        "<div class=\"transcript\" role=\"group\" aria-label=\"Terminals: {}\">\n\
         <ol role=\"list\">\n",
        terminals.join(", ")
    );
    let mut turn: Option<&str> = None;
    for item in &transcript.items {
        let next = match item {
            Item::Step(step) => Some(step.terminal.as_str()),
            Item::Remark(_) => None,
        };
        if turn.is_some() && turn != next {
            html.push_str("</pre></li>\n");
        }
        match item {
            Item::Remark(remark) => {
                let remark = sentence(remark);
                html.push_str(&format!("<li class=\"remark\">{remark}</li>\n"));
            }
            Item::Step(step) if turn == next => {
                html.push('\n');
                html.push_str(&html_of_event(&step.event));
            }
            Item::Step(step) => {
                let name = &step.terminal;
                let number = terminals.iter().position(|it| it == name);
                // Four colours, then again from the first.
                html.push_str(&format!(
                    "<li class=\"turn terminal-{}\"><span class=\"terminal\">\
                     {name}</span><pre>{}",
                    number.unwrap_or(0) % 4 + 1,
                    html_of_event(&step.event)
                ));
            }
        }
        turn = next;
    }
    if turn.is_some() {
        html.push_str("</pre></li>\n");
    }
    html.push_str("</ol>\n</div>\n");
    html
}

/// One line. It is never empty: an empty line would end the HTML block.
fn html_of_event(event: &Event) -> String {
    match event {
        // The prompt is drawn by the style sheet, so that it is not copied.
        Event::Start(command) => {
            format!("<kbd class=\"command\">{}</kbd>", escape(command))
        }
        Event::Output(text) => format!("<samp>{}</samp>", escape(text)),
        Event::Input(text) => format!(
            "<kbd><span class=\"unseen\">typed: </span>{}</kbd>",
            escape(text)
        ),
        Event::Key(Key::CtrlC) => "<kbd class=\"key\">Ctrl-C</kbd>".to_owned(),
        Event::Key(Key::CtrlD) => "<kbd class=\"key\">Ctrl-D</kbd>".to_owned(),
        Event::End(0) => "<span class=\"end\">ends</span>".to_owned(),
        Event::End(status) => {
            format!("<span class=\"end\">ends with status {status}</span>")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "\
        # The `server` waits.\n\
        server $ cargo run -p tcp-server\n\
        server | listening on 127.0.0.1:8080\n\
        \n\
        client $ nc 127.0.0.1 8080\n\
        client <  <b>\n\
        client |\n\
        server | \"<b>\"\n\
        client ^D\n\
        client ends\n\
        server ^C\n\
        server ends with 130\n";

    fn error(source: &str) -> (usize, String) {
        let Error { line, message } = parse(source).unwrap_err();
        (line, message)
    }

    #[test]
    fn every_kind_of_line_is_read() {
        let transcript = parse(WHOLE).unwrap();
        assert_eq!(transcript.terminals(), ["server", "client"]);
        assert_eq!(
            transcript.items[0],
            Item::Remark("The `server` waits.".to_owned())
        );
        let steps: Vec<_> = transcript
            .steps()
            .map(|step| (step.line, step.terminal.as_str(), step.event.clone()))
            .collect();
        let text = str::to_owned;
        assert_eq!(
            steps,
            [
                (2, "server", Event::Start(text("cargo run -p tcp-server"))),
                (
                    3,
                    "server",
                    Event::Output(text("listening on 127.0.0.1:8080"))
                ),
                (5, "client", Event::Start(text("nc 127.0.0.1 8080"))),
                (6, "client", Event::Input(text(" <b>"))),
                (7, "client", Event::Output(text(""))),
                (8, "server", Event::Output(text("\"<b>\""))),
                (9, "client", Event::Key(Key::CtrlD)),
                (10, "client", Event::End(0)),
                (11, "server", Event::Key(Key::CtrlC)),
                (12, "server", Event::End(130)),
            ]
        );
    }

    #[test]
    fn a_line_that_is_no_step_is_named() {
        assert_eq!(error("a $ x\n\n| hello").0, 3);
        assert!(error("a $ x\n $ y").1.contains("terminal's name"));
        assert!(error("a $").1.contains("no command follows"));
        assert!(error("a $ x\na > y").1.contains("`> y` is none of"));
        assert!(error("a $ x\na |y").1.contains("`|y` is none of"));
        assert!(error("a $ x\na ^Z").1.contains("`^Z` is none of"));
        assert!(error("a $ x\na").1.contains("`` is none of"));
        assert!(error("a $ x\na ends with").1.contains("is neither"));
        assert!(error("a $ x\na ends badly").1.contains("is neither"));
        assert_eq!(error("# only a remark").0, 1);
    }

    #[test]
    fn a_terminal_runs_one_command_at_a_time() {
        assert_eq!(error("a $ x\nb | y").0, 2);
        assert!(error("a $ x\nb | y").1.contains("no command runs in b"));
        assert!(error("a $ x\na ends\na | y").1.contains("no command runs"));
        assert!(error("a $ x\na $ y").1.contains("say `a ends` first"));
        assert!(parse("a $ x\na ends\na $ y").is_ok());
    }

    #[test]
    fn html_keeps_the_order_and_shows_text_as_text() {
        let html = html(&parse(WHOLE).unwrap());
        let order = [
            "The <code>server</code> waits.",
            "terminal-1\"><span class=\"terminal\">server</span>",
            "<kbd class=\"command\">cargo run -p tcp-server</kbd>",
            "<samp>listening on 127.0.0.1:8080</samp></pre></li>",
            "terminal-2\"><span class=\"terminal\">client</span>",
            "<span class=\"unseen\">typed: </span> &lt;b&gt;</kbd>\n",
            "<samp></samp></pre>",
            "<samp>&quot;&lt;b&gt;&quot;</samp>",
            "Ctrl-D</kbd>\n<span class=\"end\">ends</span></pre>",
            "Ctrl-C</kbd>\n<span class=\"end\">ends with status 130</span>",
        ];
        let mut rest = html.as_str();
        for part in order {
            let Some((_, after)) = rest.split_once(part) else {
                panic!("no {part} in {rest}");
            };
            rest = after;
        }
        assert!(!html.contains("\n\n"), "a blank line ends HTML: {html}");
    }
}
