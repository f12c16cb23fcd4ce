//! pause-resume: pauses each client, and the kernel keeps what it sends.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::every_server::*;
use super::output_file::{a_bad_file_is_one_clear_line, expect_full_disk_told};
use crate::bytes::difference;
use crate::kernel::{self, TcpSocket, TcpState, Timer};
use crate::outcome::{Result, Stop, ensure};
use crate::peer::{End, Peer, expect_sent};
use crate::promise::lab;
use crate::script::Script;
use crate::subject::{Signal, Subject};
use crate::wait::{observe, wait_for};

every_server! { lab! {
    $ pause_resume "pause-resume" at ([127, 0, 0, 1], 8080),
        many &["--pause", "1ms"];

    reads_nothing_while_paused = "reads-nothing-while-paused":
        "While a client is paused, every byte that it sends stays in the \
         kernel, and the file stays empty.",
        "In Node, `pause()` in the 'connection' handler is too late: one \
         buffer full is read all the same.";
    closes_the_window_while_paused = "closes-the-window-while-paused":
        "When the kernel holds as much as it can for a paused client, its \
         window is closed, and the client's own kernel holds the rest and \
         probes.",
        "This is how one program makes another one wait, on any machine.";
    its_memory_stays_flat = "its-memory-stays-flat":
        "While 50 MB are offered to it by a paused client, its own memory \
         does not grow.",
        "Who pauses in the program instead of in the kernel pays with memory.";
    tells_what_the_kernel_holds = "tells-what-the-kernel-holds":
        "The story shows how many bytes the kernel holds for a paused client, \
         once for each number.",
        "A server that knows how much waits can say what it is behind with.";
    resumes_when_the_pause_is_over = "resumes-when-the-pause-is-over":
        "After `--pause`, and not before, what was kept is read, and so is \
         what comes later.",
        "A pause that does not end is a leak; one that ends early is none.";
    every_byte_arrives_in_order = "every-byte-arrives-in-order":
        "A client that had to wait is read to its end, and the file holds \
         every byte of it, in order.",
        "A closed window delays. It loses nothing.";
    each_client_has_its_own_pause = "each-client-has-its-own-pause":
        "A client that comes later is welcomed at once, is paused for its own \
         whole time, and holds up nobody.",
        "One slow client must not set the pace for all.";
    who_leaves_while_paused_loses_nothing =
        "who-leaves-while-paused-loses-nothing":
        "A client that sends and leaves while it is paused is told as closed \
         after the pause, and every byte of it is in the file.",
        "Its FIN waits behind its bytes, and its kernel goes on without it.";
    keeps_what_came_before_a_reset = "keeps-what-came-before-a-reset":
        "What the kernel holds of a client that resets its connection while \
         it is paused goes to the file after the pause.",
        "Linux keeps it for a program that asks.";
    tells_a_reset_while_paused = "tells-a-reset-while-paused":
        "A client that resets its connection while it is paused is told as \
         closed with an error after the pause, and others are served on.",
        "Half a file must not pass for a whole one.";
    can_be_stopped_while_paused = "can-be-stopped-while-paused":
        "On SIGTERM, what the kernel has acknowledged to a paused client goes \
         to the file, then come our FIN and status 0. A client that sends on \
         and on does not keep it from ending.",
        "A client takes for delivered what the kernel has acknowledged.";
    a_bad_file_is_one_clear_line = "a-bad-file-is-one-clear-line":
        "A file that cannot be written is one line with the errno, a line of \
         help, and status 1, before anybody can connect.",
        "Found out after the first pause, it is too late for the client.";
    a_full_disk_is_one_clear_line = "a-full-disk-is-one-clear-line":
        "A write to the file that fails ends the program in order, with one \
         line with the errno, a line of help, and status 1.",
        "Bytes that nobody wrote down must not be lost in silence.";
}}

/// A pause that no check waits for.
const LONG: &str = "59m";

/// Pauses for checks that do something in one and then wait for its end. On a
/// machine so busy that it is over too soon, the next one is tried as well.
const PAUSES: [&str; 6] =
    ["200ms", "400ms", "800ms", "1600ms", "3200ms", "6400ms"];

/// More than both kernels hold for a program that does not read.
const TOO_MUCH: usize = 50_000_000;

fn random_bytes(script: &Script, n_bytes: usize) -> Vec<u8> {
    let seed = script.seed();
    script.step(format_args!("{n_bytes} bytes are made, CHECKS_SEED={seed}"));
    let mut random = fastrand::Rng::with_seed(seed);
    (0..n_bytes).map(|_| random.u8(..)).collect()
}

