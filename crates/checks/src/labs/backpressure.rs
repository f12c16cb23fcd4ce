//! backpressure: writes faster than its client reads, and waits when told to.

use std::fs;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::LazyLock;

use super::command_line::expect_error;
use super::every_server::*;
use crate::bytes::difference;
use crate::kernel::{self, TcpSocket, Timer};
use crate::outcome::{Result, Stop, ensure};
use crate::peer::{End, Peer, expect_sent};
use crate::promise::lab;
use crate::script::Script;
use crate::subject::{Signal, Subject};
use crate::wait::wait_for;

every_server! { lab! {
    $ backpressure "backpressure" at ([127, 0, 0, 1], 8080),
        many &["--size", "0B"];

    sends_the_file_exactly = "sends-the-file-exactly":
        "Each client gets a line with the size of the file, every byte of the \
         file, and the end of the stream.",
        "Bytes are lost or doubled where a queue is filled and emptied.";
    makes_up_as_many_bytes_as_asked = "makes-up-as-many-bytes-as-asked":
        "With `--size` it sends so many bytes, in lines that are numbered.",
        "One can see how far the reader has come, and that nothing is missing.";
    a_file_it_cannot_read_is_one_clear_line =
        "a-file-it-cannot-read-is-one-clear-line":
        "A file that is not there, or is a directory, is one line with its \
         name and the errno, and status 1, before anybody can connect.",
        "The one who started it can correct that. A client cannot.";
    tells_of_a_file_cut_short = "tells-of-a-file-cut-short":
        "When the file has become shorter than announced, that is told as an \
         error, and the client can tell by the size.",
        "The end of the stream alone does not say that all has come.";
    tells_each_write = "tells-each-write":
        "The story of a connection: each write, what it answered, how much \
         waits, how much was written, then `finish` and `closed`. Writes that \
         left nothing waiting share a line.",
        "These are the numbers that the notes print, and what they mean shows.";
    answers_by_what_waits = "answers-by-what-waits":
        "A write answers `false` when as much as `--high-water-mark` waits, or \
         more, and `true` when less does.",
        "The answer is about the queue in memory. Whether the client got \
         anything, nobody here knows.";
    waits_when_told_to = "waits-when-told-to":
        "After `false` nothing is written until the drain, so no more ever \
         waits than the mark and one chunk.",
        "The answer is advice. Who ignores it fills the memory.";
    counts_every_byte_that_waits = "counts-every-byte-that-waits":
        "Written less waiting is what the kernel has taken, to the byte.",
        "A queue whose count is wrong says \"go on\" too long, or \"wait\" for \
         ever.";
    drains_once_per_full_queue = "drains-once-per-full-queue":
        "Each `false` is followed by one drain, when nothing waits any more; \
         without a `false` there is none.",
        "Who waits for a drain that is never told waits for ever.";
    keeps_memory_flat = "keeps-memory-flat":
        "Offered to a reader that does not read, 50 MB cost no memory to \
         speak of.",
        "A thousand slow readers would cost a thousand times that.";
    the_kernel_shows_why_it_waits = "the-kernel-shows-why-it-waits":
        "Meanwhile the kernel shows both queues full, of the server's bytes \
         not sent and of the client's not read, and a timer that probes a \
         closed window.",
        "Only after the kernel has no room does anything wait in the program.";
    waits_without_using_the_processor = "waits-without-using-the-processor":
        "As long as the reader does not read, it does nothing at all.",
        "To ask again and again is not to wait.";
    a_stalled_reader_stalls_only_itself =
        "a-stalled-reader-stalls-only-itself":
        "While one reader stands still, another gets all.",
        "Each connection has a queue of its own, and its own wait.";
    a_small_send_buffer_fills_soon = "a-small-send-buffer-fills-soon":
        "With `--send-buffer 4KiB` the kernel takes no more than 128 KiB.",
        "So one can watch with little data what otherwise takes megabytes.";
    serves_a_half_closed_client = "serves-a-half-closed-client":
        "A client that ends its direction first still gets all.",
        "`nc -N` does that. In Node it cuts the file short, unless \
         `allowHalfOpen` is set.";
    reads_and_drops_what_comes = "reads-and-drops-what-comes":
        "What a client sends is read and dropped, also while its reading \
         stands still.",
        "Left unread, it would become a reset at the end, which destroys what \
         is still on its way.";
    tells_a_reset_as_an_error = "tells-a-reset-as-an-error":
        "A reader that goes away in the middle is told as closed with an \
         error, ECONNRESET, and the next client is served.",
        "Pressing `q` in `less` does that.";
    ends_while_a_reader_stalls = "ends-while-a-reader-stalls":
        "On SIGTERM it does not wait for a reader that stands still; that one \
         gets what the kernel had, and the end of the stream.",
        "A reader that never comes back must not keep us from ending.";
}}

