//! Connect, send what is typed, print what arrives: a small `nc`.
//!
//! | Node                                | here                              |
//! | ----------------------------------- | --------------------------------- |
//! | `new net.Socket()`, `connect()`     | the loop in [`try_each`]          |
//! | `localAddress`, `remoteAddress`     | [`TcpStream::local_addr`], …      |
//! | `socket.write()`                    | `write_all` in [`send`]           |
//! | `socket.end()`                      | `shutdown` in [`send`]            |
//! | `'data'`, `'end'`                   | the loop in [`receive`], `Ok(0)`  |
//! | `'error'`, `'close'`                | `Err` and `Ok` of [`talk`]        |
//! | `socket.destroy()`                  | dropping the [`TcpStream`]        |
//!
//! ```text
//! terminal 1   cargo run -p tcp-server
//! terminal 2   cargo run -p tcp-client
//! ```
//!
//! Type a line in terminal 2, then Ctrl-D. What arrives is the data and goes to
//! stdout; the story goes to stderr. Then, in [`send`], leave out `shutdown`,
//! and see which of the two programs waits for which.

use std::io::{self, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use common::{Utf8, host_port, printable, reason, write_stdout};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long one address may keep the next one waiting, as in Node. The last
/// address has all the time that the kernel gives it.
const ATTEMPT: Duration = Duration::from_millis(250);

/// The most that one read brings.
const CHUNK: usize = 64 * 1024;

/// Connect, send what is typed, print what arrives.
///
/// What arrives goes to stdout byte for byte, so that it can stand in a pipe;
/// on a terminal, control characters are shown instead of obeyed. The end of
/// stdin ends our direction, the end of the server's ends the program.
#[derive(Parser)]
#[command(after_help = "Example: cargo run -p tcp-client -- \
    --connect localhost:8080 --send hello --end-after 5s --end-text byebye")]
struct Args {
    /// Server to connect to; of a name, every address is tried
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    #[arg(value_parser = host_port)]
    connect: String,

    /// Give up when not connected after this time, such as 500ms or 5s
    #[arg(long, value_name = "TIME")]
    connect_timeout: Option<humantime::Duration>,

    /// Send this text in place of stdin
    #[arg(long, value_name = "TEXT")]
    send: Option<String>,

    /// End our direction so long after connecting, not at the end of stdin
    #[arg(long, value_name = "TIME")]
    end_after: Option<humantime::Duration>,

    /// Send this text last, before our direction ends
    #[arg(long, value_name = "TEXT")]
    end_text: Option<String>,

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

// ANCHOR: run
async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    let mut socket = tokio::select! {
        connected = connect(&args) => connected?,
        () = stop.cancelled() => return Ok(()),
    };
    let result = tokio::select! {
        result = talk(&mut socket, &args) => result,
        () = stop.cancelled() => Ok(socket.shutdown().await?),
    };
    result.with_context(|| format!("connection to {} failed", args.connect))
}
// ANCHOR_END: run

// ANCHOR: connect
async fn connect(args: &Args) -> anyhow::Result<TcpStream> {
    let addresses = lookup_host(&args.connect)
        .await
        .with_context(|| format!("cannot resolve {}", args.connect))?;
    let attempts = try_each(addresses.collect());
    let connected = match args.connect_timeout {
        // Without a limit of our own, the kernel sends its SYN again and again
        // and gives up after about two minutes.
        None => attempts.await,
        Some(limit) => timeout(limit.into(), attempts)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
    };
    connected.with_context(|| format!("cannot connect to {}", args.connect))
}

/// Tries one address after the other: `localhost` may be `::1` first, while
/// the server listens on 127.0.0.1 only.
async fn try_each(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut last_error = io::ErrorKind::NotFound.into();
    for (index, address) in addresses.iter().enumerate() {
        tell(format_args!("trying {address}"));
        let attempt = TcpStream::connect(address);
        let is_last = index + 1 == addresses.len();
        let result = if is_last {
            attempt.await
        } else {
            let limited = timeout(ATTEMPT, attempt).await;
            limited.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        };
        match result {
            Ok(socket) => {
                let local = socket.local_addr()?;
                tell(format_args!("connected to {address} from {local}"));
                return Ok(socket);
            }
            Err(error) => {
                tell(format_args!("{address}: {}", reason(&error)));
                last_error = error;
            }
        }
    }
    Err(last_error)
}
// ANCHOR_END: connect

// ANCHOR: talk
/// Sends and receives at the same time, until the server has ended.
async fn talk(socket: &mut TcpStream, args: &Args) -> anyhow::Result<()> {
    let (from_server, to_server) = socket.split();
    let mut receiving = pin!(receive(from_server));
    let sent = tokio::select! {
        // The server's FIN ends the program, even if more could be typed.
        received = &mut receiving => return Ok(received?),
        sent = send(to_server, args) => sent,
    };
    // Our direction has ended, or broke. What the server has sent is still
    // ours, and a break shows in reading, too.
    receiving.await?;
    sent
}
// ANCHOR_END: talk

// ANCHOR: send
async fn send(mut to_server: WriteHalf<'_>, args: &Args) -> anyhow::Result<()> {
    let connected = Instant::now();
    let typing = async {
        if let Some(text) = &args.send {
            return Ok(to_server.write_all(text.as_bytes()).await?);
        }
        let mut stdin = read_stdin();
        while let Some(chunk) = stdin.recv().await {
            let chunk = chunk.context("cannot read stdin")?;
            to_server.write_all(&chunk).await?;
        }
        anyhow::Ok(())
    };
    match args.end_after {
        None => typing.await?,
        Some(after) => {
            let end = connected + Duration::from(after);
            if let Ok(typed) = timeout_at(end, typing).await {
                typed?;
            }
            sleep_until(end).await;
        }
    }
    if let Some(text) = &args.end_text {
        to_server.write_all(text.as_bytes()).await?;
    }
    // Our FIN: nothing more will come from here. We still read.
    Ok(to_server.shutdown().await?)
}

/// Reads stdin on a thread of its own: not every stdin can be waited for, and
/// a read cannot be taken back. Nobody waits for the thread, so the program
/// can end while it stands in a read.
fn read_stdin() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    // Room for one chunk: when the server does not read, we do not either.
    let (sender, receiver) = mpsc::channel(1);
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut chunk = vec![0; CHUNK];
            let read = stdin.read(&mut chunk);
            let is_last = !matches!(read, Ok(1..));
            let chunk = read.map(|n_bytes| chunk[..n_bytes].to_vec());
            if sender.blocking_send(chunk).is_err() || is_last {
                break;
            }
        }
    });
    receiver
}
// ANCHOR_END: send

// ANCHOR: receive
async fn receive(mut from_server: ReadHalf<'_>) -> io::Result<()> {
    let on_terminal = io::stdout().is_terminal();
    let mut text = Utf8::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        let n_bytes = from_server.read(&mut buffer).await?;
        let bytes = &buffer[..n_bytes];
        if n_bytes == 0 {
            break;
        } else if on_terminal {
            // A server must not move our cursor or type for us.
            write_stdout(printable(&text.push(bytes)).as_bytes());
        } else {
            write_stdout(bytes);
        }
    }
    if on_terminal {
        write_stdout(text.end().as_bytes());
    }
    tell("the server ended");
    Ok(())
}
// ANCHOR_END: receive

/// The story goes to stderr, because stdout is the data.
fn tell(line: impl std::fmt::Display) {
    // In one write, not one for each piece: others use this terminal, too.
    let line = format!("{line}\n");
    // A closed stderr is no reason to stop.
    let _ = io::stderr().write_all(line.as_bytes());
}
