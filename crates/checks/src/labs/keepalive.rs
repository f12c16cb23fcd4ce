//! keepalive: lets the kernel find out whether a silent client is still there.

use std::time::{Duration, Instant};

use super::every_server::*;
use crate::kernel::{TcpSocket, TcpState, Timer};
use crate::outcome::{Result, Stop, ensure};
use crate::peer::Peer;
use crate::promise::lab;
use crate::script::Script;
use crate::subject::{Signal, Subject};
use crate::wait::wait_for;

every_server! { lab! {
    $ keepalive "keepalive" at ([127, 0, 0, 1], 8080), many &[];

    the_timer_has_the_delay = "the-timer-has-the-delay":
        "On a silent connection the kernel's timer for keepalive runs, with \
         the delay of `--initial-delay`, and 5 seconds if there is none.",
        "Nothing else shows it: a program whose option was forgotten looks the \
         same until a cable is cut.";
    off_means_no_timer = "off-means-no-timer":
        "With `--off` no timer runs on a silent connection.",
        "Keepalive is off unless somebody turns it on.";
    tells_what_the_kernel_has = "tells-what-the-kernel-has":
        "It tells the values that the kernel has for each connection, also \
         where they are not what was asked for.",
        "The kernel counts in whole seconds, and drops the rest in silence.";
    probes_a_silent_client = "probes-a-silent-client":
        "A client that is there and says nothing is probed, again and again, \
         and neither program notices.",
        "Silence is no reason to lose a connection.";
    waits_the_interval_between_probes = "waits-the-interval-between-probes":
        "After a probe without an answer it waits as long as `--interval` \
         says, and it tells that and the number of probes.",
        "The delay is before the first probe, and not between two of them.";
    gives_up_on_a_vanished_client = "gives-up-on-a-vanished-client":
        "When a client has vanished, it tells ETIMEDOUT after so many probes \
         as `--probes` says, and the connection is gone.",
        "A client without a cable sends no FIN, and would be there for ever.";
    off_never_gives_up = "off-never-gives-up":
        "With `--off` the connection of a vanished client stays as it is.",
        "That is what every connection does of which nobody asks anything.";
    each_connection_has_its_own = "each-connection-has-its-own":
        "A client that vanishes ends alone: the others are served on.",
        "One broken cable must not cost the others their connection.";
    tells_how_it_ended = "tells-how-it-ended":
        "A client that ends in order is told as closed, one that resets its \
         connection with ECONNRESET.",
        "Keepalive is for those who send neither: the others are known at \
         once.";
    unacknowledged_bytes_put_probes_off = "unacknowledged-bytes-put-probes-off":
        "While a vanished client owes us an acknowledgement, nothing is \
         probed: the bytes are sent again, and the connection lives on.",
        "Who relies on keepalive alone waits a quarter of an hour for this \
         client.";
    the_user_timeout_ends_that = "the-user-timeout-ends-that":
        "With `--user-timeout` such a connection ends when bytes were \
         unacknowledged for so long, with ETIMEDOUT.",
        "It is the limit that keepalive does not have.";
    less_than_a_second_is_misuse = "less-than-a-second-is-misuse":
        "A delay or an interval of less than a second is named, and the \
         status is 2.",
        "Node makes it 0, which the kernel refuses, and two hours of silence \
         stay.";
}}

fn expect_echo(client: &mut Peer) -> Result {
    client.send(b"still there?\n")?;
    client.expect(b"still there?\n")
}

/// The program's end of the connection, when the greeting is acknowledged and
/// so nothing is on its way.
fn silent_end(client: &Peer) -> Result<TcpSocket> {
    let end = wait_for(|| {
        let end = client.other_end().ok()??;
        let is_silent = end.send_queue == 0
            && end
                .timer
                .is_none_or(|(timer, _)| timer != Timer::Retransmit);
        is_silent.then_some(end)
    });
    end.ok_or_else(|| Stop::broken("bytes stay unacknowledged"))
}

