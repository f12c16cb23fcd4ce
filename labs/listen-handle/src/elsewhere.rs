//! Where there is no execve(2): a listener can be inherited (on Windows, from
//! `systemfd`), and not handed on.

use std::future::pending;
use std::io;
use std::net::TcpListener;

use anyhow::Context;
use listenfd::ListenFd;

pub(crate) fn inherited() -> anyhow::Result<Option<TcpListener>> {
    let listener = ListenFd::from_env()
        .take_tcp_listener(0)
        .context("cannot take the listener that was handed over")?;
    if let Some(listener) = &listener {
        listener.set_nonblocking(true)?;
    }
    Ok(listener)
}

pub(crate) fn restart_with(_: TcpListener) -> io::Error {
    io::ErrorKind::Unsupported.into()
}

/// There is no SIGHUP either.
pub(crate) struct Hangup;

impl Hangup {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Hangup)
    }

    pub(crate) async fn recv(&mut self) {
        pending().await
    }
}
