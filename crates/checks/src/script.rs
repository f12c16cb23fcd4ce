//! A check as it reads on the page: numbered actions and expectations.

use std::cell::RefCell;
use std::env;
use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use lan::{Host, Lan};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::datagrams::Datagrams;
use crate::kernel;
use crate::outcome::{Result, Stop};
use crate::peer::{Peer, Server};
use crate::promise::Lab;
use crate::subject::{Program, Setup, Subject};
use crate::wait::{patience, wait_for};
use crate::wire::Wire;

/// What has been done so far, one line a step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps(Rc<RefCell<Vec<String>>>);

impl Steps {
    pub(crate) fn add(&self, step: impl Display) {
        self.0.borrow_mut().push(step.to_string());
    }
}

/// Runs one check against one program, and remembers every step of it.
#[derive(Debug)]
pub struct Script<'a> {
    lab: &'a Lab,
    program: &'a Program,
    home: TempDir,
    steps: Steps,
    subjects: RefCell<Vec<Rc<Subject>>>,
    /// Those of the private network, if the check has one.
    hosts: RefCell<Vec<Host>>,
    /// Held as long as the check uses a port that others use, too.
    port: RefCell<Option<File>>,
}

impl<'a> Script<'a> {
    /// A script without steps, for `program` as the lab.
    pub fn new(lab: &'a Lab, program: &'a Program) -> Result<Self> {
        Ok(Script {
            lab,
            program,
            home: TempDir::new()?,
            steps: Steps::default(),
            subjects: RefCell::default(),
            hosts: RefCell::default(),
            port: RefCell::default(),
        })
    }

    /// The lab whose promise this is about.
    pub fn lab(&self) -> &Lab {
        self.lab
    }

    /// An empty directory, in which the program runs.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Adds a step that no instrument adds by itself.
    pub fn step(&self, what: impl Display) {
        self.steps.add(what);
    }

    /// Starts the program with these flags.
    pub fn start(&self, flags: &[&str]) -> Result<Rc<Subject>> {
        self.start_with(&Setup {
            flags: words(flags),
            ..Setup::default()
        })
    }

    /// Starts the program with flags and more.
    pub fn start_with(&self, setup: &Setup) -> Result<Rc<Subject>> {
        self.start_program(self.program, setup)
    }

    /// Skips the check unless this machine has a program of that name.
    pub fn need_program(&self, name: &str) -> Result {
        let path = env::var_os("PATH").unwrap_or_default();
        if env::split_paths(&path).any(|it| it.join(name).is_file()) {
            return Ok(());
        }
        let missing = format_args!("the program {name} is not installed");
        Err(Stop::skipped(missing))
    }

    /// Starts the program on a host of a private network.
    pub fn start_on(&self, host: &Host, setup: &Setup) -> Result<Rc<Subject>> {
        self.start_with(&Setup {
            host: Some(host.clone()),
            ..setup.clone()
        })
    }

    /// Starts another program than the lab.
    pub fn start_program(
        &self,
        program: &Program,
        setup: &Setup,
    ) -> Result<Rc<Subject>> {
        let flags = setup.flags.join(" ");
        let host = setup.host.as_ref().map(Host::name);
        let place = host.map(|it| format!(" on host {it}")).unwrap_or_default();
        self.steps
            .add(format_args!("start{place}: {program} {flags}"));
        let steps = self.steps.clone();
        let subject = Subject::start(program, setup, self.home(), steps)?;
        let subject = Rc::new(subject);
        self.subjects.borrow_mut().push(Rc::clone(&subject));
        Ok(subject)
    }

    /// Starts the program as a server on a free port of 127.0.0.1, and waits
    /// until it listens there.
    pub fn serve(&self) -> Result<Rc<Subject>> {
        self.serve_on("127.0.0.1:0", Setup::default())
    }

    /// Starts the program as a server with these flags, on a free port of
    /// 127.0.0.1, and waits until it listens there.
    pub fn serve_with(&self, flags: &[&str]) -> Result<Rc<Subject>> {
        let flags = words(flags);
        let setup = Setup {
            flags,
            ..Setup::default()
        };
        self.serve_on("127.0.0.1:0", setup)
    }

    /// Starts the program as a server on `address`, and waits until it listens
    /// there. The flag `--listen` is added to the setup's.
    pub fn serve_on(
        &self,
        address: &str,
        mut setup: Setup,
    ) -> Result<Rc<Subject>> {
        setup.flags.extend(words(&["--listen", address]));
        let subject = self.start_with(&setup)?;
        let wanted = address.parse().map_err(Stop::broken)?;
        self.wait_listening(&subject, wanted)?;
        Ok(subject)
    }

