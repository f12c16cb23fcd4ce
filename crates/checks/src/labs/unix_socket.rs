//! unix-socket: a server and a client that meet at a path.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process;
use std::rc::Rc;
use std::time::Instant;

use socket2::{Domain, SockAddr, Socket, Type};

use super::command_line::{
    expect_end_when_asked_twice, expect_error, expect_help,
};
use super::every_server::{
    expect_evil_escaped, expect_quiet_end, expect_to_survive_a_full_table,
    expect_two_lines,
};
use crate::kernel::{self, File};
use crate::outcome::{Result, Stop, ensure};
use crate::peer::{End, Peer, Pieces, expect_sent};
use crate::promise::lab;
use crate::script::Script;
use crate::subject::{Setup, Signal, Stdin, Subject};
use crate::wait::{patience, wait_for};

every_program! { lab! {
    $ unix_socket "unix-socket" at ([0, 0, 0, 0], 0), many &[];

    listens_at_its_path = "listens-at-its-path":
        "Its first line is `listening on` and the path, and there it listens.",
        "The path is all that a client needs to know.";
    greets_each_client = "greets-each-client":
        "Each client is greeted with a line that holds its number.",
        "Clients have no address here, and still must be told apart.";
    tells_who_connects = "tells-who-connects":
        "The story tells the process and the user of each client, as the \
         kernel knows them.",
        "This is what a Unix socket can do and TCP cannot.";
    echoes_byte_for_byte = "echoes-byte-for-byte":
        "What a client sends comes back byte for byte, whatever it is and \
         however it is cut.",
        "It is a stream as over TCP: writes are not kept apart, bytes are.";
    serves_while_idle = "serves-while-idle":
        "A client that says nothing does not hold up the next.",
        "A server that waits for one client serves only that one.";
    tells_each_connection = "tells-each-connection":
        "The story of a connection: every chunk with the bytes so far, its \
         end, its close.",
        "The story is how the learner sees what happens.";
    shows_split_characters_whole = "shows-split-characters-whole":
        "A character whose bytes come in two reads is shown whole; one that \
         never ends shows as U+FFFD.",
        "Chinese text is cut somewhere inside a character all the time.";
    finishes_for_a_half_closed_client = "finishes-for-a-half-closed-client":
        "A client that ends its direction still gets all it is owed, then the \
         end of the stream.",
        "Every pipeline ends its input first, and reads on.";
    waits_for_a_slow_reader = "waits-for-a-slow-reader":
        "More than all buffers on the way hold arrives whole at a client that \
         reads late.",
        "Who forgets to wait loses bytes, or keeps them all in memory.";
    tells_a_reset_as_an_error = "tells-a-reset-as-an-error":
        "A client that goes without reading what it was sent is told as \
         closed with an error, ECONNRESET.",
        "An end and a break are different things, without a network as well.";
    a_reset_harms_nobody_else = "a-reset-harms-nobody-else":
        "When one client breaks off, the others are served on.",
        "In Node, one reset without an 'error' handler ends the server.";
    makes_the_file_for_its_user_only = "makes-the-file-for-its-user-only":
        "The file has the mode 0600, or the one that `--mode` tells.",
        "Who may write to the file may connect, and the umask is not ours.";
    opens_no_door_before_the_mode = "opens-no-door-before-the-mode":
        "There is no moment at which a client can connect and the file has \
         not its mode yet.",
        "Who got in before the door was locked stays in.";
    warns_when_others_may_connect = "warns-when-others-may-connect":
        "With a mode that lets other users in, it warns.",
        "Who opens a door to everybody should know it.";
    refuses_a_live_path = "refuses-a-live-path":
        "Where somebody else has a socket, busy or of another kind, it fails \
         with EADDRINUSE and a line of help, and changes nothing.",
        "To remove the file of a server that lives hides it from its clients.";
    takes_over_a_stale_path = "takes-over-a-stale-path":
        "Where a server was killed and its file stayed, it makes its own.",
        "Otherwise somebody has to clean up by hand after each crash.";
    removes_nothing_but_sockets = "removes-nothing-but-sockets":
        "A file, a link or a directory at its path stays, and it fails with \
         EADDRINUSE and a line of help.",
        "Connecting to a file of text is refused, too: that proves nothing.";
    removes_its_file_at_the_end = "removes-its-file-at-the-end":
        "When it has ended in order, the path is free.",
        "The kernel never removes it.";
    leaves_the_file_of_another = "leaves-the-file-of-another":
        "What stands at its path when it ends, and is not its own, stays.",
        "Somebody may have cleaned up and started another server meanwhile.";
    a_path_too_long_is_one_clear_line = "a-path-too-long-is-one-clear-line":
        "107 bytes are room for a path; 108 are ENAMETOOLONG, a line of help, \
         status 1, and no file.",
        "Node cuts the path without a word, and listens somewhere else.";
    a_missing_directory_is_one_clear_line =
        "a-missing-directory-is-one-clear-line":
        "A path in no directory is one line with ENOENT, a line of help, and \
         status 1.",
        "It is what a typing error looks like.";
    a_locked_directory_is_one_clear_line =
        "a-locked-directory-is-one-clear-line":
        "A directory that it may not write to is one line with EACCES, a line \
         of help, and status 1.",
        "Most sockets stand where only root may make them.";
    client_sends_stdin_byte_for_byte = "client-sends-stdin-byte-for-byte":
        "What comes on the client's stdin goes to the server byte for byte.",
        "Whoever adds a line end, or decodes, cannot send a file.";
    client_prints_what_arrives = "client-prints-what-arrives":
        "What the server sends goes to stdout byte for byte, and nothing else \
         does.",
        "So that it can stand in a pipe, like nc.";
    client_half_closes_at_the_end_of_stdin =
        "client-half-closes-at-the-end-of-stdin":
        "The end of stdin ends the client's direction only: it still prints \
         what comes back, and ends with the server.",
        "A client that closes too early never sees the answer.";
    client_ends_with_the_server = "client-ends-with-the-server":
        "When the server ends, the client does, with status 0, although more \
         could be typed.",
        "Nobody should have to press Enter to learn that the line is dead.";
    client_escapes_what_arrives = "client-escapes-what-arrives":
        "On a terminal, what the server sends is shown, and control \
         characters are not obeyed.",
        "An escape sequence can rewrite the screen, or type for you.";
    client_tells_why_not = "client-tells-why-not":
        "No such path is one line with ENOENT, a dead server's is one with \
         ECONNREFUSED, each with a line of help and status 1.",
        "The two have different remedies.";
    client_tells_a_reset = "client-tells-a-reset":
        "A connection that the server resets is one line with ECONNRESET, a \
         line of help, and status 1.",
        "A break must not look like an end.";
    client_ends_in_order_when_asked = "client-ends-in-order-when-asked":
        "On Ctrl-C, on SIGTERM and when the reader of its stdout goes away, \
         the server sees the end of the stream; the status is 0.",
        "A client that dies leaves its server guessing.";
    runs_with_no_flags = "runs-with-no-flags":
        "With no flags it is a server at lab.sock in its directory, and the \
         client with no flags finds it there.",
        "The first run must work, and must not open a stranger's door.";
    ends_in_order_when_asked = "ends-in-order-when-asked":
        "On Ctrl-C and on SIGTERM its clients see the end of the stream, and \
         it exits with status 0.",
        "A server that dies leaves its clients guessing.";
    survives_a_full_descriptor_table = "survives-a-full-descriptor-table":
        "Out of file descriptors (EMFILE) it says so once, waits without \
         using the processor, and goes on when there is room.",
        "Every server that lives long enough meets this.";
    escapes_what_a_peer_sends = "escapes-what-a-peer-sends":
        "Nothing that a client sends reaches the terminal as a control \
         character.",
        "An escape sequence can rewrite the screen, or type for you.";
} }

