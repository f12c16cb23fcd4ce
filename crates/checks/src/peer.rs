//! The other end of a connection, in the hands of a check.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lan::Host;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::bytes::{difference, shown};
use crate::kernel::{self, TcpSocket, UnixSocket};
use crate::outcome::{Result, Stop, ensure};
use crate::script::Steps;
use crate::wait::{patience, wait_for};

/// How bytes are handed to the kernel.
#[derive(Debug, Clone, Copy)]
pub enum Pieces {
    /// In one write.
    Whole,
    /// One byte a write.
    EachByte,
    /// So many bytes a write.
    Each(usize),
    /// Cut at places drawn from a seed, so that the pieces hold now half a
    /// message, now three.
    Seeded(u64),
}

impl Pieces {
    fn cut(self, bytes: &[u8]) -> Vec<&[u8]> {
        match self {
            Pieces::Whole => vec![bytes],
            Pieces::EachByte => bytes.chunks(1).collect(),
            Pieces::Each(n_bytes) => bytes.chunks(n_bytes.max(1)).collect(),
            Pieces::Seeded(seed) => {
                let mut random = fastrand::Rng::with_seed(seed);
                let longest = (bytes.len() / 5).max(2);
                let mut pieces = Vec::new();
                let mut rest = bytes;
                while !rest.is_empty() {
                    let n_bytes = random.usize(1..=longest).min(rest.len());
                    let (piece, after) = rest.split_at(n_bytes);
                    pieces.push(piece);
                    rest = after;
                }
                pieces
            }
        }
    }
}

/// How a connection came to its end, seen from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The other side sent its FIN.
    Fin,
    /// The other side sent a RST.
    Reset,
}

/// No program under check sends so many bytes in answer to anything. One that
/// does would send for ever.
const TOO_MANY: usize = 64 << 20;

/// One end of a connection, over TCP or over a Unix socket.
#[derive(Debug)]
pub struct Peer {
    name: String,
    socket: Socket,
    local: SocketAddr,
    remote: SocketAddr,
    is_tcp: bool,
    /// Where both ends are, unless in this machine's own network.
    hosts: Vec<Host>,
    steps: Steps,
}

/// What a Unix socket has in place of an address and a port.
const NO_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Makes a socket, on a host if one is given.
fn socket_for(address: SocketAddr, host: Option<&Host>) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    match host {
        Some(host) => host.socket(domain, Type::STREAM, None),
        None => Socket::new(domain, Type::STREAM, None),
    }
}

impl Peer {
    /// Connects; `receive_buffer` in bytes, where it must be tiny.
    pub(crate) fn connect(
        remote: SocketAddr,
        receive_buffer: Option<usize>,
        name: &str,
        steps: Steps,
    ) -> Result<Self> {
        let socket = socket_for(remote, None)?;
        if let Some(n_bytes) = receive_buffer {
            // Before connect: the window is agreed on in the handshake.
            socket.set_recv_buffer_size(n_bytes)?;
        }
        socket.connect_timeout(&remote.into(), patience())?;
        Self::new(socket, Vec::new(), name, steps)
    }

    /// Connects from a host; the other end is on one of `hosts`.
    pub(crate) fn connect_from(
        host: &Host,
        hosts: Vec<Host>,
        remote: SocketAddr,
        name: &str,
        steps: Steps,
    ) -> Result<Self> {
        let socket = socket_for(remote, Some(host))?;
        socket.connect_timeout(&remote.into(), patience())?;
        Self::new(socket, hosts, name, steps)
    }

