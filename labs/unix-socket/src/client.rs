//! The client: stdin to the socket, what arrives to stdout.

use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::pin::pin;
use std::thread;

use anyhow::Context;
use common::{Utf8, printable, write_stdout};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The most that one read brings.
const CHUNK: usize = 64 * 1024;

// ANCHOR: client
pub(crate) async fn run(
    path: &Path,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let shown = path.display();
    let mut socket = tokio::select! {
        connected = UnixStream::connect(path) => connected
            .with_context(|| format!("cannot connect to {shown}"))?,
        () = stop.cancelled() => return Ok(()),
    };
    let result = tokio::select! {
        result = talk(&mut socket) => result,
        () = stop.cancelled() => Ok(socket.shutdown().await?),
    };
    result.with_context(|| format!("connection to {shown} failed"))
}

/// Sends and receives at the same time, until the server has ended.
async fn talk(socket: &mut UnixStream) -> anyhow::Result<()> {
    let (from_server, to_server) = socket.split();
    let mut receiving = pin!(receive(from_server));
    let sent = tokio::select! {
        // The end of the server's ends the program, even if more could be
        // typed.
        received = &mut receiving => return Ok(received?),
        sent = send(to_server) => sent,
    };
    receiving.await?;
    sent
}
// ANCHOR_END: client

async fn send(mut to_server: WriteHalf<'_>) -> anyhow::Result<()> {
    let mut stdin = read_stdin();
    while let Some(chunk) = stdin.recv().await {
        let chunk = chunk.context("cannot read stdin")?;
        to_server.write_all(&chunk).await?;
    }
    // Nothing more will come from here. We still read.
    Ok(to_server.shutdown().await?)
}

/// Reads stdin on a thread of its own: not every stdin can be waited for.
/// Nobody waits for the thread, so the program can end while it reads.
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
    Ok(())
}
