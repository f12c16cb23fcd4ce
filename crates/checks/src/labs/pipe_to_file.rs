//! pipe-to-file: pipes what clients send into one file that stays open.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::command_line::expect_error;
use super::every_server::*;
use crate::bytes::difference;
use crate::kernel::{self, TcpState};
use crate::outcome::{Result, Stop, ensure};
use crate::peer::{Peer, Pieces, expect_sent};
use crate::promise::lab;
use crate::script::Script;
use crate::subject::{SMALL_DISK, Setup, Signal, Subject};
use crate::wait::{observe, wait_for, wait_for_at_most};

every_server! { lab! {
    $ pipe_to_file "pipe-to-file" at ([127, 0, 0, 1], 8080), many &[];

    pipes_byte_for_byte = "pipes-byte-for-byte":
        "What clients send is in the file byte for byte, whatever it is and \
         however it is cut, and nothing else is.",
        "A copy that is nearly right is wrong.";
    takes_a_gibibyte = "takes-a-gibibyte":
        "A gibibyte arrives byte for byte, and its memory stays flat.",
        "Nobody knows how much a client will send.";
    waits_for_a_slow_disk = "waits-for-a-slow-disk":
        "While a write to the file does not end, the client that sends has to \
         wait, and new clients are greeted. Then all is written.",
        "A disk is sometimes slower than the network, and always smaller.";
    its_end_says_all_is_written = "its-end-says-all-is-written":
        "A client that has ended sees the server's FIN when all its bytes \
         have been written, and not before.",
        "It is the only answer that a sender gets.";
    keeps_chunks_whole = "keeps-chunks-whole":
        "What has come from a client when its turn comes, up to 64 KiB, goes \
         to the file in one piece.",
        "Two owners of one file write into the middle of each other's lines.";
    keeps_each_clients_order = "keeps-each-clients-order":
        "Of several clients that send at the same time, each has all its \
         bytes in the file, once and in order.",
        "TCP keeps the order as far as the program. The rest is up to us.";
    goes_on_when_one_leaves = "goes-on-when-one-leaves":
        "When a client ends, resets its connection or says nothing, the \
         others are written as before.",
        "In the notes the first to end closes the file, and Node freezes the \
         others without a word.";
    keeps_the_file_open = "keeps-the-file-open":
        "The file that it has opened serves all clients, also when it was \
         given another name meanwhile.",
        "The notes pipe with `{ end: false }`: a client's end is not the end \
         of the file.";
    empties_the_file_or_appends = "empties-the-file-or-appends":
        "It empties the file and tells how many bytes it dropped. With \
         `--append` it keeps them, and writes behind them.",
        "`createWriteStream` empties a file without a word.";
    a_failed_start_drops_nothing = "a-failed-start-drops-nothing":
        "A start that fails, because the port is in use, leaves the file as \
         it was.",
        "The file may belong to the very server that has the port.";
    a_bad_file_is_one_clear_line = "a-bad-file-is-one-clear-line":
        "A directory, a FIFO, a socket or a file that may not be written is \
         one line and status 1, before anybody can connect.",
        "To open a FIFO is to wait for its reader: a server that hangs \
         before it listens says nothing at all.";
    drops_what_comes_after_unpipe = "drops-what-comes-after-unpipe":
        "After `--unpipe-after` what a client sends is read, counted and \
         dropped, whatever its size, and its end is answered.",
        "In Node, `unpipe` leaves the socket paused: the client hangs, and \
         its end is never seen.";
    writes_the_end_text_once = "writes-the-end-text-once":
        "`--end-text` is written once for each client, when it ends or is \
         unpiped, and not for one that resets.",
        "A mark that says `complete` must not stand behind what is not.";
    tells_each_client = "tells-each-client":
        "The story of a client: connected, ended or unpiped, closed, with the \
         bytes that were written of it.",
        "The file does not say whose bytes it holds.";
    tells_the_client_of_a_full_disk = "tells-the-client-of-a-full-disk":
        "When a write fails (ENOSPC), the story and stderr tell it, and the \
         client gets one line and a FIN, while what it still sends is \
         dropped. The server lives.",
        "A sender that is not told deletes its own copy.";
    goes_on_when_there_is_room_again = "goes-on-when-there-is-room-again":
        "What did not fit any more is cut where the disk was full. When there \
         is room again, clients are written again.",
        "Somebody will clean up. Nobody should have to restart it.";
    syncs_at_its_end = "syncs-at-its-end":
        "At its end it waits for the disk (fsync). An error there is one \
         line, a line of help, and status 1.",
        "A write that succeeded is a promise of the kernel, not of the disk.";
}}

