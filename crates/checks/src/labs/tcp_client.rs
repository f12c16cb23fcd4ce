//! tcp-client: connects, sends what is typed, prints what arrives.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::command_line::{
    expect_end_when_asked_twice, expect_error, expect_help, expect_misuse,
};
use crate::outcome::{Result, Stop, ensure};
use crate::peer::{Peer, Server};
use crate::promise::lab;
use crate::script::Script;
use crate::subject::{Setup, Signal, Stdin, Subject};
use crate::wait::wait_for;

every_program! { lab! {
    $ tcp_client "tcp-client" at ([127, 0, 0, 1], 8080), many &[];

    sends_stdin_byte_for_byte = "sends-stdin-byte-for-byte":
        "What comes on stdin goes to the server byte for byte.",
        "Whoever adds a line end, or decodes, cannot send a file.";
    prints_what_arrives_byte_for_byte = "prints-what-arrives-byte-for-byte":
        "What the server sends goes to stdout byte for byte, and nothing else \
         does.",
        "So that it can stand in a pipe, like nc.";
    half_closes_at_the_end_of_stdin = "half-closes-at-the-end-of-stdin":
        "The end of stdin ends its direction only: it still prints what comes \
         back, and ends with the server.",
        "A client that closes too early never sees the answer.";
    a_server_that_closes_ends_it = "a-server-that-closes-ends-it":
        "When the server ends, it ends, with status 0, although more could be \
         typed.",
        "Nobody should have to press Enter to learn that the line is dead.";
    sends_hello_and_byebye = "sends-hello-and-byebye":
        "`--send`, `--end-after` and `--end-text` do what the notes' client \
         does: say hello, wait, say byebye, end.",
        "A demonstration must not depend on somebody typing.";
    works_on_a_terminal = "works-on-a-terminal":
        "On a terminal it sends each line as it is typed, and Ctrl-D ends its \
         direction.",
        "Most people will use it like this.";
    escapes_what_a_peer_sends = "escapes-what-a-peer-sends":
        "On a terminal, what the server sends is shown, and control \
         characters are not obeyed.",
        "An escape sequence can rewrite the screen, or type for you.";
    tries_every_address = "tries-every-address":
        "When a name has several addresses, it tries one after the other.",
        "`localhost` is often `::1` first, and the server on 127.0.0.1 only.";
    tells_both_ends = "tells-both-ends":
        "When it is connected, it tells the server's address and its own.",
        "Its own port is how one finds the connection in `ss` and Wireshark.";
    refused_is_one_clear_line = "refused-is-one-clear-line":
        "Nobody listening is one line with ECONNREFUSED, a line of help, and \
         status 1.",
        "It is what everybody sees who forgets to start the server.";
    timed_out_is_one_clear_line = "timed-out-is-one-clear-line":
        "No answer within `--connect-timeout` is one line with ETIMEDOUT, a \
         line of help, and status 1.",
        "Left alone, the kernel tries for two minutes.";
    reset_is_one_clear_line = "reset-is-one-clear-line":
        "A connection that the server resets is one line with ECONNRESET, a \
         line of help, and status 1.",
        "A break must not look like an end.";
    an_unknown_name_is_one_clear_line = "an-unknown-name-is-one-clear-line":
        "A name that nobody knows is one line, a line of help, and status 1.",
        "The name must stand in the message, or nobody sees the typing error.";
    runs_with_no_flags = "runs-with-no-flags":
        "With no flags it connects to 127.0.0.1:8080, where the labs listen.",
        "The first run must work.";
    ends_in_order_when_asked = "ends-in-order-when-asked":
        "On Ctrl-C and on SIGTERM the server sees the end of the stream, and \
         it exits with status 0.",
        "A client that dies leaves its server guessing.";
} }

/// A server of ours and the program that has connected to it.
struct Pair {
    program: Rc<Subject>,
    peer: Peer,
}

fn pair(script: &Script, stdin: Stdin, flags: &[&str]) -> Result<Pair> {
    let server = script.listen("127.0.0.1:0", 10)?;
    let setup = setup(server.address()?, stdin, flags);
    connected(script, &server, &setup)
}

fn setup(address: SocketAddr, stdin: Stdin, flags: &[&str]) -> Setup {
    let mut flags: Vec<String> =
        flags.iter().map(ToString::to_string).collect();
    flags.extend(["--connect".to_owned(), address.to_string()]);
    Setup {
        flags,
        stdin,
        ..Setup::default()
    }
}

