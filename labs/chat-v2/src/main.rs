//! A chat room with commands, and one write for all that is said at once.
//!
//! | Node                           | here                                    |
//! | ------------------------------ | --------------------------------------- |
//! | `convert(text)`, `switch`      | [`Command::new`], [`room::Room`]        |
//! | `{name: 'anonymous', socket}`  | [`Name::anonymous`], each with a number |
//! | `write` for each line          | [`Outbox::push`] for each [`turn`]      |
//! | `cork()`, `setImmediate()`     | [`yield_now`], in [`room::keep`]        |
//! | `socket.on('close')`           | [`room::Event::Left`], sent once        |
//!
//! ```text
//! terminal 1     cargo run -p chat-v2
//! terminals 2-4  telnet 127.0.0.1 8088       (or: nc 127.0.0.1 8088)
//! ```
//!
//! Type `help`. Compare with the room before: `git diff --no-index
//! labs/chat-v1/src labs/chat-v2/src`. Then, in [`room::keep`], leave out the
//! `yield_now`, and count the writes with `strace`.
//!
//! [`Command::new`]: command::Command::new
//! [`Name::anonymous`]: name::Name::anonymous
//! [`Outbox::push`]: outbox::Outbox::push
//! [`yield_now`]: tokio::task::yield_now

mod clean;
mod client;
mod command;
mod member;
mod name;
mod outbox;
mod pace;
mod room;
mod turn;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use common::{host_port, reason, story};
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::room::Event;

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many events may wait for the room. When they do, clients wait with the
/// next one, and are not read: so a flood ends at who sends it.
const EVENTS: usize = 1024;

/// A chat room with commands, and one write for all that is said at once.
///
/// Clients type `b:TEXT` for all others, `c:NAME:TEXT` for one, `n:NAME` for
/// another name, and `help` for the rest. Who does not read is put out when
/// 64 KiB wait for it.
#[derive(Parser)]
#[command(after_help = "Example: cargo run -p chat-v2\n\
    then, in two other terminals: telnet 127.0.0.1 8088")]
struct Args {
    /// Address to listen on; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8088")]
    #[arg(value_parser = host_port)]
    listen: String,

    /// How many lines a second a client may say for long; twenty may come at
    /// once, as a paste does
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,

    /// How long a client may fail to answer the kernel until it is gone
    #[arg(long, value_name = "TIME", default_value = "50s")]
    #[arg(value_parser = time)]
    gone_after: Duration,

    /// How long a client may take to read the last lines and to end, too
    #[arg(long, value_name = "TIME", default_value = "5s")]
    #[arg(value_parser = time)]
    grace: Duration,

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

    let (room, events) = mpsc::channel(EVENTS);
    let tasks = TaskTracker::new();
    tasks.spawn(room::keep(events, stop.clone()));
    tokio::select! {
        () = serve(listener, Arc::new(args), room, &tasks) => {}
        () = stop.cancelled() => {}
    }

    // The room says goodbye to all; each client may take `--grace` to read it.
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// Accepts for ever, one task for each client.
async fn serve(
    listener: TcpListener,
    args: Arc<Args>,
    room: mpsc::Sender<Event>,
    tasks: &TaskTracker,
) {
    let mut out_of_descriptors = false;
    // Not the peer's address: another client may have it before we have seen
    // that the first is gone.
    let mut ids = 1..;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                out_of_descriptors = false;
                let Some(id) = ids.next() else { return };
                let (room, args) = (room.clone(), args.clone());
                tasks.spawn(client::talk(socket, peer, id, room, args));
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

/// A time such as `500ms`, not so short or so long that it could not be meant.
fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|e| e.to_string())?;
    let range = Duration::from_millis(100)..=Duration::from_secs(3600);
    match range.contains(&time) {
        true => Ok(time),
        false => Err("a time is from 100ms to 1h".to_owned()),
    }
}
