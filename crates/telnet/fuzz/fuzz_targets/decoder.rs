//! Any bytes, cut in any two ways, are the same events, and none is longer than
//! the limits. In `crates/telnet`: `cargo +nightly fuzz run decoder`.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use telnet_codec::{Decoder, Event, MAX_LINE, MAX_SUBNEGOTIATION};
use tokio_util::codec::Decoder as _;

// The first byte tells how long the pieces are.
fuzz_target!(|input: &[u8]| {
    let Some((&length, bytes)) = input.split_first() else {
        return;
    };
    let whole = events(bytes.chunks(usize::MAX));
    let cut = events(bytes.chunks(usize::from(length).max(1)));
    assert_eq!(whole, cut);
    for event in whole {
        let (n_bytes, most) = match event {
            Event::Line(line) => (line.len(), MAX_LINE),
            Event::LineNotUtf8(line) => (line.len(), MAX_LINE),
            Event::Subnegotiation(_, data) => (data.len(), MAX_SUBNEGOTIATION),
            _ => continue,
        };
        assert!(n_bytes <= most, "{n_bytes} bytes, of at most {most}");
    }
});

fn events<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut decoder = Decoder::default();
    let mut buffer = BytesMut::new();
    let mut events = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Ok(Some(event)) = decoder.decode(&mut buffer) {
            events.push(event);
        }
    }
    while let Ok(Some(event)) = decoder.decode_eof(&mut buffer) {
        events.push(event);
    }
    events
}
