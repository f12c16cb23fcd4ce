//! What both chat rooms promise.
//!
//! What differs between them is in [`Chat`]. Both take `--rate`, `--gone-after`
//! and `--grace`.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::bytes::shown;
use crate::kernel;
use crate::outcome::{Result, Stop, ensure};
use crate::peer::{Peer, Pieces};
use crate::script::Script;
use crate::subject::{Program, Setup, Signal, Stdin, Subject};
use crate::wait::wait_for;

/// Adds these promises to a lab's own, as `every_server!` does: calls the macro
/// named first, with the list behind what is to be passed on.
macro_rules! every_chat {
    ($then:ident! { $last:ident! { $($own:tt)* } }) => { $then! { $last! {
        $($own)*
        what_one_says_all_others_read = "what-one-says-all-others-read":
            "What one says, colons and all, all others read once, in the order \
             in which it was said.",
            "It is what a chat room is for.";
        a_line_is_a_message_however_it_is_cut =
            "a-line-is-a-message-however-it-is-cut":
            "One line is one message, whichever way it ends, and whether it \
             comes in pieces or with others.",
            "The notes take a read for a line, which it is only by accident.";
        refuses_what_is_too_long_or_no_text =
            "refuses-what-is-too-long-or-no-text":
            "A line of more than 4096 bytes, or not in UTF-8, is refused in \
             words, and its client stays.",
            "A line without an end must not fill the memory.";
        nothing_that_a_terminal_obeys_comes_through =
            "nothing-that-a-terminal-obeys-comes-through":
            "Control characters, escape sequences and direction marks reach no \
             other user.",
            "One user could rewrite the screen of another, or type for him.";
        nobody_can_forge_an_announcement = "nobody-can-forge-an-announcement":
            "Whatever somebody says begins with the name, and no name looks \
             like the beginning of what the room says.",
            "A line is all that a reader has to tell who speaks.";
        nobody_can_take_another_for_you = "nobody-can-take-another-for-you":
            "A name has 1 to 16 characters, is not reserved, and does not look \
             like that of anybody present.",
            "A name is all that the others know of somebody.";
        a_name_is_free_when_its_owner_has_gone =
            "a-name-is-free-when-its-owner-has-gone":
            "When a leave is announced, the name can be taken at once.",
            "Who loses a connection comes back, and wants to be himself.";
        a_stalled_reader_delays_nobody = "a-stalled-reader-delays-nobody":
            "Who does not read delays nobody. When more than 64 KiB would wait \
             for it, and no sooner, it is put out, and is told so.",
            "One suspended terminal must not stop the room, or fill its memory.";
        a_flood_is_slowed_not_lost = "a-flood-is-slowed-not-lost":
            "Twenty lines pasted at once arrive at once. More than `--rate` \
             lines a second arrive all, and later.",
            "A paste is no attack, and an attack must not push out the others.";
        the_last_line_is_seen = "the-last-line-is-seen":
            "Who leaves reads the goodbye and the end of the stream, whatever \
             it sends meanwhile: thirty times of thirty, and in nc as well.",
            "Closing with bytes unread sends a RST, and a RST destroys the \
             goodbye.";
        every_leave_is_announced_once = "every-leave-is-announced-once":
            "However somebody leaves, the others are told once, and only of \
             who had a name.",
            "In the notes nobody is told, and the name stays in the table.";
        the_vanished_leave = "the-vanished-leave":
            "Whose kernel answers no more has left after `--gone-after`, which \
             is less than a minute.",
            "A cable that is cut sends no FIN, and the name would be taken for \
             ever.";
        an_idle_client_costs_little = "an-idle-client-costs-little":
            "A client that says nothing costs less than 16 KiB of memory.",
            "Most users of a chat room read.";
        says_goodbye_to_all = "says-goodbye-to-all":
            "On SIGTERM all are told and see the end of the stream, and who \
             does not end is waited for no longer than `--grace`.",
            "The last line says that it was not the network.";
        tells_negotiation_from_text = "tells-negotiation-from-text":
            "What PuTTY and telnet negotiate is no part of a line. It is \
             answered so that they go on sending lines, and DO TIMING-MARK \
             every time.",
            "In the notes 21 bytes of negotiation become the name.";
        every_terminal_can_talk = "every-terminal-can-talk":
            "A Chinese line typed into telnet, plink, nc or socat reaches all \
             the others, and so do twenty lines pasted into telnet after a \
             Ctrl-C.",
            "Each of them sends something else for Enter, and telnet shows \
             nothing after Ctrl-C until it is answered.";
    } } };
}
pub(crate) use every_chat;

