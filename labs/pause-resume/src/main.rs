//! Pause each client, and see the kernel keep what it sends.
//!
//! | Node                         | here                                   |
//! | ---------------------------- | -------------------------------------- |
//! | `pauseOnConnect`, `pause()`  | not reading: [`Client::keep`]          |
//! | `socket.resume()`            | reading: [`Client::receive`]           |
//! | `socket.pipe(file)`          | a queue to the one task in [`write()`] |
//! | there is none                | how much waits: `held`, in `client.rs` |
//!
//! ```text
//! terminal 1   cargo run -p pause-resume
//! terminal 2   telnet 127.0.0.1 8080
//! ```
//!
//! Type lines in terminal 2: for ten seconds the kernel holds them, and then
//! they go to `msg.txt`. Then, in [`Client::keep`], read what comes into a
//! buffer of your own while the client is paused, and send it 50 MB.

mod client;

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use client::Client;
use common::{host_port, reason, story};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many chunks may wait for the file. Then nothing more is read, as if all
/// clients were paused.
const QUEUE: usize = 16;

/// Pause each client, and see the kernel keep what it sends.
///
/// While a client is paused, nothing is read from it: the kernel keeps what
/// fits, and then the client must wait. After the pause all of it goes to the
/// file, and so does all that comes later.
#[derive(Parser)]
#[command(after_help = "Example: cargo run -p pause-resume -- --pause 30s\n\
    then, in another terminal: telnet 127.0.0.1 8080")]
struct Args {
    /// Address to listen on; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    #[arg(value_parser = host_port)]
    listen: String,

    /// How long each client is paused at first, such as 500ms or 10s
    #[arg(long, value_name = "TIME", default_value = "10s")]
    #[arg(value_parser = limited)]
    pause: humantime::Duration,

    /// Where what arrives is written; what was in it is lost
    #[arg(long, value_name = "PATH", default_value = "msg.txt")]
    file: PathBuf,

    /// Log more to stderr; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// A time that is not none and not for ever.
fn limited(text: &str) -> Result<humantime::Duration, String> {
    let form = "write a time from 1ms to 1h, such as 500ms or 10s";
    let time: humantime::Duration =
        text.parse().map_err(|error| format!("{error}; {form}"))?;
    let range = Duration::from_millis(1)..=Duration::from_secs(3600);
    range.contains(&time).then_some(time).ok_or(form.to_owned())
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
    let cannot_write = format!("cannot write to {}", args.file.display());
    // Before any client comes, so that none learns it first.
    let file = File::create(&args.file).context(cannot_write.clone())?;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    story!("listening on {address}");
    if !address.ip().is_loopback() {
        warn!(%address, "everybody who can reach this machine can connect");
    }

    let (to_file, chunks) = mpsc::channel(QUEUE);
    let broken = stop.clone();
    let writing = tokio::spawn(async move {
        let written = write(file, chunks).await;
        written.inspect_err(|_| broken.cancel())
    });
    let connections = TaskTracker::new();
    tokio::select! {
        () = serve(listener, args.pause, to_file, &connections, &stop) => {}
        () = stop.cancelled() => {}
    }
    connections.close();
    connections.wait().await;
    // No sender is left, so the queue ends, and with it the writing.
    writing.await?.context(cannot_write)
}
// ANCHOR_END: run

// ANCHOR: write
/// The one owner of the file: chunks of two clients are never mixed. A write
/// to a file blocks, so another thread does it, as in Node.
async fn write(
    mut file: File,
    mut chunks: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    while let Some(chunk) = chunks.recv().await {
        let write = move || file.write_all(&chunk).map(|()| file);
        file = spawn_blocking(write).await??;
    }
    Ok(())
}
// ANCHOR_END: write

/// Accepts for ever, one task for each client.
async fn serve(
    listener: TcpListener,
    pause: humantime::Duration,
    to_file: mpsc::Sender<Vec<u8>>,
    connections: &TaskTracker,
    stop: &CancellationToken,
) {
    let mut out_of_descriptors = false;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                out_of_descriptors = false;
                let (to_file, stop) = (to_file.clone(), stop.clone());
                connections.spawn(talk(socket, peer, pause, to_file, stop));
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

/// One client, from its coming to its going.
async fn talk(
    socket: TcpStream,
    peer: SocketAddr,
    pause: humantime::Duration,
    to_file: mpsc::Sender<Vec<u8>>,
    stop: CancellationToken,
) {
    // On `[::]` an IPv4 client shows as ::ffff:127.0.0.1; we say 127.0.0.1.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    story!("{peer} connected, paused for {pause}");
    let mut client = Client::new(socket, peer, to_file);
    let result = client.keep(pause.into(), &stop).await;
    let n_bytes = client.n_read();
    drop(client);
    match result {
        Ok(()) => story!("{peer} closed after {n_bytes} bytes"),
        Err(error) => story!(
            "{peer} closed after {n_bytes} bytes with an error: {}",
            reason(&error)
        ),
    }
}
