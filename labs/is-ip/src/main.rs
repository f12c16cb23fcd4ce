//! Tell what is an IP address, and of which kind.
//!
//! | Node                   | here                                           |
//! | ---------------------- | ---------------------------------------------- |
//! | `net.isIP(text)`       | [`address::parse`], `str::parse::<IpAddr>()`   |
//! | `net.isIPv4(text)`     | `Some(IpAddr::V4(_))`                          |
//! | `net.isIPv6(text)`     | `Some(IpAddr::V6(_))`                          |
//! | `new net.BlockList()`  | the tables behind [`address::kind`]            |
//!
//! ```text
//! terminal 1   cargo run -p is-ip -- 127.0.0.1 ::1 fe80::1%eth0 127.1
//! terminal 2   cargo run -p is-ip
//! ```
//!
//! Terminal 2 answers each line that you type, until Ctrl-D. Type `010.0.0.1`
//! there. Then run `getent ahosts 010.0.0.1`, and see what the resolver says.
//!
//! It opens no socket. The runtime is here to hear Ctrl-C while a thread waits
//! for stdin, as in the other labs.

mod address;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, Read};
use std::net::IpAddr;
use std::process::ExitCode;
use std::thread;

use anyhow::Context;
use clap::Parser;
use common::write_stdout;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The longest text that is looked at, in bytes. The longest address has 45
/// characters, and Linux calls no interface by more than 15.
//
// NOTE: Node's pattern has no limit for a zone, so there a longer text can be
// a 6. A program that reads from strangers needs one.
const LONGEST: usize = 4096;

/// How many characters of a text an answer shows.
const SHOWN: usize = 1000;

/// The most that one read brings.
const CHUNK: usize = 64 * 1024;

/// Tell what is an IP address, and of which kind.
///
/// One line for each TEXT, or for each line of stdin when there is none: 4, 6
/// or 0, the text, and its kind, with tabs in between. What is not visible in
/// the text is escaped.
///
/// The status is 0 when every text is an address, 1 when one is not.
#[derive(Parser)]
#[command(after_help = "Example: cargo run -p is-ip -- 127.0.0.1 fe80::1%eth0")]
struct Args {
    /// What to look at; after --, it may begin with a hyphen
    texts: Vec<OsString>,

    /// Log more to stderr; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

// ANCHOR: main
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let stop = common::start(args.verbose);
    match run(args, stop).await {
        Ok(false) => {
            common::finish(Ok(()));
            ExitCode::FAILURE
        }
        result => common::finish(result.map(drop)),
    }
}

/// Whether every text is an address.
async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<bool> {
    if args.texts.is_empty() {
        return judge_stdin(stop).await;
    }
    let mut answers = Answers::default();
    for text in &args.texts {
        answers.add(text.as_encoded_bytes());
    }
    answers.print();
    // Who has gone asks no more questions.
    Ok(answers.all_are_addresses || stop.is_cancelled())
}
// ANCHOR_END: main

// ANCHOR: stdin
async fn judge_stdin(stop: CancellationToken) -> anyhow::Result<bool> {
    let mut stdin = read_stdin();
    let mut line = Line::default();
    let mut answers = Answers::default();
    loop {
        let chunk = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(true),
            chunk = stdin.recv() => chunk,
        };
        let Some(chunk) = chunk else {
            break;
        };
        let chunk = chunk.context("cannot read stdin")?;
        let mut parts = chunk.split(|byte| *byte == b'\n');
        // Behind the last line end: the beginning of a line, or nothing.
        let beginning = parts.next_back().unwrap_or_default();
        for part in parts {
            line.push(part);
            answers.add(line.without_cr());
            line.bytes.clear();
        }
        line.push(beginning);
        // Whoever typed a line waits for the answer, and not for the end.
        answers.print();
    }
    if !line.bytes.is_empty() {
        answers.add(&line.bytes);
        answers.print();
    }
    Ok(answers.all_are_addresses || stop.is_cancelled())
}
// ANCHOR_END: stdin

/// Reads stdin on a thread of its own: not every stdin can be waited for, and
/// a read cannot be taken back. Nobody waits for the thread, so the program
/// can end while it stands in a read.
fn read_stdin() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    // Room for one chunk: when nobody reads our stdout, we do not read either.
    let (sender, receiver) = mpsc::channel(1);
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut chunk = vec![0; CHUNK];
            let read = match stdin.read(&mut chunk) {
                Ok(0) => break,
                Ok(n_bytes) => Ok(chunk[..n_bytes].to_vec()),
                Err(error) => Err(error),
            };
            let is_last = read.is_err();
            if sender.blocking_send(read).is_err() || is_last {
                break;
            }
        }
    });
    receiver
}

// ANCHOR: line
/// A line, as far as it has been read.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
}

impl Line {
    /// Takes what still fits: two bytes more than is looked at. One shows that
    /// the line is too long, the other may be the CR before the line end.
    fn push(&mut self, part: &[u8]) {
        let room = LONGEST + 2 - self.bytes.len();
        self.bytes.extend_from_slice(&part[..room.min(part.len())]);
    }

    /// Files from Windows end their lines with CR LF.
    fn without_cr(&self) -> &[u8] {
        self.bytes.strip_suffix(b"\r").unwrap_or(&self.bytes)
    }
}
// ANCHOR_END: line

// ANCHOR: answers
struct Answers {
    /// Not yet printed. One write for all lines of a read: a write for each
    /// would take most of the time.
    lines: String,
    all_are_addresses: bool,
}

impl Default for Answers {
    fn default() -> Self {
        Answers {
            lines: String::new(),
            all_are_addresses: true,
        }
    }
}

impl Answers {
    fn add(&mut self, text: &[u8]) {
        let is_too_long = text.len() > LONGEST;
        // What is no UTF-8 is no address either: those are ASCII.
        let address = match str::from_utf8(text) {
            Ok(text) if !is_too_long => address::parse(text),
            _ => None,
        };
        let (number, kind) = match address {
            Some(ip @ IpAddr::V4(_)) => (4, address::kind(ip)),
            Some(ip @ IpAddr::V6(_)) => (6, address::kind(ip)),
            None if is_too_long => (0, format!("longer than {LONGEST} bytes")),
            None => (0, "not an address".to_owned()),
        };
        self.all_are_addresses &= address.is_some();
        let text = visible(text);
        self.lines.push_str(&format!("{number}\t{text}\t{kind}\n"));
    }

    fn print(&mut self) {
        write_stdout(self.lines.as_bytes());
        self.lines.clear();
    }
}
// ANCHOR_END: answers

// ANCHOR: visible
/// The text with `\t`, `\u{1b}` and `\xff` for what would not be seen, or what
/// a terminal would obey. A long one ends in `…`.
fn visible(text: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\'' | '"' => shown.push(character),
                _ => shown.extend(character.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    match shown.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} …", &shown[..end]),
        None => shown,
    }
}
// ANCHOR_END: visible
