//! Ask the kernel to find out whether a silent client is still there.
//!
//! | Node                            | here                                   |
//! | ------------------------------- | -------------------------------------- |
//! | `socket.setKeepAlive(true, ms)` | [`configure`], with `TcpKeepalive`     |
//! | `socket.setKeepAlive(false)`    | `--off`                                |
//! | nothing: 1 second, 10 probes    | `--interval`, `--probes`               |
//! | nothing                         | `--user-timeout`                       |
//! | nothing                         | [`describe`]: what the kernel has      |
//! | `'error'`, then `'close'`       | the end of [`talk`]                    |
//!
//! ```text
//! terminal 1   cargo run -p keepalive
//! terminal 2   telnet 127.0.0.1 8080
//! terminal 3   ss -tno 'sport = :8080'
//! ```
//!
//! Look at the timer in terminal 3 again and again. Then, in [`configure`],
//! leave the delay out, and look once more.

mod probes;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use common::{host_port, reason, story};
use probes::{configure, describe, seconds};
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

/// Ask the kernel to find out whether a silent client is still there.
///
/// Echoes what its clients send. After a silence the kernel probes the client;
/// when so many probes have had no answer, it gives the connection up.
#[derive(Parser)]
#[command(
    after_help = "Example: cargo run -p keepalive -- --initial-delay 10s\n\
    then, in another terminal: telnet 127.0.0.1 8080"
)]
struct Args {
    /// Address to listen on; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    #[arg(value_parser = host_port)]
    listen: String,

    /// How long nothing must come from a client until it is probed
    #[arg(long, value_name = "TIME", default_value = "5s")]
    #[arg(value_parser = seconds)]
    initial_delay: Duration,

    /// How long to wait for the answer to a probe
    #[arg(long, value_name = "TIME", default_value = "1s")]
    #[arg(value_parser = seconds)]
    interval: Duration,

    /// How many probes without an answer end the connection
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=127))]
    probes: u32,

    /// How long bytes may stay unacknowledged, such as 500ms
    #[cfg(target_os = "linux")]
    #[arg(long, value_name = "TIME", value_parser = probes::time)]
    user_timeout: Option<Duration>,

    /// Do not probe at all
    #[arg(long)]
    off: bool,

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
    tokio::select! {
        () = serve(listener, Arc::new(args), &connections, &stop) => {}
        () = stop.cancelled() => {}
    }
    connections.close();
    connections.wait().await;
    Ok(())
}

/// Accepts for ever, one task for each client.
async fn serve(
    listener: TcpListener,
    args: Arc<Args>,
    connections: &TaskTracker,
    stop: &CancellationToken,
) {
    let mut out_of_descriptors = false;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                out_of_descriptors = false;
                let (args, stop) = (args.clone(), stop.clone());
                connections.spawn(talk(socket, peer, args, stop));
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

// ANCHOR: talk
/// One client, from its coming to its going.
async fn talk(
    mut socket: TcpStream,
    peer: SocketAddr,
    args: Arc<Args>,
    stop: CancellationToken,
) {
    // On `[::]` an IPv4 client shows as ::ffff:127.0.0.1; we say 127.0.0.1.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let result = tokio::select! {
        result = echo(&mut socket, peer, &args) => result,
        () = stop.cancelled() => socket.shutdown().await,
    };
    match result {
        Ok(()) => story!("{peer} closed"),
        // ETIMEDOUT is the kernel's verdict: nobody answered.
        Err(error) => {
            story!("{peer} closed with an error: {}", reason(&error));
        }
    }
}

/// Nothing here knows of the probes. Our kernel sends them, and the client's
/// kernel answers them. When no answer comes, `read` returns an error.
async fn echo(
    socket: &mut TcpStream,
    peer: SocketAddr,
    args: &Args,
) -> io::Result<()> {
    configure(socket, args)?;
    story!("{peer} connected: {}", describe(socket)?);
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
