//! What waits to be sent to one client.

use std::io;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::net::tcp::WriteHalf;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The most bytes that wait for one client. Not lines: one line has a byte, and
/// another four thousand. Who has read nothing for so long does not read.
pub(crate) const LIMIT: usize = 64 * 1024;

// ANCHOR: outbox
/// Lines on their way to a client. Whoever puts one in never waits; the client's
/// own task hands them to the kernel. At the limit the client is put out.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// At most [`LIMIT`] bytes, and the last line. A plain lock will do: it is
    /// never held across an `.await`.
    waiting: Mutex<Vec<u8>>,
    changed: Notify,
    closed: CancellationToken,
}

impl Outbox {
    /// Puts lines in, whole ones; too late, and it does nothing.
    pub(crate) fn push(&self, lines: &[u8]) {
        let mut waiting = self.lock();
        if self.closed.is_cancelled() {
            return;
        }
        if waiting.len() + lines.len() > LIMIT {
            drop(waiting);
            self.close("! you read too slowly, goodbye\r\n");
            return;
        }
        waiting.extend_from_slice(lines);
        self.changed.notify_one();
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

    /// Waits until nothing more is put in.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    // ANCHOR: hand_over
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
    pub(crate) fn hand_over(&self, to: &WriteHalf<'_>) -> io::Result<()> {
        let mut waiting = self.lock();
        match to.try_write(&waiting) {
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
    // ANCHOR_END: hand_over

    /// Nothing panics while it holds the lock, so it cannot be poisoned.
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_on_bytes_and_the_last_line_always_fits() {
        let outbox = Outbox::default();
        for _ in 0..LIMIT {
            outbox.push(b"x");
        }
        assert!(!outbox.closed.is_cancelled());
        outbox.push(b"x");
        assert!(outbox.closed.is_cancelled());
        outbox.push(b"x");
        outbox.close("another last line");
        let waiting = outbox.lock();
        assert!(waiting.ends_with(b"xx! you read too slowly, goodbye\r\n"));
    }
}
