//! The server: it sends to the group, and does not know who is in it.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use common::story;
use jiff::Zoned;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{Group, Interface, Place};

#[derive(Parser)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) place: Place,

    /// How often to send, such as 500ms or 2s
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    every: Duration,

    /// How many networks it may reach: 0 is this host, 1 this network
    #[arg(long, value_name = "HOPS", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=255))]
    ttl: u32,

    /// Whether members on this host are to hear it; through 127.0.0.1 they
    /// always do
    #[arg(long, value_name = "WHETHER", default_value = "on")]
    loopback: Switch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Each datagram goes to every member, so there are not to be many.
fn time(text: &str) -> Result<Duration, String> {
    const LEAST: Duration = Duration::from_millis(10);

    let time: Duration = humantime::parse_duration(text)
        .map_err(|_| "write it as 250ms, 5s or 2m")?;
    if time < LEAST {
        return Err("it is 10ms at least".into());
    }
    Ok(time)
}

// ANCHOR: server
pub(crate) async fn run(
    flags: &Flags,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let group = flags.place.group;
    let interface = flags.place.interface().await?;
    let socket = open(flags, &interface)
        .with_context(|| format!("cannot send through {interface}"))?;
    let local = socket.local_addr()?;
    story!("sending from {local} to {group}");
    flags.place.warn(&interface);

    let mut ticks = interval(flags.every);
    // After a sleep of the laptop, one datagram and not all that were missed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => send(&socket, group, &interface).await?,
            // Nobody is told: a group has no end.
            () = stop.cancelled() => return Ok(()),
        }
    }
}
// ANCHOR_END: server

// ANCHOR: open
/// Each option is there twice, as IPv4 and IPv6 are two families of calls. On
/// the wrong one it fails, or is taken and does nothing.
fn open(flags: &Flags, interface: &Interface) -> io::Result<UdpSocket> {
    let address = flags.place.group.address;
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    let echo = flags.loopback == Switch::On;
    let local = match interface {
        Interface::V4(ip) => {
            socket.set_multicast_if_v4(ip)?;
            socket.set_multicast_ttl_v4(flags.ttl)?;
            socket.set_multicast_loop_v4(echo)?;
            SocketAddr::from((*ip, 0))
        }
        Interface::V6(_, number) => {
            socket.set_multicast_if_v6(*number)?;
            socket.set_multicast_hops_v6(flags.ttl)?;
            socket.set_multicast_loop_v6(echo)?;
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
        }
    };
    if flags.ttl == 0 {
        // A sender need not be a member. But Linux drops what must not leave
        // the host only where the host is one; else it sends it out.
        interface.join(&socket, address.ip())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&local.into())?;
    UdpSocket::from_std(socket.into())
}
// ANCHOR_END: open

// ANCHOR: send
/// One datagram for all. The switches and the kernels make the copies.
async fn send(
    socket: &UdpSocket,
    group: Group,
    interface: &Interface,
) -> anyhow::Result<()> {
    let now = Zoned::now().strftime("%Y-%m-%d %H:%M:%S %:z").to_string();
    let sent = socket.send_to(now.as_bytes(), group.address).await;
    sent.with_context(|| {
        format!("cannot send to {group} through {}", interface.or_hint())
    })?;
    story!("sent \"{now}\"");
    Ok(())
}
// ANCHOR_END: send
