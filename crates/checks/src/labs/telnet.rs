//! telnet: shows what a client negotiates, and reads its lines all the same.

use std::net::SocketAddr;
use std::rc::Rc;

use super::every_server::*;
use crate::bytes::shown;
use crate::outcome::{Result, Stop, ensure};
use crate::peer::{End, Pieces};
use crate::promise::lab;
use crate::script::Script;
use crate::subject::{Program, Setup, Stdin, Subject};
use crate::wait::wait_for;

every_server! { lab! {
    $ telnet "telnet" at ([127, 0, 0, 1], 8080), many &[];

    tells_what_clients_negotiate = "tells-what-clients-negotiate":
        "What PuTTY and telnet are recorded to say on connect is told in \
         words, and so are the window and the terminal they have.",
        "Twenty-one strange bytes are seven sentences.";
    keeps_clients_in_line_mode = "keeps-clients-in-line-mode":
        "It refuses all that would make a client send each key by itself, and \
         accepts what tells of its window and terminal.",
        "One word too many, and there are no lines to read any more.";
    sends_no_telnet_to_a_raw_client = "sends-no-telnet-to-a-raw-client":
        "A client that negotiates nothing is sent nothing but lines to read.",
        "In nc an order shows as rubbish.";
    asks_at_once_when_told = "asks-at-once-when-told":
        "With `--ask` every client is asked for eight bits, its window and its \
         terminal, once.",
        "telnet to a port of one's own never begins to negotiate by itself.";
    answers_only_what_changes_something = "answers-only-what-changes-something":
        "What only confirms what is so is not answered.",
        "Two polite machines would confirm each other's words for ever.";
    answers_every_timing_mark = "answers-every-timing-mark":
        "DO TIMING-MARK is answered WILL TIMING-MARK, every time.",
        "After Ctrl-C, telnet shows nothing more until the answer comes.";
    answers_are_you_there = "answers-are-you-there":
        "AYT is answered with a line.",
        "It is asked by somebody who doubts it.";
    any_cut_gives_the_same = "any-cut-gives-the-same":
        "However the bytes are cut into reads, the story and the answers are \
         the same.",
        "PuTTY alone sends the end of a line by itself.";
    takes_every_line_end = "takes-every-line-end":
        "A line ends with CR LF, LF, CR NUL or CR, and with the end of the \
         stream.",
        "Each is what some client sends for Enter.";
    never_echoes_raw_bytes = "never-echoes-raw-bytes":
        "Nothing that a client sends comes back as a control character, an \
         escape sequence or an order.",
        "Some terminals answer these, and the answer is typed for the user.";
    refuses_a_long_line = "refuses-a-long-line":
        "A line of more than 4096 bytes is refused in words, once, and the \
         client stays.",
        "A line without an end must not fill the memory.";
    refuses_bad_utf8 = "refuses-bad-utf8":
        "A line that is not UTF-8 is refused in words, and the client stays.",
        "Half a character is no text, and guessing makes it worse.";
    a_synch_leaves_no_trace = "a-synch-leaves-no-trace":
        "The urgent byte of a Synch stays in its place, and none of it gets \
         into the line.",
        "By default the kernel takes the byte out, and the rest looks like \
         text.";
    ends_when_the_user_ends = "ends-when-the-user-ends":
        "EOF, which PuTTY sends for Ctrl-D, ends the connection in order, and \
         what still comes is read.",
        "It is an order like Ctrl-C, and no end of the stream.";
    a_chinese_line_comes_through_telnet = "a-chinese-line-comes-through-telnet":
        "A Chinese line typed into telnet arrives whole with `--ask`, and \
         without it at the latest when it is sent again.",
        "telnet takes bytes of one character in six for control keys.";
    ctrl_c_in_telnet_silences_nothing = "ctrl-c-in-telnet-silences-nothing":
        "After Ctrl-C in telnet the user still sees every answer.",
        "Unanswered, telnet throws away all that the server sends.";
    a_paste_arrives_whole = "a-paste-arrives-whole":
        "Twenty lines pasted into telnet arrive as twenty lines, in order.",
        "A paste is many lines in few reads.";
    talks_with_plink = "talks-with-plink":
        "A Chinese line typed into plink arrives whole, in Telnet mode and in \
         raw mode.",
        "It is PuTTY for the command line, and negotiates as PuTTY does.";
    talks_with_nc = "talks-with-nc":
        "A Chinese line typed into nc arrives whole, and so does its answer.",
        "It is the plainest client there is.";
    talks_with_socat = "talks-with-socat":
        "A Chinese line typed into socat with a raw terminal arrives whole.",
        "A raw terminal sends a bare CR for Enter.";
}}

