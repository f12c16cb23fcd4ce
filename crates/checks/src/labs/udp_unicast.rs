//! udp-unicast: a server that answers datagrams, and a client that asks.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::command_line::{EVIL, expect_error, expect_no_evil};
use super::every_datagram_server::{
    a_busy_port_is_one_clear_line, a_foreign_address_is_one_clear_line,
    a_privileged_port_is_one_clear_line, an_unknown_name_is_one_clear_line,
    bad_flags_are_misuse, ends_at_once_when_asked_twice,
    ends_in_order_when_asked, every_datagram_server, expect_misuse,
    help_says_what_and_how, prints_the_address_it_bound, runs_with_no_flags,
    serve, serve_on, warns_when_others_can_reach_it,
};
use crate::datagrams::Datagrams;
use crate::outcome::{Result, Stop, ensure};
use crate::promise::lab;
use crate::script::Script;
use crate::subject::{Setup, Signal, Subject};
use crate::wait::wait_for;

every_datagram_server! { lab! {
    $ udp_unicast "udp-unicast" at ([127, 0, 0, 1], 41234), many &[];

    keeps_boundaries = "keeps-boundaries":
        "Each datagram is a message of its own, in the order in which they \
         came, however close together.",
        "This is what UDP has and TCP has not.";
    tells_each_datagram = "tells-each-datagram":
        "The story tells who sent each datagram, what is in it, and what was \
         answered.",
        "The story is how the learner sees what happens.";
    an_empty_datagram_is_a_message = "an-empty-datagram-is-a-message":
        "An empty datagram is told like any other, and one byte is answered \
         with an empty one.",
        "Over TCP no bytes are the end; here they are a message.";
    takes_the_longest_datagram = "takes-the-longest-datagram":
        "65,507 bytes over IPv4 and 65,527 over IPv6 arrive whole.",
        "What does not fit into the buffer is cut off, and nobody is told.";
    answers_each_sender = "answers-each-sender":
        "Each sender gets the reply to what it sent itself, at once.",
        "One socket serves all; only the address tells them apart.";
    serves_ipv4_on_an_ipv6_socket = "serves-ipv4-on-an-ipv6-socket":
        "On `[::]` it answers IPv4 senders too, and shows them as IPv4.",
        "Half of the room has IPv6, half has not.";
    replies_are_shorter_than_requests = "replies-are-shorter-than-requests":
        "Every reply is shorter than what it answers, and nothing is not \
         answered.",
        "A sender can be forged; a server that sends more than it gets is a \
         weapon.";
    two_servers_fall_silent = "two-servers-fall-silent":
        "Two servers that get each other's replies are silent after a few.",
        "One forged datagram can set two servers at each other for ever.";
    does_not_answer_itself = "does-not-answer-itself":
        "A datagram that has the server's own address as its source is told, \
         and not answered.",
        "A forged sender can be the server itself.";
    an_icmp_error_harms_nobody = "an-icmp-error-harms-nobody":
        "When the kernel reports a reply that was refused, the others are \
         served on.",
        "A client that goes before its answer comes is an ordinary thing.";
    keeps_a_burst = "keeps-a-burst":
        "400 small datagrams that come while it stands still are all \
         answered.",
        "The usual receive buffer has room for some 260, and the rest is lost.";
    escapes_what_a_peer_sends = "escapes-what-a-peer-sends":
        "Nothing that a datagram holds reaches the terminal as a control \
         character, at the server or at the client.",
        "An escape sequence can rewrite the screen, or type for you.";
    client_asks_and_tells = "client-asks-and-tells":
        "The client tells both addresses, what it sent and the answer, and \
         ends with status 0.",
        "Without a connection, one datagram and one answer are all there is.";
    client_asks_so_often = "client-asks-so-often":
        "`--count` sends so many, each after the answer to the one before.",
        "Whoever sends without waiting fills the other side's buffer.";
    client_sends_the_part = "client-sends-the-part":
        "`--offset` and `--length` count bytes, and may cut a character.",
        "In the notes, 6 of 珠峰培训 are two characters and not six.";
    a_part_outside_is_misuse = "a-part-outside-is-misuse":
        "An offset or a length outside of the message is named, with status 2.",
        "To send less than was asked for, without a word, is the worst answer.";
    a_message_too_long_is_one_clear_line =
        "a-message-too-long-is-one-clear-line":
        "The client sends 65,507 bytes whole; 65,508 are EMSGSIZE, a line of \
         help, and status 1.",
        "In Node, `send` without a callback loses this error.";
    client_tells_a_lost_answer = "client-tells-a-lost-answer":
        "An answer that does not come within `--timeout` is told; then come \
         the others, and at the end one line and status 1.",
        "Nobody else will ever tell that a datagram is lost.";
    client_asks_only_the_server = "client-asks-only-the-server":
        "A datagram from somebody else is told, and is no answer.",
        "Whoever guesses the port could answer in the server's place.";
    a_connected_client_is_refused = "a-connected-client-is-refused":
        "Where nobody is, `--connected` is told ECONNREFUSED at once; without \
         it, the client hears nothing.",
        "Refused is not lost: there is a remedy.";
    client_sets_the_ttl = "client-sets-the-ttl":
        "With `--ttl`, datagrams over IPv4 and over IPv6 may pass so many \
         routers.",
        "IPv6 has another option for it; the one of IPv4 does nothing there.";
    client_ends_in_order_when_asked = "client-ends-in-order-when-asked":
        "On Ctrl-C and on SIGTERM the client ends with status 0.",
        "It need not wait for an answer that will never come.";
} }

