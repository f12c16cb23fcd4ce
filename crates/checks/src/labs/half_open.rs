//! half-open: ends when its client has ended, or goes on sending.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::every_server::*;
use crate::kernel::{TcpSocket, TcpState};
use crate::outcome::{Result, Stop, ensure};
use crate::peer::{End, Peer};
use crate::promise::lab;
use crate::script::Script;
use crate::subject::{Signal, Subject};
use crate::wait::wait_for;

every_server! { lab! {
    $ half_open "half-open" at ([127, 0, 0, 1], 8080), many &[];

    serves_on_who_does_not_end = "serves-on-who-does-not-end":
        "A client that does not end is echoed for as long as it likes, with \
         `--allow-half-open` and without.",
        "The flag is about what comes after the client's FIN, and about \
         nothing else.";
    finishes_what_it_owes = "finishes-what-it-owes":
        "After the client's FIN it gets all it is owed, then the server's FIN, \
         and nothing more.",
        "Who ends his direction has asked something, and waits for the answer.";
    goes_on_when_allowed = "goes-on-when-allowed":
        "With `--allow-half-open` a client that has ended gets what it is \
         owed, then a line every `--every` for as long as `--for` says.",
        "One direction has ended. The other works as before.";
    ends_by_itself = "ends-by-itself":
        "When `--for` is over, and not before, the server's FIN follows.",
        "Nobody else will end this connection: the client has done its part.";
    the_kernel_shows_both_halves = "the-kernel-shows-both-halves":
        "Meanwhile the kernel shows CLOSE-WAIT at the server's end and \
         FIN-WAIT-2 at the client's.",
        "CLOSE-WAIT names who has still to close: this program.";
    tells_both_ends = "tells-both-ends":
        "The story of a connection: connected, the client's end, each line \
         sent after it, closed.",
        "Ended and closed are two things, and here there is time between them.";
    a_reset_meanwhile_harms_nobody_else =
        "a-reset-meanwhile-harms-nobody-else":
        "A client that resets its half-closed connection is told as closed \
         with an error, EPIPE. Others are served on.",
        "It breaks a connection from which nobody reads any more.";
    learns_by_writing_who_has_gone = "learns-by-writing-who-has-gone":
        "A client that has closed altogether looks like one that has ended, \
         until the server writes: then it is told as closed with an error, \
         EPIPE.",
        "A FIN says that no more will come. It does not say that nobody reads.";
    can_be_stopped_meanwhile = "can-be-stopped-meanwhile":
        "On SIGTERM, a client that has ended gets the server's FIN at once, \
         and the server exits with status 0.",
        "A connection that only we keep open must not keep us from ending.";
}}

/// A server that goes on when a client has ended. An hour is the longest that
/// it takes.
fn serve_half_open(
    script: &Script,
    lasting: &str,
    every: &str,
) -> Result<Rc<Subject>> {
    let flags = ["--allow-half-open", "--for", lasting, "--every", every];
    script.serve_with(&flags)
}

fn expect_echo(client: &mut Peer) -> Result {
    client.send(b"still there?\n")?;
    client.expect(b"still there?\n")
}

fn expect_later_line(client: &mut Peer, number: u32) -> Result {
    client.expect_exact_line(&format!("after your end, line {number}"))
}

fn serves_on_who_does_not_end(script: &Script) -> Result {
    let without = script.serve()?;
    let with = serve_half_open(script, "1ms", "1ms")?;
    for server in [without, with] {
        let mut stays = welcomed(script, &server, "who does not end")?;
        expect_echo(&mut stays)?;
        // Another ends meanwhile, and has its own end.
        let mut ends = welcomed(script, &server, "who ends")?;
        ends.half_close()?;
        ends.read_to_end()?;
        expect_echo(&mut stays)?;
        expect_echo(&mut stays)?;
    }
    Ok(())
}

fn finishes_what_it_owes(script: &Script) -> Result {
    let server = script.serve()?;
    let (owed, mut client) = who_is_owed(script, &server)?;
    let (received, end) = client.read_to_end()?;
    let difference = crate::bytes::difference(&owed, &received);
    ensure(difference.is_none(), difference.unwrap_or_default())?;
    ensure(end == End::Fin, "the connection was reset (RST)")
}

/// A client that has ended, and reads late what it is owed.
fn who_is_owed(script: &Script, server: &Subject) -> Result<(Vec<u8>, Peer)> {
    let mut client = script.connect_tiny(server, "a client")?;
    client.expect_exact_line("welcome")?;
    let owed = vec![b'x'; 60_000];
    client.send(&owed)?;
    client.half_close()?;
    Ok((owed, client))
}