    /// Waits until the program listens on `wanted`, where port 0 stands for
    /// any.
    pub fn wait_listening(
        &self,
        subject: &Subject,
        wanted: SocketAddr,
    ) -> Result {
        self.steps
            .add(format_args!("the program listens on {wanted}"));
        subject.wait_listening(wanted).map(drop)
    }

    /// Waits until the program listens on the Unix socket of this file.
    pub fn wait_listening_on_path(
        &self,
        subject: &Subject,
        path: &Path,
    ) -> Result {
        let shown = path.display();
        self.steps
            .add(format_args!("the program listens on {shown}"));
        kernel::can_see()?;
        let listens = || {
            let file = kernel::file(path)?.inode;
            let pids = kernel::process_tree(subject.pid());
            let sockets = kernel::unix_sockets_of(&pids).ok()?;
            let fits = |s: &kernel::UnixSocket| {
                s.listens && s.file.map(u64::from) == Some(file)
            };
            sockets.iter().any(fits).then_some(())
        };
        let found = wait_for(|| match listens() {
            Some(()) => Some(true),
            None => subject.has_ended().then_some(false),
        });
        match found {
            Some(true) => Ok(()),
            Some(false) => Err(Stop::broken("it ended before it listened")),
            None => Err(Stop::broken("it does not listen there")),
        }
    }

    /// A client connects to the Unix socket of this file.
    pub fn connect_path(&self, path: &Path, name: &str) -> Result<Peer> {
        let shown = path.display();
        self.steps.add(format_args!("{name} connects to {shown}"));
        Peer::connect_path(path, name, self.steps.clone())
    }

    /// A server of the check's own on a Unix socket of this file.
    pub fn listen_path(&self, path: &Path, backlog: i32) -> Result<Server> {
        let server = Server::listen_path(path, backlog, self.steps.clone())?;
        let shown = path.display();
        self.steps.add(format_args!("a server listens on {shown}"));
        Ok(server)
    }

    /// A client connects to the program.
    pub fn connect(&self, subject: &Subject, name: &str) -> Result<Peer> {
        self.connect_to(subject.address(), name)
    }

    /// A client connects to an address.
    pub fn connect_to(&self, address: SocketAddr, name: &str) -> Result<Peer> {
        self.steps.add(format_args!("{name} connects to {address}"));
        Peer::connect(address, None, name, self.steps.clone())
    }

    /// A client with a tiny receive buffer connects, so that little is needed
    /// to fill the way to it.
    pub fn connect_tiny(&self, subject: &Subject, name: &str) -> Result<Peer> {
        let address = subject.address();
        self.steps.add(format_args!(
            "{name} connects to {address} with a tiny receive buffer"
        ));
        Peer::connect(address, Some(4096), name, self.steps.clone())
    }