/// Recorded: what PuTTY and plink say on connect, then their window and
/// terminal when asked.
#[rustfmt::skip]
const PUTTY: &[u8] = b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03";
const PUTTY_TELLS: &[u8] =
    b"\xff\xfa\x1f\0\x50\0\x18\xff\xf0\xff\xfa\x18\0XTERM\xff\xf0";

/// Recorded: what inetutils telnet says to the telnet port.
#[rustfmt::skip]
const TELNET: &[u8] = b"\xff\xfd\x26\xff\xfb\x26\xff\xfd\x03\xff\xfb\x18\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x21\xff\xfb\x22\xff\xfb\x27\xff\xfd\x05";

const CTRL_C_IN_TELNET: &[u8] = b"\xff\xf4\xff\xfd\x06";

/// What is to be said to them.
#[rustfmt::skip]
const TO_PUTTY: &[u8] = b"\xff\xfd\x1f\xff\xfd\x18\xff\xfe\x20\xff\xfa\x18\x01\xff\xf0\xff\xfe\x27\xff\xfc\x01\xff\xfe\x03\xff\xfc\x03";
#[rustfmt::skip]
const TO_TELNET: &[u8] = b"\xff\xfc\x26\xff\xfd\x1f\xff\xfd\x18\xff\xfe\x26\xff\xfc\x03\xff\xfa\x18\x01\xff\xf0\xff\xfe\x20\xff\xfe\x21\xff\xfe\x22\xff\xfd\x00\xff\xfe\x27\xff\xfc\x05";

/// What the story tells of one client, without its address.
fn told(server: &Subject, peer: SocketAddr) -> Vec<String> {
    let start = format!("{peer} ");
    let told = server.story();
    told.iter()
        .filter_map(|line| line.strip_prefix(&start))
        .map(str::to_owned)
        .collect()
}

/// Waits until the story of one client is this.
fn expect_told(
    script: &Script,
    server: &Subject,
    peer: SocketAddr,
    expected: &[&str],
) -> Result {
    script.step(format_args!("the story of {peer} is {expected:#?}"));
    wait_for(|| (told(server, peer) == expected).then_some(())).ok_or_else(
        || Stop::broken(format_args!("it is {:#?}", told(server, peer))),
    )
}

fn tells_what_clients_negotiate(script: &Script) -> Result {
    let server = script.serve()?;
    let mut client = welcomed(script, &server, "PuTTY")?;
    client.send(PUTTY)?;
    // The window comes again when it has another size. FF in it is doubled,
    // and F0 in it is no end.
    client.send(PUTTY_TELLS)?;
    client.send(b"\xff\xfa\x1f\0\xff\xff\0\xf0\xff\xf0")?;
    // A stranger may call his terminal whatever he likes.
    client.send(b"\xff\xfa\x18\0\x1b[2J\xff\xf0")?;
    let expected = [
        "connected",
        "said WILL NAWS",
        "is told DO NAWS",
        "is told DO TERMINAL-TYPE",
        "said WILL TERMINAL-SPEED",
        "is told DONT TERMINAL-SPEED",
        "said WILL TERMINAL-TYPE",
        "said WILL NEW-ENVIRON",
        "is told DONT NEW-ENVIRON",
        "said DO ECHO",
        "is told WONT ECHO",
        "said WILL SUPPRESS-GO-AHEAD",
        "is told DONT SUPPRESS-GO-AHEAD",
        "said DO SUPPRESS-GO-AHEAD",
        "is told WONT SUPPRESS-GO-AHEAD",
        "has a window of 80 columns and 24 rows",
        r#"has a terminal of type "XTERM""#,
        "has a window of 255 columns and 240 rows",
        r#"has a terminal of type "\u{1b}[2J""#,
    ];
    expect_told(script, &server, client.address(), &expected)?;

    let mut client = welcomed(script, &server, "telnet")?;
    client.send(TELNET)?;
    client.send(b"\xff\xfb\0\xff\xf1\xff\xfb\xc8\xff\x07")?;
    let expected = [
        "connected",
        "said DO ENCRYPT",
        "is told WONT ENCRYPT",
        "is told DO NAWS",
        "is told DO TERMINAL-TYPE",
        "said WILL ENCRYPT",
        "is told DONT ENCRYPT",
        "said DO SUPPRESS-GO-AHEAD",
        "is told WONT SUPPRESS-GO-AHEAD",
        "said WILL TERMINAL-TYPE",
        "said WILL NAWS",
        "said WILL TERMINAL-SPEED",
        "is told DONT TERMINAL-SPEED",
        "said WILL TOGGLE-FLOW-CONTROL",
        "is told DONT TOGGLE-FLOW-CONTROL",
        "said WILL LINEMODE",
        "is told DONT LINEMODE",
        "is told DO BINARY",
        "said WILL NEW-ENVIRON",
        "is told DONT NEW-ENVIRON",
        "said DO STATUS",
        "is told WONT STATUS",
        "said WILL BINARY",
        "said NOP",
        "said WILL option 200",
        "is told DONT option 200",
        "said command 7",
    ];
    expect_told(script, &server, client.address(), &expected)
}

