//! One client, and its pipe to the file.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use common::{reason, story};
use tokio::io::{AsyncWriteExt, copy};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tracing::warn;

use crate::Server;
use crate::sink;

// ANCHOR: talk
/// One client, from its coming to its going.
pub(crate) async fn talk(
    mut socket: TcpStream,
    peer: SocketAddr,
    server: Arc<Server>,
) {
    // On `[::]` an IPv4 client shows as ::ffff:127.0.0.1; we say 127.0.0.1.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    story!("{peer} connected");
    let mut n_written = 0;
    let result = converse(&mut socket, peer, &server, &mut n_written).await;
    drop(socket);
    match result {
        Ok(()) => story!("{peer} closed, {n_written} bytes written"),
        Err(error) => story!(
            "{peer} closed with an error, {n_written} bytes written: {}",
            reason(&error)
        ),
    }
}

async fn converse(
    socket: &mut TcpStream,
    peer: SocketAddr,
    server: &Server,
    n_written: &mut u64,
) -> io::Result<()> {
    socket.write_all(b"welcome\r\n").await?;
    match pipe(socket, server, n_written).await? {
        PipeEnd::Stopped => {}
        PipeEnd::Ended => story!("{peer} ended"),
        PipeEnd::Unpiped => {
            story!("{peer} unpiped");
            drop_rest(socket, peer, server).await?;
        }
        PipeEnd::Failed(error) => {
            let reason = reason(&error);
            story!("{peer} cannot be written: {reason}");
            warn!(%peer, error = reason, "cannot write to the file");
            let line = format!("cannot write: {reason}\r\n");
            socket.write_all(line.as_bytes()).await?;
            socket.shutdown().await?;
            drop_rest(socket, peer, server).await?;
        }
    }
    socket.shutdown().await
}
// ANCHOR_END: talk

/// Why a client is no longer piped.
pub(crate) enum PipeEnd {
    /// It has sent all (FIN).
    Ended,
    /// Its time is over.
    Unpiped,
    /// The file does not take it.
    Failed(io::Error),
    /// The program ends.
    Stopped,
}

// ANCHOR: pipe
/// One turn after the other, until there is a reason to end.
pub(crate) async fn pipe(
    socket: &TcpStream,
    server: &Server,
    n_written: &mut u64,
) -> io::Result<PipeEnd> {
    let unpipe = async {
        match server.args.unpipe_after {
            Some(time) => sleep(*time).await,
            None => pending().await,
        }
    };
    tokio::pin!(unpipe);
    let end = loop {
        // Whoever waits here for a client has no lock and no buffer.
        tokio::select! {
            biased;
            () = server.stop.cancelled() => return Ok(PipeEnd::Stopped),
            () = &mut unpipe => break PipeEnd::Unpiped,
            ready = socket.readable() => ready?,
        }
        let mut sink = server.sink.clone().lock_owned().await;
        match socket.try_read_buf(&mut sink.chunk) {
            Ok(0) => break PipeEnd::Ended,
            Ok(_) => {
                if let Err(error) = sink::write(sink, n_written).await {
                    return Ok(PipeEnd::Failed(error));
                }
            }
            // `readable` may be wrong. With the lock in hand we wait for
            // nobody: the next turn is another's.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    };
    let mut sink = server.sink.clone().lock_owned().await;
    sink.chunk
        .extend_from_slice(server.args.end_text.as_bytes());
    match sink::write(sink, &mut 0).await {
        Ok(()) => Ok(end),
        Err(error) => Ok(PipeEnd::Failed(error)),
    }
}
// ANCHOR_END: pipe

// ANCHOR: drop_rest
/// Reads on to the client's end. Unread bytes would fill the way, and then it
/// would hang; to close over them would reset it, and throw away our last line.
async fn drop_rest(
    socket: &mut TcpStream,
    peer: SocketAddr,
    server: &Server,
) -> io::Result<()> {
    // NOTE: this goes on as long as the client does. A real server would give it
    // a time, and then reset the connection.
    let mut nowhere = tokio::io::sink();
    let n_bytes = tokio::select! {
        n_bytes = copy(socket, &mut nowhere) => n_bytes?,
        () = server.stop.cancelled() => return Ok(()),
    };
    story!("{peer} ended, {n_bytes} bytes dropped");
    Ok(())
}
// ANCHOR_END: drop_rest