/// How much memory may grow, whatever the size. A garbage collector lets some
/// of it lie for a while; what keeps the bytes grows by a gibibyte.
const FLAT: u64 = 96 << 20;

/// More than the kernel holds on the way to a program that does not read.
const TOO_MUCH: usize = 16 << 20;

/// Longer than any of this takes, on any machine.
const LONG: Duration = Duration::from_secs(100);

/// Bytes in a pattern that fits no power of two, so that no chunk is like
/// another.
fn block() -> Arc<[u8]> {
    const PRIME: usize = 1_000_003;
    let mut block = vec![0; PRIME];
    fastrand::Rng::with_seed(1).fill(&mut block);
    block.into()
}

fn file(script: &Script) -> PathBuf {
    script.home().join("msg.txt")
}

/// The file holds exactly this, now.
fn ensure_file(script: &Script, path: &Path, expected: &[u8]) -> Result {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    script.step(format_args!("{name} holds {} bytes", expected.len()));
    let difference = difference(expected, &fs::read(path)?);
    ensure(difference.is_none(), difference.unwrap_or_default())
}

/// Waits until the file holds exactly this.
fn expect_file(script: &Script, path: &Path, expected: &[u8]) -> Result {
    wait_for(|| (fs::read(path).ok()? == expected).then_some(()));
    ensure_file(script, path, expected)
}

/// Waits until the file has this size. What is in it is for the check to see.
fn wait_for_size(path: &Path, n_bytes: usize) {
    let is_there = || {
        let size = fs::metadata(path).ok()?.len();
        (size == n_bytes as u64).then_some(())
    };
    wait_for(is_there);
}

/// The client ends, and sees the end.
fn end(client: &mut Peer) -> Result {
    client.half_close()?;
    client.expect_fin()
}

fn pipes_byte_for_byte(script: &Script) -> Result {
    let mut random = fastrand::Rng::with_seed(script.seed());
    let binary: Vec<u8> = (0..100_000).map(|_| random.u8(..)).collect();
    let dribbled: Vec<u8> = (0..=255).chain(*b"\r\n\0\x1a").collect();
    let pieces = Pieces::Seeded(script.seed());
    let sent: [(&str, &[u8], Pieces); 5] = [
        ("who sends nothing", b"", Pieces::Whole),
        ("who sends a byte", b"\n", Pieces::Whole),
        (
            "who sends a text",
            "hello, 你好\r\n".as_bytes(),
            Pieces::Whole,
        ),
        ("who sends anything", &binary, pieces),
        ("who dribbles", &dribbled, Pieces::EachByte),
    ];

    let server = script.serve()?;
    let mut expected = Vec::new();
    for (name, bytes, pieces) in sent {
        let mut client = welcomed(script, &server, name)?;
        client.send_in(bytes, pieces)?;
        end(&mut client)?;
        expected.extend_from_slice(bytes);
        expect_file(script, &file(script), &expected)?;
    }
    Ok(())
}