/// What differs between the rooms.
struct Chat {
    /// What a client sends to say something to all.
    say: fn(&str) -> String,
    /// What a client sends to take a name.
    take: fn(&str) -> String,
    /// What a client sends to leave.
    leave: &'static str,
    /// Whether this line tells that somebody of this name is there now.
    has_come: fn(&str, &str) -> bool,
}

const V1: Chat = Chat {
    say: |text| format!("{text}\r\n"),
    take: |name| format!("{name}\r\n"),
    leave: "byebye\r\n",
    has_come: |line, name| line.starts_with(&format!("* {name} joined (")),
};

const V2: Chat = Chat {
    say: |text| format!("b:{text}\r\n"),
    take: |name| format!("n:{name}\r\n"),
    leave: "quit\r\n",
    has_come: |line, name| {
        line.starts_with("* ") && line.ends_with(&format!(" is now {name}"))
    },
};

/// The room that this check is about.
fn chat(script: &Script) -> &'static Chat {
    match script.lab().name {
        "chat-v1" => &V1,
        "chat-v2" => &V2,
        name => unreachable!("{name} is no chat room"),
    }
}

/// No client is slowed, so that checks of much text are fast.
pub(super) const FAST: &[&str] = &["--rate", "1000000"];

/// Somebody who is connected, and reads whole lines.
pub(super) struct Guest {
    chat: &'static Chat,
    name: String,
    pub(super) peer: Peer,
    /// What the last read brought beyond the last line.
    unread: Vec<u8>,
}

impl Guest {
    /// Connects, and has read nothing yet.
    pub(super) fn connect(
        script: &Script,
        server: &Subject,
        name: &str,
    ) -> Result<Self> {
        let peer = script.connect(server, name)?;
        Ok(Self::of(script, peer, name))
    }

    fn of(script: &Script, peer: Peer, name: &str) -> Self {
        Guest {
            chat: chat(script),
            name: name.to_owned(),
            peer,
            unread: Vec::new(),
        }
    }

    /// Connects and takes its name, and those who are there have been told.
    pub(super) fn enter(
        script: &Script,
        server: &Subject,
        name: &str,
        others: &mut [&mut Guest],
    ) -> Result<Self> {
        Self::connect(script, server, name)?.enters(others)
    }

    fn enters(mut self, others: &mut [&mut Guest]) -> Result<Self> {
        let name = self.name.clone();
        self.take(&name)?;
        self.expect_come(&name)?;
        for other in others {
            other.expect_come(&name)?;
        }
        Ok(self)
    }

    pub(super) fn take(&mut self, name: &str) -> Result {
        self.send(&(self.chat.take)(name))
    }

    pub(super) fn send(&mut self, text: &str) -> Result {
        self.peer.send(text.as_bytes())
    }

    pub(super) fn say(&mut self, text: &str) -> Result {
        self.send(&(self.chat.say)(text))
    }

    /// Many lines at once.
    fn say_all(&mut self, lines: &[String]) -> Result {
        let lines: String = lines.iter().map(|l| (self.chat.say)(l)).collect();
        self.send(&lines)
    }

    pub(super) fn leave(&mut self) -> Result {
        self.send(self.chat.leave)
    }

