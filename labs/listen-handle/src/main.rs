//! Serve on a listener that somebody else has opened, and hand it on.
//!
//! | Node                        | here                                      |
//! | --------------------------- | ----------------------------------------- |
//! | `server.listen({ fd: 3 })`  | [`handle::inherited`]                     |
//! | `server.listen(port, host)` | [`bind`], when nothing is inherited       |
//! | `server.close()`            | leaving [`serve`]; the listener stays     |
//! | no counterpart in Node 20   | [`handle::restart_with`], on SIGHUP       |
//!
//! ```text
//! terminal 1   cargo run -p listen-handle
//! terminal 2   telnet 127.0.0.1 8080
//! terminal 3   kill -HUP ...
//! ```
//!
//! The third command, with the id that the server tells, restarts it. Its
//! clients see the end of the stream, and who connects meanwhile waits in the
//! queue of the listener, which the old program hands to the new. Then, in
//! [`handle::restart_with`], hand nothing over, and see who is refused.

#[cfg_attr(not(unix), path = "elsewhere.rs")]
mod handle;

use std::io;
use std::net::{self, SocketAddr};
use std::process::{self, ExitCode};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use common::{host_port, reason, story};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most that one read brings.
const CHUNK: usize = 1024;

/// Serve on a listener that somebody else has opened, and hand it on.
///
/// Echoes what its clients send. If the variable LISTEN_FDS says so, it serves
/// on descriptor 3, which its parent has left open; otherwise it opens a
/// listener itself. On SIGHUP it starts itself anew, and keeps the listener.
#[derive(Parser)]
#[command(
    after_help = "Example: systemfd -s tcp::127.0.0.1:8080 -- listen-handle\n\
    then, in another terminal: telnet 127.0.0.1 8080"
)]
struct Args {
    /// Where to listen when no listener is inherited; port 0 is any free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    #[arg(value_parser = host_port)]
    listen: String,

    /// Log more to stderr; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

// ANCHOR: main
fn main() -> ExitCode {
    let args = Args::parse();
    // Before anything else is opened: that would get the lowest number which
    // is free, and if the parent has left nothing at 3, that is 3.
    let inherited = handle::inherited();
    start(args, inherited)
}

#[tokio::main(flavor = "current_thread")]
async fn start(
    args: Args,
    inherited: anyhow::Result<Option<net::TcpListener>>,
) -> ExitCode {
    let stop = common::start(args.verbose);
    common::finish(run(args, inherited, stop).await)
}
// ANCHOR_END: main

// ANCHOR: run
async fn run(
    args: Args,
    inherited: anyhow::Result<Option<net::TcpListener>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (listener, how) = match inherited? {
        Some(listener) => (TcpListener::from_std(listener)?, "an inherited"),
        None => (bind(&args.listen).await?, "a new"),
    };
    let mut hangup = handle::Hangup::new()?;
    let address = listener.local_addr()?;
    // In one piece: `| head -1` is to see a server, and not one that ends because
    // nobody reads its second line.
    story!(
        "listening on {address}\nprocess {} serves on {how} listener",
        process::id()
    );
    if !address.ip().is_loopback() {
        warn!(%address, "everybody who can reach this machine can connect");
    }

    let connections = TaskTracker::new();
    let leave = stop.child_token();
    let restarts = tokio::select! {
        () = serve(&listener, &connections, &leave) => false,
        () = stop.cancelled() => false,
        () = hangup.recv() => true,
    };

    // Nobody accepts any more. Who is in the queue stays there: that queue is
    // the kernel's, and lives as long as anybody has the listener open.
    leave.cancel();
    connections.close();
    connections.wait().await;
    if stop.is_cancelled() || !restarts {
        return Ok(());
    }
    story!("restarting");
    Err(handle::restart_with(listener.into_std()?)).context("cannot restart")
}
// ANCHOR_END: run

/// Opens a listener of its own, as every other lab does.
async fn bind(listen: &str) -> anyhow::Result<TcpListener> {
    let address = lookup_host(listen)
        .await
        .with_context(|| format!("cannot resolve {listen}"))?
        .next()
        .with_context(|| format!("{listen} has no address"))?;
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

// ANCHOR: serve
/// Accepts for ever. It only borrows the listener, so that its end is not the
/// listener's.
async fn serve(
    listener: &TcpListener,
    connections: &TaskTracker,
    leave: &CancellationToken,
) {
    let mut out_of_descriptors = false;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                out_of_descriptors = false;
                connections.spawn(talk(socket, peer, leave.clone()));
            }
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
            // EMFILE: no descriptor is left; the client waits in the queue.
            Err(error) => {
                if !out_of_descriptors {
                    let error = reason(&error);
                    warn!(error, "cannot accept; waiting");
                }
                out_of_descriptors = true;
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
// ANCHOR_END: serve

// ANCHOR: talk
/// One client, from its greeting to its end.
async fn talk(
    mut socket: TcpStream,
    peer: SocketAddr,
    leave: CancellationToken,
) {
    // On `[::]` an IPv4 client shows as ::ffff:127.0.0.1; we say 127.0.0.1.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    story!("{peer} connected");
    match converse(&mut socket, leave).await {
        Ok(()) => story!("{peer} left"),
        Err(error) => story!("{peer} left with an error: {}", reason(&error)),
    }
}

async fn converse(
    socket: &mut TcpStream,
    leave: CancellationToken,
) -> io::Result<()> {
    // Outside of `select!`: whoever was accepted has left the queue, so no
    // other process will greet it. A new connection has room for a line.
    socket.write_all(b"welcome\r\n").await?;
    tokio::select! {
        result = echo(socket) => result,
        // NOTE: what is on its way to us right now is lost. A real program
        // would let each client finish what it has begun, for a while.
        () = leave.cancelled() => socket.shutdown().await,
    }
}
// ANCHOR_END: talk

async fn echo(socket: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; CHUNK];
    loop {
        let n_bytes = socket.read(&mut buffer).await?;
        if n_bytes == 0 {
            return socket.shutdown().await;
        }
        socket.write_all(&buffer[..n_bytes]).await?;
    }
}
