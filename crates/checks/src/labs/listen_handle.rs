//! listen-handle: serves on a listener that somebody else has opened, and hands
//! it on.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::command_line::expect_error;
use super::every_server::*;
use crate::kernel::{self, TcpState};
use crate::outcome::{Result, Stop, ensure};
use crate::peer::Peer;
use crate::promise::lab;
use crate::script::Script;
use crate::subject::{Descriptor, Setup, Signal, Subject};
use crate::sys::descriptor;
use crate::wait::{patience, wait_for};

every_server! { lab! {
    $ listen_handle "listen-handle" at ([127, 0, 0, 1], 8080), many &[];

    serves_an_inherited_listener = "serves-an-inherited-listener":
        "Started with LISTEN_FDS, LISTEN_PID and a listener at descriptor 3, \
         it serves on that, tells its address, and opens no other.",
        "This is how systemd, systemfd and many a supervisor start a server.";
    serves_both_versions_of_ip = "serves-both-versions-of-ip":
        "The inherited listener may be one for IPv4, for IPv6 or for both.",
        "Whoever opened it has chosen, and the server has not.";
    takes_a_blocking_listener = "takes-a-blocking-listener":
        "The inherited listener may be in blocking mode, and yet no client \
         waits for another.",
        "A parent that does not accept does not care, and most listeners are \
         opened in blocking mode.";
    a_bad_descriptor_is_one_clear_line = "a-bad-descriptor-is-one-clear-line":
        "A descriptor 3 that is closed, no socket, no TCP socket, or not \
         listening is one line with the errno, a line of help, and status 1.",
        "Nobody sees a descriptor: only the message tells what it was.";
    bad_variables_are_one_clear_line = "bad-variables-are-one-clear-line":
        "A LISTEN_FDS that is no number, or more than one, is one line that \
         shows it, a line of help, and status 1.",
        "To serve on one of two listeners is to leave the clients of the \
         other in its queue for ever.";
    ignores_what_is_for_another = "ignores-what-is-for-another":
        "Variables with another process's id in LISTEN_PID are not for it, \
         and none is inherited with LISTEN_FDS=0: it opens its own listener.",
        "Variables pass to children's children, where 3 is something else.";
    keeps_the_listener_to_itself = "keeps-the-listener-to-itself":
        "The inherited listener is marked close-on-exec.",
        "A forgotten child that has it keeps the port alive, and its queue \
         unserved.";
    serves_who_comes_between = "serves-who-comes-between":
        "A client that connects after the old process has ended, and before \
         the new one is started, is served by the new one.",
        "This is what the listener is inherited for.";
    a_restart_loses_no_client = "a-restart-loses-no-client":
        "While the process is replaced again and again, every client that \
         connects is greeted: none is refused, reset, or sent away.",
        "Who was accepted has left the queue: the next process will not find \
         it there.";
    starts_anew_on_sighup = "starts-anew-on-sighup":
        "On SIGHUP its clients see the end of the stream, and it becomes \
         itself anew: in the same process, on the same listener, with all \
         who are in its queue.",
        "A new version goes into service, and its clients notice a moment's \
         delay.";
}}

/// How often it is restarted. A wrong program has luck half of the times.
const RESTARTS: usize = 12;
/// Clients that connect in a row meanwhile.
const CLIENTS: usize = 4;
/// How many must be greeted between two restarts.
const GREETED: usize = 20;

/// A listener in the hands of a parent, which does not accept.
fn parent_listens(script: &Script, address: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    script.step(format_args!("a parent listens on {address}"));
    Ok(listener)
}

/// Starts the program as systemd does, with this at descriptor 3. If it opened
/// a listener of its own all the same, it would be another.
fn start(
    script: &Script,
    inherited: Option<Descriptor>,
    count: &str,
) -> Result<Rc<Subject>> {
    script.step(format_args!("it inherits, with LISTEN_FDS={count}"));
    let variables = [
        ("LISTEN_FDS", count),
        ("LISTEN_PID", "$$"),
        ("LISTEN_FDNAMES", "http"),
    ];
    script.start_with(&Setup {
        flags: vec!["--listen".to_owned(), "127.0.0.1:0".to_owned()],
        inherited,
        variables: variables.map(|(n, v)| (n, v.to_owned())).to_vec(),
        ..Setup::default()
    })
}

/// Starts the program with this listener, and waits until it greets a client:
/// it *has* the listener as soon as it exists.
fn inherit(script: &Script, listener: &TcpListener) -> Result<Rc<Subject>> {
    let inherited = descriptor(listener.try_clone()?)?;
    let server = start(script, Some(inherited), "1")?;
    script.wait_listening(&server, listener.local_addr()?)?;
    welcomed(script, &server, "the first client")?;
    Ok(server)
}

