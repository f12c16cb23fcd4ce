//! One line for an error, one for what to do about it.

use std::io::{self, Write};
use std::process::ExitCode;

use text::{help, reason};

use crate::stdout;

/// Where the book explains the errors, each under its errno's name.
const CHAPTER: &str = "chapter \"Debugging sockets\"";

/// Turns the lab's result into its exit status, and an error into a line on
/// stderr, with a second line where there is something to do about it:
///
/// ```text
/// error: cannot listen on 127.0.0.1:8080: address already in use (EADDRINUSE)
/// help: end the program that uses it, or take another address or port; port 0
///   is any free one (chapter "Debugging sockets")
/// ```
pub fn finish(result: anyhow::Result<()>) -> ExitCode {
    let line = match (result, stdout::failure()) {
        (Err(error), _) => explain(&error),
        (Ok(()), Some(error)) => {
            format!("cannot write to stdout: {}", reason(error))
        }
        (Ok(()), None) => return ExitCode::SUCCESS,
    };
    // Nobody is left to tell when stderr is closed as well.
    let _ = io::stderr().write_all(format!("error: {line}\n").as_bytes());
    ExitCode::FAILURE
}

/// Joins what was tried and why it failed, and adds the help line.
fn explain(error: &anyhow::Error) -> String {
    let parts: Vec<String> = error
        .chain()
        .map(|cause| match cause.downcast_ref() {
            Some(io_error) => reason(io_error),
            None => cause.to_string(),
        })
        .collect();
    let line = parts.join(": ");
    let mut io_errors = error.chain().filter_map(|it| it.downcast_ref());
    match io_errors.find_map(help) {
        Some(help) => format!("{line}\nhelp: {help} ({CHAPTER})"),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    #[test]
    fn an_error_names_what_failed_the_errno_and_the_remedy() {
        use anyhow::Context;

        use super::*;

        let error =
            Err::<(), _>(io::Error::from_raw_os_error(libc::EADDRINUSE))
                .context("cannot listen on 127.0.0.1:8080")
                .unwrap_err();
        let expected = "cannot listen on 127.0.0.1:8080: address already in \
            use (EADDRINUSE)\nhelp: end the program that uses it, or take another \
            address or port; port 0 is any free one (chapter \"Debugging \
            sockets\")";
        assert_eq!(explain(&error), expected);
    }
}
