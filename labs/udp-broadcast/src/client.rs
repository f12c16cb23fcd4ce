//! The client: it hears announcements, and answers whoever made them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use common::{host_port, quote, reason, story};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::sleep;
use tracing::warn;

use crate::{LONGEST, is_broadcast, resolve};

/// How long to wait when the system cannot give us a datagram.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub(crate) struct Flags {
    /// Address on which to hear; on a LAN 0.0.0.0:41235
    #[arg(long, value_name = "HOST:PORT")]
    #[arg(default_value = "127.255.255.255:41235", value_parser = host_port)]
    listen: String,
}

// ANCHOR: client
pub(crate) async fn run(flags: &Flags) -> anyhow::Result<()> {
    let address = resolve(&flags.listen).await?;
    let listener =
        bind(address).with_context(|| format!("cannot listen on {address}"))?;
    let local = listener.local_addr()?;
    story!("listening on {local}");
    warn_of(local)?;

    // The port is shared: an answer from there could be anybody's, and what is
    // sent back there reaches one of us. So answers leave from another socket.
    let own = if local.ip().is_loopback() {
        Ipv4Addr::LOCALHOST
    } else {
        Ipv4Addr::UNSPECIFIED
    };
    let socket = UdpSocket::bind((own, 0))
        .await
        .context("cannot open a socket for answers")?;
    story!("answering from {}", socket.local_addr()?);
    listen(&listener, &socket).await;
    Ok(())
}
// ANCHOR_END: client

// ANCHOR: warn_of
fn warn_of(local: SocketAddr) -> io::Result<()> {
    if !local.ip().is_loopback() {
        warn!(%local, "everybody who can reach this machine can send to it");
    }
    if !local.ip().is_unspecified() && !is_broadcast(local)? {
        warn!(%local, "no broadcast comes to this address; listen on 0.0.0.0");
    }
    Ok(())
}
// ANCHOR_END: warn_of

// ANCHOR: bind
/// Several clients on one machine hear the same port: each gets a copy of what
/// is sent to everybody. All of them must want that, by `SO_REUSEADDR`.
fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
// ANCHOR_END: bind

// ANCHOR: listen
async fn listen(listener: &UdpSocket, socket: &UdpSocket) {
    let mut buffer = vec![0; LONGEST];
    loop {
        match listener.recv_from(&mut buffer).await {
            Ok((n_bytes, peer)) => hear(&buffer[..n_bytes], peer, socket).await,
            Err(error) => {
                let error = reason(&error);
                warn!(error, "cannot receive; waiting");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Answers an announcement, and nothing else.
///
/// NOTE: a hundred clients answer at the same moment, also when somebody has
/// forged the sender. A real protocol waits for a random time first, and answers
/// the same sender only now and then.
async fn hear(datagram: &[u8], peer: SocketAddr, socket: &UdpSocket) {
    let text = quote(&String::from_utf8_lossy(datagram));
    let Some(number) = announced(datagram) else {
        story!("{peer} says {text}, and gets no answer");
        return;
    };
    story!("{peer} says {text}");
    let answer = format!("heard {number}");
    // This socket may not broadcast: a forged sender cannot make us.
    match socket.send_to(answer.as_bytes(), peer).await {
        Ok(_) => story!("{peer} gets \"{answer}\""),
        Err(error) => story!("{peer} gets nothing: {}", reason(&error)),
    }
}

/// The number of an announcement, which may end in a line end: somebody may have
/// typed it. An answer does not look like one.
fn announced(datagram: &[u8]) -> Option<u64> {
    let text = str::from_utf8(datagram).ok()?;
    text.strip_prefix("announcement ")?.trim_end().parse().ok()
}
// ANCHOR_END: listen
