//! Both chat rooms against a model of one. Clients that are drawn by lot come,
//! take names, talk, and leave in every way there is: with a goodbye, with a
//! FIN, with a RST, or put out because they do not read. Then each must have
//! heard what it should have heard, line by line, and the room must have kept
//! nothing: no descriptor, no memory.
//!
//! ROOMS_SECONDS says for how long; 10, or 120 where `CI` is set. What the lot
//! decides follows from ROOMS_SEED, which is told when something is wrong. Who
//! is faster does not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{HashMap, HashSet};
use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use checks::kernel;
use checks::wait::wait_for;
use fastrand::Rng;
use socket2::{Domain, SockRef, Socket, Type};
use tests::locked;

#[path = "rooms/model.rs"]
mod model;

use model::{End, Life, Line, parse};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How one talks to a room.
struct Dialect {
    lab: &'static str,
    /// A client has a name from the first moment, and takes others.
    has_commands: bool,
    /// What makes of words a line to all.
    say: &'static str,
    /// What one types to leave.
    goodbye: &'static str,
}

#[test]
fn chat_v1_is_as_the_model_says() {
    live_in_the_room(&Dialect {
        lab: "chat-v1",
        has_commands: false,
        say: "",
        goodbye: "byebye",
    });
}

#[test]
fn chat_v2_is_as_the_model_says() {
    live_in_the_room(&Dialect {
        lab: "chat-v2",
        has_commands: true,
        say: "b:",
        goodbye: "quit",
    });
}

/// Clients at a time, besides the witness.
const ACTORS: usize = 10;
/// How many times each of them comes and goes before all is compared.
const LIVES: usize = 3;
/// One in so many rounds has somebody who does not read.
const STALLED: usize = 4;
/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Names that are wanted by several; everybody else takes a new one.
const NAMES: &[&str] = &["ann", "bob", "carl", "dora", "蘭", "émile"];
const WITNESS: &str = "witness";
/// The longest line there may be, in bytes.
const LONGEST: usize = 4096;
/// Each client that is put out has been sent this at the most: what the kernel
/// takes, which is 4 MiB a direction, and the room's queue.
const MOST_FOR_ONE: usize = 24 << 20;
/// The allocator keeps some of what it was given back, and how much depends on
/// how the lives of the clients happened to lie. What leaks a client in each
/// round would have passed this within seconds.
const MEMORY_ALLOWED: u64 = 1 << 20;

fn live_in_the_room(dialect: &'static Dialect) {
    let seconds = env::var("ROOMS_SECONDS").ok().map(|it| it.parse().unwrap());
    let in_ci = env::var_os("CI").is_some();
    let seconds = seconds.unwrap_or(if in_ci { 120 } else { 10 });
    let seed = env::var("ROOMS_SEED").ok().map(|it| it.parse().unwrap());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let duration = Duration::from_secs(seconds);
    if let Err(wrong) = rounds(dialect, seed, duration) {
        panic!("{}: {wrong}\nROOMS_SEED={seed}", dialect.lab);
    }
}

/// Round after round in the same room, until it has been long enough.
fn rounds(dialect: &'static Dialect, seed: u64, duration: Duration) -> Result {
    let process = RoomProcess::start(dialect)?;
    let pid = process.child.id();
    let hall = Arc::new(Hall::new(dialect, process.address));
    let witness = hall.begin_to_witness()?;
    let free = || kernel::descriptors(pid).map(|it| it.len());
    let n_descriptors = free().ok_or("the room has ended")?;

    let begin = Instant::now();
    let mut random = Rng::with_seed(seed);
    let mut after_a_quarter = None;
    let mut number = 0;
    // At least two rounds, however short the time and slow the machine.
    while number < 2 * STALLED || begin.elapsed() < duration {
        round(&hall, number, random.fork()).map_err(|wrong| {
            hall.end(&wrong);
            let first = locked(&hall.wrong).take().unwrap_or_default();
            format!("round {number}: {first}")
        })?;
        wait_for(|| (free() == Some(n_descriptors)).then_some(())).ok_or_else(
            || format!("it has {:?} descriptors, not {n_descriptors}", free()),
        )?;
        number += 1;
        // Something of every kind has happened by then.
        if number >= STALLED && begin.elapsed() * 4 >= duration {
            after_a_quarter = after_a_quarter.or_else(|| kernel::memory(pid));
        }
    }
    let memory = kernel::memory(pid);
    if let (Some(before), Some(now)) = (after_a_quarter, memory)
        && now > before + MEMORY_ALLOWED
    {
        let grown = (now - before) / 1024;
        return Err(format!("in {number} rounds it grew by {grown} KiB").into());
    }
    process.end_in_order()?;
    witness.join().map_err(|_| "the witness is gone")??;
    Ok(())
}

