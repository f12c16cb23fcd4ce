//! What every lab does alike and no lab is about: the log, Ctrl-C, the story on
//! stdout, errors in one line, and bytes from a stranger made safe to show.
//!
//! A lab begins and ends like this:
//!
//! ```no_run
//! # async fn run(stop: tokio_util::sync::CancellationToken) -> anyhow::Result<()> { Ok(()) }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::process::ExitCode {
//! let stop = common::start(0);
//! common::finish(run(stop).await)
//! # }
//! ```

mod error;
mod stdout;
mod text;

use std::io::{self, IsTerminal};
use std::process;

use tokio_util::sync::CancellationToken;
use tracing::warn;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};

pub use error::{finish, reason};
pub use stdout::write_stdout;
pub use text::{Utf8, printable, quote};

/// Checks the form of a `HOST:PORT` flag, for clap's `value_parser`. Whether
/// there is such a host shows when the lab looks it up.
///
/// # Errors
///
/// In words, when there is no host or the port is not one of 0 to 65535.
pub fn host_port(text: &str) -> Result<String, String> {
    let form = "write it as HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080";
    let (host, port) = text.rsplit_once(':').ok_or(form)?;
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || (host.contains(':') && !is_bracketed) {
        return Err(form.to_owned());
    }
    match port.parse::<u16>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("a port is a number from 0 to 65535; {form}")),
    }
}

/// Sets up the log and returns the token that is cancelled when the program
/// has been asked to end: by Ctrl-C, by SIGTERM, or by a closed stdout.
///
/// `verbose` is how often `-v` was given. Call it inside the runtime, before
/// anything that takes time: until then Ctrl-C ends the program at once.
pub fn start(verbose: u8) -> CancellationToken {
    start_log(verbose);
    let stop = CancellationToken::new();
    stdout::stop_when_closed(stop.clone());
    if let Err(error) = stop_on_signals(stop.clone()) {
        warn!(%error, "Ctrl-C will end the program at once");
    }
    stop
}

/// Sends what the labs log to stderr. `RUST_LOG=debug` or
/// `RUST_LOG=tcp_server=trace` wins over `-v`.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let asked = std::env::var("RUST_LOG").ok();
    let parsed = asked.as_deref().map(str::parse::<Targets>);
    let targets = match &parsed {
        Some(Ok(targets)) => targets.clone(),
        _ => Targets::new().with_default(level),
    };
    let lines = fmt::layer()
        .compact()
        .with_ansi(io::stderr().is_terminal())
        .with_timer(fmt::time::uptime())
        .with_writer(io::stderr);
    registry().with(lines).with(targets).init();

    if let Some(Err(error)) = parsed {
        warn!(%error, "RUST_LOG is ignored; try RUST_LOG=debug");
    }
}

/// The first signal asks the program to end in order. The second is from
/// somebody who has waited long enough: 130 is 128 + SIGINT, as in a shell.
#[cfg(unix)]
fn stop_on_signals(stop: CancellationToken) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stop.is_cancelled() {
                process::exit(130);
            }
            stop.cancel();
        }
    });
    Ok(())
}

#[cfg(not(unix))]
fn stop_on_signals(stop: CancellationToken) -> io::Result<()> {
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if stop.is_cancelled() {
                process::exit(130);
            }
            stop.cancel();
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::host_port;

    #[test]
    fn a_host_and_a_port_are_both_needed() {
        for good in ["127.0.0.1:8080", "[::1]:0", "localhost:65535"] {
            assert_eq!(host_port(good).as_deref(), Ok(good));
        }
        for bad in ["8080", ":8080", "::1:8080", "host:", "host:65536"] {
            assert!(host_port(bad).unwrap_err().contains("HOST:PORT"), "{bad}");
        }
    }
}