/// Waits until a timer of keepalive runs on the connection with more than
/// `least` to go. It was set to `whole`, after `start`.
fn expect_timer(
    script: &Script,
    client: &Peer,
    least: Duration,
    (whole, start): (Duration, Instant),
) -> Result {
    /// The kernel counts in ticks, of a hundredth of a second at the most.
    const TICKS: Duration = Duration::from_millis(50);

    script.step(format_args!(
        "the timer of its connection is for keepalive, {whole:?} at first"
    ));
    let left = wait_for(|| match client.other_end() {
        Err(stop) => Some(Err(stop)),
        Ok(end) => {
            let (timer, left) = end?.timer?;
            let is_it = timer == Timer::KeepAlive && left > least;
            is_it.then_some(Ok(left))
        }
    });
    let left = left.unwrap_or_else(|| Err(Stop::broken("none runs")))?;
    ensure(
        left <= whole + TICKS && left + start.elapsed() + TICKS >= whole,
        format_args!("{left:?} are left"),
    )
}

/// How often the timer of the connection has run out since the client was
/// heard last; `None` when there is no such connection any more.
fn n_unanswered(client: &Peer) -> Result<Option<u8>> {
    Ok(client.other_end()?.map(|end| end.unanswered))
}

/// A client that is there and says nothing gets so many probes: segments, since
/// nothing is on its way to it.
fn expect_probes(script: &Script, client: &Peer, number: u32) -> Result {
    let n_segments = || match client.this_end()? {
        Some(end) => Ok(end.segments_in),
        None => Err(Stop::broken("the connection is gone")),
    };
    for number in 1..=number {
        script.step(format_args!("it gets probe {number}"));
        let before = n_segments()?;
        let probed = wait_for(|| match n_segments() {
            Ok(now) => (now > before).then_some(Ok(())),
            Err(stop) => Some(Err(stop)),
        });
        probed.unwrap_or_else(|| Err(Stop::broken("it gets nothing")))?;
    }
    Ok(())
}

fn timed_out(client: &Peer) -> String {
    let peer = client.address();
    format!("{peer} closed with an error: connection timed out (ETIMEDOUT)")
}

/// Waits for the probes that a vanished client does not answer, one after the
/// other, and for the end. Returns the most that were seen without an answer.
fn expect_given_up(
    script: &Script,
    server: &Subject,
    client: &Peer,
    probes: u8,
) -> Result<u8> {
    let end = timed_out(client);
    let is_told = || server.story().contains(&end);
    let mut most = 0;
    for number in 1..=probes {
        script.step(format_args!("probe {number} has no answer"));
        let waited = wait_for(|| {
            match n_unanswered(client) {
                Err(stop) => return Some(Err(stop)),
                Ok(seen) => most = most.max(seen.unwrap_or_default()),
            }
            // On a busy machine we may look too late to see it.
            (most >= number || is_told()).then_some(Ok(()))
        });
        waited.unwrap_or_else(|| {
            Err(Stop::broken(format_args!("{most} were sent")))
        })?;
    }
    server.expect_story(&end)?;
    Ok(most)
}

/// The client vanishes when bytes for it are on their way: what it has sent
/// last was acknowledged, and is answered when it is gone.
fn vanish_owing(server: &Subject, client: &mut Peer) -> Result {
    silent_end(client)?;
    server.signal(Signal::Stop)?;
    client.send(b"hello\n")?;
    client.vanish()?;
    server.signal(Signal::Continue)
}

/// Waits until bytes for the client are sent again, or it is connected no more.
fn are_sent_again(script: &Script, client: &Peer) -> Result<bool> {
    script.step("bytes for it are sent again and again");
    let again = wait_for(|| match client.other_end() {
        Err(stop) => Some(Err(stop)),
        Ok(None) => Some(Ok(false)),
        Ok(Some(end)) => {
            let is_it = end
                .timer
                .is_some_and(|(timer, _)| timer == Timer::Retransmit);
            (is_it && end.send_queue > 0).then_some(Ok(true))
        }
    });
    again.unwrap_or_else(|| Err(Stop::broken("they are not")))
}

