//! The client has ended: end as well, or go on sending.
//!
//! | Node                      | here                                    |
//! | ------------------------- | --------------------------------------- |
//! | `'end'`                   | `Ok(0)`: the end of [`echo`]            |
//! | `allowHalfOpen: false`    | `shutdown` at once, in [`talk`]         |
//! | `allowHalfOpen: true`     | [`go_on`], and `shutdown` after it      |
//! | `socket.end()`            | [`shutdown`](AsyncWriteExt::shutdown)   |
//!
//! ```text
//! terminal 1   cargo run -p half-open -- --allow-half-open
//! terminal 2   cargo run -p tcp-client
//! ```
//!
//! Press Ctrl-D in terminal 2: the client ends its direction, and the server
//! goes on for three seconds. Then, in [`talk`], leave out `shutdown`, and see
//! who notices.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use common::{host_port, reason, story};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most that one read brings.
const CHUNK: usize = 1024;

/// The client has ended: end as well, or go on sending.
///
/// Echoes what its clients send. When a client ends its direction, it gets what
/// it is owed, and then the end; with --allow-half-open, it gets more lines
/// first.
#[derive(Clone, Parser)]
#[command(
    after_help = "Example: cargo run -p half-open -- --allow-half-open --for 10s\n\
    then, in another terminal: cargo run -p tcp-client"
)]
struct Args {
    /// Address to listen on; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    #[arg(value_parser = host_port)]
    listen: String,

    /// Go on sending when the client has ended
    #[arg(long)]
    allow_half_open: bool,

    /// How long to go on, such as 500ms or 5s
    #[arg(long = "for", value_name = "TIME", default_value = "3s")]
    #[arg(value_parser = time)]
    lasting: Duration,

    /// Time from one line to the next
    #[arg(long, value_name = "TIME", default_value = "1s")]
    #[arg(value_parser = time)]
    every: Duration,

    /// Log more to stderr; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// A time that is not none and not for ever: the clock can count it.
fn time(text: &str) -> Result<Duration, String> {
    let form = "write a time from 1ms to 1h, such as 500ms or 5s";
    let time = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; {form}"))?;
    let range = Duration::from_millis(1)..=Duration::from_secs(3600);
    range.contains(&time).then_some(time).ok_or(form.to_owned())
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
        () = serve(listener, &args, &connections, &stop) => {}
        () = stop.cancelled() => {}
    }
    connections.close();
    connections.wait().await;
    Ok(())
}

/// Accepts for ever, one task for each client.
async fn serve(
    listener: TcpListener,
    args: &Args,
    connections: &TaskTracker,
    stop: &CancellationToken,
) {
    let mut out_of_descriptors = false;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                out_of_descriptors = false;
                let client = client(socket, peer, args.clone(), stop.clone());
                connections.spawn(client);
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
/// One client, whatever becomes of it.
async fn client(
    mut socket: TcpStream,
    peer: SocketAddr,
    args: Args,
    stop: CancellationToken,
) {
    // On `[::]` an IPv4 client shows as ::ffff:127.0.0.1; we say 127.0.0.1.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    story!("{peer} connected");
    let result = tokio::select! {
        result = talk(&mut socket, peer, &args) => result,
        // Also while we go on: only we keep this connection open then.
        () = stop.cancelled() => socket.shutdown().await,
    };
    match result {
        Ok(()) => story!("{peer} closed"),
        Err(error) => {
            story!("{peer} closed with an error: {}", reason(&error));
        }
    }
}
// ANCHOR_END: client

// ANCHOR: talk
/// Both directions of one connection, each with its own end.
async fn talk(
    socket: &mut TcpStream,
    peer: SocketAddr,
    args: &Args,
) -> io::Result<()> {
    echo(socket).await?;
    story!("{peer} ended");
    if args.allow_half_open {
        go_on(socket, peer, args).await?;
    }
    // Our FIN, behind all that was written. Node sends it by itself, unless
    // `allowHalfOpen` is true: then it waits for us to call `end()`.
    socket.shutdown().await
}

/// Returns at the client's FIN. All that it is owed has been written then.
async fn echo(socket: &mut TcpStream) -> io::Result<()> {
    socket.write_all(b"welcome\r\n").await?;
    let mut buffer = [0; CHUNK];
    loop {
        let n_bytes = socket.read(&mut buffer).await?;
        if n_bytes == 0 {
            return Ok(());
        }
        socket.write_all(&buffer[..n_bytes]).await?;
    }
}
// ANCHOR_END: talk

// ANCHOR: go_on
/// Sends to a client that sends nothing any more. Reading would tell us no
/// more about it than the end it has told already: whether it is still there
/// shows only when we write.
async fn go_on(
    socket: &mut TcpStream,
    peer: SocketAddr,
    args: &Args,
) -> io::Result<()> {
    let start = Instant::now();
    let end = start + args.lasting;
    let mut next = start + args.every;
    let mut number = 1;
    while next <= end {
        sleep_until(next).await;
        let line = format!("after your end, line {number}\r\n");
        socket.write_all(line.as_bytes()).await?;
        story!("{peer} was sent line {number}");
        next += args.every;
        number += 1;
    }
    sleep_until(end).await;
    Ok(())
}
// ANCHOR_END: go_on