/// The socket's file in the program's directory.
const NAME: &str = "here.sock";

fn path(script: &Script) -> PathBuf {
    script.home().join(NAME)
}

/// The program as a server at `NAME`.
fn serve(script: &Script) -> Result<Rc<Subject>> {
    serve_with(script, &[])
}

fn serve_with(script: &Script, flags: &[&str]) -> Result<Rc<Subject>> {
    let flags = [&["server", "--path", NAME], flags].concat();
    let server = script.start(&flags)?;
    script.wait_listening_on_path(&server, &path(script))?;
    Ok(server)
}

/// A client connects and is greeted.
fn greeted(script: &Script, name: &str) -> Result<Peer> {
    let mut client = script.connect_path(&path(script), name)?;
    client.expect_line()?;
    Ok(client)
}

/// What stands at the path. A file that nobody sees cannot be right.
fn file(script: &Script) -> Result<File> {
    kernel::can_see()?;
    kernel::file(&path(script)).ok_or_else(|| Stop::broken("it has no file"))
}

fn listens_at_its_path(script: &Script) -> Result {
    let server = serve(script)?;
    let line = format!("listening on {NAME}");
    server.expect_story(&line)?;
    let first = server.story().into_iter().next().unwrap_or_default();
    ensure(first == line, format_args!("its first line is {first:?}"))?;
    // As written, not made absolute.
    let absolute = script.home().join("there.sock");
    let shown = absolute.display().to_string();
    let server = script.start(&["server", "--path", &shown])?;
    script.wait_listening_on_path(&server, &absolute)?;
    server.expect_story(&format!("listening on {shown}"))
}

