//! The client: it asks, and waits no longer than it likes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use common::{host_port, quote, story};
use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::{LONGEST, resolve};

#[derive(clap::Args)]
pub(crate) struct Flags {
    /// Server to ask
    #[arg(long, value_name = "HOST:PORT")]
    #[arg(default_value = "127.0.0.1:41234", value_parser = host_port)]
    connect: String,

    /// What to send
    #[arg(long, value_name = "TEXT", default_value = "hello")]
    message: String,

    /// Leave out so many bytes at the beginning of the message
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    offset: usize,

    /// Send so many bytes, else all that are left
    #[arg(long, value_name = "BYTES")]
    length: Option<usize>,

    /// How many routers may pass a datagram on
    #[arg(long, value_name = "HOPS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=255))]
    ttl: Option<u32>,

    /// How long to wait for each answer, such as 500ms or 5s
    #[arg(long, value_name = "TIME", default_value = "2s")]
    timeout: humantime::Duration,

    /// How many datagrams to send, one after the other
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,

    /// Connect the socket: nobody else's datagrams, and errors are told
    #[arg(long)]
    connected: bool,
}

// ANCHOR: part
impl Flags {
    /// The bytes to send. Offset and length count bytes and not characters, as
    /// in Node, so they may well cut a character.
    pub(crate) fn part(&self) -> Result<&[u8], String> {
        let bytes = self.message.as_bytes();
        let n_bytes = bytes.len();
        let rest = bytes.get(self.offset..).ok_or_else(|| {
            format!("--offset is outside of the message of {n_bytes} bytes")
        })?;
        let length = self.length.unwrap_or(rest.len());
        rest.get(..length).ok_or_else(|| {
            format!("--length is more than the {} bytes left", rest.len())
        })
    }
}
// ANCHOR_END: part

// ANCHOR: client
pub(crate) async fn run(flags: &Flags) -> anyhow::Result<()> {
    let message = flags.part().map_err(anyhow::Error::msg)?;
    let server = resolve(&flags.connect).await?;
    let socket = open(server, flags)
        .await
        .with_context(|| format!("cannot open a socket for {server}"))?;
    let local = socket.local_addr()?;
    story!("sending from {local} to {server}");

    let limit = Duration::from(flags.timeout);
    let mut buffer = vec![0; LONGEST];
    let mut n_lost = 0;
    for _ in 0..flags.count {
        send(&socket, server, message, flags.connected)
            .await
            .with_context(|| {
                format!("cannot send {} bytes to {server}", message.len())
            })?;
        let answer = receive(&socket, server, &mut buffer);
        if let Ok(answered) = timeout(limit, answer).await {
            answered.with_context(|| format!("no answer from {server}"))?;
        } else {
            n_lost += 1;
            story!("no answer within {}", flags.timeout);
        }
    }
    if n_lost == 0 {
        return Ok(());
    }
    let count = flags.count;
    Err(io::Error::from(io::ErrorKind::TimedOut)).with_context(|| {
        format!("no answer from {server} to {n_lost} of {count} datagrams")
    })
}
// ANCHOR_END: client

// ANCHOR: open
/// Takes any free port, where the answers will come. To a server on loopback
/// nothing goes out, so nothing need come in.
async fn open(server: SocketAddr, flags: &Flags) -> io::Result<UdpSocket> {
    let local: IpAddr = match server.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(ip) if ip.is_loopback() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((local, 0)).await?;
    if let Some(ttl) = flags.ttl {
        set_ttl(&socket, server, ttl)?;
    }
    if flags.connected {
        // No packet leaves. The kernel notes whom we mean: it keeps others
        // out, and gives us the errors that come back from there.
        socket.connect(server).await?;
    }
    Ok(socket)
}

/// Each router takes one away, and throws the datagram away at zero. IPv6 calls
/// it the hop limit, and has an option of its own for it.
fn set_ttl(socket: &UdpSocket, server: SocketAddr, ttl: u32) -> io::Result<()> {
    let socket = SockRef::from(socket);
    if server.is_ipv4() {
        socket.set_ttl_v4(ttl)
    } else {
        socket.set_unicast_hops_v6(ttl)
    }
}
// ANCHOR_END: open

// ANCHOR: exchange
/// One call, one datagram. That it was sent does not say that it arrived.
async fn send(
    socket: &UdpSocket,
    server: SocketAddr,
    message: &[u8],
    is_connected: bool,
) -> io::Result<()> {
    let n_bytes = if is_connected {
        socket.send(message).await?
    } else {
        socket.send_to(message, server).await?
    };
    let text = quote(&String::from_utf8_lossy(message));
    story!("sent {text}, {n_bytes} bytes");
    Ok(())
}

/// Waits for a datagram from the server. Who knows our port can send to it.
///
/// NOTE: an answer that comes too late is taken for the next one's. A real
/// protocol has a number in each request, and the same number in its answer.
async fn receive(
    socket: &UdpSocket,
    server: SocketAddr,
    buffer: &mut [u8],
) -> io::Result<()> {
    loop {
        let (n_bytes, peer) = socket.recv_from(buffer).await?;
        let text = quote(&String::from_utf8_lossy(&buffer[..n_bytes]));
        if peer == server {
            story!("{peer} answered {text}");
            return Ok(());
        }
        story!("{peer} was not asked, and says {text}");
    }
}
// ANCHOR_END: exchange