/// Everybody comes and goes; then what they heard is compared.
fn round(hall: &Arc<Hall>, number: usize, mut random: Rng) -> Result {
    let n_stalled = match number % STALLED {
        1 => random.usize(1..=2),
        _ => 0,
    };
    hall.n_stalled.store(n_stalled, SeqCst);
    hall.n_flooded.store(0, SeqCst);
    locked(&hall.names_given).clear();
    locked(&hall.readers).values_mut().for_each(|it| *it = 0);
    let mut lives = Vec::new();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for actor in 0..ACTORS {
            let mut random = random.fork();
            threads.push(scope.spawn(move || {
                let is_stalled = actor < n_stalled;
                let n_lives = if is_stalled { 1 } else { LIVES };
                let lives: Result<Vec<Told>> = (0..n_lives)
                    .map(|life| {
                        let id = format!("r{number}c{actor}l{life}");
                        let acting = Acting::new(hall, id, random.fork());
                        match is_stalled {
                            true => acting.stall(),
                            false => acting.live(),
                        }
                    })
                    .collect();
                if let Err(wrong) = &lives {
                    hall.end(wrong);
                }
                lives
            }));
        }
        if n_stalled > 0 {
            let id = format!("r{number}flood");
            let acting = Acting::new(hall, id, random.fork());
            threads.push(scope.spawn(move || {
                let told = acting.flood();
                if let Err(wrong) = &told {
                    hall.end(wrong);
                }
                told.map(|told| vec![told])
            }));
        }
        for thread in threads {
            let lived = thread.join().map_err(|_| "a client panicked")?;
            lives.extend(lived?);
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    })?;
    compare(hall, lives)
}

fn compare(hall: &Hall, lives: Vec<Told>) -> Result {
    let n_leaves = lives.len();
    let lines = hall.witnessed(|lines| {
        let is_leave =
            |line: &&String| matches!(parse(line), Line::Left { .. });
        lines.iter().filter(is_leave).count() >= n_leaves
    })?;
    let (lives, private): (Vec<Life>, Vec<_>) = lives
        .into_iter()
        .map(|told| (told.life, told.private))
        .unzip();
    model::compare(WITNESS, &lines, &lives)?;

    // What was said to one reached one, and nobody else.
    let mut expected = HashMap::new();
    for (life, said) in lives.iter().zip(&private) {
        for (to, text) in said {
            expected.insert(text.as_str(), (to.as_str(), life.end));
        }
    }
    let mut arrived = HashSet::new();
    let heard = lives.iter().map(|life| &life.heard);
    for line in heard.chain([&lines]).flatten() {
        if let Line::Private { text, .. } = parse(line)
            && (!arrived.insert(text) || !expected.contains_key(text))
        {
            return Err(format!("heard twice, or never said: {line}").into());
        }
    }
    for (text, (to, end)) in expected {
        // The witness is there all the time; others may have gone.
        let must_arrive = to == WITNESS && end == End::InOrder;
        if must_arrive && !arrived.contains(text) {
            return Err(format!("{to} was never told {text}").into());
        }
    }
    lives.iter().try_for_each(model::order_is_kept)?;
    Ok(())
}

/// The room under test. It is ended when this is dropped.
struct RoomProcess {
    child: Child,
    address: SocketAddr,
}

