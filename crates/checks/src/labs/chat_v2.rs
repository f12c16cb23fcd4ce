//! chat-v2: a chat room with commands, and one write for all that is said at
//! once.

use super::every_chat::*;
use super::every_server::*;
use crate::outcome::{Result, Stop, ensure};
use crate::promise::lab;
use crate::script::Script;
use crate::subject::Signal;

every_chat! { every_server! { lab! {
    $ chat_v2 "chat-v2" at ([127, 0, 0, 1], 8088), many &["--grace", "100ms"];

    everybody_is_somebody = "everybody-is-somebody":
        "A newcomer has a name with a number that nobody else has had, is \
         welcomed with it and with the number online, and all others are told.",
        "In the notes all newcomers have the same name.";
    a_new_name_is_told_to_all = "a-new-name-is-told-to-all":
        "`n:` gives a new name, of which all are told. A name that cannot be \
         had is refused, and the old one stays.",
        "Who loses the old name while he tries a new one has none.";
    what_is_for_one_is_told_to_one = "what-is-for-one-is-told-to-one":
        "`c:` reaches the one who has the name, whichever way it is written, \
         in order with what is said to all, and nobody else.",
        "Whoever whispers trusts the room.";
    nobody_is_called_that = "nobody-is-called-that":
        "`c:` to a name that nobody has is refused, even if the name looks \
         like somebody's.",
        "A secret for bob is not for b0b.";
    lists_who_is_here = "lists-who-is-here":
        "`l` lists all by name and address, in the order in which they came.",
        "In the notes the address is the key of the table, and undefined when \
         the client has gone.";
    says_so_when_it_does_not_know = "says-so-when-it-does-not-know":
        "What is no command is refused, and nobody hears of it. `help` tells \
         which there are.",
        "In the notes the default case writes to a socket that is misspelt.";
    a_wide_colon_is_a_colon = "a-wide-colon-is-a-colon":
        "`b：`, `c：` and `n：`, as a Chinese keyboard types them, are commands.",
        "Who writes Chinese would change the keyboard for each line.";
    writes_once_for_all_that_is_said_at_once =
        "writes-once-for-all-that-is-said-at-once":
        "What many say at the same time is sent to each in one write.",
        "A write costs the same for one line as for fifty.";
}}}

fn everybody_is_somebody(script: &Script) -> Result {
    let server = script.serve_with(&["--grace", "100ms"])?;
    let mut one = Guest::connect(script, &server, "one")?;
    one.expect("* welcome, 1 online, you are anonymous#1; type help")?;
    let mut two = Guest::connect(script, &server, "two")?;
    two.expect("* welcome, 2 online, you are anonymous#2; type help")?;
    one.expect("* anonymous#2 joined (2 online)")?;
    two.say("hello")?;
    one.expect("anonymous#2: hello")?;
    two.leave()?;
    one.expect("* anonymous#2 left (1 online)")?;
    let mut three = Guest::connect(script, &server, "three")?;
    three.expect("* welcome, 2 online, you are anonymous#3; type help")?;
    one.expect("* anonymous#3 joined (2 online)")?;
    // Nobody can seem to be the next one.
    three.take("anonymous#4")?;
    three.expect_refusal()
}

fn a_new_name_is_told_to_all(script: &Script) -> Result {
    let server = script.serve()?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let mut bob = Guest::enter(script, &server, "bob", &mut [&mut ann])?;
    bob.take("rob")?;
    for guest in [&mut ann, &mut bob] {
        guest.expect("* bob is now rob")?;
    }
    for (name, why) in [
        (
            "ann",
            "somebody here has that name, or one that looks like it",
        ),
        ("", "a name has 1 to 16 characters"),
        ("root", "nobody may have that name"),
    ] {
        bob.take(name)?;
        bob.expect(&format!("! {why}; you are still rob"))?;
    }
    bob.say("I am rob")?;
    ann.expect("rob: I am rob")?;
    // The old name is free, and one's own is not somebody else's.
    ann.take("bob")?;
    for guest in [&mut ann, &mut bob] {
        guest.expect("* ann is now bob")?;
    }
    ann.take("Bob")?;
    bob.expect("* bob is now Bob")
}

fn what_is_for_one_is_told_to_one(script: &Script) -> Result {
    let server = script.serve_with(FAST)?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let mut bob = Guest::enter(script, &server, "Bob", &mut [&mut ann])?;
    let mut carl =
        Guest::enter(script, &server, "carl", &mut [&mut ann, &mut bob])?;
    ann.send("b:one\r\nc:bob:two: at 10:30\r\nb:three\r\nc:ＢＯＢ:four\r\n")?;
    for line in [
        "ann: one",
        "(private) ann: two: at 10:30",
        "ann: three",
        "(private) ann: four",
    ] {
        bob.expect(line)?;
    }
    for line in ["ann: one", "ann: three"] {
        carl.expect(line)?;
    }
    // The owner of the name counts, not who had it before.
    bob.take("rob")?;
    carl.expect("* Bob is now rob")?;
    carl.take("bob")?;
    carl.expect("* carl is now bob")?;
    ann.expect("* Bob is now rob")?;
    ann.expect("* carl is now bob")?;
    ann.send("c:bob:five\r\nb:six\r\n")?;
    carl.expect("(private) ann: five")?;
    bob.expect("* Bob is now rob")?;
    bob.expect("* carl is now bob")?;
    bob.expect("ann: six")
}