/// More than all buffers on the way hold.
const TOO_MUCH: usize = 8_000_000;

/// A client has come, and knows how much it will get.
fn promised(mut client: Peer, n_bytes: usize) -> Result<Peer> {
    let line = format!("welcome, {n_bytes} bytes follow");
    client.expect_exact_line(&line)?;
    Ok(client)
}

/// A server that offers more than anybody takes unread, and a client that does
/// not read.
fn stall(script: &Script, flags: &[&str]) -> Result<(Rc<Subject>, Peer)> {
    let server = offer_too_much(script, flags)?;
    let reader = stalled(script, &server, TOO_MUCH)?;
    Ok((server, reader))
}

/// A file costs the program little: on a busy machine that is the difference.
fn offer_too_much(script: &Script, flags: &[&str]) -> Result<Rc<Subject>> {
    fs::write(script.home().join("too-much"), made_up(TOO_MUCH))?;
    script.serve_with(&[&["--file", "too-much"], flags].concat())
}

fn stalled(script: &Script, server: &Subject, offered: usize) -> Result<Peer> {
    let reader = script.connect_tiny(server, "who does not read")?;
    let reader = promised(reader, offered)?;
    wait_until_stalled(script, server, &reader)?;
    Ok(reader)
}

/// Waits until the way to the reader is full to the window, and the program
/// writes no more. Returns the program's end of the connection.
fn wait_until_stalled(
    script: &Script,
    server: &Subject,
    reader: &Peer,
) -> Result<TcpSocket> {
    script.step("the kernel probes the closed window, and all stands still");
    let mut last = None;
    let stands_still = || {
        let end = reader.other_end().ok()??;
        let now = (end.send_queue, server.stdout().len());
        let is_still = last.replace(now) == Some(now);
        let probes = matches!(end.timer, Some((Timer::ZeroWindowProbe, _)));
        let waits = || told(server, reader).ends_with(&[Told::Full]);
        (is_still && probes && waits()).then_some(end)
    };
    wait_for(stands_still)
        .ok_or_else(|| Stop::broken("it does not come to that"))
}

/// What the story says of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Connected,
    /// A write that answered `true`.
    Room,
    /// A write that answered `false`.
    Full,
    Drain,
    Finish,
    Closed,
}

/// A write as the story tells it, or several that left nothing waiting.
#[derive(Debug)]
struct Write {
    numbers: RangeInclusive<usize>,
    goes_on: bool,
    waiting: usize,
    written: usize,
}

/// Reads `write 3 returned true, 4 bytes waiting, 5 written`.
fn write(line: &str) -> Option<Write> {
    let (which, rest) = line.split_once(" returned ")?;
    let (goes_on, rest) = rest.split_once(", ")?;
    let (waiting, written) = rest.split_once(" bytes waiting, ")?;
    let numbers = match which.strip_prefix("writes ") {
        Some(numbers) => numbers.split_once(" to ")?,
        None => (which.strip_prefix("write ")?, &which[6..]),
    };
    Some(Write {
        numbers: numbers.0.parse().ok()?..=numbers.1.parse().ok()?,
        goes_on: goes_on.parse().ok()?,
        waiting: waiting.parse().ok()?,
        written: written.strip_suffix(" written")?.parse().ok()?,
    })
}

