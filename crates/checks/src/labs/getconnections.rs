//! getconnections: counts the clients, and lets only so many in.

use std::net::TcpStream;
use std::rc::Rc;

use super::every_server::*;
use crate::outcome::{Result, Stop, ensure};
use crate::peer::{End, Peer};
use crate::promise::lab;
use crate::script::Script;
use crate::subject::Subject;
use crate::wait::wait_for;

every_server! { lab! {
    $ getconnections "getconnections"
        at ([127, 0, 0, 1], 8080), many &["--max", "1000"];

    greets_with_the_count = "greets-with-the-count":
        "Each client is told how many places are taken, itself included, of \
         how many.",
        "The count is what the call is for.";
    answers_each_line_with_the_count = "answers-each-line-with-the-count":
        "For every line a client sends, it is told the count again.",
        "So a client sees others come and go.";
    the_count_falls_after_a_fin = "the-count-falls-after-a-fin":
        "The count falls when a client ends its connection.",
        "Otherwise a server is full of clients that have long gone.";
    the_count_falls_after_a_reset = "the-count-falls-after-a-reset":
        "The count falls when a client resets its connection.",
        "A way out of the code that forgets to count down shows here.";
    drops_one_too_many = "drops-one-too-many":
        "A client for which there is no place connects, and sees the end of \
         the stream with no byte before it.",
        "The limit counts after accept, so nobody is refused; nobody must \
         hang either.";
    tells_who_was_dropped = "tells-who-was-dropped":
        "The story names the client that was dropped.",
        "Without it, the operator cannot tell a full server from a broken one.";
    a_freed_place_is_usable_at_once = "a-freed-place-is-usable-at-once":
        "When one leaves, the next may come.",
        "A limit that never lets go is an outage.";
    counts_a_half_closed_client = "counts-a-half-closed-client":
        "A client that ended its direction counts until it has all its \
         answers.",
        "A connection is over when both directions are.";
    a_thousand_clients_leave_no_trace = "a-thousand-clients-leave-no-trace":
        "After a thousand clients have come and gone, the count is what it \
         was.",
        "A leak of one in a thousand fills the server in a night.";
}}

fn serve(script: &Script, max: &str) -> Result<Rc<Subject>> {
    script.serve_with(&["--max", max])
}

fn welcomed(
    script: &Script,
    server: &Subject,
    name: &str,
    count: &str,
) -> Result<Peer> {
    let mut client = script.connect(server, name)?;
    client.expect_exact_line(&format!("welcome, {count} places taken"))?;
    Ok(client)
}

/// Asks until the count is this one: a client that has left may not be counted
/// down at the moment it is gone.
fn wait_for_count(script: &Script, client: &mut Peer, count: &str) -> Result {
    script.step(format_args!("the count becomes {count}"));
    let mut last = String::new();
    let asked = wait_for(|| {
        let answer = client.send(b"\n").and_then(|()| client.expect_line());
        match answer {
            Ok(line) if line == count => Some(Ok(())),
            Ok(line) => {
                last = line;
                None
            }
            Err(stop) => Some(Err(stop)),
        }
    });
    asked
        .unwrap_or_else(|| Err(Stop::broken(format_args!("it stays {last:?}"))))
}

fn greets_with_the_count(script: &Script) -> Result {
    let server = script.serve()?;
    let _first = welcomed(script, &server, "a client", "1 of 2")?;
    let _second = welcomed(script, &server, "another", "2 of 2")?;
    Ok(())
}

fn answers_each_line_with_the_count(script: &Script) -> Result {
    let server = script.serve()?;
    let mut first = welcomed(script, &server, "a client", "1 of 2")?;
    first.send(b"\nhow many?\r\n")?;
    first.expect(b"1 of 2\r\n1 of 2\r\n")?;
    let _second = welcomed(script, &server, "another", "2 of 2")?;
    first.send(b"no line ")?;
    first.send(b"until here\n")?;
    first.expect(b"2 of 2\r\n")
}

