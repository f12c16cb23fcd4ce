//! Send the time to a group: whoever has joined it hears, and nobody else.
//!
//! | Node                                | here                             |
//! | ----------------------------------- | -------------------------------- |
//! | `addMembership`, `dropMembership`   | `join`, `leave` in `client.rs`   |
//! | `createSocket({ reuseAddr: true })` | `set_reuse_address`              |
//! | `setMulticastTTL`                   | `set_multicast_ttl_v4`, `hops`   |
//! | `setMulticastLoopback`              | `set_multicast_loop_v4`, `_v6`   |
//! | `setMulticastInterface`             | `set_multicast_if_v4`, `_v6`     |
//! | nothing                             | `set_multicast_all_v4`, `_v6`    |
//!
//! ```text
//! terminal 1   cargo run -p multicast
//! terminal 2   cargo run -p multicast -- client --leave-after 5s
//! ```
//!
//! Start a second client in a third terminal: it takes the same port, and both
//! hear. Which of them has left, the server never knows.

mod client;
mod group;
mod server;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use group::{Group, Interface};

/// Send the time to a group: whoever has joined it hears, and nobody else.
///
/// With no role it is a server, which sends the local date and time.
#[derive(Parser)]
#[command(
    after_help = "Example: cargo run -p multicast -- server --every 2s\n\
    then, in another terminal: cargo run -p multicast -- client"
)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,

    /// Log more to stderr; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Role {
    /// Send the date and the time to the group, again and again
    Server(server::Flags),
    /// Join the group, and tell what is sent to it
    Client(client::Flags),
}

/// Which group, and where.
#[derive(clap::Args)]
struct Place {
    /// Group and port
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "239.255.0.100:8080"
    )]
    group: Group,

    /// Interface: over IPv4 one of its addresses, else 127.0.0.1, and 0.0.0.0
    /// lets the system choose; over IPv6 its name or number
    #[arg(long, value_name = "ADDR|NAME")]
    interface: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let role = args.role.unwrap_or_else(|| {
        // No role is a server for which no flag was given.
        Role::Server(server::Flags::parse_from([""]))
    });
    let (Role::Server(server::Flags { place, .. })
    | Role::Client(client::Flags { place, .. })) = &role;
    place.check();
    let stop = common::start(args.verbose);
    common::finish(run(role, stop).await)
}

async fn run(role: Role, stop: CancellationToken) -> anyhow::Result<()> {
    match role {
        Role::Server(flags) => server::run(&flags, stop).await,
        Role::Client(flags) => client::run(&flags, stop).await,
    }
}