/// What the program has written to the file.
fn file(script: &Script) -> Vec<u8> {
    fs::read(script.home().join("msg.txt")).unwrap_or_default()
}

/// Waits until the file holds exactly this.
fn expect_file(script: &Script, expected: &[u8]) -> Result {
    script.step(format_args!("msg.txt holds these {} bytes", expected.len()));
    wait_for(|| (file(script) == expected).then_some(())).ok_or_else(|| {
        let seen = difference(expected, &file(script));
        Stop::broken(seen.unwrap_or_default())
    })
}

/// How many bytes the kernel holds for the program that came from `client`.
fn n_unread(server: &Subject, client: SocketAddr) -> Option<usize> {
    let end =
        kernel::tcp_connection_on(server.address(), client, &[]).ok()??;
    // The client's FIN is counted like a byte.
    let fin = usize::from(end.state == TcpState::CloseWait);
    Some((end.receive_queue as usize).saturating_sub(fin))
}

/// Waits until the kernel holds so many bytes of this client.
fn expect_unread(
    script: &Script,
    server: &Subject,
    client: &Peer,
    n_bytes: usize,
) -> Result {
    script.step(format_args!("the kernel holds {n_bytes} bytes of it"));
    let peer = client.address();
    let seen = || n_unread(server, peer);
    wait_for(|| (seen() == Some(n_bytes)).then_some(()))
        .ok_or_else(|| Stop::broken(format_args!("it holds {:?}", seen())))
}

fn has_resumed(server: &Subject, peer: SocketAddr) -> bool {
    server.story().contains(&format!("{peer} resumed"))
}

fn reads_nothing_while_paused(script: &Script) -> Result {
    let server = script.serve_with(&["--pause", LONG])?;
    let mut client = welcomed(script, &server, "a client")?;
    client.send(b"hello\n")?;
    expect_unread(script, &server, &client, 6)?;
    // The program is awake for each of these, and the bytes are there.
    for name in ["another", "a third"] {
        welcomed(script, &server, name)?;
    }
    client.send(b"still there?\n")?;
    expect_unread(script, &server, &client, 19)?;
    expect_file(script, b"")
}

/// A client that is paused, and sends without end until it must wait.
struct Flooded {
    server: Rc<Subject>,
    client: Peer,
    /// Ends at the latest with the program.
    sending: JoinHandle<io::Result<()>>,
    /// The program's memory before, in bytes.
    memory: u64,
}

fn flooded(script: &Script) -> Result<Flooded> {
    let server = script.serve_with(&["--pause", LONG])?;
    let mut client = welcomed(script, &server, "a client")?;
    let memory = memory(&server)?;
    let sending = client.send_meanwhile(vec![b'.'; TOO_MUCH])?;
    Ok(Flooded {
        server,
        client,
        sending,
        memory,
    })
}

fn memory(server: &Subject) -> Result<u64> {
    kernel::memory(server.pid())
        .ok_or_else(|| Stop::skipped("this system does not tell of memory"))
}

/// Waits until the window of the program's end is closed to the client, which
/// has more to send. Returns that end.
fn wait_for_closed_window(script: &Script, client: &Peer) -> Result<TcpSocket> {
    script.step("the window is closed, and the client's kernel probes it");
    wait_for(closed_window(client)).ok_or_else(|| {
        let ends = (client.other_end(), client.this_end());
        Stop::broken(format_args!("{ends:?}"))
    })
}

/// Looks whether the window of the program's end is closed to the client, which
/// has more to send: its own kernel probes for an open one (`persist` in ss).
/// A program that only reads slowly shows this for moments, so it must be so,
/// and nothing have moved, in two looks.
fn closed_window(client: &Peer) -> impl FnMut() -> Option<TcpSocket> {
    let mut last = None;
    move || {
        let theirs = client.other_end().ok()??;
        let ours = client.this_end().ok()??;
        let queues = (theirs.receive_queue, ours.send_queue);
        let is_still = last.replace(queues) == Some(queues);
        let (timer, _) = ours.timer?;
        let is_closed = timer == Timer::ZeroWindowProbe && ours.send_queue > 0;
        (is_closed && is_still).then_some(theirs)
    }
}

