//! Stop listening, go on serving, end with the last client.
//!
//! | Node                 | here                                           |
//! | -------------------- | ---------------------------------------------- |
//! | `server.close()`     | dropping the [`TcpListener`] in [`serve`]      |
//! | `'close'`            | [`TaskTracker::wait`] in [`run`]               |
//! | `getConnections()`   | [`TaskTracker::len`]                           |
//!
//! ```text
//! terminal 1      cargo run -p close
//! terminals 2-4   telnet 127.0.0.1 8080
//! ```
//!
//! The second client closes the listener: the third is refused, while the two
//! go on. Leave with Ctrl-] and `quit`. Then, in [`run`], do not wait for the
//! connections, and see what becomes of them.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
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

/// Stop listening, go on serving, end with the last client.
///
/// Echoes what its clients send. When enough have come, it takes no more: new
/// ones are refused, those it has are served on, and when the last of them has
/// left, the program ends.
#[derive(Parser)]
#[command(after_help = "Example: cargo run -p close -- --after 1\n\
    then, in another terminal: telnet 127.0.0.1 8080")]
struct Args {
    /// Address to listen on; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    #[arg(value_parser = host_port)]
    listen: String,

    /// Close the listener when so many clients are connected
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    after: u32,

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
    let address = lookup_host(&args.listen)
        .await
        .with_context(|| format!("cannot resolve {}", args.listen))?
        .next()
        .with_context(|| format!("{} has no address", args.listen))?;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    story!("listening on {address}");
    if !address.ip().is_loopback() {
        warn!(%address, "everybody who can reach this machine can connect");
    }

    let connections = TaskTracker::new();
    tokio::select! {
        () = serve(listener, args.after as usize, &connections, &stop) => {
            story!("no longer listening on {address}");
        }
        () = stop.cancelled() => {}
    }

    // Node's 'close': there is no listener and no connection any more.
    connections.close();
    connections.wait().await;
    story!("closed");
    Ok(())
}
// ANCHOR_END: run

// ANCHOR: serve
/// Accepts until `after` clients are connected. The listener is dropped at the
/// end, and with it its socket: from then on the kernel answers a SYN with RST,
/// also to those who were in the queue and never accepted.
async fn serve(
    listener: TcpListener,
    after: usize,
    connections: &TaskTracker,
    stop: &CancellationToken,
) {
    let mut out_of_descriptors = false;
    while connections.len() < after {
        match listener.accept().await {
            Ok((socket, peer)) => {
                out_of_descriptors = false;
                connections.spawn(talk(socket, peer, stop.clone()));
                let count = connections.len();
                let peer = canonical(peer);
                story!("{peer} connected, {count} of {after}");
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
/// One client. It knows nothing of the listener, and does not need it.
async fn talk(
    mut socket: TcpStream,
    peer: SocketAddr,
    stop: CancellationToken,
) {
    let result = tokio::select! {
        result = echo(&mut socket) => result,
        () = stop.cancelled() => socket.shutdown().await,
    };
    let peer = canonical(peer);
    match result {
        Ok(()) => story!("{peer} left"),
        Err(error) => story!("{peer} left with an error: {}", reason(&error)),
    }
}

async fn echo(socket: &mut TcpStream) -> io::Result<()> {
    socket.write_all(b"welcome\r\n").await?;
    let mut buffer = [0; CHUNK];
    loop {
        let n_bytes = socket.read(&mut buffer).await?;
        if n_bytes == 0 {
            return socket.shutdown().await;
        }
        socket.write_all(&buffer[..n_bytes]).await?;
    }
}
// ANCHOR_END: talk

/// On `[::]` an IPv4 client shows as ::ffff:127.0.0.1; we say 127.0.0.1.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}
