//! timeout: notices a silent connection, and does something about it.

use std::fs;
use std::io;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::every_server::*;
use super::output_file::{a_bad_file_is_one_clear_line, expect_full_disk_told};
use crate::bytes::difference;
use crate::kernel::TcpState;
use crate::outcome::{Result, Stop, ensure};
use crate::peer::{End, Peer, expect_sent};
use crate::promise::lab;
use crate::script::Script;
use crate::subject::Subject;
use crate::wait::{observe, wait_for};

every_server! { lab! {
    $ timeout "timeout" at ([127, 0, 0, 1], 8080), many &["--then", "nothing"];

    fires_once_per_idle_period = "fires-once-per-idle-period":
        "A connection on which nothing happens is told once, and again only \
         after something has happened.",
        "A server that says it again and again buries the rest of its story.";
    activity_puts_it_off = "activity-puts-it-off":
        "What a client sends gives it the whole time again.",
        "A limit on silence is not a limit on the length of a conversation.";
    a_read_alone_is_activity = "a-read-alone-is-activity":
        "A read counts, even if nothing is written.",
        "Who uploads a large file is not idle.";
    a_write_alone_is_activity = "a-write-alone-is-activity":
        "A write counts, even if nothing is read.",
        "Who downloads a large file is not idle.";
    each_connection_has_its_own = "each-connection-has-its-own":
        "A client that is never silent does not hide one that is.",
        "One clock for all would see no idle client on a busy server.";
    closes_nothing_by_itself = "closes-nothing-by-itself":
        "With `--then nothing` an idle connection stays open, and is served \
         on.",
        "`'timeout'` is only an event: who wants an end must make one.";
    zero_never_fires = "zero-never-fires":
        "With `--idle 0` no silence is told.",
        "In Node, `setTimeout(0)` takes the limit away.";
    reads_nothing_before = "reads-nothing-before":
        "With `--then pipe`, what a client sends before the timeout stays in \
         the kernel, and the file stays empty.",
        "The notes pause the socket: the kernel keeps what nobody reads.";
    pipes_byte_for_byte = "pipes-byte-for-byte":
        "At the timeout all that the kernel kept goes to the file, and after \
         it all that comes, byte for byte.",
        "Nothing is lost by waiting.";
    writes_nothing_twice = "writes-nothing-twice":
        "Later timeouts change nothing: each byte goes to the file once.",
        "In the notes each timeout pipes again, and so each chunk is written \
         as often as there were timeouts.";
    end_sends_what_is_owed = "end-sends-what-is-owed":
        "With `--then end` an idle client gets all that was echoed for it, \
         and then the end of the stream.",
        "A client that reads slowly must not lose its answers.";
    destroy_waits_for_nobody = "destroy-waits-for-nobody":
        "With `--then destroy` the connection of an idle client is gone, \
         whether it has read what it is owed or not.",
        "A client that never reads must not keep its socket for ever.";
    a_bad_file_is_one_clear_line = "a-bad-file-is-one-clear-line":
        "A file that cannot be written is one line with the errno, a line of \
         help, and status 1, before anybody can connect.",
        "Found out at the first timeout, it is too late for the client.";
    a_full_disk_is_one_clear_line = "a-full-disk-is-one-clear-line":
        "A write to the file that fails ends the program in order, with one \
         line with the errno, a line of help, and status 1.",
        "Bytes that nobody wrote down must not be lost in silence.";
}}

/// Long enough for a few exchanges in between, short enough to wait for.
const SHORT: &str = "200ms";

/// More than both sides and the kernel between them hold for a client that
/// does not read.
const TOO_MUCH: usize = 16 << 20;

fn serve(script: &Script, idle: &str, then: &str) -> Result<Rc<Subject>> {
    script.serve_with(&["--idle", idle, "--then", then])
}

fn expect_echo(client: &mut Peer) -> Result {
    client.send(b"hello\n")?;
    client.expect(b"hello\n")
}

/// How often the program has told that this client is idle.
fn times_idle(server: &Subject, client: &Peer) -> usize {
    let start = format!("{} idle for ", client.address());
    let story = server.story();
    story.iter().filter(|line| line.starts_with(&start)).count()
}

