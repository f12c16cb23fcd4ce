//! How a check ends.

use std::fmt::Display;
use std::io;

/// What a check, and every step of one, returns.
pub type Result<T = ()> = std::result::Result<T, Stop>;

/// Why a check goes no further.
#[derive(Debug)]
pub enum Stop {
    /// The program does not keep its promise: what was seen instead.
    Broken(String),
    /// This machine cannot show it either way: what is missing.
    Skipped(String),
}

impl Stop {
    /// For `return Err(Stop::broken(...))` and `ok_or_else`.
    pub fn broken(seen: impl Display) -> Self {
        Stop::Broken(seen.to_string())
    }

    /// For `return Err(Stop::skipped(...))` and `map_err`.
    pub fn skipped(missing: impl Display) -> Self {
        Stop::Skipped(missing.to_string())
    }
}

/// An error of the instruments counts against the program: a check that cannot
/// look must never pass.
impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Broken(error.to_string())
    }
}

/// Breaks the promise unless `holds`.
pub fn ensure(holds: bool, seen: impl Display) -> Result {
    if holds {
        Ok(())
    } else {
        Err(Stop::broken(seen))
    }
}
