//! The server: one socket for all clients, and one buffer for all datagrams.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use common::{quote, reason, story};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{LONGEST, resolve, shown};

/// Room for the datagrams that come while we are busy with another. The system
/// may give less (`net.core.rmem_max` on Linux).
const RECEIVE_BUFFER: usize = 4 << 20;

/// How long to wait when the system cannot give us a datagram.
const PAUSE: Duration = Duration::from_millis(100);

// ANCHOR: server
pub(crate) async fn run(
    listen: &str,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let address = resolve(listen).await?;
    let (socket, local) =
        bind(address).with_context(|| format!("cannot listen on {address}"))?;
    story!("listening on {local}");
    if !local.ip().is_loopback() {
        warn!(%local, "everybody who can reach this machine can send to it");
    }
    tokio::select! {
        () = serve(&socket, local) => {}
        () = stop.cancelled() => {}
    }
    // Nobody is told: there is no connection that could end.
    Ok(())
}
// ANCHOR_END: server

// ANCHOR: bind
/// Makes a socket with the system calls that Node makes: socket, setsockopt,
/// bind. There is no `listen`: whoever is bound gets what is sent there.
fn bind(address: SocketAddr) -> io::Result<(UdpSocket, SocketAddr)> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 datagrams as well.
        socket.set_only_v6(false)?;
    }
    // What finds no room is thrown away, and nobody is told, here or there.
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let socket = UdpSocket::from_std(socket.into())?;
    let local = socket.local_addr()?;
    Ok((socket, local))
}
// ANCHOR_END: bind

// ANCHOR: serve
/// Receives for ever. One at a time is enough: no client can hold up another,
/// because no datagram has a rest to wait for.
async fn serve(socket: &UdpSocket, local: SocketAddr) {
    // Room for the longest. What does not fit into the buffer is cut off, and
    // `recv_from` does not tell.
    let mut buffer = vec![0; LONGEST];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((n_bytes, peer)) => {
                answer(socket, local, &buffer[..n_bytes], peer).await;
            }
            // News of an earlier reply: nobody is there any more. Linux keeps
            // it from a socket without a peer, Windows does not.
            Err(error) if is_about_a_reply(&error) => {
                story!("somebody who was answered has gone");
            }
            Err(error) => {
                let error = reason(&error);
                warn!(error, "cannot receive; waiting");
                sleep(PAUSE).await;
            }
        }
    }
}

fn is_about_a_reply(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionReset)
}
// ANCHOR_END: serve

// ANCHOR: answer
/// One datagram, from its arrival to the reply. Who sent it stands in its
/// header, and the sender wrote the header.
async fn answer(
    socket: &UdpSocket,
    local: SocketAddr,
    datagram: &[u8],
    peer: SocketAddr,
) {
    let from = shown(peer);
    let n_bytes = datagram.len();
    let text = quote(&String::from_utf8_lossy(datagram));
    story!("{from} sent {text}, {n_bytes} bytes");
    if is_ourselves(peer, local) {
        story!("{from} is this server: no reply");
        return;
    }
    let mut room = [0; 5];
    let Some(reply) = receipt(n_bytes, &mut room) else {
        story!("{from} gets no reply");
        return;
    };
    match socket.send_to(reply, peer).await {
        Ok(_) => {
            let text = quote(&String::from_utf8_lossy(reply));
            story!("{from} gets {text}");
        }
        Err(error) => story!("{from} gets nothing: {}", reason(&error)),
    }
}
// ANCHOR_END: answer

// ANCHOR: receipt
/// The number of bytes in digits: always shorter than what it answers. So two
/// servers that answer each other come to an end, and who forges a sender's
/// address makes us send that victim less than he has sent himself.
fn receipt(n_bytes: usize, room: &mut [u8; 5]) -> Option<&[u8]> {
    match n_bytes {
        // Nothing is shorter than nothing.
        0 => None,
        // "1" would be as long as what it answers, and go round for ever.
        1 => Some(&[]),
        _ => {
            let mut rest = room.as_mut_slice();
            write!(rest, "{n_bytes}").ok()?;
            let n_left = rest.len();
            Some(&room[..room.len() - n_left])
        }
    }
}

/// Whether our own address stands there as the sender's. Bound to all addresses
/// we do not know them one by one: then our port is enough.
fn is_ourselves(peer: SocketAddr, local: SocketAddr) -> bool {
    let is_our_ip =
        local.ip().is_unspecified() || shown(peer).ip() == local.ip();
    peer.port() == local.port() && is_our_ip
}
// ANCHOR_END: receipt
