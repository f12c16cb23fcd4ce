//! The process that keeps a private network: it makes it, holds it, and takes
//! it away.
//!
//! It goes into a user namespace and a network namespace. That one is the room
//! with the switches; every host is a network namespace more, and a cable
//! leads from it to a port of its switch. Then it does what its owner asks on
//! the socket that is its stdin, until the owner closes it or dies.

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use rustix::process::{Pid, PidfdFlags, Signal};
use socket2::{Domain, Protocol, Socket, Type};

use crate::namespace::{enter_new, go_into, new_network, own_network};
use crate::netlink::Netlink;
use crate::plan::{HostPlan, Link, Plan, bridge};

/// Keeps a network of these LANs, `a,b,c d`, until stdin ends.
pub fn keep(plan: &str) -> io::Result<()> {
    let owner = io::stdin();
    let owner = owner.as_fd();
    let network = match Network::make(plan) {
        Ok(network) => network,
        Err((what, error)) => {
            let errno = error.raw_os_error().unwrap_or_default();
            return send(
                owner,
                &format!("error {errno} {what}: {error}"),
                None,
            );
        }
    };
    send(owner, &network.ready(), None)?;
    let mut request = [0; 256];
    loop {
        let flags = RecvFlags::empty();
        let (n_bytes, _) = rustix::net::recv(owner, &mut request, flags)?;
        if n_bytes == 0 {
            break;
        }
        let request = String::from_utf8_lossy(&request[..n_bytes]);
        match network.serve(&request) {
            Ok(socket) => {
                let socket = socket.as_ref().map(Socket::as_fd);
                send(owner, "ok", socket)?;
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or_default();
                send(owner, &format!("error {errno} {error}"), None)?;
            }
        }
    }
    network.end_programs();
    Ok(())
}

