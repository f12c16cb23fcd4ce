//! multicast: a server that sends the time to a group, and a client that joins
//! it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use lan::{Host, Lan};
use socket2::{Domain, Socket, Type};

use super::command_line::{
    EVIL, expect_end_when_asked_twice, expect_error, expect_help,
    expect_no_evil,
};
use super::every_datagram_server::expect_misuse;
use super::every_server::expect_two_lines;
use crate::datagrams::Datagrams;
use crate::outcome::{Result, Stop, ensure};
use crate::promise::lab;
use crate::script::Script;
use crate::subject::{Setup, Signal, Subject};
use crate::wait::wait_for;
use crate::wire::{IGMP, Packet, Wire};

every_program! { lab! {
    $ multicast "multicast" at ([239, 255, 0, 100], 8080), many &[];

    runs_with_no_flags = "runs-with-no-flags":
        "With no flags it is a server, and a client hears it, both by \
         127.0.0.1, where no other machine is.",
        "The first run must work on a laptop alone, and bother nobody.";
    sends_the_date_and_time = "sends-the-date-and-time":
        "It sends the local date and time with its zone, at once and then as \
         often as `--every` says, and tells what it sends.",
        "A time without a zone is another one for somebody else.";
    tells_what_it_hears = "tells-what-it-hears":
        "The client tells where it has joined, then each datagram and who \
         sent it.",
        "The story is how the learner sees what happens.";
    escapes_what_a_peer_sends = "escapes-what-a-peer-sends":
        "Nothing that a datagram holds reaches the terminal as a control \
         character.",
        "Anybody may send to a group, and an escape sequence can rewrite the \
         screen.";
    only_members_hear = "only-members-hear":
        "Members in the same network hear the server; who has not joined does \
         not, nor does a member behind a router, whatever the TTL.",
        "That is the difference to a broadcast, and its limit.";
    a_join_and_a_leave_are_reported = "a-join-and-a-leave-are-reported":
        "That it has joined and has left, the client's host tells the network \
         (IGMP).",
        "Switches and routers learn from it where to send.";
    leaving_ends_the_membership = "leaving-ends-the-membership":
        "After `--leave-after` the host is in the group no more, and the \
         client listens on and hears nothing.",
        "Being bound and being a member are two things.";
    hears_only_where_it_has_joined = "hears-only-where-it-has-joined":
        "What another program's membership brings to its host, the client \
         does not hear: on another interface, or after it has left.",
        "Linux gives a socket what any program on the host has joined, unless \
         told otherwise.";
    hears_only_its_group = "hears-only-its-group":
        "What is sent to the client's port, but not to the group, it does not \
         hear.",
        "Who joins a group does not ask for letters of his own.";
    clients_share_the_port = "clients-share-the-port":
        "Several clients on one host have the same port, and all hear.",
        "A group is for many; without SO_REUSEADDR the second is refused.";
    the_ttl_is_on_the_wire = "the-ttl-is-on-the-wire":
        "The server's datagrams leave with a TTL of 1, or of `--ttl`.",
        "64, which all else has, would be allowed to leave the building.";
    ttl_0_stays_on_the_host = "ttl-0-stays-on-the-host":
        "With `--ttl 0`, members on the same host hear, and nothing leaves, \
         whether there are any or not.",
        "Linux sends it out where the host is no member itself.";
    loopback_off_spares_its_own_host = "loopback-off-spares-its-own-host":
        "Sent to a network with `--loopback off`, members on the server's \
         host hear nothing, and all others do; with `on`, both do.",
        "It is said at the sender, and for the sender's host.";
    does_the_same_over_ipv6 = "does-the-same-over-ipv6":
        "Over IPv6, too, `--interface`, `--ttl`, `--loopback` and \
         `--leave-after` do what they say.",
        "IPv6 has options of its own for all of them.";
    a_group_that_is_none_is_misuse = "a-group-that-is-none-is-misuse":
        "An address that is no group, or one that nobody can simply join, is \
         named with the reason, and the status is 2.",
        "The kernel says EINVAL at best, and at worst nothing.";
    warns_of_groups_of_others = "warns-of-groups-of-others":
        "A group that is somebody else's works, with a warning.",
        "The groups in old examples belong to others.";
    an_interface_that_is_none_is_one_clear_line =
        "an-interface-that-is-none-is-one-clear-line":
        "An address or a name that no interface has is one line, and status \
         1; one of the wrong kind is misuse.",
        "IPv4 wants an address there, IPv6 a name: everybody mixes them up.";
    a_host_without_network_is_enough = "a-host-without-network-is-enough":
        "Without any network it works with no flags; sent where no route \
         leads, it is one line that names `--interface`, and status 1.",
        "On a train there is no network, and the course goes on.";
    a_busy_port_is_one_clear_line = "a-busy-port-is-one-clear-line":
        "A port that somebody has for himself is one line with EADDRINUSE, a \
         line of help, and status 1.",
        "All must agree to share it.";
    warns_when_others_can_hear = "warns-when-others-can-hear":
        "On any interface but loopback, server and client warn.",
        "Who talks to the whole network should know it.";
    ends_in_order_when_asked = "ends-in-order-when-asked":
        "On Ctrl-C and on SIGTERM both roles exit with status 0, without a \
         word on stderr.",
        "A program that must be killed cannot clean up.";
} }

