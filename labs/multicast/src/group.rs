//! Groups and interfaces: what may be joined, and where.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use anyhow::bail;
use clap::CommandFactory;
use clap::error::ErrorKind;
use tokio::net::lookup_host;
use tracing::warn;

use crate::{Args, Place};

/// An address that many may have at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    pub(crate) address: SocketAddr,
    /// Whose it is, when it is not for everybody to use.
    owner: Option<&'static str>,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write it as HOST:PORT, such as 239.255.0.100:8080 \
            or [ff15::100]:8080, and the interface as --interface";
        let address: SocketAddr = text.parse().map_err(|_| FORM)?;
        let owner = match address {
            SocketAddr::V4(address) => owner_v4(*address.ip())?,
            SocketAddr::V6(address) if address.scope_id() == 0 => {
                owner_v6(*address.ip())?
            }
            SocketAddr::V6(_) => return Err(FORM.into()),
        };
        Ok(Group { address, owner })
    }
}

// ANCHOR: owner
/// Whose group it is: `None` when anybody may take it. An error when it is no
/// group, or one of which nothing good can come.
fn owner_v4(ip: Ipv4Addr) -> Result<Option<&'static str>, String> {
    match ip.octets() {
        [224, 0, 0, _] => Err(format!(
            "{ip} is for the routing protocols of the link; take one that \
             begins with 239"
        )),
        [232, ..] => Err(format!(
            "{ip} can be joined only together with a sender (SSM); take one \
             that begins with 239"
        )),
        [224, 0, 1, _] => Ok(Some("a protocol that has it from IANA")),
        [233, 0..=251, ..] => {
            Ok(Some("whoever has the AS number in its middle"))
        }
        [239, ..] => Ok(None),
        [224..=238, ..] => Ok(Some("somebody else on the internet")),
        _ => Err(format!(
            "{ip} is no group; groups are 224.0.0.0 to 239.255.255.255"
        )),
    }
}

/// The second byte of an IPv6 group is flags and scope, four bits each.
fn owner_v6(ip: Ipv6Addr) -> Result<Option<&'static str>, String> {
    const IS_TEMPORARY: u8 = 1;

    let [first, second, third, fourth, ..] = ip.octets();
    match (first, second >> 4, second & 0xf) {
        (0xff, _, 0 | 0xf) => Err(format!(
            "{ip} has a scope that is reserved; take one that begins with ff15"
        )),
        (0xff, 3, _) if [third, fourth] == [0, 0] => Err(format!(
            "{ip} can be joined only together with a sender (SSM); take one \
             that begins with ff15"
        )),
        (0xff, IS_TEMPORARY, _) => Ok(None),
        (0xff, flags, _) if flags & IS_TEMPORARY == 0 => {
            Ok(Some("a protocol that has it from IANA"))
        }
        (0xff, ..) => Ok(Some("whoever has the network in its middle")),
        _ => Err(format!("{ip} is no group; groups begin with ff")),
    }
}
// ANCHOR_END: owner

/// Where a group is joined, and by which way something leaves.
#[derive(Debug, Clone)]
pub(crate) enum Interface {
    /// One of its addresses, as the calls for IPv4 want it.
    V4(Ipv4Addr),
    /// Its name, and the number that the calls for IPv6 want.
    V6(String, u32),
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Interface::V4(address) => address.fmt(f),
            Interface::V6(name, _) => f.write_str(name),
        }
    }
}

impl Interface {
    /// For an error: which one, or what to do where the system was to choose.
    pub(crate) fn or_hint(&self) -> String {
        match self {
            Interface::V4(Ipv4Addr::UNSPECIFIED) | Interface::V6(_, 0) => {
                "any interface; name one with --interface".to_owned()
            }
            one => one.to_string(),
        }
    }
}

impl Place {
    /// Ends with a word about the flags when they do not fit together.
    pub(crate) fn check(&self) {
        let what = match (self.group.address.ip(), self.interface.as_deref()) {
            (IpAddr::V4(_), Some(text))
                if text.parse::<Ipv4Addr>().is_err() =>
            {
                format!(
                    "--interface {text}: over IPv4 it is one of its addresses, \
                     such as 127.0.0.1"
                )
            }
            (IpAddr::V6(_), None) => {
                "an IPv6 group needs --interface, such as --interface eth0"
                    .to_owned()
            }
            (IpAddr::V6(_), Some(text)) if text.parse::<IpAddr>().is_ok() => {
                format!(
                    "--interface {text}: over IPv6 it is its name or number, \
                     such as eth0"
                )
            }
            _ => return,
        };
        Args::command()
            .error(ErrorKind::ValueValidation, what)
            .exit();
    }

    // ANCHOR: interface
    /// Over IPv4 it is loopback, unless another was named. Over IPv6 one must
    /// be named: `lo` has no route to groups there.
    pub(crate) async fn interface(&self) -> anyhow::Result<Interface> {
        let text = self.interface.as_deref().unwrap_or("127.0.0.1");
        match self.group.address {
            SocketAddr::V4(_) => Ok(Interface::V4(text.parse()?)),
            SocketAddr::V6(_) => {
                Ok(Interface::V6(text.to_owned(), number(text).await?))
            }
        }
    }

    /// Says whose group it is, and who else can hear.
    pub(crate) fn warn(&self, interface: &Interface) {
        let group = self.group;
        if let Some(owner) = group.owner {
            warn!(%group, "this group belongs to {owner}");
        }
        if !matches!(interface, Interface::V4(ip) if ip.is_loopback()) {
            warn!(%interface, "everybody in this network can hear, and send");
        }
    }
    // ANCHOR_END: interface
}

// ANCHOR: number
/// The number of an interface. The resolver knows it: `fe80::%eth0` is an
/// address that means something at one interface only (RFC 4007).
async fn number(interface: &str) -> anyhow::Result<u32> {
    let address = format!("fe80::%{interface}");
    let found = lookup_host((address, 0)).await;
    match found.ok().and_then(|mut addresses| addresses.next()) {
        Some(SocketAddr::V6(address)) => Ok(address.scope_id()),
        _ => bail!("there is no interface {interface}; `ip link` lists them"),
    }
}
// ANCHOR_END: number
