//! What every lab promises that listens for TCP clients and greets them with a
//! line.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};

use super::command_line::{
    EVIL, expect_end_when_asked_twice, expect_error, expect_help,
    expect_misuse, expect_no_evil,
};
use crate::bytes::shown;
use crate::kernel::{self, TcpState};
use crate::outcome::{Result, Stop, ensure};
use crate::peer::{End, Peer};
use crate::script::Script;
use crate::subject::{Setup, Signal, Subject};
use crate::wait::wait_for;

/// Adds these promises to a lab's own: calls the macro named first with its
/// arguments, and with this list behind them.
macro_rules! every_server {
    ($then:ident! { $($own:tt)* }) => { every_port! { $then! { $($own)*
        ends_in_order_when_asked = "ends-in-order-when-asked":
            "On Ctrl-C and on SIGTERM its clients see the end of the stream, \
             and it exits with status 0.",
            "A server that dies leaves its clients guessing.";
        a_reset_harms_nobody_else = "a-reset-harms-nobody-else":
            "When one client resets its connection, the others are served on.",
            "In Node, one reset without an 'error' handler ends the server.";
        survives_a_full_descriptor_table = "survives-a-full-descriptor-table":
            "Out of file descriptors (EMFILE) it says so once, waits without \
             using the processor, and goes on when there is room.",
            "Every server that lives long enough meets this.";
        escapes_what_a_peer_sends = "escapes-what-a-peer-sends":
            "Nothing that a client sends reaches the terminal as a control \
             character.",
            "An escape sequence can rewrite the screen, or type for you.";
    } } };
}
pub(crate) use every_server;

/// The lab with the flags that let any number of clients in.
fn serve_many(script: &Script) -> Result<std::rc::Rc<Subject>> {
    script.serve_on("127.0.0.1:0", many(script))
}

fn many(script: &Script) -> Setup {
    let flags = script.lab().flags_for_many;
    let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    Setup {
        flags,
        ..Setup::default()
    }
}

/// A client connects and is greeted with the line that most labs send.
pub(super) fn welcomed(
    script: &Script,
    server: &Subject,
    name: &str,
) -> Result<Peer> {
    let mut client = script.connect(server, name)?;
    client.expect_exact_line("welcome")?;
    Ok(client)
}

/// A client connects and is greeted.
fn greeted(script: &Script, server: &Subject, name: &str) -> Result<Peer> {
    let mut client = script.connect(server, name)?;
    client.expect_line()?;
    Ok(client)
}

pub(super) fn runs_with_no_flags(script: &Script) -> Result {
    let address = script.reserve_default_port()?;
    let server = script.start(&[])?;
    script.wait_listening(&server, address)?;
    greeted(script, &server, "a client")?;
    Ok(())
}

pub(super) fn prints_the_address_it_bound(script: &Script) -> Result {
    let server = script.serve()?;
    expect_first_line(&server)?;

    let mut addresses = ("localhost", 0).to_socket_addrs()?;
    let first = addresses.next().ok_or_else(|| {
        Stop::skipped("this machine does not know the name localhost")
    })?;
    let server = script.start(&["--listen", "localhost:0"])?;
    script.wait_listening(&server, first)?;
    expect_first_line(&server)
}

fn expect_first_line(server: &Subject) -> Result {
    let line = format!("listening on {}", server.address());
    server.expect_story(&line)?;
    let first = server.story().into_iter().next().unwrap_or_default();
    ensure(first == line, format_args!("its first line is {first:?}"))
}

pub(super) fn help_says_what_and_how(script: &Script) -> Result {
    expect_help(script, "--listen")
}

pub(super) fn a_busy_port_is_one_clear_line(script: &Script) -> Result {
    let busy = TcpListener::bind("127.0.0.1:0")?;
    let address = busy.local_addr()?;
    script.step(format_args!("somebody else listens on {address}"));
    expect_cannot_listen(script, address, "(EADDRINUSE)")
}

