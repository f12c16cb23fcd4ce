//! How a listener passes from one program to the next: the protocol of systemd,
//! sd_listen_fds(3). An open descriptor survives execve(2) unless it is marked
//! close-on-exec, and two variables say that one was left open, and for whom.

use std::net::TcpListener;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::CommandExt;
use std::process::{self, Command};
use std::{env, fs, io};

use anyhow::Context;
use command_fds::{CommandFdExt, FdMapping};
use listenfd::ListenFd;
use rustix::io::Errno;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The first descriptor after stdin, stdout and stderr.
const FIRST: i32 = 3;

// ANCHOR: inherited
/// The listener that a parent has left open for us, if it says so.
pub(crate) fn inherited() -> anyhow::Result<Option<TcpListener>> {
    let count = variable("LISTEN_FDS");
    let pid = variable("LISTEN_PID");
    // Variables pass to children's children, descriptors mostly do not: at 3
    // may be something else by now. systemd says nothing without a process id;
    // `systemfd --no-pid` does, for programs that `cargo watch` starts.
    let is_for_us = pid.is_empty() || pid == process::id().to_string();
    match count.as_str() {
        _ if !is_for_us => Ok(None),
        "" | "0" => Ok(None),
        "1" => {
            let listener = take();
            listener
                .map(Some)
                .with_context(|| format!("cannot listen on descriptor {FIRST}"))
        }
        _ => Err(io::Error::from(Errno::INVAL))
            .with_context(|| format!("cannot use LISTEN_FDS={count:?}")),
    }
}

fn variable(name: &str) -> String {
    let value = env::var_os(name).unwrap_or_default();
    value.to_string_lossy().into_owned()
}
// ANCHOR_END: inherited

// ANCHOR: take
/// Makes a number a listener, once it is known to be one.
fn take() -> io::Result<TcpListener> {
    // This takes the variables out of our environment, and marks the descriptor
    // close-on-exec: what we start has no part in it.
    let Ok(Some(listener)) = ListenFd::from_env().take_tcp_listener(0) else {
        return Err(what_is_wrong().into());
    };
    // On macOS the kernel does not tell. There, accept fails.
    #[cfg(not(target_vendor = "apple"))]
    if !rustix::net::sockopt::socket_acceptconn(&listener)? {
        return Err(Errno::INVAL.into());
    }
    // The mark belongs to the open socket, not to our number for it: the
    // parent's is non-blocking from now on as well.
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What the kernel would answer to a call that needs a TCP socket.
fn what_is_wrong() -> Errno {
    match fs::metadata(format!("/dev/fd/{FIRST}")) {
        Err(_) => Errno::BADF,
        Ok(found) if found.file_type().is_socket() => Errno::PROTOTYPE,
        Ok(_) => Errno::NOTSOCK,
    }
}
// ANCHOR_END: take

// ANCHOR: restart
/// Becomes the program anew, with the listener at descriptor 3. Returns only if
/// that fails. The process stays the same, and all of its descriptors are
/// closed but for the first four.
pub(crate) fn restart_with(listener: TcpListener) -> io::Error {
    // As it was called, and not `current_exe()`: when cargo has built it anew,
    // the file that we are running is gone, and the name is that of the new.
    let mut words = env::args_os();
    let mut command = Command::new(words.next().unwrap_or_default());
    command
        .args(words)
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", process::id().to_string())
        .env_remove("LISTEN_FDNAMES");
    let mapping = FdMapping {
        parent_fd: listener.into(),
        child_fd: FIRST,
    };
    match command.fd_mappings(vec![mapping]) {
        Ok(command) => command.exec(),
        Err(collision) => io::Error::other(collision),
    }
}

/// SIGHUP, once the sign that a modem has hung up. Who does not handle it dies
/// of it, so many servers take it for a wish to start anew.
pub(crate) struct Hangup(Signal);

impl Hangup {
    pub(crate) fn new() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Hangup)
    }

    pub(crate) async fn recv(&mut self) {
        self.0.recv().await;
    }
}
// ANCHOR_END: restart
