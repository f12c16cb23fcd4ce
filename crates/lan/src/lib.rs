//! A private network of several hosts on one Linux machine, without root.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::net::SocketAddr;
//!
//! use lan::Lan;
//! use socket2::{Domain, Type};
//!
//! let lan = Lan::new(["a", "b", "c"])?;
//! let a = lan.host("a")?;
//! let b = lan.host("b")?;
//! // A program on a host:
//! a.command("nc").args(["-l", "7000"]).spawn()?;
//! // A socket on another, in the hands of this program:
//! let socket = b.socket(Domain::IPV4, Type::STREAM, None)?;
//! socket.connect(&SocketAddr::from((a.ipv4(), 7000)).into())?;
//! // And the cable of the first is pulled out of the switch.
//! lan.cut("a")?;
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! All that a program sees of the network is its *network namespace*: the
//! interfaces and their addresses, the routes, the neighbours, the ports that
//! are taken. Linux can have many of them, and each is as good as a computer of
//! its own: here it is a **host**. Two programs on two hosts may both listen on
//! port 8080, and neither sees the other's 127.0.0.1.
//!
//! A *veth* is a pair of network interfaces: what one sends the other receives.
//! Here it is a **cable**. One end is `eth0` of a host, the other end is in a
//! port of a *bridge*, which is Linux's word for a **switch**. The switches are
//! in a network namespace of their own, the room, where no program runs.
//!
//! ```text
//!      a               b               c                     d
//!   10.0.1.1        10.0.1.2        10.0.1.3              10.0.2.1
//!     eth0            eth0            eth0                  eth0
//!      │               │               │                     │
//! ┌────┴───────────────┴───────────────┴────┐           ┌────┴─────┐
//! │                switch 1                 │           │ switch 2 │
//! └────────────────────┬────────────────────┘           └────┬─────┘
//!                      │ eth0                          eth1  │
//!                      └──────────────── r ──────────────────┘
//!                             10.0.1.254  10.0.2.254
//! ```
//!
//! [`Lan::new`] makes one LAN, [`Lan::routed`] two or more and the **router** `r`
//! between them, a host that passes packets on. IPv6 is there too: fd00:1::1 is
//! host a.
//!
//! Namespaces and interfaces are for root to make. But anybody may make a *user
//! namespace* first, and in it he has every capability over what belongs to it
//! (user_namespaces(7)): nothing of the machine's, and all of the network that
//! is made inside. We stay who we were in it, and a program that is run on a
//! host has no capability left: it may do there what it may do in life, and
//! `bind` to port 80 fails with EACCES.
//!
//! # Who does it
//!
//! A process with more than one thread cannot go into a user namespace, and
//! tests have many. So a small program does it, the *keeper* (`lan keep`). It
//! makes the network and holds it. Its stdin is a socket, on which it serves its
//! owner, and when that ends, because the owner has dropped the [`Lan`] or was
//! killed, the keeper kills what runs on the hosts and ends. The network is gone
//! with it: nobody must clean up.
//!
//! There is no `host.run(closure)`, for the same reason. What there is instead
//! is [`Host::socket`]. A socket belongs to the network namespace in which it
//! was made, whoever uses it and wherever he is. So the keeper goes to the host,
//! makes the socket, and passes its descriptor to the owner (`SCM_RIGHTS`,
//! unix(7)). And [`Host::command`] is a command that is run through `lan enter`,
//! which goes to the host and then becomes the program.
//!
//! A cable is ready some milliseconds after the call that made it has returned:
//! the interface must see its carrier, and the switch port must begin to
//! forward. [`Lan::new`] returns when both have happened at every cable.
//!
//! # Where it works
//!
//! On Linux, where the system lets users make user namespaces. Most do; Ubuntu
//! and containers forbid it at first. Then the [`Error`] says why, and which
//! command helps; `cargo lan doctor` tries it. No lab needs a private network to
//! run, only what a lab does among several hosts cannot be shown without one.

mod error;
mod plan;

#[cfg(target_os = "linux")]
mod keeper;
#[cfg(target_os = "linux")]
mod namespace;
#[cfg(target_os = "linux")]
mod netlink;
#[cfg(target_os = "linux")]
mod owner;
#[cfg(target_os = "linux")]
mod refusal;

#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod owner;

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

pub use error::Error;
#[cfg(target_os = "linux")]
pub use keeper::keep;
#[cfg(target_os = "linux")]
pub use namespace::enter;
pub use owner::use_helper;
pub use plan::{Link, ROUTER};