fn keeps_clients_in_line_mode(script: &Script) -> Result {
    let server = script.serve()?;
    for (name, opening, answer) in
        [("PuTTY", PUTTY, TO_PUTTY), ("telnet", TELNET, TO_TELNET)]
    {
        let mut client = welcomed(script, &server, name)?;
        client.send(opening)?;
        client.expect(answer)?;
        client.send(b"hello\r\n")?;
        client.expect_exact_line(r#"you sent "hello""#)?;
    }
    Ok(())
}

fn sends_no_telnet_to_a_raw_client(script: &Script) -> Result {
    let server = script.serve()?;
    let mut client = script.connect(&server, "nc")?;
    client.send("hello\r\n你好\r\n".as_bytes())?;
    client.half_close()?;
    let (received, _) = client.read_to_end()?;
    let expected = "welcome\r\nyou sent \"hello\"\r\nyou sent \"你好\"\r\n";
    ensure(
        received == expected.as_bytes(),
        format_args!("received {}", shown(&received)),
    )
}

fn asks_at_once_when_told(script: &Script) -> Result {
    let server = script.serve_with(&["--ask"])?;
    let mut client = welcomed(script, &server, "telnet")?;
    client.expect(b"\xff\xfd\0\xff\xfd\x1f\xff\xfd\x18")?;
    // It refuses one, accepts the others, and is asked for the name then.
    client.send(b"\xff\xfc\0\xff\xfb\x1f\xff\xfb\x18hello\r\n")?;
    client.expect(b"\xff\xfa\x18\x01\xff\xf0")?;
    client.expect_exact_line(r#"you sent "hello""#)
}

fn answers_only_what_changes_something(script: &Script) -> Result {
    let server = script.serve()?;
    let mut client = welcomed(script, &server, "a client")?;
    // WONT ECHO and DONT ECHO are so already; then it is asked.
    client.send(b"\xff\xfc\x01\xff\xfe\x01")?;
    client.expect(b"\xff\xfd\x1f\xff\xfd\x18")?;
    // It answers the questions, twice, and refuses what it does not do.
    client
        .send(b"\xff\xfb\x1f\xff\xfc\x18\xff\xfb\x1f\xff\xfc\x18\xff\xfc\0")?;
    client.send(b"hello\r\n")?;
    client.expect_exact_line(r#"you sent "hello""#)?;
    // It stops what it did: that is a change.
    client.send(b"\xff\xfc\x1f\xff\xfc\x1f")?;
    client.expect(b"\xff\xfe\x1f")?;
    client.send(b"hello\r\n")?;
    client.expect_exact_line(r#"you sent "hello""#)
}

fn answers_every_timing_mark(script: &Script) -> Result {
    let server = script.serve()?;
    let mut client = welcomed(script, &server, "telnet")?;
    client.send(CTRL_C_IN_TELNET)?;
    client.expect(b"\xff\xfb\x06")?;
    // Now it is known to speak Telnet.
    client.expect(b"\xff\xfd\x1f\xff\xfd\x18\xff\xfd\0")?;
    for _ in 0..3 {
        client.send(CTRL_C_IN_TELNET)?;
        client.expect(b"\xff\xfb\x06")?;
    }
    client.send(b"hello\r\n")?;
    client.expect_exact_line(r#"you sent "hello""#)
}

fn answers_are_you_there(script: &Script) -> Result {
    let server = script.serve()?;
    let mut client = welcomed(script, &server, "a client")?;
    for _ in 0..2 {
        client.send(b"\xff\xf6")?;
        client.expect_exact_line("yes, I am here")?;
    }
    Ok(())
}

fn any_cut_gives_the_same(script: &Script) -> Result {
    let mut bytes = [PUTTY, PUTTY_TELLS, TELNET, CTRL_C_IN_TELNET].concat();
    bytes.extend("hello\r\n珠峰\r\0来\r".as_bytes());
    bytes.extend(b"\xe7\xff\xf5\xff\xfd\x06\xa0\r\nbye\xff\xf8adieu");

    let server = script.serve()?;
    let hear = |pieces| -> Result<(Vec<u8>, Vec<String>)> {
        let mut client = welcomed(script, &server, "a client")?;
        let peer = client.address();
        client.send_in(&bytes, pieces)?;
        client.half_close()?;
        let (received, _) = client.read_to_end()?;
        server.expect_story(&format!("{peer} closed"))?;
        Ok((received, told(&server, peer)))
    };
    let seed = script.seed();
    let (expected, expected_story) = hear(Pieces::Whole)?;
    for pieces in [Pieces::EachByte, Pieces::Seeded(seed)] {
        let (received, story) = hear(pieces)?;
        let difference = crate::bytes::difference(&expected, &received);
        ensure(difference.is_none(), difference.unwrap_or_default())?;
        ensure(story == expected_story, format_args!("it tells {story:#?}"))?;
    }
    script.step("the last lines are these");
    let mut last = "you sent \"来\"\r\n".as_bytes().to_vec();
    last.extend(b"\xff\xfb\x06a line that is not UTF-8 was dropped; ");
    last.extend(b"send it again\r\nyou sent \"adieu\"\r\n");
    ensure(expected.ends_with(&last), expected.escape_ascii())
}

fn takes_every_line_end(script: &Script) -> Result {
    let server = script.serve()?;
    let mut client = welcomed(script, &server, "a client")?;
    client.send(b"one\r\ntwo\nthree\r\0four\r\n\r\nfive\r")?;
    for line in ["one", "two", "three", "four", "", "five"] {
        client.expect_exact_line(&format!("you sent {line:?}"))?;
    }
    // The LF of that CR comes late.
    client.send(b"\nsix")?;
    client.half_close()?;
    client.expect_exact_line(r#"you sent "six""#)?;
    client.expect_fin()
}

fn never_echoes_raw_bytes(script: &Script) -> Result {
    let server = script.serve()?;
    // Where is the cursor, who are you, beep, what are you, reversed text, an
    // escape sequence in one character, one character back.
    let evil = "\u{1b}[6n\u{5}\u{7}\u{1b}[c\u{202e}\u{9b}6n\u{8}\r\n";
    // And the same in a line that is not UTF-8.
    let bytes = [evil.as_bytes(), b"\xe9\x1b[6n\r\n"].concat();
    let mut client = welcomed(script, &server, "a client")?;
    client.send(&bytes)?;
    client.half_close()?;
    let (received, _) = client.read_to_end()?;
    script.step("all that came is text, in two lines");
    let text = String::from_utf8_lossy(&received);
    let is_evil = |c: char| c.is_control() || c == '\u{202e}';
    let n_lines = text.split_terminator("\r\n").count();
    let is_text = !text.split_terminator("\r\n").any(|l| l.contains(is_evil));
    ensure(is_text && n_lines == 2, shown(&received))?;

    let mut client = welcomed(script, &server, "telnet")?;
    client.send(&[CTRL_C_IN_TELNET, b"\xff\xff\r\n"].concat())?;
    client.half_close()?;
    let (received, _) = client.read_to_end()?;
    script.step("no order has come back as it was");
    let orders: [&[u8]; 3] = [b"\xff\xf4", b"\xff\xfd\x06", b"\xff\xff"];
    let comes_back =
        |order: &&[u8]| received.windows(order.len()).any(|it| it == *order);
    ensure(!orders.iter().any(comes_back), shown(&received))
}

fn refuses_a_long_line(script: &Script) -> Result {
    const LONGEST: usize = 4096;
    let refusal = "a line of more than 4096 bytes was dropped; make it shorter";

    let server = script.serve()?;
    let mut client = welcomed(script, &server, "a client")?;
    let peer = client.address();
    client.send(&[b'x'; LONGEST])?;
    client.send(b"\r\n")?;
    let line = client.expect_line()?;
    ensure(line.starts_with("you sent \"xxx"), line)?;
    // Before its end has come, and not again when it comes.
    client.send(&[b'x'; LONGEST + 1])?;
    client.expect_exact_line(refusal)?;
    client.send(&[b'x'; 10 * LONGEST])?;
    client.send(b"\r\nhello\r\n")?;
    client.expect_exact_line(r#"you sent "hello""#)?;
    server.expect_story(&format!("{peer} sent a line of more than 4096 bytes"))
}

fn refuses_bad_utf8(script: &Script) -> Result {
    let server = script.serve()?;
    let mut client = welcomed(script, &server, "a client")?;
    let peer = client.address();
    // Latin-1, half a character, a byte FF as telnet sends it.
    for line in [&b"caf\xe9\r\n"[..], b"\xe7\xa0\r\n", b"\xff\xff\r\n"] {
        client.send(line)?;
        let refusal = "a line that is not UTF-8 was dropped; send it again";
        client.expect_exact_line(refusal)?;
    }
    client.send(b"hello\r\n")?;
    client.expect_exact_line(r#"you sent "hello""#)?;
    let line = format!("{peer} sent what is not UTF-8: \"caf\u{fffd}\"");
    server.expect_story(&line)
}

fn a_synch_leaves_no_trace(script: &Script) -> Result {
    let server = script.serve()?;
    let mut client = welcomed(script, &server, "telnet")?;
    let peer = client.address();
    client.send(b"he")?;
    client.send_urgent(0xff)?;
    client.send(b"\xf2llo\r\n")?;
    client.expect_exact_line(r#"you sent "hello""#)?;
    server.expect_story(&format!("{peer} said DM"))
}

fn ends_when_the_user_ends(script: &Script) -> Result {
    let server = script.serve()?;
    let mut client = welcomed(script, &server, "PuTTY")?;
    let peer = client.address();
    client.send(b"bye\xff\xec")?;
    let (received, end) = client.read_to_end()?;
    let is_right = received == b"you sent \"bye\"\r\n" && end == End::Fin;
    let seen = format_args!("received {}, then {end:?}", shown(&received));
    ensure(is_right, seen)?;
    // It does not know yet that it is over. What it sends must not be met by
    // a reset, which would destroy what it has not read.
    client.send(b"still typing\r\n")?;
    client.wait_until_read()?;
    client.close();
    let expected =
        ["connected", "said EOF", r#"sent "bye""#, "ended", "closed"];
    expect_told(script, &server, peer, &expected)
}

/// A client in a terminal of its own, and the server it talks to.
struct Terminal<'a> {
    script: &'a Script<'a>,
    server: Rc<Subject>,
    client: Rc<Subject>,
}

impl<'a> Terminal<'a> {
    /// Starts both; `PORT` in the command stands for the server's port.
    fn start(
        script: &'a Script,
        flags: &[&str],
        command: &[&str],
    ) -> Result<Self> {
        script.need_program(command[0])?;
        let server = script.serve_with(flags)?;
        let port = server.address().port().to_string();
        let words = command.iter().map(|word| word.replace("PORT", &port));
        let setup = Setup {
            stdin: Stdin::Terminal,
            ..Setup::default()
        };
        let client = script.start_program(&Program::command(words), &setup)?;
        let terminal = Terminal {
            script,
            server,
            client,
        };
        terminal.expect("welcome")?;
        Ok(terminal)
    }

    /// Types a line, and Enter, which is a CR until a terminal changes it.
    fn type_line(&self, line: &str) -> Result {
        self.client.type_in(format!("{line}\r").as_bytes())
    }

    /// Types a line; it arrives, and so does its answer.
    fn expect_answer(&self, line: &str) -> Result {
        self.type_line(line)?;
        self.expect(&format!("you sent {line:?}"))
    }

    /// Waits until it has answered all that it is asked at first. Until then it
    /// may change the mode of its terminal, which loses what is typed meanwhile.
    fn expect_negotiated(&self) -> Result {
        self.expect_told(r#"has a terminal of type "XTERM""#, 1)
    }

    /// The terminal shows this.
    fn expect(&self, text: &str) -> Result {
        self.script.step(format_args!("the terminal shows {text}"));
        let is_shown = || {
            let screen = self.client.stdout();
            let screen = String::from_utf8_lossy(&screen);
            screen.contains(text).then_some(())
        };
        wait_for(is_shown).ok_or_else(|| {
            let screen = self.client.stdout();
            Stop::broken(format_args!("it shows {}", shown(&screen)))
        })
    }

    /// Lines of the story that end so, as many as this at least.
    fn expect_told(&self, end: &str, n_times: usize) -> Result {
        self.script.step(format_args!("the story tells: … {end}"));
        let is_told = || {
            let story = self.server.story();
            let lines = story.iter().filter(|line| line.ends_with(end));
            (lines.count() >= n_times).then_some(())
        };
        wait_for(is_told)
            .ok_or_else(|| Stop::broken(self.server.story().join("\n")))
    }
}

/// The telnet of GNU, under the name that is its own.
const INETUTILS: &[&str] = &["inetutils-telnet", "127.0.0.1", "PORT"];

fn a_chinese_line_comes_through_telnet(script: &Script) -> Result {
    // Among their bytes are those for Ctrl-C, Ctrl-O, Ctrl-Z, Ctrl-\ and
    // Ctrl-], each with the top bit set.
    const LINE: &str = "您珠千本来着面话";

    let terminal = Terminal::start(script, &["--ask"], INETUTILS)?;
    terminal.expect_negotiated()?;
    terminal.expect_answer(LINE)?;

    let terminal = Terminal::start(script, &[], INETUTILS)?;
    terminal.type_line("珠")?;
    terminal.expect("a line that is not UTF-8 was dropped; send it again")?;
    terminal.expect_negotiated()?;
    terminal.expect_answer(LINE)
}

fn ctrl_c_in_telnet_silences_nothing(script: &Script) -> Result {
    let terminal = Terminal::start(script, &[], INETUTILS)?;
    for (n_times, line) in [(1, "once"), (2, "twice")] {
        terminal.client.type_in(b"\x03")?;
        terminal.expect_told("said DO TIMING-MARK", n_times)?;
        terminal.expect_negotiated()?;
        terminal.expect_answer(line)?;
    }
    Ok(())
}

fn a_paste_arrives_whole(script: &Script) -> Result {
    let lines: Vec<String> =
        (1..=20).map(|number| format!("line {number}")).collect();
    let server = script.serve()?;
    let mut client = welcomed(script, &server, "a client")?;
    client.send(format!("{}\r\n", lines.join("\r\n")).as_bytes())?;
    for line in &lines {
        client.expect_exact_line(&format!("you sent {line:?}"))?;
    }

    let terminal = Terminal::start(script, &[], INETUTILS)?;
    terminal.type_line(&lines.join("\r"))?;
    for line in &lines {
        terminal.expect(&format!("you sent {line:?}"))?;
    }
    script.step("the story has them in order");
    let told = || -> Vec<String> {
        let story = terminal.server.story();
        let lines = story.iter().filter_map(|it| it.split_once(" sent "));
        lines.map(|(_, line)| line.replace('"', "")).collect()
    };
    wait_for(|| (told() == lines).then_some(()))
        .ok_or_else(|| Stop::broken(format_args!("it has {:#?}", told())))
}

fn talks_with_plink(script: &Script) -> Result {
    for mode in ["-telnet", "-raw"] {
        let command = ["plink", mode, "-P", "PORT", "127.0.0.1"];
        let terminal = Terminal::start(script, &[], &command)?;
        if mode == "-telnet" {
            terminal.expect_negotiated()?;
            // It offers this when the newer one has been refused.
            terminal.expect_told("said WILL ENVIRON", 1)?;
        }
        terminal.expect_answer("你好,珠峰来了")?;
    }
    Ok(())
}

fn talks_with_nc(script: &Script) -> Result {
    let command = ["nc", "127.0.0.1", "PORT"];
    let terminal = Terminal::start(script, &[], &command)?;
    terminal.expect_answer("你好,珠峰来了")
}

fn talks_with_socat(script: &Script) -> Result {
    let command = ["socat", "-,raw,echo=0", "TCP:127.0.0.1:PORT"];
    let terminal = Terminal::start(script, &[], &command)?;
    terminal.expect_answer("你好,珠峰来了")
}
