//! What waits to be sent to one client.

use std::io::{self, IoSlice};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The most bytes that wait for one client. Not lines: one line has a byte, and
/// another four thousand. Who has read nothing for so long does not read.
pub(crate) const LIMIT: usize = 64 * 1024;

// ANCHOR: outbox
/// Lines on their way to a client. Whoever puts some in never waits: they go to
/// the kernel at once, and only what it has no room for waits here, until the
/// client's own task can hand it over. At the limit the client is put out.
#[derive(Debug)]
pub(crate) struct Outbox {
    socket: Arc<TcpStream>,
    /// At most [`LIMIT`] bytes, and the last line. A plain lock will do: it is
    /// never held across an `.await`.
    waiting: Mutex<Vec<u8>>,
    /// A write that the room has tried and that has failed.
    failure: Mutex<Option<io::Error>>,
    changed: Notify,
    closed: CancellationToken,
}

impl Outbox {
    pub(crate) fn new(socket: Arc<TcpStream>) -> Self {
        Outbox {
            socket,
            waiting: Mutex::default(),
            failure: Mutex::default(),
            changed: Notify::new(),
            closed: CancellationToken::new(),
        }
    }

    /// Puts lines in, whole ones; too late, and it does nothing.
    pub(crate) fn push(&self, mut lines: &mut [IoSlice<'_>]) {
        let mut waiting = self.lock();
        if self.closed.is_cancelled() {
            return;
        }
        let n_bytes: usize = lines.iter().map(|piece| piece.len()).sum();
        if waiting.len() + n_bytes > LIMIT {
            drop(waiting);
            self.close("! you read too slowly, goodbye\r\n");
            return;
        }
        if waiting.is_empty() {
            match self.socket.try_write_vectored(lines) {
                Ok(n_bytes) => IoSlice::advance_slices(&mut lines, n_bytes),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => *lock(&self.failure) = Some(error),
            }
        }
        if !lines.is_empty() {
            for piece in lines {
                waiting.extend_from_slice(piece);
            }
            self.changed.notify_one();
        }
    }

    /// Nothing more is put in. For the last line there is always room.
    pub(crate) fn close(&self, last: &str) {
        let mut waiting = self.lock();
        if !self.closed.is_cancelled() {
            waiting.extend_from_slice(last.as_bytes());
            self.closed.cancel();
            self.changed.notify_one();
        }
    }
    // ANCHOR_END: outbox

    /// The kernel tells of a RST once, to whoever asks first. If that was the
    /// room, then what the client's own task reads looks like a FIN.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        lock(&self.failure).take()
    }

    /// Waits until nothing more is put in.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Waits until something is to be handed over. `false`: never again.
    pub(crate) async fn is_owed(&self) -> bool {
        loop {
            if !self.lock().is_empty() {
                return true;
            }
            if self.closed.is_cancelled() {
                return false;
            }
            self.changed.notified().await;
        }
    }

    /// Hands over all that waits, in one write, or as much as the kernel has
    /// room for. The rest stays here, where it is counted.
    pub(crate) fn hand_over(&self) -> io::Result<()> {
        let mut waiting = self.lock();
        match self.socket.try_write(&waiting) {
            // No memory is kept for a client that is owed nothing.
            Ok(n_bytes) if n_bytes == waiting.len() => {
                drop(mem::take(&mut *waiting));
            }
            Ok(n_bytes) => drop(waiting.drain(..n_bytes)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        lock(&self.waiting)
    }
}

/// Nothing panics while it holds a lock, so none can be poisoned.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_limit_is_on_bytes_and_the_last_line_always_fits()
    -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        // Nobody reads at the other end, so in the end the kernel is full.
        let socket = TcpStream::connect(address).await?;
        let outbox = Outbox::new(Arc::new(socket));
        while !outbox.closed.is_cancelled() {
            assert!(outbox.lock().len() <= LIMIT);
            outbox.push(&mut [IoSlice::new(&[b'x'; 500])]);
        }
        outbox.push(&mut [IoSlice::new(b"x")]);
        outbox.close("another last line");
        let waiting = outbox.lock();
        let notice = b"x! you read too slowly, goodbye\r\n";
        assert!(waiting.ends_with(notice));
        assert!(waiting.len() <= LIMIT + notice.len());
        assert!(waiting.len() > LIMIT - 500);
        Ok(())
    }
}
