//! The lab's story, and what happens when nobody reads it any more.

use std::io::{self, Write};
use std::sync::OnceLock;

use tokio_util::sync::CancellationToken;

static STOP: OnceLock<CancellationToken> = OnceLock::new();
static FAILURE: OnceLock<io::Error> = OnceLock::new();

/// Tells one line of the lab's story on stdout; takes what `println!` takes.
///
/// `println!` would panic when the reader has gone, as in `tcp-server | head`.
/// This ends the program in order instead, as Ctrl-C does.
#[macro_export]
macro_rules! story {
    ($($arg:tt)*) => {
        $crate::write_stdout(format!("{}\n", format_args!($($arg)*)).as_bytes())
    };
}

/// Writes `bytes` to stdout at once.
///
/// A reader that has gone (EPIPE) is no error. Any other failure ends the
/// program too, and is what [`finish`](crate::finish) then reports.
//
// NOTE: a terminal stopped with Ctrl-S stops the whole lab here, as it stops
// `console.log` in Node. A server that must not stop writes to a file.
pub fn write_stdout(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    if let Err(error) = written {
        if error.kind() != io::ErrorKind::BrokenPipe {
            FAILURE.get_or_init(|| error);
        }
        if let Some(stop) = STOP.get() {
            stop.cancel();
        }
    }
}

pub(crate) fn stop_when_closed(stop: CancellationToken) {
    STOP.get_or_init(|| stop);
}

/// The error that ended the story, if any.
pub(crate) fn failure() -> Option<&'static io::Error> {
    FAILURE.get()
}