    /// Receives a line; `None` at the end of the stream.
    pub(super) fn line(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(end) = self.unread.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                let text = line.strip_suffix(b"\r\n");
                let text = text.and_then(|text| str::from_utf8(text).ok());
                let broken = || {
                    let (name, line) = (&self.name, shown(&line));
                    Stop::broken(format_args!("{name} received {line}"))
                };
                return Ok(Some(text.ok_or_else(broken)?.to_owned()));
            }
            let received = self.peer.receive()?;
            if received.is_empty() {
                let rest = shown(&self.unread);
                let seen = format_args!("the last line is {rest}");
                ensure(self.unread.is_empty(), seen)?;
                return Ok(None);
            }
            self.unread.extend(received);
        }
    }

    /// Receives this line next.
    pub(super) fn expect(&mut self, expected: &str) -> Result {
        let step = format_args!("reads {expected:?}");
        self.peer.step(step);
        let line = self.line()?;
        let seen = format_args!("received {line:?}");
        ensure(line.as_deref() == Some(expected), seen)
    }

    /// Receives these lines next, and no step is made of each.
    fn expect_all(&mut self, from: &str, lines: &[String]) -> Result {
        let n_lines = lines.len();
        self.peer
            .step(format_args!("reads {n_lines} lines from {from}"));
        for text in lines {
            let line = self.line()?;
            let expected = format!("{from}: {text}");
            let seen = || format!("expected {expected:?}, received {line:?}");
            ensure(line.as_ref() == Some(&expected), seen())?;
        }
        Ok(())
    }

    /// Reads on to a line like this. Everything before it is returned, too.
    fn expect_among(
        &mut self,
        what: &str,
        is_it: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>> {
        self.peer.step(format_args!("reads on: {what}"));
        let mut lines = Vec::new();
        loop {
            let Some(line) = self.line()? else {
                return Err(Stop::broken(format_args!("it read {lines:?}")));
            };
            lines.push(line);
            if lines.last().is_some_and(|line| is_it(line)) {
                return Ok(lines);
            }
        }
    }

    pub(super) fn expect_come(&mut self, name: &str) -> Result {
        let has_come = self.chat.has_come;
        let what = format!("{name} is there");
        self.expect_among(&what, |line| has_come(line, name))
            .map(drop)
    }

    fn expect_left(&mut self, name: &str) -> Result<Vec<String>> {
        let start = format!("* {name} left (");
        self.expect_among(&start, |line| line.starts_with(&start))
    }

    /// A refusal is the next line.
    pub(super) fn expect_refusal(&mut self) -> Result {
        self.peer.step("is refused");
        let line = self.line()?.unwrap_or_default();
        let seen = format_args!("received {line:?}");
        ensure(line.starts_with("! "), seen)
    }

    pub(super) fn half_close(&mut self) -> Result {
        self.peer.half_close()
    }

    pub(super) fn expect_fin(&mut self) -> Result {
        self.peer.step("reads the end of the stream");
        let line = self.line()?;
        ensure(line.is_none(), format_args!("received {line:?}"))
    }
}

pub(super) fn what_one_says_all_others_read(script: &Script) -> Result {
    let server = script.serve_with(FAST)?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let mut bob = Guest::enter(script, &server, "bob", &mut [&mut ann])?;
    let mut carl =
        Guest::enter(script, &server, "carl", &mut [&mut ann, &mut bob])?;

    ann.say("a: colon, and another：one")?;
    for other in [&mut bob, &mut carl] {
        other.expect("ann: a: colon, and another：one")?;
    }
    let texts = |of: &str| -> Vec<String> {
        (1..=100).map(|number| format!("{of} {number}")).collect()
    };
    ann.say_all(&texts("one"))?;
    bob.say_all(&texts("two"))?;
    // Nobody reads what he said himself.
    ann.expect_all("bob", &texts("two"))?;
    bob.expect_all("ann", &texts("one"))?;
    carl.peer.step("reads both, each in order");
    let mut heard = (Vec::new(), Vec::new());
    while heard.0.len() + heard.1.len() < 200 {
        let line = carl.line()?.unwrap_or_default();
        match line.split_once(": ") {
            Some(("ann", text)) => heard.0.push(text.to_owned()),
            Some(("bob", text)) => heard.1.push(text.to_owned()),
            _ => return Err(Stop::broken(format_args!("received {line:?}"))),
        }
    }
    ensure(
        heard == (texts("one"), texts("two")),
        "they are out of order",
    )
}