/// A group and a port that no other check uses at the same time.
fn any_group() -> SocketAddr {
    let [_, high, middle, low] = fastrand::u32(..).to_be_bytes();
    // Below the ports that the kernel gives away.
    let port = fastrand::u16(20_000..32_000);
    SocketAddr::from(([239, high, middle, low], port))
}

fn any_group_v6() -> SocketAddr {
    let (high, low) = (fastrand::u16(..), fastrand::u16(..));
    let ip = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, high, low);
    SocketAddr::from((ip, fastrand::u16(20_000..32_000)))
}

/// Starts a role of the program for this group, with flags, on a host or here.
fn start(
    script: &Script,
    role: &str,
    group: SocketAddr,
    flags: &[&str],
    host: Option<&Host>,
) -> Result<Rc<Subject>> {
    let group = group.to_string();
    let words = [&[role, "--group", &group], flags].concat();
    script.start_with(&Setup {
        flags: words.into_iter().map(str::to_owned).collect(),
        host: host.cloned(),
        ..Setup::default()
    })
}

/// Starts a client, and waits until it is a member on this interface.
fn join(
    script: &Script,
    group: SocketAddr,
    flags: &[&str],
    host: Option<&Host>,
) -> Result<Rc<Subject>> {
    let client = start(script, "client", group, flags, host)?;
    let interface = match flags {
        ["--interface", "127.0.0.1", ..] | [] => "lo",
        _ => "eth0",
    };
    wait_joined(script, &client, group, interface)?;
    Ok(client)
}

fn wait_joined(
    script: &Script,
    client: &Subject,
    group: SocketAddr,
    interface: &str,
) -> Result {
    let ip = group.ip();
    script.step(format_args!("it is bound, and in {ip} on {interface}"));
    crate::kernel::can_see()?;
    let is_there = || {
        let sockets = client.udp_sockets().ok()?;
        let is_bound = sockets.iter().any(|it| it.local.port() == group.port());
        let is_in = is_member(client, group, interface).ok()?;
        Some(is_bound && is_in)
    };
    let found = wait_for(|| match is_there() {
        Some(true) => Some(true),
        _ => client.has_ended().then_some(false),
    });
    match found {
        Some(true) => Ok(()),
        Some(false) => Err(Stop::broken("it ended before")),
        None => Err(Stop::broken("it is not")),
    }
}

/// Whether the client's host is in the group on this interface.
fn is_member(
    client: &Subject,
    group: SocketAddr,
    interface: &str,
) -> Result<bool> {
    let is_it = |it: &crate::kernel::Group| {
        it.address == group.ip() && it.interface == interface
    };
    Ok(client.groups()?.iter().any(is_it))
}

/// Somebody of the check's on this host who hears the group.
fn member(
    script: &Script,
    host: Option<&Host>,
    group: SocketAddr,
    name: &str,
) -> Result<Datagrams> {
    let address = group.to_string();
    let (member, on) = match host {
        Some(host) => (script.datagrams_on(host, &address, name)?, host.ipv4()),
        None => (script.datagrams(&address, name)?, Ipv4Addr::LOCALHOST),
    };
    member.join_v4(ip_v4(group), on)?;
    Ok(member)
}

fn ip_v4(group: SocketAddr) -> Ipv4Addr {
    match group.ip() {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

/// Somebody of the check's on this host who sends.
fn sender(script: &Script, host: &Host) -> Result<Datagrams> {
    script.datagrams_on(host, &format!("{}:0", host.ipv4()), "a sender")
}

fn host<'a>(lan: &'a Lan, name: &str) -> Result<&'a Host> {
    lan.host(name).map_err(Stop::broken)
}