pub(super) fn a_privileged_port_is_one_clear_line(script: &Script) -> Result {
    let port = match kernel::unprivileged_port_start() {
        0 | 1 => {
            return Err(Stop::skipped("every port is free for all here"));
        }
        first => first - 1,
    };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    expect_cannot_listen(script, address, "(EACCES)")
}

pub(super) fn a_foreign_address_is_one_clear_line(script: &Script) -> Result {
    // From the block that RFC 5737 keeps for documentation.
    let address = SocketAddr::from(([203, 0, 113, 7], 0));
    expect_cannot_listen(script, address, "(EADDRNOTAVAIL)")
}

fn expect_cannot_listen(
    script: &Script,
    address: SocketAddr,
    code: &str,
) -> Result {
    let failed = script.start(&["--listen", &address.to_string()])?;
    failed.expect_status(1)?;
    expect_error(&failed, &format!("cannot listen on {address}: "), code)?;
    expect_two_lines(&failed)
}

pub(super) fn an_unknown_name_is_one_clear_line(script: &Script) -> Result {
    // RFC 6761: no name under `.invalid` will ever exist.
    let name = "nosuch.invalid:8080";
    let failed = script.start(&["--listen", name])?;
    failed.expect_status(1)?;
    expect_error(&failed, &format!("cannot resolve {name}: "), "")?;
    expect_two_lines(&failed)
}

pub(super) fn expect_two_lines(failed: &Subject) -> Result {
    let stderr = failed.stderr();
    let said = format_args!("it said more than that: {stderr:?}");
    ensure(stderr.lines().count() == 2, said)?;
    ensure(failed.stdout().is_empty(), "it printed to stdout as well")
}

pub(super) fn bad_flags_are_misuse(script: &Script) -> Result {
    expect_misuse(script, "--listen")
}

pub(super) fn warns_when_others_can_reach_it(script: &Script) -> Result {
    let server = script.serve()?;
    // Whoever greets has had the time to warn.
    greeted(script, &server, "a client")?;
    script.step("on loopback it did not warn");
    ensure(server.stderr().is_empty(), server.stderr())?;

    let server = script.serve_on("0.0.0.0:0", Setup::default())?;
    server.expect_stderr("0.0.0.0")
}

pub(super) fn ends_in_order_when_asked(script: &Script) -> Result {
    for signal in [Signal::Interrupt, Signal::Terminate] {
        let server = serve_many(script)?;
        let mut client = greeted(script, &server, "a client")?;
        server.signal(signal)?;
        expect_end_of_stream(&mut client)?;
        server.expect_status(0)?;
        ensure(server.stderr().is_empty(), server.stderr())?;
    }
    Ok(())
}

/// A FIN, and nothing before it but what a chat room has to say: its lines
/// begin with a star.
fn expect_end_of_stream(client: &mut Peer) -> Result {
    let (received, end) = client.read_to_end()?;
    ensure(
        received.is_empty() || received.starts_with(b"* "),
        format_args!("received {} before the end", shown(&received)),
    )?;
    ensure(end == End::Fin, "the connection was reset (RST)")
}

pub(super) fn ends_at_once_when_asked_twice(script: &Script) -> Result {
    expect_end_when_asked_twice(|| Ok((script.serve()?, ())))
}

pub(super) fn a_closed_stdout_ends_it_quietly(script: &Script) -> Result {
    let mut setup = many(script);
    setup.one_line_reader = true;
    setup
        .flags
        .extend(["--listen", "127.0.0.1:0"].map(str::to_owned));
    let server = script.start_with(&setup)?;
    // Who has a second line to say at its start may end by that, and then no
    // client finds it.
    let connect = |name: &str| {
        script.wait_listening(&server, (Ipv4Addr::LOCALHOST, 0).into())?;
        script.connect(&server, name)
    };
    expect_quiet_end(script, &server, &connect)
}

