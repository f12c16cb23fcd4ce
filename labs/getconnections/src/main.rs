//! Count the clients, and let only so many in.
//!
//! | Node                       | here                                        |
//! | -------------------------- | ------------------------------------------- |
//! | `server.maxConnections`    | a [`Semaphore`] with so many permits        |
//! | `server.getConnections()`  | [`Places::taken`]                           |
//! | `'connection'`             | [`talk`]                                    |
//! | `'drop'`                   | dropping the socket in [`serve`]            |
//!
//! ```text
//! terminal 1      cargo run -p getconnections
//! terminals 2-4   telnet 127.0.0.1 8080
//! ```
//!
//! Press Enter in terminal 2 to ask how many are there. The third client is
//! let in and put out again. Then, in [`talk`], forget `place` instead of
//! dropping it, and come and go three times.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use common::{host_port, reason, story};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most that one read brings, and so the most questions that are answered
/// in one write.
const CHUNK: usize = 1024;

/// Count the clients, and let only so many in.
///
/// A client is told how many are there when it comes, and again for every line
/// it sends. One too many is accepted and closed at once, as in Node.
#[derive(Parser)]
#[command(after_help = "Example: cargo run -p getconnections -- --max 3\n\
    then, in other terminals: telnet 127.0.0.1 8080")]
struct Args {
    /// Address to listen on; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    #[arg(value_parser = host_port)]
    listen: String,

    /// Most clients at a time
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max: u32,

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
    let places = Places::new(args.max as usize);
    tokio::select! {
        () = serve(listener, &places, &connections, &stop) => {}
        () = stop.cancelled() => {}
    }
    connections.close();
    connections.wait().await;
    Ok(())
}

// ANCHOR: places
/// The places of the server. Whoever holds a permit has one, and dropping the
/// permit gives it back: no path through the code can forget to count down.
#[derive(Clone)]
struct Places {
    free: Arc<Semaphore>,
    max: usize,
}

impl Places {
    fn new(max: usize) -> Self {
        Places {
            free: Arc::new(Semaphore::new(max)),
            max,
        }
    }

    /// A place, or `None` when all are taken. Never waits.
    fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    /// What Node's `getConnections` tells.
    fn taken(&self) -> usize {
        self.max - self.free.available_permits()
    }
}

impl std::fmt::Display for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.taken(), self.max)
    }
}
// ANCHOR_END: places

// ANCHOR: serve
/// Accepts for ever. Node's `maxConnections` counts after accept, and so do
/// we: the kernel has already said yes to the client.
async fn serve(
    listener: TcpListener,
    places: &Places,
    connections: &TaskTracker,
    stop: &CancellationToken,
) {
    let mut out_of_descriptors = false;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                out_of_descriptors = false;
                let peer =
                    SocketAddr::new(peer.ip().to_canonical(), peer.port());
                let Some(place) = places.take() else {
                    // Dropping the socket closes it: the client sees our FIN,
                    // or a RST if it had already sent something.
                    story!("{peer} dropped, {places} places taken");
                    continue;
                };
                story!("{peer} connected, {places} places taken");
                let places = places.clone();
                let stop = stop.clone();
                connections.spawn(talk(socket, peer, place, places, stop));
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
/// One client, from its coming to its going.
async fn talk(
    mut socket: TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
    places: Places,
    stop: CancellationToken,
) {
    let result = tokio::select! {
        result = answer(&mut socket, &places) => result,
        () = stop.cancelled() => socket.shutdown().await,
    };
    // Close first, then give the place back: who is counted has a socket. Since
    // our FIN there was no `.await`, so nobody was accepted in between, and who
    // has seen the FIN finds the place free.
    drop(socket);
    drop(place);
    match result {
        Ok(()) => story!("{peer} left, {places} places taken"),
        Err(error) => {
            let error = reason(&error);
            story!("{peer} left with an error, {places} places taken: {error}");
        }
    }
}

/// Tells the client the count, now and for every line it sends.
async fn answer(socket: &mut TcpStream, places: &Places) -> io::Result<()> {
    let greeting = format!("welcome, {places} places taken\r\n");
    socket.write_all(greeting.as_bytes()).await?;

    let mut buffer = [0; CHUNK];
    loop {
        let n_bytes = socket.read(&mut buffer).await?;
        if n_bytes == 0 {
            // The client's FIN. It has all its answers; now comes ours.
            return socket.shutdown().await;
        }
        let questions = buffer[..n_bytes].iter().filter(|b| **b == b'\n');
        let answers = format!("{places}\r\n").repeat(questions.count());
        socket.write_all(answers.as_bytes()).await?;
    }
}
// ANCHOR_END: talk