/// Waits until that has been told so many times.
fn expect_idle(
    script: &Script,
    server: &Subject,
    client: &Peer,
    times: usize,
) -> Result {
    let peer = client.address();
    script.step(format_args!("{peer} is idle, told {times} times by then"));
    let told = || (times_idle(server, client) >= times).then_some(());
    wait_for(told).ok_or_else(|| {
        let told = times_idle(server, client);
        Stop::broken(format_args!("it was told {told} times"))
    })
}

fn ensure_idle(server: &Subject, client: &Peer, times: usize) -> Result {
    let told = times_idle(server, client);
    ensure(
        told == times,
        format_args!(
            "{} was idle {times} times, and it was told {told} times",
            client.address()
        ),
    )
}

fn fires_once_per_idle_period(script: &Script) -> Result {
    let server = serve(script, SHORT, "nothing")?;
    let mut silent = welcomed(script, &server, "who is silent")?;
    expect_idle(script, &server, &silent, 1)?;
    // Its second period begins later than the first one's end, so two periods
    // of this client are more than two of that one.
    let mut clock = welcomed(script, &server, "another")?;
    for times in 1..=2 {
        expect_idle(script, &server, &clock, times)?;
        expect_echo(&mut clock)?;
    }
    expect_idle(script, &server, &clock, 3)?;
    ensure_idle(&server, &silent, 1)?;

    expect_echo(&mut silent)?;
    expect_idle(script, &server, &silent, 2)?;
    for times in 4..=5 {
        expect_echo(&mut clock)?;
        expect_idle(script, &server, &clock, times)?;
    }
    ensure_idle(&server, &silent, 2)
}

fn activity_puts_it_off(script: &Script) -> Result {
    // The order of two timeouts, not their time. On a machine so busy that the
    // first comes before our bytes do, the limit was too short: take a longer.
    for idle in ["200ms", "400ms", "800ms", "1600ms", "3200ms"] {
        let server = serve(script, idle, "nothing")?;
        let mut talks = welcomed(script, &server, "who talks")?;
        let silent = welcomed(script, &server, "who is silent")?;
        // So that the two timeouts cannot fall into the same millisecond.
        observe(Duration::from_millis(20));
        talks.send(b"hello\n")?;
        expect_idle(script, &server, &talks, 1)?;
        expect_idle(script, &server, &silent, 1)?;

        let story = server.story();
        let place = |line: String| {
            story.iter().position(|told| told.starts_with(&line))
        };
        let (talks, silent) = (talks.address(), silent.address());
        let read = place(format!("read 6 bytes from {talks}"));
        let first = place(format!("{talks} idle for "));
        let second = place(format!("{silent} idle for "));
        if read.is_none() || read > first {
            script.step("that was too slow to tell; once more");
            continue;
        }
        script.step("who talked later is idle later");
        return ensure(second < first, "it was idle first");
    }
    Err(Stop::skipped("this machine is too busy to tell"))
}

fn a_read_alone_is_activity(script: &Script) -> Result {
    let server = serve(script, SHORT, "pipe")?;
    let mut client = welcomed(script, &server, "a client")?;
    // From the first timeout on the program reads, and never writes.
    for times in 1..=3 {
        expect_idle(script, &server, &client, times)?;
        client.send(b"hello\n")?;
    }
    expect_idle(script, &server, &client, 4)
}

fn a_write_alone_is_activity(script: &Script) -> Result {
    let server = serve(script, SHORT, "nothing")?;
    let mut client = script.connect_tiny(&server, "who reads late")?;
    client.expect_exact_line("welcome")?;
    let sent = fill_the_way_back(&server, &mut client)?;
    let times = times_idle(&server, &client);

    script.step("nothing is left to read from it, only to write to it");
    client.widen()?;
    client.expect(&vec![b'.'; sent])?;
    expect_idle(script, &server, &client, times + 1)?;
    // And not one byte came that it had not sent.
    expect_echo(&mut client)
}

/// How much is sent to a program at once, which reads more than that.
const STEP: usize = 16 * 1024;

