//! `cargo lan`: a private network of several hosts, in your terminals.

use std::env;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lan::Error;

#[cfg(target_os = "linux")]
mod command;

#[cfg(not(target_os = "linux"))]
mod command {
    /// Says that there is nothing to run.
    pub(crate) fn run(_: crate::Action) -> Result<(), crate::Failure> {
        lan::Lan::new(["a"]).map(drop).map_err(crate::Failure::from)
    }
}

/// A private network of several hosts on this machine, without root.
#[derive(Parser)]
#[command(name = "cargo lan", after_help = "Example: cargo lan up a b c")]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a network, and keep it until Ctrl-C
    Up {
        /// The hosts of the LAN
        #[arg(value_name = "HOST", required = true)]
        hosts: Vec<String>,
        /// The hosts of a second LAN, and a router r between
        #[arg(long, value_name = "HOST", num_args = 1..)]
        second: Vec<String>,
    },
    /// Run a program on a host; without one, a shell
    On {
        /// The host
        host: String,
        /// The program and its arguments
        #[arg(last = true)]
        program: Vec<OsString>,
    },
    /// Pull the cable of a host out of its switch
    Cut {
        /// The host
        host: String,
    },
    /// Put the cable of a host back
    Plug {
        /// The host
        host: String,
    },
    /// Try whether it works here, and say what helps
    Doctor,
    /// Keep a network until stdin ends
    #[command(hide = true)]
    Keep { plan: String },
    /// Run a program on a host, known by the keeper and its descriptor
    #[command(hide = true)]
    Enter {
        keeper: u32,
        descriptor: i32,
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
}

/// What goes to stderr: a line, and a line that helps.
struct Failure {
    what: String,
    help: Option<String>,
}

impl Failure {
    #[cfg(target_os = "linux")]
    fn new(what: impl std::fmt::Display, help: Option<&str>) -> Self {
        Failure {
            what: what.to_string(),
            help: help.map(str::to_owned),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure {
            what: error.to_string(),
            help: error.help().map(str::to_owned),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure {
            what: error.to_string(),
            help: None,
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = env::current_exe().map_err(Failure::from).and_then(|own| {
        lan::use_helper(own);
        command::run(args.action)
    });
    let Err(Failure { what, help }) = done else {
        return ExitCode::SUCCESS;
    };
    let help = help.map(|help| format!("\nhelp: {help}"));
    let text = format!("error: {what}{}\n", help.unwrap_or_default());
    // Nobody is left to be told that nobody listens.
    let _ = io::Write::write_all(&mut io::stderr(), text.as_bytes());
    ExitCode::FAILURE
}