use owner::Keeper;
use plan::{HostPlan, Plan};

/// A private network. It is gone, with all programs that run in it, when this
/// and every [`Host`] of it are dropped, or when this process ends.
#[derive(Debug)]
pub struct Lan {
    hosts: Vec<Host>,
}

/// A host of a private network.
#[derive(Debug, Clone)]
pub struct Host {
    plan: HostPlan,
    /// Under which number the keeper has its network namespace open.
    descriptor: i32,
    keeper: Arc<Keeper>,
}

impl Lan {
    /// Makes one LAN with these hosts, and waits until all can talk to all.
    pub fn new<N: Into<String>>(
        hosts: impl IntoIterator<Item = N>,
    ) -> Result<Self, Error> {
        let hosts = hosts.into_iter().map(Into::into).collect();
        Self::make(&Plan::new(vec![hosts])?)
    }

    /// Makes several LANs, and a router `r` that joins them.
    pub fn routed(lans: &[&[&str]]) -> Result<Self, Error> {
        let names = |lan: &&[&str]| lan.iter().map(|&it| it.into()).collect();
        Self::make(&Plan::new(lans.iter().map(names).collect())?)
    }

    fn make(plan: &Plan) -> Result<Self, Error> {
        let (keeper, descriptors) = Keeper::start(plan)?;
        let keeper = Arc::new(keeper);
        let host = |(plan, descriptor)| Host {
            plan,
            descriptor,
            keeper: Arc::clone(&keeper),
        };
        let hosts = plan.hosts().into_iter().zip(descriptors);
        Ok(Lan {
            hosts: hosts.map(host).collect(),
        })
    }

    /// All hosts, LAN after LAN, and the router at the end.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host of this name.
    pub fn host(&self, name: &str) -> Result<&Host, Error> {
        let host = self.hosts.iter().find(|host| host.name() == name);
        host.ok_or_else(|| {
            let names: Vec<_> = self.hosts.iter().map(Host::name).collect();
            let names = names.join(", ");
            Error::misuse(format_args!("no host {name}; there are {names}"))
        })
    }

    /// Pulls the cable of a host out of its switch. What is sent over it from
    /// now on is lost, and nobody is told: the host's interface keeps its
    /// carrier. The router has several cables: all of them.
    pub fn cut(&self, name: &str) -> Result<(), Error> {
        let host = self.host(name)?;
        host.keeper.ask(&format!("cut {name}"))
    }

    /// Puts the cable back. What is sent from now on arrives.
    pub fn plug(&self, name: &str) -> Result<(), Error> {
        let host = self.host(name)?;
        host.keeper.ask(&format!("plug {name}"))
    }

    /// Switches off the interfaces of a host but `lo`: it knows that it has no
    /// network, and has no route but to itself.
    pub fn switch_off(&self, name: &str) -> Result<(), Error> {
        let host = self.host(name)?;
        host.keeper.ask(&format!("off {name}"))
    }
}

impl Host {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Its cables, each with its addresses. Only the router has more than one.
    pub fn links(&self) -> &[Link] {
        &self.plan.links
    }

    /// Its address, the one in its first LAN.
    pub fn ipv4(&self) -> Ipv4Addr {
        self.plan.links[0].ipv4
    }

    /// Its IPv6 address, the one in its first LAN.
    pub fn ipv6(&self) -> Ipv6Addr {
        self.plan.links[0].ipv6
    }

    /// Makes a socket on this host: what it binds, connects, joins and sends,
    /// it does there, though this process is elsewhere.
    ///
    /// NOTE: To the kernel, the owner of a user namespace has every capability
    /// in it. So unlike a program on the host, the owner of this socket may bind
    /// it to a port below 1024.
    pub fn socket(
        &self,
        domain: Domain,
        kind: Type,
        protocol: Option<Protocol>,
    ) -> io::Result<Socket> {
        self.keeper.socket(self.name(), domain, kind, protocol)
    }

    /// A command that runs on this host, as this user and without any
    /// capability. It ends at the latest when the network does.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.keeper.enter(self.descriptor);
        command.arg("--").arg(program);
        command
    }

    /// The keeper's process, and the descriptor under which it has the network
    /// namespace of this host open: enough for another process of this user to
    /// go there.
    pub fn door(&self) -> (u32, i32) {
        (self.keeper.pid(), self.descriptor)
    }
}