/// Has the client told of nothing but this mark, which comes now?
fn expect_only_a_mark(
    script: &Script,
    client: &Subject,
    from: &Datagrams,
    group: SocketAddr,
) -> Result {
    let mark = format!("a mark, {}", fastrand::u64(..));
    from.send(mark.as_bytes(), group)?;
    let said = format!(" says \"{mark}\"");
    script.step("the program tells of it, and of nothing else");
    let heard = || {
        let mut story = client.story();
        story.retain(|line| line.contains(" says "));
        story.iter().any(|it| it.ends_with(&said)).then_some(story)
    };
    let story =
        wait_for(heard).ok_or_else(|| Stop::broken("it does not tell"))?;
    ensure(story.len() == 1, format_args!("it tells {story:#?}"))
}

/// Has the client told of nothing at all until now, and does it end in order?
/// What has come is read first.
fn expect_nothing_told(script: &Script, client: &Subject) -> Result {
    script.step("the program has read all that came");
    let all_read = || {
        let sockets = client.udp_sockets().ok()?;
        sockets.iter().all(|it| it.receive_queue == 0).then_some(())
    };
    wait_for(all_read).ok_or_else(|| Stop::broken("it does not read"))?;
    ensure(!client.has_ended(), "it has ended")?;
    client.signal(Signal::Terminate)?;
    client.expect_status(0)?;
    script.step("and has heard nothing");
    let mut story = client.story();
    story.retain(|line| line.contains(" says "));
    ensure(story.is_empty(), format_args!("it tells {story:#?}"))
}

/// The server has ended in order: what it has sent is on its way.
fn end(server: &Subject) -> Result {
    server.signal(Signal::Terminate)?;
    server.expect_status(0)
}

/// Waits until the server tells so often that it has sent.
fn wait_sent(script: &Script, server: &Subject, times: usize) -> Result {
    script.step(format_args!("it sends {times} times"));
    let sent = || {
        let story = server.story();
        let n_sent = story.iter().filter(|it| it.starts_with("sent "));
        (n_sent.count() >= times).then_some(())
    };
    wait_for(sent).ok_or_else(|| Stop::broken("it does not"))
}

fn runs_with_no_flags(script: &Script) -> Result {
    let group = script.lab().default_address;
    // We do not try whether the port is free: a socket that does not share it
    // may live on in a process that was just forked, and all others would fail.
    script.take_turn(&format!("udp-port-{}", group.port()))?;
    for flags in [&[][..], &["server"]] {
        let hears = member(script, None, group, "a member")?;
        let server = script.start(flags)?;
        let (_, from) = hears.receive()?;
        let is_local = from.ip() == Ipv4Addr::LOCALHOST;
        ensure(is_local, format_args!("it came from {from}"))?;
        end(&server)?;
        ensure(server.stderr().is_empty(), server.stderr())?;
    }
    wait_nobody_in(group)?;
    let client = script.start(&["client"])?;
    wait_joined(script, &client, group, "lo")?;
    let sends = script.datagrams("127.0.0.1:0", "a sender")?;
    expect_only_a_mark(script, &client, &sends, group)?;
    end(&client)?;
    ensure(client.stderr().is_empty(), client.stderr())
}

/// A socket that was closed may live on for a moment, in a process that another
/// check of this machine has just forked.
fn wait_nobody_in(group: SocketAddr) -> Result {
    let own = std::process::id();
    let nobody = || {
        let groups = crate::kernel::groups(own).ok()?;
        let is_free = groups.iter().all(|it| it.address != group.ip());
        is_free.then_some(())
    };
    wait_for(nobody).ok_or_else(|| {
        let ip = group.ip();
        Stop::skipped(format_args!(
            "a program that no check started is in {ip}"
        ))
    })
}

