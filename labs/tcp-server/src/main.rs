//! Accept connections, greet each client, echo what it sends.
//!
//! | Node                               | here                                 |
//! | ---------------------------------- | ------------------------------------ |
//! | `net.createServer()`, `listen()`   | [`listen`], with [`Socket`]          |
//! | `server.address()`                 | [`TcpListener::local_addr`]          |
//! | `server.on('connection')`          | the loop in [`serve`]                |
//! | `socket.on('data')`, `bytesRead`   | the loop in [`echo`]                 |
//! | `socket.setEncoding('utf8')`       | [`Utf8`]                             |
//! | `'end'`, `'error'`, `'close'`      | `Ok(0)`, `Err`, the end of [`talk`]  |
//!
//! ```text
//! terminal 1   cargo run -p tcp-server
//! terminal 2   telnet 127.0.0.1 8080      (or: nc 127.0.0.1 8080)
//! ```
//!
//! Type a line in terminal 2 and watch both. Then, in [`serve`], wait for the
//! client instead of spawning a task for it, and connect twice.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use common::{Utf8, host_port, quote, reason, story};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// The most that one read brings; Node reads up to 64 KiB, too.
const CHUNK: usize = 64 * 1024;

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accept connections, greet each client, echo what it sends.
///
/// Shows who connects, every chunk as text with the bytes so far, and how each
/// connection ends.
#[derive(Parser)]
#[command(
    after_help = "Example: cargo run -p tcp-server -- --listen [::]:8080\n\
    then, in another terminal: telnet 127.0.0.1 8080"
)]
struct Args {
    /// Address to listen on; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    #[arg(value_parser = host_port)]
    listen: String,

    /// How many finished connections may wait to be accepted
    #[arg(long, value_name = "N", default_value_t = 511)]
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    backlog: i32,

    /// Log more to stderr; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let stop = common::start(args.verbose);
    common::finish(run(args, stop).await)
}

// ANCHOR: run
async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    // Like Node, the first answer for a name and no other.
    let address = lookup_host(&args.listen)
        .await
        .with_context(|| format!("cannot resolve {}", args.listen))?
        .next()
        .with_context(|| format!("{} has no address", args.listen))?;
    let listener = listen(address, args.backlog)
        .with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    story!("listening on {address}");
    if !address.ip().is_loopback() {
        warn!(%address, "everybody who can reach this machine can connect");
    }

    let connections = TaskTracker::new();
    tokio::select! {
        () = serve(listener, &connections, &stop) => {}
        () = stop.cancelled() => {}
    }

    // The listener is gone. The connections see the same token, and end.
    connections.close();
    connections.wait().await;
    Ok(())
}
// ANCHOR_END: run

// ANCHOR: listen
/// Makes a listening socket with the system calls that Node makes: socket,
/// setsockopt, bind, listen.
fn listen(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // Without it, a restart fails while old connections are in TIME-WAIT. On
    // Windows the same name means another thing: stealing a port in use.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 clients as well.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}
// ANCHOR_END: listen

// ANCHOR: serve
/// Accepts for ever, one task for each client.
async fn serve(
    listener: TcpListener,
    connections: &TaskTracker,
    stop: &CancellationToken,
) {
    let mut out_of_descriptors = false;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                out_of_descriptors = false;
                connections.spawn(talk(socket, peer, stop.clone()));
            }
            // The client left while it waited in the queue: its own affair.
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
            // No descriptor is left (EMFILE). The client stays in the queue,
            // so asking again at once would fail again at once, for ever.
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
/// One client, from its greeting to its end. It answers for its own errors:
/// nobody waits for what a spawned task returns.
async fn talk(
    mut socket: TcpStream,
    peer: SocketAddr,
    stop: CancellationToken,
) {
    // On `[::]` an IPv4 client shows as ::ffff:127.0.0.1; we say 127.0.0.1.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let result = tokio::select! {
        result = echo(&mut socket, peer) => result,
        () = stop.cancelled() => socket.shutdown().await,
    };
    // Node: 'error', if there was one, and always 'close'.
    match result {
        Ok(()) => story!("{peer} closed"),
        Err(error) => {
            story!("{peer} closed with an error: {}", reason(&error));
        }
    }
}
// ANCHOR_END: talk

// ANCHOR: echo
async fn echo(socket: &mut TcpStream, peer: SocketAddr) -> io::Result<()> {
    let local = socket.local_addr()?;
    let local = SocketAddr::new(local.ip().to_canonical(), local.port());
    story!("{peer} connected to {local}");
    let greeting = format!("hello, you are {peer}\r\n");
    socket.write_all(greeting.as_bytes()).await?;

    let mut text = Utf8::default();
    let mut bytes_read = 0;
    loop {
        // Wait first and take memory then: a thousand silent clients need a
        // thousand sockets, but not a thousand buffers.
        socket.readable().await?;
        let mut chunk = Vec::with_capacity(CHUNK);
        let n_bytes = socket.read_buf(&mut chunk).await?;
        if n_bytes == 0 {
            break;
        }
        // One read can hold half a line or three lines: TCP keeps the order
        // of the bytes, not where the client's writes began and ended.
        bytes_read += n_bytes;
        tell(peer, &text.push(&chunk), bytes_read);
        // As long as the client does not read, this waits, and so we read no
        // more from it: its own window fills, not our memory.
        socket.write_all(&chunk).await?;
    }

    // The client's FIN. All it is owed has been written; now comes ours.
    tell(peer, &text.end(), bytes_read);
    story!("{peer} ended");
    socket.shutdown().await
}

/// A read that brought only the beginning of a character tells nothing yet.
fn tell(peer: SocketAddr, text: &str, bytes_read: usize) {
    if !text.is_empty() {
        story!("{peer} sent {}, {bytes_read} bytes so far", quote(text));
    }
}
// ANCHOR_END: echo