impl RoomProcess {
    fn start(dialect: &Dialect) -> Result<Self> {
        // A program that is wrong on purpose must fail here: ROOMS_CHAT_V2=…
        let variable =
            format!("ROOMS_{}", dialect.lab.to_uppercase().replace('-', "_"));
        let program = match env::var_os(variable) {
            Some(program) => program.into(),
            None => tests::build(&["-p", dialect.lab])
                .pop()
                .ok_or("cargo has built no program")?,
        };
        // Nobody is to be let go because this machine is busy.
        let flags = "--rate 1000000 --grace 1h --gone-after 1h";
        let mut child = Command::new(program)
            .args(["--listen", "127.0.0.1:0"])
            .args(flags.split(' '))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut story = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        story.read_line(&mut line)?;
        let address = line.trim_end().strip_prefix("listening on ");
        let address = address.and_then(|it| it.parse().ok());
        // The story of an hour is long, and is read only to be out of the way.
        thread::spawn(move || std::io::copy(&mut story, &mut std::io::sink()));
        let process = RoomProcess {
            child,
            address: address.unwrap_or(([127, 0, 0, 1], 0).into()),
        };
        match address {
            Some(_) => Ok(process),
            None => Err(format!("it said {line:?}").into()),
        }
    }

    /// SIGTERM, and then status 0.
    fn end_in_order(mut self) -> Result {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").arg(pid).status()?;
        if !status.success() {
            return Err("it could not be asked to end".into());
        }
        let ended = wait_for(|| self.child.try_wait().ok().flatten());
        let status = ended.ok_or("it has not ended")?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("it ended with {status}").into()),
        }
    }
}

impl Drop for RoomProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What all clients of a room share.
struct Hall {
    dialect: &'static Dialect,
    address: SocketAddr,
    /// What the witness has heard in this round.
    lines: Mutex<Vec<String>>,
    more: Condvar,
    /// Makes names that nobody else has.
    n_names: AtomicUsize,
    /// Those who are there and read, and how much of the flood each has seen.
    readers: Mutex<HashMap<String, usize>>,
    read: Condvar,
    /// How many are just coming or going, and read, and are not in `readers`.
    n_passing: AtomicUsize,
    /// Clients that do not read and have not been put out yet.
    n_stalled: AtomicUsize,
    /// The number of the last line of the flood.
    n_flooded: AtomicUsize,
    names_given: Mutex<Vec<String>>,
    /// What went wrong first; nobody need wait any longer.
    wrong: Mutex<Option<String>>,
}

impl Hall {
    fn new(dialect: &'static Dialect, address: SocketAddr) -> Self {
        Hall {
            dialect,
            address,
            lines: Mutex::default(),
            more: Condvar::new(),
            n_names: AtomicUsize::new(0),
            readers: Mutex::default(),
            read: Condvar::new(),
            n_passing: AtomicUsize::new(0),
            n_stalled: AtomicUsize::new(0),
            n_flooded: AtomicUsize::new(0),
            names_given: Mutex::default(),
            wrong: Mutex::default(),
        }
    }

    fn end(&self, wrong: &dyn ToString) {
        locked(&self.wrong).get_or_insert_with(|| wrong.to_string());
    }

    /// Waits until the witness has heard enough, and takes all it has.
    fn witnessed(
        &self,
        is_enough: impl Fn(&[String]) -> bool,
    ) -> Result<Vec<String>> {
        let mut lines =
            self.wait(&self.lines, &self.more, |it| is_enough(it))?;
        Ok(std::mem::take(&mut *lines))
    }

    fn wait<'b, T>(
        &self,
        what: &'b Mutex<T>,
        changed: &Condvar,
        mut is_right: impl FnMut(&T) -> bool,
    ) -> Result<MutexGuard<'b, T>> {
        let deadline = Instant::now() + PATIENCE;
        let mut guard = locked(what);
        while !is_right(&guard) {
            if locked(&self.wrong).is_some() || Instant::now() > deadline {
                return Err("nothing more came".into());
            }
            // Now and then somebody must look whether all is over.
            let most = Duration::from_millis(100);
            let waited = changed.wait_timeout(guard, most);
            guard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(guard)
    }

    /// One more of those who are there and read.
    fn begin_to_read(&self, id: &str) {
        locked(&self.readers).insert(id.to_owned(), 0);
    }

    fn end_to_read(&self, id: &str) {
        locked(&self.readers).remove(id);
        self.read.notify_all();
    }

    /// As long as this is held, one more is coming or going.
    fn pass(&self) -> Passing<'_> {
        self.n_passing.fetch_add(1, SeqCst);
        Passing { hall: self }
    }

    /// A reader has heard this.
    fn has_heard(&self, id: &str, line: &str) {
        if let Line::Said { text, .. } = parse(line)
            && text.contains("flood")
            && let Some((_, number)) = text.rsplit_once('#')
            && let Some(seen) = locked(&self.readers).get_mut(id)
        {
            *seen = number.parse().unwrap_or_default();
            self.read.notify_all();
        }
    }
}

