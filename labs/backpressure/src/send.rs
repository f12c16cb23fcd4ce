//! One client: what is written to it, when to wait, and the story of that.

use std::io;
use std::net::SocketAddr;

use common::story;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::WriteHalf;

use crate::Args;
use crate::queue::Queue;
use crate::source::Source;

// ANCHOR: send
/// Writes chunk after chunk, and waits when `write` says so.
pub(crate) async fn send(
    mut socket: WriteHalf<'_>,
    peer: SocketAddr,
    args: &Args,
    source: &Source,
) -> io::Result<()> {
    let mut chunks = source.chunks(args.chunk)?;
    let greeting = format!("welcome, {} bytes follow\r\n", source.n_bytes());
    socket.write_all(greeting.as_bytes()).await?;

    let mut queue = Queue::new(socket, args.high_water_mark);
    let mut writes = Writes::of(peer);
    while let Some((chunk, rest)) = chunks.next().await? {
        chunks = rest;
        let go_on = queue.write(&chunk)?;
        writes.tell(go_on, &queue);
        if !go_on {
            queue.drained().await?;
            story!("{peer} drain");
        }
    }
    writes.tell_rest();

    let written = queue.written();
    queue.end().await?;
    story!("{peer} finish, {written} written");
    Ok(())
}
// ANCHOR_END: send

/// Tells of each write. Those that left nothing waiting share a line: on a
/// good day they are thousands.
struct Writes {
    peer: SocketAddr,
    number: u64,
    told: u64,
    written: u64,
}

impl Writes {
    fn of(peer: SocketAddr) -> Self {
        Writes {
            peer,
            number: 0,
            told: 0,
            written: 0,
        }
    }

    fn tell(&mut self, go_on: bool, queue: &Queue) {
        let (waiting, written) = (queue.waiting(), queue.written());
        if waiting > 0 || !go_on {
            self.tell_rest();
            let (peer, number) = (self.peer, self.number + 1);
            story!(
                "{peer} write {number} returned {go_on}, {waiting} bytes \
                 waiting, {written} written"
            );
            self.told = number;
        }
        self.number += 1;
        self.written = written;
    }

    /// Tells of those that are not told yet.
    fn tell_rest(&mut self) {
        let (peer, last, written) = (self.peer, self.number, self.written);
        let writes = match last - self.told {
            0 => return,
            1 => format!("write {last}"),
            _ => format!("writes {} to {last}", self.told + 1),
        };
        story!(
            "{peer} {writes} returned true, 0 bytes waiting, {written} written"
        );
        self.told = last;
    }
}
