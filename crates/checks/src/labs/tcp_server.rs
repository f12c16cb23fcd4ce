//! tcp-server: greets each client, echoes what it sends, tells the story.

use std::net::SocketAddr;

use super::every_server::*;
use crate::kernel::TcpState;
use crate::outcome::{Result, ensure};
use crate::peer::{End, Peer, Pieces, expect_sent};
use crate::promise::lab;
use crate::script::Script;
use crate::subject::{Setup, Subject};

every_server! { lab! {
    $ tcp_server "tcp-server" at ([127, 0, 0, 1], 8080), many &[];

    greets_each_client = "greets-each-client":
        "Each client is greeted with a line that holds its own address.",
        "The greeting shows at once that somebody is there.";
    echoes_byte_for_byte = "echoes-byte-for-byte":
        "What a client sends comes back byte for byte, whatever it is and \
         however it is cut.",
        "TCP is a stream: where writes began and ended is not kept, every \
         byte is.";
    serves_while_idle = "serves-while-idle":
        "A client that says nothing does not hold up the next.",
        "A server that waits for one client serves only that one.";
    tells_each_connection = "tells-each-connection":
        "The story of a connection: from where to where, every chunk with the \
         bytes so far, its end, its close.",
        "The story is how the learner sees what happens.";
    shows_split_characters_whole = "shows-split-characters-whole":
        "A character whose bytes come in two reads is shown whole, once it is \
         complete.",
        "Chinese text is cut somewhere inside a character all the time.";
    shows_bad_utf8_as_node_does = "shows-bad-utf8-as-node-does":
        "What is no UTF-8 shows as U+FFFD, as often as Node's `setEncoding` \
         shows it.",
        "A log must not lose bytes without a trace, nor invent text.";
    finishes_for_a_half_closed_client = "finishes-for-a-half-closed-client":
        "A client that ends its direction still gets all it is owed, then the \
         end of the stream.",
        "`nc -N` and every pipeline end their input first, and read on.";
    tells_a_reset_as_an_error = "tells-a-reset-as-an-error":
        "A connection that was reset is told as closed with an error, \
         ECONNRESET.",
        "An end and a break are different things, and look different.";
    waits_for_a_slow_reader = "waits-for-a-slow-reader":
        "More than all buffers on the way hold arrives whole at a client that \
         reads late.",
        "Who forgets to wait loses bytes, or keeps them all in memory.";
    serves_ipv4_on_an_ipv6_socket = "serves-ipv4-on-an-ipv6-socket":
        "On `[::]` it takes IPv4 clients as well, and shows them as IPv4.",
        "`::ffff:127.0.0.1` is how the kernel writes it, not a person.";
    passes_the_backlog_on = "passes-the-backlog-on":
        "The kernel shows the backlog that was asked for, 511 if none was.",
        "tokio and the standard library choose their own; Node passes 511.";
}}

/// Reads the greeting and demands that it names the client.
fn expect_greeting(client: &mut Peer) -> Result {
    let line = format!("hello, you are {}", client.address());
    client.expect_exact_line(&line)
}

fn greeted(script: &Script, server: &Subject, name: &str) -> Result<Peer> {
    let mut client = script.connect(server, name)?;
    client.expect_line()?;
    Ok(client)
}

fn greets_each_client(script: &Script) -> Result {
    let server = script.serve()?;
    for name in ["a client", "another"] {
        expect_greeting(&mut script.connect(&server, name)?)?;
    }
    Ok(())
}

fn echoes_byte_for_byte(script: &Script) -> Result {
    let server = script.serve()?;
    let mut client = greeted(script, &server, "a client")?;
    let every_byte: Vec<u8> = (0..=255).collect();
    for pieces in [Pieces::Whole, Pieces::EachByte] {
        client.send_in(&every_byte, pieces)?;
        client.expect(&every_byte)?;
    }
    let seed = script.seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let bytes: Vec<u8> = (0..60_000).map(|_| random.u8(..)).collect();
    client.send_in(&bytes, Pieces::Seeded(seed))?;
    client.expect(&bytes)
}

fn serves_while_idle(script: &Script) -> Result {
    let server = script.serve()?;
    let _silent = greeted(script, &server, "a silent client")?;
    let mut next = greeted(script, &server, "the next client")?;
    next.send(b"hello")?;
    next.expect(b"hello")
}