fn connected(script: &Script, server: &Server, setup: &Setup) -> Result<Pair> {
    let program = script.start_with(setup)?;
    let peer = server.accept("our server")?;
    Ok(Pair { program, peer })
}

/// All bytes that there are, many times, in no order.
fn any_bytes(script: &Script) -> Vec<u8> {
    let seed = script.seed();
    script.step(format_args!("CHECKS_SEED={seed} makes these bytes again"));
    let mut random = fastrand::Rng::with_seed(seed);
    (0..100_000).map(|_| random.u8(..)).collect()
}

fn sends_stdin_byte_for_byte(script: &Script) -> Result {
    let Pair { program, mut peer } = pair(script, Stdin::Pipe, &[])?;
    let bytes = any_bytes(script);
    program.type_in(&bytes)?;
    peer.expect(&bytes)?;
    // Half a line is sent, too: nothing waits for its end.
    program.type_in(b"half a line")?;
    peer.expect(b"half a line")
}

fn prints_what_arrives_byte_for_byte(script: &Script) -> Result {
    let Pair { program, mut peer } = pair(script, Stdin::Pipe, &[])?;
    let bytes = any_bytes(script);
    peer.send(&bytes)?;
    program.expect_stdout(&bytes)?;
    peer.close();
    program.expect_status(0)?;
    program.expect_stdout(&bytes)
}

