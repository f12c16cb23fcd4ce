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

    /// Waits until the next line may be said.
    pub(crate) async fn next(&mut self) {
        if let Some(turn) = self.turn(Instant::now()) {
            sleep_until(turn).await;
        }
    }

    /// Counts one line, and says when its turn is, if not now.
    fn turn(&mut self, now: Instant) -> Option<Instant> {
        self.said_until = self.said_until.max(now) + self.interval;
        let turn = self.said_until - self.interval * AT_ONCE;
        (turn > now).then_some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty at once, then one each interval, and twenty again after a rest.
    #[test]
    fn a_paste_is_not_slowed_and_a_flood_is() {
        let mut pace = Pace::new(10);
        let start = pace.said_until;
        for _ in 0..AT_ONCE {
            assert_eq!(pace.turn(start), None);
        }
        for n_more in 1..=5 {
            let turn = start + n_more * Duration::from_millis(100);
            assert_eq!(pace.turn(start), Some(turn));
        }
        let later = start + Duration::from_secs(60);
        for _ in 0..AT_ONCE {
            assert_eq!(pace.turn(later), None);
        }
        assert!(pace.turn(later).is_some());
    }
}
