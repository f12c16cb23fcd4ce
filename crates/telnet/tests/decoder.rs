//! The same bytes are the same events, however they are cut.

#![allow(clippy::unwrap_used, reason = "a test that cannot look has failed")]

use bytes::BytesMut;
use proptest::prelude::*;
use telnet_codec::Event::{
    Command, Line, LineNotUtf8, LineTooLong, Negotiation, Subnegotiation,
    SubnegotiationTooLong,
};
use telnet_codec::Verb::{Do, Will};
use telnet_codec::{
    Decoder, Event, MAX_LINE, MAX_SUBNEGOTIATION, command, option,
};
use tokio_util::codec::Decoder as _;

/// All events of a whole input, read as a buffer for each piece.
fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    let mut buffer = BytesMut::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some(event) = decoder.decode(&mut buffer).unwrap() {
            events.push(event);
        }
        assert!(buffer.is_empty(), "bytes are left behind");
    }
    while let Some(event) = decoder.decode_eof(&mut buffer).unwrap() {
        events.push(event);
    }
    events
}

fn whole(bytes: &[u8]) -> Vec<Event> {
    events([bytes])
}

fn line(text: &str) -> Event {
    Line(text.to_owned())
}

/// What was recorded of real clients, and what it means.
#[rustfmt::skip]
fn recorded() -> Vec<(&'static str, &'static [u8], Vec<Event>)> {
    let will = |option| Negotiation(Will, option);
    let please = |option| Negotiation(Do, option);
    vec![
        ("PuTTY and plink, on connect",
         b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03",
         vec![will(31), will(32), will(24), will(39), please(1), will(3), please(3)]),
        ("inetutils telnet to -23, on connect",
         b"\xff\xfd\x26\xff\xfb\x26\xff\xfd\x03\xff\xfb\x18\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x21\xff\xfb\x22\xff\xfb\x27\xff\xfd\x05",
         vec![please(38), will(38), please(3), will(24), will(31), will(32), will(33), will(34), will(39), please(5)]),
        ("telnet, Enter", b"hi\r\n", vec![line("hi")]),
        ("plink and nc, Enter", b"hi\n", vec![line("hi")]),
        ("telnet in character mode", b"hi\r\0", vec![line("hi")]),
        ("PuTTY in binary mode", b"hi\rho\r", vec![line("hi"), line("ho")]),
        ("Node, `end` without a line end", b"hellobyebye", vec![line("hellobyebye")]),
        ("Ctrl-C in telnet", b"\xff\xf4\xff\xfd\x06", vec![Command(command::IP), please(6)]),
        ("Ctrl-Z in telnet", b"\xff\xed\xff\xfd\x06", vec![Command(command::SUSP), please(6)]),
        ("Ctrl-\\ in telnet", b"\xff\xf3\xff\xfd\x06", vec![Command(command::BRK), please(6)]),
        ("Ctrl-O in telnet", b"\xff\xf5\xff\xfd\x06", vec![Command(command::AO), please(6)]),
        ("Ctrl-C in PuTTY, then a line", b"ab\xff\xf8\x03cd\r\n", vec![Command(command::EL), line("\u{3}cd")]),
        ("Ctrl-D in PuTTY", b"\xff\xec", vec![Command(command::EOF)]),
        ("a Chinese character that telnet has damaged", b"\xe7\xff\xf5\xff\xfd\x06\xa0\r\n",
         vec![Command(command::AO), please(6), LineNotUtf8(vec![0xe7, 0xa0])]),
        ("a window of 80 columns and 24 rows", b"\xff\xfa\x1f\0\x50\0\x18\xff\xf0",
         vec![Subnegotiation(option::NAWS, vec![0, 80, 0, 24])]),
        ("a window of 255 columns", b"\xff\xfa\x1f\0\xff\xff\0\x28\xff\xf0",
         vec![Subnegotiation(option::NAWS, vec![0, 255, 0, 40])]),
        ("a window of 240 columns", b"\xff\xfa\x1f\0\xf0\0\x28\xff\xf0",
         vec![Subnegotiation(option::NAWS, vec![0, 240, 0, 40])]),
        ("a Synch", b"a\xff\xf2b\r\n", vec![Command(command::DM), line("ab")]),
    ]
}

#[test]
fn recorded_bytes_mean_what_their_clients_meant() {
    for (name, bytes, expected) in recorded() {
        assert_eq!(whole(bytes), expected, "{name}");
        assert_eq!(events(bytes.chunks(1)), expected, "{name}, byte by byte");
    }
}

#[test]
fn a_line_ends_four_ways_and_an_order_may_stand_anywhere() {
    let lines = vec![line("a"), line("b"), line("c"), line("d"), line("")];
    assert_eq!(whole(b"a\r\nb\nc\r\0d\r\n\n"), lines);
    // After the CR, and within a character.
    let bytes = b"\xe7\x8f\xff\xf1\xa0\r\xff\xf1\nb\n";
    let nop = Command(command::NOP);
    assert_eq!(whole(bytes), [nop.clone(), line("珠"), nop, line("b")]);
    // A NUL is data everywhere else.
    assert_eq!(whole(b"a\0b\n\0\n"), [line("a\0b"), line("\0")]);
}