pub(super) fn a_line_is_a_message_however_it_is_cut(script: &Script) -> Result {
    let server = script.serve_with(FAST)?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let mut bob = Guest::enter(script, &server, "bob", &mut [&mut ann])?;
    let lines = ["one", "two", "three", "四川", "five", "six"];
    let ends = ["\r\n", "\n", "\r\0", "\r\n", "\r", "\n"];
    let mut bytes = Vec::new();
    for (line, end) in lines.iter().zip(ends) {
        let line = (bob.chat.say)(line);
        bytes.extend(line.trim_end().bytes().chain(end.bytes()));
    }
    let seed = script.seed();
    for pieces in [Pieces::Whole, Pieces::EachByte, Pieces::Seeded(seed)] {
        bob.peer.send_in(&bytes, pieces)?;
        for line in lines {
            ann.expect(&format!("bob: {line}"))?;
        }
    }
    // In two pieces that were surely read one by one.
    let line = (bob.chat.say)("in two");
    let (start, end) = line.split_at(line.len() - 3);
    bob.send(start)?;
    bob.peer.wait_until_read()?;
    bob.send(end)?;
    ann.expect("bob: in two")?;
    // Without an end, at the end.
    let last = (bob.chat.say)("last");
    bob.send(last.trim_end())?;
    bob.half_close()?;
    ann.expect("bob: last")?;
    ann.expect_left("bob").map(drop)
}

pub(super) fn refuses_what_is_too_long_or_no_text(script: &Script) -> Result {
    const LONGEST: usize = 4096;

    let server = script.serve()?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let mut bob = Guest::enter(script, &server, "bob", &mut [&mut ann])?;
    let own = (bob.chat.say)("").trim_end().len();
    let longest = "x".repeat(LONGEST - own);
    bob.say(&longest)?;
    ann.expect(&format!("bob: {longest}"))?;
    // Before its end has come, and not again when it comes.
    bob.send(&"x".repeat(LONGEST + 1))?;
    bob.expect_refusal()?;
    bob.send(&"x".repeat(10 * LONGEST))?;
    bob.send("\r\n")?;
    for line in [&b"caf\xe9"[..], b"\xe7\xa0", b"\xff\xff"] {
        bob.peer.send(line)?;
        bob.send("\r\n")?;
        bob.expect_refusal()?;
    }
    bob.say("here")?;
    ann.expect("bob: here")
}

/// What a terminal obeys: red, where is the cursor, who are you, a bell, one
/// character back, an escape sequence in one character, reversed text in two
/// ways, a line of its own in two ways, an invisible space, a tag.
const EVIL: &str = "\u{1b}[31m\u{1b}[6n\u{5}\u{7}\u{8}\u{9b}6n\u{202e}\u{2067}\
    \u{85}\u{2028}\u{200b}\u{feff}\u{e0041}\tx";

fn is_evil(character: char) -> bool {
    character.is_control() || EVIL.contains(character) && !character.is_ascii()
}

pub(super) fn nothing_that_a_terminal_obeys_comes_through(
    script: &Script,
) -> Result {
    let server = script.serve()?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let mut bob = Guest::connect(script, &server, "bob")?;
    for name in EVIL.chars().filter(|it| is_evil(*it)) {
        bob.take(&format!("b{name}b"))?;
    }
    let mut bob = bob.enters(&mut [&mut ann])?;
    bob.say(EVIL)?;
    ann.peer.step("reads nothing that a terminal would obey");
    let line = ann.line()?.unwrap_or_default();
    let is_clean = line.starts_with("bob: ") && !line.contains(is_evil);
    ensure(
        is_clean && line.ends_with('x'),
        format_args!("received {line:?}"),
    )?;
    // What scripts and emoji are made of is no danger.
    bob.say("👩‍🚀 می‌خواهم ❤️ e\u{301}")?;
    ann.expect("bob: 👩‍🚀 می‌خواهم ❤️ e\u{301}")?;
    script.step("and neither does who reads the story");
    let story = String::from_utf8_lossy(&server.stdout()).into_owned();
    let story = story.replace('\n', "");
    ensure(!story.contains(is_evil), format_args!("it tells {story:?}"))
}

