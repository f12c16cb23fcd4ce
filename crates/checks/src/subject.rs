//! A program under check: a lab, a learner's version of it, or the same thing
//! in another language. It is seen from outside only.

use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lan::Host;
use socket2::Socket;

use crate::bytes::shown_line;
use crate::kernel::{self, Group, TcpSocket, UdpSocket};
use crate::outcome::{Result, Stop};
use crate::script::Steps;
use crate::sys;
use crate::wait::{observe, wait_for};

pub use crate::sys::{Descriptor, Exit, Signal};

/// What is run, without the flags that a check adds: a file, or a command such
/// as `node server.js`.
#[derive(Debug, Clone)]
pub struct Program {
    words: Vec<String>,
}

impl Program {
    /// A program file, `env!("CARGO_BIN_EXE_tcp-server")`.
    pub fn file(path: impl Into<String>) -> Self {
        Program {
            words: vec![path.into()],
        }
    }

    /// A command and its first arguments. Paths must be absolute: a subject
    /// runs in an empty directory of its own.
    pub fn command<W: Into<String>>(
        words: impl IntoIterator<Item = W>,
    ) -> Self {
        Program {
            words: words.into_iter().map(Into::into).collect(),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

/// The program `confined` of this crate, if it has been built.
static CONFINED: OnceLock<PathBuf> = OnceLock::new();

/// Has programs started by way of this one, `confined` of this crate. To start
/// one without it, the process of the checks is forked, and each fork copies
/// the page tables of all that its threads have in hand.
pub fn use_confined(program: PathBuf) {
    // Whoever was first has built the same.
    let _ = CONFINED.set(program);
}

/// Becomes this program, with these arguments, confined as a subject is.
/// Returns only why it could not.
pub fn run_confined(
    program: &OsStr,
    arguments: impl Iterator<Item = OsString>,
) -> io::Error {
    let mut command = Command::new(program);
    command.args(arguments);
    sys::run_confined(command)
}

/// What stands behind a subject's standard input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stdin {
    /// End of file at once.
    #[default]
    Nothing,
    /// A pipe into which the check writes.
    Pipe,
    /// A terminal, which is its standard output as well.
    Terminal,
}

/// How a subject is started.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The flags after the program.
    pub flags: Vec<String>,
    /// Its standard input.
    pub stdin: Stdin,
    /// What it finds in `/etc/hosts`, in place of the system's.
    pub hosts: Option<String>,
    /// The size in bytes of the disk that it finds at [`SMALL_DISK`] in its
    /// directory, and nobody else does.
    pub small_disk: Option<u64>,
    /// Whether the reader of its stdout goes away after the first line.
    pub one_line_reader: bool,
    /// What its parent has left open for it at descriptor 3.
    pub inherited: Option<Descriptor>,
    /// More variables of its environment; the value `$$` stands for its own
    /// process id.
    pub variables: Vec<(&'static str, String)>,
    /// The host of a private network on which it runs.
    pub host: Option<Host>,
}

/// Where a small disk is, from the directory in which the program runs.
pub const SMALL_DISK: &str = "small-disk";

/// Most seconds that a subject may live.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// Most memory of its own, in bytes, summed over its processes.
const MEMORY_LIMIT: u64 = 1 << 30;
/// Most bytes that it may print to one of its outputs.
const OUTPUT_LIMIT: usize = 64 << 20;

/// A running program. It has a process group of its own, no capability, a
/// cleared environment and limits. It ends, with all it started, when this is
/// dropped, and when the thread that started it ends.
#[derive(Debug)]
pub struct Subject {
    child: RefCell<Child>,
    input: RefCell<Option<File>>,
    stdout: Arc<Output>,
    stderr: Arc<Output>,
    address: Cell<Option<SocketAddr>>,
    host: Option<Host>,
    guard: Guard,
    steps: Steps,
}

impl Subject {
    /// Starts `program` in the directory `home`.
    pub(crate) fn start(
        program: &Program,
        setup: &Setup,
        home: &Path,
        steps: Steps,
    ) -> Result<Self> {
        let words = words_to_run(program, setup);
        let Some((file, arguments)) = words.split_first() else {
            return Err(Stop::broken("no program was given"));
        };
        // What has to be done in the child needs a fork.
        let needs_fork = setup.hosts.is_some()
            || setup.small_disk.is_some()
            || setup.inherited.is_some();
        let confined = CONFINED.get().filter(|_| !needs_fork);
        let first = confined.map_or(OsStr::new(file), |it| it.as_os_str());
        let mut command = match &setup.host {
            Some(_) if setup.hosts.is_some() => {
                return Err(Stop::broken("no host has its own /etc/hosts"));
            }
            Some(host) => host.command(first),
            None => Command::new(first),
        };
        command.args(confined.map(|_| file));
        command.args(arguments).args(&setup.flags).current_dir(home);
        command.env_clear().env("HOME", home).env("TZ", "UTC");
        for (name, value) in &setup.variables {
            command.env(name, value);
        }
        command.env("LANG", "C.UTF-8").env("TERM", "xterm");
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(match setup.stdin {
            Stdin::Nothing => Stdio::null(),
            _ => Stdio::piped(),
        });
        let terminal = match setup.stdin {
            Stdin::Terminal => Some(sys::attach_terminal(&mut command)?),
            _ => None,
        };
        if confined.is_none() {
            sys::confine(&mut command, setup, home)?;
        }
        let spawned = command.spawn();
        // The command holds the program's end of the terminal. As long as we
        // have it too, we would not see the program close it.
        drop(command);
        let mut child = spawned.map_err(|error| {
            if setup.hosts.is_some() {
                return Stop::skipped(format_args!(
                    "a program cannot get its own /etc/hosts here: {error}"
                ));
            }
            if setup.small_disk.is_some() {
                return Stop::skipped(format_args!(
                    "a program cannot get a disk of its own here: {error}"
                ));
            }
            Stop::broken(format_args!("cannot run {program}: {error}"))
        })?;

        let (input, stdout) = match terminal {
            Some(terminal) => (Some(terminal.try_clone()?), Some(terminal)),
            None => (
                child.stdin.take().map(sys::into_file),
                child.stdout.take().map(sys::into_file),
            ),
        };
        let stderr = child.stderr.take().map(sys::into_file);
        let lines = if setup.one_line_reader { 1 } else { usize::MAX };
        let stdout = Output::read(stdout, lines);
        let stderr = Output::read(stderr, usize::MAX);
        let guard = Guard::start(child.id(), [&stdout, &stderr]);
        Ok(Subject {
            child: RefCell::new(child),
            input: RefCell::new(input),
            stdout,
            stderr,
            address: Cell::new(None),
            host: setup.host.clone(),
            guard,
            steps,
        })
    }

    /// Waits until the program, or one it started, listens on `wanted`, where
    /// port 0 stands for any. Returns the address it really has.
    pub(crate) fn wait_listening(
        &self,
        wanted: SocketAddr,
    ) -> Result<SocketAddr> {
        kernel::can_see()?;
        let fits = |socket: &TcpSocket| {
            socket.local.ip() == wanted.ip()
                && [0, socket.local.port()].contains(&wanted.port())
        };
        let found = wait_for(|| match self.listeners() {
            Err(error) => Some(Err(error)),
            Ok(sockets) => match sockets.into_iter().find(fits) {
                Some(socket) => Some(Ok(socket.local)),
                None => {
                    self.has_ended().then(|| Err(self.not_listening(wanted)))
                }
            },
        });
        let address =
            found.unwrap_or_else(|| Err(self.not_listening(wanted)))?;
        self.address.set(Some(address));
        Ok(address)
    }

    /// Why nobody can talk to it, in the order in which one would look.
    fn not_listening(&self, wanted: SocketAddr) -> Stop {
        if let Some(exit) = self.exit() {
            return Stop::broken(format_args!(
                "it ended with {exit} before it listened"
            ));
        }
        if let Some(own) = self.listeners().unwrap_or_default().first() {
            return Stop::broken(format_args!(
                "it listens on {}, not on {wanted}",
                own.local
            ));
        }
        let all = kernel::tcp_listeners_on(self.host.as_slice());
        if all
            .unwrap_or_default()
            .iter()
            .any(|socket| socket.local == wanted)
        {
            return Stop::broken(format_args!(
                "it does not listen; another program holds {wanted}"
            ));
        }
        Stop::broken(format_args!("it listens nowhere, {wanted} was expected"))
    }

    /// Waits until the program, or one it started, has a UDP socket bound to
    /// `wanted`, where port 0 stands for any. Returns the address it has.
    pub(crate) fn wait_bound(&self, wanted: SocketAddr) -> Result<SocketAddr> {
        let fits = |socket: &UdpSocket| {
            socket.local.ip() == wanted.ip()
                && [0, socket.local.port()].contains(&wanted.port())
        };
        // `None` once it has ended: nothing more will come.
        let found = wait_for(|| match self.udp_sockets() {
            Err(error) => Some(Err(error)),
            Ok(sockets) => match sockets.into_iter().find(fits) {
                Some(socket) => Some(Ok(Some(socket.local))),
                None => self.has_ended().then_some(Ok(None)),
            },
        });
        let ended = || "it ended before it was bound to its address";
        let nowhere = || Stop::broken("it is not bound to that address");
        let address = found.ok_or_else(nowhere)??;
        let address = address.ok_or_else(|| Stop::broken(ended()))?;
        self.address.set(Some(address));
        Ok(address)
    }

    /// Its UDP sockets, and those of the programs it started.
    pub fn udp_sockets(&self) -> Result<Vec<UdpSocket>> {
        let pids = kernel::process_tree(self.pid());
        kernel::udp_sockets_of_on(&pids, self.host.as_slice())
    }

    /// The multicast groups that its host has joined, by its sockets or those
    /// of others.
    pub fn groups(&self) -> Result<Vec<Group>> {
        kernel::groups(self.pid())
    }

    /// Its UDP socket with this address, to be used together with it
    /// (pidfd_getfd(2)): so a check can read what the program has set, and send
    /// as the program.
    pub fn share_udp_socket(&self, address: SocketAddr) -> Result<Socket> {
        self.steps
            .add(format_args!("we share the program's socket {address}"));
        let hosts = self.host.as_slice();
        let sockets = kernel::udp_sockets_of_on(&[self.pid()], hosts)?;
        let socket = sockets.iter().find(|it| it.local == address);
        self.share_socket(socket.map(|it| it.inode))
    }

    /// Its end of the connection to this client, in the same way.
    pub fn share_tcp_socket(&self, client: SocketAddr) -> Result<Socket> {
        self.steps
            .add(format_args!("we share the program's socket for {client}"));
        let hosts = self.host.as_slice();
        let sockets = kernel::tcp_sockets_of_on(&[self.pid()], hosts)?;
        let socket = sockets.iter().find(|it| it.remote == client);
        self.share_socket(socket.map(|it| it.inode))
    }

    fn share_socket(&self, inode: Option<u32>) -> Result<Socket> {
        let number = inode
            .and_then(|inode| kernel::descriptor_of(self.pid(), inode))
            .ok_or_else(|| Stop::broken("it has no such socket"))?;
        sys::share_socket(self.pid(), number).map_err(|error| {
            Stop::skipped(format_args!(
                "a program's socket cannot be shared here: {error}"
            ))
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
            .get()
            .unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.borrow().id()
    }

    /// Where a check finds the file that the program finds at `path`, on a disk
    /// of its own or not (`/proc/PID/root` in proc_pid_root(5)).
    pub fn its_file(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid()));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Its TCP sockets, and those of the programs it started.
    pub fn sockets(&self) -> Result<Vec<TcpSocket>> {
        let pids = kernel::process_tree(self.pid());
        kernel::tcp_sockets_of_on(&pids, self.host.as_slice())
    }

    fn listeners(&self) -> Result<Vec<TcpSocket>> {
        let pids = kernel::process_tree(self.pid());
        kernel::tcp_listeners_of_on(&pids, self.host.as_slice())
    }

    /// Lets it open only so many more file descriptors (RLIMIT_NOFILE).
    pub fn limit_descriptors(&self, free: usize) -> Result {
        self.steps
            .add(format_args!("it may open {free} more descriptors"));
        let open = kernel::descriptors(self.pid())
            .ok_or_else(|| Stop::broken("it has ended"))?;
        // The limit is on the number of a descriptor, not on how many there
        // are, and a new one takes the lowest number that is free.
        let mut free_numbers = (0..).filter(|number| !open.contains(number));
        let most = free_numbers.nth(free).unwrap_or_default();
        sys::limit_descriptors(self.pid(), most)?;
        Ok(())
    }

    /// Waits until the reader of its stdout has gone.
    pub fn wait_stdout_closed(&self) -> Result {
        self.steps.add("the reader of its stdout goes away");
        wait_for(|| self.stdout.ended().then_some(()))
            .ok_or_else(|| Stop::broken("it printed no line"))
    }

    /// Sends it a signal. After SIGSTOP it stands still when this returns, and
    /// sees what happens from now on all at once.
    pub fn signal(&self, signal: Signal) -> Result {
        self.steps.add(format_args!("the program gets {signal}"));
        sys::send(self.pid(), signal)?;
        if signal == Signal::Stop {
            let still = || {
                let is_still = sys::is_stopped(&self.child.borrow());
                (is_still || self.has_ended()).then_some(())
            };
            wait_for(still)
                .ok_or_else(|| Stop::broken("it does not stand still"))?;
        }
        Ok(())
    }

    /// Waits until it ends with this status.
    pub fn expect_status(&self, code: i32) -> Result {
        self.steps
            .add(format_args!("the program ends with status {code}"));
        let exit = wait_for(|| self.exit())
            .ok_or_else(|| Stop::broken("it has not ended"))?;
        // What it said last may still be on its way through the pipe.
        wait_for(|| (self.stdout.ended() && self.stderr.ended()).then_some(()));
        if exit == Exit::Code(code) {
            return Ok(());
        }
        Err(Stop::broken(format_args!("it ended with {exit}")))
    }

    /// Waits for a while in which it hardly wants the processor. Who goes round
    /// in a loop wants it always. Who wakes now and then must wait for its turn
    /// on a busy machine, and that counts as wanting, but not for ever.
    pub fn expect_rest(&self) -> Result {
        const WINDOW: Duration = Duration::from_millis(300);

        self.steps.add("it does not use the processor");
        let mut wanted = Duration::ZERO;
        let rests = || {
            let before = kernel::cpu_wanted(self.pid())?;
            observe(WINDOW);
            let after = kernel::cpu_wanted(self.pid())?;
            wanted = Duration::from_nanos(after.saturating_sub(before));
            (wanted < WINDOW / 2).then_some(())
        };
        wait_for(rests).ok_or_else(|| match self.exit() {
            Some(exit) => Stop::broken(format_args!("it ended with {exit}")),
            None => {
                Stop::broken(format_args!("it wants {wanted:?} of {WINDOW:?}"))
            }
        })
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.exit().is_some()
    }

    /// Leaves the process as it is, so that its number stays its own until
    /// `drop` has ended the group.
    pub(crate) fn exit(&self) -> Option<Exit> {
        sys::exit(&mut self.child.borrow_mut())
    }

    /// All that it has printed to stdout so far.
    pub fn stdout(&self) -> Vec<u8> {
        self.stdout.lock().bytes.clone()
    }

    /// All that it has printed to stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().bytes).into_owned()
    }

    /// Its story so far, the lines of its stdout.
    pub fn story(&self) -> Vec<String> {
        let text = self.stdout();
        String::from_utf8_lossy(&text)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Waits for a line of its story that equals `line`.
    pub fn expect_story(&self, line: &str) -> Result {
        self.steps.add(format_args!("the program tells: {line}"));
        let told =
            || self.story().iter().any(|told| told == line).then_some(());
        wait_for(told).ok_or_else(|| Stop::broken("it does not tell it"))
    }

    /// Waits until it has told anything.
    pub fn expect_any_story(&self) -> Result {
        self.steps.add("the program begins to tell");
        wait_for(|| (!self.story().is_empty()).then_some(()))
            .ok_or_else(|| Stop::broken("it tells nothing"))
    }

    /// Waits until stdout holds exactly `expected`.
    pub fn expect_stdout(&self, expected: &[u8]) -> Result {
        let shown = crate::bytes::shown(expected);
        self.steps.add(format_args!("the program prints {shown}"));
        wait_for(|| (self.stdout.lock().bytes == expected).then_some(()))
            .ok_or_else(|| {
                let seen = crate::bytes::difference(expected, &self.stdout());
                Stop::broken(seen.unwrap_or_default())
            })
    }

    /// Waits until stderr holds `part`.
    pub fn expect_stderr(&self, part: &str) -> Result {
        self.steps
            .add(format_args!("the program says on stderr: {part}"));
        wait_for(|| self.stderr().contains(part).then_some(()))
            .ok_or_else(|| Stop::broken("it does not say it"))
    }

    /// Writes to its standard input, as if somebody typed.
    pub fn type_in(&self, bytes: &[u8]) -> Result {
        let shown = crate::bytes::shown(bytes);
        self.steps
            .add(format_args!("the program's stdin brings {shown}"));
        match self.input.borrow_mut().as_mut() {
            Some(input) => Ok(input.write_all(bytes)?),
            None => Err(Stop::broken("its stdin is not open")),
        }
    }

    /// Ends its standard input.
    pub fn end_stdin(&self) {
        self.steps.add("the program's stdin ends");
        *self.input.borrow_mut() = None;
    }

    /// What the kernel and the program itself say, for the report of a broken
    /// promise.
    pub(crate) fn describe(&self) -> String {
        let mut lines = vec![String::from("The kernel says of the program:")];
        let pid = self.pid();
        lines.push(match self.exit() {
            Some(exit) => format!("  ended with {exit}"),
            None => format!(
                "  running, {} descriptors, {} KiB of memory",
                kernel::descriptors(pid).unwrap_or_default().len(),
                kernel::memory(pid).unwrap_or_default() / 1024,
            ),
        });
        if let Some(verdict) = self.guard.verdict() {
            lines.push(format!("  ended from outside: {verdict}"));
        }
        let sockets = self.sockets().unwrap_or_default();
        lines.extend(sockets.iter().map(|socket| format!("  {socket}")));
        for (name, output) in
            [("stdout", &self.stdout), ("stderr", &self.stderr)]
        {
            lines.push(format!("It said last on {name}:"));
            let text = output.lock().bytes.clone();
            let text = String::from_utf8_lossy(&text).into_owned();
            let all: Vec<&str> = text.lines().collect();
            let last = &all[all.len().saturating_sub(10)..];
            lines.extend(last.iter().map(|l| format!("  {}", shown_line(l))));
        }
        lines.join("\n")
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.guard.dismiss();
        let child = self.child.get_mut();
        sys::end_group(child);
        // Nothing more can be done for a process that cannot be waited for.
        let _ = child.wait();
    }
}

/// The program and its first arguments. Where a variable is to hold the
/// program's own process id, it is a shell that sets it and then becomes the
/// program: only who has the id can know it.
fn words_to_run(program: &Program, setup: &Setup) -> Vec<String> {
    let variables = setup.variables.iter();
    let own = variables.filter(|(_, value)| value == "$$");
    let set: String = own.map(|(name, _)| format!("{name}=$$ ")).collect();
    if set.is_empty() {
        return program.words.clone();
    }
    let script = format!("{set}exec \"$@\"");
    let shell = ["sh", "-c", &script, "sh"].map(str::to_owned);
    [shell.to_vec(), program.words.clone()].concat()
}

/// What a program prints to one of its outputs.
#[derive(Debug, Default)]
struct Output {
    printed: Mutex<Printed>,
}

#[derive(Debug, Default)]
struct Printed {
    bytes: Vec<u8>,
    ended: bool,
}

impl Output {
    /// Reads `pipe` to its end, or until it has brought so many lines.
    fn read(pipe: Option<File>, lines: usize) -> Arc<Self> {
        let output = Arc::new(Output::default());
        let shared = Arc::clone(&output);
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            let mut seen = 0;
            // A terminal whose program has gone says EIO, a pipe 0 bytes.
            while let Some(n_bytes) = pipe
                .as_ref()
                .and_then(|mut pipe| pipe.read(&mut buffer).ok())
                .filter(|n_bytes| *n_bytes > 0)
            {
                let bytes = &buffer[..n_bytes];
                seen += bytes.iter().filter(|byte| **byte == b'\n').count();
                shared.lock().bytes.extend_from_slice(bytes);
                if seen >= lines {
                    break;
                }
            }
            drop(pipe);
            shared.lock().ended = true;
        });
        output
    }

    fn ended(&self) -> bool {
        self.lock().ended
    }

    /// A reader that panicked leaves what it had read, which is all we want.
    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a program that lives too long, takes too much memory or prints without
/// end, so that no check can harm the machine it runs on.
#[derive(Debug)]
struct Guard {
    /// `None` once the program is over. Its end wakes the watching thread.
    alive: Mutex<Option<mpsc::Sender<()>>>,
    verdict: Arc<Mutex<Option<String>>>,
}

impl Guard {
    fn start(pid: u32, outputs: [&Arc<Output>; 2]) -> Self {
        const LOOK_EVERY: Duration = Duration::from_millis(300);
        let (alive, over) = mpsc::channel();
        let verdict = Arc::default();
        let shared = Arc::clone(&verdict);
        let outputs = outputs.map(Arc::clone);
        thread::spawn(move || {
            let started = Instant::now();
            while over.recv_timeout(LOOK_EVERY)
                == Err(RecvTimeoutError::Timeout)
            {
                let pids = kernel::process_tree(pid);
                let memory: u64 =
                    pids.iter().filter_map(|pid| kernel::memory(*pid)).sum();
                let too_much = if started.elapsed() > TIME_LIMIT {
                    format!("it ran for over {TIME_LIMIT:?}")
                } else if memory > MEMORY_LIMIT {
                    format!("it took {memory} bytes of memory")
                } else if outputs
                    .iter()
                    .any(|output| output.lock().bytes.len() > OUTPUT_LIMIT)
                {
                    format!("it printed over {OUTPUT_LIMIT} bytes")
                } else {
                    continue;
                };
                *lock(&shared) = Some(too_much);
                sys::end_group_of(pid);
                return;
            }
        });
        Guard {
            alive: Mutex::new(Some(alive)),
            verdict,
        }
    }

    fn dismiss(&self) {
        *lock(&self.alive) = None;
    }

    fn verdict(&self) -> Option<String> {
        lock(&self.verdict).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
