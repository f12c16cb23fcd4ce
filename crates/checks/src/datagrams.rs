//! Somebody with a UDP socket, in the hands of a check.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use lan::Host;
use socket2::{Domain, Socket, Type};

use crate::bytes::{difference, shown};
use crate::outcome::{Result, Stop};
use crate::script::Steps;
use crate::wait::patience;

/// Room for a few hundred small datagrams that are not read at once; the
/// system may give less.
const RECEIVE_BUFFER: usize = 4 << 20;

/// One more than any datagram can have.
const ROOM: usize = 65_536;

/// A UDP socket that keeps what arrives until a check asks for it.
#[derive(Debug)]
pub struct Datagrams {
    name: String,
    socket: UdpSocket,
    local: SocketAddr,
    steps: Steps,
}

impl Datagrams {
    pub(crate) fn bind(
        address: SocketAddr,
        name: &str,
        steps: Steps,
    ) -> Result<Self> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::DGRAM, None)?;
        Self::bind_socket(socket, address, name, steps)
    }

    /// The same on a host of a private network.
    pub(crate) fn bind_on(
        host: &Host,
        address: SocketAddr,
        name: &str,
        steps: Steps,
    ) -> Result<Self> {
        let domain = Domain::for_address(address);
        let socket = host.socket(domain, Type::DGRAM, None)?;
        Self::bind_socket(socket, address, name, steps)
    }

    fn bind_socket(
        socket: Socket,
        address: SocketAddr,
        name: &str,
        steps: Steps,
    ) -> Result<Self> {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        if address.port() != 0 {
            // The port is everybody's to whom something is sent there.
            socket.set_reuse_address(true)?;
        }
        socket.set_read_timeout(Some(patience()))?;
        socket.set_write_timeout(Some(patience()))?;
        socket.bind(&address.into())?;
        let socket = UdpSocket::from(socket);
        let local = socket.local_addr()?;
        let name = name.to_owned();
        Ok(Datagrams {
            name,
            socket,
            local,
            steps,
        })
    }

    /// Its own address.
    pub fn address(&self) -> SocketAddr {
        self.local
    }

    /// Sends one datagram.
    ///
    /// # Errors
    ///
    /// Those of sendto(2); that it arrived is not said.
    pub fn send(&self, bytes: &[u8], to: SocketAddr) -> Result {
        let (name, text) = (&self.name, shown(bytes));
        self.steps.add(format_args!("{name} sends {text}"));
        self.send_quietly(bytes, to)
    }

    /// The same, and no step of its own: where it is one of hundreds.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub fn send_quietly(&self, bytes: &[u8], to: SocketAddr) -> Result {
        self.socket.send_to(bytes, to)?;
        Ok(())
    }

    /// Waits for the next datagram, whatever it is.
    ///
    /// # Errors
    ///
    /// Broken when none comes in time.
    pub fn receive(&self) -> Result<(Vec<u8>, SocketAddr)> {
        let mut buffer = vec![0; ROOM];
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((n_bytes, from)) => {
                    buffer.truncate(n_bytes);
                    return Ok((buffer, from));
                }
                // With a time limit, the kernel does not go on by itself.
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    return Err(Stop::broken("no datagram came"));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next datagram holds exactly these bytes. Returns who sent it.
    ///
    /// # Errors
    ///
    /// Broken when none comes in time, or another.
    pub fn expect(&self, expected: &[u8]) -> Result<SocketAddr> {
        let (name, text) = (&self.name, shown(expected));
        self.steps.add(format_args!("{name} receives {text}"));
        let (bytes, from) = self.receive()?;
        match difference(expected, &bytes) {
            None => Ok(from),
            Some(difference) => Err(Stop::broken(difference)),
        }
    }

    /// Nothing has come until now. To prove it, `from` sends a datagram to our
    /// address `to`, and it is the next one here: so `from` should be where the
    /// others would have come from, and what they would have answered to must
    /// have been sent before.
    ///
    /// # Errors
    ///
    /// Broken when something else has come.
    pub fn expect_silence(&self, from: &Self, to: SocketAddr) -> Result {
        let (name, other) = (&self.name, &from.name);
        self.steps.add(format_args!(
            "{name} has heard nothing when a mark of {other} comes"
        ));
        let mark = format!("a mark, {}", fastrand::u64(..));
        from.send_quietly(mark.as_bytes(), to)?;
        let (bytes, _) = self.receive()?;
        match difference(mark.as_bytes(), &bytes) {
            None => Ok(()),
            Some(_) => Err(Stop::broken(format_args!(
                "it has heard {}",
                shown(&bytes)
            ))),
        }
    }

    /// From now on what is sent to this group over IPv4 comes here too, by the
    /// interface with this address.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub fn join_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> Result {
        let name = &self.name;
        self.steps
            .add(format_args!("{name} joins {group} on {interface}"));
        Ok(self.socket.join_multicast_v4(&group, &interface)?)
    }

    /// From now on it may send to everybody at once (`SO_BROADCAST`).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub fn allow_broadcast(&self) -> Result {
        Ok(self.socket.set_broadcast(true)?)
    }

    /// From now on the kernel lets nobody else's datagrams in: who sends here
    /// is refused (ICMP port unreachable), and nobody else can have the port.
    ///
    /// # Errors
    ///
    /// Those of connect(2).
    pub fn refuse_everybody(&self) -> Result {
        let (name, local) = (&self.name, self.local);
        self.steps
            .add(format_args!("{name} refuses what is sent to {local}"));
        self.socket.connect(local)?;
        Ok(())
    }
}