pub(super) fn nobody_can_forge_an_announcement(script: &Script) -> Result {
    let server = script.serve_with(FAST)?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let mut eve = Guest::connect(script, &server, "eve")?;
    for name in [
        "*",
        "* ann",
        "*eve",
        "!eve",
        "-eve",
        "(private)",
        "ann:",
        "：",
    ] {
        eve.take(name)?;
    }
    let mut eve = eve.enters(&mut [])?;
    let has_come = eve.chat.has_come;
    let lines = ann.expect_among("eve is there", |l| has_come(l, "eve"))?;
    // With commands, she was there as somebody else before.
    ensure(lines.len() <= 2, format_args!("read {lines:?}"))?;
    for (number, forged) in [
        "* ann left (1 online)",
        "! you are put out",
        "x\r* ann left",
        "x\n* ann left",
        "x\r\0* ann left",
        "x\u{85}* ann left",
        "x\u{2028}* ann left",
        "ann: I am ann",
    ]
    .iter()
    .enumerate()
    {
        eve.say(forged)?;
        eve.say(&format!("end {number}"))?;
        let end = format!("eve: end {number}");
        let lines = ann.expect_among(&end, |line| line == end)?;
        let is_hers = |line: &String| line.starts_with("eve: ");
        ensure(lines.iter().all(is_hers), format_args!("read {lines:?}"))?;
    }
    Ok(())
}

pub(super) fn nobody_can_take_another_for_you(script: &Script) -> Result {
    // Without a word, too long, two words, reserved in three ways, ann's name
    // in capitals, with wide letters, and with letters of Cyrillic and Greek.
    const BAD: &[&str] = &[
        "",
        "12345678901234567",
        "a b",
        "admin",
        "Ｒｏｏｍ",
        "sуstem",
        "ann",
        "ANN",
        "ａｎｎ",
        "аnn",
        "αnn",
    ];

    let server = script.serve_with(FAST)?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let mut bob = Guest::connect(script, &server, "bob")?;
    bob.line()?;
    for name in BAD {
        bob.take(name)?;
        bob.expect_refusal()?;
    }
    // What is written in two ways is one name, the shorter.
    bob.take("bo\u{308}b")?;
    bob.expect_come("böb")?;
    ann.expect_come("böb")?;
    let mut others = Vec::new();
    for name in ["1234567890123456", "珠峰", "o'neil"] {
        let present = &mut [&mut ann, &mut bob];
        others.push(Guest::enter(script, &server, name, present)?);
    }
    Ok(())
}

pub(super) fn a_name_is_free_when_its_owner_has_gone(
    script: &Script,
) -> Result {
    let server = script.serve()?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    for _ in 0..3 {
        let mut bob = Guest::enter(script, &server, "bob", &mut [&mut ann])?;
        let mut other = Guest::connect(script, &server, "another")?;
        other.line()?;
        other.take("bob")?;
        other.expect_refusal()?;
        // It is still connected when its leave is announced.
        bob.leave()?;
        ann.expect_left("bob")?;
        other.take("bob")?;
        other.expect_come("bob")?;
        ann.expect_come("bob")?;
        other.peer.reset()?;
        ann.expect_left("bob")?;
    }
    Ok(())
}

pub(super) fn a_stalled_reader_delays_nobody(script: &Script) -> Result {
    /// More than any kernel holds for one client.
    const MOST: usize = 1500;

    let server = script.serve_with(FAST)?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let mut bob = Guest::enter(script, &server, "bob", &mut [&mut ann])?;
    // Whatever bob is sent, he does not read, and need not be put out for it.
    bob.peer.widen()?;
    let tiny = script.connect_tiny(&server, "slow")?;
    let mut slow =
        Guest::of(script, tiny, "slow").enters(&mut [&mut ann, &mut bob])?;

    // Many lines, but few bytes: ann has time to read them.
    let short: Vec<String> = (0..2000).map(|n| format!("line {n}")).collect();
    bob.say_all(&short)?;
    ann.expect_all("bob", &short)?;
    slow.expect_all("bob", &short)?;

    script.step("bob talks until slow has left, and ann reads every line");
    let long = "x".repeat(4000);
    let mut n_lines = 0;
    loop {
        ensure(n_lines < MOST, "it could say as much as it liked")?;
        bob.say(&long)?;
        let line = ann.line()?.unwrap_or_default();
        if line.starts_with("* slow left (") {
            break;
        }
        let seen = format_args!("received {line:?}");
        ensure(line == format!("bob: {long}"), seen)?;
        n_lines += 1;
    }
    // What was said and the kernel does not hold is in the queue, but for a
    // line that was too much, and those said until it had left.
    script.step("about 64 KiB wait in the queue");
    let said = n_lines * format!("bob: {long}\r\n").len();
    let ends = (slow.peer.other_end()?, slow.peer.this_end()?);
    let (Some(its), Some(own)) = ends else {
        return Err(Stop::broken("its connection is gone"));
    };
    let in_kernel = its.send_queue as usize + own.receive_queue as usize;
    let seen = format_args!("of {said} the kernel holds {in_kernel}");
    let queued = said.saturating_sub(in_kernel);
    ensure((60 * 1024..=76 * 1024).contains(&queued), seen)?;

    // It wakes up, and finds out what has happened.
    slow.peer.widen()?;
    let mut last = String::new();
    while let Some(line) = slow.line()? {
        last = line;
    }
    let seen = format_args!("its last line is {last:?}");
    ensure(last.starts_with("! ") && last.contains("slow"), seen)
}