/// Sends until the program holds bytes that it has read and cannot write, while
/// none is left for it to read. Returns how many were sent.
fn fill_the_way_back(server: &Subject, client: &mut Peer) -> Result<usize> {
    let mut sent = 0;
    while sent < TOO_MUCH {
        client.send(&[b'.'; STEP])?;
        client.wait_until_read()?;
        sent += STEP;
        // The kernel gets all of it, or what it has no room for stays in the
        // program, and the client is idle after the last read.
        let is_stuck = wait_for(|| match n_waiting(client) {
            Err(stop) => Some(Err(stop)),
            Ok(n_bytes) if n_bytes >= sent => Some(Ok(false)),
            Ok(_) => {
                let is_idle = is_idle_after(server, client, sent);
                is_idle.then_some(Ok(true))
            }
        });
        let is_stuck = is_stuck.unwrap_or_else(|| {
            Err(Stop::broken("it neither writes nor tells that it is idle"))
        })?;
        if is_stuck && n_waiting(client)? < sent {
            return Ok(sent);
        }
    }
    Err(Stop::broken(format_args!("{sent} bytes went there")))
}

/// How many bytes the kernel holds on their way to the client.
fn n_waiting(client: &Peer) -> Result<usize> {
    let unread = client.this_end()?.map_or(0, |end| end.receive_queue);
    let unsent = client.other_end()?.map_or(0, |end| end.send_queue);
    Ok(unread as usize + unsent as usize)
}

fn each_connection_has_its_own(script: &Script) -> Result {
    let server = serve(script, "1s", "nothing")?;
    let mut talks = welcomed(script, &server, "who talks")?;
    let silent = welcomed(script, &server, "who is silent")?;
    script.step("who talks goes on until the other is idle");
    let told = wait_for(|| {
        if let Err(stop) = talks.send(b"hello\n") {
            return Some(Err(stop));
        }
        (times_idle(&server, &silent) > 0).then_some(Ok(()))
    });
    told.unwrap_or_else(|| Err(Stop::broken("the other never is")))
}

fn closes_nothing_by_itself(script: &Script) -> Result {
    let server = serve(script, SHORT, "nothing")?;
    let mut client = welcomed(script, &server, "a client")?;
    for times in 1..=2 {
        expect_idle(script, &server, &client, times)?;
        script.step("its connection is established");
        let state = client.other_end()?.map(|socket| socket.state);
        ensure(
            state == Some(TcpState::Established),
            format_args!("it is {state:?}"),
        )?;
        expect_echo(&mut client)?;
    }
    Ok(())
}

fn zero_never_fires(script: &Script) -> Result {
    let never = serve(script, "0", "nothing")?;
    let mut client = welcomed(script, &never, "who is silent")?;
    let server = serve(script, SHORT, "nothing")?;
    let mut clock = welcomed(script, &server, "a client of another")?;
    for times in 1..=3 {
        expect_idle(script, &server, &clock, times)?;
        expect_echo(&mut clock)?;
    }
    ensure_idle(&never, &client, 0)?;
    expect_echo(&mut client)
}

fn reads_nothing_before(script: &Script) -> Result {
    let server = serve(script, "10m", "pipe")?;
    let mut client = welcomed(script, &server, "a client")?;
    client.send(b"hello\n")?;
    script.step("the kernel holds what it sent");
    let n_unread = || Some(client.other_end().ok()??.receive_queue);
    wait_for(|| (n_unread()? == 6).then_some(()))
        .ok_or_else(|| Stop::broken(format_args!("{:?}", n_unread())))?;
    // The program is awake for each of these, and the bytes are there.
    for name in ["another", "a third"] {
        welcomed(script, &server, name)?;
    }
    script.step("the kernel still holds it");
    ensure(
        n_unread() == Some(6),
        format_args!("it holds {:?}", n_unread()),
    )?;
    expect_file(script, b"")
}

/// Waits until the file holds exactly this.
fn expect_file(script: &Script, expected: &[u8]) -> Result {
    let path = script.home().join("msg.txt");
    script.step(format_args!("msg.txt holds {} bytes", expected.len()));
    let seen = || fs::read(&path).unwrap_or_default();
    wait_for(|| (seen() == expected).then_some(())).ok_or_else(|| {
        Stop::broken(difference(expected, &seen()).unwrap_or_default())
    })
}

fn pipes_byte_for_byte(script: &Script) -> Result {
    let mut random = fastrand::Rng::with_seed(script.seed());
    let mut bytes: Vec<u8> = (0..100_000).map(|_| random.u8(..)).collect();

    let server = serve(script, SHORT, "pipe")?;
    let mut client = welcomed(script, &server, "a client")?;
    client.send(&bytes)?;
    expect_idle(script, &server, &client, 1)?;
    expect_file(script, &bytes)?;
    client.send(b"and more")?;
    client.half_close()?;
    client.expect_fin()?;
    bytes.extend(b"and more");
    expect_file(script, &bytes)
}