fn the_timer_has_the_delay(script: &Script) -> Result {
    let delays: [(&[&str], u64); 3] = [
        (&["--initial-delay", "1000s"], 1000),
        (&["--initial-delay", "500m"], 500 * 60),
        (&[], 5),
    ];
    for (flags, delay) in delays {
        let server = script.serve_with(flags)?;
        let start = Instant::now();
        let client = welcomed(script, &server, "a client")?;
        let delay = Duration::from_secs(delay);
        expect_timer(script, &client, Duration::ZERO, (delay, start))?;
    }
    Ok(())
}

fn off_means_no_timer(script: &Script) -> Result {
    let server = script.serve_with(&["--off"])?;
    let client = welcomed(script, &server, "a client")?;
    let end = silent_end(&client)?;
    script.step("no timer runs for it");
    ensure(end.timer.is_none(), end)
}

fn tells_what_the_kernel_has(script: &Script) -> Result {
    let told: [(&[&str], &str); 3] = [
        (&[], "keepalive after 5s, every 1s, 10 probes"),
        (
            &["--initial-delay", "1900ms"],
            "keepalive after 1s, every 1s, 10 probes",
        ),
        (&["--off"], "no keepalive"),
    ];
    for (flags, values) in told {
        let server = script.serve_with(flags)?;
        let client = welcomed(script, &server, "a client")?;
        let peer = client.address();
        server.expect_story(&format!("{peer} connected: {values}"))?;
    }
    Ok(())
}

fn probes_a_silent_client(script: &Script) -> Result {
    let server = script.serve_with(&["--initial-delay", "1s"])?;
    let mut client = welcomed(script, &server, "who is silent")?;
    silent_end(&client)?;
    expect_probes(script, &client, 2)?;
    script.step("it has told nothing since the client connected");
    let told = server.story();
    ensure(told.len() <= 2, format_args!("it has told {told:?}"))?;
    ensure(server.stderr().is_empty(), server.stderr())?;
    expect_echo(&mut client)
}

fn waits_the_interval_between_probes(script: &Script) -> Result {
    // Below the delay it is the time to the first probe.
    let (delay, interval) = (Duration::from_secs(1), Duration::from_secs(1000));
    let server = script.serve_with(&[
        "--initial-delay",
        "1s",
        "--interval",
        "1000s",
        "--probes",
        "7",
    ])?;
    let start = Instant::now();
    let client = welcomed(script, &server, "a client")?;
    let peer = client.address();
    let values = "keepalive after 1s, every 1000s, 7 probes";
    server.expect_story(&format!("{peer} connected: {values}"))?;
    silent_end(&client)?;
    client.vanish()?;
    expect_timer(script, &client, delay, (interval, start))
}

/// Flags with which a vanished client is given up after so many probes, a
/// second each.
fn soon(probes: &str) -> [&str; 6] {
    [
        "--initial-delay",
        "1s",
        "--interval",
        "1s",
        "--probes",
        probes,
    ]
}

fn gives_up_on_a_vanished_client(script: &Script) -> Result {
    const PROBES: u8 = 2;
    const TRIES: usize = 3;

    let server = script.serve_with(&soon("2"))?;
    let mut most = 0;
    for _ in 0..TRIES {
        let client = welcomed(script, &server, "a client")?;
        silent_end(&client)?;
        client.vanish()?;
        most = expect_given_up(script, &server, &client, PROBES)?;
        script.step("its connection is gone");
        let end = client.other_end()?;
        ensure(end.is_none(), format_args!("it is {end:?}"))?;
        if most == PROBES {
            return Ok(());
        }
        script.step("not all probes were seen; once more");
    }
    Err(Stop::broken(format_args!("it gave up after {most} probes")))
}

