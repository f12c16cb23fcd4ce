//! What the kernel is told to do about a silent client, and what it makes of it.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::Args;

/// The most seconds that Linux takes for a time of keepalive, about 9 hours.
const MOST_SECONDS: u64 = 32_767;

// ANCHOR: configure
/// Tells the kernel when to probe, and when to give up.
pub(crate) fn configure(socket: &TcpStream, args: &Args) -> io::Result<()> {
    let socket = SockRef::from(socket);
    if !args.off {
        let keepalive = TcpKeepalive::new()
            .with_time(args.initial_delay)
            .with_interval(args.interval)
            .with_retries(args.probes);
        // SO_KEEPALIVE, then TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT.
        socket.set_tcp_keepalive(&keepalive)?;
    }
    // Unacknowledged bytes are no matter of keepalive: TCP_USER_TIMEOUT.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(args.user_timeout)?;
    Ok(())
}
// ANCHOR_END: configure

// ANCHOR: describe
/// What the kernel has, which need not be what it was told: 1900ms is one
/// second to it.
#[cfg(unix)]
pub(crate) fn describe(socket: &TcpStream) -> io::Result<String> {
    let socket = SockRef::from(socket);
    let text = if socket.keepalive()? {
        let delay = socket.tcp_keepalive_time()?.as_secs();
        let interval = socket.tcp_keepalive_interval()?.as_secs();
        let probes = socket.tcp_keepalive_retries()?;
        format!("keepalive after {delay}s, every {interval}s, {probes} probes")
    } else {
        "no keepalive".to_owned()
    };
    #[cfg(target_os = "linux")]
    if let Some(limit) = socket.tcp_user_timeout()? {
        return Ok(format!("{text}, user timeout {}ms", limit.as_millis()));
    }
    Ok(text)
}
// ANCHOR_END: describe

/// Windows tells whether, but not how.
#[cfg(not(unix))]
pub(crate) fn describe(socket: &TcpStream) -> io::Result<String> {
    let is_on = SockRef::from(socket).keepalive()?;
    Ok(if is_on { "keepalive" } else { "no keepalive" }.to_owned())
}

// ANCHOR: seconds
/// The kernel counts in seconds. Node divides by 1000 and drops the rest, so
/// 999 is 0 to it, which the kernel refuses, and nobody is told: the system's
/// two hours stay.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    match time(text)? {
        time if time < Duration::from_secs(1) => {
            Err("the kernel counts in seconds: 1s is the least".to_owned())
        }
        time if time.as_secs() > MOST_SECONDS => {
            Err(format!("{MOST_SECONDS}s is the most"))
        }
        time => Ok(time),
    }
}
// ANCHOR_END: seconds

/// The kernel holds 31 bits of milliseconds, and takes 0 for "no limit".
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let form = "write it as 500ms, 5s or 2m";
    let time: humantime::Duration = text.parse().map_err(|_| form)?;
    match time.as_millis() {
        1..=0x7fff_ffff => Ok(*time),
        0 => Err("1ms is the least".to_owned()),
        _ => Err("24 days is the most".to_owned()),
    }
}
