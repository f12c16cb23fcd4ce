//! close: stops listening, goes on serving, ends with the last client.

use std::rc::Rc;

use super::every_server::*;
use crate::kernel::TcpState;
use crate::outcome::{Result, Stop, ensure};
use crate::peer::Peer;
use crate::promise::lab;
use crate::script::Script;
use crate::subject::Subject;
use crate::wait::wait_for;

every_server! { lab! {
    $ close "close" at ([127, 0, 0, 1], 8080), many &["--after", "1000"];

    serves_until_enough_have_come = "serves-until-enough-have-come":
        "Until so many clients are connected as `--after` says, it takes new \
         ones.",
        "A place that was left does not count: the limit is on those present.";
    refuses_new_clients_at_once = "refuses-new-clients-at-once":
        "When enough have come, a new client is refused by the kernel.",
        "A client that is refused tries elsewhere; one that is left in a queue \
         waits.";
    keeps_the_clients_it_has = "keeps-the-clients-it-has":
        "Those who are connected are served on after the listener is gone.",
        "This is how a server is taken out of service without harm.";
    ends_when_the_last_has_left = "ends-when-the-last-has-left":
        "When the last client has left it says `closed`, and exits with \
         status 0; not before.",
        "Who waits for the end of the program waits for the end of the work.";
    a_reset_counts_as_leaving = "a-reset-counts-as-leaving":
        "A client that resets its connection has left as well.",
        "One broken client must not keep a server alive for ever.";
}}

/// A server with its two clients, when its listener is gone.
fn closed_with_two(script: &Script) -> Result<(Rc<Subject>, Peer, Peer)> {
    let server = script.serve()?;
    let first = welcomed(script, &server, "the first client")?;
    let second = welcomed(script, &server, "the second client")?;
    script.step("its listener is gone");
    let gone = || match server.sockets() {
        Ok(sockets) => {
            let listens = sockets.iter().any(|s| s.state == TcpState::Listen);
            (!listens).then_some(Ok(()))
        }
        Err(stop) => Some(Err(stop)),
    };
    let gone = wait_for(gone);
    gone.unwrap_or_else(|| Err(Stop::broken("it still listens")))?;
    Ok((server, first, second))
}

fn expect_echo(client: &mut Peer) -> Result {
    client.send(b"still there?\n")?;
    client.expect(b"still there?\n")
}

fn serves_until_enough_have_come(script: &Script) -> Result {
    let server = script.serve()?;
    for name in ["a client", "another", "a third"] {
        let mut client = welcomed(script, &server, name)?;
        client.half_close()?;
        // It is gone when it sees the server's FIN.
        client.expect_fin()?;
    }
    let server = script.serve_with(&["--after", "3"])?;
    let _first = welcomed(script, &server, "a client")?;
    let _second = welcomed(script, &server, "another")?;
    let _third = welcomed(script, &server, "a third")?;
    Ok(())
}

fn refuses_new_clients_at_once(script: &Script) -> Result {
    let (server, _first, _second) = closed_with_two(script)?;
    script.expect_refused(server.address())
}

fn keeps_the_clients_it_has(script: &Script) -> Result {
    let (_server, mut first, mut second) = closed_with_two(script)?;
    expect_echo(&mut first)?;
    expect_echo(&mut second)?;
    first.half_close()?;
    first.expect_fin()?;
    expect_echo(&mut second)
}

fn ends_when_the_last_has_left(script: &Script) -> Result {
    let (server, first, mut second) = closed_with_two(script)?;
    let (peer, address) = (first.address(), server.address());
    first.close();
    server.expect_story(&format!("{peer} left"))?;
    expect_echo(&mut second)?;
    script.step("it has not ended, and has not said so");
    let told = server.story();
    let closed = told.iter().any(|line| line == "closed");
    ensure(!server.has_ended() && !closed, format_args!("{told:?}"))?;

    let peer = second.address();
    second.close();
    server.expect_status(0)?;
    script.step("the end of its story");
    let told = server.story();
    let last = [format!("{peer} left"), "closed".to_owned()];
    ensure(told.ends_with(&last), format_args!("it is {told:#?}"))?;
    let line = format!("no longer listening on {address}");
    server.expect_story(&line)
}

fn a_reset_counts_as_leaving(script: &Script) -> Result {
    let (server, first, second) = closed_with_two(script)?;
    first.reset()?;
    second.reset()?;
    server.expect_status(0)
}
