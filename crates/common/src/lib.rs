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

use std::io::{self, IsTerminal};
use std::process;

#[cfg(unix)]
use tokio::signal::unix;
#[cfg(windows)]
use tokio::signal::windows;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};

pub use error::finish;
pub use stdout::write_stdout;
pub use text::{Utf8, host_port, printable, quote, reason};

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
fn stop_on_signals(stop: CancellationToken) -> io::Result<()> {
    let (mut interrupt, mut terminate) = signals()?;
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

#[cfg(unix)]
fn signals() -> io::Result<(unix::Signal, unix::Signal)> {
    let interrupt = unix::signal(unix::SignalKind::interrupt())?;
    Ok((interrupt, unix::signal(unix::SignalKind::terminate())?))
}

/// Windows has Ctrl-C and Ctrl-Break in their place.
#[cfg(windows)]
fn signals() -> io::Result<(windows::CtrlC, windows::CtrlBreak)> {
    Ok((windows::ctrl_c()?, windows::ctrl_break()?))
}
