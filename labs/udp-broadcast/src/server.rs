//! The server: it announces to everybody, and hears who answers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use clap::builder::NonEmptyStringValueParser;
use common::{host_port, quote, reason, story};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::warn;

use crate::{LONGEST, is_broadcast, resolve};

/// Room for the answers of a full room, which all come at the same time. The
/// system may give less (`net.core.rmem_max` on Linux).
const RECEIVE_BUFFER: usize = 4 << 20;

/// How long to wait when the system cannot give us a datagram.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub(crate) struct Flags {
    /// Address from which to send, and where answers come
    #[arg(long, value_name = "HOST:PORT")]
    #[arg(default_value = "127.0.0.1:41234", value_parser = host_port)]
    listen: String,

    /// Where to announce; on a LAN 255.255.255.255:41235
    #[arg(long, value_name = "HOST:PORT")]
    #[arg(default_value = "127.255.255.255:41235", value_parser = host_port)]
    to: String,

    /// How long to wait between announcements, such as 500ms or 5s
    #[arg(long, value_name = "TIME", default_value = "2s")]
    #[arg(value_parser = pause_between)]
    every: humantime::Duration,

    /// Send by this interface alone, known by its name or its address
    #[arg(long, value_name = "NAME|ADDR")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    interface: Option<String>,

    /// Leave the socket's option SO_BROADCAST off
    #[arg(long)]
    no_broadcast: bool,
}

/// Who announces without a pause keeps everybody from working. The timers of
/// Node hold 31 bits of milliseconds.
fn pause_between(text: &str) -> Result<humantime::Duration, String> {
    let time: humantime::Duration =
        text.parse().map_err(|_| "write it as 500ms, 5s or 2m")?;
    if (10..=i32::MAX as u128).contains(&time.as_millis()) {
        return Ok(time);
    }
    Err("from 10ms to 24 days".to_owned())
}

// ANCHOR: server
pub(crate) async fn run(flags: &Flags) -> anyhow::Result<()> {
    let mut address = resolve(&flags.listen).await?;
    let to = resolve(&flags.to).await?;
    let mut interface = flags.interface.as_deref();
    if let Some(Ok(ip)) = interface.map(str::parse::<Ipv4Addr>) {
        // Whose address the packet bears, by that interface it leaves.
        address.set_ip(ip.into());
        interface = None;
    }
    let socket = open(address, !flags.no_broadcast, interface)?;
    let local = socket.local_addr()?;
    story!("listening on {local}");
    if !local.ip().is_loopback() {
        warn!(%local, "everybody who can reach this machine can send to it");
    }
    if !is_broadcast(to)? {
        warn!(%to, "no broadcast address here; at most one host will hear it");
    }
    story!("announcing to {to} every {}", flags.every);
    tokio::select! {
        result = announce(&socket, to, flags.every.into()) => {
            result.with_context(|| format!("cannot send to {to}"))
        }
        () = listen(&socket) => Ok(()),
    }
}
// ANCHOR_END: server

// ANCHOR: open
fn open(
    address: SocketAddr,
    may_broadcast: bool,
    interface: Option<&str>,
) -> anyhow::Result<UdpSocket> {
    let bind = || -> io::Result<Socket> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        // Without it the kernel refuses to send to everybody: a program should
        // not do that by mistake.
        socket.set_broadcast(may_broadcast)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    let socket =
        bind().with_context(|| format!("cannot listen on {address}"))?;
    if let Some(name) = interface {
        send_by(&socket, name)
            .with_context(|| format!("cannot send by interface {name}"))?;
    }
    Ok(UdpSocket::from_std(socket.into())?)
}

/// From now on all leaves by this interface, whatever the routes say, and
/// nothing comes in by another.
#[cfg(target_os = "linux")]
fn send_by(socket: &Socket, name: &str) -> io::Result<()> {
    socket.bind_device(Some(name.as_bytes()))
}

/// Elsewhere take the interface's address.
#[cfg(not(target_os = "linux"))]
fn send_by(_socket: &Socket, _name: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
// ANCHOR_END: open

// ANCHOR: announce
/// Sends for ever. What does not work the first time is an error; what fails
/// later may work again, as when a cable was pulled.
async fn announce(
    socket: &UdpSocket,
    to: SocketAddr,
    every: Duration,
) -> io::Result<()> {
    let mut ticks = interval(every);
    // After a pause, such as Ctrl-Z, the announcements of the past are not
    // made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number: u64 = 1;
    loop {
        ticks.tick().await;
        let text = format!("announcement {number}");
        match socket.send_to(text.as_bytes(), to).await {
            Ok(_) => story!("sent \"{text}\" to {to}"),
            Err(error) if number == 1 => return Err(error),
            Err(error) => story!("{text} is not sent: {}", reason(&error)),
        }
        number += 1;
    }
}
// ANCHOR_END: announce

// ANCHOR: listen
/// Tells who answers, and says nothing to it. Whoever answers an answer may
/// never come to an end.
async fn listen(socket: &UdpSocket) {
    let mut buffer = vec![0; LONGEST];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((n_bytes, peer)) => {
                let text = String::from_utf8_lossy(&buffer[..n_bytes]);
                story!("{peer} says {}", quote(&text));
            }
            Err(error) => {
                let error = reason(&error);
                warn!(error, "cannot receive; waiting");
                sleep(PAUSE).await;
            }
        }
    }
}
// ANCHOR_END: listen
