//! unref: what a program stays alive for.

use std::rc::Rc;

use super::every_server::*;
use crate::kernel::TcpState;
use crate::outcome::{Result, ensure};
use crate::peer::{End, Peer, expect_sent};
use crate::promise::lab;
use crate::script::Script;
use crate::subject::{Signal, Subject};

every_server! { lab! {
    $ unref "unref"
        at ([127, 0, 0, 1], 8080), many &["--unref-at", "never"];

    stays_until_a_client_has_ended = "stays-until-a-client-has-ended":
        "By default it stays for its listener until a client has ended: a \
         silent one changes nothing.",
        "A server that ends before its first client is done is no server.";
    ends_with_the_last_client = "ends-with-the-last-client":
        "Once unref'ed it says so and exits with status 0 when the last client \
         has left; not before.",
        "Nobody is cut off, and nobody has to end it.";
    accepts_when_unrefed = "accepts-when-unrefed":
        "Once unref'ed it still listens, and serves who comes.",
        "This is what tells `unref` from `close`.";
    a_late_client_keeps_it_alive = "a-late-client-keeps-it-alive":
        "A client that came after the unref keeps it alive until it leaves, \
         though all who came before have left.",
        "What counts is who is there, and not who was there at the unref.";
    one_comes_as_the_last_leaves = "one-comes-as-the-last-leaves":
        "When it finds the last client gone and a new one waiting at the same \
         moment, it serves the new one.",
        "A count that was zero for a moment is not a count that is zero.";
    at_start_ends_at_once = "at-start-ends-at-once":
        "With `--unref-at start` and no client it listens, and exits at once \
         with status 0.",
        "An open listener alone keeps nothing alive any more.";
    never_stays = "never-stays":
        "With `--unref-at never` it stays when its clients have left, and \
         serves the next.",
        "So it is the unref that ends the others, and nothing else.";
    a_reset_counts_as_an_end = "a-reset-counts-as-an-end":
        "A client that resets its connection has ended as well, as the first \
         and as the last.",
        "One broken client must not keep a program alive for ever.";
    answers_a_fin_with_a_fin = "answers-a-fin-with-a-fin":
        "A client that ends its side still gets all it is owed, and then the \
         server's FIN; the program stays until then.",
        "With `allowHalfOpen` nobody but the server ends its side.";
}}

fn expect_echo(client: &mut Peer) -> Result {
    client.send(b"still there?\n")?;
    client.expect(b"still there?\n")
}

/// It leaves in order, and has left when it sees the server's FIN. By then its
/// end has been counted.
fn leave(mut client: Peer) -> Result {
    client.half_close()?;
    client.expect_fin()
}

/// A server whose first client has left, and whose second is there.
fn unrefed(script: &Script) -> Result<(Rc<Subject>, Peer)> {
    let server = script.serve()?;
    let first = welcomed(script, &server, "the first client")?;
    let second = welcomed(script, &server, "the second client")?;
    leave(first)?;
    Ok((server, second))
}

fn ensure_runs(script: &Script, server: &Subject) -> Result {
    script.step("it has not ended");
    ensure(!server.has_ended(), format_args!("{:?}", server.story()))
}

fn stays_until_a_client_has_ended(script: &Script) -> Result {
    let server = script.serve()?;
    let mut first = welcomed(script, &server, "a client")?;
    expect_echo(&mut first)?;
    let second = welcomed(script, &server, "another")?;
    leave(second)?;
    expect_echo(&mut first)?;
    ensure_runs(script, &server)
}

fn ends_with_the_last_client(script: &Script) -> Result {
    let (server, mut second) = unrefed(script)?;
    let third = welcomed(script, &server, "a third")?;
    leave(third)?;
    expect_echo(&mut second)?;
    ensure_runs(script, &server)?;

    let peer = second.address();
    second.close();
    server.expect_status(0)?;
    script.step("the end of its story");
    let told = server.story();
    let last = "nothing is left to stay for";
    let end = [format!("{peer} left"), last.to_owned()];
    ensure(told.ends_with(&end), format_args!("it is {told:#?}"))?;
    for line in ["the listener is unref'ed", last] {
        script.step(format_args!("it told once: {line}"));
        let n_told = told.iter().filter(|told| *told == line).count();
        ensure(n_told == 1, format_args!("{n_told} times: {told:#?}"))?;
    }
    Ok(())
}