pub(super) fn a_flood_is_slowed_not_lost(script: &Script) -> Result {
    const RATE: usize = 200;

    let texts = |n_lines| -> Vec<String> {
        (1..=n_lines)
            .map(|number| format!("line {number}"))
            .collect()
    };
    // At one line a second, twenty would take long.
    let server = script.serve_with(&["--rate", "1"])?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let mut bob = Guest::enter(script, &server, "bob", &mut [&mut ann])?;
    // His name was a line, too.
    bob.say_all(&texts(19))?;
    ann.expect_all("bob", &texts(19))?;

    let rate = RATE.to_string();
    let server = script.serve_with(&["--rate", &rate])?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let mut bob = Guest::enter(script, &server, "bob", &mut [&mut ann])?;
    let begin = Instant::now();
    let flood = texts(20 + RATE / 2);
    bob.say_all(&flood)?;
    ann.expect_all("bob", &flood)?;
    script.step("that took half a second at least");
    let took = begin.elapsed();
    let seen = format_args!("it took {took:?}");
    ensure(took >= Duration::from_millis(490), seen)
}

pub(super) fn the_last_line_is_seen(script: &Script) -> Result {
    const TIMES: usize = 30;

    script.need_program("nc")?;
    let server = script.serve_with(FAST)?;
    for _ in 0..TIMES {
        let mut bob = Guest::enter(script, &server, "bob", &mut [])?;
        bob.leave()?;
        // It has not seen yet that it is over.
        let more = bob.peer.send_meanwhile(vec![b'x'; 100_000])?;
        bob.expect("* goodbye")?;
        bob.expect_fin()?;
        let sent = more.join();
        let is_sent = matches!(sent, Ok(Ok(())));
        ensure(is_sent, format_args!("it could not send: {sent:?}"))?;
        bob.peer.wait_until_read()?;
    }
    // nc ends when it can send no more, whether it has shown all or not.
    let port = server.address().port();
    let nc = format!(
        "(printf '{}'; head -c 3000000 /dev/zero) | nc 127.0.0.1 {port}",
        (chat(script).leave).escape_default(),
    );
    let nc = Program::command(["sh", "-c", &nc]);
    let start = |_| script.start_program(&nc, &Setup::default());
    let clients: Vec<_> = (0..TIMES / 3).map(start).collect::<Result<_>>()?;
    for client in clients {
        expect_screen(script, &client, "* goodbye\r\n")?;
    }
    Ok(())
}

pub(super) fn every_leave_is_announced_once(script: &Script) -> Result {
    let server = script.serve_with(FAST)?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    type Way = fn(Guest) -> Result;
    let ways: [Way; 5] = [
        |mut guest| guest.leave(),
        |mut guest| guest.half_close(),
        |guest| guest.peer.reset(),
        |guest| {
            guest.peer.close();
            Ok(())
        },
        // Ctrl-D in PuTTY.
        |mut guest| guest.peer.send(b"\xff\xec"),
    ];
    let names = ["one", "two", "three", "four", "five"];
    for (way, name) in ways.into_iter().zip(names) {
        let guest = Guest::enter(script, &server, name, &mut [&mut ann])?;
        way(guest)?;
        let lines = ann.expect_left(name)?;
        ensure(lines.len() == 1, format_args!("read {lines:?}"))?;
    }
    let mut last = Guest::enter(script, &server, "last", &mut [])?;
    let has_come = last.chat.has_come;
    let lines = ann.expect_among("last is there", |l| has_come(l, "last"))?;
    let again = lines.iter().any(|line| line.contains(" left ("));
    ensure(!again, format_args!("read {lines:?}"))?;
    // And nothing comes afterwards.
    last.say("is anybody there?")?;
    ann.expect("last: is anybody there?")
}

