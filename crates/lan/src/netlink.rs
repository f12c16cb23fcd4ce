//! Asking the kernel for network interfaces, addresses and routes: the part of
//! rtnetlink(7) that a small network needs. It is what `ip` speaks.
//!
//! A message is a header, a fixed part and attributes; an attribute is its
//! length, its kind and a value, which may be attributes again.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
};

/// Longest wait for a cable to carry, which takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

// What is missing in libc, or has another type there.
const AF_BRIDGE: u8 = 7;
const NLA_F_NESTED: u16 = 1 << 15;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BRPORT_STATE: u16 = 1;
const BR_STATE_DISABLED: u8 = 0;
const BR_STATE_FORWARDING: u8 = 3;
const IF_OPER_UP: u8 = 6;

/// A conversation about the network namespace in which it was opened.
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// What the kernel says of a network interface.
pub(crate) struct Interface {
    pub(crate) index: u32,
    is_up: bool,
    /// Only a port of a switch has it.
    port_state: Option<u8>,
}

impl Interface {
    /// Whether frames pass. A switch port that is up need not forward yet.
    fn carries(&self) -> bool {
        self.is_up && self.port_state.is_none_or(|it| it == BR_STATE_FORWARDING)
    }
}

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // NETLINK_ROUTE is 0, the default.
            None,
        )?;
        let news_of_links = libc::RTMGRP_LINK.cast_unsigned();
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, news_of_links))?;
        Ok(Netlink {
            socket,
            sequence: 0,
        })
    }

    /// Makes a switch, which Linux calls a bridge.
    pub(crate) fn add_bridge(&mut self, name: &str) -> io::Result<()> {
        let mut message = Message::new_link(0, true);
        message.text(libc::IFLA_IFNAME, name);
        message.nest(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "bridge");
            info.nest(libc::IFLA_INFO_DATA, |data| {
                // A plain switch: multicast goes to every port. Whether a host
                // takes it is for the host to say.
                data.attribute(IFLA_BR_MCAST_SNOOPING, &[0]);
            });
        });
        self.ask(message).map(drop)
    }

    /// Makes a cable: one end here, in a port of the bridge, the other in
    /// another network namespace.
    pub(crate) fn add_cable(
        &mut self,
        port: &str,
        bridge: &str,
        interface: &str,
        namespace: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let bridge = self.interface(bridge)?.index;
        let mut message = Message::new_link(0, true);
        message.text(libc::IFLA_IFNAME, port);
        message.attribute(libc::IFLA_MASTER, &bridge.to_ne_bytes());
        message.nest(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "veth");
            info.nest(libc::IFLA_INFO_DATA, |data| {
                data.nest(VETH_INFO_PEER, |peer| {
                    // It cannot be switched on before it has its other end.
                    peer.bytes.extend(link_header(0, false));
                    peer.text(libc::IFLA_IFNAME, interface);
                    let namespace = namespace.as_raw_fd().to_ne_bytes();
                    peer.attribute(libc::IFLA_NET_NS_FD, &namespace);
                });
            });
        });
        self.ask(message).map(drop)
    }

    /// Switches an interface on.
    pub(crate) fn set_up(&mut self, name: &str) -> io::Result<()> {
        let index = self.interface(name)?.index;
        let mut message = Message::new_link(index, true);
        message.flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK);
        self.ask(message).map(drop)
    }

    /// Switches an interface off: its routes are gone.
    pub(crate) fn set_down(&mut self, name: &str) -> io::Result<()> {
        let index = self.interface(name)?.index;
        let mut message = Message::new_link(index, false);
        message.flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK);
        self.ask(message).map(drop)
    }

    /// Has a port of a switch take and give frames, or not. The interface at
    /// the other end of the cable sees no difference.
    pub(crate) fn set_forwarding(
        &mut self,
        port: &str,
        forwards: bool,
    ) -> io::Result<()> {
        let state = if forwards {
            BR_STATE_FORWARDING
        } else {
            BR_STATE_DISABLED
        };
        let index = self.interface(port)?.index;
        let mut message = Message::new(libc::RTM_SETLINK);
        message.flags(libc::NLM_F_REQUEST | libc::NLM_F_ACK);
        let mut header = link_header(index, false);
        // It is for the bridge, not for the interface.
        header[0] = AF_BRIDGE;
        message.bytes.extend(header);
        message.nest(libc::IFLA_PROTINFO | NLA_F_NESTED, |port| {
            port.attribute(IFLA_BRPORT_STATE, &[state]);
        });
        self.ask(message).map(drop)
    }

    /// Gives an interface an address; its broadcast address follows from it.
    pub(crate) fn add_address(
        &mut self,
        interface: &str,
        ip: IpAddr,
        prefix: u8,
    ) -> io::Result<()> {
        let index = self.interface(interface)?.index;
        let mut message = Message::new(libc::RTM_NEWADDR);
        message.bytes.extend([family(ip), prefix, 0, 0]);
        message.bytes.extend(index.to_ne_bytes());
        message.address(libc::IFA_LOCAL, ip);
        message.address(libc::IFA_ADDRESS, ip);
        if let IpAddr::V4(ip) = ip {
            let host_part = u32::MAX >> prefix;
            let broadcast = Ipv4Addr::from_bits(ip.to_bits() | host_part);
            message.address(libc::IFA_BROADCAST, broadcast.into());
        }
        // Nobody else has it: no need to ask around for a second, during which
        // it could not be used (duplicate address detection, RFC 4862).
        message.attribute(libc::IFA_FLAGS, &libc::IFA_F_NODAD.to_ne_bytes());
        self.ask(message).map(drop)
    }

    /// Sends all that is for no network known to a router. Without one, to
    /// 0.0.0.0 or ::, out of the interface: some group may be there.
    pub(crate) fn add_default_route(
        &mut self,
        interface: &str,
        router: IpAddr,
    ) -> io::Result<()> {
        let index = self.interface(interface)?.index;
        let mut message = Message::new(libc::RTM_NEWROUTE);
        let scope = if router.is_unspecified() {
            libc::RT_SCOPE_LINK
        } else {
            libc::RT_SCOPE_UNIVERSE
        };
        message.bytes.extend([family(router), 0, 0, 0]);
        message
            .bytes
            .extend([libc::RT_TABLE_MAIN, libc::RTPROT_STATIC]);
        message.bytes.extend([scope, libc::RTN_UNICAST]);
        message.bytes.extend([0; 4]);
        message.attribute(libc::RTA_OIF, &index.to_ne_bytes());
        if !router.is_unspecified() {
            message.address(libc::RTA_GATEWAY, router);
        }
        self.ask(message).map(drop)
    }

    /// Waits until frames pass through an interface. The kernel tells of every
    /// change, so nothing is missed between two looks.
    pub(crate) fn wait_until_it_carries(
        &mut self,
        name: &str,
    ) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.interface(name)?.carries() {
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.wait_for_news()?;
        }
        Ok(())
    }

    fn wait_for_news(&self) -> io::Result<()> {
        // It looks again in any case: not every kernel tells everything.
        let for_a_while = Some(Duration::from_millis(50));
        set_socket_timeout(&self.socket, Timeout::Recv, for_a_while)?;
        let received = self.receive();
        set_socket_timeout(&self.socket, Timeout::Recv, None)?;
        match received {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other.map(drop),
        }
    }

    pub(crate) fn interface(&mut self, name: &str) -> io::Result<Interface> {
        let mut message = Message::new(libc::RTM_GETLINK);
        message.flags(libc::NLM_F_REQUEST);
        message.bytes.extend(link_header(0, false));
        message.text(libc::IFLA_IFNAME, name);
        let answer = self.ask(message)?;
        let index = answer.get(4..8).map_or([0; 4], to_array);
        let attributes = answer.get(16..).unwrap_or_default();
        let state = attribute(attributes, libc::IFLA_OPERSTATE);
        let port_state = attribute(attributes, libc::IFLA_LINKINFO)
            .and_then(|info| attribute(info, libc::IFLA_INFO_SLAVE_DATA))
            .and_then(|port| attribute(port, IFLA_BRPORT_STATE));
        Ok(Interface {
            index: u32::from_ne_bytes(index),
            is_up: state.and_then(<[u8]>::first) == Some(&IF_OPER_UP),
            port_state: port_state.and_then(|it| it.first().copied()),
        })
    }

    /// Sends a request; returns what follows the header of the answer.
    fn ask(&mut self, message: Message) -> io::Result<Vec<u8>> {
        self.sequence += 1;
        let request = message.finish(self.sequence);
        rustix::net::send(&self.socket, &request, SendFlags::empty())?;
        loop {
            let received = self.receive()?;
            let mut rest = received.as_slice();
            while rest.len() >= 16 {
                let length = u32::from_ne_bytes(to_array(&rest[..4])) as usize;
                let length = length.clamp(16, rest.len());
                let (header, body) = rest[..length].split_at(16);
                let sequence = u32::from_ne_bytes(to_array(&header[8..12]));
                // News about links has the number 0.
                if sequence == self.sequence {
                    return answer(header, body);
                }
                rest = &rest[length.next_multiple_of(4).min(rest.len())..];
            }
        }
    }

    fn receive(&self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 32 * 1024];
        let flags = RecvFlags::empty();
        let (n_bytes, _) = rustix::net::recv(&self.socket, &mut buffer, flags)?;
        buffer.truncate(n_bytes);
        Ok(buffer)
    }
}