/// The lines of the story that are about this client, without its address.
fn lines(server: &Subject, client: &Peer) -> Vec<String> {
    let address = format!("{} ", client.address());
    let story = server.story();
    let of_client = story.iter().filter_map(|it| it.strip_prefix(&address));
    of_client.map(str::to_owned).collect()
}

fn writes(server: &Subject, client: &Peer) -> Vec<Write> {
    let lines = lines(server, client);
    lines.iter().filter_map(|line| write(line)).collect()
}

fn told(server: &Subject, client: &Peer) -> Vec<Told> {
    let kind = |line: &String| match line.as_str() {
        "connected" => Some(Told::Connected),
        "drain" => Some(Told::Drain),
        "closed" => Some(Told::Closed),
        _ if line.starts_with("finish, ") => Some(Told::Finish),
        _ => write(line).map(|write| match write.goes_on {
            true => Told::Room,
            false => Told::Full,
        }),
    };
    lines(server, client).iter().filter_map(kind).collect()
}

/// Reads to the end, and demands exactly these bytes and a FIN.
fn expect_all(client: &mut Peer, bytes: &[u8]) -> Result {
    client.widen()?;
    let (received, end) = client.read_to_end()?;
    // To find the difference takes long; that there is none shows at once.
    if received != bytes {
        let difference = difference(bytes, &received);
        return Err(Stop::broken(difference.unwrap_or_default()));
    }
    ensure(end == End::Fin, "the connection was reset (RST)")
}

/// The story of the sending is complete: its last line is told after the FIN.
fn wait_until_finished(
    script: &Script,
    server: &Subject,
    client: &Peer,
) -> Result {
    script.step("the program tells that it has finished");
    let has_finished =
        || told(server, client).contains(&Told::Finish).then_some(());
    wait_for(has_finished).ok_or_else(|| Stop::broken("it does not tell it"))
}

/// The first bytes of those that are made up.
fn made_up(n_bytes: usize) -> &'static [u8] {
    static ALL: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let lines = 1..=TOO_MUCH / 16;
        lines
            .flat_map(|line| format!("{line:>15}\n").into_bytes())
            .collect()
    });
    &ALL[..n_bytes]
}

fn random_file(script: &Script, name: &str, n_bytes: usize) -> Result<Vec<u8>> {
    script.step(format_args!("{name} holds {n_bytes} random bytes"));
    let mut random = fastrand::Rng::with_seed(script.seed());
    let mut bytes = vec![0; n_bytes];
    random.fill(&mut bytes);
    fs::write(script.home().join(name), &bytes)?;
    Ok(bytes)
}

fn sends_the_file_exactly(script: &Script) -> Result {
    for n_bytes in [0, 1, 100_001] {
        let bytes = random_file(script, "small", n_bytes)?;
        let server = script.serve_with(&["--file", "small"])?;
        for name in ["a client", "another"] {
            let client = script.connect(&server, name)?;
            expect_all(&mut promised(client, n_bytes)?, &bytes)?;
        }
    }
    let bytes = random_file(script, "large", TOO_MUCH)?;
    let flags = ["--file", "large", "--high-water-mark", "40KB"];
    let server = script.serve_with(&flags)?;
    let mut reader = stalled(script, &server, TOO_MUCH)?;
    expect_all(&mut reader, &bytes)
}

fn makes_up_as_many_bytes_as_asked(script: &Script) -> Result {
    for (size, n_bytes) in [("0B", 0), ("1B", 1), ("100KB", 100_000)] {
        let server = script.serve_with(&["--size", size])?;
        let client = script.connect(&server, "a client")?;
        expect_all(&mut promised(client, n_bytes)?, made_up(n_bytes))?;
    }
    let server = script.serve_with(&["--size", "4KiB", "--chunk", "7B"])?;
    let client = script.connect(&server, "a client")?;
    expect_all(&mut promised(client, 4096)?, made_up(4096))
}