/// A server of the lab, and somebody who asks it.
fn pair(script: &Script) -> Result<(Rc<Subject>, Datagrams)> {
    let server = serve(script)?;
    let peer = script.datagrams("127.0.0.1:0", "a sender")?;
    Ok((server, peer))
}

/// What comes next at this sender is the answer to this, and nothing older.
fn expect_nothing_older(peer: &Datagrams, server: SocketAddr) -> Result {
    // On loopback, datagrams from one socket to another keep their order.
    let marker = vec![b'm'; 7001];
    peer.send(&marker, server)?;
    peer.expect(b"7001").map(drop)
}

fn keeps_boundaries(script: &Script) -> Result {
    let (server, peer) = pair(script)?;
    let lengths = [5, 2, 1400, 3, 20, 1400];
    for length in lengths {
        peer.send(&vec![b'x'; length], server.address())?;
    }
    for length in lengths {
        peer.expect(length.to_string().as_bytes())?;
    }
    Ok(())
}

fn tells_each_datagram(script: &Script) -> Result {
    let (server, peer) = pair(script)?;
    peer.send("珠峰".as_bytes(), server.address())?;
    peer.expect(b"6")?;
    peer.send(b"A\xe7\x8f\r\n", server.address())?;
    peer.expect(b"5")?;
    let from = peer.address();
    server.expect_story(&format!("{from} gets \"5\""))?;
    script.step("the whole story is told in order");
    let expected = [
        format!("listening on {}", server.address()),
        format!("{from} sent \"珠峰\", 6 bytes"),
        format!("{from} gets \"6\""),
        format!("{from} sent \"A\u{fffd}\\r\\n\", 5 bytes"),
        format!("{from} gets \"5\""),
    ];
    let story = server.story();
    ensure(story == expected, format_args!("it is {story:#?}"))
}

fn an_empty_datagram_is_a_message(script: &Script) -> Result {
    let (server, peer) = pair(script)?;
    let from = peer.address();
    peer.send(b"", server.address())?;
    server.expect_story(&format!("{from} sent \"\", 0 bytes"))?;
    peer.send(b"1", server.address())?;
    peer.expect(b"")?;
    server.expect_story(&format!("{from} gets \"\""))?;
    // It goes on after both.
    peer.send(b"hello", server.address())?;
    peer.expect(b"5").map(drop)
}

