//! The room: who is in it, and what they are told.

use std::collections::{BTreeMap, HashMap};

use common::{quote, story};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use crate::clean::clean;
use crate::command::{Command, HELP};
use crate::member::Member;
use crate::name::{Name, folded};
use crate::turn::Turn;

/// The most members that `l` lists. A list is for people.
const LISTED: usize = 100;

// ANCHOR: event
/// What the room hears of.
#[derive(Debug)]
pub(crate) enum Event {
    Came(u64, Member),
    Said(u64, Command),
    /// From the client's own task and from nowhere else, so it comes once.
    Left(u64),
}
// ANCHOR_END: event

/// All who are connected, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Room {
    members: BTreeMap<u64, Member>,
    /// Who has which name, in small letters.
    names: HashMap<String, u64>,
    turn: Turn,
}

// ANCHOR: keep
/// Hears many events, and then writes once. Nobody else touches the room, so
/// nothing in it needs a lock; and it waits for nobody, or all would wait.
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
        // Whoever has something to say now, says it before we write: a write
        // costs the same for one line as for fifty.
        yield_now().await;
        while !room.turn.is_full()
            && let Ok(event) = events.try_recv()
        {
            room.hear(event);
        }
        room.end_turn();
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
            Event::Came(id, member) => self.join(id, member),
            Event::Said(id, command) => self.obey(id, command),
            Event::Left(id) => self.leave(id),
        }
    }

    fn join(&mut self, id: u64, mut member: Member) {
        let (peer, name) = (member.peer, member.name.clone());
        let online = self.online() + 1;
        story!("{peer} is {name}, {online} online");
        self.tell(&format!("* {name} joined ({online} online)"), None);
        // It hears what is said from now on.
        member.share = self.turn.share();
        self.names.insert(name.folded(), id);
        self.members.insert(id, member);
        let welcome = format!("welcome, {online} online, you are {name}");
        self.answer(id, &format!("* {welcome}; type help"));
    }

    fn obey(&mut self, id: u64, command: Command) {
        match command {
            Command::Broadcast(text) => {
                if let Some(Member { name, .. }) = self.members.get(&id) {
                    let line = format!("{name}: {}", clean(&text));
                    self.tell(&line, Some(id));
                }
            }
            Command::Chat { to, text } => self.chat(id, &to, &text),
            Command::Rename(line) => self.rename(id, &line),
            Command::List => self.list(id),
            Command::Help => {
                for line in HELP {
                    self.answer(id, line);
                }
            }
            Command::Quit => {}
            Command::Unknown => {
                self.answer(
                    id,
                    "! unknown command; help tells which there are",
                );
            }
        }
    }
    // ANCHOR_END: hear

    // ANCHOR: rename
    /// The old name stays until the new one is there, and stays if it is not.
    fn rename(&mut self, id: u64, line: &str) {
        let name = Name::new(line).and_then(|name| self.is_free(id, name));
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let (peer, old) = (member.peer, member.name.clone());
        match name {
            Ok(name) => {
                self.names.remove(&old.folded());
                self.names.insert(name.folded(), id);
                story!("{peer} is {name} now");
                member.name = name.clone();
                self.tell(&format!("* {old} is now {name}"), None);
            }
            Err(why) => {
                story!("{peer} is not called {}", quote(line));
                self.answer(id, &format!("! {why}; you are still {old}"));
            }
        }
    }
    // ANCHOR_END: rename

    // ANCHOR: chat
    /// To one alone. Whoever else has a name like that is not asked.
    fn chat(&mut self, id: u64, to: &str, text: &str) {
        let Some(Member { name, .. }) = self.members.get(&id) else {
            return;
        };
        let line = format!("(private) {name}: {}", clean(text));
        match self.names.get(&folded(to)) {
            Some(to) => self.answer(*to, &line),
            None => {
                let to = clean(to);
                self.answer(id, &format!("! nobody here is called {to}"));
            }
        }
    }
    // ANCHOR_END: chat

    fn list(&mut self, id: u64) {
        let line = |it: &Member| format!("- {} {}", it.name, it.peer);
        let lines: Vec<String> =
            self.members.values().take(LISTED).map(line).collect();
        for line in lines {
            self.answer(id, &line);
        }
        let more = self.online().saturating_sub(LISTED);
        if more > 0 {
            self.answer(id, &format!("- and {more} more"));
        }
    }

    // ANCHOR: leave
    /// The name is free from here on, and the others are told.
    fn leave(&mut self, id: u64) {
        let Some(mut member) = self.members.remove(&id) else {
            return;
        };
        member.write(&self.turn);
        member.outbox.close("* goodbye\r\n");
        let name = &member.name;
        self.names.remove(&name.folded());
        let online = self.online();
        story!("{} left, {online} online", member.peer);
        self.tell(&format!("* {name} left ({online} online)"), None);
    }
    // ANCHOR_END: leave

    fn is_free(&self, id: u64, name: Name) -> Result<Name, &'static str> {
        let mut others = self.members.iter().filter(|(it, _)| **it != id);
        match others.any(|(_, other)| other.name.looks_like(&name)) {
            true => {
                Err("somebody here has that name, or one that looks like it")
            }
            false => Ok(name),
        }
    }

    /// How many are in the room.
    fn online(&self) -> usize {
        self.members.len()
    }

    // ANCHOR: tell
    /// Tells all who are in the room, except perhaps one.
    fn tell(&mut self, line: &str, except: Option<u64>) {
        let said = self.turn.say(line);
        if let Some(member) = except.and_then(|id| self.members.get_mut(&id)) {
            member.share.without(said);
        }
    }

    /// Tells one alone.
    fn answer(&mut self, id: u64, line: &str) {
        if let Some(member) = self.members.get_mut(&id) {
            self.turn.say_to(&mut member.share, line);
        }
    }

    /// One write for each member, however much was said.
    fn end_turn(&mut self) {
        for member in self.members.values_mut() {
            member.write(&self.turn);
        }
        self.turn.end();
    }
}
// ANCHOR_END: tell