/// Somebody who is coming or going: see [`Hall::pass`].
struct Passing<'a> {
    hall: &'a Hall,
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        self.hall.n_passing.fetch_sub(1, SeqCst);
        self.hall.read.notify_all();
    }
}

/// One connection, line by line.
struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    fn connect(hall: &Hall, is_tiny: bool) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None);
        let socket = socket?;
        if is_tiny {
            // Before connect: the window is agreed on in the handshake.
            socket.set_recv_buffer_size(4096)?;
        }
        let address = hall.address.into();
        socket.connect_timeout(&address, PATIENCE)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Client {
            stream: socket.into(),
            unread: Vec::new(),
        })
    }

    /// The next line, without its CR LF; none at the FIN.
    fn line(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(at) = self.unread.iter().position(|it| *it == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=at).collect();
                let line = String::from_utf8(line)?;
                let Some(line) = line.strip_suffix("\r\n") else {
                    return Err(
                        format!("a line does not end CR LF: {line:?}").into()
                    );
                };
                return Ok(Some(line.to_owned()));
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) if self.unread.is_empty() => return Ok(None),
                Ok(0) => return Err("it ended within a line".into()),
                Ok(n_bytes) => {
                    self.unread.extend_from_slice(&buffer[..n_bytes]);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Hall {
    /// The witness comes, and hears everything from now on.
    fn begin_to_witness(
        self: &Arc<Self>,
    ) -> Result<thread::JoinHandle<Result>> {
        let mut acting = Acting::new(self, WITNESS.into(), Rng::with_seed(0));
        let mut client = Client::connect(self, false)?;
        acting.come_in(&mut client, WITNESS)?;
        // It may be that nothing happens for as long as the program likes.
        client.stream.set_read_timeout(None)?;
        let hall = Arc::clone(self);
        Ok(thread::spawn(move || {
            while let Some(line) = client.line()? {
                hall.has_heard(WITNESS, &line);
                locked(&hall.lines).push(line);
                hall.more.notify_all();
            }
            Ok(())
        }))
    }
}

/// What a client tells of its time in the room.
struct Told {
    life: Life,
    /// To whom, and what.
    private: Vec<(String, String)>,
}

/// A client in the room.
struct Acting<'a> {
    hall: &'a Hall,
    random: Rng,
    told: Told,
    n_said: usize,
    /// How much of the flood there was when it came.
    flooded: usize,
    /// The name it has now.
    name: String,
}

impl<'a> Acting<'a> {
    fn new(hall: &'a Hall, id: String, random: Rng) -> Self {
        let life = Life {
            id,
            name: String::new(),
            said: Vec::new(),
            heard: Vec::new(),
            end: End::InOrder,
        };
        let private = Vec::new();
        Acting {
            hall,
            random,
            told: Told { life, private },
            n_said: 0,
            flooded: 0,
            name: String::new(),
        }
    }

    fn id(&self) -> &str {
        &self.told.life.id
    }

    /// From its coming to its going, which is drawn by lot.
    fn live(mut self) -> Result<Told> {
        if self.random.u8(..) < 25 {
            return self.rush();
        }
        let coming = self.hall.pass();
        let mut client = Client::connect(self.hall, false)?;
        let name = self.any_name();
        self.come_in(&mut client, &name)?;
        drop(coming);
        self.say(&mut client)?;
        let n_acts = match self.hall.n_stalled.load(SeqCst) {
            0 => self.random.usize(0..12),
            _ => self.random.usize(0..40),
        };
        for _ in 0..n_acts {
            self.act(&mut client)?;
        }
        let _going = self.hall.pass();
        self.hall.end_to_read(self.id());
        match self.random.u8(..) % 4 {
            0 => self.break_off(&client),
            1 => {
                let ended = client.stream.shutdown(Shutdown::Write);
                ended?;
                self.hear_to_the_end(client)
            }
            _ => self.say_goodbye(client),
        }
    }