    /// Connects to the Unix socket of this file.
    pub(crate) fn connect_path(
        path: &Path,
        name: &str,
        steps: Steps,
    ) -> Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // It would wait as long as the queue of the server is full.
        socket.set_write_timeout(Some(patience()))?;
        socket.connect(&SockAddr::unix(path)?)?;
        Self::new(socket, Vec::new(), name, steps)
    }

    fn new(
        socket: Socket,
        hosts: Vec<Host>,
        name: &str,
        steps: Steps,
    ) -> Result<Self> {
        let local = socket.local_addr()?.as_socket();
        let remote = socket.peer_addr()?.as_socket();
        if local.is_some() {
            // Every write leaves at once, so that pieces stay pieces.
            socket.set_tcp_nodelay(true)?;
        }
        socket.set_write_timeout(Some(patience()))?;
        Ok(Peer {
            name: name.to_owned(),
            local: local.unwrap_or(NO_ADDRESS),
            remote: remote.unwrap_or(NO_ADDRESS),
            is_tcp: local.is_some(),
            hosts,
            socket,
            steps,
        })
    }

    /// Its own address; 0.0.0.0:0 over a Unix socket, which has none.
    pub fn address(&self) -> SocketAddr {
        self.local
    }

    /// The address of the other end.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Gives a tiny receive buffer its usual size, so that the rest comes fast.
    pub fn widen(&self) -> Result {
        self.step("begins to read, with a larger buffer");
        Ok(self.socket.set_recv_buffer_size(1 << 20)?)
    }

    /// Sends all bytes in one piece.
    pub fn send(&mut self, bytes: &[u8]) -> Result {
        self.send_in(bytes, Pieces::Whole)
    }

    /// Sends one byte as urgent data, tcp(7).
    pub fn send_urgent(&mut self, byte: u8) -> Result {
        self.step(format_args!("sends {} as urgent data", shown(&[byte])));
        self.socket.send_out_of_band(&[byte])?;
        Ok(())
    }

    /// Sends all bytes in pieces.
    pub fn send_in(&mut self, bytes: &[u8], pieces: Pieces) -> Result {
        let how = match pieces {
            Pieces::Whole => String::new(),
            Pieces::EachByte => ", byte by byte".to_owned(),
            Pieces::Each(n_bytes) => format!(", {n_bytes} bytes a write"),
            Pieces::Seeded(seed) => {
                format!(", in pieces (CHECKS_SEED={seed} cuts them like this)")
            }
        };
        self.step(format_args!("sends {}{how}", shown(bytes)));
        for piece in pieces.cut(bytes) {
            self.socket.write_all(piece)?;
        }
        Ok(())
    }

    /// Sends all bytes while the check goes on, for more than the buffers of
    /// both sides hold. Join the thread to learn whether it could.
    pub fn send_meanwhile(
        &mut self,
        bytes: Vec<u8>,
    ) -> Result<JoinHandle<io::Result<()>>> {
        self.step(format_args!("begins to send {} bytes", bytes.len()));
        let mut socket = self.socket.try_clone()?;
        Ok(thread::spawn(move || socket.write_all(&bytes)))
    }

    /// Sends `block` again and again, `n_bytes` in all, while the check goes on.
    pub fn send_repeated_meanwhile(
        &mut self,
        block: Arc<[u8]>,
        n_bytes: usize,
    ) -> Result<JoinHandle<io::Result<()>>> {
        self.step(format_args!("begins to send {n_bytes} bytes"));
        let mut socket = self.socket.try_clone()?;
        Ok(thread::spawn(move || {
            let mut left = n_bytes;
            while left > 0 {
                let n_bytes = left.min(block.len());
                socket.write_all(&block[..n_bytes])?;
                left -= n_bytes;
            }
            Ok(())
        }))
    }

    /// Waits until the program has read all that was sent to it: until it has
    /// left this peer's send queue and the program's receive queue.
    pub fn wait_until_read(&self) -> Result {
        self.step("waits until all it sent has been read");
        let empty = || match self.unread() {
            Err(error) => Some(Err(error)),
            Ok(unread) => (unread? == 0).then_some(Ok(())),
        };
        wait_for(empty).unwrap_or_else(|| {
            Err(Stop::broken("bytes stay unread in a queue"))
        })
    }

    /// Waits until the program can write no more to this peer, which does not
    /// read, and so reads no more from it: both queues at the program's end
    /// hold bytes, and stay as they are.
    pub fn wait_until_way_back_is_full(&self) -> Result {
        self.step("waits until the way back to it is full");
        let mut last = None;
        let full = || {
            let queues = self.queues_of_other_end().ok()??;
            let is_still = last.replace(queues) == Some(queues);
            (is_still && queues.0 > 0 && queues.1 > 0).then_some(())
        };
        wait_for(full).ok_or_else(|| Stop::broken("it reads on and on"))
    }

    /// The bytes that are on their way to the program, in both queues.
    fn unread(&self) -> Result<Option<u64>> {
        // What is written to a Unix socket is in the other end's queue at once.
        let on_the_way = match self.is_tcp {
            true => self.this_end()?.map(|end| end.send_queue),
            false => Some(0),
        };
        let arrived = self.queues_of_other_end()?.map(|(receive, _)| receive);
        let sum = |(a, b)| u64::from(a) + u64::from(b);
        Ok(on_the_way.zip(arrived).map(sum))
    }

    /// What waits at the program's end to be read, and to be sent.
    fn queues_of_other_end(&self) -> Result<Option<(u32, u32)>> {
        if self.is_tcp {
            let end = self.other_end()?;
            return Ok(end.map(|end| (end.receive_queue, end.send_queue)));
        }
        let sockets = kernel::unix_sockets()?;
        let own = kernel::inode_of(&self.socket);
        let is_other_end =
            |socket: &&UnixSocket| socket.peer.is_some() && socket.peer == own;
        let end = sockets.iter().find(is_other_end);
        Ok(end.map(|end| (end.receive_queue, end.send_queue)))
    }

    /// The program's end of this TCP connection, if the kernel still has it.
    pub fn other_end(&self) -> Result<Option<TcpSocket>> {
        kernel::tcp_connection_on(self.remote, self.local, &self.hosts)
    }

    /// Its own end of this TCP connection, if the kernel still has it.
    pub fn this_end(&self) -> Result<Option<TcpSocket>> {
        kernel::tcp_connection_on(self.local, self.remote, &self.hosts)
    }

    /// Receives exactly these bytes, however they are cut.
    pub fn expect(&mut self, expected: &[u8]) -> Result {
        self.step(format_args!("receives {}", shown(expected)));
        let mut received = vec![0; expected.len()];
        let mut n_received = 0;
        while n_received < expected.len() {
            let buffer = &mut received[n_received..];
            // For the next bytes, not for all: they may be megabytes, and the
            // machine busy.
            let deadline = Instant::now() + patience();
            match self.read(buffer, deadline) {
                Ok(n_bytes) if n_bytes > 0 => n_received += n_bytes,
                ended => {
                    received.truncate(n_received);
                    let difference = difference(expected, &received);
                    return Err(Stop::broken(format_args!(
                        "{}\n{}",
                        difference.unwrap_or_default(),
                        why_no_more(ended)
                    )));
                }
            }
        }
        match difference(expected, &received) {
            None => Ok(()),
            Some(difference) => Err(Stop::broken(difference)),
        }
    }

    /// Receives a line, returns it without its CR LF or LF.
    pub fn expect_line(&mut self) -> Result<String> {
        self.step("receives a line");
        let mut line = Vec::new();
        let deadline = Instant::now() + patience();
        loop {
            // Byte by byte, so that nothing after the line is taken.
            let mut byte = [0];
            match self.read(&mut byte, deadline) {
                Ok(1) if byte == [b'\n'] => break,
                Ok(1) => line.push(byte[0]),
                ended => {
                    return Err(Stop::broken(format_args!(
                        "received {} and no end of line; {}",
                        shown(&line),
                        why_no_more(ended)
                    )));
                }
            }
        }
        if line.ends_with(b"\r") {
            line.pop();
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Receives a line that equals `expected`.
    pub fn expect_exact_line(&mut self, expected: &str) -> Result {
        let line = self.expect_line()?;
        ensure(
            line == expected,
            format_args!("expected {expected:?}, received {line:?}"),
        )
    }

    /// Receives what one read brings; nothing when the connection has ended.
    pub fn receive(&mut self) -> Result<Vec<u8>> {
        let mut received = vec![0; 64 * 1024];
        let deadline = Instant::now() + patience();
        match self.read(&mut received, deadline) {
            Ok(n_bytes) => {
                received.truncate(n_bytes);
                Ok(received)
            }
            ended => Err(Stop::broken(why_no_more(ended))),
        }
    }

    /// Reads to the end; returns all bytes and how it ended.
    pub fn read_to_end(&mut self) -> Result<(Vec<u8>, End)> {
        self.step("reads until the connection ends");
        let mut received = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        let deadline = Instant::now() + patience();
        loop {
            match self.read(&mut buffer, deadline) {
                Ok(0) => return Ok((received, End::Fin)),
                Ok(_) if received.len() > TOO_MANY => {
                    return Err(Stop::broken(format_args!(
                        "received {} and no end",
                        shown(&received)
                    )));
                }
                Ok(n_bytes) => received.extend_from_slice(&buffer[..n_bytes]),
                Err(e) if e.kind() == ErrorKind::ConnectionReset => {
                    return Ok((received, End::Reset));
                }
                Err(error) => {
                    return Err(Stop::broken(format_args!(
                        "received {}; {}",
                        shown(&received),
                        why_no_more(Err(error))
                    )));
                }
            }
        }
    }

    /// Receives the FIN of the program, and not one byte before it.
    pub fn expect_fin(&mut self) -> Result {
        let (received, end) = self.read_to_end()?;
        ensure(
            received.is_empty(),
            format_args!("received {} before the end", shown(&received)),
        )?;
        ensure(end == End::Fin, "the connection was reset (RST)")
    }

    /// Ends its own direction: sends a FIN, goes on reading.
    pub fn half_close(&mut self) -> Result {
        self.step("ends its direction (FIN) and goes on reading");
        Ok(self.socket.shutdown(Shutdown::Write)?)
    }

    /// Closes in order.
    pub fn close(self) {
        self.step("closes");
    }

    /// Breaks the connection off: close with SO_LINGER 0 sends a RST. Over a
    /// Unix socket, closing with something unread does the same; so there the
    /// program must have sent something, or must be about to.
    pub fn reset(self) -> Result {
        self.step("resets the connection (RST)");
        if self.is_tcp {
            return Ok(self.socket.set_linger(Some(Duration::ZERO))?);
        }
        self.socket.set_read_timeout(Some(patience()))?;
        let n_unread = loop {
            match self.socket.peek(&mut [MaybeUninit::uninit()]) {
                // As in `read`.
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        ensure(n_unread > 0, "it has ended before it could be reset")
    }

    /// Vanishes, as if its cable was cut: from now on nothing reaches it, so it
    /// answers nothing, and it has nothing left to send. When it is dropped, its
    /// own end is gone as well.
    #[cfg(target_os = "linux")]
    pub fn vanish(&self) -> Result {
        use socket2::SockFilter;

        /// BPF_RET with a constant, the number of bytes to keep.
        const RETURN: u16 = 0x06;

        let sent = || {
            let end = self.this_end().ok()??;
            (end.send_queue == 0).then_some(())
        };
        wait_for(sent)
            .ok_or_else(|| Stop::broken("it still has bytes to send"))?;
        self.step("vanishes: nothing reaches it, and it answers nothing");
        self.socket.set_linger(Some(Duration::ZERO))?;
        // The kernel asks the filter of a socket before TCP sees a segment
        // (socket(7), SO_ATTACH_FILTER).
        Ok(self
            .socket
            .attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)])?)
    }

    /// Vanishes, where that can be had.
    #[cfg(not(target_os = "linux"))]
    pub fn vanish(&self) -> Result {
        Err(Stop::skipped("only Linux lets a client vanish"))
    }

    fn read(&self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Zero would mean: wait for ever.
            let left = left.max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left))?;
            match (&self.socket).read(buffer) {
                // A read with a timeout is not taken up again by the kernel
                // after a signal, or a stop (signal(7)).
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    /// Adds a step that no method here adds by itself.
    pub fn step(&self, what: impl std::fmt::Display) {
        self.steps.add(format_args!("{} {what}", self.name));
    }
}

