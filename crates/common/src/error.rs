//! One line for an error, one for what to do about it.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::stdout;

/// Turns the lab's result into its exit status, and an error into a line on
/// stderr, with a second line where there is something to do about it:
///
/// ```text
/// error: cannot listen on 127.0.0.1:8080: address already in use (EADDRINUSE)
/// help: end the program that uses it, or take a free port: --listen 127.0.0.1:0
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
    match io_errors.find_map(help_for) {
        Some(help) => format!("{line}\nhelp: {help}"),
        None => line,
    }
}

/// What the system says, with the name under which it is found in errno(3), in
/// man pages and in Node's `error.code`: `connection refused (ECONNREFUSED)`.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let text = text.strip_prefix(RESOLVER).unwrap_or(text);
    let mut text = text.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    match known(error) {
        Some((_, name, _)) => format!("{text} ({name})"),
        None => text,
    }
}

fn help_for(error: &io::Error) -> Option<&'static str> {
    if error.to_string().starts_with(RESOLVER) {
        return Some("check the spelling, or give an address: 127.0.0.1:8080");
    }
    known(error)
        .map(|(_, _, help)| *help)
        .filter(|help| !help.is_empty())
}

/// How the standard library begins the message of a failed name look-up.
const RESOLVER: &str = "failed to lookup address information: ";

fn known(
    error: &io::Error,
) -> Option<&'static (i32, &'static str, &'static str)> {
    let number = match error.kind() {
        // A limit of our own: the system does not know of it.
        #[cfg(unix)]
        io::ErrorKind::TimedOut => libc::ETIMEDOUT,
        _ => error.raw_os_error()?,
    };
    ERRNO.iter().find(|(known, _, _)| *known == number)
}

/// The errors that sockets and files bring, from errno(3).
#[cfg(unix)]
#[rustfmt::skip]
const ERRNO: &[(i32, &str, &str)] = &[
    (libc::EACCES, "EACCES", "ports below 1024 belong to root, take one above, such as 8080; of a file, `ls -l` shows who may write"),
    (libc::EADDRINUSE, "EADDRINUSE", "end the program that uses it, or take a free port: --listen 127.0.0.1:0"),
    (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL", "this machine has no such address; `ip addr` lists those it has"),
    (libc::ECONNABORTED, "ECONNABORTED", ""),
    (libc::ECONNREFUSED, "ECONNREFUSED", "nobody listens there; start the server first, and compare the ports"),
    (libc::ECONNRESET, "ECONNRESET", "the other side ended the connection without a goodbye"),
    (libc::EHOSTUNREACH, "EHOSTUNREACH", "no such host on this network; check the address"),
    (libc::EISDIR, "EISDIR", "that is a directory; add the name of a file"),
    (libc::EMFILE, "EMFILE", "the program has no file descriptor left; `ulimit -n` shows how many it may have"),
    (libc::ENETUNREACH, "ENETUNREACH", "there is no route to that network; `ip route` lists them"),
    (libc::ENFILE, "ENFILE", "the whole system has no file descriptor left"),
    (libc::ENOENT, "ENOENT", "there is no such file or directory; check the spelling, or make the directory first"),
    (libc::ENOSPC, "ENOSPC", "the disk is full"),
    (libc::EPIPE, "EPIPE", "the other side has closed the connection"),
    (libc::ETIMEDOUT, "ETIMEDOUT", "nobody answered; check the address, and firewalls in between"),
];

/// Elsewhere the numbers are others; the system's own words must do.
#[cfg(not(unix))]
const ERRNO: &[(i32, &str, &str)] = &[];

#[cfg(all(test, unix))]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn an_error_names_what_failed_the_errno_and_the_remedy() {
        let error =
            Err::<(), _>(io::Error::from_raw_os_error(libc::EADDRINUSE))
                .context("cannot listen on 127.0.0.1:8080")
                .unwrap_err();
        let expected = "cannot listen on 127.0.0.1:8080: address already in \
            use (EADDRINUSE)\nhelp: end the program that uses it, or take a \
            free port: --listen 127.0.0.1:0";
        assert_eq!(explain(&error), expected);
    }

    #[test]
    fn an_unknown_errno_keeps_the_words_of_the_system() {
        let error =
            anyhow::Error::new(io::Error::from_raw_os_error(libc::EXDEV));
        assert_eq!(explain(&error), "invalid cross-device link");
    }
}
