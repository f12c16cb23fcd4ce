//! `cargo book` builds the book; `cargo book serve` shows it and reloads.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};

use anyhow::{Context, Result};
use book::{Blocks, Site, serve};
use clap::{Parser, Subcommand};
use common::{host_port, story, write_stdout};
use mdbook_preprocessor::{Preprocessor, parse_input};

/// Build the book, check it, or show it.
#[derive(Parser)]
#[command(bin_name = "cargo book")]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// The repository whose book is meant
    #[arg(long, hide = true, global = true, value_name = "DIR")]
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))]
    root: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Build every page into target/book; the same as no command
    Build,
    /// Build the book, show it, and build again when a file changes
    Serve {
        /// Address to listen on; port 0 takes any free port
        #[arg(long, value_name = "HOST:PORT", value_parser = host_port)]
        #[arg(default_value = "127.0.0.1:3000")]
        listen: String,
    },
    /// Expand our blocks: mdBook's preprocessor protocol on stdin and stdout
    Preprocess {
        #[command(subcommand)]
        question: Option<Question>,
    },
}

#[derive(Subcommand)]
enum Question {
    /// Exit 0 if pages are made for this renderer
    Supports {
        /// mdBook's name for it, such as html
        renderer: String,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Args { command, root } = Args::parse();
    common::finish(run(command.unwrap_or(Command::Build), &root).await)
}

async fn run(command: Command, root: &Path) -> Result<()> {
    match command {
        Command::Build => {
            for page in Site::new(root)?.build()? {
                story!("the book is at {}", page.display());
            }
            Ok(())
        }
        Command::Serve { listen } => {
            let stop = common::start(0);
            serve(&Site::new(root)?, &listen, stop).await
        }
        Command::Preprocess { question: None } => preprocess(),
        Command::Preprocess {
            question: Some(question),
        } => {
            let Question::Supports { renderer } = question;
            let is_supported = Blocks.supports_renderer(&renderer)?;
            // The status is the answer; there is no error to tell.
            process::exit(if is_supported { 0 } else { 1 });
        }
    }
}

fn preprocess() -> Result<()> {
    let (context, book) = parse_input(io::stdin())?;
    let book = Blocks.run(&context, book)?;
    let json = serde_json::to_vec(&book).context("cannot write the book")?;
    write_stdout(&json);
    Ok(())
}