fn takes_a_gibibyte(script: &Script) -> Result {
    const SIZE: usize = 1 << 30;

    // One at a time: else the disk is full before anything is proved.
    let _turn = script.wait_for_turn("gibibyte")?;
    let directory = roomy_directory(script, SIZE as u64)?;
    let path = directory.path().join("msg.txt");
    let server = script.serve_with(&["--file", &path.to_string_lossy()])?;
    let mut client = welcomed(script, &server, "a client")?;
    let before = kernel::memory(server.pid()).unwrap_or_default();

    let block = block();
    let sending = client.send_repeated_meanwhile(Arc::clone(&block), SIZE)?;
    let mut most = before;
    wait_for_at_most(LONG, || {
        most = most.max(kernel::memory(server.pid()).unwrap_or_default());
        sending.is_finished().then_some(())
    })
    .ok_or_else(|| Stop::broken("it does not read on"))?;
    expect_sent(sending)?;
    end(&mut client)?;
    script.step("its memory was what it had been, or a little more");
    ensure(
        most <= before + FLAT,
        format_args!("it was {before} bytes, then {most}"),
    )?;

    wait_for_size(&path, SIZE);
    script.step("the file holds them all, byte for byte");
    let mut written = File::open(&path)?;
    let mut buffer = vec![0; block.len()];
    let mut left = SIZE;
    while left > 0 {
        let n_bytes = left.min(block.len());
        written.read_exact(&mut buffer[..n_bytes])?;
        let at = SIZE - left;
        ensure(
            buffer[..n_bytes] == block[..n_bytes],
            format_args!("a byte is wrong between {at} and {}", at + n_bytes),
        )?;
        left -= n_bytes;
    }
    ensure(written.read(&mut buffer)? == 0, "it holds more than that")
}

/// A directory with room for so many bytes and a little more; in memory where
/// that is possible, because disks are slow.
fn roomy_directory(script: &Script, n_bytes: u64) -> Result<TempDir> {
    let places = [Path::new("/dev/shm"), script.home()];
    let has_room = |place: &&Path| {
        let free = kernel::free_space(place);
        free.is_some_and(|free| free > n_bytes + n_bytes / 4)
    };
    let mut roomy = places.into_iter().filter(has_room);
    let made = roomy.find_map(|place| TempDir::new_in(place).ok());
    made.ok_or_else(|| {
        Stop::skipped(format_args!("no disk has {n_bytes} bytes free"))
    })
}

fn waits_for_a_slow_disk(script: &Script) -> Result {
    // More than the kernel holds at first, and as little as can be: a terminal
    // takes a few kilobytes at a time.
    const SIZE: usize = 2 << 20;

    let mut disk = script.slow_file()?;
    let path = disk.path.to_string_lossy().into_owned();
    let server = script.serve_with(&["--file", &path])?;
    let mut client = welcomed(script, &server, "a client")?;
    let sending = client.send_meanwhile(vec![b'.'; SIZE])?;
    expect_client_to_wait(script, &client)?;
    welcomed(script, &server, "another client")?;

    script.step("the disk goes on, and all is written");
    let written = disk.read(SIZE)?;
    ensure(
        written.iter().all(|byte| *byte == b'.'),
        "something else was written",
    )?;
    expect_sent(sending)?;
    end(&mut client)
}

/// Waits until nothing moves: bytes stay unread in the program's queue, and
/// unsent in the client's.
fn expect_client_to_wait(script: &Script, client: &Peer) -> Result {
    script.step("it reads no more from it, and the client has to wait");
    let mut last = None;
    let mut times = 0;
    let waits = || {
        let unread = client.other_end().ok()??.receive_queue;
        let unsent = client.this_end().ok()??.send_queue;
        let now = Some((unread, unsent));
        let is_still = last == now && unread > 0 && unsent > 0;
        times = if is_still { times + 1 } else { 0 };
        last = now;
        (times == 3).then_some(())
    };
    wait_for(waits).ok_or_else(|| Stop::broken("it reads on and on"))
}

fn its_end_says_all_is_written(script: &Script) -> Result {
    const SIZE: usize = 50_000;
    const WINDOW: Duration = Duration::from_millis(200);

    let mut disk = script.slow_file()?;
    let path = disk.path.to_string_lossy().into_owned();
    let server = script.serve_with(&["--file", &path])?;
    let mut client = welcomed(script, &server, "a client")?;
    // Where it stands now, it sees all of it at once when it goes on.
    server.signal(Signal::Stop)?;
    client.send(&[b'.'; SIZE])?;
    expect_all_has_come(script, &[&client], SIZE)?;
    client.half_close()?;
    server.signal(Signal::Continue)?;
    script.step("as long as the write has not ended, the server does not end");
    observe(WINDOW);
    let state = client.other_end()?.map(|socket| socket.state);
    ensure(
        matches!(state, Some(TcpState::CloseWait | TcpState::Established)),
        format_args!("its connection is {state:?}"),
    )?;
    script.step("the disk goes on");
    disk.read(SIZE)?;
    client.expect_fin()
}