fn greets_each_client(script: &Script) -> Result {
    let _server = serve(script)?;
    for number in 1..=2 {
        let name = format!("client {number}");
        let mut client = script.connect_path(&path(script), &name)?;
        client.expect_exact_line(&format!("hello, you are {name}"))?;
    }
    Ok(())
}

fn tells_who_connects(script: &Script) -> Result {
    let server = serve(script)?;
    let _client = greeted(script, "a client")?;
    // What we have made belongs to us.
    let us = kernel::file(script.home()).map(|home| home.owner);
    let (pid, uid) = (process::id(), us.unwrap_or_default());
    server.expect_story(&format!("client 1 is process {pid} of user {uid}"))
}

fn any_bytes(script: &Script) -> (u64, Vec<u8>) {
    let seed = script.seed();
    script.step(format_args!("CHECKS_SEED={seed} makes these bytes again"));
    let mut random = fastrand::Rng::with_seed(seed);
    (seed, (0..60_000).map(|_| random.u8(..)).collect())
}

fn echoes_byte_for_byte(script: &Script) -> Result {
    let _server = serve(script)?;
    let mut client = greeted(script, "a client")?;
    let every_byte: Vec<u8> = (0..=255).collect();
    for pieces in [Pieces::Whole, Pieces::EachByte] {
        client.send_in(&every_byte, pieces)?;
        client.expect(&every_byte)?;
    }
    let (seed, bytes) = any_bytes(script);
    client.send_in(&bytes, Pieces::Seeded(seed))?;
    client.expect(&bytes)
}

fn serves_while_idle(script: &Script) -> Result {
    let _server = serve(script)?;
    let _silent = greeted(script, "a silent client")?;
    let mut next = greeted(script, "the next client")?;
    next.send(b"hello")?;
    next.expect(b"hello")
}