fn a_file_it_cannot_read_is_one_clear_line(script: &Script) -> Result {
    fs::create_dir(script.home().join("folder"))?;
    for (path, code) in [("nosuch.txt", "(ENOENT)"), ("folder", "(EISDIR)")] {
        let flags = ["--file", path, "--listen", "127.0.0.1:0"];
        let failed = script.start(&flags)?;
        failed.expect_status(1)?;
        expect_error(&failed, &format!("cannot read {path}: "), code)?;
        let stderr = failed.stderr();
        let said = format_args!("it said more than that: {stderr:?}");
        ensure(stderr.lines().count() == 2, said)?;
        ensure(failed.stdout().is_empty(), "it listened before that")?;
    }
    Ok(())
}

fn tells_of_a_file_cut_short(script: &Script) -> Result {
    let bytes = random_file(script, "short", 1000)?;
    let server = script.serve_with(&["--file", "short"])?;
    script.step("the file loses its second half");
    fs::write(script.home().join("short"), &bytes[..500])?;
    let client = script.connect(&server, "a client")?;
    let mut client = promised(client, 1000)?;
    expect_all(&mut client, &bytes[..500])?;
    let peer = client.address();
    server.expect_story(&format!(
        "{peer} closed with an error: unexpected end of file"
    ))?;
    // The file is whole again, and so is what the next client gets.
    fs::write(script.home().join("short"), &bytes)?;
    let client = script.connect(&server, "the next client")?;
    expect_all(&mut promised(client, 1000)?, &bytes)
}

fn tells_each_write(script: &Script) -> Result {
    let cases = [
        ("0B", "2B", None, 0),
        ("10B", "10B", Some("write 1"), 10),
        // The program of the notes, which reads two bytes at a time.
        ("10B", "2B", Some("writes 1 to 5"), 10),
        ("9B", "2B", Some("writes 1 to 5"), 9),
    ];
    for (size, chunk, which, n_bytes) in cases {
        let server = script.serve_with(&["--size", size, "--chunk", chunk])?;
        let client = script.connect(&server, "a client")?;
        let mut client = promised(client, n_bytes)?;
        expect_all(&mut client, made_up(n_bytes))?;
        client.half_close()?;
        server.expect_story(&format!("{} closed", client.address()))?;

        let mut expected = vec!["connected".to_owned()];
        expected.extend(which.map(|which| {
            format!("{which} returned true, 0 bytes waiting, {n_bytes} written")
        }));
        expected.push(format!("finish, {n_bytes} written"));
        expected.push("closed".to_owned());
        script.step("the whole story is told in order");
        let story = lines(&server, &client);
        ensure(story == expected, format_args!("it is {story:#?}"))?;
    }
    expect_numbers_that_add_up(script)
}

/// Where some are told alone and others together, none is told twice, and each
/// brought one chunk.
fn expect_numbers_that_add_up(script: &Script) -> Result {
    let (server, mut reader) = stall(script, &["--chunk", "10KB"])?;
    expect_all(&mut reader, made_up(TOO_MUCH))?;
    let last = format!("{} finish, {TOO_MUCH} written", reader.address());
    server.expect_story(&last)?;
    script
        .step("each write is told once, with all that was written until then");
    let mut next = 1;
    for write in writes(&server, &reader) {
        let (first, last) = (*write.numbers.start(), *write.numbers.end());
        let is_right = first == next
            && last >= first
            && (last == first || write.waiting == 0)
            && write.written == last * 10_000;
        ensure(
            is_right,
            format_args!("after write {}: {write:?}", next - 1),
        )?;
        next = last + 1;
    }
    ensure(next == 801, format_args!("the last was write {}", next - 1))
}

/// Marks and chunks, as flags and in bytes.
const MARKS: &[(&str, usize, &str, usize)] = &[
    ("64KB", 64_000, "9KB", 9_000),
    ("1KB", 1_000, "20KB", 20_000),
];

