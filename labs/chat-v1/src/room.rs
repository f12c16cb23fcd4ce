//! The room: who is in it, and what they are told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use common::{quote, story};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::name::Name;
use crate::outbox::Outbox;

// ANCHOR: event
/// What the room hears of.
#[derive(Debug)]
pub(crate) enum Event {
    Came(u64, Member),
    Said(u64, String),
    /// From the client's own task and from nowhere else, so it comes once.
    Left(u64),
}

/// One who is connected.
#[derive(Debug)]
pub(crate) struct Member {
    peer: SocketAddr,
    /// Nobody is in the room without one.
    name: Option<Name>,
    outbox: Arc<Outbox>,
}

impl Member {
    pub(crate) fn new(peer: SocketAddr, outbox: Arc<Outbox>) -> Self {
        Member {
            peer,
            name: None,
            outbox,
        }
    }
}

/// Who is no member any more is sent nothing more. However a member is lost,
/// its client hears of it.
impl Drop for Member {
    fn drop(&mut self) {
        self.outbox.close("");
    }
}
// ANCHOR_END: event

/// All who are connected, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Room {
    members: BTreeMap<u64, Member>,
}

// ANCHOR: keep
/// Hears one event after the other. Nobody else touches the room, so nothing in
/// it needs a lock; and it waits for nobody, or all would wait.
pub(crate) async fn keep(
    mut events: mpsc::Receiver<Event>,
    stop: CancellationToken,
) {
    let mut room = Room::default();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            event = events.recv() => match event {
                Some(event) => room.hear(event),
                None => break,
            },
        }
    }
    for member in room.members.values() {
        member.outbox.close("* the room closes, goodbye\r\n");
    }
}
// ANCHOR_END: keep

impl Room {
    // ANCHOR: hear
    fn hear(&mut self, event: Event) {
        match event {
            Event::Came(id, member) => {
                let welcome = format!("welcome, {} online", self.online());
                member.tell(&format!("* {welcome}, what is your name?"));
                self.members.insert(id, member);
            }
            Event::Said(id, line) => match self.members.get(&id) {
                Some(Member { name: None, .. }) => self.join(id, &line),
                Some(Member {
                    name: Some(name), ..
                }) if !line.is_empty() => {
                    self.tell(&format!("{name}: {}", clean(&line)), Some(id));
                }
                _ => {}
            },
            Event::Left(id) => self.leave(id),
        }
    }

    /// The first line is the name, if it can be.
    fn join(&mut self, id: u64, line: &str) {
        let name = Name::new(line).and_then(|name| self.is_free(&name));
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let (peer, name) = match name {
            Ok(name) => (member.peer, name),
            Err(why) => {
                story!("{} is not called {}", member.peer, quote(line));
                return member.tell(&format!("! {why}; what is your name?"));
            }
        };
        member.name = Some(name.clone());
        let online = self.online();
        story!("{peer} is {name}, {online} online");
        self.tell(&format!("* {name} joined ({online} online)"), None);
    }

    /// The name is free from here on, and the others are told.
    fn leave(&mut self, id: u64) {
        let Some(member) = self.members.remove(&id) else {
            return;
        };
        member.outbox.close("* goodbye\r\n");
        if let Some(name) = &member.name {
            let online = self.online();
            story!("{} left, {online} online", member.peer);
            self.tell(&format!("* {name} left ({online} online)"), None);
        }
    }
    // ANCHOR_END: hear

    fn is_free(&self, name: &Name) -> Result<Name, &'static str> {
        let mut others = self.members.values().filter_map(|m| m.name.as_ref());
        match others.any(|other| other.looks_like(name)) {
            true => {
                Err("somebody here has that name, or one that looks like it")
            }
            false => Ok(name.clone()),
        }
    }

    /// How many are in the room.
    fn online(&self) -> usize {
        self.members.values().filter(|m| m.name.is_some()).count()
    }

    // ANCHOR: tell
    /// Tells all who are in the room, except perhaps one.
    fn tell(&self, line: &str, except: Option<u64>) {
        for (id, member) in &self.members {
            if member.name.is_some() && Some(*id) != except {
                member.tell(line);
            }
        }
    }
}

impl Member {
    /// CR LF is what ends a line on every terminal.
    fn tell(&self, line: &str) {
        self.outbox.push(format!("{line}\r\n").as_bytes());
    }
}
// ANCHOR_END: tell

// ANCHOR: clean
/// What somebody said, without what a terminal would obey. An escape sequence
/// moves the cursor or types for the user; a direction mark turns the line
/// round, and somebody else seems to have said it.
//
// NOTE: a line longer than the window is wide goes on in the next row. With
// spaces enough, something else seems to begin there; only a client that draws
// its own window could tell.
fn clean(line: &str) -> String {
    let clean = |character| match character {
        '\t' => ' ',
        _ if is_unseen(character) => char::REPLACEMENT_CHARACTER,
        _ => character,
    };
    line.chars().map(clean).collect()
}

/// Controls, and the format characters that no script needs: spaces of no
/// width, direction marks, line separators, tags. Not the joiners U+200C and
/// U+200D, which Persian and emoji are written with.
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'
            | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}
// ANCHOR_END: clean