#[test]
fn a_line_may_be_so_long_and_no_longer() {
    let longest = "x".repeat(MAX_LINE);
    assert_eq!(whole(longest.as_bytes()), [line(&longest)]);
    let bytes = format!("{longest}\r\n{longest}y\r\nz\r\n");
    let expected = [line(&longest), LineTooLong, line("z")];
    assert_eq!(whole(bytes.as_bytes()), expected);
    // It is told at once, not at an end that may never come, and only once.
    let bytes = vec![b'x'; 100 * MAX_LINE];
    assert_eq!(whole(&bytes), [LineTooLong]);
}

#[test]
fn what_is_no_utf8_is_told_with_its_bytes() {
    let bytes = b"\xe9t\xe9\r\na\xff\xffb\n\xe7\x8f";
    let bad = [&b"\xe9t\xe9"[..], b"a\xffb", b"\xe7\x8f"];
    let expected = bad.map(|line| LineNotUtf8(line.to_vec()));
    assert_eq!(whole(bytes), expected);
}

#[test]
fn what_is_erased_is_gone() {
    let ec = Command(command::EC);
    let bytes = "a珠\u{ff}b\n".as_bytes();
    assert_eq!(whole(bytes), [line("a珠ÿb")]);
    let bytes = b"a\xe7\x8f\xa0\xff\xf7b\n\xff\xf7c\n";
    assert_eq!(whole(bytes), [ec.clone(), line("ab"), ec, line("c")]);
    let mut bytes = vec![b'x'; MAX_LINE + 1];
    bytes.extend(b"\xff\xf8a\n");
    let el = Command(command::EL);
    assert_eq!(whole(&bytes), [LineTooLong, el, line("a")]);
}

#[test]
fn a_subnegotiation_is_short_whole_or_nothing() {
    let mut bytes = vec![0xff, 0xfa, option::TERMINAL_TYPE];
    bytes.extend([b'x'; MAX_SUBNEGOTIATION]);
    let longest = [&bytes[..], b"\xff\xf0a\n"].concat();
    let data = vec![b'x'; MAX_SUBNEGOTIATION];
    let event = Subnegotiation(option::TERMINAL_TYPE, data);
    assert_eq!(whole(&longest), [event, line("a")]);

    bytes.extend(vec![b'x'; 100_000]);
    bytes.extend(b"\xff\xf0a\n");
    let event = SubnegotiationTooLong(option::TERMINAL_TYPE);
    assert_eq!(whole(&bytes), [event, line("a")]);

    // Without an option, and cut off by another order.
    let will = Negotiation(Will, option::NAWS);
    let se = Command(command::SE);
    let bytes = b"\xff\xfa\xff\xf0\xff\xfa\x1f\0\xff\xfb\x1fa\n";
    assert_eq!(whole(bytes), [se, will, line("a")]);
    // Half an order at the end is nothing.
    for bytes in [&b"\xff"[..], b"\xff\xfb", b"\xff\xfa", b"\xff\xfa\x1f\0"] {
        assert_eq!(whole(bytes), [], "{bytes:x?}");
    }
}

/// Bytes among which orders, line ends and characters are frequent.
fn likely_bytes() -> impl Strategy<Value = Vec<u8>> {
    let special = prop::sample::select(
        &b"\xff\xff\xff\xff\xf0\xfa\xfb\xfc\xfd\xfe\xf4\xf7\xf8\x06\x1f\r\r\n\n\0\xe7\x8f\xa0"[..],
    );
    prop::collection::vec(prop_oneof![special, any::<u8>()], 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_cut_gives_the_same_events(
        bytes in likely_bytes(),
        cuts in prop::collection::vec(0..200_usize, 0..20),
    ) {
        let mut cuts: Vec<_> =
            cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
        prop_assert_eq!(events(pieces), whole(&bytes));
    }

    #[test]
    fn text_without_orders_comes_out_as_its_lines(
        // An empty one after a bare CR would be its LF.
        lines in prop::collection::vec("[^\r\n\0]{1,50}", 0..10),
        ends in prop::collection::vec(0..4_usize, 10),
    ) {
        let mut text = String::new();
        for (line, end) in lines.iter().zip(ends) {
            text.push_str(line);
            text.push_str(["\r\n", "\n", "\r\0", "\r"][end]);
        }
        let expected: Vec<_> = lines.iter().map(|text| line(text)).collect();
        prop_assert_eq!(whole(text.as_bytes()), expected);
    }

    #[test]
    fn nothing_that_comes_out_is_longer_than_the_limits(
        byte in any::<u8>(),
        start in likely_bytes(),
        n_bytes in 0..20_000_usize,
    ) {
        let mut bytes = start;
        bytes.resize(bytes.len() + n_bytes, byte);
        for event in whole(&bytes) {
            match event {
                Line(line) => prop_assert!(line.len() <= MAX_LINE),
                LineNotUtf8(line) => prop_assert!(line.len() <= MAX_LINE),
                Subnegotiation(_, data) => {
                    prop_assert!(data.len() <= MAX_SUBNEGOTIATION);
                }
                _ => {}
            }
        }
    }
}