fn answers_by_what_waits(script: &Script) -> Result {
    for (mark, at_mark, chunk, _) in MARKS {
        let flags = ["--high-water-mark", mark, "--chunk", chunk];
        let (server, reader) = stall(script, &flags)?;
        script.step(format_args!("`false` means: {mark} wait, or more"));
        for write in writes(&server, &reader) {
            let is_right = write.goes_on == (write.waiting < *at_mark);
            ensure(is_right, format_args!("{write:?}"))?;
        }
    }
    Ok(())
}

fn waits_when_told_to(script: &Script) -> Result {
    for (mark, at_mark, chunk, one_chunk) in MARKS {
        let flags = ["--high-water-mark", mark, "--chunk", chunk];
        let (server, mut reader) = stall(script, &flags)?;
        expect_all(&mut reader, made_up(TOO_MUCH))?;
        wait_until_finished(script, &server, &reader)?;
        script.step("after `false` comes no write before the drain");
        let told = told(&server, &reader);
        let after =
            |pair: &[Told]| pair[0] != Told::Full || pair[1] == Told::Drain;
        ensure(told.windows(2).all(after), format_args!("{told:?}"))?;
        script.step("never did more wait than the mark and one chunk");
        let writes = writes(&server, &reader);
        let most = writes.iter().map(|write| write.waiting).max();
        ensure(
            most < Some(at_mark + one_chunk),
            format_args!("{most:?} bytes waited"),
        )?;
    }
    Ok(())
}

fn counts_every_byte_that_waits(script: &Script) -> Result {
    let (server, reader) = stall(script, &[])?;
    script.step("what is not in the program's queue is in the kernel's two");
    let mut seen = None;
    let adds_up = || {
        let last = writes(&server, &reader).pop()?;
        let there = reader.other_end().ok()??.send_queue as usize;
        let here = reader.this_end().ok()??.receive_queue as usize;
        seen = Some((last.written, last.waiting, there, here));
        (last.written == last.waiting + there + here).then_some(())
    };
    wait_for(adds_up).ok_or_else(|| {
        Stop::broken(format_args!("(written, waiting, there, here): {seen:?}"))
    })
}

fn drains_once_per_full_queue(script: &Script) -> Result {
    const CHUNK: usize = 4_000;
    const A_PART: usize = 200_000;

    // The kernel holds little, and so it takes no more than is read.
    let mut flags = vec!["--high-water-mark", "1MiB", "--chunk", "4KB"];
    flags.extend(["--send-buffer", "4KiB"]);
    let (server, mut reader) = stall(script, &flags)?;
    // A reader that never pauses can empty the queue in one go, and then nobody
    // sees at what point the drain is told.
    let (part, rest) = made_up(TOO_MUCH).split_at(A_PART);
    reader.expect(part)?;
    wait_until_stalled(script, &server, &reader)?;
    expect_all(&mut reader, rest)?;
    wait_until_finished(script, &server, &reader)?;
    script.step("each `false` has one drain");
    let told = told(&server, &reader);
    let mut is_full = false;
    for told in &told {
        let is_right = (*told == Told::Drain) == is_full;
        ensure(is_right, format_args!("{told:?} after is_full={is_full}"))?;
        is_full = *told == Told::Full;
    }
    script.step("the next write after it finds nothing that waits");
    let mut after_drain = false;
    for line in lines(&server, &reader) {
        if let (true, Some(write)) = (after_drain, write(&line)) {
            ensure(write.waiting <= CHUNK, format_args!("{write:?}"))?;
        }
        after_drain = line == "drain";
    }
    Ok(())
}

fn keeps_memory_flat(script: &Script) -> Result {
    const OFFERED: usize = 50_000_000;
    const MOST: u64 = 10_000_000;

    let file = fs::File::create(script.home().join("zeros"))?;
    file.set_len(OFFERED as u64)?;
    let server = script.serve_with(&["--file", "zeros"])?;
    // What is needed only once is there after the first client.
    let _first = stalled(script, &server, OFFERED)?;
    let before = kernel::memory(server.pid()).unwrap_or_default();
    let _second = stalled(script, &server, OFFERED)?;
    let _third = stalled(script, &server, OFFERED)?;
    script.step(format_args!("that took less than {MOST} bytes of memory"));
    let after = kernel::memory(server.pid())
        .ok_or_else(|| Stop::broken("it has ended"))?;
    let more = after.saturating_sub(before);
    ensure(more < MOST, format_args!("{more} bytes"))
}

