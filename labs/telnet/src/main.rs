//! Show what a terminal client negotiates, and read its lines all the same.
//!
//! | Node                             | here                                   |
//! | -------------------------------- | -------------------------------------- |
//! | none: `'data'` brings all bytes  | [`telnet_codec::Decoder`]              |
//! | none                             | [`telnet_codec::Options`]              |
//! | `readline.createInterface()`     | [`telnet_codec::Event::Line`]          |
//! | none: urgent data is lost        | [`set_out_of_band_inline`]             |
//!
//! ```text
//! terminal 1   cargo run -p telnet
//! terminal 2   telnet 127.0.0.1 8080      (or: plink -telnet -P 8080 127.0.0.1)
//! ```
//!
//! Type a line, then press Ctrl-C, and watch terminal 1. Then, in
//! [`converse::converse`], answer nothing that the client negotiates, and press
//! Ctrl-C again.
//!
//! [`set_out_of_band_inline`]: socket2::Socket::set_out_of_band_inline

mod converse;
mod words;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use common::{host_port, reason, story};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::converse::converse;

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Show what a terminal client negotiates, and read its lines all the same.
///
/// Tells in words what telnet, PuTTY and plink say besides the text, answers so
/// that they go on sending whole lines, and answers each line. For nc and other
/// clients that negotiate nothing, there is nothing but lines.
#[derive(Parser)]
#[command(after_help = "Example: cargo run -p telnet -- --ask\n\
    then, in another terminal: telnet 127.0.0.1 8080")]
struct Args {
    /// Address to listen on; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    #[arg(value_parser = host_port)]
    listen: String,

    /// Ask every client at once for its window, its terminal and eight bits,
    /// and not only one that negotiates; nc shows this as rubbish
    #[arg(long)]
    ask: bool,

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
        () = serve(listener, args.ask, &connections, &stop) => {}
        () = stop.cancelled() => {}
    }

    connections.close();
    connections.wait().await;
    Ok(())
}

/// Accepts for ever, one task for each client.
async fn serve(
    listener: TcpListener,
    ask: bool,
    connections: &TaskTracker,
    stop: &CancellationToken,
) {
    let mut out_of_descriptors = false;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                out_of_descriptors = false;
                connections.spawn(talk(socket, peer, ask, stop.clone()));
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
    ask: bool,
    stop: CancellationToken,
) {
    // On `[::]` an IPv4 client shows as ::ffff:127.0.0.1; we say 127.0.0.1.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    story!("{peer} connected");
    let result = tokio::select! {
        result = converse(&mut socket, peer, ask) => result,
        () = stop.cancelled() => socket.shutdown().await,
    };
    match result {
        Ok(()) => story!("{peer} closed"),
        Err(error) => {
            story!("{peer} closed with an error: {}", reason(&error));
        }
    }
}