fn off_never_gives_up(script: &Script) -> Result {
    let off = script.serve_with(&["--initial-delay", "1s", "--off"])?;
    let client = welcomed(script, &off, "who vanishes")?;
    silent_end(&client)?;
    client.vanish()?;

    let server = script.serve_with(&["--initial-delay", "1s"])?;
    let clock = welcomed(script, &server, "a client of another")?;
    silent_end(&clock)?;
    expect_probes(script, &clock, 3)?;

    script.step("meanwhile nobody has asked who vanished");
    let end = client
        .other_end()?
        .ok_or_else(|| Stop::broken("it is gone"))?;
    let is_quiet = end.state == TcpState::Established && end.timer.is_none();
    ensure(is_quiet, end)?;
    let told = off.story();
    ensure(told.len() <= 2, format_args!("it has told {told:?}"))
}

fn each_connection_has_its_own(script: &Script) -> Result {
    let server = script.serve_with(&soon("1"))?;
    let mut stays = welcomed(script, &server, "who stays")?;
    let vanishes = welcomed(script, &server, "who vanishes")?;
    let mut comes = welcomed(script, &server, "who comes later")?;
    silent_end(&vanishes)?;
    vanishes.vanish()?;
    expect_given_up(script, &server, &vanishes, 1)?;
    expect_echo(&mut stays)?;
    expect_echo(&mut comes)
}

fn tells_how_it_ended(script: &Script) -> Result {
    let server = script.serve()?;
    let mut client = welcomed(script, &server, "a client")?;
    let peer = client.address();
    client.half_close()?;
    client.expect_fin()?;
    server.expect_story(&format!("{peer} closed"))?;

    let client = welcomed(script, &server, "another")?;
    let peer = client.address();
    client.reset()?;
    let error = "connection reset by peer (ECONNRESET)";
    server.expect_story(&format!("{peer} closed with an error: {error}"))
}

fn unacknowledged_bytes_put_probes_off(script: &Script) -> Result {
    const TRIES: usize = 3;

    let server = script.serve_with(&soon("1"))?;
    for _ in 0..TRIES {
        let mut owing = welcomed(script, &server, "who vanishes first")?;
        let mut silent = welcomed(script, &server, "who vanishes later")?;
        vanish_owing(&server, &mut owing)?;
        if !are_sent_again(script, &owing)? {
            script.step("it was given up before it was answered; once more");
            continue;
        }
        expect_echo(&mut silent)?;
        silent_end(&silent)?;
        silent.vanish()?;
        expect_given_up(script, &server, &silent, 1)?;

        script.step("who vanished first is still connected");
        let told = server.story().contains(&timed_out(&owing));
        ensure(!told, "it was given up")?;
        // A program that is gone leaves its unacknowledged bytes to the kernel.
        welcomed(script, &server, "who comes later")?;
        let state = owing.other_end()?.map(|end| end.state);
        return ensure(
            state == Some(TcpState::Established),
            format_args!("its connection is {state:?}"),
        );
    }
    Err(Stop::broken("it is given up each time"))
}

fn the_user_timeout_ends_that(script: &Script) -> Result {
    let server = script.serve_with(&["--user-timeout", "500ms"])?;
    let mut client = welcomed(script, &server, "a client")?;
    let peer = client.address();
    let values = "keepalive after 5s, every 1s, 10 probes, user timeout 500ms";
    server.expect_story(&format!("{peer} connected: {values}"))?;
    vanish_owing(&server, &mut client)?;
    server.expect_story(&timed_out(&client))
}

fn less_than_a_second_is_misuse(script: &Script) -> Result {
    for (flag, value) in [
        ("--initial-delay", "999ms"),
        ("--initial-delay", "0s"),
        ("--interval", "500ms"),
    ] {
        let failed = script.start(&["--listen", "127.0.0.1:0", flag, value])?;
        failed.expect_status(2)?;
        let stderr = failed.stderr();
        let first = stderr.lines().next().unwrap_or_default();
        script.step(format_args!("its first line is about {flag}"));
        let is_clear = first.starts_with("error: ") && first.contains(flag);
        ensure(is_clear, format_args!("it is {first:?}"))?;
        ensure(failed.stdout().is_empty(), "it had listened already")?;
    }
    Ok(())
}