fn takes_the_longest_datagram(script: &Script) -> Result {
    for (ip, longest) in [("127.0.0.1:0", 65_507), ("[::1]:0", 65_527)] {
        let server = serve_on(script, ip, Setup::default())?;
        let peer = script.datagrams(ip, "a sender")?;
        peer.send(&vec![b'x'; longest], server.address())?;
        peer.expect(longest.to_string().as_bytes())?;
    }
    Ok(())
}

fn answers_each_sender(script: &Script) -> Result {
    let (server, first) = pair(script)?;
    let second = script.datagrams("127.0.0.1:0", "another")?;
    for (peer, length) in [(&first, 10), (&second, 20), (&first, 30)] {
        peer.send(&vec![b'x'; length], server.address())?;
    }
    for (peer, reply) in [(&second, "20"), (&first, "10"), (&first, "30")] {
        let from = peer.expect(reply.as_bytes())?;
        ensure(from == server.address(), format_args!("it is from {from}"))?;
    }
    Ok(())
}

fn serves_ipv4_on_an_ipv6_socket(script: &Script) -> Result {
    let server = serve_on(script, "[::]:0", Setup::default())?;
    let port = server.address().port();
    for ip in ["127.0.0.1", "[::1]"] {
        let peer = script.datagrams(&format!("{ip}:0"), "a sender")?;
        let to = format!("{ip}:{port}").parse().map_err(Stop::broken)?;
        peer.send(b"hello", to)?;
        peer.expect(b"5")?;
        let from = peer.address();
        server.expect_story(&format!("{from} sent \"hello\", 5 bytes"))?;
    }
    Ok(())
}

fn replies_are_shorter_than_requests(script: &Script) -> Result {
    let (server, peer) = pair(script)?;
    for length in (1..=12).chain([99, 100, 101, 9_999, 10_000, 65_507]) {
        peer.send(&vec![b'9'; length], server.address())?;
        script.step("the reply is shorter");
        let (reply, _) = peer.receive()?;
        let seen = format_args!("{} bytes for {length}", reply.len());
        ensure(reply.len() < length, seen)?;
    }
    peer.send(b"", server.address())?;
    expect_nothing_older(&peer, server.address())
}

/// Nobody can forge a sender on loopback without being root. Somebody who
/// passes the replies of each to the other makes the same loop.
fn two_servers_fall_silent(script: &Script) -> Result {
    const MOST: usize = 10;

    let servers = [serve(script)?, serve(script)?];
    let between = script.datagrams("127.0.0.1:0", "somebody in between")?;
    for first in [b"1".repeat(65_507), b"1".to_vec(), b"55".to_vec()] {
        let mut next = first;
        for passed in 0.. {
            let server = servers[passed % 2].address();
            script.step(format_args!("datagram {passed} is passed on"));
            ensure(passed < MOST, "they still answer")?;
            between.send(&next, server)?;
            // If nothing comes back but the answer to this, it is silent.
            between.send(b"is there more?", server)?;
            let (reply, _) = between.receive()?;
            if reply == b"14" {
                break;
            }
            between.expect(b"14")?;
            next = reply;
        }
    }
    Ok(())
}