pub(super) fn the_vanished_leave(script: &Script) -> Result {
    let server = script.serve_with(&["--gone-after", "300ms"])?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let bob = Guest::enter(script, &server, "bob", &mut [&mut ann])?;
    bob.peer.vanish()?;
    ann.say("bob?")?;
    ann.expect_left("bob")?;

    // Nobody says anything to this one: then the kernel has to ask.
    let server = script.serve()?;
    let bob = Guest::enter(script, &server, "bob", &mut [])?;
    let socket = server.share_tcp_socket(bob.peer.address())?;
    script.step("with no flags, the kernel gives up in less than a minute");
    ensure(socket.keepalive()?, "it does not ask")?;
    expect_less_than_a_minute(&socket)
}

#[cfg(target_os = "linux")]
fn expect_less_than_a_minute(socket: &socket2::Socket) -> Result {
    let idle = socket.tcp_keepalive_time()?;
    let interval = socket.tcp_keepalive_interval()?;
    let limit = socket.tcp_user_timeout()?.unwrap_or(Duration::MAX);
    // With a user timeout, the number of probes does not count (tcp(7)): the
    // first probe after it finds that it is over.
    let seen = format_args!("{idle:?}, {interval:?}, {limit:?}");
    ensure(idle.max(limit).saturating_add(interval) < MINUTE, seen)
}

#[cfg(target_os = "linux")]
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(not(target_os = "linux"))]
fn expect_less_than_a_minute(_: &socket2::Socket) -> Result {
    Err(Stop::skipped("only Linux shows all of that"))
}

pub(super) fn an_idle_client_costs_little(script: &Script) -> Result {
    const CLIENTS: usize = 200;
    const MOST: u64 = 16 * 1024;

    let server = script.serve()?;
    let memory = || {
        kernel::memory(server.pid())
            .ok_or_else(|| Stop::skipped("only Linux shows its memory"))
    };
    // What it needs once for all is there then.
    let mut guests = vec![Guest::enter(script, &server, "ann", &mut [])?];
    let before = memory()?;
    for number in 0..CLIENTS {
        let name = format!("client {number}");
        let mut guest = Guest::connect(script, &server, &name)?;
        guest.line()?;
        guests.push(guest);
    }
    let each = memory()?.saturating_sub(before) / CLIENTS as u64;
    script.step(format_args!(
        "each of {CLIENTS} costs less than {MOST} bytes"
    ));
    ensure(each < MOST, format_args!("it costs {each} bytes"))
}

const GOODBYE: &str = "* the room closes, goodbye";

pub(super) fn says_goodbye_to_all(script: &Script) -> Result {
    let server = script.serve_with(&["--grace", "300ms"])?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let mut newcomer = Guest::connect(script, &server, "a newcomer")?;
    newcomer.line()?;
    server.signal(Signal::Terminate)?;
    for guest in [&mut ann, &mut newcomer] {
        // The newcomer may have been announced.
        guest.expect_among("the goodbye", |line| line == GOODBYE)?;
        guest.expect_fin()?;
    }
    // Neither of them ends, and it does not wait for ever.
    server.expect_status(0)?;

    // Who ends is not waited for.
    let server = script.serve_with(&["--grace", "60m"])?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    server.signal(Signal::Terminate)?;
    ann.expect(GOODBYE)?;
    ann.peer.close();
    server.expect_status(0)
}