    /// Comes, says a word, and then never reads.
    fn stall(mut self) -> Result<Told> {
        self.told.life.end = End::PutOut;
        let mut client = Client::connect(self.hall, true)?;
        let name = self.new_name();
        self.come_in(&mut client, &name)?;
        self.hall.end_to_read(self.id());
        self.say(&mut client)?;
        let mut seen = 0;
        let own = self.name.clone();
        let (lines, more) = (&self.hall.lines, &self.hall.more);
        let is_out = |lines: &Vec<String>| {
            let new = &lines[seen..];
            seen = lines.len();
            new.iter().any(|line| {
                matches!(parse(line), Line::Left { name, .. } if name == own)
            })
        };
        drop(self.hall.wait(lines, more, is_out)?);
        self.hall.n_stalled.fetch_sub(1, SeqCst);
        let socket = SockRef::from(&client.stream);
        socket.set_recv_buffer_size(1 << 20)?;
        self.hear_to_the_end(client)
    }

    /// All that it has to say in one piece, from its name to its goodbye.
    fn rush(mut self) -> Result<Told> {
        let _passing = self.hall.pass();
        let mut client = Client::connect(self.hall, false)?;
        let name = self.new_name();
        let mut text = self.take_name(&name);
        for _ in 0..self.random.usize(1..30) {
            text.extend(self.words());
        }
        let with_goodbye = self.random.bool();
        if with_goodbye {
            text.extend(self.hall.dialect.goodbye.as_bytes());
            text.extend(b"\r\n");
        }
        self.type_in(&mut client, &text)?;
        if !with_goodbye {
            let ended = client.stream.shutdown(Shutdown::Write);
            ended?;
        }
        self.expect_welcome(&mut client)?;
        if !self.hall.dialect.has_commands {
            self.expect_name(&mut client, &name)?;
        }
        self.hear_to_the_end(client)
    }

    /// Whoever does not read is put out in the end, and others lose nothing.
    /// It must not be faster than they are, or it would be right to put them
    /// out as well.
    fn flood(mut self) -> Result<Told> {
        let mut client = Client::connect(self.hall, false)?;
        let name = self.new_name();
        self.come_in(&mut client, &name)?;
        self.hall.end_to_read(self.id());
        self.say(&mut client)?;
        let mut n_bytes = 0;
        while self.hall.n_stalled.load(SeqCst) > 0 {
            let (readers, read) = (&self.hall.readers, &self.hall.read);
            drop(self.hall.wait(readers, read, |_| {
                self.hall.n_passing.load(SeqCst) == 0
            })?);
            let there: Vec<String> =
                locked(&self.hall.readers).keys().cloned().collect();
            let mut chunk = Vec::new();
            while chunk.len() < 24 * 1024 {
                let most = LONGEST - 100;
                let n_bytes = self.random.usize(1..most);
                chunk.extend(self.words_of(n_bytes));
            }
            n_bytes += chunk.len();
            let number = self.n_said;
            self.hall.n_flooded.store(number, SeqCst);
            self.type_in(&mut client, &chunk)?;
            drop(self.hall.wait(readers, read, |readers| {
                let seen = |id| readers.get(id).is_none_or(|it| *it >= number);
                there.iter().all(seen)
            })?);
            if n_bytes > MOST_FOR_ONE {
                return Err(
                    format!("{n_bytes} bytes, and nobody put out").into()
                );
            }
        }
        self.say_goodbye(client)
    }
}