fn why_no_more(ended: io::Result<usize>) -> String {
    match ended {
        Ok(_) => "then the connection ended (FIN)".to_owned(),
        Err(e)
            if matches!(
                e.kind(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut
            ) =>
        {
            format!("nothing more came within {:?}", patience())
        }
        Err(error) => format!("then: {error}"),
    }
}

/// A server in the hands of a check, for programs that connect.
#[derive(Debug)]
pub struct Server {
    listener: Socket,
    hosts: Vec<Host>,
    steps: Steps,
}

impl Server {
    /// Listens on `address`, with room for `backlog` connections that wait.
    pub(crate) fn listen(
        address: SocketAddr,
        backlog: i32,
        steps: Steps,
    ) -> Result<Self> {
        let socket = socket_for(address, None)?;
        Self::new(socket, address, backlog, steps)
    }

    /// Listens on a host; who connects is on one of `hosts`.
    pub(crate) fn listen_on(
        host: &Host,
        hosts: Vec<Host>,
        address: SocketAddr,
        backlog: i32,
        steps: Steps,
    ) -> Result<Self> {
        let socket = socket_for(address, Some(host))?;
        let server = Self::new(socket, address, backlog, steps)?;
        Ok(Server { hosts, ..server })
    }

    fn new(
        socket: Socket,
        address: SocketAddr,
        backlog: i32,
        steps: Steps,
    ) -> Result<Self> {
        // A port whose last connections are in TIME-WAIT is free for us.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        Self::listen_at(socket, &address.into(), backlog, steps)
    }

    /// Listens on a Unix socket of this file.
    pub(crate) fn listen_path(
        path: &Path,
        backlog: i32,
        steps: Steps,
    ) -> Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        Self::listen_at(socket, &SockAddr::unix(path)?, backlog, steps)
    }

    fn listen_at(
        listener: Socket,
        address: &SockAddr,
        backlog: i32,
        steps: Steps,
    ) -> Result<Self> {
        listener.bind(address)?;
        listener.listen(backlog)?;
        listener.set_nonblocking(true)?;
        Ok(Server {
            listener,
            hosts: Vec::new(),
            steps,
        })
    }

    /// Where it listens; 0.0.0.0:0 for a Unix socket, which has no address.
    pub fn address(&self) -> Result<SocketAddr> {
        let address = self.listener.local_addr()?;
        Ok(address.as_socket().unwrap_or(NO_ADDRESS))
    }

    /// Waits for the program to connect.
    pub fn accept(&self, name: &str) -> Result<Peer> {
        self.steps
            .add(format_args!("the program connects to {name}"));
        let (socket, _) = wait_for(|| self.listener.accept().ok())
            .ok_or_else(|| Stop::broken("it does not connect"))?;
        socket.set_nonblocking(false)?;
        Peer::new(socket, self.hosts.clone(), name, self.steps.clone())
    }
}

/// What [`Peer::send_meanwhile`] began to send, it could send whole.
///
/// # Errors
///
/// Broken when it could not.
pub fn expect_sent(sending: JoinHandle<io::Result<()>>) -> Result {
    match sending.join() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Stop::broken(format_args!(
            "the client could not send all of it: {error}"
        ))),
        Err(_) => Err(Stop::broken("the sending thread panicked")),
    }
}
