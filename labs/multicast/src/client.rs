//! The client: a member of the group, as long as it likes.

use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use anyhow::Context;
use clap::Parser;
use common::{quote, story};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{Interface, Place};

/// A datagram's own length has 16 bits, so none can be longer than this.
const LONGEST: usize = 65_535;

#[derive(Parser)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) place: Place,

    /// Leave the group after so long, and listen on, such as 5s
    #[arg(long, value_name = "TIME")]
    leave_after: Option<humantime::Duration>,
}

// ANCHOR: client
pub(crate) async fn run(
    flags: &Flags,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let group = flags.place.group.address;
    let ip = group.ip();
    let interface = flags.place.interface().await?;
    let socket = bind(group, &interface)
        .with_context(|| format!("cannot listen on {group}"))?;
    let member = SockRef::from(&socket);
    interface.join(&member, ip).with_context(|| {
        format!("cannot join {ip} on {}", interface.or_hint())
    })?;
    story!("joined {ip} on {interface}, at port {}", group.port());
    flags.place.warn(&interface);

    let time_is_over = async {
        match flags.leave_after {
            Some(time) => sleep(time.into()).await,
            None => pending().await,
        }
    };
    tokio::select! {
        result = listen(&socket) => return result,
        () = stop.cancelled() => return Ok(()),
        () = time_is_over => {}
    }
    interface
        .leave(&member, ip)
        .with_context(|| format!("cannot leave {ip} on {interface}"))?;
    story!("left {ip} on {interface}");
    // The socket is bound as before. It is only that nothing comes.
    tokio::select! {
        result = listen(&socket) => result,
        () = stop.cancelled() => Ok(()),
    }
}
// ANCHOR_END: client

// ANCHOR: bind
/// Several clients of one host can have the same port, and each gets its copy:
/// with SO_REUSEADDR, set by all of them before they bind.
fn bind(group: SocketAddr, interface: &Interface) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(group);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    // Linux gives a socket what was sent to any group that any program on this
    // host has joined. We want what we have joined ourselves.
    #[cfg(target_os = "linux")]
    match interface {
        Interface::V4(_) => socket.set_multicast_all_v4(false)?,
        Interface::V6(..) => socket.set_multicast_all_v6(false)?,
    }
    socket.set_nonblocking(true)?;
    socket.bind(&local(group, interface).into())?;
    UdpSocket::from_std(socket.into())
}

/// Bound to the group, a socket gets nothing else that is sent to its port.
/// Windows has no such thing, and there it is bound to all addresses.
fn local(group: SocketAddr, interface: &Interface) -> SocketAddr {
    let port = group.port();
    let zone = match interface {
        Interface::V4(_) => 0,
        Interface::V6(_, number) => *number,
    };
    match group.ip() {
        IpAddr::V4(_) if cfg!(windows) => (Ipv4Addr::UNSPECIFIED, port).into(),
        IpAddr::V6(_) if cfg!(windows) => (Ipv6Addr::UNSPECIFIED, port).into(),
        IpAddr::V4(ip) => (ip, port).into(),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, zone).into(),
    }
}
// ANCHOR_END: bind

// ANCHOR: join
impl Interface {
    /// From now on this host takes what is sent to the group, and says so to
    /// the network (IGMP; over IPv6 MLD). The kernel counts: the last socket
    /// that leaves, or is closed, ends it.
    pub(crate) fn join(
        &self,
        socket: &Socket,
        group: IpAddr,
    ) -> io::Result<()> {
        match (self, group) {
            (Interface::V4(ip), IpAddr::V4(group)) => {
                socket.join_multicast_v4(&group, ip)
            }
            (Interface::V6(_, number), IpAddr::V6(group)) => {
                socket.join_multicast_v6(&group, *number)
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Wants the same two words as `join`.
    fn leave(&self, socket: &Socket, group: IpAddr) -> io::Result<()> {
        match (self, group) {
            (Interface::V4(ip), IpAddr::V4(group)) => {
                socket.leave_multicast_v4(&group, ip)
            }
            (Interface::V6(_, number), IpAddr::V6(group)) => {
                socket.leave_multicast_v6(&group, *number)
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}
// ANCHOR_END: join

// ANCHOR: listen
/// Receives for ever. Who sends to a group need not be a member, nor the one
/// we have in mind.
async fn listen(socket: &UdpSocket) -> anyhow::Result<()> {
    let mut buffer = vec![0; LONGEST];
    loop {
        let received = socket.recv_from(&mut buffer).await;
        let (n_bytes, peer) = received.context("cannot receive")?;
        let text = quote(&String::from_utf8_lossy(&buffer[..n_bytes]));
        story!("{peer} says {text}");
    }
}
// ANCHOR_END: listen
