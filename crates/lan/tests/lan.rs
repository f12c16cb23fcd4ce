//! A private network is like one of real computers and cables.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    reason = "these are tests; clippy.toml exempts only the functions marked so"
)]

use std::env;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket,
};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use lan::{Error, Host, Lan};
use socket2::{Domain, Type};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lan");

/// Longest wait for what should come soon.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who is nobody, on most systems.
const NOBODY: u32 = 65534;

/// A network, unless the system forbids it.
fn network(make: impl FnOnce() -> Result<Lan, Error>) -> Option<Lan> {
    lan::use_helper(PROGRAM);
    match make() {
        Ok(network) => Some(network),
        Err(error) if error.is_forbidden() => {
            let help = error.help().unwrap_or_default();
            assert!(env::var_os("CI").is_none(), "{error}; {help}");
            let _ = writeln!(std::io::stderr(), "skipped: {error}; {help}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn one_lan() -> Option<Lan> {
    network(|| Lan::new(["a", "b", "c"]))
}

fn two_lans() -> Option<Lan> {
    network(|| Lan::routed(&[&["a", "b", "c"], &["d"]]))
}

fn udp(host: &Host, ip: impl Into<IpAddr>) -> UdpSocket {
    let address = SocketAddr::new(ip.into(), 7000);
    let domain = Domain::for_address(address);
    let socket = host.socket(domain, Type::DGRAM, None).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.set_broadcast(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

fn any(host: &Host) -> UdpSocket {
    udp(host, Ipv4Addr::UNSPECIFIED)
}

fn expect(socket: &UdpSocket, expected: &str) -> SocketAddr {
    let mut buffer = [0; 100];
    let (n_bytes, sender) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(String::from_utf8_lossy(&buffer[..n_bytes]), expected);
    sender
}

fn listen(host: &Host, ip: impl Into<IpAddr>) -> TcpListener {
    let address = SocketAddr::new(ip.into(), 8080);
    let domain = Domain::for_address(address);
    let socket = host.socket(domain, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(5).unwrap();
    socket.into()
}

fn connect(host: &Host, ip: impl Into<IpAddr>) -> TcpStream {
    let address = SocketAddr::new(ip.into(), 8080);
    let domain = Domain::for_address(address);
    let socket = host.socket(domain, Type::STREAM, None).unwrap();
    socket.connect_timeout(&address.into(), PATIENCE).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// A line each way.
fn talk(mut client: TcpStream, listener: &TcpListener) -> SocketAddr {
    let (mut server, peer) = listener.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 4];
    client.write_all(b"ping").unwrap();
    server.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"ping");
    server.write_all(b"pong").unwrap();
    client.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"pong");
    peer
}

#[test]
fn every_host_reaches_every_other() {
    let Some(lan) = one_lan() else { return };
    for from in lan.hosts() {
        for to in lan.hosts() {
            let ips = [IpAddr::V4(to.ipv4()), IpAddr::V6(to.ipv6())];
            for ip in ips {
                let listener = listen(to, ip);
                let peer = talk(connect(from, ip), &listener);
                let own = [IpAddr::V4(from.ipv4()), IpAddr::V6(from.ipv6())];
                assert!(own.contains(&peer.ip()), "{peer}");
            }
        }
    }
    let sockets: Vec<_> = lan.hosts().iter().map(any).collect();
    for from in &sockets {
        for (to, host) in sockets.iter().zip(lan.hosts()) {
            from.send_to(b"hello", (host.ipv4(), 7000)).unwrap();
            expect(to, "hello");
        }
    }
}

#[test]
fn a_host_has_a_loopback_of_its_own() {
    let Some(lan) = one_lan() else { return };
    let [a, b, _] = lan.hosts() else { panic!() };
    let on_a = listen(a, Ipv4Addr::LOCALHOST);
    let on_b = listen(b, Ipv6Addr::LOCALHOST);
    talk(connect(a, Ipv4Addr::LOCALHOST), &on_a);
    talk(connect(b, Ipv6Addr::LOCALHOST), &on_b);
    let socket = b.socket(Domain::IPV4, Type::STREAM, None).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    let refused = socket.connect(&address.into()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn two_networks_have_nothing_in_common() {
    let Some(one) = one_lan() else { return };
    let Some(two) = one_lan() else { return };
    for lan in [&one, &two] {
        let (a, b) = (lan.host("a").unwrap(), lan.host("b").unwrap());
        let listener = listen(b, b.ipv4());
        talk(connect(a, b.ipv4()), &listener);
    }
    let a = any(one.host("a").unwrap());
    let b = any(one.host("b").unwrap());
    let other = any(two.host("b").unwrap());
    let sender = any(two.host("a").unwrap());
    a.send_to(b"one", "10.0.1.255:7000").unwrap();
    expect(&b, "one");
    sender.send_to(b"two", "10.0.1.255:7000").unwrap();
    expect(&other, "two");
}

#[test]
fn a_broadcast_reaches_the_whole_lan_and_no_other() {
    let Some(lan) = two_lans() else { return };
    let sockets: Vec<_> = lan.hosts().iter().map(any).collect();
    let [a, b, c, d, r] = sockets.as_slice() else {
        panic!()
    };
    for address in ["10.0.1.255:7000", "255.255.255.255:7000"] {
        a.send_to(b"all", address).unwrap();
        for host in [b, c, r] {
            assert_eq!(expect(host, "all").ip(), Ipv4Addr::new(10, 0, 1, 1));
        }
        // What is sent to it later comes first: nothing else came.
        a.send_to(b"only you", "10.0.2.1:7000").unwrap();
        expect(d, "only you");
    }
}

#[test]
fn the_router_passes_on_what_may_still_travel() {
    let Some(lan) = two_lans() else { return };
    let (a, d) = (lan.host("a").unwrap(), lan.host("d").unwrap());
    for ip in [IpAddr::V4(d.ipv4()), IpAddr::V6(d.ipv6())] {
        let listener = listen(d, ip);
        talk(connect(a, ip), &listener);
    }
    let raw = a.socket(Domain::IPV4, Type::DGRAM, None).unwrap();
    let to_d = SocketAddr::from((d.ipv4(), 7000)).into();
    let d = any(d);
    for (ttl, text) in [(1, "too far"), (2, "just so"), (64, "easily")] {
        raw.set_ttl_v4(ttl).unwrap();
        raw.send_to(text.as_bytes(), &to_d).unwrap();
    }
    expect(&d, "just so");
    expect(&d, "easily");
}

#[test]
fn a_cut_cable_is_silent_until_it_is_plugged_in() {
    let Some(lan) = one_lan() else { return };
    let [a, b, c] = lan.hosts() else { panic!() };
    let (a, b, c) = (any(a), any(b), any(c));
    let to_b = "10.0.1.2:7000";
    a.send_to(b"before", to_b).unwrap();
    let a_as_seen = expect(&b, "before");
    for _ in 0..3 {
        lan.cut("b").unwrap();
        // Nobody is told, neither here nor there.
        a.send_to(b"lost", to_b).unwrap();
        b.send_to(b"lost", a_as_seen).unwrap();
        a.send_to(b"to c", "10.0.1.3:7000").unwrap();
        expect(&c, "to c");
        lan.plug("b").unwrap();
        a.send_to(b"found", to_b).unwrap();
        expect(&b, "found");
        b.send_to(b"found", a_as_seen).unwrap();
        expect(&a, "found");
    }
}

#[test]
fn a_connection_outlives_a_cut() {
    let Some(lan) = one_lan() else { return };
    let [a, b, _] = lan.hosts() else { panic!() };
    let listener = listen(b, b.ipv4());
    let mut client = connect(a, b.ipv4());
    let (mut server, _) = listener.accept().unwrap();
    lan.cut("b").unwrap();
    client.write_all(b"hello").unwrap();
    lan.plug("b").unwrap();
    let mut buffer = [0; 5];
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    server.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"hello");
}

#[test]
fn a_group_hears_what_is_sent_to_it() {
    let Some(lan) = one_lan() else { return };
    let [a, b, c] = lan.hosts() else { panic!() };
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let (a, b, c) = (any(a), any(b), any(c));
    b.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED).unwrap();
    a.send_to(b"members", (group, 7000)).unwrap();
    expect(&b, "members");
    a.send_to(b"you", "10.0.1.3:7000").unwrap();
    expect(&c, "you");
}

fn output(mut command: Command) -> Output {
    command.output().unwrap()
}

#[test]
fn a_program_on_a_host_is_oneself_and_has_no_power() {
    let Some(lan) = one_lan() else { return };
    let mut cat = lan.hosts()[0].command("cat");
    cat.arg("/proc/self/status");
    let text = String::from_utf8(output(cat).stdout).unwrap();
    let values = |name: &str| -> Vec<String> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let own = fs::metadata("/proc/self").unwrap();
    assert_eq!(values("Uid:"), vec![own.uid().to_string(); 4]);
    assert_eq!(values("Gid:"), vec![own.gid().to_string(); 4]);
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(values(set), ["0000000000000000"], "{set}");
    }
    assert_eq!(values("NoNewPrivs:"), ["1"]);
}

/// The other half of the next test: what it does as a program on a host.
#[test]
fn port_80_says() {
    if env::var_os("ON_A_HOST").is_some() {
        let error = TcpListener::bind("0.0.0.0:80").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        TcpListener::bind("10.0.1.1:8080").unwrap();
    }
}

#[test]
fn a_program_on_a_host_may_not_have_port_80() {
    let Some(lan) = one_lan() else { return };
    let mut test = lan.hosts()[0].command(env::current_exe().unwrap());
    test.args(["--exact", "port_80_says"]).env("ON_A_HOST", "a");
    let output = output(test);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
fn an_ordinary_user_may_have_a_network() {
    if one_lan().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("lan");
    // Not by us: a program that another test starts meanwhile would inherit
    // the open copy, and what is open for writing cannot be run (ETXTBSY).
    let copy = Command::new("cp").arg(PROGRAM).arg(&program).status();
    assert!(copy.unwrap().success());
    let own = fs::metadata("/proc/self").unwrap();
    let mut doctor = Command::new(&program);
    if own.uid() == 0 {
        std::os::unix::fs::chown(folder.path(), Some(NOBODY), None).unwrap();
        doctor.uid(NOBODY).gid(NOBODY);
    }
    let output = output({
        doctor.arg("doctor");
        doctor
    });
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert_eq!(output.stdout.split(|byte| *byte == b'\n').count(), 4);
}

/// `lan up a b`, and a socket that ends when it and all it started have ended.
fn up(folder: &tempfile::TempDir) -> (std::process::Child, UnixStream) {
    let (all, stderr) = UnixStream::pair().unwrap();
    all.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut up = Command::new(PROGRAM)
        .args(["up", "a", "b"])
        .env("XDG_RUNTIME_DIR", folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(OwnedFd::from(stderr)))
        .spawn()
        .unwrap();
    // It listens before it says what there is.
    let mut first = [0; 4];
    up.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"host");
    (up, all)
}

#[test]
fn all_is_gone_when_the_owner_is_killed() {
    if one_lan().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut owner, mut all) = up(&folder);
    let mut program = Command::new(PROGRAM)
        .args(["on", "a", "--", "sh", "-c", "echo here; exec sleep 1000"])
        .env("XDG_RUNTIME_DIR", folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut here = [0; 5];
    program
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut here)
        .unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    // Its keeper has the other end of this.
    assert_eq!(all.read(&mut here).unwrap(), 0);
    assert!(!program.wait().unwrap().success());
}

#[test]
fn all_is_gone_when_the_owner_drops_it() {
    let Some(lan) = one_lan() else { return };
    let (keeper, _) = lan.hosts()[0].door();
    let mut sleep = lan.hosts()[1].command("sleep");
    let mut sleep = sleep.arg("1000").spawn().unwrap();
    drop(lan);
    assert!(!sleep.wait().unwrap().success());
    let comm = fs::read_to_string(format!("/proc/{keeper}/comm"));
    assert_ne!(comm.unwrap_or_default(), "lan\n");
}

#[test]
fn terminals_share_a_network() {
    if one_lan().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let lan = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(arguments);
        command.env("XDG_RUNTIME_DIR", folder.path());
        let output = output(command);
        let [out, err] = [output.stdout, output.stderr]
            .map(|it| String::from_utf8_lossy(&it).into_owned());
        (output.status.code(), out, err)
    };
    let failed = |text: &str| (Some(1), String::new(), text.to_owned());
    let nothing = || (Some(0), String::new(), String::new());
    let none = "error: there is no network\nhelp: cargo lan up a b c\n";
    assert_eq!(lan(&["cut", "a"]), failed(none));

    let (mut owner, mut all) = up(&folder);
    let routes = lan(&["on", "a", "--", "cat", "/proc/net/route"]);
    assert!(routes.1.contains("eth0"), "{routes:?}");
    assert_eq!(lan(&["cut", "a"]), nothing());
    assert_eq!(lan(&["plug", "a"]), nothing());
    let other = "error: no host x; there are a, b\n";
    assert_eq!(lan(&["on", "x"]), failed(other));
    let twice = "error: there is a network already\n\
                 help: end the other one with Ctrl-C, or use it\n";
    assert_eq!(lan(&["up", "a"]), failed(twice));
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert_eq!(all.read(&mut [0]).unwrap(), 0);
    assert_eq!(lan(&["plug", "a"]), failed(none));
}

#[test]
fn names_that_cannot_be_are_errors() {
    for names in [&["a", "a"][..], &["A"], &["a-b"], &["lo"], &[""], &[]] {
        let error = Lan::new(names.iter().copied()).unwrap_err();
        assert!(!error.is_forbidden(), "{names:?}: {error}");
    }
    assert!(Lan::routed(&[&["r"], &["b"]]).is_err());
}
