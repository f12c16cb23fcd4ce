//! One client: paused at first, and then read to its end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use common::story;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;

/// The most that one read brings.
const CHUNK: usize = 64 * 1024;

/// How often to ask the kernel how much it holds. A line is told only when
/// that has changed, so a client that waits costs no more lines.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Client {
    socket: TcpStream,
    peer: SocketAddr,
    to_file: mpsc::Sender<Vec<u8>>,
    n_read: usize,
}

impl Client {
    pub(crate) fn new(
        socket: TcpStream,
        peer: SocketAddr,
        to_file: mpsc::Sender<Vec<u8>>,
    ) -> Self {
        Client {
            socket,
            peer,
            to_file,
            n_read: 0,
        }
    }

    /// How many bytes were read from it, and given to the file.
    pub(crate) fn n_read(&self) -> usize {
        self.n_read
    }

    // ANCHOR: keep
    /// Pauses, resumes, and ends with the client or with the program.
    pub(crate) async fn keep(
        &mut self,
        pause: Duration,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        self.socket.write_all(b"welcome\r\n").await?;
        tokio::select! {
            error = self.watch() => return Err(error),
            () = stop.cancelled() => {}
            () = sleep(pause) => story!("{} resumed", self.peer),
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                // The kernel has acknowledged these bytes: the client takes
                // them for delivered. What it sends from now on it will learn
                // to be lost, by a RST.
                let n_bytes = held(&self.socket).await?;
                self.receive(n_bytes).await?;
            }
            received = self.receive(usize::MAX) => received?,
        }
        self.socket.shutdown().await
    }
    // ANCHOR_END: keep

    // ANCHOR: watch
    /// Only looks, and never at the bytes. Ends when it cannot look.
    async fn watch(&self) -> io::Error {
        let mut look = interval(LOOK_EVERY);
        let mut told = 0;
        loop {
            look.tick().await;
            match held(&self.socket).await {
                Ok(n_bytes) if n_bytes == told => {}
                Ok(n_bytes) => {
                    let peer = self.peer;
                    story!("{peer} paused, the kernel holds {n_bytes} bytes");
                    told = n_bytes;
                }
                Err(error) => return error,
            }
        }
    }
    // ANCHOR_END: watch

    // ANCHOR: receive
    /// Gives what comes to the file, until the client's FIN or so many bytes.
    /// It may be dropped at each `.await`: none of them holds bytes.
    async fn receive(&mut self, mut most: usize) -> io::Result<()> {
        while most > 0 {
            self.socket.readable().await?;
            // First a place for the bytes, then the bytes. As long as the
            // disk is slower than the network, the clients wait.
            let Ok(place) = self.to_file.reserve().await else {
                // The file is broken, and so the program is ending.
                return Ok(());
            };
            let mut chunk = vec![0; CHUNK.min(most)];
            match self.socket.try_read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(n_bytes) => {
                    chunk.truncate(n_bytes);
                    place.send(chunk);
                    story!("read {n_bytes} bytes from {}", self.peer);
                    self.n_read += n_bytes;
                    most -= n_bytes;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
    // ANCHOR_END: receive
}

// ANCHOR: held
/// How many bytes wait in the kernel to be read.
#[cfg(unix)]
async fn held(socket: &TcpStream) -> io::Result<usize> {
    let n_bytes = rustix::io::ioctl_fionread(socket)?;
    Ok(usize::try_from(n_bytes).unwrap_or(usize::MAX))
}
// ANCHOR_END: held

/// Elsewhere a look at the bytes themselves must do: no more than one chunk.
#[cfg(not(unix))]
async fn held(socket: &TcpStream) -> io::Result<usize> {
    let mut chunk = vec![0; CHUNK];
    // No time at all: what is not there at once is not there.
    let peek = tokio::time::timeout(Duration::ZERO, socket.peek(&mut chunk));
    peek.await.unwrap_or(Ok(0))
}
