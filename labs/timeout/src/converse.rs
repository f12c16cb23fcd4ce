//! One client: what is read from it, and what is done when it is silent.

use std::io;
use std::net::SocketAddr;

use common::story;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::idle::Idle;
use crate::{Args, Then};

/// The most that one read brings.
const CHUNK: usize = 64 * 1024;

// ANCHOR: bytes
/// What becomes of the bytes that a client sends.
#[derive(Clone, Copy, PartialEq)]
enum Bytes {
    /// Not read. The kernel keeps what fits, then the client must wait.
    Stay,
    Pipe,
    Echo,
}

impl Bytes {
    fn at_first(then: Then) -> Self {
        match then {
            Then::Pipe => Bytes::Stay,
            _ => Bytes::Echo,
        }
    }
}
// ANCHOR_END: bytes

// ANCHOR: converse
/// Reads, writes and waits, whichever comes first, until one side ends. The
/// timer is asked last: who has sent something in time is not idle, even if we
/// were too busy to see it.
pub(crate) async fn converse(
    socket: &mut TcpStream,
    peer: SocketAddr,
    args: &Args,
    to_file: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let mut idle = Idle::new(args.idle.into());
    let mut owed = b"welcome\r\n".to_vec();
    let mut bytes = Bytes::at_first(args.then);
    loop {
        // Nothing is read while something is owed: that is backpressure.
        let may_read = owed.is_empty() && bytes != Bytes::Stay;
        tokio::select! {
            biased;
            ready = socket.readable(), if may_read => {
                ready?;
                let Some(chunk) = read(socket)? else { continue };
                if chunk.is_empty() {
                    return socket.shutdown().await;
                }
                idle.reset();
                story!("read {} bytes from {peer}", chunk.len());
                if bytes == Bytes::Echo {
                    owed = chunk;
                } else if to_file.send(chunk).await.is_err() {
                    // The file is broken, and so the program is ending.
                    return socket.shutdown().await;
                }
            }
            ready = socket.writable(), if !owed.is_empty() => {
                ready?;
                let n_bytes = write(socket, &owed)?;
                owed.drain(..n_bytes);
                if n_bytes > 0 {
                    idle.reset();
                }
            }
            () = idle.expired() => {
                story!("{peer} idle for {}", args.idle);
                match args.then {
                    // The second time, it is so already.
                    Then::Pipe => bytes = Bytes::Pipe,
                    Then::End => return end(socket, &owed).await,
                    Then::Destroy => return Ok(()),
                    Then::Nothing => {}
                }
            }
        }
    }
}
// ANCHOR_END: converse

/// What is there, or nothing yet. Empty at the client's FIN.
fn read(socket: &TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut chunk = Vec::with_capacity(CHUNK);
    match socket.try_read_buf(&mut chunk) {
        Ok(_) => Ok(Some(chunk)),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// How much the kernel took, or 0 when it has no room.
fn write(socket: &TcpStream, owed: &[u8]) -> io::Result<usize> {
    match socket.try_write(owed) {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

// ANCHOR: end
/// Node's `socket.end()`: what is owed, our FIN, and then the client's. What it
/// still sends is read and dropped; left unread, it would become a RST.
//
// NOTE: a client that never ends keeps its connection. A real program would
// destroy it when it has waited once more.
async fn end(socket: &mut TcpStream, owed: &[u8]) -> io::Result<()> {
    socket.write_all(owed).await?;
    socket.shutdown().await?;
    let mut dropped = [0; 1024];
    while socket.read(&mut dropped).await? > 0 {}
    Ok(())
}
// ANCHOR_END: end