/// Waits until the client of a program that takes everything has sent it, and
/// that of another one must wait. Returns the program's end.
fn wait_until_it_waits_or_is_done(
    script: &Script,
    client: &Peer,
    sending: &JoinHandle<io::Result<()>>,
) -> Result<TcpSocket> {
    script.step("the client must wait, or has sent everything");
    let mut closed = closed_window(client);
    let over = || {
        let done = || sending.is_finished().then(|| client.other_end().ok()?);
        closed().or_else(|| done().flatten())
    };
    wait_for(over).ok_or_else(|| Stop::broken("it sends on and on"))
}

fn closes_the_window_while_paused(script: &Script) -> Result {
    let Flooded {
        server,
        client,
        sending,
        ..
    } = flooded(script)?;
    let theirs = wait_for_closed_window(script, &client)?;
    script.step("the kernel holds bytes for the program");
    ensure(theirs.receive_queue > 0, &theirs)?;
    // The program is awake for this one.
    welcomed(script, &server, "another")?;
    let later = wait_for_closed_window(script, &client)?;
    script.step("and it holds as many as before, while the client waits");
    ensure(later.receive_queue == theirs.receive_queue, &later)?;
    ensure(!sending.is_finished(), "it has sent everything")
}

fn its_memory_stays_flat(script: &Script) -> Result {
    /// Ample for what the runtime of Node takes on the way.
    const GROWTH: u64 = 8 << 20;

    let Flooded {
        server,
        client,
        sending,
        memory: before,
    } = flooded(script)?;
    // A program that takes everything is judged by what it has taken.
    wait_until_it_waits_or_is_done(script, &client, &sending)?;
    script.step("the memory of the program has not grown");
    let growth = memory(&server)?.saturating_sub(before);
    ensure(
        growth < GROWTH,
        format_args!("it has grown by {growth} bytes"),
    )
}

fn tells_what_the_kernel_holds(script: &Script) -> Result {
    let server = script.serve_with(&["--pause", LONG])?;
    let mut client = welcomed(script, &server, "a client")?;
    let peer = client.address();
    let told = |peer: SocketAddr, n_bytes: usize| {
        format!("{peer} paused, the kernel holds {n_bytes} bytes")
    };
    client.send(b"hello\n")?;
    server.expect_story(&told(peer, 6))?;
    // Between two looks at another client, the program looks at this one.
    let mut clock = welcomed(script, &server, "another")?;
    for n_bytes in [3, 6] {
        clock.send(b"hi\n")?;
        server.expect_story(&told(clock.address(), n_bytes))?;
    }
    client.send(b"and more\n")?;
    server.expect_story(&told(peer, 15))?;

    script.step("nothing else was told of it but its coming");
    let start = format!("{peer} ");
    let story = server.story();
    let lines: Vec<_> =
        story.iter().filter(|it| it.starts_with(&start)).collect();
    let expected = [
        &format!("{peer} connected, paused for {LONG}"),
        &told(peer, 6),
        &told(peer, 15),
    ];
    ensure(lines == expected, format_args!("{lines:#?}"))
}

fn resumes_when_the_pause_is_over(script: &Script) -> Result {
    const PAUSE: Duration = Duration::from_millis(300);

    let server = script.serve_with(&["--pause", "300ms"])?;
    let connecting = Instant::now();
    let mut client = welcomed(script, &server, "a client")?;
    client.send(b"hello\n")?;
    expect_file(script, b"hello\n")?;
    script.step(format_args!("not before {PAUSE:?} have passed"));
    let after = connecting.elapsed();
    ensure(after >= PAUSE, format_args!("it came at {after:?}"))?;
    client.send(b"and more\n")?;
    expect_file(script, b"hello\nand more\n")
}

fn every_byte_arrives_in_order(script: &Script) -> Result {
    let bytes = random_bytes(script, 12_000_000);
    let server = script.serve_with(&["--pause", "500ms"])?;
    let mut client = welcomed(script, &server, "a client")?;
    let peer = client.address();
    let sending = client.send_meanwhile(bytes.clone())?;
    script.step("the client can send everything");
    expect_sent(sending)?;
    client.half_close()?;
    client.expect_fin()?;
    expect_file(script, &bytes)?;
    expect_closed(&server, peer, bytes.len(), "")
}

fn each_client_has_its_own_pause(script: &Script) -> Result {
    const PAUSE: Duration = Duration::from_secs(1);

    let server = script.serve_with(&["--pause", LONG])?;
    let _early = welcomed(script, &server, "who comes early")?;
    welcomed(script, &server, "who comes late")?;

    let server = script.serve_with(&["--pause", "1s"])?;
    let mut early = welcomed(script, &server, "who comes early")?;
    early.send(b"early\n")?;
    observe(PAUSE / 2);
    let connecting = Instant::now();
    let mut late = welcomed(script, &server, "who comes late")?;
    late.send(b"late\n")?;
    expect_file(script, b"early\nlate\n")?;
    script.step(format_args!("not before {PAUSE:?} of its own have passed"));
    let after = connecting.elapsed();
    ensure(after >= PAUSE, format_args!("it came at {after:?}"))
}