/// The reader of its stdout goes away, clients come, and it ends in order.
pub(super) fn expect_quiet_end(
    script: &Script,
    server: &Subject,
    connect: &dyn Fn(&str) -> Result<Peer>,
) -> Result {
    server.wait_stdout_closed()?;
    // Their coming is something to tell, and there is nobody left to hear it.
    // One client would do, if no other thread of these tests could be forking
    // just now: until its child runs, that child holds the pipe open as well.
    script.step("clients come, are greeted and go, and it ends");
    let ended = || {
        // Who has read its greeting ends with a FIN, and not with a RST.
        let greeted = connect("a client").and_then(|mut it| it.expect_line());
        (greeted.is_err() || server.has_ended()).then_some(())
    };
    wait_for(ended).ok_or_else(|| Stop::broken("it has not ended"))?;
    server.expect_status(0)?;
    script.step("stderr stays empty");
    ensure(server.stderr().is_empty(), server.stderr())
}

pub(super) fn a_reset_harms_nobody_else(script: &Script) -> Result {
    let server = serve_many(script)?;
    let mut client = greeted(script, &server, "a client")?;
    client.send(b"hello\n")?;
    client.reset()?;
    // One that is gone before it can be accepted.
    script.connect(&server, "another")?.reset()?;
    greeted(script, &server, "the next client")?;
    Ok(())
}

pub(super) fn survives_a_full_descriptor_table(script: &Script) -> Result {
    let server = serve_many(script)?;
    let connect = |name: &str| script.connect(&server, name);
    let n_waiting = || {
        let sockets = server.sockets().ok()?;
        let listener = sockets.iter().find(|s| s.state == TcpState::Listen)?;
        Some(listener.receive_queue)
    };
    expect_to_survive_a_full_table(script, &server, &connect, &n_waiting)
}

/// More clients come than it has descriptors for. `n_waiting` is the number of
/// those in the queue of its listener.
pub(super) fn expect_to_survive_a_full_table(
    script: &Script,
    server: &Subject,
    connect: &dyn Fn(&str) -> Result<Peer>,
    n_waiting: &dyn Fn() -> Option<u32>,
) -> Result {
    const FREE: usize = 6;
    const CLIENTS: usize = 10;

    server.limit_descriptors(FREE)?;
    let mut clients = Vec::new();
    for number in 1..=CLIENTS {
        let name = format!("client {number}");
        clients.push(connect(&name)?);
    }
    for client in &mut clients[..FREE] {
        client.expect_line()?;
    }

    script.step("the table is full, and the others wait to be accepted");
    let waiting = || {
        let free = kernel::free_descriptors(server.pid())?;
        (free == 0 && n_waiting()? > 0).then_some(())
    };
    wait_for(waiting).ok_or_else(|| Stop::broken("they do not"))?;

    server.expect_rest()?;
    script.step("it has said so once");
    wait_for(|| (!server.stderr().is_empty()).then_some(()));
    let said = server.stderr().lines().count();
    ensure(said == 1, format_args!("it has said {said} lines"))?;

    for client in clients.drain(..FREE) {
        client.close();
    }
    for client in &mut clients {
        client.expect_line()?;
    }
    Ok(())
}

pub(super) fn escapes_what_a_peer_sends(script: &Script) -> Result {
    // Who ends by itself would end before the signal, or after it.
    let server = serve_many(script)?;
    let client = greeted(script, &server, "a client")?;
    expect_evil_escaped(script, &server, client)
}

/// A client that was greeted sends what a terminal would obey.
pub(super) fn expect_evil_escaped(
    script: &Script,
    server: &Subject,
    mut client: Peer,
) -> Result {
    client.send(EVIL.as_bytes())?;
    client.half_close()?;
    client.read_to_end()?;
    server.signal(Signal::Terminate)?;
    server.expect_status(0)?;

    expect_no_evil(script, server)
}