fn accepts_when_unrefed(script: &Script) -> Result {
    let (server, _second) = unrefed(script)?;
    script.step("the kernel still has its listener");
    let sockets = server.sockets()?;
    let listens = sockets.iter().any(|s| s.state == TcpState::Listen);
    ensure(listens, "it has none")?;
    let mut third = welcomed(script, &server, "a third")?;
    expect_echo(&mut third)
}

fn a_late_client_keeps_it_alive(script: &Script) -> Result {
    let (server, second) = unrefed(script)?;
    let mut late = welcomed(script, &server, "a late client")?;
    leave(second)?;
    expect_echo(&mut late)?;
    let mut later = welcomed(script, &server, "a later one")?;
    leave(late)?;
    expect_echo(&mut later)?;
    leave(later)?;
    server.expect_status(0)
}

fn one_comes_as_the_last_leaves(script: &Script) -> Result {
    let (server, mut last) = unrefed(script)?;
    expect_echo(&mut last)?;
    // It sees neither before it has both.
    server.signal(Signal::Stop)?;
    last.half_close()?;
    let mut next = script.connect(&server, "the next client")?;
    server.signal(Signal::Continue)?;
    last.expect_fin()?;
    next.expect_exact_line("welcome")?;
    expect_echo(&mut next)?;
    leave(next)?;
    server.expect_status(0)
}

fn at_start_ends_at_once(script: &Script) -> Result {
    let flags = ["--unref-at", "start", "--listen", "127.0.0.1:0"];
    let server = script.start(&flags)?;
    server.expect_status(0)?;
    script.step("it has listened, and has said nothing on stderr");
    let told = server.story();
    let first = told.first().map(String::as_str).unwrap_or_default();
    ensure(
        first.starts_with("listening on 127.0.0.1:"),
        format_args!("its first line is {first:?}"),
    )?;
    ensure(server.stderr().is_empty(), server.stderr())
}

fn never_stays(script: &Script) -> Result {
    let server = script.serve_with(&["--unref-at", "never"])?;
    for name in ["a client", "another", "a third"] {
        leave(welcomed(script, &server, name)?)?;
    }
    let breaks_off = welcomed(script, &server, "who breaks off")?;
    let peer = breaks_off.address();
    breaks_off.reset()?;
    server.expect_story(&format!(
        "{peer} left with an error: connection reset by peer (ECONNRESET)"
    ))?;
    let mut last = welcomed(script, &server, "the last client")?;
    expect_echo(&mut last)
}

fn a_reset_counts_as_an_end(script: &Script) -> Result {
    let server = script.serve()?;
    let first = welcomed(script, &server, "the first client")?;
    let mut second = welcomed(script, &server, "the second client")?;
    let peer = first.address();
    first.reset()?;
    server.expect_story(&format!(
        "{peer} left with an error: connection reset by peer (ECONNRESET)"
    ))?;
    // The first answer may come in the turn that sees the reset, and ends.
    expect_echo(&mut second)?;
    expect_echo(&mut second)?;
    ensure_runs(script, &server)?;
    second.reset()?;
    server.expect_status(0)
}

fn answers_a_fin_with_a_fin(script: &Script) -> Result {
    // More than the way back to a tiny receive buffer holds: Linux lets a send
    // buffer grow to 4 MiB (tcp_wmem in tcp(7)).
    const N_BYTES: usize = 8 << 20;

    let server = script.serve()?;
    let mut client = script.connect_tiny(&server, "who reads late")?;
    client.expect_exact_line("welcome")?;
    let bytes: Vec<u8> = (0..=250).cycle().take(N_BYTES).collect();
    let sending = client.send_meanwhile(bytes.clone())?;
    client.wait_until_way_back_is_full()?;
    client.widen()?;
    // Until all is sent. What is then on its way is owed by one who has ended.
    let mut pieces = bytes.chunks(1 << 20);
    while !sending.is_finished()
        && let Some(piece) = pieces.next()
    {
        client.expect(piece)?;
    }
    expect_sent(sending)?;
    client.half_close()?;
    let (rest, end) = client.read_to_end()?;
    script.step("it has all it is owed, and then the server's FIN");
    let owed = pieces.collect::<Vec<_>>().concat();
    ensure(
        rest == owed && end == End::Fin,
        format_args!("{} of {} bytes, {end:?}", rest.len(), owed.len()),
    )?;
    server.expect_status(0)
}