fn nobody_is_called_that(script: &Script) -> Result {
    let server = script.serve()?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let mut bob = Guest::enter(script, &server, "bob", &mut [&mut ann])?;
    for name in ["eve", "b0b", "", "bob2"] {
        ann.send(&format!("c:{name}:a secret\r\n"))?;
        ann.expect(&format!("! nobody here is called {name}"))?;
    }
    ann.say("hello")?;
    bob.expect("ann: hello")?;
    bob.leave()?;
    ann.expect("* bob left (1 online)")?;
    ann.send("c:bob:a secret\r\n")?;
    ann.expect("! nobody here is called bob")
}

fn lists_who_is_here(script: &Script) -> Result {
    let server = script.serve()?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let bob = Guest::enter(script, &server, "bob", &mut [&mut ann])?;
    let carl = Guest::connect(script, &server, "carl")?;
    ann.expect("* anonymous#3 joined (3 online)")?;
    let (a, b, c) =
        (ann.peer.address(), bob.peer.address(), carl.peer.address());
    ann.send("l\r\n")?;
    for (name, address) in [("ann", a), ("bob", b), ("anonymous#3", c)] {
        ann.expect(&format!("- {name} {address}"))?;
    }
    bob.peer.reset()?;
    ann.expect("* bob left (2 online)")?;
    ann.send("l\r\n")?;
    for (name, address) in [("ann", a), ("anonymous#3", c)] {
        ann.expect(&format!("- {name} {address}"))?;
    }
    Ok(())
}

fn says_so_when_it_does_not_know(script: &Script) -> Result {
    let refusal = "! unknown command; help tells which there are";

    let server = script.serve_with(FAST)?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let mut bob = Guest::enter(script, &server, "bob", &mut [&mut ann])?;
    for line in ["hello", "", "b", "b:", "c:ann", "c:ann:", "x:y", "L", "B:x"] {
        bob.send(&format!("{line}\r\n"))?;
        bob.expect(refusal)?;
    }
    bob.send("help\r\n")?;
    for command in ["b:TEXT", "c:NAME:TEXT", "n:NAME", "l", "help", "quit"] {
        let line = bob.line()?.unwrap_or_default();
        let is_told = line.starts_with(&format!("* {command} "));
        ensure(is_told, format_args!("received {line:?}"))?;
    }
    bob.say("hello")?;
    ann.expect("bob: hello")
}

fn a_wide_colon_is_a_colon(script: &Script) -> Result {
    let server = script.serve()?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let mut bob = Guest::connect(script, &server, "bob")?;
    bob.send("n：珠峰\r\n")?;
    bob.expect_come("珠峰")?;
    ann.expect_come("珠峰")?;
    bob.send("b：你好：世界\r\nc：ann：悄悄话\r\nc:ann：二\r\n")?;
    ann.expect("珠峰: 你好：世界")?;
    ann.expect("(private) 珠峰: 悄悄话")?;
    ann.expect("(private) 珠峰: 二")
}

fn writes_once_for_all_that_is_said_at_once(script: &Script) -> Result {
    const SPEAKERS: usize = 20;

    let server = script.serve()?;
    let mut speakers = Vec::new();
    for number in 1..=SPEAKERS {
        let name = format!("speaker{number}");
        speakers.push(Guest::enter(script, &server, &name, &mut [])?);
    }
    let mut ann = Guest::connect(script, &server, "ann")?;
    ann.line()?;
    let n_segments = |ann: &Guest| {
        let end = ann.peer.this_end()?;
        let broken = || Stop::broken("its connection is gone");
        Ok::<_, Stop>(end.ok_or_else(broken)?.segments_in)
    };
    let before = n_segments(&ann)?;
    // It stands still while they speak, so to it they speak all at once.
    server.signal(Signal::Stop)?;
    for speaker in &mut speakers {
        speaker.say("now")?;
    }
    server.signal(Signal::Continue)?;
    for _ in 0..SPEAKERS {
        let line = ann.line()?.unwrap_or_default();
        ensure(line.ends_with(": now"), format_args!("received {line:?}"))?;
    }
    // A client that says nothing is sent nothing but data, and with
    // TCP_NODELAY every write is a segment.
    script.step("they came in one segment");
    let came = n_segments(&ann)? - before;
    let seen = format_args!("they came in {came} segments");
    ensure(came == 1, seen)
}