pub(super) fn tells_negotiation_from_text(script: &Script) -> Result {
    // Recorded: what PuTTY says on connect, and what telnet says at Ctrl-C.
    const PUTTY: &[u8] = b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\
        \xff\xfd\x01\xff\xfb\x03\xff\xfd\x03";
    const REFUSED: &[u8] = b"\xff\xfe\x1f\xff\xfe\x20\xff\xfe\x18\xff\xfe\x27\
        \xff\xfc\x01\xff\xfe\x03\xff\xfc\x03";
    const CTRL_C: &[u8] = b"\xff\xf4\xff\xfd\x06";

    let server = script.serve()?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let mut putty = Guest::connect(script, &server, "putty")?;
    putty.line()?;
    for byte in PUTTY {
        putty.peer.send(&[*byte])?;
        putty.peer.wait_until_read()?;
    }
    putty.peer.expect(REFUSED)?;
    let mut putty = putty.enters(&mut [&mut ann])?;
    // Now it may send all eight bits; it is asked once.
    putty.peer.send(CTRL_C)?;
    putty.peer.expect(b"\xff\xfb\x06\xff\xfd\0")?;
    for _ in 0..3 {
        putty.peer.send(CTRL_C)?;
        putty.peer.expect(b"\xff\xfb\x06")?;
    }
    let line = (putty.chat.say)("hello");
    let (start, end) = line.split_at(line.len() - 4);
    putty.send(start)?;
    putty.peer.send(b"\xff\xf1")?;
    putty.send(end)?;
    ann.expect("putty: hello")
}

pub(super) fn every_terminal_can_talk(script: &Script) -> Result {
    const CLIENTS: &[&[&str]] = &[
        &["nc", "127.0.0.1", "PORT"],
        &["inetutils-telnet", "127.0.0.1", "PORT"],
        &["plink", "-telnet", "-P", "PORT", "127.0.0.1"],
        &["plink", "-raw", "-P", "PORT", "127.0.0.1"],
        &["socat", "-,raw,echo=0", "TCP:127.0.0.1:PORT"],
    ];
    const TELNET: usize = 1;

    for client in CLIENTS {
        script.need_program(client[0])?;
    }
    let server = script.serve_with(FAST)?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let port = server.address().port().to_string();
    let mut terminals: Vec<Rc<Subject>> = Vec::new();
    for (number, client) in CLIENTS.iter().enumerate() {
        let words = client.iter().map(|word| word.replace("PORT", &port));
        let setup = Setup {
            stdin: Stdin::Terminal,
            ..Setup::default()
        };
        let terminal =
            script.start_program(&Program::command(words), &setup)?;
        expect_screen(script, &terminal, "* welcome")?;
        // Enter is a CR until a terminal changes it.
        let name = format!("用户{number}");
        let line = (ann.chat.take)(&name);
        terminal.type_in(format!("{}\r", line.trim_end()).as_bytes())?;
        ann.expect_come(&name)?;
        expect_screen(script, &terminal, &name)?;
        let line = (ann.chat.say)("你好，世界");
        terminal.type_in(format!("{}\r", line.trim_end()).as_bytes())?;
        let heard = format!("{name}: 你好，世界");
        ann.expect(&heard)?;
        for other in &terminals {
            expect_screen(script, other, &heard)?;
        }
        terminals.push(terminal);
    }
    let (telnet, name) = (&terminals[TELNET], format!("用户{TELNET}"));
    telnet.type_in(b"\x03")?;
    let pasted: Vec<String> =
        (1..=20).map(|number| format!("第{number}行")).collect();
    for text in &pasted {
        let line = (ann.chat.say)(text);
        telnet.type_in(format!("{}\r", line.trim_end()).as_bytes())?;
    }
    ann.expect_all(&name, &pasted)?;
    ann.say("still there?")?;
    expect_screen(script, telnet, "ann: still there?")
}

/// The terminal shows this.
fn expect_screen(script: &Script, terminal: &Subject, text: &str) -> Result {
    script.step(format_args!("the terminal shows {text}"));
    let is_shown = || {
        let screen = terminal.stdout();
        String::from_utf8_lossy(&screen)
            .contains(text)
            .then_some(())
    };
    wait_for(is_shown).ok_or_else(|| {
        let screen = shown(&terminal.stdout());
        Stop::broken(format_args!("it shows {screen}"))
    })
}
