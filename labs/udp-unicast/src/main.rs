//! Send messages without a connection: each arrives whole, or not at all.
//!
//! | Node                               | here                               |
//! | ---------------------------------- | ---------------------------------- |
//! | `dgram.createSocket`, `bind`       | `bind` in `server.rs`              |
//! | `'message'`, `rinfo`               | `recv_from` in `serve`             |
//! | `send(buf, offset, length, …)`     | `send_to`, and a slice of bytes    |
//! | `address()`                        | `local_addr`                       |
//! | `setTTL`                           | `set_ttl` in `client.rs`           |
//! | `socket.connect()`                 | `connect`, with `--connected`      |
//! | `'error'`                          | `Err` of `recv_from` and `send_to` |
//!
//! ```text
//! terminal 1   cargo run -p udp-unicast
//! terminal 2   cargo run -p udp-unicast -- client   (or: nc -u 127.0.0.1 41234)
//! ```
//!
//! The server answers with the number of bytes that it got. End it with Ctrl-C
//! and ask again; then once more, with `--connected`.

mod client;
mod server;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use common::host_port;
use tokio::net::lookup_host;
use tokio_util::sync::CancellationToken;

/// A datagram's own length has 16 bits, so none can be longer than this.
const LONGEST: usize = 65_535;

/// Send messages without a connection: each arrives whole, or not at all.
///
/// With no role it is a server, which answers each datagram with the number of
/// bytes that it got.
#[derive(Parser)]
#[command(after_help = "Example: cargo run -p udp-unicast -- server\n\
    then, in another terminal: cargo run -p udp-unicast -- client --count 3")]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,

    /// Log more to stderr; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Role {
    /// Wait for datagrams, and answer each
    Server {
        /// Address to listen on
        #[arg(long, value_name = "HOST:PORT")]
        #[arg(default_value = "127.0.0.1:41234", value_parser = host_port)]
        listen: String,
    },
    /// Send datagrams, and wait for the answer to each
    Client(client::Flags),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Role::Client(flags)) = &args.role
        && let Err(what) = flags.part()
    {
        Args::command()
            .error(ErrorKind::ValueValidation, what)
            .exit();
    }
    let stop = common::start(args.verbose);
    common::finish(run(args, stop).await)
}

// ANCHOR: run
async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    match args.role {
        None => server::run("127.0.0.1:41234", stop).await,
        Some(Role::Server { listen }) => server::run(&listen, stop).await,
        Some(Role::Client(flags)) => tokio::select! {
            result = client::run(&flags) => result,
            () = stop.cancelled() => Ok(()),
        },
    }
}
// ANCHOR_END: run

/// The first address of a name.
async fn resolve(name: &str) -> anyhow::Result<SocketAddr> {
    let cannot = || format!("cannot resolve {name}");
    let mut addresses = lookup_host(name).await.with_context(cannot)?;
    addresses.next().with_context(cannot)
}

/// On `[::]` an IPv4 sender shows as ::ffff:127.0.0.1; we say 127.0.0.1.
fn shown(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