/// Waits until so many bytes of each client wait to be read.
fn expect_all_has_come(
    script: &Script,
    clients: &[&Peer],
    n_bytes: usize,
) -> Result {
    script.step("all of it has come");
    let has_come = |client: &&Peer| {
        let end = client.other_end().ok().flatten();
        end.is_some_and(|it| it.receive_queue as usize >= n_bytes)
    };
    wait_for(|| clients.iter().all(has_come).then_some(()))
        .ok_or_else(|| Stop::broken("it is still on its way"))
}

fn keeps_chunks_whole(script: &Script) -> Result {
    const RECORD: usize = 1000;
    const RECORDS: usize = 50;
    const LETTERS: &[u8] = b"ABCD";

    let server = script.serve()?;
    let mut clients = Vec::new();
    for letter in LETTERS {
        let name = format!("client {}", char::from(*letter));
        clients.push(welcomed(script, &server, &name)?);
    }
    // Where it stands now, it sees all of it at once when it goes on.
    server.signal(Signal::Stop)?;
    let record = |letter: &u8| {
        let mut record = vec![*letter; RECORD - 1];
        record.push(b'\n');
        record
    };
    for (client, letter) in clients.iter_mut().zip(LETTERS) {
        let records = record(letter).repeat(RECORDS);
        client.send_in(&records, Pieces::Each(RECORD))?;
    }
    let all: Vec<&Peer> = clients.iter().collect();
    expect_all_has_come(script, &all, RECORD * RECORDS)?;
    server.signal(Signal::Continue)?;
    for client in &mut clients {
        end(client)?;
    }

    wait_for_size(&file(script), RECORD * RECORDS * LETTERS.len());
    script.step("the file holds what each has sent, one after the other");
    let written = fs::read(file(script))?;
    let pieces: Vec<&[u8]> = written.chunks(RECORD * RECORDS).collect();
    let is_there = |letter: &u8| {
        let expected = record(letter).repeat(RECORDS);
        pieces.contains(&expected.as_slice())
    };
    ensure(
        pieces.len() == LETTERS.len() && LETTERS.iter().all(is_there),
        format_args!("the letters stand like this: {}", runs(&written)),
    )
}

/// `A 200, B 100, …`: which byte stands there how often before another does.
fn runs(bytes: &[u8]) -> String {
    const MOST: usize = 10;
    let letters: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(|byte| *byte != b'\n')
        .collect();
    let runs = letters.chunk_by(|one, other| one == other).take(MOST);
    let runs =
        runs.map(|run| format!("{} {}", run[0].escape_ascii(), run.len()));
    runs.collect::<Vec<_>>().join(", ")
}

fn keeps_each_clients_order(script: &Script) -> Result {
    const CLIENTS: u8 = 4;
    const SIZE: usize = 2 << 20;

    // Two bits of each byte say whose it is, six where it was.
    let mut random = fastrand::Rng::with_seed(script.seed());
    let sent: Vec<Vec<u8>> = (0..CLIENTS)
        .map(|who| (0..SIZE).map(|_| who << 6 | random.u8(..64)).collect())
        .collect();
    let server = script.serve()?;
    let mut clients = Vec::new();
    let mut sending = Vec::new();
    for (number, bytes) in sent.iter().enumerate() {
        let name = format!("client {number}");
        let mut client = welcomed(script, &server, &name)?;
        sending.push(client.send_meanwhile(bytes.clone())?);
        clients.push(client);
    }
    for sending in sending {
        expect_sent(sending)?;
    }
    for client in &mut clients {
        end(client)?;
    }
    wait_for_size(&file(script), SIZE * sent.len());
    let written = fs::read(file(script))?;
    for (who, sent) in (0..).zip(&sent) {
        script.step(format_args!("all of client {who} is there, in order"));
        let theirs = written.iter().copied().filter(|byte| byte >> 6 == who);
        let theirs: Vec<u8> = theirs.collect();
        let difference = difference(sent, &theirs);
        ensure(difference.is_none(), difference.unwrap_or_default())?;
    }
    ensure(
        written.len() == SIZE * sent.len(),
        format_args!("there are {} bytes", written.len()),
    )
}