fn tells_each_connection(script: &Script) -> Result {
    let server = script.serve()?;
    let mut client = greeted(script, &server, "a client")?;
    let (peer, local) = (client.address(), server.address());
    client.send(b"hello\r\n")?;
    client.wait_until_read()?;
    client.send("珠\n".as_bytes())?;
    client.half_close()?;
    client.read_to_end()?;
    let expected = [
        format!("listening on {local}"),
        format!("{peer} connected to {local}"),
        format!(r#"{peer} sent "hello\r\n", 7 bytes so far"#),
        format!(r#"{peer} sent "珠\n", 11 bytes so far"#),
        format!("{peer} ended"),
        format!("{peer} closed"),
    ];
    server.expect_story(&expected[5])?;
    script.step("the whole story is told in order");
    let story = server.story();
    ensure(story == expected, format_args!("it is {story:#?}"))
}

fn shows_split_characters_whole(script: &Script) -> Result {
    let server = script.serve()?;
    let mut client = greeted(script, &server, "a client")?;
    let peer = client.address();
    client.send(b"A\xe7\x8f")?;
    client.wait_until_read()?;
    server.expect_story(&format!("{peer} sent \"A\", 3 bytes so far"))?;
    client.send(b"\xa0B")?;
    server.expect_story(&format!("{peer} sent \"珠B\", 5 bytes so far"))
}

/// What a client sends, a read at a time, and the text that is shown in all.
type Row = (&'static [&'static [u8]], &'static str);

/// Measured with Node 20, `setEncoding('utf8')`.
#[rustfmt::skip]
const BAD_UTF8: &[Row] = &[
    (&[b"A\xe7\x8f"], "A\u{fffd}"),
    (&[b"\xf0\x9f\x98"], "\u{fffd}"),
    (&[b"\xe7", b"A"], "\u{fffd}A"),
    (&[b"\xe7\x8f", b"A"], "\u{fffd}A"),
    (&[b"\xf0\x9f\x98", b"A"], "\u{fffd}A"),
    (&[b"A\xffB"], "A\u{fffd}B"),
    (&[b"\xff\xfe"], "\u{fffd}\u{fffd}"),
    (&[b"\xc0\x80"], "\u{fffd}\u{fffd}"),
    (&[b"\xed\xa0\x80"], "\u{fffd}\u{fffd}\u{fffd}"),
    (&[b"\xe0\x80\xaf"], "\u{fffd}\u{fffd}\u{fffd}"),
    (&[b"\xf4\x90\x80\x80"], "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
    (&[b"\xf0\x80", b"\x80\xaf"], "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
    (&[b"\xf8\x88\x80\x80\x80"], "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
    (&[b"\x80", b"A"], "\u{fffd}A"),
    (&[b"\xef\xbb\xbfA"], "\u{feff}A"),
    (&[b"\xe7", b"\x8f", b"\xa0"], "珠"),
    (&[b"\xf0\x9f", b"\x98\x80"], "😀"),
];

fn shows_bad_utf8_as_node_does(script: &Script) -> Result {
    let server = script.serve()?;
    for (reads, text) in BAD_UTF8 {
        let mut client = greeted(script, &server, "a client")?;
        let peer = client.address();
        for read in *reads {
            client.send(read)?;
            client.wait_until_read()?;
        }
        client.half_close()?;
        client.read_to_end()?;
        server.expect_story(&format!("{peer} closed"))?;
        script.step(format_args!("the story shows {text:?} in all"));
        let told = format!("{peer} sent \"");
        let shown: String = server
            .story()
            .iter()
            .filter_map(|line| line.strip_prefix(&told))
            .filter_map(|line| Some(line.rsplit_once("\", ")?.0))
            .collect();
        let expected = text.escape_debug().to_string();
        ensure(shown == expected, format_args!("it shows {shown:?}"))?;
    }
    Ok(())
}

fn finishes_for_a_half_closed_client(script: &Script) -> Result {
    let server = script.serve()?;
    let mut client = script.connect_tiny(&server, "a client")?;
    client.expect_line()?;
    let owed = vec![b'x'; 60_000];
    client.send(&owed)?;
    client.half_close()?;
    let (received, end) = client.read_to_end()?;
    let difference = crate::bytes::difference(&owed, &received);
    ensure(difference.is_none(), difference.unwrap_or_default())?;
    ensure(end == End::Fin, "the connection was reset (RST)")
}

fn tells_a_reset_as_an_error(script: &Script) -> Result {
    let server = script.serve()?;
    let client = greeted(script, &server, "a client")?;
    let peer = client.address();
    client.reset()?;
    server.expect_story(&format!(
        "{peer} closed with an error: connection reset by peer (ECONNRESET)"
    ))?;
    greeted(script, &server, "the next client")?;
    Ok(())
}

fn waits_for_a_slow_reader(script: &Script) -> Result {
    // Linux lets a send buffer grow to 4 MiB (tcp_wmem in tcp(7)).
    const N_BYTES: usize = 10_000_000;

    let server = script.serve()?;
    let mut client = script.connect_tiny(&server, "a client")?;
    client.expect_line()?;
    let mut random = fastrand::Rng::with_seed(script.seed());
    // Letters, which are quick to tell: all of them stand in the story.
    let letter = |_| random.lowercase() as u8;
    let bytes: Vec<u8> = (0..N_BYTES).map(letter).collect();
    let sending = client.send_meanwhile(bytes.clone())?;
    client.wait_until_way_back_is_full()?;
    client.widen()?;
    client.expect(&bytes)?;
    expect_sent(sending)
}

fn serves_ipv4_on_an_ipv6_socket(script: &Script) -> Result {
    let server = script.serve_on("[::]:0", Setup::default())?;
    let port = server.address().port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut client = script.connect_to(address, "an IPv4 client")?;
    expect_greeting(&mut client)?;
    let peer = client.address();
    server.expect_story(&format!("{peer} connected to {address}"))?;

    let address = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port));
    let mut client = script.connect_to(address, "an IPv6 client")?;
    expect_greeting(&mut client)
}

fn passes_the_backlog_on(script: &Script) -> Result {
    for (flags, backlog) in [(&[][..], 511), (&["--backlog", "7"], 7)] {
        let server = script.serve_with(flags)?;
        script.step(format_args!("the kernel shows a backlog of {backlog}"));
        let sockets = server.sockets()?;
        let listener = sockets.iter().find(|s| s.state == TcpState::Listen);
        let shown = listener.map(|listener| listener.send_queue);
        ensure(shown == Some(backlog), format_args!("it shows {shown:?}"))?;
    }
    Ok(())
}
