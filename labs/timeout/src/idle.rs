//! A timer that starts again whenever something happens.

use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

// ANCHOR: idle
/// Node's idle timer: says once that nothing has happened for so long, and is
/// silent then until something has.
pub(crate) struct Idle {
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    is_armed: bool,
}

impl Idle {
    pub(crate) fn new(limit: Duration) -> Self {
        Idle {
            limit,
            timer: Box::pin(sleep(limit)),
            is_armed: true,
        }
    }

    /// Something was read or written.
    pub(crate) fn reset(&mut self) {
        self.timer.as_mut().reset(Instant::now() + self.limit);
        self.is_armed = true;
    }

    /// Waits for the next timeout. May be dropped and called again: the timer
    /// is not in this future, and runs on.
    pub(crate) async fn expired(&mut self) {
        if !self.is_armed || self.limit.is_zero() {
            return pending().await;
        }
        self.timer.as_mut().await;
        self.is_armed = false;
    }
}
// ANCHOR_END: idle