fn does_not_answer_itself(script: &Script) -> Result {
    for address in ["127.0.0.1:0", "0.0.0.0:0"] {
        let server = serve_on(script, address, Setup::default())?;
        let bound = server.address();
        let at = SocketAddr::from(([127, 0, 0, 1], bound.port()));
        let own = server.share_udp_socket(bound)?;
        let peer = script.datagrams("127.0.0.1:0", "a sender")?;
        script.step("the server's own socket sends it 80 bytes");
        own.send_to(&[b'x'; 80], &at.into())?;
        expect_nothing_older(&peer, at)?;
        // Its own reply would have been sent before that, and would be the
        // next that it gets.
        peer.send(b"hello", at)?;
        peer.expect(b"5")?;
        let from = peer.address();
        server.expect_story(&format!("{from} sent \"hello\", 5 bytes"))?;
        let own: Vec<String> = server
            .story()
            .into_iter()
            .filter(|line| line.starts_with(&at.to_string()))
            .collect();
        ensure(
            own.len() == 2 && own[0].ends_with("80 bytes"),
            format_args!("it told of itself: {own:#?}"),
        )?;
    }
    Ok(())
}

/// On Linux no ICMP error comes to a socket without a peer. So we give the
/// server's socket a peer, first one that refuses and then one that does not.
fn an_icmp_error_harms_nobody(script: &Script) -> Result {
    let (server, peer) = pair(script)?;
    let gone = script.datagrams("127.0.0.1:0", "somebody who has gone")?;
    gone.refuse_everybody()?;
    let own = server.share_udp_socket(server.address())?;
    own.connect(&gone.address().into())?;
    script.step("the server's own socket sends there, and is refused");
    // The error is for whoever uses the socket next: the server or us.
    let told = || {
        let _ = own.send(b"x");
        let has_told = server.story().iter().any(|it| it.contains("gone"));
        (has_told || server.has_ended()).then_some(())
    };
    wait_for(told).ok_or_else(|| Stop::broken("it does not tell of it"))?;
    own.connect(&peer.address().into())?;
    peer.send(b"hello", server.address())?;
    peer.expect(b"5").map(drop)
}

fn keeps_a_burst(script: &Script) -> Result {
    const MANY: usize = 400;

    let (server, peer) = pair(script)?;
    // Node asks for a larger buffer after `bind`, and tells of itself then.
    server.expect_any_story()?;
    server.signal(Signal::Stop)?;
    script.step(format_args!("a sender sends {MANY} datagrams"));
    for number in 0..MANY {
        peer.send_quietly(&vec![b'x'; 100 + number], server.address())?;
    }
    server.signal(Signal::Continue)?;
    for number in 0..MANY {
        peer.expect((100 + number).to_string().as_bytes())?;
    }
    Ok(())
}

fn a_closed_stdout_ends_it_quietly(script: &Script) -> Result {
    let setup = Setup {
        one_line_reader: true,
        ..Setup::default()
    };
    let server = serve_on(script, "127.0.0.1:0", setup)?;
    let peer = script.datagrams("127.0.0.1:0", "a sender")?;
    server.wait_stdout_closed()?;
    script.step("datagrams come, and it ends");
    let ended = || {
        // Refused when it has just ended.
        let _ = peer.send_quietly(b"hello", server.address());
        server.has_ended().then_some(())
    };
    wait_for(ended).ok_or_else(|| Stop::broken("it has not ended"))?;
    server.expect_status(0)?;
    script.step("stderr stays empty");
    ensure(server.stderr().is_empty(), server.stderr())
}

fn escapes_what_a_peer_sends(script: &Script) -> Result {
    let (server, peer) = pair(script)?;
    peer.send(EVIL.as_bytes(), server.address())?;
    peer.receive()?;
    server.signal(Signal::Terminate)?;
    server.expect_status(0)?;
    expect_no_evil(script, &server)?;

    let (client, server) = ask(script, &[])?;
    let (_, asker) = server.receive()?;
    let stranger = script.datagrams("127.0.0.1:0", "a stranger")?;
    stranger.send(EVIL.as_bytes(), asker)?;
    server.send(EVIL.as_bytes(), asker)?;
    client.expect_status(0)?;
    expect_no_evil(script, &client)
}

/// The client, and a server of ours that it asks.
fn ask(script: &Script, flags: &[&str]) -> Result<(Rc<Subject>, Datagrams)> {
    ask_at(script, "127.0.0.1:0", flags)
}

