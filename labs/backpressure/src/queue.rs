//! What Node keeps between `socket.write` and the kernel.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::WriteHalf;

// ANCHOR: queue
/// Bytes that were written, and that the kernel has no room for yet. A
/// `TcpStream` has no such queue: this is the one that every socket has in
/// Node.
pub(crate) struct Queue<'a> {
    socket: WriteHalf<'a>,
    waiting: Vec<u8>,
    high_water_mark: usize,
    written: u64,
}

impl<'a> Queue<'a> {
    pub(crate) fn new(socket: WriteHalf<'a>, high_water_mark: usize) -> Self {
        Queue {
            socket,
            waiting: Vec::new(),
            high_water_mark,
            written: 0,
        }
    }

    /// Node's `writableLength`, once called `bufferSize`: what is still ours.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Node's `bytesWritten`: all that was given to `write`, waiting or not.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }
}
// ANCHOR_END: queue

impl Queue<'_> {
    // ANCHOR: write
    /// Node's `socket.write`. The chunk is taken in any case; the answer says
    /// what to do next: `true`, go on; `false`, wait for [`Queue::drained`].
    ///
    /// Who obeys never has more waiting than the mark and one chunk. Nothing
    /// else is a limit here, as in Node.
    #[must_use = "who does not wait fills the memory"]
    pub(crate) fn write(&mut self, chunk: &[u8]) -> io::Result<bool> {
        self.waiting.extend_from_slice(chunk);
        self.written += chunk.len() as u64;
        // Only what the kernel does not take now has to wait.
        self.flush()?;
        Ok(self.waiting.len() < self.high_water_mark)
    }

    /// Hands over as much as the kernel has room for, and never waits.
    fn flush(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            match self.socket.try_write(&self.waiting) {
                Ok(n_bytes) => drop(self.waiting.drain(..n_bytes)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
    // ANCHOR_END: write

    // ANCHOR: drained
    /// Node's `'drain'`: waits until nothing waits. Not until there is room
    /// below the mark, or the two would take turns at every packet.
    pub(crate) async fn drained(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            self.socket.writable().await?;
            self.flush()?;
        }
        Ok(())
    }

    /// Node's `socket.end()`: what waits goes first, and then our FIN.
    pub(crate) async fn end(mut self) -> io::Result<()> {
        self.socket.write_all(&self.waiting).await?;
        self.socket.shutdown().await
    }
    // ANCHOR_END: drained
}
