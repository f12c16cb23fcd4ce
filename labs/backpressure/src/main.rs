//! Write faster than the client reads, and hear when to wait.
//!
//! | Node                               | here                                |
//! | ---------------------------------- | ----------------------------------- |
//! | `socket.write(chunk)`              | `Queue::write`, in `queue.rs`       |
//! | `writableLength`, `bufferSize`     | `Queue::waiting`                    |
//! | `socket.bytesWritten`              | `Queue::written`                    |
//! | `'drain'`                          | `Queue::drained`                    |
//! | `socket.end()`, `'finish'`         | the end of [`send()`]               |
//! | `allowHalfOpen: true`              | nothing: only [`send()`] ends       |
//!
//! ```text
//! terminal 1   cargo run -p backpressure
//! terminal 2   nc 127.0.0.1 8080 < /dev/null | less
//! ```
//!
//! `less` stops reading when its page is full. Press the space bar, then G, and
//! watch terminal 1. Then, in [`send()`], ignore what `write` answers.

mod queue;
mod send;
mod source;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytesize::ByteSize;
use clap::Parser;
use common::{host_port, reason, story};
use send::send;
use socket2::SockRef;
use source::Source;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::ReadHalf;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Write faster than the client reads, and hear when to wait.
///
/// Sends each client a file, or made-up lines. Tells what each write answered,
/// how many bytes wait in memory, and when they have drained.
///
/// Sizes are 500B, 16KB (16,000 bytes), 16KiB (16,384), 8MB, 1GiB and so on.
#[derive(Parser)]
#[command(
    after_help = "Example: cargo run -p backpressure -- --file Cargo.lock --chunk 1KiB\n\
    then, in another terminal: nc 127.0.0.1 8080 < /dev/null | less"
)]
struct Args {
    /// Address to listen on; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    #[arg(value_parser = host_port)]
    listen: String,

    /// Send this file
    #[arg(long, value_name = "PATH", conflicts_with = "size")]
    file: Option<PathBuf>,

    /// Send so many made-up bytes
    #[arg(long, value_name = "SIZE", default_value = "8MB")]
    #[arg(value_parser = |text: &str| size(text, 0..=ByteSize::tb(1).0))]
    size: u64,

    /// How much one write brings
    #[arg(long, value_name = "SIZE", default_value = "16KiB")]
    #[arg(value_parser = memory)]
    chunk: usize,

    /// When so much waits, a write answers: wait
    #[arg(long, value_name = "SIZE", default_value = "16KiB")]
    #[arg(value_parser = memory)]
    high_water_mark: usize,

    /// Ask the kernel for a send buffer of this size (SO_SNDBUF)
    #[arg(long, value_name = "SIZE")]
    #[arg(value_parser = memory)]
    send_buffer: Option<usize>,

    /// Log more to stderr; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// Each client may cost us so much, so this is no more than 16 MiB.
fn memory(text: &str) -> Result<usize, String> {
    size(text, 1..=ByteSize::mib(16).0).map(|n_bytes| n_bytes as usize)
}

fn size(
    text: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, String> {
    let ByteSize(n_bytes) = text
        .parse()
        .map_err(|_| "write it as 500B, 16KB, 16KiB or 8MB")?;
    if !range.contains(&n_bytes) {
        let most = ByteSize(*range.end());
        return Err(format!("from {}B to {most}", range.start()));
    }
    Ok(n_bytes)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let stop = common::start(args.verbose);
    common::finish(run(args, stop).await)
}

async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    let source = match args.file.clone() {
        Some(path) => Source::file(path)?,
        None => Source::made_up(args.size),
    };
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
    let offer = Arc::new((args, source));
    tokio::select! {
        () = serve(listener, offer, &connections, &stop) => {}
        () = stop.cancelled() => {}
    }
    connections.close();
    connections.wait().await;
    Ok(())
}

/// Accepts for ever, one task for each client.
async fn serve(
    listener: TcpListener,
    offer: Arc<(Args, Source)>,
    connections: &TaskTracker,
    stop: &CancellationToken,
) {
    let mut out_of_descriptors = false;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                out_of_descriptors = false;
                let (offer, stop) = (offer.clone(), stop.clone());
                connections.spawn(client(socket, peer, offer, stop));
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

// ANCHOR: client
/// One client, from its coming to its going.
async fn client(
    mut socket: TcpStream,
    peer: SocketAddr,
    offer: Arc<(Args, Source)>,
    stop: CancellationToken,
) {
    // On `[::]` an IPv4 client shows as ::ffff:127.0.0.1; we say 127.0.0.1.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    story!("{peer} connected");
    let result = tokio::select! {
        result = talk(&mut socket, peer, &offer) => result,
        // What waits in the queue is dropped. The first line told the client
        // how much should have come.
        () = stop.cancelled() => socket.shutdown().await,
    };
    match result {
        Ok(()) => story!("{peer} closed"),
        Err(error) => {
            story!("{peer} closed with an error: {}", reason(&error));
        }
    }
}

/// Both directions at once, until both have ended or one is broken.
async fn talk(
    socket: &mut TcpStream,
    peer: SocketAddr,
    (args, source): &(Args, Source),
) -> io::Result<()> {
    if let Some(n_bytes) = args.send_buffer {
        SockRef::from(&*socket).set_send_buffer_size(n_bytes)?;
    }
    let (reader, writer) = socket.split();
    tokio::try_join!(send(writer, peer, args, source), drop_input(reader))?;
    Ok(())
}

/// Nobody has asked the client for anything. But what it sends must be read:
/// its end and its reset come this way, and bytes that are left unread when we
/// close would become a RST, which overtakes what the client is still owed.
//
// NOTE: a client that never ends keeps its connection. A real program would
// set a time for that.
async fn drop_input(mut reader: ReadHalf<'_>) -> io::Result<()> {
    let mut dropped = [0; 1024];
    while reader.read(&mut dropped).await? > 0 {}
    Ok(())
}
// ANCHOR_END: client
