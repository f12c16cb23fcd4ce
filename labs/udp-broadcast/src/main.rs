//! Announce something to everybody on the network at once, and hear who is there.
//!
//! | Node                               | here                                 |
//! | ---------------------------------- | ------------------------------------ |
//! | `setBroadcast(true)`               | `set_broadcast` in `server.rs`       |
//! | `send` to `'255.255.255.255'`      | `send_to`                            |
//! | `setInterval`                      | `interval`                           |
//! | `createSocket({reuseAddr: true})`  | `set_reuse_address` in `client.rs`   |
//! | `'message'`, `rinfo`               | `recv_from`                          |
//! | no call: bind to its address       | `bind_device`, with `--interface`    |
//!
//! ```text
//! terminal 1   cargo run -p udp-broadcast -- client
//! terminal 2   cargo run -p udp-broadcast
//! ```
//!
//! Start another client in a third terminal: both hear each announcement. Then
//! let the server try it with `--no-broadcast`.

mod client;
mod server;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use tokio::net::lookup_host;
use tokio_util::sync::CancellationToken;

/// A datagram's own length has 16 bits, so none can be longer than this.
const LONGEST: usize = 65_535;

/// Announce something to everybody on the network at once.
///
/// With no role it is a server, which announces on loopback.
#[derive(Parser)]
#[command(after_help = "Example: cargo run -p udp-broadcast -- client\n\
    then, in another terminal: cargo run -p udp-broadcast -- server --every 5s")]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,

    /// Log more to stderr; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Role {
    /// Announce, and tell who answers
    Server(server::Flags),
    /// Hear announcements, and answer each
    Client(client::Flags),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut args = Args::parse();
    if args.role.is_none() {
        args.role = Args::parse_from(["udp-broadcast", "server"]).role;
    }
    let stop = common::start(args.verbose);
    common::finish(run(args, stop).await)
}

// ANCHOR: run
async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    let role = async {
        match &args.role {
            Some(Role::Server(flags)) => server::run(flags).await,
            Some(Role::Client(flags)) => client::run(flags).await,
            None => Ok(()),
        }
    };
    tokio::select! {
        result = role => result,
        () = stop.cancelled() => Ok(()),
    }
}
// ANCHOR_END: run

// ANCHOR: resolve
/// The first IPv4 address of a name.
async fn resolve(name: &str) -> anyhow::Result<SocketAddr> {
    let cannot = || format!("cannot resolve {name}");
    let addresses = lookup_host(name).await.with_context(cannot)?;
    let Some(address) = addresses.into_iter().find(SocketAddr::is_ipv4) else {
        bail!(
            "cannot broadcast with {name}: IPv6 has no broadcast; the group \
             ff02::1 stands for all on a link (lab multicast)"
        );
    };
    Ok(address)
}
// ANCHOR_END: resolve

// ANCHOR: is_broadcast
/// Whether this machine takes the address for everybody's. The address alone
/// does not tell: the kernel knows its networks. So we ask it: without
/// `SO_BROADCAST`, it allows no `connect` to such an address. Nothing is sent.
fn is_broadcast(address: SocketAddr) -> io::Result<bool> {
    if address.ip() == Ipv4Addr::BROADCAST {
        // It is so everywhere, even where no route leads there.
        return Ok(true);
    }
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let error = socket.connect(address).err();
    Ok(error.is_some_and(|it| it.kind() == io::ErrorKind::PermissionDenied))
}
// ANCHOR_END: is_broadcast
