//! Waiting for things, never for time.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

/// The longest that any check waits for something that should come soon. Long,
/// because a busy machine is no fault of the program; a check that passes
/// never waits for all of it.
pub const PATIENCE: Duration = Duration::from_secs(10);

thread_local! {
    static OF_THIS_CHECK: Cell<Duration> = const { Cell::new(PATIENCE) };
}

/// How long the check that runs on this thread waits for something that should
/// come soon: [`PATIENCE`], unless it runs within [`with_patience`].
pub fn patience() -> Duration {
    OF_THIS_CHECK.get()
}

/// Runs a check that waits no longer than `patience` for any one thing.
pub fn with_patience<T>(patience: Duration, check: impl FnOnce() -> T) -> T {
    let before = OF_THIS_CHECK.replace(patience);
    let result = check();
    OF_THIS_CHECK.set(before);
    result
}

/// Looks again and again until there is something, [`patience`] at the most.
pub fn wait_for<T>(look: impl FnMut() -> Option<T>) -> Option<T> {
    wait_for_at_most(patience(), look)
}

/// Like [`wait_for`], with a deadline of its own.
pub fn wait_for_at_most<T>(
    patience: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        #[allow(
            clippy::disallowed_methods,
            reason = "the kernel's tables cannot be waited on, only read again"
        )]
        thread::sleep(pause);
        // Most things come at once. Those that do not must not be kept from
        // coming by our looking.
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Looks away for a while. Only for what shows in time alone: that a program
/// does *not* do something. Everything else is waited for.
pub fn observe(window: Duration) {
    let nothing: Option<()> = wait_for_at_most(window, || None);
    debug_assert!(nothing.is_none());
}