fn tells_each_connection(script: &Script) -> Result {
    let server = serve(script)?;
    let mut client = greeted(script, "a client")?;
    client.send(b"hello\r\n")?;
    client.wait_until_read()?;
    client.send("珠\n".as_bytes())?;
    client.half_close()?;
    client.read_to_end()?;
    let expected = [
        &format!("listening on {NAME}"),
        "client 1 connected",
        r#"client 1 sent "hello\r\n", 7 bytes so far"#,
        r#"client 1 sent "珠\n", 11 bytes so far"#,
        "client 1 ended",
        "client 1 closed",
    ];
    server.expect_story(expected[5])?;
    script.step("the whole story is told in order, but for who it was");
    let mut story = server.story();
    story.retain(|line| !line.starts_with("client 1 is "));
    ensure(story == expected, format_args!("it is {story:#?}"))
}

fn shows_split_characters_whole(script: &Script) -> Result {
    let server = serve(script)?;
    let mut client = greeted(script, "a client")?;
    client.send(b"A\xe7\x8f")?;
    client.wait_until_read()?;
    server.expect_story("client 1 sent \"A\", 3 bytes so far")?;
    client.send(b"\xa0B")?;
    server.expect_story("client 1 sent \"珠B\", 5 bytes so far")?;
    client.wait_until_read()?;
    client.send(b"\xe7\x8f")?;
    client.half_close()?;
    server.expect_story("client 1 sent \"\u{fffd}\", 7 bytes so far")
}

fn finishes_for_a_half_closed_client(script: &Script) -> Result {
    let _server = serve(script)?;
    let mut client = greeted(script, "a client")?;
    let owed = vec![b'x'; 60_000];
    client.send(&owed)?;
    client.half_close()?;
    let (received, end) = client.read_to_end()?;
    let difference = crate::bytes::difference(&owed, &received);
    ensure(difference.is_none(), difference.unwrap_or_default())?;
    ensure(end == End::Fin, "the connection was reset")
}

fn waits_for_a_slow_reader(script: &Script) -> Result {
    // Each end may have so much on the way as `net.core.wmem_default` allows,
    // some 200 KiB, and the server holds one chunk.
    const N_BYTES: usize = 2_000_000;

    let _server = serve(script)?;
    let mut client = greeted(script, "a client")?;
    let mut random = fastrand::Rng::with_seed(script.seed());
    let bytes: Vec<u8> = (0..N_BYTES).map(|_| random.u8(..)).collect();
    let sending = client.send_meanwhile(bytes.clone())?;
    client.wait_until_way_back_is_full()?;
    script.step("it begins to read");
    client.expect(&bytes)?;
    expect_sent(sending)
}

fn tells_a_reset_as_an_error(script: &Script) -> Result {
    let server = serve(script)?;
    // It does not read its greeting.
    let client = script.connect_path(&path(script), "a client")?;
    client.reset()?;
    server.expect_story(
        "client 1 closed with an error: connection reset by peer (ECONNRESET)",
    )
}

fn a_reset_harms_nobody_else(script: &Script) -> Result {
    let server = serve(script)?;
    let mut witness = greeted(script, "a client that stays")?;
    let client = script.connect_path(&path(script), "a client")?;
    client.reset()?;
    // One that may be gone before it can be accepted.
    script.connect_path(&path(script), "another")?.close();
    greeted(script, "the next client")?;
    witness.send(b"hello")?;
    witness.expect(b"hello")?;
    ensure(!server.has_ended(), "it has ended")
}

fn makes_the_file_for_its_user_only(script: &Script) -> Result {
    let modes: [(&[&str], u32); 3] = [
        (&[], 0o600),
        (&["--mode", "0666"], 0o666),
        (&["--mode", "620"], 0o620),
    ];
    for (flags, mode) in modes {
        let server = serve_with(script, flags)?;
        greeted(script, "a client")?;
        script.step(format_args!("the file's mode is {mode:04o}"));
        let seen = file(script)?.permissions;
        ensure(seen == mode, format_args!("it is {seen:04o}"))?;
        server.signal(Signal::Terminate)?;
        server.expect_status(0)?;
    }
    Ok(())
}

