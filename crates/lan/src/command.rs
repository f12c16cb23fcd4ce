//! What the commands do. One process, `lan up`, owns the network; the others
//! ask it, on a Unix socket that has a fixed name for every user.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use lan::{Host, Lan, ROUTER};
use socket2::{Domain, Type};

use crate::{Action, Failure};

type Result<T = ()> = std::result::Result<T, Failure>;

/// Longest wait for a request, and for a datagram of the doctor's.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest request.
const LONGEST: u64 = 100;

pub(crate) fn run(action: Action) -> Result {
    match action {
        Action::Up { hosts, second } => up(&hosts, &second),
        Action::On { host, program } => on(&host, program),
        Action::Cut { host } => ask(&format!("cut {host}")).map(drop),
        Action::Plug { host } => ask(&format!("plug {host}")).map(drop),
        Action::Doctor => doctor(),
        Action::Keep { plan } => Ok(lan::keep(&plan)?),
        Action::Enter {
            keeper,
            descriptor,
            program,
        } => enter(keeper, descriptor, &program),
    }
}

/// Where the owner of the network listens.
fn meeting_point() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("XDG_RUNTIME_DIR") {
        return Ok(PathBuf::from(folder).join("socket-labs-lan"));
    }
    let user = fs::metadata("/proc/self")?.uid();
    Ok(env::temp_dir().join(format!("socket-labs-lan-{user}")))
}

fn up(hosts: &[String], second: &[String]) -> Result {
    let path = meeting_point()?;
    if UnixStream::connect(&path).is_ok() {
        let help = "end the other one with Ctrl-C, or use it";
        return Err(Failure::new("there is a network already", Some(help)));
    }
    // What an earlier one has left, which was ended by a signal.
    let _ = fs::remove_file(&path);
    let name = path.display();
    let listener = UnixListener::bind(&path).map_err(|error| {
        Failure::new(format_args!("cannot listen on {name}: {error}"), None)
    })?;
    let names = |hosts: &[String]| hosts.to_vec();
    let network = if second.is_empty() {
        Lan::new(names(hosts))?
    } else {
        let first: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let second: Vec<&str> = second.iter().map(String::as_str).collect();
        Lan::routed(&[&first, &second])?
    };
    introduce(&network)?;
    loop {
        let (socket, _) = listener.accept()?;
        // One client's trouble is not the network's.
        if let Err(error) = serve(&network, socket) {
            writeln!(io::stderr(), "warning: a request failed: {error}")?;
        }
    }
}

/// Says which hosts there are, and how to get there.
fn introduce(network: &Lan) -> Result {
    let mut out = io::stdout().lock();
    for host in network.hosts() {
        let word = if host.name() == ROUTER && host.links().len() > 1 {
            "router"
        } else {
            "host"
        };
        for link in host.links() {
            let (name, lan) = (host.name(), link.lan);
            let (ipv4, ipv6) = (link.ipv4, link.ipv6);
            writeln!(out, "{word} {name} on LAN {lan}: {ipv4}, {ipv6}")?;
        }
    }
    let first = network.hosts().first().map_or("a", Host::name);
    writeln!(
        out,
        "\n\
         In other terminals, as often as you like:\n\
         \x20 cargo lan on {first}                  a shell on host {first}\n\
         \x20 cargo lan on {first} -- PROGRAM …     a program on host {first}\n\
         \x20 cargo lan cut {first}                 pull its cable\n\
         \x20 cargo lan plug {first}                put it back\n\
         Ctrl-C ends the network, and what runs on its hosts."
    )?;
    Ok(())
}

fn serve(network: &Lan, mut socket: UnixStream) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut request = String::new();
    BufReader::new((&socket).take(LONGEST)).read_line(&mut request)?;
    let request = request.trim_end();
    let (word, name) = request.split_once(' ').unwrap_or((request, ""));
    let answer = match word {
        "cut" => network.cut(name).map(|()| String::new()),
        "plug" => network.plug(name).map(|()| String::new()),
        "door" => network.host(name).map(|host| {
            let (keeper, descriptor) = host.door();
            format!("{keeper} {descriptor}")
        }),
        // Somebody looks whether we are here.
        _ => return Ok(()),
    };
    match answer {
        Ok(answer) => writeln!(socket, "ok {answer}"),
        Err(error) => writeln!(socket, "error {error}"),
    }
}

/// Asks the owner of the network; returns what it answers after `ok`.
fn ask(request: &str) -> Result<String> {
    let mut socket = UnixStream::connect(meeting_point()?).map_err(|_| {
        Failure::new("there is no network", Some("cargo lan up a b c"))
    })?;
    writeln!(socket, "{request}")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let answer = answer.trim_end();
    match answer.split_once(' ') {
        Some(("error", what)) => Err(Failure::new(what, None)),
        Some((_, rest)) => Ok(rest.to_owned()),
        None if answer == "ok" => Ok(String::new()),
        None => Err(Failure::new("the network is gone", None)),
    }
}

fn on(host: &str, program: Vec<OsString>) -> Result {
    let answer = ask(&format!("door {host}"))?;
    let (keeper, descriptor) = answer.split_once(' ').unwrap_or_default();
    let door = keeper.parse().ok().zip(descriptor.parse().ok());
    let Some((keeper, descriptor)) = door else {
        return Err(Failure::new("the network is gone", None));
    };
    let shell = || env::var_os("SHELL").unwrap_or("sh".into());
    let program = if program.is_empty() {
        vec![shell()]
    } else {
        program
    };
    enter(keeper, descriptor, &program)
}

/// Becomes a program on a host.
fn enter(keeper: u32, descriptor: i32, program: &[OsString]) -> Result {
    let (file, arguments) = program
        .split_first()
        .ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
    let mut command = Command::new(file);
    let error = lan::enter(keeper, descriptor, command.args(arguments));
    let file = file.display();
    let what = format!("cannot run {file} on the host: {error}");
    Err(Failure::new(what, None))
}

/// Makes a network of two hosts, and tries what the labs need.
fn doctor() -> Result {
    let mut out = io::stdout().lock();
    let start = Instant::now();
    let network = Lan::new(["a", "b"])?;
    let took = start.elapsed();
    writeln!(out, "ok: a network of two hosts, made in {took:?}")?;
    let (a, b) = (network.host("a")?, network.host("b")?);
    let udp = |host: &Host| -> io::Result<UdpSocket> {
        let socket = host.socket(Domain::IPV4, Type::DGRAM, None)?;
        socket.bind(&SocketAddr::from((host.ipv4(), 0)).into())?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket.into())
    };
    let (from, to) = (udp(a)?, udp(b)?);
    from.send_to(b"hello", to.local_addr()?)?;
    to.recv_from(&mut [0; 5])?;
    writeln!(out, "ok: a datagram from host a reaches host b")?;
    let output = a.command("/proc/self/exe").arg("--help").output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::new(text.trim_end(), None));
    }
    writeln!(out, "ok: programs run on a host, as you and without power")?;
    Ok(())
}
