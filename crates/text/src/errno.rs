//! Errors of the system, in words.

use std::io;

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

/// What to do about an error, where there is something to do.
pub fn help(error: &io::Error) -> Option<&'static str> {
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
        // Limits of our own: the system does not know of them.
        #[cfg(unix)]
        io::ErrorKind::InvalidFilename => libc::ENAMETOOLONG,
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
    (libc::EACCES, "EACCES", "ports below 1024 belong to root, take one above, such as 8080; of a file, `ls -l` shows who may use it; to broadcast, a socket needs SO_BROADCAST"),
    (libc::EADDRINUSE, "EADDRINUSE", "end the program that uses it, or take another address or port; port 0 is any free one"),
    (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL", "this machine has no such address; `ip addr` lists those it has"),
    (libc::EBADF, "EBADF", "no such descriptor is open; who starts the program must leave it open for it"),
    (libc::ECONNABORTED, "ECONNABORTED", ""),
    (libc::ECONNREFUSED, "ECONNREFUSED", "nobody listens there; start the server first, and compare the ports"),
    (libc::ECONNRESET, "ECONNRESET", "the other side ended the connection without a goodbye"),
    (libc::EDQUOT, "EDQUOT", "your share of the disk is used up; `quota` shows it, delete something"),
    (libc::EFBIG, "EFBIG", "the file is as large as it may be; `ulimit -f` shows the limit"),
    (libc::EHOSTUNREACH, "EHOSTUNREACH", "no such host on this network; check the address"),
    (libc::EINVAL, "EINVAL", "that cannot be done with this; name an ordinary file, an address, or a socket that listens"),
    (libc::EIO, "EIO", "the disk itself fails; `dmesg` says more"),
    (libc::EISDIR, "EISDIR", "that is a directory; add the name of a file"),
    (libc::EMFILE, "EMFILE", "the program has no file descriptor left; `ulimit -n` shows how many it may have"),
    (libc::EMSGSIZE, "EMSGSIZE", "one datagram has room for 65,507 bytes over IPv4, 65,527 over IPv6; send less, or several, or use TCP"),
    (libc::ENAMETOOLONG, "ENAMETOOLONG", "the path of a Unix socket has room for 107 bytes; take a shorter one, or one that begins in the current directory"),
    (libc::ENETUNREACH, "ENETUNREACH", "there is no route to that network; `ip route` lists them"),
    (libc::ENFILE, "ENFILE", "the whole system has no file descriptor left"),
    (libc::ENODEV, "ENODEV", "this machine has no such interface; `ip link` lists those it has"),
    (libc::ENOENT, "ENOENT", "there is no such file or directory; check the spelling, or make the directory first"),
    (libc::ENOSPC, "ENOSPC", "the disk is full; `df -h` shows which, delete something there"),
    (libc::ENOTDIR, "ENOTDIR", "a part of the path is a file, not a directory; check the spelling"),
    (libc::ENOTSOCK, "ENOTSOCK", "that descriptor is something else; a server needs a socket that listens"),
    (libc::ENXIO, "ENXIO", "that is a socket, or a device that is not there; name an ordinary file"),
    (libc::EPIPE, "EPIPE", "the other side has closed the connection"),
    (libc::EPROTOTYPE, "EPROTOTYPE", "that is a socket of another kind; a TCP server needs a TCP socket that listens"),
    (libc::EROFS, "EROFS", "that disk can only be read; name a file on another"),
    (libc::ETIMEDOUT, "ETIMEDOUT", "nobody answered; check the address, and firewalls in between"),
];

/// Elsewhere the numbers are others; the system's own words must do.
#[cfg(not(unix))]
const ERRNO: &[(i32, &str, &str)] = &[];

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_known_errno_has_its_name_and_a_remedy() {
        let error = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert_eq!(reason(&error), "connection refused (ECONNREFUSED)");
        assert!(help(&error).unwrap().contains("start the server first"));
    }

    #[test]
    fn an_unknown_errno_keeps_the_words_of_the_system() {
        let error = io::Error::from_raw_os_error(libc::EXDEV);
        assert_eq!(reason(&error), "invalid cross-device link");
        assert_eq!(help(&error), None);
    }
}
