//! Which hosts there are, how they are called, and at which addresses.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::Error;

/// The host that joins the LANs, if there is more than one.
pub const ROUTER: &str = "r";

/// The last part of its addresses.
const NUMBER_OF_ROUTER: u8 = 254;

/// One or more LANs, each with its hosts.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    lans: Vec<Vec<String>>,
}

/// A host and its cables: a router has one for each LAN.
#[derive(Debug, Clone)]
pub(crate) struct HostPlan {
    pub(crate) name: String,
    pub(crate) links: Vec<Link>,
}

/// A cable between a host and the switch of a LAN.
#[derive(Debug, Clone)]
pub struct Link {
    /// Which LAN, counted from 1.
    pub lan: u8,
    /// The network interface at the host's end.
    pub interface: String,
    /// The host's address in 10.0.LAN.0/24.
    pub ipv4: Ipv4Addr,
    /// The host's address in fd00:LAN::/64.
    pub ipv6: Ipv6Addr,
    /// The network interface at the switch's end.
    pub(crate) port: String,
}

impl Plan {
    pub(crate) fn new(lans: Vec<Vec<String>>) -> Result<Self, Error> {
        let plan = Plan { lans };
        let hosts = plan.hosts();
        if plan.lans.len() > 9 || plan.lans.iter().any(|lan| lan.len() > 200) {
            return Err(Error::misuse("at most 9 LANs of 200 hosts each"));
        }
        if plan.lans.is_empty() || plan.lans.iter().any(Vec::is_empty) {
            return Err(Error::misuse("a LAN needs a host"));
        }
        for (index, host) in hosts.iter().enumerate() {
            let name = host.name.as_str();
            // It names a network interface, too, and those have 15 bytes.
            let is_name = (1..=10).contains(&name.len())
                && name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.bytes().all(|byte| {
                    byte.is_ascii_lowercase() || byte.is_ascii_digit()
                })
                && name != "lo";
            if !is_name {
                return Err(Error::misuse(format_args!(
                    "{name:?} is no name for a host: take 1 to 10 small \
                     letters and digits, a letter first"
                )));
            }
            if hosts[..index].iter().any(|other| other.name == name) {
                return Err(Error::misuse(format_args!(
                    "there are two hosts {name}"
                )));
            }
        }
        Ok(plan)
    }

    pub(crate) fn n_lans(&self) -> u8 {
        self.lans.len().try_into().unwrap_or(u8::MAX)
    }

    pub(crate) fn is_routed(&self) -> bool {
        self.lans.len() > 1
    }

    /// Every host, LAN after LAN, and the router at the end.
    pub(crate) fn hosts(&self) -> Vec<HostPlan> {
        let mut hosts = Vec::new();
        for (lan, names) in (1..).zip(&self.lans) {
            hosts.extend((1..).zip(names).map(|(number, name)| HostPlan {
                name: name.clone(),
                links: vec![Link::new(lan, number, 0, name.clone())],
            }));
        }
        if self.is_routed() {
            let link = |lan: u8| {
                let port = format!("{ROUTER}-{lan}");
                Link::new(lan, NUMBER_OF_ROUTER, lan - 1, port)
            };
            hosts.push(HostPlan {
                name: ROUTER.into(),
                links: (1..=self.n_lans()).map(link).collect(),
            });
        }
        hosts
    }
}

impl Link {
    fn new(lan: u8, number: u8, interface: u8, port: String) -> Self {
        Link {
            lan,
            interface: format!("eth{interface}"),
            ipv4: Ipv4Addr::new(10, 0, lan, number),
            ipv6: Self::ipv6(lan, number),
            port,
        }
    }

    fn ipv6(lan: u8, number: u8) -> Ipv6Addr {
        let (lan, number) = (lan.into(), number.into());
        Ipv6Addr::new(0xfd00, lan, 0, 0, 0, 0, 0, number)
    }

    /// The router's addresses in the same LAN.
    pub(crate) fn router(&self) -> (Ipv4Addr, Ipv6Addr) {
        let ipv4 = Ipv4Addr::new(10, 0, self.lan, NUMBER_OF_ROUTER);
        (ipv4, Self::ipv6(self.lan, NUMBER_OF_ROUTER))
    }

    /// The switch of its LAN. No host can be called so.
    pub(crate) fn bridge(&self) -> String {
        bridge(self.lan)
    }
}

pub(crate) fn bridge(lan: u8) -> String {
    format!("switch-{lan}")
}

/// `a,b,c d`, as the keeper gets it.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lans: Vec<String> =
            self.lans.iter().map(|names| names.join(",")).collect();
        f.write_str(&lans.join(" "))
    }
}

impl FromStr for Plan {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let names =
            |lan: &str| lan.split(',').map(str::to_owned).collect::<Vec<_>>();
        Plan::new(text.split(' ').map(names).collect())
    }
}
