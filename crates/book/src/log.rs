//! What mdBook warns about.
//!
//! As a library it reports a missing file or a broken tag through `tracing`
//! only, and then succeeds. With nobody listening the reader of the page is
//! the first to learn of it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Subscriber, with_default};
use tracing::{Event, Level, Metadata};

/// Runs `work` and returns, besides its result, what was logged meanwhile on
/// this thread as a warning or an error.
pub(crate) fn collect<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    let messages = Arc::new(Mutex::new(Vec::new()));
    let result = with_default(Collector(Arc::clone(&messages)), work);
    let mut messages = messages.lock().unwrap_or_else(PoisonError::into_inner);
    (result, std::mem::take(&mut *messages))
}

struct Collector(Arc<Mutex<Vec<String>>>);

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let mut messages =
            self.0.lock().unwrap_or_else(PoisonError::into_inner);
        messages.push(message.0);
    }

    // Spans are of no interest; the trait wants them all the same.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_and_errors_are_collected_and_the_rest_is_not() {
        let (result, messages) = collect(|| {
            tracing::info!("one");
            tracing::warn!(path = "x", "two {}", 2);
            tracing::error!("three");
            4
        });
        assert_eq!(result, 4);
        assert_eq!(messages, ["two 2", "three"]);
    }
}