fn serves_an_inherited_listener(script: &Script) -> Result {
    let listener = parent_listens(script, "127.0.0.1:0")?;
    let server = inherit(script, &listener)?;
    server.expect_story(&format!("listening on {}", listener.local_addr()?))?;
    script.step("it has this listener, and no other");
    let listeners = listeners(&server)?;
    ensure(listeners.len() == 1, format_args!("it has {listeners:?}"))?;
    script.step("stderr stays empty");
    ensure(server.stderr().is_empty(), server.stderr())
}

/// The listeners of a program, by the kernel's numbers for them.
fn listeners(server: &Subject) -> Result<Vec<u32>> {
    let mut sockets = server.sockets()?;
    sockets.retain(|socket| socket.state == TcpState::Listen);
    Ok(sockets.iter().map(|socket| socket.inode).collect())
}

fn serves_both_versions_of_ip(script: &Script) -> Result {
    inherit(script, &parent_listens(script, "127.0.0.1:0")?)?;
    let Ok(listener) = parent_listens(script, "[::1]:0") else {
        return Err(Stop::skipped("this machine has no IPv6"));
    };
    inherit(script, &listener)?;

    let listener = parent_listens(script, "[::]:0")?;
    let port = listener.local_addr()?.port();
    let server = start(script, Some(descriptor(listener)?), "1")?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut client = script.connect_to(address, "an IPv4 client")?;
    client.expect_exact_line("welcome")?;
    server.expect_story(&format!("{} connected", client.address()))
}

fn takes_a_blocking_listener(script: &Script) -> Result {
    let listener = parent_listens(script, "127.0.0.1:0")?;
    listener.set_nonblocking(false)?;
    script.step("it is in blocking mode");
    let server = inherit(script, &listener)?;
    let _silent = welcomed(script, &server, "a silent client")?;
    let mut client = welcomed(script, &server, "another")?;
    client.send(b"hello\n")?;
    client.expect(b"hello\n")
}

fn a_bad_descriptor_is_one_clear_line(script: &Script) -> Result {
    let refused = |inherited, code| {
        let failed = start(script, inherited, "1")?;
        expect_clear_line(&failed, "cannot listen on descriptor 3: ", code)
    };
    script.step("nothing is at descriptor 3");
    refused(None, "(EBADF)")?;

    script.step("a file is at descriptor 3");
    let file = File::create(script.home().join("file"))?;
    refused(Some(descriptor(file)?), "(ENOTSOCK)")?;

    script.step("a UDP socket is at descriptor 3");
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    refused(Some(descriptor(socket)?), "(EPROTOTYPE)")?;

    script.step("a Unix socket is at descriptor 3");
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    refused(Some(descriptor(socket)?), "(EPROTOTYPE)")?;

    script.step("a TCP socket that does not listen is at descriptor 3");
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into())?;
    refused(Some(descriptor(socket)?), "(EINVAL)")
}

fn expect_clear_line(failed: &Subject, what: &str, code: &str) -> Result {
    failed.expect_status(1)?;
    expect_error(failed, what, code)?;
    expect_two_lines(failed)
}

fn bad_variables_are_one_clear_line(script: &Script) -> Result {
    for count in ["two", "2", "-1", "1\u{1b}[31m"] {
        let listener = parent_listens(script, "127.0.0.1:0")?;
        let failed = start(script, Some(descriptor(listener)?), count)?;
        let what = format!("cannot use LISTEN_FDS={count:?}: ");
        expect_clear_line(&failed, &what, "(EINVAL)")?;
    }
    Ok(())
}

fn ignores_what_is_for_another(script: &Script) -> Result {
    // Process 1 exists everywhere, and is not ours.
    for (count, pid) in [("1", "1"), ("two", "1"), ("0", "$$")] {
        script.step(format_args!("LISTEN_FDS={count}, LISTEN_PID={pid}"));
        let variables = [("LISTEN_FDS", count), ("LISTEN_PID", pid)];
        let file = File::create(script.home().join("file"))?;
        let setup = Setup {
            inherited: Some(descriptor(file)?),
            variables: variables.map(|(n, v)| (n, v.to_owned())).to_vec(),
            ..Setup::default()
        };
        let server = script.serve_on("127.0.0.1:0", setup)?;
        welcomed(script, &server, "a client")?;
    }
    Ok(())
}

fn keeps_the_listener_to_itself(script: &Script) -> Result {
    let listener = parent_listens(script, "127.0.0.1:0")?;
    let server = inherit(script, &listener)?;
    script.step("descriptor 3 is marked close-on-exec");
    let outlives = kernel::outlives_exec(server.pid(), 3);
    ensure(outlives != Some(true), "a child would inherit it as well")
}

