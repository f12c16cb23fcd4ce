//! Pipe what clients send into one file that stays open.
//!
//! | Node                               | here                                |
//! | ---------------------------------- | ----------------------------------- |
//! | `fs.createWriteStream(path)`       | [`Sink::open`], [`Sink::begin`]     |
//! | `socket.pipe(file, {end: false})`  | the loop in [`pipe::pipe`]          |
//! | `socket.unpipe(file)`, `resume()`  | [`pipe::PipeEnd::Unpiped`]          |
//! | `file.write('over')` at an end     | `--end-text over`                   |
//! | `'error'` of the file              | [`pipe::PipeEnd::Failed`]           |
//!
//! ```text
//! terminal 1   cargo run -p pipe-to-file
//! terminal 2   tail -f msg.txt
//! terminal 3   nc 127.0.0.1 8080      (or: telnet 127.0.0.1 8080)
//! ```
//!
//! Type in terminal 3 and watch terminal 2. Then run it with
//! `--file /dev/full`: a disk that is always full.

mod pipe;
mod sink;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use common::{host_port, reason, story};
use pipe::talk;
use sink::Sink;
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Pipe what clients send into one file that stays open.
///
/// Clients take turns: what has come from one goes to the file, then it is the
/// next one's turn. When the file cannot be written, the client is told.
#[derive(Parser)]
#[command(
    after_help = "Example: cargo run -p pipe-to-file -- --end-text over --append\n\
    then, in another terminal: nc 127.0.0.1 8080"
)]
struct Args {
    /// Address to listen on; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    #[arg(value_parser = host_port)]
    listen: String,

    /// Where to write what the clients send
    #[arg(long, value_name = "PATH", default_value = "msg.txt")]
    file: PathBuf,

    /// Keep what is in the file, and write behind it
    #[arg(long)]
    append: bool,

    /// Drop what a client sends later than this, such as 500ms or 5s
    #[arg(long, value_name = "TIME")]
    unpipe_after: Option<humantime::Duration>,

    /// Write this when a client ends, or is unpiped
    #[arg(long, value_name = "TEXT", default_value = "")]
    end_text: String,

    /// Log more to stderr; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// What all connections share.
struct Server {
    args: Args,
    sink: Arc<Mutex<Sink>>,
    stop: CancellationToken,
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
    let sink = Sink::open(&args.file).with_context(|| cannot_write.clone())?;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    story!("listening on {address}");
    if !address.ip().is_loopback() {
        warn!(%address, "everybody who can reach this machine can connect");
    }
    // Not before the port is ours: a second server, which cannot have it, must
    // not empty the file of the first.
    let n_bytes = sink
        .begin(args.append)
        .with_context(|| cannot_write.clone())?;
    let path = args.file.display();
    match args.append {
        true => story!("appending to {path} after {n_bytes} bytes"),
        false => story!("writing to {path}, {n_bytes} bytes dropped"),
    }

    let sink = Arc::new(Mutex::new(sink));
    let server = Arc::new(Server {
        args,
        sink: sink.clone(),
        stop: stop.clone(),
    });
    let connections = TaskTracker::new();
    tokio::select! {
        () = serve(listener, server, &connections) => {}
        () = stop.cancelled() => {}
    }
    connections.close();
    connections.wait().await;
    // On another thread, so that a second Ctrl-C is heard if this takes long.
    let sink = sink.lock_owned().await;
    spawn_blocking(move || sink.sync())
        .await?
        .context(cannot_write)
}
// ANCHOR_END: run

/// Accepts for ever, one task for each client.
async fn serve(
    listener: TcpListener,
    server: Arc<Server>,
    connections: &TaskTracker,
) {
    let mut out_of_descriptors = false;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                out_of_descriptors = false;
                connections.spawn(talk(socket, peer, server.clone()));
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