fn answer(header: &[u8], body: &[u8]) -> io::Result<Vec<u8>> {
    let kind = u16::from_ne_bytes(to_array(&header[4..6]));
    if i32::from(kind) != libc::NLMSG_ERROR {
        return Ok(body.to_vec());
    }
    match body
        .get(..4)
        .map_or(0, |it| i32::from_ne_bytes(to_array(it)))
    {
        0 => Ok(Vec::new()),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}

/// A request under construction.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A request that makes something new; the header is filled in later.
    fn new(kind: u16) -> Self {
        let mut message = Message { bytes: vec![0; 16] };
        message.bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        message.flags(
            libc::NLM_F_REQUEST
                | libc::NLM_F_ACK
                | libc::NLM_F_CREATE
                | libc::NLM_F_EXCL,
        );
        message
    }

    fn new_link(index: u32, is_up: bool) -> Self {
        let mut message = Message::new(libc::RTM_NEWLINK);
        let mut header = link_header(index, is_up);
        // Of the flags, only this one is to change.
        header[12..].copy_from_slice(&libc::IFF_UP.to_ne_bytes());
        message.bytes.extend(header);
        message
    }

    fn flags(&mut self, flags: i32) {
        let [low, high, ..] = flags.to_le_bytes();
        let flags = u16::from_le_bytes([low, high]);
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nest(kind, |inner| inner.bytes.extend(value));
    }

    fn text(&mut self, kind: u16, value: &str) {
        self.attribute(kind, &[value.as_bytes(), &[0]].concat());
    }

    fn address(&mut self, kind: u16, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.attribute(kind, &ip.octets()),
            IpAddr::V6(ip) => self.attribute(kind, &ip.octets()),
        }
    }

    /// An attribute of attributes. Each begins at a multiple of four.
    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        fill(self);
        let length = u16::try_from(self.bytes.len() - start);
        let length = length.unwrap_or(u16::MAX).to_ne_bytes();
        self.bytes[start..start + 2].copy_from_slice(&length);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// An ifinfomsg: family and type, which the kernel fills in, index, flags, and
/// which of the flags are to change.
fn link_header(index: u32, is_up: bool) -> [u8; 16] {
    let flags = if is_up { libc::IFF_UP } else { 0 };
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// The value of the first attribute of this kind.
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    // The upper two bits say how the value is made.
    const KIND: u16 = 0x3fff;
    while attributes.len() >= 4 {
        let length =
            usize::from(u16::from_ne_bytes(to_array(&attributes[..2])));
        let found = u16::from_ne_bytes(to_array(&attributes[2..4])) & KIND;
        let value = attributes.get(4..length)?;
        if found == kind {
            return Some(value);
        }
        let next = length.next_multiple_of(4).min(attributes.len());
        attributes = &attributes[next..];
    }
    None
}

fn family(ip: IpAddr) -> u8 {
    let family = match ip {
        IpAddr::V4(_) => libc::AF_INET,
        IpAddr::V6(_) => libc::AF_INET6,
    };
    family.try_into().unwrap_or_default()
}

fn to_array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}