fn opens_no_door_before_the_mode(script: &Script) -> Result {
    // What is open for some microseconds does not show every time.
    const STARTS: usize = 8;

    kernel::can_see()?;
    let address = SockAddr::unix(path(script))?;
    for _ in 0..STARTS {
        let server = script.start(&["server", "--path", NAME])?;
        script.step("a client connects as soon as it can");
        let deadline = Instant::now() + patience();
        // Without a pause: a look a millisecond later would see nothing.
        loop {
            let client = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            if client.connect(&address).is_ok() {
                break;
            }
            let is_over = Instant::now() > deadline || server.has_ended();
            ensure(!is_over, "it does not listen")?;
        }
        let seen = file(script)?.permissions;
        script.step("then the file's mode was 0600");
        ensure(seen == 0o600, format_args!("it was {seen:04o}"))?;
        server.signal(Signal::Terminate)?;
        server.expect_status(0)?;
    }
    Ok(())
}

fn warns_when_others_may_connect(script: &Script) -> Result {
    let server = serve(script)?;
    // Whoever greets has had the time to warn.
    greeted(script, "a client")?;
    script.step("with its own mode it did not warn");
    ensure(server.stderr().is_empty(), server.stderr())?;
    server.signal(Signal::Terminate)?;
    server.expect_status(0)?;

    for mode in ["0666", "0620", "0602"] {
        let server = serve_with(script, &["--mode", mode])?;
        server.expect_stderr(NAME)?;
        server.signal(Signal::Terminate)?;
        server.expect_status(0)?;
    }
    Ok(())
}

/// It fails with this error and prints nothing else, and what stands at the
/// path is what it was.
fn expect_failure(script: &Script, name: &str, code: &str) -> Result {
    let path = script.home().join(name);
    let before = kernel::file(&path);
    let failed = script.start(&["server", "--path", name])?;
    failed.expect_status(1)?;
    expect_error(&failed, &format!("cannot listen on {name}: "), code)?;
    expect_two_lines(&failed)?;
    script.step(format_args!("{name} is as it was"));
    let now = kernel::file(&path);
    ensure(now == before, format_args!("{before:?} has become {now:?}"))
}

fn refuses_a_live_path(script: &Script) -> Result {
    let free = script.home().join("free.sock");
    let _free = script.listen_path(&free, 10)?;
    expect_failure(script, "free.sock", "(EADDRINUSE)")?;
    script.connect_path(&free, "a client of the other")?;

    // A queue of 0 has room for one that nobody accepts.
    let busy = script.home().join("busy.sock");
    let _busy = script.listen_path(&busy, 0)?;
    let _waiting =
        script.connect_path(&busy, "the only one it has room for")?;
    expect_failure(script, "busy.sock", "(EADDRINUSE)")?;

    script.step("log.sock is a socket for datagrams, as that of syslog is");
    let log = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    log.bind(&SockAddr::unix(script.home().join("log.sock"))?)?;
    expect_failure(script, "log.sock", "(EADDRINUSE)")
}

/// The file of a server that was not able to remove it.
fn leave_stale(script: &Script) -> Result {
    drop(script.listen_path(&path(script), 10)?);
    script.step("that server is gone, and its file is not");
    let address = SockAddr::unix(path(script))?;
    // A child that another thread has just forked holds the listener as well,
    // until its program runs.
    let is_refused = || {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).ok()?;
        let error = client.connect(&address).err()?;
        (error.kind() == ErrorKind::ConnectionRefused).then_some(())
    };
    wait_for(is_refused).ok_or_else(|| Stop::broken("somebody listens"))
}

fn takes_over_a_stale_path(script: &Script) -> Result {
    leave_stale(script)?;
    let server = serve(script)?;
    let mut client = greeted(script, "a client")?;
    client.send(b"hello")?;
    client.expect(b"hello")?;
    script.step("the file is the new one, of mode 0600");
    let seen = file(script)?.permissions;
    ensure(seen == 0o600, format_args!("its mode is {seen:04o}"))?;
    ensure(server.stderr().is_empty(), server.stderr())
}