impl Acting<'_> {
    /// Does one thing, which is drawn by lot.
    fn act(&mut self, client: &mut Client) -> Result {
        let has_commands = self.hall.dialect.has_commands;
        match self.random.u8(0..20) {
            0 => self.be_refused(client, &vec![b'x'; LONGEST + 1]),
            1 => self.be_refused(client, b"caf\xe9"),
            // Several in one piece.
            2 | 3 => {
                let n_lines = self.random.usize(2..20);
                let lines = (0..n_lines).flat_map(|_| self.words());
                let lines: Vec<u8> = lines.collect();
                self.type_in(client, &lines)
            }
            4..8 if self.hall.n_stalled.load(SeqCst) > 0 => self.listen(client),
            8 | 9 if has_commands => self.rename(client),
            10..13 if has_commands => self.whisper(client),
            13 if has_commands => self.type_in(client, b"l\r\n"),
            14 if has_commands => self.type_in(client, b"help\r\n"),
            15 if has_commands => self.type_in(client, b"what?\r\n"),
            _ => self.say(client),
        }
    }

    /// Takes a name, another one if that is taken, and hears what is said from
    /// then on.
    fn come_in(&mut self, client: &mut Client, name: &str) -> Result {
        self.expect_welcome(client)?;
        let mut name = name.to_owned();
        loop {
            let request = self.take_name(&name);
            self.type_in(client, &request)?;
            if self.expect_name(client, &name)? {
                break;
            }
            name = self.any_name();
        }
        locked(&self.hall.names_given).push(self.name.clone());
        self.flooded = self.hall.n_flooded.load(SeqCst);
        self.hall.begin_to_read(self.id());
        Ok(())
    }

    /// What asks for a name.
    fn take_name(&self, name: &str) -> Vec<u8> {
        let command = match self.hall.dialect.has_commands {
            true => "n:",
            false => "",
        };
        format!("{command}{name}\r\n").into_bytes()
    }

    fn expect_welcome(&mut self, client: &mut Client) -> Result {
        let welcome = client.line()?.unwrap_or_default();
        if !welcome.starts_with("* welcome, ") {
            return Err(format!("the welcome is {welcome:?}").into());
        }
        if !self.hall.dialect.has_commands {
            return Ok(());
        }
        let name = welcome.split_once(", you are ").map(|(_, name)| name);
        let name = name.and_then(|it| it.strip_suffix("; type help"));
        name.unwrap_or_default().clone_into(&mut self.name);
        self.told.life.name.clone_from(&self.name);
        Ok(())
    }

    /// Whether it has the name it asked for.
    fn expect_name(&mut self, client: &mut Client, name: &str) -> Result<bool> {
        if self.hall.dialect.has_commands {
            let announced = format!("* {} is now {name}", self.name);
            let refused = format!("; you are still {}", self.name);
            self.hear_until(client, |line| {
                line == announced || line.ends_with(&refused)
            })?;
            if self.told.life.heard.last() != Some(&announced) {
                return Ok(false);
            }
            name.clone_into(&mut self.name);
            return Ok(true);
        }
        name.clone_into(&mut self.name);
        name.clone_into(&mut self.told.life.name);
        self.expect_own_coming(client)
    }

    /// In chat-v1, its coming is announced to itself as well. What it hears from then on is
    /// what others hear.
    fn expect_own_coming(&mut self, client: &mut Client) -> Result<bool> {
        let line = client.line()?.unwrap_or_default();
        match parse(&line) {
            Line::Joined { name, .. } if name == self.name => Ok(true),
            _ if line.ends_with("; what is your name?") => Ok(false),
            _ => Err(format!("{} is told {line:?}", self.id()).into()),
        }
    }

    fn rename(&mut self, client: &mut Client) -> Result {
        let name = self.any_name();
        let request = self.take_name(&name);
        self.type_in(client, &request)?;
        self.expect_name(client, &name)?;
        locked(&self.hall.names_given).push(self.name.clone());
        Ok(())
    }

    /// A line that nobody else will see.
    fn be_refused(&mut self, client: &mut Client, line: &[u8]) -> Result {
        self.type_in(client, &[line, b"\r\n"].concat())
    }

    fn say(&mut self, client: &mut Client) -> Result {
        let words = self.words();
        self.type_in(client, &words)
    }

    /// Says something to one alone, who may be gone.
    fn whisper(&mut self, client: &mut Client) -> Result {
        let names = locked(&self.hall.names_given).clone();
        let to = match self.random.bool() {
            true => WITNESS,
            false => self.random.choice(&names).map_or(WITNESS, String::as_str),
        };
        let text = self.text(10);
        self.type_in(client, format!("c:{to}:{text}\r\n").as_bytes())?;
        self.told.private.push((to.to_owned(), text));
        Ok(())
    }

    /// A line to all: this client's mark, some words, and their number.
    fn words(&mut self) -> Vec<u8> {
        let n_bytes = match self.random.u8(..) {
            ..10 => self.random.usize(1000..3000),
            _ => self.random.usize(1..60),
        };
        self.words_of(n_bytes)
    }

    fn words_of(&mut self, n_bytes: usize) -> Vec<u8> {
        const ENDS: &[&str] = &["\r\n", "\n", "\r\0", "\r"];

        let text = self.text(n_bytes);
        let end = self.random.choice(ENDS).copied().unwrap_or("\n");
        let line = format!("{}{text}{end}", self.hall.dialect.say);
        self.told.life.said.push(text);
        line.into_bytes()
    }

    fn text(&mut self, n_bytes: usize) -> String {
        const WORDS: &[&str] =
            &["tea", "or: coffee", "你好", "b:", "* bob left"];

        self.n_said += 1;
        let mut text = self.id().to_owned();
        while text.len() < n_bytes {
            text.push(' ');
            text += self.random.choice(WORDS).copied().unwrap_or_default();
        }
        format!("{text} #{}", self.n_said)
    }

    /// Sends it in pieces that have nothing to do with its lines.
    fn type_in(&mut self, client: &mut Client, bytes: &[u8]) -> Result {
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = match self.random.bool() {
                true => rest.len(),
                false => rest.len().min(20),
            };
            let (piece, after) = rest.split_at(self.random.usize(1..=most));
            client.stream.write_all(piece)?;
            rest = after;
        }
        Ok(())
    }

    /// Waits until it has heard all of the flood that was sent so far.
    fn listen(&mut self, client: &mut Client) -> Result {
        let number = self.hall.n_flooded.load(SeqCst);
        let end = format!("#{number}");
        let seen = locked(&self.hall.readers).get(self.id()).copied();
        // What was sent before it came, it will never hear.
        if number <= self.flooded.max(seen.unwrap_or_default()) {
            return Ok(());
        }
        self.hear_until(client, |line| match parse(line) {
            Line::Said { text, .. } => {
                text.contains("flood") && text.ends_with(&end)
            }
            _ => false,
        })?;
        Ok(())
    }

    fn hear_until(
        &mut self,
        client: &mut Client,
        mut is_it: impl FnMut(&str) -> bool,
    ) -> Result {
        loop {
            let line = client.line()?;
            let line = line.ok_or("the room has ended the connection")?;
            let is_last = is_it(&line);
            self.hear(line);
            if is_last {
                return Ok(());
            }
        }
    }

    fn hear(&mut self, line: String) {
        self.hall.has_heard(self.id(), &line);
        self.told.life.heard.push(line);
    }

    fn say_goodbye(mut self, mut client: Client) -> Result<Told> {
        let goodbye = format!("{}\r\n", self.hall.dialect.goodbye);
        self.type_in(&mut client, goodbye.as_bytes())?;
        self.hear_to_the_end(client)
    }

    fn hear_to_the_end(mut self, mut client: Client) -> Result<Told> {
        while let Some(line) = client.line()? {
            self.hear(line);
        }
        Ok(self.told)
    }

    /// A RST, which may overtake what was said last.
    fn break_off(mut self, client: &Client) -> Result<Told> {
        self.told.life.end = End::Reset;
        let socket = SockRef::from(&client.stream);
        socket.set_linger(Some(Duration::ZERO))?;
        Ok(self.told)
    }

    fn new_name(&self) -> String {
        format!("guest{}", self.hall.n_names.fetch_add(1, SeqCst))
    }

    fn any_name(&mut self) -> String {
        match self.random.bool() {
            true => self.new_name(),
            false => {
                let name = self.random.choice(NAMES).copied();
                name.unwrap_or_default().to_owned()
            }
        }
    }
}
