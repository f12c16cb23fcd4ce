//! Why there is no network, or not what was asked of it.

use std::fmt;

/// One line that says what failed, and one that says what helps.
#[derive(Debug)]
pub struct Error {
    what: String,
    help: Option<String>,
    is_forbidden: bool,
}

impl Error {
    /// What to do about it, if that is known.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Whether this system does not let this user have a private network. Not
    /// so for any other error.
    pub fn is_forbidden(&self) -> bool {
        self.is_forbidden
    }

    pub(crate) fn misuse(what: impl fmt::Display) -> Self {
        Error {
            what: what.to_string(),
            help: None,
            is_forbidden: false,
        }
    }

    pub(crate) fn forbidden(
        what: impl fmt::Display,
        help: impl fmt::Display,
    ) -> Self {
        Error {
            what: what.to_string(),
            help: Some(help.to_string()),
            is_forbidden: true,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Error {}