fn removes_nothing_but_sockets(script: &Script) -> Result {
    let text = script.home().join("notes.txt");
    fs::write(&text, "not yours")?;
    expect_failure(script, "notes.txt", "(EADDRINUSE)")?;
    let kept = fs::read(&text)?;
    ensure(kept == b"not yours", "what stood in it is gone")?;

    fs::create_dir(script.home().join("directory"))?;
    expect_failure(script, "directory", "(EADDRINUSE)")?;

    leave_stale(script)?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(NAME, script.home().join("link"))?;
    expect_failure(script, "link", "(EADDRINUSE)")?;
    file(script).map(drop)
}

fn removes_its_file_at_the_end(script: &Script) -> Result {
    for signal in [Signal::Interrupt, Signal::Terminate] {
        let server = serve(script)?;
        let mut client = greeted(script, "a client")?;
        server.signal(signal)?;
        client.expect_fin()?;
        server.expect_status(0)?;
        script.step("the path is free");
        let left = kernel::file(&path(script));
        ensure(left.is_none(), format_args!("there is {left:?}"))?;
    }
    Ok(())
}

fn leaves_the_file_of_another(script: &Script) -> Result {
    let server = serve(script)?;
    greeted(script, "a client")?;
    script.step("somebody removes its file, and another server starts");
    fs::remove_file(path(script))?;
    let _other = script.listen_path(&path(script), 10)?;
    let before = file(script)?;
    server.signal(Signal::Terminate)?;
    server.expect_status(0)?;
    script.step("the other's file is there");
    ensure(file(script)? == before, "it is another")?;
    script.connect_path(&path(script), "a client of the other")?;
    Ok(())
}

fn a_path_too_long_is_one_clear_line(script: &Script) -> Result {
    // The room of sun_path, unix(7), less the zero at its end.
    const MOST: usize = 107;

    let longest = "x".repeat(MOST);
    // A check of ours cannot connect there: its directory makes it longer.
    let server = script.start(&["server", "--path", &longest])?;
    script.wait_listening_on_path(&server, &script.home().join(&longest))?;

    let too_long = "y".repeat(MOST + 1);
    expect_failure(script, &too_long, "(ENAMETOOLONG)")?;
    script.step("nor is there a file with a shorter name");
    let cut = script.home().join("y".repeat(MOST));
    ensure(kernel::file(&cut).is_none(), "there is")
}

fn a_missing_directory_is_one_clear_line(script: &Script) -> Result {
    expect_failure(script, "nowhere/here.sock", "(ENOENT)")
}

fn a_locked_directory_is_one_clear_line(script: &Script) -> Result {
    let locked = script.home().join("locked");
    fs::create_dir(&locked)?;
    let mut permissions = fs::metadata(&locked)?.permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&locked, permissions)?;
    expect_failure(script, "locked/here.sock", "(EACCES)")
}

/// The program as a client of ours.
fn pair(script: &Script, setup: Setup) -> Result<(Rc<Subject>, Peer)> {
    // It may be there from before.
    let _ = fs::remove_file(path(script));
    let server = script.listen_path(&path(script), 10)?;
    let flags = ["client", "--path", NAME].map(str::to_owned).to_vec();
    let program = script.start_with(&Setup { flags, ..setup })?;
    let peer = server.accept("our server")?;
    Ok((program, peer))
}

fn with(stdin: Stdin) -> Setup {
    Setup {
        stdin,
        ..Setup::default()
    }
}

fn client_sends_stdin_byte_for_byte(script: &Script) -> Result {
    let (program, mut peer) = pair(script, with(Stdin::Pipe))?;
    let (_, bytes) = any_bytes(script);
    program.type_in(&bytes)?;
    peer.expect(&bytes)?;
    // Half a line is sent, too: nothing waits for its end.
    program.type_in(b"half a line")?;
    peer.expect(b"half a line")
}