fn ask_at(
    script: &Script,
    address: &str,
    flags: &[&str],
) -> Result<(Rc<Subject>, Datagrams)> {
    let server = script.datagrams(address, "our server")?;
    let client = start_client(script, server.address(), flags)?;
    Ok((client, server))
}

/// Unless told otherwise, it waits for an answer as long as a busy machine may
/// need.
fn start_client(
    script: &Script,
    server: SocketAddr,
    flags: &[&str],
) -> Result<Rc<Subject>> {
    let server = server.to_string();
    let mut words = vec!["client", "--connect", &server];
    if !flags.contains(&"--timeout") {
        words.extend(["--timeout", "1m"]);
    }
    words.extend(flags);
    script.start(&words)
}

/// Our server gets this, and says so; returns who asked.
fn serve_one(server: &Datagrams, message: &[u8]) -> Result<SocketAddr> {
    let asker = server.expect(message)?;
    server.send(b"yes", asker)?;
    Ok(asker)
}

fn client_asks_and_tells(script: &Script) -> Result {
    for (address, flags) in [
        ("127.0.0.1:0", &["--message", "珠\n"][..]),
        ("[::1]:0", &["--message", "珠\n", "--connected"]),
    ] {
        let (client, server) = ask_at(script, address, flags)?;
        let asker = serve_one(&server, "珠\n".as_bytes())?;
        client.expect_status(0)?;
        let server = server.address();
        let expected = [
            format!("sending from {asker} to {server}"),
            "sent \"珠\\n\", 4 bytes".to_owned(),
            format!("{server} answered \"yes\""),
        ];
        script.step("the whole story is told in order");
        let story = client.story();
        ensure(story == expected, format_args!("it is {story:#?}"))?;
    }
    let (client, server) = ask(script, &[])?;
    serve_one(&server, b"hello")?;
    client.expect_status(0)
}

fn client_asks_so_often(script: &Script) -> Result {
    let (client, server) = ask(script, &["--count", "3"])?;
    for _ in 0..3 {
        serve_one(&server, b"hello")?;
    }
    client.expect_status(0)?;
    script.step("each was sent after the answer to the one before");
    let answer = format!("{} answered \"yes\"", server.address());
    let round = ["sent \"hello\", 5 bytes", &answer];
    let story = client.story();
    let expected = [round, round, round].concat();
    ensure(
        story.get(1..).is_some_and(|it| it == expected),
        format_args!("it is {story:#?}"),
    )
}

fn client_sends_the_part(script: &Script) -> Result {
    let text = "珠峰培训";
    let parts: [(&[&str], &[u8]); 5] = [
        (&["--length", "6"], "珠峰".as_bytes()),
        (&["--offset", "6"], "培训".as_bytes()),
        (&["--offset", "1", "--length", "3"], b"\x8f\xa0\xe5"),
        (&["--offset", "12"], b""),
        (&["--offset", "3", "--length", "0"], b""),
    ];
    for (flags, part) in parts {
        let flags = [&["--message", text], flags].concat();
        let (client, server) = ask(script, &flags)?;
        serve_one(&server, part)?;
        client.expect_status(0)?;
    }
    Ok(())
}

fn a_part_outside_is_misuse(script: &Script) -> Result {
    let most = usize::MAX.to_string();
    let misuses: [(&[&str], &str); 5] = [
        (&["--offset", "13"], "--offset"),
        (&["--length", "13"], "--length"),
        (&["--offset", "12", "--length", "1"], "--length"),
        (&["--offset", "1", "--length", &most], "--length"),
        (&["--offset=-1"], "--offset"),
    ];
    for (flags, named) in misuses {
        let flags = [&["client", "--message", "珠峰培训"], flags].concat();
        expect_misuse(script, &flags, named)?;
    }
    Ok(())
}

