//! What a program stays alive for: unref and ref.
//!
//! | Node                    | here                                         |
//! | ----------------------- | -------------------------------------------- |
//! | `server.ref()`          | [`Handles::ref_listener`] takes a token      |
//! | `server.unref()`        | [`Handles::unref_listener`] drops it         |
//! | the loop counts handles | [`TaskTracker`] counts tokens and tasks      |
//! | `'beforeExit'`          | [`Handles::none_left`] in [`run`]            |
//! | `allowHalfOpen: true`   | always; we end our side in [`echo`]          |
//!
//! ```text
//! terminal 1      cargo run -p unref
//! terminals 2-4   telnet 127.0.0.1 8080
//! ```
//!
//! Connect twice, and leave once with Ctrl-] and `quit`: from now on nobody
//! stays for the listener. Connect again: it still listens. When the last one
//! leaves, the program ends. Then, in [`serve`], spawn `talk` with
//! `tokio::spawn`, and see whom the program no longer waits for.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use common::{host_port, reason, story};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::warn;

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most that one read brings.
const CHUNK: usize = 1024;

/// What a program stays alive for: unref and ref.
///
/// Echoes what its clients send. Once its listener is unref'ed, it takes new
/// clients as before, but it ends as soon as it has none.
#[derive(Parser)]
#[command(after_help = "Example: cargo run -p unref -- --unref-at never\n\
    then, in another terminal: telnet 127.0.0.1 8080")]
struct Args {
    /// Address to listen on; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    #[arg(value_parser = host_port)]
    listen: String,

    /// When to stop staying alive for the listener
    #[arg(long, value_name = "WHEN", value_enum)]
    #[arg(default_value_t = UnrefAt::FirstEnd)]
    unref_at: UnrefAt,

    /// Log more to stderr; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UnrefAt {
    /// As soon as it listens
    Start,
    /// When the first client has ended its side, or broken off
    FirstEnd,
    /// Not at all: only Ctrl-C ends the program
    Never,
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

    let handles = Handles::new(args.unref_at);
    handles.ref_listener();
    // This task accepts for ever, and keeps nothing alive: a program ends when
    // `main` returns, whatever its tasks are doing.
    let accepting =
        tokio::spawn(serve(listener, handles.clone(), stop.clone()));
    if args.unref_at == UnrefAt::Start {
        handles.unref_listener();
    }
    tokio::select! {
        () = handles.none_left() => {}
        () = stop.cancelled() => {
            // Node: `server.close()`. The connections see `stop` themselves.
            accepting.abort();
            *handles.listener() = None;
            handles.none_left().await;
        }
    }
    story!("nothing is left to stay for");
    Ok(())
}
// ANCHOR_END: run

// ANCHOR: handles
/// What the program stays alive for. Node's event loop counts its handles by
/// itself; here somebody must count, and `run` must wait.
#[derive(Clone)]
struct Handles {
    /// Counts the task of each connection, and the token below.
    alive: TaskTracker,
    /// The listener's part in the count, `None` once it is unref'ed.
    token: Arc<Mutex<Option<TaskTrackerToken>>>,
    unref_at: UnrefAt,
}

impl Handles {
    fn new(unref_at: UnrefAt) -> Self {
        let alive = TaskTracker::new();
        // Counts on as before; it only lets `wait` return at zero.
        alive.close();
        Handles {
            alive,
            token: Arc::default(),
            unref_at,
        }
    }

    /// From now on the program stays for its listener. Twice is once.
    fn ref_listener(&self) {
        let token = self.alive.token();
        self.listener().get_or_insert(token);
    }

    /// The listener stays open and goes on accepting. It only counts no more.
    fn unref_listener(&self) {
        if self.listener().take().is_some() {
            story!("the listener is unref'ed");
        }
    }

    fn client_ended(&self) {
        if self.unref_at == UnrefAt::FirstEnd {
            self.unref_listener();
        }
    }

    /// Waits until the count is zero, and still is when we get to see it:
    /// between the last client's end and our turn, the next may have come.
    async fn none_left(&self) {
        while !self.alive.is_empty() {
            self.alive.wait().await;
        }
    }

    /// A plain mutex will do: nobody holds it at an `.await`.
    fn listener(&self) -> MutexGuard<'_, Option<TaskTrackerToken>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
// ANCHOR_END: handles

// ANCHOR: serve
/// Accepts for ever, ref'ed or not. When `main` returns, the runtime drops this
/// where it stands, and the listener with it.
async fn serve(
    listener: TcpListener,
    handles: Handles,
    stop: CancellationToken,
) {
    let mut out_of_descriptors = false;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                out_of_descriptors = false;
                let peer =
                    SocketAddr::new(peer.ip().to_canonical(), peer.port());
                story!("{peer} connected");
                let talk = talk(socket, peer, handles.clone(), stop.clone());
                handles.alive.spawn(talk);
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
/// One client. As long as this task lives, the program does.
async fn talk(
    mut socket: TcpStream,
    peer: SocketAddr,
    handles: Handles,
    stop: CancellationToken,
) {
    let result = tokio::select! {
        result = echo(&mut socket, &handles) => result,
        () = stop.cancelled() => socket.shutdown().await,
    };
    match result {
        Ok(()) => story!("{peer} left"),
        Err(error) => {
            story!("{peer} left with an error: {}", reason(&error));
            handles.client_ended();
        }
    }
}

async fn echo(socket: &mut TcpStream, handles: &Handles) -> io::Result<()> {
    socket.write_all(b"welcome\r\n").await?;
    let mut buffer = [0; CHUNK];
    loop {
        let n_bytes = socket.read(&mut buffer).await?;
        if n_bytes == 0 {
            // Node's 'end'. The client has ended its side only: ours is open
            // until we end it, and the task lives until then.
            handles.client_ended();
            return socket.shutdown().await;
        }
        socket.write_all(&buffer[..n_bytes]).await?;
    }
}
// ANCHOR_END: talk