fn writes_nothing_twice(script: &Script) -> Result {
    let server = serve(script, SHORT, "pipe")?;
    let mut client = welcomed(script, &server, "a client")?;
    let mut times = 0;
    for letter in ["A", "B", "C"] {
        client.send(letter.as_bytes())?;
        times += 1;
        expect_idle(script, &server, &client, times)?;
    }
    client.half_close()?;
    client.expect_fin()?;
    expect_file(script, b"ABC")
}

/// A client that sends without end and reads nothing, when it is idle: the
/// program holds bytes that it has read and cannot write.
struct Stalled {
    server: Rc<Subject>,
    client: Peer,
    sending: JoinHandle<io::Result<()>>,
    /// How many bytes the program has read from it.
    owed: usize,
}

fn stalled(script: &Script, then: &str) -> Result<Stalled> {
    // On a busy machine it may be idle before the way to it is full. Then the
    // limit was too short: take a longer.
    for idle in ["200ms", "400ms", "800ms", "1600ms", "3200ms"] {
        let server = serve(script, idle, then)?;
        let mut client = script.connect_tiny(&server, "who does not read")?;
        client.expect_exact_line("welcome")?;
        let sending = client.send_meanwhile(vec![b'.'; TOO_MUCH])?;
        expect_idle(script, &server, &client, 1)?;
        let owed = n_read_before_idle(&server, &client);
        if n_waiting(&client)? < owed {
            return Ok(Stalled {
                server,
                client,
                sending,
                owed,
            });
        }
        script.step("that was too early; once more");
    }
    Err(Stop::skipped("this machine is too busy to tell"))
}

fn n_read_before_idle(server: &Subject, client: &Peer) -> usize {
    let idle = format!("{} idle for ", client.address());
    let story = server.story();
    n_read(
        story.iter().take_while(|line| !line.starts_with(&idle)),
        client,
    )
}

/// Whether the last thing told of the client is that it is idle, and all that
/// it has sent was read before.
fn is_idle_after(server: &Subject, client: &Peer, sent: usize) -> bool {
    let idle = format!("{} idle for ", client.address());
    let story = server.story();
    let last = story.last();
    last.is_some_and(|line| line.starts_with(&idle))
        && n_read(story.iter(), client) == sent
}

/// How many bytes were read from the client, by these lines of the story.
fn n_read<'a>(story: impl Iterator<Item = &'a String>, client: &Peer) -> usize {
    let read = format!(" bytes from {}", client.address());
    let sizes = story.filter_map(|line| {
        let size = line.strip_suffix(&read)?.strip_prefix("read ")?;
        size.parse::<usize>().ok()
    });
    sizes.sum()
}

fn end_sends_what_is_owed(script: &Script) -> Result {
    let Stalled {
        server: _server,
        mut client,
        sending,
        owed,
    } = stalled(script, "end")?;
    client.widen()?;
    let (received, end) = client.read_to_end()?;
    script.step(format_args!("that was {owed} bytes, and then the end"));
    ensure(
        received.len() == owed && end == End::Fin,
        format_args!("it was {} bytes, then {end:?}", received.len()),
    )?;
    script.step("what it sent meanwhile was read as well");
    expect_sent(sending)
}

fn destroy_waits_for_nobody(script: &Script) -> Result {
    let Stalled { server, client, .. } = stalled(script, "destroy")?;
    script.step("it has read nothing, and the program has no connection");
    let gone = || match server.sockets() {
        Err(stop) => Some(Err(stop)),
        Ok(sockets) => sockets
            .iter()
            .all(|socket| socket.state == TcpState::Listen)
            .then_some(Ok(())),
    };
    wait_for(gone)
        .unwrap_or_else(|| Err(Stop::broken("it keeps the connection")))?;
    drop(client);

    let mut silent = welcomed(script, &server, "who is silent")?;
    silent.expect_fin()
}

fn a_full_disk_is_one_clear_line(script: &Script) -> Result {
    expect_full_disk_told(script, &["--idle", SHORT])
}