fn client_prints_what_arrives(script: &Script) -> Result {
    let (program, mut peer) = pair(script, with(Stdin::Pipe))?;
    let (_, bytes) = any_bytes(script);
    peer.send(&bytes)?;
    program.expect_stdout(&bytes)?;
    peer.close();
    program.expect_status(0)?;
    program.expect_stdout(&bytes)
}

fn client_half_closes_at_the_end_of_stdin(script: &Script) -> Result {
    let (program, mut peer) = pair(script, with(Stdin::Pipe))?;
    program.type_in(b"question")?;
    program.end_stdin();
    peer.expect(b"question")?;
    peer.expect_fin()?;
    peer.send(b"answer")?;
    program.expect_stdout(b"answer")?;
    script.step("it has not ended");
    ensure(!program.has_ended(), "it has")?;
    peer.close();
    program.expect_status(0)
}

fn client_ends_with_the_server(script: &Script) -> Result {
    for stdin in [Stdin::Pipe, Stdin::Terminal] {
        let (program, mut peer) = pair(script, with(stdin))?;
        peer.send(b"bye")?;
        peer.half_close()?;
        program.expect_stdout(b"bye")?;
        peer.expect_fin()?;
        program.expect_status(0)?;
    }
    Ok(())
}

fn client_escapes_what_arrives(script: &Script) -> Result {
    let (program, mut peer) = pair(script, with(Stdin::Terminal))?;
    // Red, bell, right-to-left, back to the start of the line.
    peer.send("\u{1b}[31mred\u{7}\u{202e}\rover\n".as_bytes())?;
    peer.send("珠\n".as_bytes())?;
    script.step("the screen shows 珠");
    let screen =
        || String::from_utf8_lossy(&program.stdout()).replace("\r\n", "\n");
    wait_for(|| screen().contains('珠').then_some(()))
        .ok_or_else(|| Stop::broken("it does not"))?;
    script.step("the screen got no control character");
    let evil = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    let screen = screen();
    ensure(!screen.contains(evil), format_args!("it got {screen:?}"))
}

fn client_tells_why_not(script: &Script) -> Result {
    let what = format!("cannot connect to {NAME}: ");
    let expect = |code| {
        let failed = script.start(&["client", "--path", NAME])?;
        failed.expect_status(1)?;
        expect_error(&failed, &what, code)?;
        expect_two_lines(&failed)
    };
    expect("(ENOENT)")?;
    leave_stale(script)?;
    expect("(ECONNREFUSED)")
}

fn client_tells_a_reset(script: &Script) -> Result {
    let (program, peer) = pair(script, with(Stdin::Pipe))?;
    program.type_in(b"what nobody reads")?;
    peer.reset()?;
    program.expect_status(1)?;
    let what = format!("connection to {NAME} failed: ");
    expect_error(&program, &what, "(ECONNRESET)")
}

fn client_ends_in_order_when_asked(script: &Script) -> Result {
    for signal in [Signal::Interrupt, Signal::Terminate] {
        let (program, mut peer) = pair(script, with(Stdin::Pipe))?;
        peer.send(b"hello")?;
        program.expect_stdout(b"hello")?;
        program.signal(signal)?;
        peer.expect_fin()?;
        program.expect_status(0)?;
    }

    let setup = Setup {
        one_line_reader: true,
        ..with(Stdin::Pipe)
    };
    let (program, mut peer) = pair(script, setup)?;
    peer.send(b"the first line\n")?;
    program.wait_stdout_closed()?;
    script.step("more lines come, and it ends");
    let ended = || {
        let sent = peer.send(b"and another\n");
        (sent.is_err() || program.has_ended()).then_some(())
    };
    wait_for(ended).ok_or_else(|| Stop::broken("it has not ended"))?;
    program.expect_status(0)?;
    script.step("it reports no error");
    ensure(program.stderr().is_empty(), program.stderr())
}