fn goes_on_when_one_leaves(script: &Script) -> Result {
    let server = script.serve()?;
    let path = file(script);
    let _silent = welcomed(script, &server, "who says nothing")?;
    let mut stays = welcomed(script, &server, "who stays")?;
    let mut ends = welcomed(script, &server, "who ends")?;
    let mut resets = welcomed(script, &server, "who resets")?;
    stays.send(b"A1 ")?;
    expect_file(script, &path, b"A1 ")?;
    ends.send(b"B1 ")?;
    end(&mut ends)?;
    expect_file(script, &path, b"A1 B1 ")?;
    resets.send(b"C1 ")?;
    expect_file(script, &path, b"A1 B1 C1 ")?;
    resets.reset()?;
    stays.send(b"A2 ")?;
    expect_file(script, &path, b"A1 B1 C1 A2 ")?;
    let mut late = welcomed(script, &server, "who comes late")?;
    late.send(b"D1 ")?;
    end(&mut late)?;
    stays.send(b"A3 ")?;
    end(&mut stays)?;
    expect_file(script, &path, b"A1 B1 C1 A2 D1 A3 ")
}

fn keeps_the_file_open(script: &Script) -> Result {
    let server = script.serve()?;
    let mut client = welcomed(script, &server, "a client")?;
    client.send(b"one ")?;
    end(&mut client)?;
    let moved = script.home().join("moved.txt");
    script.step("msg.txt gets the name moved.txt");
    fs::rename(file(script), &moved)?;
    let mut client = welcomed(script, &server, "the next client")?;
    client.send(b"two ")?;
    end(&mut client)?;
    expect_file(script, &moved, b"one two ")?;
    script.step("and there is no other msg.txt");
    ensure(!file(script).exists(), "there is one")
}

fn empties_the_file_or_appends(script: &Script) -> Result {
    let path = file(script);
    for (flags, told, expected) in [
        (&[][..], "writing to msg.txt, 4 bytes dropped", "new "),
        (
            &["--append"],
            "appending to msg.txt after 4 bytes",
            "old new ",
        ),
    ] {
        script.step("msg.txt holds 4 bytes of old");
        fs::write(&path, "old ")?;
        let server = script.serve_with(flags)?;
        server.expect_story(told)?;
        let mut client = welcomed(script, &server, "a client")?;
        client.send(b"new ")?;
        end(&mut client)?;
        expect_file(script, &path, expected.as_bytes())?;
    }
    Ok(())
}

fn a_failed_start_drops_nothing(script: &Script) -> Result {
    let path = file(script);
    let first = script.serve()?;
    let mut client = welcomed(script, &first, "a client")?;
    client.send(b"precious")?;
    expect_file(script, &path, b"precious")?;
    let address = first.address().to_string();
    let second = script.start(&["--listen", &address])?;
    second.expect_status(1)?;
    ensure_file(script, &path, b"precious")
}

fn a_bad_file_is_one_clear_line(script: &Script) -> Result {
    let home = script.home();
    let read_only = home.join("read-only");
    fs::write(&read_only, "")?;
    let mut permissions = fs::metadata(&read_only)?.permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&read_only, permissions)?;
    #[cfg(unix)]
    let _socket = std::os::unix::net::UnixListener::bind(home.join("socket"))?;

    for (file, code) in [
        (".", "(EISDIR)"),
        ("nowhere/msg.txt", "(ENOENT)"),
        ("read-only", "(EACCES)"),
        ("read-only/msg.txt", "(ENOTDIR)"),
        ("socket", "(ENXIO)"),
    ] {
        let failed = script.start(&refused(file))?;
        failed.expect_status(1)?;
        expect_error(&failed, &format!("cannot write to {file}: "), code)?;
        ensure(failed.stdout().is_empty(), "it had listened already")?;
    }

    script.step("fifo is a FIFO");
    crate::sys::make_fifo(&home.join("fifo"))?;
    let failed = script.start(&refused("fifo"))?;
    failed.expect_status(1)?;
    let stderr = failed.stderr();
    let start = "error: cannot write to fifo: it is a FIFO";
    ensure(
        stderr.starts_with(start) && stderr.lines().count() == 1,
        format_args!("expected \"{start}…\", got {stderr:?}"),
    )?;
    ensure(failed.stdout().is_empty(), "it had listened already")
}

