//! One client: its reader, its writer, and how it leaves.

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use common::{reason, story};
use socket2::{SockRef, TcpKeepalive};
use telnet_codec::{Decoder, Event as Heard, Options, Verb, command, option};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_util::codec::Decoder as _;

use crate::Args;
use crate::command::Command;
use crate::member::Member;
use crate::outbox::Outbox;
use crate::pace::Pace;
use crate::room::Event;

/// The most that one read brings.
const CHUNK: usize = 1024;

/// What the kernel may hold for a client that does not read. Left to itself it
/// would take 4 MB (tcp_wmem in tcp(7)), and our limit of 64 KiB would come
/// into force when these are full.
const SEND_BUFFER: usize = 32 * 1024;

/// One client, from its coming to its going.
pub(crate) async fn talk(
    socket: TcpStream,
    peer: SocketAddr,
    id: u64,
    room: mpsc::Sender<Event>,
    args: Arc<Args>,
) {
    // On `[::]` an IPv4 client shows as ::ffff:127.0.0.1; we say 127.0.0.1.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    story!("{peer} connected");
    let result = converse(Arc::new(socket), peer, id, &room, &args).await;
    match result {
        Ok(()) => story!("{peer} closed"),
        Err(error) => {
            story!("{peer} closed with an error: {}", reason(&error));
        }
    }
}

/// Reads and writes at the same time, until one of both ends; then it leaves.
async fn converse(
    socket: Arc<TcpStream>,
    peer: SocketAddr,
    id: u64,
    room: &mpsc::Sender<Event>,
    args: &Args,
) -> io::Result<()> {
    configure(&socket, args.gone_after)?;
    let outbox = Arc::new(Outbox::new(socket.clone()));
    let member = Member::new(id, peer, outbox.clone());
    // If the room is closed, so is the outbox: the member was dropped.
    let _ = room.send(Event::Came(id, member)).await;
    let result = tokio::select! {
        result = hear(&socket, id, room, &outbox, args.rate) => result,
        result = write(&socket, &outbox) => result,
        () = outbox.closed() => Ok(()),
    };
    let _ = room.send(Event::Left(id)).await;
    result?;
    let end = part(&socket, &outbox);
    timeout(args.grace, end).await.unwrap_or_else(|_| {
        story!("{peer} has not ended in time");
        Ok(())
    })
}

/// What the kernel is to do for us, and what not.
fn configure(socket: &TcpStream, gone_after: Duration) -> io::Result<()> {
    // A line is not held back until the one before it is acknowledged.
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    // The byte that `telnet` sends as urgent stays in its place.
    socket.set_out_of_band_inline(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    // Who has vanished says nothing for ever. The kernel asks after half of
    // the time, again and again, and after all of it gives up: so it does when
    // bytes stay unacknowledged, for which only Linux has an option.
    let second = Duration::from_secs(1);
    let keepalive = TcpKeepalive::new()
        .with_time((gone_after / 2).max(second))
        .with_interval((gone_after / 12).max(second))
        .with_retries(5);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(gone_after))?;
    Ok(())
}

/// Hears the client until it leaves: by `quit`, or at the end of the stream.
pub(crate) async fn hear(
    socket: &TcpStream,
    id: u64,
    room: &mpsc::Sender<Event>,
    outbox: &Outbox,
    rate: u32,
) -> io::Result<()> {
    let mut decoder = Decoder::default();
    let mut options = Options::new(&[option::BINARY]);
    let mut pace = Pace::new(rate);
    loop {
        let mut bytes = read(socket).await?;
        let is_end = bytes.is_empty();
        if is_end && let Some(error) = outbox.failure() {
            return Err(error);
        }
        loop {
            let heard = match is_end {
                true => decoder.decode_eof(&mut bytes)?,
                false => decoder.decode(&mut bytes)?,
            };
            match heard {
                None => break,
                Some(Heard::Command(command::EOF)) => return Ok(()),
                Some(Heard::Line(line)) => {
                    let command = Command::new(&line);
                    if command == Command::Quit {
                        return Ok(());
                    }
                    pace.next().await;
                    // When the room has much to do, this waits, and nothing
                    // more is read from this client.
                    let _ = room.send(Event::Said(id, command)).await;
                }
                Some(other) => answer(&other, &mut options, outbox),
            }
        }
        if is_end {
            return Ok(());
        }
    }
}