fn runs_with_no_flags(script: &Script) -> Result {
    let server = script.start(&[])?;
    let default = script.home().join("lab.sock");
    script.wait_listening_on_path(&server, &default)?;
    let flags = vec!["client".to_owned()];
    let client = script.start_with(&Setup {
        flags,
        ..with(Stdin::Pipe)
    })?;
    client.type_in(b"hello\n")?;
    client.expect_stdout(b"hello, you are client 1\r\nhello\n")?;
    script.step("nobody else may connect");
    let seen = kernel::file(&default).map_or(0, |file| file.permissions);
    ensure(seen == 0o600, format_args!("its mode is {seen:04o}"))
}

fn help_says_what_and_how(script: &Script) -> Result {
    expect_help(script, "--path")
}

fn bad_flags_are_misuse(script: &Script) -> Result {
    let misuses: [(&[&str], &str); 7] = [
        (&["--no-such-flag"], "--no-such-flag"),
        (&["servant"], "servant"),
        (&["server", "--mode", "rw-------"], "rw-------"),
        (&["server", "--mode", "0680"], "0680"),
        (&["server", "--mode", "10000"], "10000"),
        (&["server", "--path", ""], "--path"),
        (&["client", "--mode", "0600"], "--mode"),
    ];
    for (flags, named) in misuses {
        let failed = script.start(flags)?;
        failed.expect_status(2)?;
        let stderr = failed.stderr();
        let first = stderr.lines().next().unwrap_or_default();
        ensure(
            first.starts_with("error: ") && stderr.contains(named),
            format_args!("expected an error about {named}, got {stderr:?}"),
        )?;
    }
    Ok(())
}

fn ends_in_order_when_asked(script: &Script) -> Result {
    for signal in [Signal::Interrupt, Signal::Terminate] {
        let server = serve(script)?;
        let mut client = greeted(script, "a client")?;
        server.signal(signal)?;
        client.expect_fin()?;
        server.expect_status(0)?;
        ensure(server.stderr().is_empty(), server.stderr())?;
    }
    Ok(())
}

fn ends_at_once_when_asked_twice(script: &Script) -> Result {
    expect_end_when_asked_twice(|| {
        // Who ended at once has left its file.
        let _ = fs::remove_file(path(script));
        let server = serve(script)?;
        Ok((server, greeted(script, "a client")?))
    })
}

fn a_closed_stdout_ends_it_quietly(script: &Script) -> Result {
    let setup = Setup {
        flags: ["server", "--path", NAME].map(str::to_owned).to_vec(),
        one_line_reader: true,
        ..Setup::default()
    };
    let server = script.start_with(&setup)?;
    script.wait_listening_on_path(&server, &path(script))?;
    let connect = |name: &str| script.connect_path(&path(script), name);
    expect_quiet_end(script, &server, &connect)
}

fn survives_a_full_descriptor_table(script: &Script) -> Result {
    let server = serve(script)?;
    // Who is greeted has been accepted, and let go: the program is all set up.
    greeted(script, "a first client")?;
    server.expect_story("client 1 closed")?;
    let connect = |name: &str| script.connect_path(&path(script), name);
    let n_waiting = || {
        let pids = kernel::process_tree(server.pid());
        let sockets = kernel::unix_sockets_of(&pids).ok()?;
        let listener = sockets.iter().find(|socket| socket.listens)?;
        Some(listener.receive_queue)
    };
    expect_to_survive_a_full_table(script, &server, &connect, &n_waiting)
}

fn escapes_what_a_peer_sends(script: &Script) -> Result {
    let server = serve(script)?;
    let client = greeted(script, "a client")?;
    expect_evil_escaped(script, &server, client)
}