fn refused(file: &str) -> [&str; 4] {
    ["--listen", "127.0.0.1:0", "--file", file]
}

fn drops_what_comes_after_unpipe(script: &Script) -> Result {
    expect_all_dropped(script)?;
    // On a machine so busy that it is unpiped before its bytes come, the time
    // was too short: take a longer.
    for time in ["300ms", "1s", "3s", "9s"] {
        let server = script.serve_with(&["--unpipe-after", time])?;
        let mut client = welcomed(script, &server, "a client")?;
        let peer = client.address();
        client.send(b"before")?;
        let unpiped = format!("{peer} unpiped");
        script.step("the time passes");
        wait_for_at_most(LONG, || {
            server.story().contains(&unpiped).then_some(())
        });
        server.expect_story(&unpiped)?;
        let path = file(script);
        if fs::read(&path)?.is_empty() {
            script.step("that was too slow to tell; once more");
            continue;
        }
        client.send(b"after")?;
        end(&mut client)?;
        server.expect_story(&format!("{peer} ended, 5 bytes dropped"))?;
        server.expect_story(&format!("{peer} closed, 6 bytes written"))?;
        return ensure_file(script, &path, b"before");
    }
    Err(Stop::skipped("this machine is too busy to tell"))
}

/// What is unpiped at once: no byte of it is written.
fn expect_all_dropped(script: &Script) -> Result {
    let server = script.serve_with(&["--unpipe-after", "0ms"])?;
    let mut client = welcomed(script, &server, "a client")?;
    let peer = client.address();
    server.expect_story(&format!("{peer} unpiped"))?;
    let sending = client.send_meanwhile(vec![b'.'; TOO_MUCH])?;
    expect_sent(sending)?;
    end(&mut client)?;
    let told = format!("{peer} ended, {TOO_MUCH} bytes dropped");
    server.expect_story(&told)?;
    server.expect_story(&format!("{peer} closed, 0 bytes written"))?;
    ensure_file(script, &file(script), b"")
}

fn writes_the_end_text_once(script: &Script) -> Result {
    let path = file(script);
    let server = script.serve_with(&["--end-text", " over\n"])?;
    let mut client = welcomed(script, &server, "a client")?;
    client.send(b"hello world")?;
    end(&mut client)?;
    expect_file(script, &path, b"hello world over\n")?;
    let mut resets = welcomed(script, &server, "who resets")?;
    resets.send(b"cut ")?;
    expect_file(script, &path, b"hello world over\ncut ")?;
    let peer = resets.address();
    resets.reset()?;
    let reset = "connection reset by peer (ECONNRESET)";
    let told = format!("{peer} closed with an error, 4 bytes written: {reset}");
    server.expect_story(&told)?;
    end(&mut welcomed(script, &server, "who sends nothing")?)?;
    expect_file(script, &path, b"hello world over\ncut  over\n")?;

    let flags = ["--end-text", "bye", "--unpipe-after", "0ms"];
    let server = script.serve_with(&flags)?;
    let mut client = welcomed(script, &server, "who is unpiped")?;
    expect_file(script, &path, b"bye")?;
    client.send(b"hello")?;
    end(&mut client)?;
    ensure_file(script, &path, b"bye")
}

fn tells_each_client(script: &Script) -> Result {
    let server = script.serve()?;
    let local = server.address();
    let mut client = welcomed(script, &server, "a client")?;
    let peer = client.address();
    client.send(b"hello\n")?;
    end(&mut client)?;
    let expected = [
        format!("listening on {local}"),
        "writing to msg.txt, 0 bytes dropped".to_owned(),
        format!("{peer} connected"),
        format!("{peer} ended"),
        format!("{peer} closed, 6 bytes written"),
    ];
    server.expect_story(&expected[4])?;
    script.step("the whole story is told in order");
    let story = server.story();
    ensure(story == expected, format_args!("it is {story:#?}"))
}

const NO_SPACE: &str = "no space left on device (ENOSPC)";

