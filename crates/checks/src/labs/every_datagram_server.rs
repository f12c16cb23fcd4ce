//! What every lab promises whose `server` is bound to a UDP address.

use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::rc::Rc;

use super::command_line::{
    expect_end_when_asked_twice, expect_error, expect_help,
};
use super::every_server::expect_two_lines;
use crate::kernel;
use crate::outcome::{Result, Stop, ensure};
use crate::script::Script;
use crate::subject::{Setup, Signal, Subject};

/// Adds these promises to a lab's own: calls the macro named first with its
/// arguments, and with this list behind them.
macro_rules! every_datagram_server {
    ($then:ident! { $($own:tt)* }) => { every_port! { $then! { $($own)*
        ends_in_order_when_asked = "ends-in-order-when-asked":
            "On Ctrl-C and on SIGTERM it exits with status 0, without a word \
             on stderr.",
            "A server that must be killed cannot clean up.";
    } } };
}
pub(crate) use every_datagram_server;

/// Starts `server --listen address`, and waits until it is bound.
pub(super) fn serve_on(
    script: &Script,
    address: &str,
    mut setup: Setup,
) -> Result<Rc<Subject>> {
    let words = ["server", "--listen", address].map(str::to_owned);
    setup.flags.splice(..0, words);
    let server = script.start_with(&setup)?;
    let wanted = address.parse().map_err(Stop::broken)?;
    script.wait_bound(&server, wanted)?;
    Ok(server)
}

/// The same on any free port of 127.0.0.1.
pub(super) fn serve(script: &Script) -> Result<Rc<Subject>> {
    serve_on(script, "127.0.0.1:0", Setup::default())
}

pub(super) fn runs_with_no_flags(script: &Script) -> Result {
    let address = script.reserve_default_udp_port()?;
    for flags in [&[][..], &["server"]] {
        let server = start_at(script, flags, address)?;
        server.expect_story(&format!("listening on {address}"))?;
        server.signal(Signal::Terminate)?;
        server.expect_status(0)?;
    }
    Ok(())
}

/// Starts the program, which should be bound to this port. The port is one of
/// those that the kernel gives to clients (ip_local_port_range in ip(7)), so
/// somebody may have it for a moment. Then it is started again.
fn start_at(
    script: &Script,
    flags: &[&str],
    address: SocketAddr,
) -> Result<Rc<Subject>> {
    const TRIES: usize = 5;

    for _ in 1..TRIES {
        let server = script.start(flags)?;
        let bound = script.wait_bound(&server, address);
        if bound.is_ok() || !server.has_ended() {
            return bound.map(|()| server);
        }
        server.expect_stderr("EADDRINUSE")?;
        script.wait_for_default_udp_port()?;
    }
    let server = script.start(flags)?;
    script.wait_bound(&server, address)?;
    Ok(server)
}

pub(super) fn prints_the_address_it_bound(script: &Script) -> Result {
    expect_first_line(&*serve(script)?)?;
    let mut addresses = ("localhost", 0).to_socket_addrs()?;
    let first = addresses.next().ok_or_else(|| {
        Stop::skipped("this machine does not know the name localhost")
    })?;
    let server = script.start(&["server", "--listen", "localhost:0"])?;
    script.wait_bound(&server, first)?;
    expect_first_line(&server)
}

fn expect_first_line(server: &Subject) -> Result {
    let line = format!("listening on {}", server.address());
    server.expect_story(&line)?;
    let first = server.story().into_iter().next().unwrap_or_default();
    ensure(first == line, format_args!("its first line is {first:?}"))
}

pub(super) fn help_says_what_and_how(script: &Script) -> Result {
    for role in ["server", "client"] {
        expect_help(script, role)?;
    }
    Ok(())
}

pub(super) fn a_busy_port_is_one_clear_line(script: &Script) -> Result {
    let busy = UdpSocket::bind("127.0.0.1:0")?;
    let address = busy.local_addr()?;
    script.step(format_args!("somebody else is bound to {address}"));
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
    let failed = script.start(&["server", "--listen", &address.to_string()])?;
    failed.expect_status(1)?;
    expect_error(&failed, &format!("cannot listen on {address}: "), code)?;
    expect_two_lines(&failed)
}

pub(super) fn an_unknown_name_is_one_clear_line(script: &Script) -> Result {
    // RFC 6761: no name under `.invalid` will ever exist.
    let name = "nosuch.invalid:41234";
    let failed = script.start(&["server", "--listen", name])?;
    failed.expect_status(1)?;
    expect_error(&failed, &format!("cannot resolve {name}: "), "")?;
    expect_two_lines(&failed)
}

pub(super) fn bad_flags_are_misuse(script: &Script) -> Result {
    let misuses: [(&[&str], &str); 4] = [
        (&["--no-such-flag"], "--no-such-flag"),
        (&["no-such-role"], "no-such-role"),
        (&["server", "--listen", "41234"], "HOST:PORT"),
        (&["server", "--listen", "127.0.0.1:65536"], "65536"),
    ];
    misuses
        .into_iter()
        .try_for_each(|(flags, named)| expect_misuse(script, flags, named))
}

/// The status is 2, and the error names what is wrong.
pub(super) fn expect_misuse(
    script: &Script,
    flags: &[&str],
    named: &str,
) -> Result {
    let failed = script.start(flags)?;
    failed.expect_status(2)?;
    let stderr = failed.stderr();
    let first = stderr.lines().next().unwrap_or_default();
    ensure(
        first.starts_with("error: ") && stderr.contains(named),
        format_args!("expected an error about {named}, got {stderr:?}"),
    )
}

pub(super) fn warns_when_others_can_reach_it(script: &Script) -> Result {
    let server = serve(script)?;
    // Whoever has ended had the time to warn.
    server.signal(Signal::Terminate)?;
    wait_for_end(&server)?;
    script.step("on loopback it did not warn");
    ensure(server.stderr().is_empty(), server.stderr())?;

    let server = serve_on(script, "0.0.0.0:0", Setup::default())?;
    server.expect_stderr("0.0.0.0")
}

/// With which status does not matter here.
fn wait_for_end(server: &Subject) -> Result {
    crate::wait::wait_for(|| server.has_ended().then_some(()))
        .ok_or_else(|| Stop::broken("it has not ended"))
}

pub(super) fn ends_in_order_when_asked(script: &Script) -> Result {
    for signal in [Signal::Interrupt, Signal::Terminate] {
        let server = serve(script)?;
        server.signal(signal)?;
        server.expect_status(0)?;
        ensure(server.stderr().is_empty(), server.stderr())?;
    }
    Ok(())
}

pub(super) fn ends_at_once_when_asked_twice(script: &Script) -> Result {
    expect_end_when_asked_twice(|| Ok((serve(script)?, ())))
}
