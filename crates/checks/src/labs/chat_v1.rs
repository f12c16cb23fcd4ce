//! chat-v1: a chat room in which the first line is the name.

use super::every_chat::*;
use super::every_server::*;
use crate::outcome::Result;
use crate::promise::lab;
use crate::script::Script;

every_chat! { every_server! { lab! {
    $ chat_v1 "chat-v1" at ([127, 0, 0, 1], 8088), many &["--grace", "100ms"];

    tells_who_comes_and_goes = "tells-who-comes-and-goes":
        "A newcomer is welcomed with the number online, and all are told who \
         joins and who leaves, and how many are online then.",
        "These are three of the five points that the notes ask for.";
    the_first_line_is_the_name = "the-first-line-is-the-name":
        "Until a line is accepted as the name, nothing is said and nothing is \
         heard; an empty line later is nothing.",
        "In the notes a bare Enter is a name, and the next line is another.";
}}}

fn tells_who_comes_and_goes(script: &Script) -> Result {
    let server = script.serve_with(&["--grace", "100ms"])?;
    let mut ann = Guest::connect(script, &server, "ann")?;
    ann.expect("* welcome, 0 online, what is your name?")?;
    ann.send("ann\r\n")?;
    ann.expect("* ann joined (1 online)")?;
    // Who has no name yet is not online.
    let mut carl = Guest::connect(script, &server, "carl")?;
    carl.expect("* welcome, 1 online, what is your name?")?;
    let mut bob = Guest::connect(script, &server, "bob")?;
    bob.expect("* welcome, 1 online, what is your name?")?;
    bob.send("bob\r\n")?;
    for guest in [&mut ann, &mut bob] {
        guest.expect("* bob joined (2 online)")?;
    }
    carl.half_close()?;
    carl.expect("* goodbye")?;
    bob.send("byebye\r\n")?;
    bob.expect("* goodbye")?;
    bob.expect_fin()?;
    ann.expect("* bob left (1 online)")?;
    let mut dora = Guest::connect(script, &server, "dora")?;
    dora.expect("* welcome, 1 online, what is your name?")
}

fn the_first_line_is_the_name(script: &Script) -> Result {
    let refusal = "! a name has 1 to 16 characters; what is your name?";

    let server = script.serve()?;
    let mut ann = Guest::enter(script, &server, "ann", &mut [])?;
    let mut bob = Guest::connect(script, &server, "bob")?;
    bob.expect("* welcome, 1 online, what is your name?")?;
    ann.send("can you hear me?\r\n")?;
    bob.send("\r\n")?;
    bob.expect(refusal)?;
    bob.send("this is much too long for a name\r\n")?;
    bob.expect(refusal)?;
    bob.send("bob\r\n\r\nhello\r\n")?;
    bob.expect("* bob joined (2 online)")?;
    ann.expect("* bob joined (2 online)")?;
    ann.expect("bob: hello")
}
