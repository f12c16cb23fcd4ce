//! One client: its reader, its writer, and how it leaves.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use common::{reason, story};
use socket2::{SockRef, TcpKeepalive};
use telnet_codec::{Decoder, Event as Heard, Options, Verb, command, option};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_util::codec::Decoder as _;

use crate::Args;
use crate::outbox::Outbox;
use crate::pace::Pace;
use crate::room::{Event, Member};

/// The most that one read brings.
const CHUNK: usize = 1024;

/// What the kernel may hold for a client that does not read. Left to itself it
/// would take 4 MB (tcp_wmem in tcp(7)), and our limit of 64 KiB would come
/// into force when these are full.
const SEND_BUFFER: usize = 32 * 1024;

// ANCHOR: talk
/// One client, from its coming to its going.
pub(crate) async fn talk(
    mut socket: TcpStream,
    peer: SocketAddr,
    id: u64,
    room: mpsc::Sender<Event>,
    args: Arc<Args>,
) {
    // On `[::]` an IPv4 client shows as ::ffff:127.0.0.1; we say 127.0.0.1.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    story!("{peer} connected");
    let result = converse(&mut socket, peer, id, &room, &args).await;
    match result {
        Ok(()) => story!("{peer} closed"),
        Err(error) => {
            story!("{peer} closed with an error: {}", reason(&error));
        }
    }
}

/// Reads and writes at the same time, until one of both ends; then it leaves.
async fn converse(
    socket: &mut TcpStream,
    peer: SocketAddr,
    id: u64,
    room: &mpsc::Sender<Event>,
    args: &Args,
) -> io::Result<()> {
    configure(socket, args.gone_after)?;
    let (reader, mut writer) = socket.split();
    let outbox = Arc::new(Outbox::default());
    let member = Member::new(peer, outbox.clone());
    // If the room is closed, so is the outbox: the member was dropped.
    let _ = room.send(Event::Came(id, member)).await;
    let result = tokio::select! {
        result = hear(&reader, id, room, &outbox, args.rate) => result,
        result = write(&writer, &outbox) => result,
        () = outbox.closed() => Ok(()),
    };
    let _ = room.send(Event::Left(id)).await;
    result?;
    let end = part(&reader, &mut writer, &outbox);
    timeout(args.grace, end).await.unwrap_or_else(|_| {
        story!("{peer} has not ended in time");
        Ok(())
    })
}
// ANCHOR_END: talk

// ANCHOR: configure
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
// ANCHOR_END: configure

// ANCHOR: read
/// Hears the client until it leaves: by `byebye`, or at the end of the stream.
pub(crate) async fn hear(
    reader: &ReadHalf<'_>,
    id: u64,
    room: &mpsc::Sender<Event>,
    outbox: &Outbox,
    rate: u32,
) -> io::Result<()> {
    let mut decoder = Decoder::default();
    let mut options = Options::new(&[option::BINARY]);
    let mut pace = Pace::new(rate);
    loop {
        let mut bytes = read(reader).await?;
        let is_end = bytes.is_empty();
        loop {
            let heard = match is_end {
                true => decoder.decode_eof(&mut bytes)?,
                false => decoder.decode(&mut bytes)?,
            };
            match heard {
                None => break,
                Some(Heard::Line(line)) if line == "byebye" => return Ok(()),
                Some(Heard::Command(command::EOF)) => return Ok(()),
                Some(Heard::Line(line)) => {
                    pace.next().await;
                    // When the room has much to do, this waits, and nothing
                    // more is read from this client.
                    let _ = room.send(Event::Said(id, line)).await;
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
    outbox.push(line.as_bytes());
}

/// Refuses whatever would make the client send each key by itself. Only
/// `telnet` speaks of timing marks and its line mode, and it takes bytes of
/// Chinese characters for control keys until it is asked for all eight bits.
fn negotiate(verb: Verb, option: u8, options: &mut Options, outbox: &Outbox) {
    let answer = options.answer(verb, option);
    let is_telnet = [option::TIMING_MARK, option::LINEMODE].contains(&option);
    let question = is_telnet.then(|| options.ask(option::BINARY)).flatten();
    for (verb, option) in answer.into_iter().chain(question) {
        outbox.push(&verb.of(option));
    }
}

/// What has come; empty at the client's FIN. There is a buffer only when there
/// is something to read, so a thousand clients that are silent need none.
async fn read(reader: &ReadHalf<'_>) -> io::Result<BytesMut> {
    loop {
        reader.readable().await?;
        let mut bytes = BytesMut::with_capacity(CHUNK);
        match reader.try_read_buf(&mut bytes) {
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
// ANCHOR_END: read

// ANCHOR: write
/// Hands over what waits, as fast as the client reads, until nothing more will
/// come.
async fn write(writer: &WriteHalf<'_>, outbox: &Outbox) -> io::Result<()> {
    while outbox.is_owed().await {
        writer.writable().await?;
        outbox.hand_over(writer)?;
    }
    Ok(())
}

/// The last lines, our FIN, and then the client's. What it still sends is read
/// and dropped; left unread, it would become a RST at our close, and a RST
/// destroys what is on its way to the client.
pub(crate) async fn part(
    reader: &ReadHalf<'_>,
    writer: &mut WriteHalf<'_>,
    outbox: &Outbox,
) -> io::Result<()> {
    let say = async {
        write(writer, outbox).await?;
        writer.shutdown().await
    };
    let drain = async {
        while !read(reader).await?.is_empty() {}
        Ok(())
    };
    tokio::try_join!(say, drain).map(drop)
}
// ANCHOR_END: write
