//! Notice a silent connection, and decide what to do about it.
//!
//! | Node                            | here                                   |
//! | ------------------------------- | -------------------------------------- |
//! | `socket.setTimeout(ms)`         | [`idle::Idle::new`]                    |
//! | `'timeout'`                     | [`idle::Idle::expired`]                |
//! | `socket.setTimeout(0)`          | `--idle 0`, or dropping the `Idle`     |
//! | `pauseOnConnect`, `pipe(file)`  | `Bytes::Stay`, then `Bytes::Pipe`      |
//! | `socket.end()`                  | `end`, in `converse.rs`                |
//! | `socket.destroy()`              | dropping the [`TcpStream`]             |
//!
//! ```text
//! terminal 1   cargo run -p timeout
//! terminal 2   telnet 127.0.0.1 8080
//! ```
//!
//! Type a line in terminal 2, and wait five seconds: only then is it read, and
//! goes to `msg.txt`. Then, in [`converse()`], do not reset the timer at a read.

mod converse;
mod idle;

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use common::{host_port, reason, story};
use converse::converse;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many chunks may wait for the file. Then reading waits, and the clients.
const QUEUE: usize = 16;

/// Notice a silent connection, and decide what to do about it.
///
/// A connection is idle when for a time nothing was read from it and nothing
/// written to it. That is told once, and again only after something has moved.
#[derive(Parser)]
#[command(
    after_help = "Example: cargo run -p timeout -- --idle 2s --then end\n\
    then, in another terminal: telnet 127.0.0.1 8080"
)]
struct Args {
    /// Address to listen on; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    #[arg(value_parser = host_port)]
    listen: String,

    /// How long nothing must happen, such as 500ms or 5s; 0 for never
    #[arg(long, value_name = "TIME", default_value = "5s")]
    #[arg(value_parser = idle_time)]
    idle: humantime::Duration,

    /// What to do about an idle connection
    #[arg(long, value_name = "WHAT", default_value = "pipe")]
    then: Then,

    /// Where `--then pipe` writes; what was in it is lost
    #[arg(long, value_name = "PATH", default_value = "msg.txt")]
    file: PathBuf,

    /// Log more to stderr; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Then {
    /// Begin to read, and write what comes to the file
    Pipe,
    /// Echo until then; write what is owed, then end (FIN)
    End,
    /// Echo until then; drop the connection as it is
    Destroy,
    /// Echo, and go on
    Nothing,
}

/// The timers of Node hold 31 bits of milliseconds. More is cut to that there.
fn idle_time(text: &str) -> Result<humantime::Duration, String> {
    let time: humantime::Duration =
        text.parse().map_err(|_| "write it as 500ms, 5s, 2m or 0")?;
    if time.as_millis() > i32::MAX as u128 {
        return Err("24 days is the most".to_owned());
    }
    Ok(time)
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
    let file: Box<dyn Write + Send> = match args.then {
        // Before any client comes, so that none learns it first.
        Then::Pipe => Box::new(
            File::create(&args.file).with_context(|| cannot_write.clone())?,
        ),
        _ => Box::new(io::sink()),
    };
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
        () = serve(listener, Arc::new(args), to_file, &connections, &stop) => {}
        () = stop.cancelled() => {}
    }
    connections.close();
    connections.wait().await;
    // No sender is left, so the queue ends, and with it the writing.
    writing.await?.context(cannot_write)
}
// ANCHOR_END: run

// ANCHOR: write
/// The one owner of the file. A file is always "ready", so there is nothing to
/// wait for but the write itself: on another thread, as in Node.
async fn write(
    mut file: Box<dyn Write + Send>,
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
    args: Arc<Args>,
    to_file: mpsc::Sender<Vec<u8>>,
    connections: &TaskTracker,
    stop: &CancellationToken,
) {
    let mut out_of_descriptors = false;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                out_of_descriptors = false;
                let (args, to_file) = (args.clone(), to_file.clone());
                let stop = stop.clone();
                connections.spawn(talk(socket, peer, args, to_file, stop));
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
    mut socket: TcpStream,
    peer: SocketAddr,
    args: Arc<Args>,
    to_file: mpsc::Sender<Vec<u8>>,
    stop: CancellationToken,
) {
    // On `[::]` an IPv4 client shows as ::ffff:127.0.0.1; we say 127.0.0.1.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    story!("{peer} connected");
    let result = tokio::select! {
        result = converse(&mut socket, peer, &args, to_file) => result,
        () = stop.cancelled() => socket.shutdown().await,
    };
    drop(socket);
    match result {
        Ok(()) => story!("{peer} closed"),
        Err(error) => {
            story!("{peer} closed with an error: {}", reason(&error));
        }
    }
}