/// Sends an answer, and a descriptor for the owner to have, unix(7).
fn send(
    owner: BorrowedFd<'_>,
    answer: &str,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.as_slice();
    if !descriptors.is_empty() {
        rights.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let answer = [IoSlice::new(answer.as_bytes())];
    rustix::net::sendmsg(owner, &answer, &mut rights, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// What failed, and why.
type Failure = (String, io::Error);

/// Says what an error was about.
fn about<T>(
    what: impl FnOnce() -> String,
    result: io::Result<T>,
) -> Result<T, Failure> {
    result.map_err(|error| (what(), error))
}

struct Network {
    /// The namespace with the switches.
    room: File,
    hosts: Vec<Host>,
}

struct Host {
    plan: HostPlan,
    namespace: File,
}

impl Network {
    fn make(plan: &str) -> Result<Self, Failure> {
        let plan: Plan = plan.parse().map_err(|error: crate::Error| {
            (error.to_string(), io::ErrorKind::InvalidInput.into())
        })?;
        about(|| "cannot make a user namespace".into(), enter_new())?;
        let room = about(|| "cannot make a network".into(), own_network())?;
        let mut network = Network {
            room,
            hosts: Vec::new(),
        };
        // Switches have no say in what passes through them.
        for which in ["all", "default"] {
            let option = format!("ipv6/conf/{which}/disable_ipv6");
            about(|| format!("cannot set {option}"), set(&option, "1"))?;
        }
        for lan in 1..=plan.n_lans() {
            let name = bridge(lan);
            let made = Netlink::open().and_then(|mut it| it.add_bridge(&name));
            about(|| "cannot make a switch".into(), made)?;
        }
        for host in plan.hosts() {
            let is_routed = plan.is_routed();
            let name = host.name.clone();
            let made = network.add(host, is_routed);
            about(|| format!("cannot make host {name}"), made)?;
        }
        for host in &network.hosts {
            let waited = network.wait(host);
            let name = &host.plan.name;
            about(|| format!("the cable of {name} does not carry"), waited)?;
        }
        Ok(network)
    }

    fn add(&mut self, plan: HostPlan, is_routed: bool) -> io::Result<()> {
        let namespace = new_network()?;
        // Before there is an interface to which they would come too late.
        set("ipv6/conf/default/accept_dad", "0")?;
        set("ipv6/conf/default/router_solicitations", "0")?;
        // The user may ping, as on most systems, icmp(7).
        let gid = rustix::process::getgid().as_raw();
        set("ipv4/ping_group_range", &format!("{gid} {gid}"))?;
        let is_router = plan.links.len() > 1;
        if is_router {
            set("ipv4/ip_forward", "1")?;
            set("ipv6/conf/all/forwarding", "1")?;
        }
        Netlink::open()?.set_up("lo")?;
        go_into(self.room.as_fd())?;
        let mut room = Netlink::open()?;
        for link in &plan.links {
            let Link {
                interface, port, ..
            } = link;
            let namespace = namespace.as_fd();
            room.add_cable(port, &link.bridge(), interface, namespace)?;
        }
        self.hosts.push(Host { plan, namespace });
        let host = &self.hosts[self.hosts.len() - 1];
        self.within(host, || {
            let mut netlink = Netlink::open()?;
            for link in &host.plan.links {
                netlink.set_up(&link.interface)?;
                add_addresses(&mut netlink, link)?;
                if !is_router {
                    add_default_routes(&mut netlink, link, is_routed)?;
                }
            }
            Ok(())
        })
    }

    /// Waits until both ends of a host's cables carry.
    fn wait(&self, host: &Host) -> io::Result<()> {
        let mut room = Netlink::open()?;
        for link in &host.plan.links {
            room.wait_until_it_carries(&link.port)?;
        }
        self.within(host, || {
            let mut netlink = Netlink::open()?;
            host.plan.links.iter().try_for_each(|link| {
                netlink.wait_until_it_carries(&link.interface)
            })
        })
    }

    // ANCHOR: within
    /// Does something in the namespace of a host, and comes back.
    fn within<T>(
        &self,
        host: &Host,
        act: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        go_into(host.namespace.as_fd())?;
        let result = act();
        go_into(self.room.as_fd())?;
        result
    }
    // ANCHOR_END: within

    /// `ready`, and under which descriptors the hosts' namespaces are open.
    fn ready(&self) -> String {
        let mut words = vec!["ready".to_owned()];
        let descriptors = self.hosts.iter().map(|it| it.namespace.as_raw_fd());
        words.extend(descriptors.map(|it| it.to_string()));
        words.join(" ")
    }

    fn serve(&self, request: &str) -> io::Result<Option<Socket>> {
        let words: Vec<&str> = request.split(' ').collect();
        let unknown = || io::Error::from(io::ErrorKind::InvalidInput);
        let number = |at: usize| {
            let word = words.get(at)?;
            word.parse::<i32>().ok()
        };
        let name = words.get(1).ok_or_else(unknown)?;
        let host = self.hosts.iter().find(|it| it.plan.name == *name);
        let host = host.ok_or_else(unknown)?;
        match words[0] {
            "cut" => self.set_ports(host, false).map(|()| None),
            "plug" => self.set_ports(host, true).map(|()| None),
            "off" => self.switch_off(host).map(|()| None),
            "socket" => {
                let domain = Domain::from(number(2).ok_or_else(unknown)?);
                let kind = Type::from(number(3).ok_or_else(unknown)?);
                let protocol = number(4).map(Protocol::from);
                // It belongs to the namespace in which it is made, for ever
                // and whoever has it.
                let make = || Socket::new(domain, kind, protocol);
                self.within(host, make).map(Some)
            }
            _ => Err(unknown()),
        }
    }

    /// Pulls a host's cables out of the switch, or puts them back. The host has
    /// no way to notice, as with a cable that breaks between two switches: an
    /// interface that lost its carrier would keep what is sent until later.
    fn set_ports(&self, host: &Host, forwards: bool) -> io::Result<()> {
        let mut room = Netlink::open()?;
        let mut links = host.plan.links.iter();
        links.try_for_each(|link| room.set_forwarding(&link.port, forwards))
    }

    /// Switches off the interfaces of a host but `lo`.
    fn switch_off(&self, host: &Host) -> io::Result<()> {
        self.within(host, || {
            let mut netlink = Netlink::open()?;
            let mut links = host.plan.links.iter();
            links.try_for_each(|link| netlink.set_down(&link.interface))
        })
    }

    /// Ends all programs that run on a host, and what they start meanwhile.
    fn end_programs(self) {
        let names: Vec<_> = self
            .hosts
            .iter()
            .filter_map(|host| {
                let descriptor = host.namespace.as_raw_fd();
                fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()
            })
            .collect();
        // Nobody comes in from now on.
        drop(self);
        let is_on_a_host = |pid: Pid| {
            let path = format!("/proc/{}/ns/net", pid.as_raw_nonzero());
            fs::read_link(path).is_ok_and(|name| names.contains(&name))
        };
        let mut is_quiet = false;
        while !is_quiet {
            is_quiet = true;
            for pid in processes() {
                // The handle comes before the look: a process number may
                // become another's, a handle never.
                let none = PidfdFlags::empty();
                let Ok(handle) = rustix::process::pidfd_open(pid, none) else {
                    continue;
                };
                if is_on_a_host(pid) {
                    is_quiet = false;
                    let kill = Signal::KILL;
                    // It may have ended by itself.
                    let _ = rustix::process::pidfd_send_signal(handle, kill);
                }
            }
        }
    }
}

/// All processes of the system.
fn processes() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .collect()
}

/// Gives a host its addresses in one LAN.
fn add_addresses(netlink: &mut Netlink, link: &Link) -> io::Result<()> {
    netlink.add_address(&link.interface, link.ipv4.into(), 24)?;
    if has_ipv6()? {
        netlink.add_address(&link.interface, link.ipv6.into(), 64)?;
    }
    Ok(())
}

/// Tells a host where all goes that is not for its own LAN.
fn add_default_routes(
    netlink: &mut Netlink,
    link: &Link,
    has_router: bool,
) -> io::Result<()> {
    let (ipv4, ipv6) = if has_router {
        link.router()
    } else {
        (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED)
    };
    netlink.add_default_route(&link.interface, ipv4.into())?;
    if has_ipv6()? {
        netlink.add_default_route(&link.interface, ipv6.into())?;
    }
    Ok(())
}

fn has_ipv6() -> io::Result<bool> {
    fs::exists("/proc/sys/net/ipv6")
}

/// Sets an option of the network namespace we are in.
fn set(option: &str, value: &str) -> io::Result<()> {
    match fs::write(format!("/proc/sys/net/{option}"), value) {
        // A kernel without IPv6 has no options for it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
