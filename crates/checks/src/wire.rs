//! The packets that pass on a host of a private network, as packet(7) shows
//! them: how far one may travel, and what kernels say to each other, no other
//! socket tells.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use lan::Host;
use socket2::{Domain, Protocol, Socket, Type};

use crate::outcome::{Result, Stop};
use crate::script::Steps;
use crate::wait::patience;

/// A packet, without what its network has put around it.
#[derive(Debug, Clone)]
pub struct Packet {
    /// Who sent it, by its own account.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// How many networks it may still reach (over IPv6: hop limit).
    pub ttl: u8,
    /// What it carries: 2 is IGMP, 17 UDP.
    pub protocol: u8,
    /// What comes after the IP header.
    pub payload: Vec<u8>,
}

/// IGMP, by which a host tells the network which groups it wants (RFC 9776).
pub const IGMP: u8 = 2;

/// Sees every packet that passes on a host.
#[derive(Debug)]
pub struct Wire {
    socket: Socket,
    steps: Steps,
}

impl Wire {
    pub(crate) fn open(host: &Host, steps: Steps) -> Result<Self> {
        const AF_PACKET: i32 = 17;
        const ETH_P_ALL: u16 = 3;

        let domain = Domain::from(AF_PACKET);
        let all = Protocol::from(i32::from(ETH_P_ALL.to_be()));
        let socket = host.socket(domain, Type::DGRAM, Some(all))?;
        socket.set_read_timeout(Some(patience()))?;
        Ok(Wire { socket, steps })
    }

    /// Waits for the next packet that is `wanted`; the others are passed over.
    ///
    /// # Errors
    ///
    /// Broken when none comes in time.
    pub fn expect(
        &self,
        what: &str,
        wanted: impl Fn(&Packet) -> bool,
    ) -> Result<Packet> {
        self.steps.add(format_args!("{what} passes"));
        let deadline = Instant::now() + patience();
        let mut buffer = vec![0; 65_536];
        loop {
            let none = || Stop::broken("none passes");
            if Instant::now() > deadline {
                return Err(none());
            }
            let n_bytes = match (&self.socket).read(&mut buffer) {
                Ok(n_bytes) => n_bytes,
                // With a time limit, the kernel does not go on by itself.
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    return Err(none());
                }
                Err(error) => return Err(error.into()),
            };
            match packet(&buffer[..n_bytes]) {
                Some(packet) if wanted(&packet) => return Ok(packet),
                _ => {}
            }
        }
    }
}

/// Reads the header of IPv4 (RFC 791) or IPv6 (RFC 8200). Nothing else is of
/// interest here.
fn packet(bytes: &[u8]) -> Option<Packet> {
    let version = bytes.first()? >> 4;
    match version {
        4 => {
            let length = usize::from(bytes[0] & 0xf) * 4;
            let source: [u8; 4] = bytes.get(12..16)?.try_into().ok()?;
            let destination: [u8; 4] = bytes.get(16..20)?.try_into().ok()?;
            Some(Packet {
                source: Ipv4Addr::from(source).into(),
                destination: Ipv4Addr::from(destination).into(),
                ttl: bytes[8],
                protocol: bytes[9],
                payload: bytes.get(length..)?.to_vec(),
            })
        }
        6 => {
            let source: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let destination: [u8; 16] = bytes.get(24..40)?.try_into().ok()?;
            Some(Packet {
                source: Ipv6Addr::from(source).into(),
                destination: Ipv6Addr::from(destination).into(),
                ttl: bytes[7],
                protocol: bytes[6],
                payload: bytes.get(40..)?.to_vec(),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::packet;

    #[test]
    fn a_packet_is_read_with_options_and_without() {
        // A header of six words, one of them options, and two bytes more.
        let mut bytes = vec![0; 26];
        bytes[0] = 0x46;
        (bytes[8], bytes[9]) = (1, 2);
        bytes[12..16].copy_from_slice(&[10, 0, 1, 1]);
        bytes[16..20].copy_from_slice(&[224, 0, 0, 22]);
        bytes[24..].copy_from_slice(&[0x22, 0]);
        let seen = packet(&bytes).unwrap();
        assert_eq!((seen.ttl, seen.protocol), (1, 2));
        assert_eq!(seen.source.to_string(), "10.0.1.1");
        assert_eq!(seen.destination.to_string(), "224.0.0.22");
        assert_eq!(seen.payload, [0x22, 0]);

        let mut bytes = vec![0; 41];
        bytes[0] = 0x60;
        (bytes[6], bytes[7]) = (17, 7);
        (bytes[8], bytes[24]) = (0xfd, 0xff);
        let seen = packet(&bytes).unwrap();
        assert_eq!((seen.ttl, seen.protocol), (7, 17));
        assert_eq!(seen.source.to_string(), "fd00::");
        assert_eq!(seen.destination.to_string(), "ff00::");
        assert_eq!(seen.payload, [0]);
    }

    #[test]
    fn what_is_no_packet_or_is_cut_off_is_none() {
        let arp = [0, 1, 8, 0, 6, 4];
        for bytes in [&[][..], &arp, &[0x45; 19], &[0x60; 39]] {
            assert!(packet(bytes).is_none(), "{bytes:?}");
        }
    }
}