fn goes_on_when_allowed(script: &Script) -> Result {
    const EVERY: Duration = Duration::from_millis(50);
    const LINES: u32 = 6;

    let server = serve_half_open(script, "300ms", "50ms")?;
    let (owed, mut client) = who_is_owed(script, &server)?;
    client.expect(&owed)?;
    for number in 1..=LINES {
        expect_later_line(&mut client, number)?;
    }
    client.expect_fin()?;

    let mut client = welcomed(script, &server, "another")?;
    let ended = Instant::now();
    client.half_close()?;
    for number in 1..=LINES {
        expect_later_line(&mut client, number)?;
        script.step(format_args!("not before its time, {EVERY:?} a line"));
        let after = ended.elapsed();
        ensure(
            after >= EVERY * number,
            format_args!("it came at {after:?}"),
        )?;
    }
    Ok(())
}

fn ends_by_itself(script: &Script) -> Result {
    // The second line would come when it is over.
    const FOR: Duration = Duration::from_millis(150);

    let server = serve_half_open(script, "150ms", "100ms")?;
    let mut client = welcomed(script, &server, "a client")?;
    let ended = Instant::now();
    client.half_close()?;
    let (_, end) = client.read_to_end()?;
    let after = ended.elapsed();
    ensure(end == End::Fin, "the connection was reset (RST)")?;
    script.step(format_args!("not before {FOR:?} have passed"));
    ensure(after >= FOR, format_args!("it came at {after:?}"))
}

fn the_kernel_shows_both_halves(script: &Script) -> Result {
    let server = serve_half_open(script, "60m", "50ms")?;
    let mut client = welcomed(script, &server, "a client")?;
    client.half_close()?;
    // Whoever has got a line is in the middle of it.
    expect_later_line(&mut client, 1)?;
    let state = |end: Option<TcpSocket>| end.map(|socket| socket.state);
    let halves = [Some(TcpState::CloseWait), Some(TcpState::FinWait2)];
    let mut seen = [None; 2];
    for (number, when) in [(2, "now"), (3, "and a line later")] {
        script.step(format_args!(
            "{when} it is CLOSE-WAIT there and FIN-WAIT-2 here"
        ));
        let shown = || {
            seen = [
                state(client.other_end().ok()?),
                state(client.this_end().ok()?),
            ];
            (seen == halves).then_some(())
        };
        wait_for(shown)
            .ok_or_else(|| Stop::broken(format_args!("it is {seen:?}")))?;
        expect_later_line(&mut client, number)?;
    }
    Ok(())
}

fn tells_both_ends(script: &Script) -> Result {
    let server = serve_half_open(script, "100ms", "50ms")?;
    let mut client = welcomed(script, &server, "a client")?;
    let (peer, local) = (client.address(), server.address());
    client.half_close()?;
    client.read_to_end()?;
    let expected = [
        format!("listening on {local}"),
        format!("{peer} connected"),
        format!("{peer} ended"),
        format!("{peer} was sent line 1"),
        format!("{peer} was sent line 2"),
        format!("{peer} closed"),
    ];
    server.expect_story(&expected[5])?;
    script.step("the whole story is told in order");
    let story = server.story();
    ensure(story == expected, format_args!("it is {story:#?}"))
}

fn a_reset_meanwhile_harms_nobody_else(script: &Script) -> Result {
    let server = serve_half_open(script, "60m", "50ms")?;
    let mut stays = welcomed(script, &server, "who does not end")?;
    let mut ended = welcomed(script, &server, "who has ended")?;
    ended.half_close()?;
    let mut breaks = welcomed(script, &server, "who breaks off")?;
    breaks.half_close()?;
    expect_later_line(&mut breaks, 1)?;
    let peer = breaks.address();
    breaks.reset()?;
    server.expect_story(&broken_pipe(peer))?;
    for number in 1..=3 {
        expect_later_line(&mut ended, number)?;
    }
    expect_echo(&mut stays)
}

fn learns_by_writing_who_has_gone(script: &Script) -> Result {
    // The first line is answered with a RST, the second finds it.
    let server = serve_half_open(script, "60m", "50ms")?;
    let client = welcomed(script, &server, "a client")?;
    let peer = client.address();
    client.close();
    server.expect_story(&format!("{peer} ended"))?;
    server.expect_story(&format!("{peer} was sent line 1"))?;
    server.expect_story(&broken_pipe(peer))?;
    welcomed(script, &server, "the next client")?;
    Ok(())
}

fn broken_pipe(peer: std::net::SocketAddr) -> String {
    format!("{peer} closed with an error: broken pipe (EPIPE)")
}

fn can_be_stopped_meanwhile(script: &Script) -> Result {
    let server = serve_half_open(script, "60m", "60m")?;
    let mut client = welcomed(script, &server, "a client")?;
    let peer = client.address();
    client.half_close()?;
    server.expect_story(&format!("{peer} ended"))?;
    server.signal(Signal::Terminate)?;
    let (_, end) = client.read_to_end()?;
    ensure(end == End::Fin, "the connection was reset (RST)")?;
    server.expect_status(0)
}
