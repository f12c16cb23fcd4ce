//! How fast one client may talk.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// So many lines may come at once: somebody pastes a page.
const AT_ONCE: u32 = 20;

/// Slows a client that says more lines a second than it may. Nothing is thrown
/// away: as long as it is slowed, it is not read, the buffers on the way fill,
/// and in the end its own `write` waits.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The time for one line.
    interval: Duration,
    /// When all the lines so far would have been said, one each interval.
    said_until: Instant,
}

impl Pace {
    pub(crate) fn new(rate: u32) -> Self {
        Pace {
            interval: Duration::from_secs(1) / rate,
            said_until: Instant::now(),
        }
    }

    /// Counts one line, and waits until its turn.
    pub(crate) async fn next(&mut self) {
        let now = Instant::now();
        self.said_until = self.said_until.max(now) + self.interval;
        let turn = self.said_until - self.interval * AT_ONCE;
        if turn > now {
            sleep_until(turn).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    /// On tokio's paused clock, which leaps as soon as all wait for it.
    #[tokio::test(start_paused = true)]
    async fn a_paste_is_not_slowed_and_a_flood_is() {
        let mut pace = Pace::new(10);
        let start = Instant::now();
        for _ in 0..AT_ONCE {
            pace.next().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for n_more in 1..=5 {
            pace.next().await;
            assert_eq!(start.elapsed(), n_more * Duration::from_millis(100));
        }

        sleep(Duration::from_secs(60)).await;
        let rested = Instant::now();
        for _ in 0..AT_ONCE {
            pace.next().await;
        }
        assert_eq!(rested.elapsed(), Duration::ZERO);
        pace.next().await;
        assert_eq!(rested.elapsed(), Duration::from_millis(100));
    }
}