fn a_message_too_long_is_one_clear_line(script: &Script) -> Result {
    let longest = "x".repeat(65_507);
    let (client, server) = ask(script, &["--message", &longest])?;
    serve_one(&server, longest.as_bytes())?;
    client.expect_status(0)?;

    let (client, server) = ask(script, &["--message", &(longest + "x")])?;
    client.expect_status(1)?;
    let what = format!("cannot send 65508 bytes to {}: ", server.address());
    expect_error(&client, &what, "(EMSGSIZE)")?;
    let lines = client.stderr().lines().count();
    ensure(lines == 2, format_args!("it said {lines} lines"))
}

fn client_tells_a_lost_answer(script: &Script) -> Result {
    const LIMIT: Duration = Duration::from_millis(200);

    let started = Instant::now();
    let flags = ["--timeout", "200ms", "--count", "2"];
    let (client, server) = ask(script, &flags)?;
    server.expect(b"hello")?;
    // The second time there is no answer either: on a busy machine the first
    // might come too late for the first, and serve for the second.
    server.expect(b"hello")?;
    client.expect_status(1)?;
    let waited = started.elapsed();
    ensure(waited >= 2 * LIMIT, format_args!("it waited {waited:?}"))?;
    let story = client.story();
    let told = story.iter().filter(|it| *it == "no answer within 200ms");
    ensure(told.count() == 2, format_args!("its story is {story:#?}"))?;
    let server = server.address();
    let what = format!("no answer from {server} to 2 of 2 datagrams: ");
    expect_error(&client, &what, "(ETIMEDOUT)")
}

fn client_asks_only_the_server(script: &Script) -> Result {
    let (client, server) = ask(script, &[])?;
    let asker = server.expect(b"hello")?;
    let stranger = script.datagrams("127.0.0.1:0", "a stranger")?;
    stranger.send(b"no", asker)?;
    let from = stranger.address();
    client.expect_story(&format!("{from} was not asked, and says \"no\""))?;
    server.send(b"yes", asker)?;
    client.expect_status(0)?;
    client.expect_story(&format!("{} answered \"yes\"", server.address()))
}

fn a_connected_client_is_refused(script: &Script) -> Result {
    let nobody = script.datagrams("127.0.0.1:0", "somebody")?;
    nobody.refuse_everybody()?;
    let address = nobody.address();
    let flags = ["--connected"];
    let client = start_client(script, address, &flags)?;
    client.expect_status(1)?;
    let what = format!("no answer from {address}: ");
    expect_error(&client, &what, "(ECONNREFUSED)")?;

    let client = start_client(script, address, &["--timeout", "100ms"])?;
    client.expect_status(1)?;
    let what = format!("no answer from {address} to 1 of 1 datagrams: ");
    expect_error(&client, &what, "(ETIMEDOUT)")
}

fn client_sets_the_ttl(script: &Script) -> Result {
    for (address, ttl) in [("127.0.0.1:0", 7), ("[::1]:0", 9)] {
        let flags = ["--ttl", &ttl.to_string()];
        let (client, server) = ask_at(script, address, &flags)?;
        let asker = server.expect(b"hello")?;
        let socket = client.share_udp_socket(asker)?;
        script.step(format_args!("its datagrams may pass {ttl} routers"));
        let set = if asker.is_ipv4() {
            socket.ttl_v4()?
        } else {
            socket.unicast_hops_v6()?
        };
        ensure(set == ttl, format_args!("they may pass {set}"))?;
        server.send(b"yes", asker)?;
        client.expect_status(0)?;
    }
    Ok(())
}

fn client_ends_in_order_when_asked(script: &Script) -> Result {
    for signal in [Signal::Interrupt, Signal::Terminate] {
        let (client, server) = ask(script, &[])?;
        server.expect(b"hello")?;
        client.signal(signal)?;
        client.expect_status(0)?;
        ensure(client.stderr().is_empty(), client.stderr())?;
    }
    Ok(())
}