fn the_count_falls_after_a_fin(script: &Script) -> Result {
    let server = script.serve()?;
    let mut stays = welcomed(script, &server, "who stays", "1 of 2")?;
    let leaves = welcomed(script, &server, "who leaves", "2 of 2")?;
    leaves.close();
    wait_for_count(script, &mut stays, "1 of 2")
}

fn the_count_falls_after_a_reset(script: &Script) -> Result {
    let server = script.serve()?;
    let mut stays = welcomed(script, &server, "who stays", "1 of 2")?;
    let leaves = welcomed(script, &server, "who breaks off", "2 of 2")?;
    leaves.reset()?;
    wait_for_count(script, &mut stays, "1 of 2")
}

fn drops_one_too_many(script: &Script) -> Result {
    let server = serve(script, "1")?;
    let mut first = welcomed(script, &server, "a client", "1 of 1")?;
    for name in ["one too many", "another too many"] {
        script.connect(&server, name)?.expect_fin()?;
    }
    first.send(b"\n")?;
    first.expect(b"1 of 1\r\n")
}

fn tells_who_was_dropped(script: &Script) -> Result {
    let server = serve(script, "1")?;
    let first = welcomed(script, &server, "a client", "1 of 1")?;
    let peer = first.address();
    server.expect_story(&format!("{peer} connected, 1 of 1 places taken"))?;
    let mut dropped = script.connect(&server, "one too many")?;
    dropped.expect_fin()?;
    let other = dropped.address();
    server.expect_story(&format!("{other} dropped, 1 of 1 places taken"))?;
    first.close();
    server.expect_story(&format!("{peer} left, 0 of 1 places taken"))
}

fn a_freed_place_is_usable_at_once(script: &Script) -> Result {
    let server = serve(script, "1")?;
    let mut first = welcomed(script, &server, "a client", "1 of 1")?;
    first.half_close()?;
    // It has left when it sees the server's FIN, no later.
    first.expect_fin()?;
    welcomed(script, &server, "the next client", "1 of 1")?;
    Ok(())
}

fn counts_a_half_closed_client(script: &Script) -> Result {
    // As questions they fit on the way to the server, which no longer reads.
    // The answers, 13 bytes each, do not fit on the way back.
    const QUESTIONS: usize = 1_000_000;

    let server = serve(script, "100000")?;
    let mut asks = script.connect_tiny(&server, "who asks and reads late")?;
    asks.expect_exact_line("welcome, 1 of 100000 places taken")?;
    asks.send(&vec![b'\n'; QUESTIONS])?;
    asks.half_close()?;
    script.step("the way back to it fills up");
    let filled = || {
        let queue = asks.other_end().ok()??.send_queue;
        (queue > 0).then_some(())
    };
    wait_for(filled).ok_or_else(|| Stop::broken("no answer comes"))?;
    let mut other = welcomed(script, &server, "another", "2 of 100000")?;

    asks.widen()?;
    let (answers, end) = asks.read_to_end()?;
    script.step("it has all its answers, and then the end");
    let n_answers = answers.iter().filter(|byte| **byte == b'\n').count();
    ensure(
        n_answers == QUESTIONS && end == End::Fin,
        format_args!("{n_answers} of {QUESTIONS} answers, then {end:?}"),
    )?;
    wait_for_count(script, &mut other, "1 of 100000")
}

fn a_thousand_clients_leave_no_trace(script: &Script) -> Result {
    const CLIENTS: usize = 1000;

    let server = serve(script, "2000")?;
    let mut stays = welcomed(script, &server, "who stays", "1 of 2000")?;
    script.step(format_args!("{CLIENTS} clients come and go"));
    for _ in 0..CLIENTS {
        drop(TcpStream::connect(server.address())?);
    }
    wait_for_count(script, &mut stays, "1 of 2000")
}