fn half_closes_at_the_end_of_stdin(script: &Script) -> Result {
    let Pair { program, mut peer } = pair(script, Stdin::Pipe, &[])?;
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

fn a_server_that_closes_ends_it(script: &Script) -> Result {
    for stdin in [Stdin::Pipe, Stdin::Terminal] {
        let Pair { program, mut peer } = pair(script, stdin, &[])?;
        peer.send(b"bye")?;
        peer.half_close()?;
        program.expect_stdout(b"bye")?;
        peer.expect_fin()?;
        program.expect_status(0)?;
    }
    Ok(())
}

fn sends_hello_and_byebye(script: &Script) -> Result {
    const WAITS: Duration = Duration::from_millis(200);

    let started = Instant::now();
    let flags = ["--send", "hello", "--end-after", "200ms"];
    let flags = [&flags[..], &["--end-text", "byebye"]].concat();
    let Pair { program, mut peer } = pair(script, Stdin::Nothing, &flags)?;
    peer.expect(b"hello")?;
    peer.expect(b"byebye")?;
    script.step("it has waited in between");
    let waited = started.elapsed();
    ensure(waited >= WAITS, format_args!("it waited {waited:?}"))?;
    peer.expect_fin()?;
    peer.close();
    program.expect_status(0)
}

fn works_on_a_terminal(script: &Script) -> Result {
    let Pair { program, mut peer } = pair(script, Stdin::Terminal, &[])?;
    program.type_in("你好\n".as_bytes())?;
    peer.expect("你好\n".as_bytes())?;
    // Cut inside a character: it shows when it is whole.
    peer.send(b"\xe7\x8f")?;
    peer.wait_until_read()?;
    peer.send(b"\xa0\r\n")?;
    expect_on_screen(script, &program, "珠")?;
    // Ctrl-D on an empty line.
    program.type_in(b"\x04")?;
    peer.expect_fin()?;
    peer.send(b"the answer\n")?;
    expect_on_screen(script, &program, "the answer")?;
    peer.close();
    program.expect_status(0)
}

fn expect_on_screen(script: &Script, program: &Subject, text: &str) -> Result {
    script.step(format_args!("the screen shows {text:?}"));
    let shows = || {
        let screen = program.stdout();
        String::from_utf8_lossy(&screen)
            .contains(text)
            .then_some(())
    };
    wait_for(shows).ok_or_else(|| Stop::broken("it does not"))
}

fn escapes_what_a_peer_sends(script: &Script) -> Result {
    let Pair { program, mut peer } = pair(script, Stdin::Terminal, &[])?;
    // Red, bell, right-to-left, back to the start of the line.
    peer.send("\u{1b}[31mred\u{7}\u{202e}\rover\n".as_bytes())?;
    peer.send(b"end\n")?;
    expect_on_screen(script, &program, "end")?;
    script.step("the screen got no control character");
    let screen = String::from_utf8_lossy(&program.stdout()).into_owned();
    // The terminal itself makes CR LF of each LF.
    let screen = screen.replace("\r\n", "\n");
    let evil = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    ensure(!screen.contains(evil), format_args!("it got {screen:?}"))
}

fn tries_every_address(script: &Script) -> Result {
    let server = script.listen("127.0.0.1:0", 10)?;
    let port = server.address()?.port();
    script.step("in /etc/hosts, both.test is ::1 and 127.0.0.1");
    let hosts = "::1 both.test\n127.0.0.1 both.test\n".to_owned();
    let flags = ["--connect".to_owned(), format!("both.test:{port}")];
    let setup = Setup {
        flags: flags.to_vec(),
        stdin: Stdin::Pipe,
        hosts: Some(hosts),
        ..Setup::default()
    };
    let Pair { program, mut peer } = connected(script, &server, &setup)?;
    peer.send(b"hello")?;
    program.expect_stdout(b"hello")
}

fn tells_both_ends(script: &Script) -> Result {
    let Pair { program, peer } = pair(script, Stdin::Pipe, &[])?;
    let (client, server) = (peer.remote(), peer.address());
    program.expect_stderr(&format!("connected to {server} from {client}\n"))
}

fn refused_is_one_clear_line(script: &Script) -> Result {
    let (_closed, address) = script.closed_port()?;
    let failed = script.start(&["--connect", &address.to_string()])?;
    failed.expect_status(1)?;
    let what = format!("cannot connect to {address}: ");
    expect_error(&failed, &what, "(ECONNREFUSED)")
}

fn timed_out_is_one_clear_line(script: &Script) -> Result {
    // A queue of 0 has room for one that nobody accepts. For the next, the
    // kernel lets the SYN fall, as if it had been lost on the way.
    let full = script.listen("127.0.0.1:0", 0)?;
    let address = full.address()?;
    let _waiting =
        script.connect_to(address, "the only one it has room for")?;
    let flags = [
        "--connect",
        &address.to_string(),
        "--connect-timeout",
        "100ms",
    ];
    let failed = script.start(&flags)?;
    failed.expect_status(1)?;
    let what = format!("cannot connect to {address}: ");
    expect_error(&failed, &what, "(ETIMEDOUT)")
}

fn reset_is_one_clear_line(script: &Script) -> Result {
    let Pair { program, mut peer } = pair(script, Stdin::Pipe, &[])?;
    // For us it is connected; that it knows so, shows when it prints.
    peer.send(b"hello")?;
    program.expect_stdout(b"hello")?;
    let what = format!("connection to {} failed: ", peer.address());
    peer.reset()?;
    program.expect_status(1)?;
    expect_error(&program, &what, "(ECONNRESET)")
}

fn an_unknown_name_is_one_clear_line(script: &Script) -> Result {
    // RFC 6761: no name under `.invalid` will ever exist.
    let name = "nosuch.invalid:8080";
    let failed = script.start(&["--connect", name])?;
    failed.expect_status(1)?;
    expect_error(&failed, &format!("cannot resolve {name}: "), "")
}

fn runs_with_no_flags(script: &Script) -> Result {
    let address = script.reserve_default_port()?;
    let server = script.listen(&address.to_string(), 10)?;
    let setup = Setup {
        stdin: Stdin::Pipe,
        ..Setup::default()
    };
    let Pair { program, mut peer } = connected(script, &server, &setup)?;
    program.type_in(b"hello\n")?;
    peer.expect(b"hello\n")
}

fn help_says_what_and_how(script: &Script) -> Result {
    expect_help(script, "--connect")
}

fn bad_flags_are_misuse(script: &Script) -> Result {
    expect_misuse(script, "--connect")
}

fn ends_in_order_when_asked(script: &Script) -> Result {
    for signal in [Signal::Interrupt, Signal::Terminate] {
        let Pair { program, mut peer } = pair(script, Stdin::Pipe, &[])?;
        peer.send(b"hello")?;
        program.expect_stdout(b"hello")?;
        program.signal(signal)?;
        peer.expect_fin()?;
        program.expect_status(0)?;
    }
    Ok(())
}

fn ends_at_once_when_asked_twice(script: &Script) -> Result {
    expect_end_when_asked_twice(|| {
        let Pair { program, mut peer } = pair(script, Stdin::Pipe, &[])?;
        peer.send(b"hello")?;
        program.expect_stdout(b"hello")?;
        Ok((program, peer))
    })
}

fn a_closed_stdout_ends_it_quietly(script: &Script) -> Result {
    let server = script.listen("127.0.0.1:0", 10)?;
    let setup = setup(server.address()?, Stdin::Pipe, &[]);
    let setup = Setup {
        one_line_reader: true,
        ..setup
    };
    let Pair { program, mut peer } = connected(script, &server, &setup)?;
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
    let stderr = program.stderr();
    ensure(!stderr.contains("error"), stderr)
}
