//! Listen on a path in place of a port: talk within one machine.
//!
//! | Node                             | here                                 |
//! | -------------------------------- | ------------------------------------ |
//! | `server.listen(path)`            | `listen` in `server.rs`              |
//! | `fs.chmod`, `process.umask`      | `set_permissions`, before `listen`   |
//! | `'error'` with `EADDRINUSE`      | `is_stale`: a server, or its remains |
//! | `server.close()` unlinks         | `SocketFile`, when it is dropped     |
//! | no call tells who connects       | `peer_cred` in `talk`                |
//! | `net.connect(path)`              | `UnixStream::connect`, `client.rs`   |
//!
//! ```text
//! terminal 1   cargo run -p unix-socket
//! terminal 2   cargo run -p unix-socket -- client      (or: nc -U lab.sock)
//! ```
//!
//! Type a line in terminal 2 and watch both; `ls -l lab.sock` in a third. Then
//! end the server with `kill -9`, look again, and start it once more.

#![cfg_attr(not(unix), allow(dead_code, reason = "it only says why not"))]

#[cfg(unix)]
mod client;
#[cfg(unix)]
mod server;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

/// Only the user who started the server may connect.
const OWNER_ONLY: u32 = 0o600;

/// Listen on a path in place of a port: talk within one machine.
///
/// With no role it is a server, which greets each client, echoes what it sends,
/// and tells which process it is.
#[derive(Parser)]
#[command(
    after_help = "Example: cargo run -p unix-socket -- server --mode 0666\n\
    then, in another terminal: cargo run -p unix-socket -- client"
)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,

    /// The socket's file
    #[arg(
        long,
        value_name = "PATH",
        default_value = "lab.sock",
        global = true
    )]
    path: PathBuf,

    /// Log more to stderr; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Role {
    /// Make the file, and serve whoever may write to it
    Server {
        /// Permissions of the file; who may write to it may connect
        #[arg(long, value_name = "MODE", default_value = "0600")]
        #[arg(value_parser = mode)]
        mode: u32,
    },
    /// Connect, send stdin, print what arrives
    Client,
}

/// Reads permissions as chmod(1) does: an octal number.
fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode @ 0..=0o777) => Ok(mode),
        _ => Err("write it as chmod does, from 0000 to 0777".to_owned()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let stop = common::start(args.verbose);
    common::finish(run(args, stop).await)
}

// ANCHOR: run
#[cfg(unix)]
async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    match args.role.unwrap_or(Role::Server { mode: OWNER_ONLY }) {
        Role::Server { mode } => server::run(&args.path, mode, stop).await,
        Role::Client => client::run(&args.path, stop).await,
    }
}
// ANCHOR_END: run

/// Windows has Unix sockets, too, but tokio does not offer them there, and they
/// have neither a mode nor a peer's credentials.
#[cfg(not(unix))]
async fn run(_: Args, _: CancellationToken) -> anyhow::Result<()> {
    anyhow::bail!("this lab needs a Unix system; on Windows, WSL 2 is one")
}
