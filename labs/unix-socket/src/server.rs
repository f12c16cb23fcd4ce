//! The server: it makes the socket's file, and removes it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use common::{Utf8, quote, reason, story};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// How many clients may wait to be accepted, as in Node.
const BACKLOG: i32 = 511;

/// The most that one read brings; Node reads up to 64 KiB, too.
const CHUNK: usize = 64 * 1024;

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// To connect is to write to the file: the bits of the group and of the others.
const OTHERS_MAY_WRITE: u32 = 0o022;

// ANCHOR: server
pub(crate) async fn run(
    path: &Path,
    mode: u32,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let shown = path.display();
    let (file, listener) = listen(path, mode)
        .with_context(|| format!("cannot listen on {shown}"))?;
    story!("listening on {shown}");
    if mode & OTHERS_MAY_WRITE != 0 {
        warn!(path = %shown, "other users of this machine can connect");
    }

    let connections = TaskTracker::new();
    tokio::select! {
        () = serve(&listener, &connections, &stop) => {}
        () = stop.cancelled() => {}
    }

    // First the file, while the listener lives and its inode is ours.
    drop(file);
    drop(listener);
    connections.close();
    connections.wait().await;
    Ok(())
}
// ANCHOR_END: server

// ANCHOR: listen
/// Makes a listening socket and its file. `bind` makes the file, with the
/// permissions that the umask leaves; `listen` lets clients in.
fn listen(path: &Path, mode: u32) -> io::Result<(SocketFile, UnixListener)> {
    // 107 bytes and a zero are all that a `sockaddr_un` has room for. Node
    // would cut the path and listen somewhere else.
    let address = SockAddr::unix(path)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidFilename))?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if !is_stale(path, &address)? {
                return Err(error);
            }
            // NOTE: two servers that start at the same moment could both find
            // it stale, and one remove what the other has just made. A real
            // program holds a lock on a second file meanwhile (`File::lock`).
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    let file = SocketFile::of(path)?;
    // Bound, but not listening: whoever connects now is refused. So nobody
    // comes in before the file has the permissions it should have.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    Ok((file, UnixListener::from_std(socket.into())?))
}

/// Whether this is the file of a server that was killed. Only a refusal proves
/// it: any other answer, or none, may come from a server that is alive.
fn is_stale(path: &Path, address: &SockAddr) -> io::Result<bool> {
    // Connecting to a plain file is refused, too. That is not ours to remove.
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Where the queue is full, `connect` would wait. Like this it fails.
    probe.set_nonblocking(true)?;
    let refused = |e: io::Error| e.kind() == io::ErrorKind::ConnectionRefused;
    Ok(probe.connect(address).is_err_and(refused))
}
// ANCHOR_END: listen

// ANCHOR: file
/// The file that `bind` made. It is removed when this is dropped: the kernel
/// never does it.
struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        let id = id(&path)?;
        Ok(SocketFile { path, id })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have put another in its place. As long as our socket
        // is open the kernel keeps our inode, and no other has its number.
        if id(&self.path).is_ok_and(|id| id == self.id)
            && let Err(error) = fs::remove_file(&self.path)
        {
            warn!(error = reason(&error), "cannot remove the socket's file");
        }
    }
}

/// Device and inode: what a file is, whatever its name.
fn id(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
// ANCHOR_END: file

// ANCHOR: serve
/// Accepts for ever, one task for each client.
async fn serve(
    listener: &UnixListener,
    connections: &TaskTracker,
    stop: &CancellationToken,
) {
    let mut out_of_descriptors = false;
    // A client's address is empty: what it has is no path. So we count.
    let mut n_clients = 0;
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                out_of_descriptors = false;
                n_clients += 1;
                let peer = format!("client {n_clients}");
                connections.spawn(talk(socket, peer, stop.clone()));
            }
            // The client left while it waited in the queue: its own affair.
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
            // No descriptor is left (EMFILE). The client stays in the queue,
            // so asking again at once would fail again at once, for ever.
            Err(error) => {
                if !out_of_descriptors {
                    let error = reason(&error);
                    warn!(error, "cannot accept; waiting");
                }
                out_of_descriptors = true;
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
// ANCHOR_END: serve

// ANCHOR: talk
/// One client, from its greeting to its end.
async fn talk(mut socket: UnixStream, peer: String, stop: CancellationToken) {
    story!("{peer} connected");
    // The kernel noted it when the client called `connect`. Nobody can lie
    // about it, as anybody can about a name.
    if let Ok(who) = socket.peer_cred() {
        let uid = who.uid();
        match who.pid() {
            Some(pid) => story!("{peer} is process {pid} of user {uid}"),
            None => story!("{peer} is a process of user {uid}"),
        }
    }
    let result = tokio::select! {
        result = echo(&mut socket, &peer) => result,
        () = stop.cancelled() => socket.shutdown().await,
    };
    match result {
        Ok(()) => story!("{peer} closed"),
        Err(error) => {
            story!("{peer} closed with an error: {}", reason(&error));
        }
    }
}

async fn echo(socket: &mut UnixStream, peer: &str) -> io::Result<()> {
    let greeting = format!("hello, you are {peer}\r\n");
    socket.write_all(greeting.as_bytes()).await?;

    let mut text = Utf8::default();
    let mut bytes_read = 0;
    loop {
        // Wait first and take memory then, as in tcp-server.
        socket.readable().await?;
        let mut chunk = Vec::with_capacity(CHUNK);
        let n_bytes = socket.read_buf(&mut chunk).await?;
        if n_bytes == 0 {
            break;
        }
        bytes_read += n_bytes;
        tell(peer, &text.push(&chunk), bytes_read);
        socket.write_all(&chunk).await?;
    }

    // No FIN travels here, but the end of the stream is the same.
    tell(peer, &text.end(), bytes_read);
    story!("{peer} ended");
    socket.shutdown().await
}

/// A read that brought only the beginning of a character tells nothing yet.
fn tell(peer: &str, text: &str, bytes_read: usize) {
    if !text.is_empty() {
        story!("{peer} sent {}, {bytes_read} bytes so far", quote(text));
    }
}
// ANCHOR_END: talk