    /// A client tries to connect and is refused.
    pub fn expect_refused(&self, address: SocketAddr) -> Result {
        self.steps
            .add(format_args!("a client of {address} is refused"));
        match TcpStream::connect_timeout(&address, patience()) {
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
                Ok(())
            }
            Err(error) => Err(Stop::broken(format_args!("it got: {error}"))),
            Ok(_) => Err(Stop::broken("it could connect")),
        }
    }

    /// A private network for this check: one LAN, or several with a router
    /// between.
    pub fn network(&self, lans: &[&[&str]]) -> Result<Lan> {
        let lan = Lan::routed(lans).map_err(|error| {
            let help = error.help().unwrap_or_default();
            if error.is_forbidden() {
                return Stop::skipped(format_args!("{error}; help: {help}"));
            }
            Stop::broken(error)
        })?;
        let names = lan.hosts().iter().map(|host| {
            let (name, ip) = (host.name(), host.ipv4());
            format!("{name} at {ip}")
        });
        let names = names.collect::<Vec<_>>().join(", ");
        self.steps.add(format_args!("a network of hosts: {names}"));
        self.hosts.replace(lan.hosts().to_vec());
        Ok(lan)
    }

    /// Pulls the cable of a host.
    pub fn cut(&self, lan: &Lan, host: &str) -> Result {
        self.steps.add(format_args!("the cable of {host} is cut"));
        lan.cut(host).map_err(Stop::broken)
    }

    /// Puts the cable of a host back.
    pub fn plug(&self, lan: &Lan, host: &str) -> Result {
        self.steps.add(format_args!("the cable of {host} is back"));
        lan.plug(host).map_err(Stop::broken)
    }

    /// Switches off the network of a host: only its loopback is left.
    pub fn switch_off(&self, lan: &Lan, host: &str) -> Result {
        self.steps
            .add(format_args!("the network of {host} is switched off"));
        lan.switch_off(host).map_err(Stop::broken)
    }

    /// Sees every packet that passes on a host from now on.
    pub fn watch(&self, host: &Host) -> Result<Wire> {
        let name = host.name();
        self.steps
            .add(format_args!("we see what passes on host {name}"));
        Wire::open(host, self.steps.clone())
    }

    /// A client on a host connects to the program, which is on a host, too.
    pub fn connect_from(
        &self,
        host: &Host,
        subject: &Subject,
        name: &str,
    ) -> Result<Peer> {
        let address = subject.address();
        let from = host.name();
        self.steps
            .add(format_args!("{name} on host {from} connects to {address}"));
        let hosts = self.hosts.borrow().clone();
        Peer::connect_from(host, hosts, address, name, self.steps.clone())
    }

    /// A server of the check's own on a host.
    pub fn listen_on(
        &self,
        host: &Host,
        address: &str,
        backlog: i32,
    ) -> Result<Server> {
        let address = address.parse().map_err(Stop::broken)?;
        let hosts = self.hosts.borrow().clone();
        let steps = self.steps.clone();
        let server = Server::listen_on(host, hosts, address, backlog, steps)?;
        let (name, address) = (host.name(), server.address()?);
        self.steps
            .add(format_args!("a server on host {name} listens on {address}"));
        Ok(server)
    }

    /// Waits until the program has a UDP socket bound to `wanted`, where port 0
    /// stands for any.
    pub fn wait_bound(&self, subject: &Subject, wanted: SocketAddr) -> Result {
        self.steps
            .add(format_args!("the program waits for datagrams at {wanted}"));
        subject.wait_bound(wanted).map(drop)
    }

    /// Somebody with a UDP socket at `address`, where port 0 stands for any
    /// free one.
    pub fn datagrams(&self, address: &str, name: &str) -> Result<Datagrams> {
        let address = address.parse().map_err(Stop::broken)?;
        let peer = Datagrams::bind(address, name, self.steps.clone())?;
        self.steps
            .add(format_args!("{name} is at {}", peer.address()));
        Ok(peer)
    }

    /// Somebody with a UDP socket on a host. A port given by number may be
    /// shared with a program that lets it be shared (`SO_REUSEADDR`).
    pub fn datagrams_on(
        &self,
        host: &Host,
        address: &str,
        name: &str,
    ) -> Result<Datagrams> {
        let address = address.parse().map_err(Stop::broken)?;
        let steps = self.steps.clone();
        let peer = Datagrams::bind_on(host, address, name, steps)?;
        let (host, address) = (host.name(), peer.address());
        self.steps
            .add(format_args!("{name} on host {host} is at {address}"));
        Ok(peer)
    }

    /// A server of the check's own, for programs that connect.
    pub fn listen(&self, address: &str, backlog: i32) -> Result<Server> {
        let address = address.parse().map_err(Stop::broken)?;
        let server = Server::listen(address, backlog, self.steps.clone())?;
        self.steps
            .add(format_args!("a server listens on {}", server.address()?));
        Ok(server)
    }

    /// A port on which nobody listens, and nobody else will as long as the
    /// socket lives: it is bound, and does not listen.
    pub fn closed_port(&self) -> Result<(Socket, SocketAddr)> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&any.into())?;
        let address = socket.local_addr()?.as_socket().unwrap_or(any);
        self.steps.add(format_args!("nobody listens on {address}"));
        Ok((socket, address))
    }

    /// A terminal that takes a little and then nothing more, until somebody
    /// reads its screen: a file as slow as a check wants it.
    pub fn slow_file(&self) -> Result<SlowFile> {
        let (screen, inner, path) = crate::sys::open_terminal()?;
        self.steps.add(format_args!(
            "{} is a file that takes no more until it is read",
            path.display()
        ));
        Ok(SlowFile {
            screen,
            _inner: inner,
            path,
        })
    }

    /// Takes the lab's default port for itself: no other check on this machine
    /// uses it meanwhile.
    pub fn reserve_default_port(&self) -> Result<SocketAddr> {
        let address = self.lab.default_address;
        let turn = self.wait_for_turn(&format!("port-{}", address.port()))?;
        *self.port.borrow_mut() = Some(turn);
        // Who had it before may not be quite gone: a child that another thread
        // has just forked holds all descriptors, until its program runs.
        let free = || TcpStream::connect(address).is_err().then_some(address);
        wait_for(free).ok_or_else(|| {
            Stop::skipped(format_args!(
                "port {} is in use by a program that no check started",
                address.port()
            ))
        })
    }

    /// Takes the lab's default UDP port for itself, as
    /// [`Self::reserve_default_port`] does for TCP.
    pub fn reserve_default_udp_port(&self) -> Result<SocketAddr> {
        let address = self.lab.default_address;
        let turn =
            self.wait_for_turn(&format!("udp-port-{}", address.port()))?;
        *self.port.borrow_mut() = Some(turn);
        self.wait_for_default_udp_port()?;
        Ok(address)
    }

    /// Waits until nobody has the lab's default UDP port: the kernel may have
    /// given it to somebody for a moment.
    pub fn wait_for_default_udp_port(&self) -> Result {
        let address = self.lab.default_address;
        let free = || UdpSocket::bind(address).ok();
        wait_for(free).map(drop).ok_or_else(|| {
            Stop::skipped(format_args!(
                "UDP port {} is in use by a program that no check started",
                address.port()
            ))
        })
    }

    /// Waits until no other check on this machine uses what is called so. It is
    /// ours until the file that this returns is dropped.
    pub fn wait_for_turn(&self, name: &str) -> Result<File> {
        let path = env::temp_dir().join(format!("socket-labs-{name}.lock"));
        // It may be another user's, who has made it first.
        let file = File::open(&path).or_else(|_| File::create(&path))?;
        file.lock()?;
        Ok(file)
    }

    /// The same, for as long as the programs of this check live.
    pub fn take_turn(&self, name: &str) -> Result {
        let turn = self.wait_for_turn(name)?;
        *self.port.borrow_mut() = Some(turn);
        Ok(())
    }

    /// A seed for random choices, shown in the steps that use it. The variable
    /// `CHECKS_SEED` repeats one.
    pub fn seed(&self) -> u64 {
        let given = env::var("CHECKS_SEED").ok().and_then(|s| s.parse().ok());
        given.unwrap_or_else(|| fastrand::u64(..))
    }

    /// The steps, the last of which did not hold, and what kernel and program
    /// say.
    pub fn report(&self, seen: &str) -> String {
        let mut lines = Vec::new();
        let steps = self.steps.0.borrow();
        for (index, step) in steps.iter().enumerate() {
            let is_last = index + 1 == steps.len();
            let mark = if is_last { "✗" } else { " " };
            lines.push(format!("{mark} {:2}. {step}", index + 1));
        }
        lines.extend(seen.lines().map(|line| format!("      {line}")));
        for subject in self.subjects.borrow().iter() {
            lines.push(subject.describe());
        }
        lines.join("\n")
    }
}

