//! What a line asks for.

// ANCHOR: command
/// What a client can ask of the room.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// `b:text`, to all others.
    Broadcast(String),
    /// `c:name:text`, to one.
    Chat { to: String, text: String },
    /// `n:name`.
    Rename(String),
    /// `l`.
    List,
    /// `help`.
    Help,
    /// `quit`.
    Quit,
    /// Anything else, and what lacks a part.
    Unknown,
}

/// The colon, and the one that a Chinese keyboard types.
const COLONS: [char; 2] = [':', '：'];

impl Command {
    pub(crate) fn new(line: &str) -> Self {
        match line {
            "l" => return Command::List,
            "help" => return Command::Help,
            "quit" => return Command::Quit,
            _ => {}
        }
        // At the first colon only: what follows is text, and may hold others.
        match line.split_once(COLONS) {
            Some(("b", text)) if !text.is_empty() => {
                Command::Broadcast(text.to_owned())
            }
            Some(("c", rest)) => match rest.split_once(COLONS) {
                Some((to, text)) if !text.is_empty() => Command::Chat {
                    to: to.to_owned(),
                    text: text.to_owned(),
                },
                _ => Command::Unknown,
            },
            Some(("n", name)) => Command::Rename(name.to_owned()),
            _ => Command::Unknown,
        }
    }
}
// ANCHOR_END: command

/// What `help` tells.
pub(crate) const HELP: &[&str] = &[
    "* b:TEXT       says TEXT to all others",
    "* c:NAME:TEXT  says TEXT to NAME alone",
    "* n:NAME       is your name from then on",
    "* l            lists who is here, and from where",
    "* help         tells this",
    "* quit         leaves",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_where_it_must_be_and_nowhere_else() {
        let chat = |to: &str, text: &str| Command::Chat {
            to: to.to_owned(),
            text: text.to_owned(),
        };
        let broadcast = |text: &str| Command::Broadcast(text.to_owned());
        let rename = |name: &str| Command::Rename(name.to_owned());
        for (line, command) in [
            ("b:hello", broadcast("hello")),
            ("b:a:b：c", broadcast("a:b：c")),
            ("b：你好", broadcast("你好")),
            ("b: hello", broadcast(" hello")),
            ("c:bob:hello", chat("bob", "hello")),
            ("c:bob:at 10:30", chat("bob", "at 10:30")),
            ("c：bob：你好", chat("bob", "你好")),
            ("c：bob:你好", chat("bob", "你好")),
            ("n:bob", rename("bob")),
            ("n：珠峰", rename("珠峰")),
            ("n:", rename("")),
            ("l", Command::List),
            ("help", Command::Help),
            ("quit", Command::Quit),
            ("", Command::Unknown),
            ("b", Command::Unknown),
            ("b:", Command::Unknown),
            ("c:bob", Command::Unknown),
            ("c:bob:", Command::Unknown),
            ("B:hello", Command::Unknown),
            ("hello", Command::Unknown),
            ("x:y", Command::Unknown),
            ("l:", Command::Unknown),
        ] {
            assert_eq!(Command::new(line), command, "{line:?}");
        }
    }
}