fn the_kernel_shows_why_it_waits(script: &Script) -> Result {
    let (server, reader) = stall(script, &[])?;
    let there = wait_until_stalled(script, &server, &reader)?;
    script.step("both queues hold bytes");
    let unread = reader.this_end()?.map_or(0, |end| end.receive_queue);
    ensure(
        there.send_queue > 0 && unread > 0,
        format_args!("{unread} unread, there: {there}"),
    )
}

fn waits_without_using_the_processor(script: &Script) -> Result {
    let (server, _reader) = stall(script, &[])?;
    server.expect_rest()
}

fn a_stalled_reader_stalls_only_itself(script: &Script) -> Result {
    let (server, mut reader) = stall(script, &[])?;
    let drains = || {
        let told = told(&server, &reader);
        told.iter().filter(|told| **told == Told::Drain).count()
    };
    let before = drains();
    let other = script.connect(&server, "who reads")?;
    expect_all(&mut promised(other, TOO_MUCH)?, made_up(TOO_MUCH))?;
    script.step("the first still waits for its drain");
    let more = drains() - before;
    ensure(
        more == 0,
        format_args!("it was told {more} times meanwhile"),
    )?;
    expect_all(&mut reader, made_up(TOO_MUCH))
}

fn a_small_send_buffer_fills_soon(script: &Script) -> Result {
    const MOST: u32 = 128 * 1024;

    let (server, reader) = stall(script, &["--send-buffer", "4KiB"])?;
    let there = wait_until_stalled(script, &server, &reader)?;
    script.step(format_args!("the kernel holds {MOST} bytes at the most"));
    ensure(there.send_queue <= MOST, there)
}

fn serves_a_half_closed_client(script: &Script) -> Result {
    let server = offer_too_much(script, &[])?;
    let client = script.connect_tiny(&server, "a client")?;
    let mut client = promised(client, TOO_MUCH)?;
    client.half_close()?;
    wait_until_stalled(script, &server, &client)?;
    expect_all(&mut client, made_up(TOO_MUCH))?;
    server.expect_story(&format!("{} closed", client.address()))
}

fn reads_and_drops_what_comes(script: &Script) -> Result {
    let (server, mut reader) = stall(script, &[])?;
    let sending = reader.send_meanwhile(vec![b'x'; TOO_MUCH])?;
    expect_sent(sending)?;
    reader.wait_until_read()?;
    expect_all(&mut reader, made_up(TOO_MUCH))?;
    reader.half_close()?;
    server.expect_story(&format!("{} closed", reader.address()))
}

fn tells_a_reset_as_an_error(script: &Script) -> Result {
    let (server, reader) = stall(script, &[])?;
    let peer = reader.address();
    // Unread bytes make a RST of an ordinary close.
    reader.close();
    server.expect_story(&format!(
        "{peer} closed with an error: connection reset by peer (ECONNRESET)"
    ))?;
    let next = script.connect(&server, "the next client")?;
    promised(next, TOO_MUCH).map(drop)
}

fn ends_while_a_reader_stalls(script: &Script) -> Result {
    let (server, mut reader) = stall(script, &[])?;
    server.signal(Signal::Terminate)?;
    server.expect_status(0)?;
    reader.widen()?;
    let (received, end) = reader.read_to_end()?;
    ensure(end == End::Fin, "the connection was reset (RST)")?;
    script.step("what it got is the beginning, and not all");
    let expected = made_up(TOO_MUCH);
    let begins = expected.starts_with(&received);
    let n_received = received.len();
    ensure(
        begins && n_received > 0 && n_received < TOO_MUCH,
        format_args!("it got {n_received} bytes, begins so: {begins}"),
    )
}