/// A terminal, as something to write to.
#[derive(Debug)]
pub struct SlowFile {
    /// Where that is read which was written to it.
    screen: File,
    /// As long as somebody has it open, the screen does not end.
    _inner: File,
    /// By this a program opens it.
    pub path: PathBuf,
}

impl SlowFile {
    /// Reads so many bytes of what was written to it.
    pub fn read(&mut self, n_bytes: usize) -> Result<Vec<u8>> {
        let mut screen = self.screen.try_clone()?;
        let (chunks, received) = mpsc::channel();
        // A thread of its own can wait without a deadline: at the latest it
        // ends when nobody has the terminal open any more.
        thread::spawn(move || {
            let mut left = n_bytes;
            let mut buffer = vec![0; 64 * 1024];
            while left > 0 {
                let most = left.min(buffer.len());
                let Ok(n_bytes) = screen.read(&mut buffer[..most]) else {
                    break;
                };
                left -= n_bytes;
                if chunks.send(buffer[..n_bytes].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut bytes = Vec::new();
        while bytes.len() < n_bytes {
            let chunk = received.recv_timeout(patience()).map_err(|_| {
                let n_read = bytes.len();
                Stop::broken(format_args!("only {n_read} bytes were written"))
            })?;
            bytes.extend(chunk);
        }
        Ok(bytes)
    }
}

fn words(flags: &[&str]) -> Vec<String> {
    flags.iter().map(|flag| (*flag).to_owned()).collect()
}