fn serves_who_comes_between(script: &Script) -> Result {
    let listener = parent_listens(script, "127.0.0.1:0")?;
    let old = inherit(script, &listener)?;
    old.signal(Signal::Terminate)?;
    old.expect_status(0)?;
    let mut client = script.connect(&old, "a client")?;
    client.send(b"hello\n")?;
    let _new = inherit(script, &listener)?;
    client.expect_exact_line("welcome")?;
    client.expect(b"hello\n")
}

fn a_restart_loses_no_client(script: &Script) -> Result {
    let listener = parent_listens(script, "127.0.0.1:0")?;
    let mut server = inherit(script, &listener)?;
    for _ in 0..RESTARTS {
        let clients = queue_up(script, &server, Signal::Terminate)?;
        server.expect_status(0)?;
        server = inherit(script, &listener)?;
        expect_all_greeted(clients)?;
    }
    under_load(script, listener.local_addr()?, |wait_until_greeted| {
        for _ in 0..RESTARTS {
            server.signal(Signal::Terminate)?;
            server.expect_status(0)?;
            server = inherit(script, &listener)?;
            wait_until_greeted()?;
        }
        Ok(())
    })
}

/// Clients connect while the server stands still, so that it sees them and the
/// signal at the same time.
fn queue_up(
    script: &Script,
    server: &Subject,
    signal: Signal,
) -> Result<Vec<Peer>> {
    server.signal(Signal::Stop)?;
    let connect = |number| {
        script.connect(server, &format!("client {number} in the queue"))
    };
    let clients: Result<Vec<Peer>> = (1..=GREETED).map(connect).collect();
    server.signal(signal)?;
    server.signal(Signal::Continue)?;
    clients
}

fn expect_all_greeted(clients: Vec<Peer>) -> Result {
    for mut client in clients {
        client.expect_exact_line("welcome")?;
    }
    Ok(())
}

/// Clients connect in a row while `restart` goes on, and each of them must be
/// greeted. What `restart` is given waits until that has happened often.
fn under_load(
    script: &Script,
    address: SocketAddr,
    restart: impl FnOnce(&dyn Fn() -> Result) -> Result,
) -> Result {
    script.step(format_args!("{CLIENTS} clients at a time, on and on"));
    let n_greeted = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    let limit = patience();
    let come_and_go = || {
        while !is_over.load(Ordering::Relaxed) {
            be_greeted(address, limit)?;
            n_greeted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let wait_until_greeted = || {
        let enough = n_greeted.load(Ordering::Relaxed) + GREETED;
        let greeted = || n_greeted.load(Ordering::Relaxed) >= enough;
        wait_for(|| greeted().then_some(()))
            .ok_or_else(|| Stop::broken("clients are not greeted any more"))
    };
    thread::scope(|scope| {
        let clients = [(); CLIENTS].map(|()| scope.spawn(come_and_go));
        let restarted = restart(&wait_until_greeted);
        is_over.store(true, Ordering::Relaxed);
        let lost = clients.map(ScopedJoinHandle::join);
        restarted?;
        script.step("each of them was greeted");
        lost.into_iter().try_for_each(|client| {
            client.unwrap_or_else(|_| Err(Stop::broken("a client panicked")))
        })
    })
}

/// One client: connects, is greeted, and breaks off. So it leaves no pair of
/// addresses in TIME-WAIT, of which there are not enough for so many.
fn be_greeted(address: SocketAddr, limit: Duration) -> Result {
    let socket = TcpStream::connect_timeout(&address, limit)?;
    socket.set_read_timeout(Some(limit))?;
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    let mut line = String::new();
    BufReader::new(&socket).read_line(&mut line)?;
    ensure(
        line == "welcome\r\n",
        format_args!("it was greeted with {line:?}"),
    )
}

fn starts_anew_on_sighup(script: &Script) -> Result {
    let server = script.serve()?;
    let mut n_starts = 0;
    let mut wait_until_started = || {
        n_starts += 1;
        wait_for(|| (n_listening(&server) == n_starts).then_some(()))
            .ok_or_else(|| Stop::broken("it has not started anew"))
    };
    wait_until_started()?;
    let before = listeners(&server)?;

    let mut client = welcomed(script, &server, "a client")?;
    for _ in 0..RESTARTS {
        let clients = queue_up(script, &server, Signal::Hangup)?;
        wait_until_started()?;
        expect_all_greeted(clients)?;
    }
    client.expect_fin()?;
    script.step("it has the same listener, and no other");
    let after = listeners(&server)?;
    ensure(
        before == after,
        format_args!("it had {before:?}, it has {after:?}"),
    )?;

    under_load(script, server.address(), |wait_until_greeted| {
        for _ in 0..RESTARTS {
            server.signal(Signal::Hangup)?;
            wait_until_started()?;
            wait_until_greeted()?;
        }
        Ok(())
    })
}

/// How often it has said that it listens.
fn n_listening(server: &Subject) -> usize {
    let story = server.story();
    let said = story
        .iter()
        .filter(|line| line.starts_with("listening on "));
    said.count()
}