/// What is no line for the room, the client is told by itself.
fn answer(heard: &Heard, options: &mut Options, outbox: &Outbox) {
    let line = match *heard {
        Heard::LineTooLong => {
            "! a line of more than 4096 bytes was dropped; make it shorter\r\n"
        }
        Heard::LineNotUtf8(_) => {
            "! a line that is not UTF-8 was dropped; send it again\r\n"
        }
        Heard::Command(command::AYT) => "* yes, I am here\r\n",
        Heard::Negotiation(verb, option) => {
            return negotiate(verb, option, options, outbox);
        }
        _ => return,
    };
    outbox.push(&mut [IoSlice::new(line.as_bytes())]);
}

/// Refuses whatever would make the client send each key by itself. Only
/// `telnet` speaks of timing marks and its line mode, and it takes bytes of
/// Chinese characters for control keys until it is asked for all eight bits.
fn negotiate(verb: Verb, option: u8, options: &mut Options, outbox: &Outbox) {
    let answer = options.answer(verb, option);
    let is_telnet = [option::TIMING_MARK, option::LINEMODE].contains(&option);
    let question = is_telnet.then(|| options.ask(option::BINARY)).flatten();
    for (verb, option) in answer.into_iter().chain(question) {
        outbox.push(&mut [IoSlice::new(&verb.of(option))]);
    }
}

/// What has come; empty at the client's FIN. There is a buffer only when there
/// is something to read, so a thousand clients that are silent need none.
async fn read(socket: &TcpStream) -> io::Result<BytesMut> {
    loop {
        socket.readable().await?;
        let mut bytes = BytesMut::with_capacity(CHUNK);
        match socket.try_read_buf(&mut bytes) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            result => {
                // Who fills the buffer has more to say. First it is the turn
                // of the others, and of those who want to come in.
                if bytes.len() == CHUNK {
                    yield_now().await;
                }
                return result.map(|_| bytes);
            }
        }
    }
}

/// Hands over what waits, as fast as the client reads, until nothing more will
/// come.
async fn write(socket: &TcpStream, outbox: &Outbox) -> io::Result<()> {
    while outbox.is_owed().await {
        socket.writable().await?;
        outbox.hand_over()?;
    }
    Ok(())
}

/// The last lines, our FIN, and then the client's. What it still sends is read
/// and dropped; left unread, it would become a RST at our close, and a RST
/// destroys what is on its way to the client.
pub(crate) async fn part(
    socket: &TcpStream,
    outbox: &Outbox,
) -> io::Result<()> {
    let say = async {
        write(socket, outbox).await?;
        SockRef::from(socket).shutdown(Shutdown::Write)
    };
    let drain = async {
        while !read(socket).await?.is_empty() {}
        Ok(())
    };
    tokio::try_join!(say, drain).map(drop)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;

    /// On tokio's paused clock, which leaps as soon as all wait for it.
    #[tokio::test(start_paused = true)]
    async fn the_grace_is_all_one_gets() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let _never_ends = TcpStream::connect(listener.local_addr()?).await?;
        let (socket, peer) = listener.accept().await?;
        let args = Args::parse_from(["chat-v2", "--grace", "1h"]);
        let (room, mut events) = mpsc::channel(2);
        // Who is no member any more has to go.
        let put_out = async { drop(events.recv().await) };

        let start = Instant::now();
        tokio::join!(talk(socket, peer, 1, room, Arc::new(args)), put_out);
        assert_eq!(start.elapsed(), Duration::from_secs(3600));
        Ok(())
    }
}