/// Waits until the program has told how this client's connection ended.
fn expect_closed(
    server: &Subject,
    peer: SocketAddr,
    n_bytes: usize,
    how: &str,
) -> Result {
    server.expect_story(&format!("{peer} closed after {n_bytes} bytes{how}"))
}

const WITH_A_RESET: &str =
    " with an error: connection reset by peer (ECONNRESET)";

fn who_leaves_while_paused_loses_nothing(script: &Script) -> Result {
    // All of it in the program's kernel; most of it still in the client's.
    for n_bytes in [14, 1_000_000] {
        let bytes = random_bytes(script, n_bytes);
        leaves_while_paused(script, &bytes)?;
    }
    Ok(())
}

fn leaves_while_paused(script: &Script, bytes: &[u8]) -> Result {
    for pause in PAUSES {
        let server = script.serve_with(&["--pause", pause])?;
        let mut client = welcomed(script, &server, "a client")?;
        let peer = client.address();
        client.send(bytes)?;
        client.close();
        let is_in_time = !has_resumed(&server, peer);
        expect_closed(&server, peer, bytes.len(), "")?;
        expect_file(script, bytes)?;
        if is_in_time {
            break;
        }
    }
    Ok(())
}

/// A program whose paused client has sent `bytes`, and then a RST.
fn reset_while_paused(
    script: &Script,
    bytes: &[u8],
) -> Result<(Rc<Subject>, SocketAddr)> {
    let mut last = None;
    for pause in PAUSES {
        let server = script.serve_with(&["--pause", pause])?;
        let mut client = welcomed(script, &server, "a client")?;
        let peer = client.address();
        client.send(bytes)?;
        wait_until_acknowledged(script, &client)?;
        client.reset()?;
        let is_in_time = !has_resumed(&server, peer);
        last = Some((server, peer));
        if is_in_time {
            break;
        }
    }
    last.ok_or_else(|| Stop::broken("nothing was tried"))
}

/// Waits until all that the client has sent is in the kernel at the other end.
fn wait_until_acknowledged(script: &Script, client: &Peer) -> Result {
    script.step("all of it is acknowledged");
    let n_left = || Some(client.this_end().ok()??.send_queue);
    wait_for(|| (n_left() == Some(0)).then_some(()))
        .ok_or_else(|| Stop::broken(format_args!("not so {:?}", n_left())))
}

fn keeps_what_came_before_a_reset(script: &Script) -> Result {
    let bytes = random_bytes(script, 30_000);
    let (_server, _) = reset_while_paused(script, &bytes)?;
    expect_file(script, &bytes)
}

fn tells_a_reset_while_paused(script: &Script) -> Result {
    for bytes in [&b"hello\n"[..], b""] {
        let (server, peer) = reset_while_paused(script, bytes)?;
        expect_closed(&server, peer, bytes.len(), WITH_A_RESET)?;
        welcomed(script, &server, "the next client")?;
    }
    Ok(())
}

fn can_be_stopped_while_paused(script: &Script) -> Result {
    let server = script.serve_with(&["--pause", LONG])?;
    let mut client = welcomed(script, &server, "a client")?;
    let bytes = random_bytes(script, 30_000);
    client.send(&bytes)?;
    wait_until_acknowledged(script, &client)?;
    server.signal(Signal::Terminate)?;
    let (_, end) = client.read_to_end()?;
    ensure(end == End::Fin, "the connection was reset (RST)")?;
    server.expect_status(0)?;
    expect_file(script, &bytes)?;

    let Flooded {
        server,
        client,
        sending,
        ..
    } = flooded(script)?;
    let theirs = wait_until_it_waits_or_is_done(script, &client, &sending)?;
    server.signal(Signal::Terminate)?;
    server.expect_status(0)?;
    let n_bytes = file(script).len();
    script.step("the file holds at least what the kernel held");
    ensure(
        n_bytes >= theirs.receive_queue as usize,
        format_args!("it holds {n_bytes} bytes, the kernel held {theirs}"),
    )
}

fn a_full_disk_is_one_clear_line(script: &Script) -> Result {
    expect_full_disk_told(script, &["--pause", "1ms"])
}
