//! One client: what it says, and what it is told.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use common::{quote, story};
use socket2::SockRef;
use telnet_codec::{
    Decoder, Event, IAC, MAX_LINE, Options, Verb, command, option,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_util::codec::Decoder as _;

use crate::words::{command_name, option_name, verb_name};

/// The most that one read brings. All answers to it are written before the
/// next, so this is the limit for what waits to be sent, too.
const CHUNK: usize = 1024;

/// What a client may do, and is asked to. Not NEW-ENVIRON: it would tell the
/// name of the user, which is not our affair.
const ACCEPTED: &[u8] = &[option::BINARY, option::NAWS, option::TERMINAL_TYPE];

/// A subnegotiation about the terminal's type: IS its name, SEND it (RFC 1091).
const IS: u8 = 0;
const SEND: u8 = 1;

/// One client, and how far we are with it.
struct Client {
    peer: SocketAddr,
    decoder: Decoder,
    options: Options,
    /// What it is owed for what was read last.
    owed: Vec<u8>,
    /// It has no more to say.
    is_done: bool,
}

// ANCHOR: converse
/// Reads, answers, and reads again, until one side ends.
pub(crate) async fn converse(
    socket: &mut TcpStream,
    peer: SocketAddr,
    ask: bool,
) -> io::Result<()> {
    // `telnet` marks a place in what it sends by a byte of urgent data, the IAC
    // of a data mark. By default that byte would be taken out of the stream,
    // and the mark alone would stand there like text.
    SockRef::from(&*socket).set_out_of_band_inline(true)?;
    let mut client = Client::new(peer);
    client.say("welcome");
    if ask {
        for option in ACCEPTED {
            client.ask(*option);
        }
    }
    socket.write_all(&client.take_owed()).await?;

    while !client.is_done {
        let mut bytes = read(socket).await?;
        client.is_done = bytes.is_empty();
        while let Some(event) = client.decoder.decode(&mut bytes)? {
            client.hear(event);
        }
        if client.is_done
            && let Some(event) = client.decoder.finish()
        {
            client.hear(event);
        }
        // As long as the client does not read, this waits, and we read no more
        // from it.
        socket.write_all(&client.take_owed()).await?;
    }
    story!("{peer} ended");
    end(socket).await
}
// ANCHOR_END: converse

impl Client {
    fn new(peer: SocketAddr) -> Self {
        Client {
            peer,
            decoder: Decoder::default(),
            options: Options::new(ACCEPTED),
            owed: Vec::new(),
            is_done: false,
        }
    }

    // ANCHOR: hear
    /// Tells what it said, and finds the answer.
    fn hear(&mut self, event: Event) {
        let peer = self.peer;
        match event {
            // The answer quotes the line, as the story does: an escape sequence
            // would command the client's terminal, and some terminals answer
            // to one as if the user had typed.
            Event::Line(line) => {
                story!("{peer} sent {}", quote(&line));
                self.say(&format!("you sent {}", quote(&line)));
            }
            Event::LineTooLong => {
                story!("{peer} sent a line of more than {MAX_LINE} bytes");
                let line = format!("a line of more than {MAX_LINE} bytes");
                self.say(&format!("{line} was dropped; make it shorter"));
            }
            Event::LineNotUtf8(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                story!("{peer} sent what is not UTF-8: {}", quote(&text));
                self.say("a line that is not UTF-8 was dropped; send it again");
            }
            Event::Negotiation(verb, option) => self.negotiate(verb, option),
            Event::Subnegotiation(option, data) => self.learn(option, &data),
            Event::SubnegotiationTooLong(option) => {
                story!("{peer} told too much of {}", option_name(option));
            }
            Event::Command(byte) => {
                story!("{peer} said {}", command_name(byte));
                match byte {
                    command::AYT => self.say("yes, I am here"),
                    command::EOF => self.is_done = true,
                    _ => {}
                }
            }
        }
    }
    // ANCHOR_END: hear

    // ANCHOR: negotiate
    fn negotiate(&mut self, verb: Verb, option: u8) {
        let name = option_name(option);
        story!("{} said {} {name}", self.peer, verb_name(verb));
        let was_on = self.options.is_on(option);
        let answer = self.options.answer(verb, option);
        self.order(answer);
        if option == option::TERMINAL_TYPE && verb == Verb::Will && !was_on {
            let send = [IAC, command::SB, option, SEND, IAC, command::SE];
            self.owed.extend(send);
        }
        // It speaks Telnet, so it may be asked; nc would show this as rubbish.
        self.ask(option::NAWS);
        self.ask(option::TERMINAL_TYPE);
        // Only `telnet` itself speaks of these. It takes some bytes of Chinese
        // characters for control keys, unless it sends all eight bits as data.
        if [option::TIMING_MARK, option::LINEMODE].contains(&option) {
            self.ask(option::BINARY);
        }
    }

    fn ask(&mut self, option: u8) {
        let question = self.options.ask(option);
        self.order(question);
    }

    fn order(&mut self, order: Option<(Verb, u8)>) {
        if let Some((verb, option)) = order {
            let (word, name) = (verb_name(verb), option_name(option));
            story!("{} is told {word} {name}", self.peer);
            self.owed.extend(verb.of(option));
        }
    }
    // ANCHOR_END: negotiate

    // ANCHOR: learn
    /// What it tells of itself. What is not as it should be is passed over.
    fn learn(&mut self, option: u8, data: &[u8]) {
        let peer = self.peer;
        match (option, data) {
            (option::NAWS, &[high, low, rows_high, rows_low]) => {
                let columns = u16::from_be_bytes([high, low]);
                let rows = u16::from_be_bytes([rows_high, rows_low]);
                let size = format!("{columns} columns and {rows} rows");
                story!("{peer} has a window of {size}");
            }
            (option::TERMINAL_TYPE, [IS, name @ ..]) => {
                let name = String::from_utf8_lossy(name);
                story!("{peer} has a terminal of type {}", quote(&name));
            }
            _ => {
                let name = option_name(option);
                story!("{peer} told {} bytes of {name}", data.len());
            }
        }
    }
    // ANCHOR_END: learn

    /// A line to read. CR LF is what ends one on every terminal.
    fn say(&mut self, line: &str) {
        self.owed.extend(line.as_bytes());
        self.owed.extend(b"\r\n");
    }

    fn take_owed(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.owed)
    }
}

/// Our FIN, then the client's. What it still sends is read and dropped; left
/// unread, it would become a RST, which destroys what is on its way to it.
//
// NOTE: a client that never ends keeps its connection. A real program would
// wait for so long and no longer.
async fn end(socket: &mut TcpStream) -> io::Result<()> {
    socket.shutdown().await?;
    while !read(socket).await?.is_empty() {}
    Ok(())
}

// ANCHOR: read
/// What has come; empty at the client's FIN.
//
// Not with `AsyncReadExt::read`: that takes a read which does not fill the
// buffer for the last one, and waits until more arrives. But a read also ends
// where an urgent byte stands, and what is behind it has arrived already.
async fn read(socket: &TcpStream) -> io::Result<BytesMut> {
    loop {
        socket.readable().await?;
        let mut bytes = BytesMut::with_capacity(CHUNK);
        match socket.try_read_buf(&mut bytes) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            result => return result.map(|_| bytes),
        }
    }
}
// ANCHOR_END: read