/// The client is told that the disk is full, and can send on until it ends.
fn expect_told(server: &Subject, client: &mut Peer) -> Result {
    let peer = client.address();
    client.expect_exact_line(&format!("cannot write: {NO_SPACE}"))?;
    client.expect_fin()?;
    let sending = client.send_meanwhile(vec![b'.'; TOO_MUCH])?;
    expect_sent(sending)?;
    client.half_close()?;
    server.expect_story(&format!("{peer} cannot be written: {NO_SPACE}"))?;
    server.expect_stderr(&peer.to_string())
}

fn tells_the_client_of_a_full_disk(script: &Script) -> Result {
    const FULL: &str = "/dev/full";

    if !Path::new(FULL).exists() {
        return Err(Stop::skipped("this system has no /dev/full"));
    }
    let server = script.serve_with(&["--file", FULL])?;
    let mut silent = welcomed(script, &server, "who is silent")?;
    for name in ["a client", "the next client"] {
        let mut client = welcomed(script, &server, name)?;
        client.send(b"hello\n")?;
        expect_told(&server, &mut client)?;
        let peer = client.address();
        let told = format!("{peer} ended, {TOO_MUCH} bytes dropped");
        server.expect_story(&told)?;
        server.expect_story(&format!("{peer} closed, 0 bytes written"))?;
    }
    // To send nothing is possible even there.
    end(&mut silent)?;
    server.signal(Signal::Terminate)?;
    server.expect_status(0)
}

fn goes_on_when_there_is_room_again(script: &Script) -> Result {
    const SIZE: usize = 1 << 20;

    let path = script.home().join(SMALL_DISK).join("msg.txt");
    let setup = Setup {
        flags: vec!["--file".into(), path.to_string_lossy().into_owned()],
        small_disk: Some(SIZE as u64),
        ..Setup::default()
    };
    let server = script.serve_on("127.0.0.1:0", setup)?;
    let mut stays = welcomed(script, &server, "who stays")?;
    script.step("half of its disk is taken by another file");
    let other = server.its_file(&path.with_file_name("other"));
    fs::write(&other, vec![0; SIZE / 2])?;

    let mut random = fastrand::Rng::with_seed(script.seed());
    let sent: Vec<u8> = (0..2 * SIZE).map(|_| random.u8(..)).collect();
    let mut client = welcomed(script, &server, "who sends too much")?;
    let peer = client.address();
    let sending = client.send_meanwhile(sent.clone())?;
    expect_told(&server, &mut client)?;
    expect_sent(sending)?;
    let written = fs::read(server.its_file(&path))?;
    script.step("the file holds the beginning, as much as there was room for");
    let fits = written.len() > SIZE / 4 && sent.starts_with(&written);
    ensure(fits, format_args!("it holds {} bytes", written.len()))?;
    let told = format!("{peer} closed, {} bytes written", written.len());
    server.expect_story(&told)?;

    script.step("the other file is deleted");
    fs::remove_file(&other)?;
    stays.send(b"there is room")?;
    end(&mut stays)?;
    let mut client = welcomed(script, &server, "the next client")?;
    client.send(b" again")?;
    end(&mut client)?;
    let expected = [&written, &b"there is room again"[..]].concat();
    expect_file(script, &server.its_file(&path), &expected)
}

fn syncs_at_its_end(script: &Script) -> Result {
    // A program may write its own name there, and the kernel keeps it at once,
    // so there is nothing to sync: fsync is EINVAL.
    const COMM: &str = "/proc/self/comm";

    if !Path::new(COMM).exists() {
        return Err(Stop::skipped("this system has no /proc/self/comm"));
    }
    let server = script.serve_with(&["--file", COMM, "--append"])?;
    let mut client = welcomed(script, &server, "a client")?;
    client.send(b"renamed")?;
    end(&mut client)?;
    server.signal(Signal::Terminate)?;
    server.expect_status(1)?;
    expect_error(&server, &format!("cannot write to {COMM}: "), "(EINVAL)")?;

    script.step("a file that can be synced is no error");
    let server: Rc<Subject> = script.serve()?;
    end(&mut welcomed(script, &server, "a client")?)?;
    server.signal(Signal::Terminate)?;
    server.expect_status(0)
}