fn sends_the_date_and_time(script: &Script) -> Result {
    const FAR: &str = "Asia/Shanghai";

    let group = any_group();
    let hears = member(script, None, group, "a member")?;
    let before = seconds(SystemTime::now());
    let text = group.to_string();
    let flags = ["server", "--group", &text, "--every", "60m"];
    let variables = vec![("TZ", FAR.to_owned())];
    let server = script.start_with(&Setup {
        flags: flags.map(str::to_owned).into(),
        variables,
        ..Setup::default()
    })?;
    let (bytes, from) = hears.receive()?;
    let after = seconds(SystemTime::now());
    let sent = String::from_utf8_lossy(&bytes).into_owned();
    script.step(format_args!("{sent:?} is now, as people in {FAR} write it"));
    let zone = sent.strip_suffix(" +08:00");
    let local = zone.and_then(local_seconds);
    let is_now =
        local.is_some_and(|it| (before..=after).contains(&(it - 8 * 3600)));
    ensure(is_now, format_args!("it is from {before} to {after}"))?;
    server.expect_story(&format!("sent \"{sent}\""))?;
    script.step("the whole story is told in order");
    let story = server.story();
    let expected = [
        format!("sending from {from} to {group}"),
        format!("sent \"{sent}\""),
    ];
    ensure(story == expected, format_args!("it is {story:#?}"))?;
    end(&server)?;

    let server = start(script, "server", group, &["--every", "10ms"], None)?;
    // At one a second it would take more than there is patience.
    wait_sent(script, &server, 20)
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.unwrap_or(Duration::ZERO).as_secs();
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// `2026-11-21 15:40:28` in seconds since 1970, as if it were UTC.
fn local_seconds(text: &str) -> Option<i64> {
    let form = "0000-00-00 00:00:00";
    let fits = |(c, form): (char, char)| match form {
        '0' => c.is_ascii_digit(),
        _ => c == form,
    };
    let is_date = text.len() == form.len();
    if !is_date || !text.chars().zip(form.chars()).all(fits) {
        return None;
    }
    let number = |at: std::ops::Range<usize>| text[at].parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) =
        (number(11..13)?, number(14..16)?, number(17..19)?);
    // A year that begins in March has its leap day at the end.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1;
    // So many were before 1 January 1970.
    let days = days - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn tells_what_it_hears(script: &Script) -> Result {
    let group = any_group();
    let client = join(script, group, &[], None)?;
    let first = script.datagrams("127.0.0.1:0", "a sender")?;
    let second = script.datagrams("127.0.0.1:0", "another")?;
    let (ip, port) = (group.ip(), group.port());
    let mut expected =
        vec![format!("joined {ip} on 127.0.0.1, at port {port}")];
    for (from, sent, told) in [
        (&first, "珠峰\n".as_bytes(), "珠峰\\n"),
        (&second, b"", ""),
        (&first, b"A\xe7\x8f", "A\u{fffd}"),
    ] {
        from.send(sent, group)?;
        expected.push(format!("{} says \"{told}\"", from.address()));
    }
    let long = "x".repeat(900);
    second.send(long.as_bytes(), group)?;
    expected.push(format!("{} says \"{long}\"", second.address()));
    script.step("the whole story is told in order");
    wait_for(|| (client.story().len() >= expected.len()).then_some(()));
    let story = client.story();
    ensure(story == expected, format_args!("it is {story:#?}"))
}

fn escapes_what_a_peer_sends(script: &Script) -> Result {
    let group = any_group();
    let client = join(script, group, &[], None)?;
    let sends = script.datagrams("127.0.0.1:0", "a sender")?;
    sends.send(EVIL.as_bytes(), group)?;
    script.step("it tells of it");
    wait_for(|| (client.story().len() >= 2).then_some(()))
        .ok_or_else(|| Stop::broken("it does not"))?;
    end(&client)?;
    expect_no_evil(script, &client)
}

fn only_members_hear(script: &Script) -> Result {
    let group = any_group();
    let lan = script.network(&[&["a", "b", "c"], &["d"]])?;
    let a = host(&lan, "a")?;
    let all = format!("0.0.0.0:{}", group.port());
    let hears = member(script, Some(host(&lan, "b")?), group, "a member")?;
    let c = script.datagrams_on(host(&lan, "c")?, &all, "who is no member")?;
    let d = script.datagrams_on(host(&lan, "d")?, &all, "a member behind")?;
    d.join_v4(ip_v4(group), host(&lan, "d")?.ipv4())?;
    let flags = ["--interface", "10.0.1.1", "--ttl", "128", "--every", "10ms"];
    let server = start(script, "server", group, &flags, Some(a))?;
    for _ in 0..3 {
        let (_, from) = hears.receive()?;
        let is_it = from.ip() == a.ipv4();
        ensure(is_it, format_args!("it came from {from}"))?;
    }
    end(&server)?;
    let from = sender(script, a)?;
    for (silent, ip) in [(c, "10.0.1.3"), (d, "10.0.2.1")] {
        let to = format!("{ip}:{}", group.port());
        silent.expect_silence(&from, to.parse().map_err(Stop::broken)?)?;
    }
    Ok(())
}

/// The records of an IGMPv3 report (RFC 9776): which kind, for which group.
fn has_record(packet: &Packet, kind: u8, group: SocketAddr) -> bool {
    const REPORT: u8 = 0x22;
    const LENGTH: usize = 8;

    let is_report = packet.protocol == IGMP
        && packet.destination == Ipv4Addr::new(224, 0, 0, 22)
        && packet.payload.first() == Some(&REPORT);
    let records = packet.payload.get(LENGTH..).unwrap_or_default();
    let octets = ip_v4(group).octets();
    // Ours name no senders, so all have the same length.
    let is_it = |it: &[u8]| it[0] == kind && it[4..] == octets;
    is_report && records.chunks_exact(LENGTH).any(is_it)
}

fn a_join_and_a_leave_are_reported(script: &Script) -> Result {
    // "All senders but none", and "no sender but none".
    const JOINS: u8 = 4;
    const LEAVES: u8 = 3;

    let group = any_group();
    let lan = script.network(&[&["a", "b"]])?;
    let wire = script.watch(host(&lan, "b")?)?;
    let flags = ["--interface", "10.0.1.1", "--leave-after", "50ms"];
    let _client =
        start(script, "client", group, &flags, Some(host(&lan, "a")?))?;
    for (what, kind) in [("a join", JOINS), ("a leave", LEAVES)] {
        let report = wire.expect(what, |it| has_record(it, kind, group))?;
        let from = report.source;
        let is_it = from == host(&lan, "a")?.ipv4();
        ensure(is_it, format_args!("it is from {from}"))?;
    }
    Ok(())
}

fn leaving_ends_the_membership(script: &Script) -> Result {
    let group = any_group();
    let flags = ["--leave-after", "20ms"];
    let client = start(script, "client", group, &flags, None)?;
    let ip = group.ip();
    client.expect_story(&format!("left {ip} on 127.0.0.1"))?;
    let first = client.story().into_iter().next().unwrap_or_default();
    let joined = format!("joined {ip} on 127.0.0.1, at port {}", group.port());
    ensure(first == joined, format_args!("it had told {first:?}"))?;
    script.step("its host is in the group no more");
    ensure(!is_member(&client, group, "lo")?, "it is")?;
    let sends = script.datagrams("127.0.0.1:0", "a sender")?;
    let clock = script.datagrams("127.0.0.1:0", "somebody else")?;
    sends.send(b"hello", group)?;
    clock.expect_silence(&sends, clock.address())?;
    expect_nothing_told(script, &client)
}

fn hears_only_where_it_has_joined(script: &Script) -> Result {
    let group = any_group();
    let lan = script.network(&[&["a", "b"]])?;
    let (a, b) = (host(&lan, "a")?, host(&lan, "b")?);
    let inside = join(script, group, &["--interface", "127.0.0.1"], Some(b))?;
    let flags = ["--interface", "10.0.1.2", "--leave-after", "20ms"];
    let former = start(script, "client", group, &flags, Some(b))?;
    former.expect_story(&format!("left {} on 10.0.1.2", group.ip()))?;
    let member = member(script, Some(b), group, "another on the host")?;
    sender(script, a)?.send(b"hello", group)?;
    member.expect(b"hello")?;
    expect_nothing_told(script, &former)?;
    let near = script.datagrams_on(b, "127.0.0.1:0", "somebody inside")?;
    expect_only_a_mark(script, &inside, &near, group)
}

fn hears_only_its_group(script: &Script) -> Result {
    let group = any_group();
    let client = join(script, group, &[], None)?;
    let sends = script.datagrams("127.0.0.1:0", "a sender")?;
    let port = SocketAddr::from((Ipv4Addr::LOCALHOST, group.port()));
    sends.send(b"to the port", port)?;
    expect_only_a_mark(script, &client, &sends, group)
}

fn clients_share_the_port(script: &Script) -> Result {
    let group = any_group();
    let first = join(script, group, &[], None)?;
    let second = start(script, "client", group, &[], None)?;
    script.step("both are members");
    let both = || {
        let users = |it: crate::kernel::Group| {
            (it.address == group.ip()).then_some(it.users)
        };
        let mut groups = second.groups().ok()?.into_iter();
        let is_in = groups.find_map(users) == Some(2);
        (is_in || second.has_ended()).then_some(is_in)
    };
    let both = wait_for(both).unwrap_or_default();
    ensure(both, format_args!("the second is not: {}", second.stderr()))?;
    let sends = script.datagrams("127.0.0.1:0", "a sender")?;
    sends.send(b"hello", group)?;
    let line = format!("{} says \"hello\"", sends.address());
    first.expect_story(&line)?;
    second.expect_story(&line)
}

/// The next datagram to this address that passes.
fn passing(wire: &Wire, to: SocketAddr) -> Result<Packet> {
    const UDP: u8 = 17;

    wire.expect(&format!("a datagram to {to}"), |it| {
        let port = it.payload.get(2..4);
        it.protocol == UDP
            && it.destination == to.ip()
            && port == Some(&to.port().to_be_bytes())
    })
}

fn the_ttl_is_on_the_wire(script: &Script) -> Result {
    let lan = script.network(&[&["a", "b"]])?;
    let wire = script.watch(host(&lan, "b")?)?;
    for (ttl, flags) in [(1, &[][..]), (128, &["--ttl", "128"])] {
        let group = any_group();
        let flags = [&["--interface", "10.0.1.1"], flags].concat();
        let a = host(&lan, "a")?;
        let server = start(script, "server", group, &flags, Some(a))?;
        let seen = passing(&wire, group)?.ttl;
        ensure(seen == ttl, format_args!("its TTL is {seen}"))?;
        end(&server)?;
    }
    Ok(())
}

fn ttl_0_stays_on_the_host(script: &Script) -> Result {
    let group = any_group();
    let lan = script.network(&[&["a", "b"]])?;
    let (a, b) = (host(&lan, "a")?, host(&lan, "b")?);
    let out = member(script, Some(b), group, "a member on another")?;
    let flags = ["--interface", "10.0.1.1", "--ttl", "0", "--every", "10ms"];
    let from = sender(script, a)?;

    let server = start(script, "server", group, &flags, Some(a))?;
    wait_sent(script, &server, 3)?;
    end(&server)?;
    out.expect_silence(&from, group)?;

    let near = member(script, Some(a), group, "a member on the host")?;
    let server = start(script, "server", group, &flags, Some(a))?;
    for _ in 0..3 {
        near.receive()?;
    }
    end(&server)?;
    out.expect_silence(&from, group)
}

fn loopback_off_spares_its_own_host(script: &Script) -> Result {
    let lan = script.network(&[&["a", "b"]])?;
    let (a, b) = (host(&lan, "a")?, host(&lan, "b")?);
    for whether in ["off", "on"] {
        let group = any_group();
        let near = member(script, Some(a), group, "a member on the host")?;
        let far = member(script, Some(b), group, "a member on another")?;
        let flags = ["--interface", "10.0.1.1", "--every", "10ms"];
        let flags = [&flags[..], &["--loopback", whether]].concat();
        let server = start(script, "server", group, &flags, Some(a))?;
        for _ in 0..3 {
            far.receive()?;
        }
        end(&server)?;
        if whether == "on" {
            near.receive()?;
        } else {
            near.expect_silence(&sender(script, a)?, group)?;
        }
    }
    Ok(())
}

fn does_the_same_over_ipv6(script: &Script) -> Result {
    let group = any_group_v6();
    let lan = script.network(&[&["a", "b"]])?;
    let (a, b) = (host(&lan, "a")?, host(&lan, "b")?);
    let wire = script.watch(b)?;
    let on = ["--interface", "eth0"];
    let near = join(script, group, &on, Some(a))?;
    let far = join(script, group, &on, Some(b))?;
    let flags = [&on[..], &["--ttl", "7", "--loopback", "off"]].concat();
    let server = start(script, "server", group, &flags, Some(a))?;
    let ttl = passing(&wire, group)?.ttl;
    ensure(ttl == 7, format_args!("its hop limit is {ttl}"))?;
    wait_sent(script, &server, 1)?;
    let sent = server.story().pop().unwrap_or_default();
    let sent = sent.trim_start_matches("sent ").to_owned();
    end(&server)?;
    script.step("the other host hears it");
    let hears = || {
        let story = far.story();
        let told =
            |it: &String| it.starts_with("[fd00:1::1]:") && it.ends_with(&sent);
        story.iter().any(told).then_some(())
    };
    wait_for(hears).ok_or_else(|| Stop::broken("it does not"))?;
    let from = script.datagrams_on(a, "[fd00:1::1]:0", "a sender")?;
    expect_only_a_mark(script, &near, &from, group)?;

    let flags = [&on[..], &["--leave-after", "20ms"]].concat();
    let group = any_group_v6();
    let client = start(script, "client", group, &flags, Some(b))?;
    client.expect_story(&format!("left {} on eth0", group.ip()))?;
    script.step("its host is in the group no more");
    // The other client there is still a member of the first group.
    ensure(!is_member(&far, group, "eth0")?, "it is")
}

fn help_says_what_and_how(script: &Script) -> Result {
    for role in ["server", "client"] {
        expect_help(script, role)?;
    }
    Ok(())
}

fn bad_flags_are_misuse(script: &Script) -> Result {
    let misuses: [(&[&str], &str); 6] = [
        (&["--no-such-flag"], "--no-such-flag"),
        (&["no-such-role"], "no-such-role"),
        (&["server", "--group", "239.255.0.100"], "HOST:PORT"),
        (&["client", "--group", "239.255.0.100:65536"], "65536"),
        (&["server", "--ttl", "256"], "256"),
        (&["server", "--loopback", "maybe"], "maybe"),
    ];
    misuses
        .into_iter()
        .try_for_each(|(flags, named)| expect_misuse(script, flags, named))
}

fn a_group_that_is_none_is_misuse(script: &Script) -> Result {
    let ips = [
        ("10.0.0.1", "is no group"),
        ("223.255.255.255", "is no group"),
        ("240.0.0.0", "is no group"),
        ("255.255.255.255", "is no group"),
        ("224.0.0.5", "routing"),
        ("224.0.0.255", "routing"),
        ("232.1.2.3", "SSM"),
        ("[fe80::1]", "is no group"),
        ("[ff3e::8000:1]", "SSM"),
        ("[ff10::1]", "reserved"),
        ("[ff1f::1]", "reserved"),
    ];
    // The roles take turns: both take the same flag.
    for ((ip, reason), role) in ips
        .into_iter()
        .zip(["server", "client"].into_iter().cycle())
    {
        let group = format!("{ip}:8080");
        let flags = [role, "--group", &group];
        expect_misuse(script, &flags, reason)?;
        expect_misuse(script, &flags, &group)?;
    }
    Ok(())
}

fn warns_of_groups_of_others(script: &Script) -> Result {
    // The notes', an example's, and one of the AS number 64,496.
    for ip in ["230.185.192.108", "224.0.1.100", "233.251.240.1"] {
        let ip: IpAddr = ip.parse().map_err(Stop::broken)?;
        let group = SocketAddr::new(ip, any_group().port());
        let client = join(script, group, &[], None)?;
        client.expect_stderr(&group.to_string())?;
    }
    let group = any_group();
    let client = join(script, group, &[], None)?;
    let sends = script.datagrams("127.0.0.1:0", "a sender")?;
    // Who tells what he hears has had the time to warn.
    expect_only_a_mark(script, &client, &sends, group)?;
    script.step("of a group for everybody it does not warn");
    ensure(client.stderr().is_empty(), client.stderr())
}

fn an_interface_that_is_none_is_one_clear_line(script: &Script) -> Result {
    let (v4, v6) = (any_group(), any_group_v6());
    // From the block that RFC 5737 keeps for documentation.
    let foreign = ["--interface", "203.0.113.7"];
    let failed = start(script, "server", v4, &foreign, None)?;
    failed.expect_status(1)?;
    let what = "cannot send through 203.0.113.7: ";
    expect_error(&failed, what, "(EADDRNOTAVAIL)")?;
    expect_two_lines(&failed)?;

    let failed = start(script, "client", v4, &foreign, None)?;
    failed.expect_status(1)?;
    let what = format!("cannot join {} on 203.0.113.7: ", v4.ip());
    expect_error(&failed, &what, "(ENODEV)")?;
    expect_two_lines(&failed)?;

    for role in ["server", "client"] {
        let flags = ["--interface", "nosuch0"];
        let failed = start(script, role, v6, &flags, None)?;
        failed.expect_status(1)?;
        let expected = "error: there is no interface nosuch0; `ip link` lists \
            them\n";
        let stderr = failed.stderr();
        ensure(stderr == expected, format_args!("it says {stderr:?}"))?;

        let (v4, v6) = (v4.to_string(), v6.to_string());
        for (group, interface) in [(&v4, "lo"), (&v6, "127.0.0.1")] {
            let flags = [role, "--group", group, "--interface", interface];
            expect_misuse(script, &flags, "--interface")?;
            expect_misuse(script, &flags, interface)?;
        }
        // Linux has no route to a group on `lo` over IPv6.
        expect_misuse(script, &[role, "--group", &v6], "--interface")?;
    }
    Ok(())
}

fn a_host_without_network_is_enough(script: &Script) -> Result {
    let lan = script.network(&[&["a"]])?;
    let a = host(&lan, "a")?;
    script.switch_off(&lan, "a")?;
    let setup = |flags: &[&str]| Setup {
        flags: flags.iter().map(|it| (*it).to_owned()).collect(),
        host: Some(a.clone()),
        ..Setup::default()
    };
    let client = script.start_with(&setup(&["client"]))?;
    let group = script.lab().default_address;
    wait_joined(script, &client, group, "lo")?;
    let server = script.start_with(&setup(&[]))?;
    wait_sent(script, &server, 1)?;
    let sent = server.story().pop().unwrap_or_default();
    let sent = sent.trim_start_matches("sent ").to_owned();
    script.step("the client hears it");
    let hears = || client.story().iter().any(|it| it.ends_with(&sent));
    wait_for(|| hears().then_some(()))
        .ok_or_else(|| Stop::broken("it does not"))?;

    let anywhere = ["--interface", "0.0.0.0"];
    let failed = start(script, "server", group, &anywhere, Some(a))?;
    failed.expect_status(1)?;
    let what = format!(
        "cannot send to {group} through any interface; name one with \
         --interface: "
    );
    expect_error(&failed, &what, "(ENETUNREACH)")?;
    let group = any_group();
    let failed = start(script, "client", group, &anywhere, Some(a))?;
    failed.expect_status(1)?;
    let what = format!(
        "cannot join {} on any interface; name one with --interface: ",
        group.ip()
    );
    expect_error(&failed, &what, "(ENODEV)")?;
    expect_two_lines(&failed)
}

fn a_busy_port_is_one_clear_line(script: &Script) -> Result {
    let group = any_group();
    let busy = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    busy.bind(&group.into())?;
    script.step(format_args!("somebody else has {group} for himself"));
    let failed = start(script, "client", group, &[], None)?;
    failed.expect_status(1)?;
    let what = format!("cannot listen on {group}: ");
    expect_error(&failed, &what, "(EADDRINUSE)")?;
    expect_two_lines(&failed)
}

fn warns_when_others_can_hear(script: &Script) -> Result {
    let lan = script.network(&[&["a"]])?;
    let a = host(&lan, "a")?;
    for role in ["server", "client"] {
        let flags = ["--interface", "10.0.1.1"];
        let warns = start(script, role, any_group(), &flags, Some(a))?;
        warns.expect_stderr("10.0.1.1")?;
        let flags = ["--interface", "127.0.0.1"];
        let silent = start(script, role, any_group(), &flags, Some(a))?;
        script.step("on loopback it does not warn");
        // What comes after it is told, so it has had the time to warn.
        silent.expect_any_story()?;
        end(&silent)?;
        ensure(silent.stderr().is_empty(), silent.stderr())?;
    }
    Ok(())
}

/// Either role, when it is ready.
fn ready(script: &Script, role: &str) -> Result<Rc<Subject>> {
    let group = any_group();
    if role == "client" {
        return join(script, group, &[], None);
    }
    let server = start(script, role, group, &[], None)?;
    wait_sent(script, &server, 1)?;
    Ok(server)
}

fn ends_in_order_when_asked(script: &Script) -> Result {
    for role in ["server", "client"] {
        for signal in [Signal::Interrupt, Signal::Terminate] {
            let program = ready(script, role)?;
            program.signal(signal)?;
            program.expect_status(0)?;
            ensure(program.stderr().is_empty(), program.stderr())?;
        }
    }
    Ok(())
}

fn ends_at_once_when_asked_twice(script: &Script) -> Result {
    expect_end_when_asked_twice(|| Ok((ready(script, "client")?, ())))
}

fn a_closed_stdout_ends_it_quietly(script: &Script) -> Result {
    let group = any_group();
    let text = group.to_string();
    let server = ["server", "--group", &text, "--every", "10ms"];
    // The server is heard by the client, so both go on telling.
    for flags in [&["client", "--group", &text][..], &server] {
        let _sends = start(script, "server", group, &server[3..], None)?;
        let program = script.start_with(&Setup {
            flags: flags.iter().map(|it| (*it).to_owned()).collect(),
            one_line_reader: true,
            ..Setup::default()
        })?;
        program.wait_stdout_closed()?;
        program.expect_status(0)?;
        script.step("stderr stays empty");
        ensure(program.stderr().is_empty(), program.stderr())?;
    }
    Ok(())
}
