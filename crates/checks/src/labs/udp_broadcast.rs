//! udp-broadcast: a server that announces to everybody, and clients that answer.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lan::{Host, Lan};

use super::command_line::{EVIL, expect_error, expect_no_evil};
use super::every_datagram_server::{
    a_busy_port_is_one_clear_line, a_foreign_address_is_one_clear_line,
    a_privileged_port_is_one_clear_line, an_unknown_name_is_one_clear_line,
    bad_flags_are_misuse, ends_at_once_when_asked_twice,
    ends_in_order_when_asked, every_datagram_server, help_says_what_and_how,
    prints_the_address_it_bound, runs_with_no_flags, serve, serve_on,
    warns_when_others_can_reach_it,
};
use super::every_server::expect_two_lines;
use crate::datagrams::Datagrams;
use crate::outcome::{Result, Stop, ensure};
use crate::promise::lab;
use crate::script::Script;
use crate::subject::{Setup, Signal, Subject};
use crate::wait::wait_for;

every_datagram_server! { lab! {
    $ udp_broadcast "udp-broadcast" at ([127, 0, 0, 1], 41234), many &[];

    announces_again_and_again = "announces-again-and-again":
        "It announces at once, and then again after each `--every`, with a \
         number that grows.",
        "Who comes late hears the next one, and who misses one can tell.";
    works_alone_with_no_flags = "works-alone-with-no-flags":
        "Server and client find each other on one machine, both without a \
         flag and without a warning.",
        "A learner has one laptop, and no network that he may shout into.";
    tells_who_says_what = "tells-who-says-what":
        "The stories of server and client tell each announcement, each answer, \
         and who sent it.",
        "The story is how the learner sees what happens.";
    each_host_on_the_lan_hears_it = "each-host-on-the-lan-hears-it":
        "What is sent to 255.255.255.255 or to the LAN's own broadcast address \
         comes to each host on it, the sender's too, and to no other LAN.",
        "This is what a broadcast is.";
    tells_that_it_is_no_broadcast = "tells-that-it-is-no-broadcast":
        "To a host's own address or another LAN's broadcast address it sends \
         as it is told, and warns; the other LAN hears nothing.",
        "No router passes broadcasts on, and who waits for answers should \
         know why there are none.";
    a_client_on_its_own_address_hears_nothing =
        "a-client-on-its-own-address-hears-nothing":
        "Bound to the host's own address, a client hears no broadcast, only \
         what is sent to it alone; it warns.",
        "It is the mistake in the notes, and nothing else tells of it.";
    hears_where_broadcasts_come = "hears-where-broadcasts-come":
        "On 0.0.0.0 a client hears all, on a broadcast address what is sent \
         there and nothing else.",
        "The address of a socket is a filter for the address in the packet.";
    without_the_option_it_is_refused = "without-the-option-it-is-refused":
        "With `--no-broadcast` the first announcement fails with one line with \
         EACCES, a line of help that names the option, and status 1.",
        "The kernel asks whether you mean it.";
    leaves_by_one_interface = "leaves-by-one-interface":
        "On a host with two LANs, `--interface` chooses by name or by address \
         which of them hears it, and its answers come back.",
        "255.255.255.255 names no network, so somebody must choose one.";
    no_way_out_is_one_clear_line = "no-way-out-is-one-clear-line":
        "Where no route leads, or no interface is called so, the error is one \
         line with ENETUNREACH or ENODEV, a line of help, and status 1.",
        "On a machine with two networks, and on one with none, this comes \
         first.";
    every_client_answers_for_itself = "every-client-answers-for-itself":
        "Each client of each host answers once, from a port of its own, to \
         the sender alone; several on one host share the port.",
        "Who asked must be able to tell them apart, and nobody else wants to \
         hear it.";
    the_server_answers_nobody = "the-server-answers-nobody":
        "Whatever is sent to the server is told, and nothing goes back.",
        "Two programs that answer each other never come to an end.";
    a_client_answers_announcements_only =
        "a-client-answers-announcements-only":
        "A client tells of other datagrams, an answer or nonsense, and does \
         not answer them.",
        "A forged sender could set all clients at each other.";
    ipv6_has_no_broadcast = "ipv6-has-no-broadcast":
        "An IPv6 address, to send to or to listen on, is one line that says \
         so and what there is in its place, and status 1.",
        "The kernel's own words would be about a family not supported.";
    a_failed_announcement_is_not_the_last =
        "a-failed-announcement-is-not-the-last":
        "An announcement that fails later is told, and the next ones are \
         tried.",
        "A network goes away and comes back, and nobody is there to start the \
         server again.";
    keeps_a_crowd = "keeps-a-crowd":
        "400 answers that come while it stands still are all told.",
        "One broadcast, and everybody answers in the same moment.";
    escapes_what_a_peer_sends = "escapes-what-a-peer-sends":
        "Nothing that a datagram holds reaches the terminal as a control \
         character, at the server or at the client.",
        "An escape sequence can rewrite the screen, or type for you.";
    client_ends_in_order_when_asked = "client-ends-in-order-when-asked":
        "On Ctrl-C and on SIGTERM the client ends with status 0.",
        "It waits for others, and they may never come.";
} }

/// Where clients on a private network listen. Each network has all its ports.
const PORT: u16 = 41235;

fn setup(flags: &[&str]) -> Setup {
    Setup {
        flags: flags.iter().map(|it| (*it).to_owned()).collect(),
        ..Setup::default()
    }
}

/// A server on loopback that announces to this peer.
fn announce_to(
    script: &Script,
    peer: &Datagrams,
    every: &str,
) -> Result<Rc<Subject>> {
    let to = peer.address().to_string();
    serve_on(
        script,
        "127.0.0.1:0",
        setup(&["--to", &to, "--every", every]),
    )
}

/// Somebody whom everybody's datagrams on loopback reach.
fn hearer(script: &Script) -> Result<Datagrams> {
    script.datagrams("127.255.255.255:0", "who listens")
}

/// A client on loopback, at a port of its own, and where it is.
fn hear(script: &Script) -> Result<(Rc<Subject>, SocketAddr)> {
    let client = script.start(&["client", "--listen", "127.255.255.255:0"])?;
    let wanted = SocketAddr::from(([127, 255, 255, 255], 0));
    script.wait_bound(&client, wanted)?;
    let address = client.address();
    Ok((client, address))
}

/// Somebody who may broadcast.
fn announcer(script: &Script) -> Result<Datagrams> {
    let peer = script.datagrams("127.0.0.1:0", "who announces")?;
    peer.allow_broadcast()?;
    Ok(peer)
}

fn host<'a>(lan: &'a Lan, name: &str) -> Result<&'a Host> {
    lan.host(name).map_err(Stop::broken)
}

fn at(text: &str) -> Result<SocketAddr> {
    text.parse().map_err(Stop::broken)
}

/// Somebody on a host who hears all that comes to it.
fn hearer_on(script: &Script, lan: &Lan, name: &str) -> Result<Datagrams> {
    let address = format!("0.0.0.0:{PORT}");
    script.datagrams_on(host(lan, name)?, &address, name)
}

/// Somebody on a host, at its own address, who may broadcast.
fn announcer_on(script: &Script, lan: &Lan, name: &str) -> Result<Datagrams> {
    let host = host(lan, name)?;
    let address = format!("{}:0", host.ipv4());
    let peer = script.datagrams_on(host, &address, "who announces")?;
    peer.allow_broadcast()?;
    Ok(peer)
}

/// A client on a host, which listens there.
fn client_on(
    script: &Script,
    lan: &Lan,
    name: &str,
    listen: &str,
) -> Result<Rc<Subject>> {
    let flags = setup(&["client", "--listen", listen]);
    let client = script.start_on(host(lan, name)?, &flags)?;
    script.wait_bound(&client, at(listen)?)?;
    Ok(client)
}

fn end(program: &Subject) -> Result {
    program.signal(Signal::Terminate)?;
    program.expect_status(0)
}

fn announces_again_and_again(script: &Script) -> Result {
    const EVERY: Duration = Duration::from_millis(50);

    let peer = hearer(script)?;
    announce_to(script, &peer, "1m")?;
    peer.expect(b"announcement 1")?;

    let peer = hearer(script)?;
    let started = Instant::now();
    let server = announce_to(script, &peer, "50ms")?;
    for number in 1..=3 {
        let from = peer.expect(format!("announcement {number}").as_bytes())?;
        ensure(from == server.address(), format_args!("it is from {from}"))?;
    }
    script.step("they came with a pause in between");
    let took = started.elapsed();
    ensure(took >= 2 * EVERY, format_args!("three took {took:?}"))
}

fn works_alone_with_no_flags(script: &Script) -> Result {
    let lan = script.network(&[&["a"]])?;
    let a = host(&lan, "a")?;
    let client = script.start_on(a, &setup(&["client"]))?;
    script.wait_bound(&client, at("127.255.255.255:41235")?)?;
    let server = script.start_on(a, &Setup::default())?;
    server.expect_story("announcing to 127.255.255.255:41235 every 2s")?;
    let from = "127.0.0.1:41234";
    client.expect_story(&format!("{from} says \"announcement 1\""))?;
    client.expect_story(&format!("{from} gets \"heard 1\""))?;
    script.step("the server tells the answer");
    let told = || {
        let is_it = |line: &String| line.ends_with(" says \"heard 1\"");
        server.story().iter().any(is_it).then_some(())
    };
    wait_for(told).ok_or_else(|| Stop::broken("it does not tell it"))?;
    for program in [server, client] {
        end(&program)?;
        ensure(program.stderr().is_empty(), program.stderr())?;
    }
    Ok(())
}

fn tells_who_says_what(script: &Script) -> Result {
    let (client, to) = hear(script)?;
    let flags = ["--to", &to.to_string(), "--every", "1m"];
    let server = serve_on(script, "127.0.0.1:0", setup(&flags))?;
    let from = server.address();
    client.expect_story(&format!("{from} gets \"heard 1\""))?;
    let sockets = client.udp_sockets()?;
    let own = sockets.iter().find(|it| it.local != to);
    let own = own.ok_or_else(|| Stop::broken("it has no other socket"))?;
    let own = own.local;
    server.expect_story(&format!("{own} says \"heard 1\""))?;
    script.step("both stories are told in order");
    let expected = [
        format!("listening on {from}"),
        format!("announcing to {to} every 1m"),
        format!("sent \"announcement 1\" to {to}"),
        format!("{own} says \"heard 1\""),
    ];
    let story = server.story();
    ensure(story == expected, format_args!("it is {story:#?}"))?;
    let expected = [
        format!("listening on {to}"),
        format!("answering from {own}"),
        format!("{from} says \"announcement 1\""),
        format!("{from} gets \"heard 1\""),
    ];
    let story = client.story();
    ensure(story == expected, format_args!("it is {story:#?}"))
}

const LAN: &[&[&str]] = &[&["a", "b", "c"], &["d"]];

/// Starts a server on a host, which announces once, and waits until it has.
fn announce_on(
    script: &Script,
    lan: &Lan,
    name: &str,
    to: &str,
    flags: &[&str],
) -> Result<Rc<Subject>> {
    let own = ["server", "--listen", "0.0.0.0:41234", "--every", "1m"];
    let flags = [&own[..], &["--to", to], flags].concat();
    let server = script.start_on(host(lan, name)?, &setup(&flags))?;
    server.expect_story(&format!("sent \"announcement 1\" to {to}"))?;
    Ok(server)
}

fn each_host_on_the_lan_hears_it(script: &Script) -> Result {
    let lan = script.network(LAN)?;
    let hearers = ["a", "b", "c"].map(|it| hearer_on(script, &lan, it));
    let other = hearer_on(script, &lan, "d")?;
    let mark = announcer_on(script, &lan, "a")?;
    let hearers = hearers.into_iter().collect::<Result<Vec<_>>>()?;
    let from = at("10.0.1.1:41234")?;
    for to in ["255.255.255.255:41235", "10.0.1.255:41235"] {
        let server = announce_on(script, &lan, "a", to, &[])?;
        for peer in &hearers {
            let who = peer.expect(b"announcement 1")?;
            ensure(who == from, format_args!("it is from {who}"))?;
        }
        other.expect_silence(&mark, at("10.0.2.1:41235")?)?;
        end(&server)?;
        script.step("it does not doubt the address");
        let stderr = server.stderr();
        ensure(!stderr.contains(to), stderr)?;
    }
    Ok(())
}

fn tells_that_it_is_no_broadcast(script: &Script) -> Result {
    let lan = script.network(LAN)?;
    let mark = announcer_on(script, &lan, "a")?;
    let near = hearer_on(script, &lan, "b")?;
    let far = hearer_on(script, &lan, "d")?;
    let doubt = "no broadcast address";

    let to = "10.0.2.255:41235";
    let server = announce_on(script, &lan, "a", to, &[])?;
    server.expect_stderr(doubt)?;
    near.expect_silence(&mark, at("10.0.1.2:41235")?)?;
    far.expect_silence(&mark, at("10.0.2.1:41235")?)?;
    end(&server)?;

    let server = announce_on(script, &lan, "a", "10.0.1.2:41235", &[])?;
    server.expect_stderr(doubt)?;
    near.expect(b"announcement 1")?;
    far.expect_silence(&mark, at("10.0.2.1:41235")?)
}

/// What a client says that is bound where no broadcast comes.
const DEAF: &str = "no broadcast comes";

fn a_client_on_its_own_address_hears_nothing(script: &Script) -> Result {
    let lan = script.network(&[&["a", "b", "c"]])?;
    let own = "10.0.1.2:41235";
    let client = client_on(script, &lan, "b", own)?;
    client.expect_stderr(DEAF)?;
    let peer = announcer_on(script, &lan, "a")?;
    let other = hearer_on(script, &lan, "c")?;
    peer.send(b"announcement 1", at("255.255.255.255:41235")?)?;
    peer.send(b"announcement 2", at("10.0.1.255:41235")?)?;
    other.expect(b"announcement 1")?;
    other.expect(b"announcement 2")?;
    // On one cable datagrams keep their order.
    peer.send(b"announcement 3", at(own)?)?;
    peer.expect(b"heard 3").map(drop)
}

fn hears_where_broadcasts_come(script: &Script) -> Result {
    let lan = script.network(&[&["a", "b"]])?;
    let peer = announcer_on(script, &lan, "a")?;
    let ways = [
        "255.255.255.255:41235",
        "10.0.1.255:41235",
        "10.0.1.2:41235",
    ];
    for (listen, heard) in [
        ("0.0.0.0:41235", &[0, 1, 2][..]),
        (ways[1], &[1]),
        (ways[0], &[0]),
    ] {
        let client = client_on(script, &lan, "b", listen)?;
        for (number, to) in ways.iter().enumerate() {
            let text = format!("announcement {number}");
            peer.send(text.as_bytes(), at(to)?)?;
        }
        peer.send(b"announcement 9", at(ways[heard[0]])?)?;
        for number in heard.iter().chain(&[9]) {
            peer.expect(format!("heard {number}").as_bytes())?;
        }
        client.expect_stderr("everybody who can reach this machine")?;
        end(&client)?;
        script.step("it does not doubt its address");
        ensure(!client.stderr().contains(DEAF), client.stderr())?;
    }
    Ok(())
}

fn without_the_option_it_is_refused(script: &Script) -> Result {
    let peer = hearer(script)?;
    let to = peer.address().to_string();
    let flags = ["server", "--listen", "127.0.0.1:0", "--to", &to];
    let server = script.start(&[&flags, &["--no-broadcast"][..]].concat())?;
    server.expect_status(1)?;
    expect_error(&server, &format!("cannot send to {to}: "), "(EACCES)")?;
    let n_lines = server.stderr().lines().count();
    ensure(n_lines == 2, format_args!("it said {n_lines} lines"))?;
    script.step("the help names the option");
    let stderr = server.stderr();
    ensure(stderr.contains("SO_BROADCAST"), stderr)
}

fn leaves_by_one_interface(script: &Script) -> Result {
    let lan = script.network(&[&["a"], &["b"]])?;
    let mark = announcer_on(script, &lan, "r")?;
    let (a, b) = ("10.0.1.1", "10.0.2.1");
    let peers = [hearer_on(script, &lan, "a")?, hearer_on(script, &lan, "b")?];
    let [on_a, on_b] = &peers;
    for (interface, hearer, ip, other, silent) in [
        ("eth1", on_b, b, on_a, a),
        ("eth0", on_a, a, on_b, b),
        ("10.0.2.254", on_b, b, on_a, a),
        ("10.0.1.254", on_a, a, on_b, b),
    ] {
        let flags = ["--interface", interface];
        let to = "255.255.255.255:41235";
        let server = announce_on(script, &lan, "r", to, &flags)?;
        let from = hearer.expect(b"announcement 1")?;
        other.expect_silence(&mark, at(&format!("{silent}:{PORT}"))?)?;
        hearer.send(b"heard 1", from)?;
        server.expect_story(&format!("{ip}:{PORT} says \"heard 1\""))?;
        end(&server)?;
    }
    Ok(())
}

fn no_way_out_is_one_clear_line(script: &Script) -> Result {
    let lan = script.network(&[&["a"], &["b"]])?;
    // The router is in two networks, and has no way to any other.
    let r = host(&lan, "r")?;
    let to = "255.255.255.255:41235";
    let flags = ["server", "--listen", "0.0.0.0:0", "--to", to];
    let server = script.start_on(r, &setup(&flags))?;
    server.expect_status(1)?;
    expect_error(&server, &format!("cannot send to {to}: "), "(ENETUNREACH)")?;

    let flags = [&flags[..], &["--interface", "eth7"]].concat();
    let server = script.start_on(r, &setup(&flags))?;
    server.expect_status(1)?;
    expect_error(&server, "cannot send by interface eth7: ", "(ENODEV)")?;
    expect_two_lines(&server)
}

fn every_client_answers_for_itself(script: &Script) -> Result {
    let lan = script.network(&[&["a", "b", "c"]])?;
    let peer = announcer_on(script, &lan, "a")?;
    let port = peer.address().port();
    let everywhere = format!("0.0.0.0:{port}");
    let other =
        script.datagrams_on(host(&lan, "c")?, &everywhere, "another")?;
    for name in ["a", "b", "b", "c"] {
        client_on(script, &lan, name, "0.0.0.0:41235")?;
    }
    peer.send(b"announcement 7", at("10.0.1.255:41235")?)?;
    let mut from = Vec::new();
    for _ in 0..4 {
        from.push(peer.expect(b"heard 7")?);
    }
    from.sort();
    script.step("each is from a port of its own, and none is missing");
    let ips: Vec<_> = from.iter().map(|it| it.ip().to_string()).collect();
    let expected = ["10.0.1.1", "10.0.1.2", "10.0.1.2", "10.0.1.3"];
    ensure(ips == expected, format_args!("they are from {from:?}"))?;
    from.dedup();
    ensure(from.len() == 4, format_args!("they are from {from:?}"))?;
    other.expect_silence(&peer, at(&format!("10.0.1.3:{port}"))?)
}

fn the_server_answers_nobody(script: &Script) -> Result {
    let server = serve(script)?;
    let peer = script.datagrams("127.0.0.1:0", "who sends")?;
    let from = peer.address();
    for text in ["heard 1", "announcement 1", "", "who are you?", "heard 2"] {
        peer.send(text.as_bytes(), server.address())?;
        server.expect_story(&format!("{from} says \"{text}\""))?;
    }
    // It would have answered the first before it told of the last.
    peer.expect_silence(&peer, from)
}

fn a_client_answers_announcements_only(script: &Script) -> Result {
    let (client, to) = hear(script)?;
    let peer = announcer(script)?;
    let from = peer.address();
    for text in [
        "heard 1",
        "announcement",
        "announcement ",
        "announcement one",
        "announcement 1, and more",
        "ANNOUNCEMENT 1",
        "announcement 99999999999999999999",
        "",
    ] {
        peer.send(text.as_bytes(), to)?;
        let line = format!("{from} says \"{text}\", and gets no answer");
        client.expect_story(&line)?;
    }
    // As it comes from whoever types it.
    for text in ["announcement 2", "announcement 2\n", "announcement 2\r\n"] {
        peer.send(text.as_bytes(), to)?;
        peer.expect(b"heard 2")?;
    }
    Ok(())
}

fn ipv6_has_no_broadcast(script: &Script) -> Result {
    let cases: [(&[&str], &str); 4] = [
        (&["server", "--to"], "[::1]:41235"),
        (&["server", "--to"], "[ff02::1]:41235"),
        (&["server", "--listen"], "[::1]:0"),
        (&["client", "--listen"], "[::]:0"),
    ];
    for (flags, address) in cases {
        let failed = script.start(&[flags, &[address]].concat())?;
        failed.expect_status(1)?;
        script.step("it is one line that says so");
        let stderr = failed.stderr();
        let start = format!("error: cannot broadcast with {address}: IPv6 ");
        ensure(
            stderr.starts_with(&start)
                && stderr.contains("ff02::1")
                && stderr.lines().count() == 1,
            stderr,
        )?;
    }
    Ok(())
}

fn a_failed_announcement_is_not_the_last(script: &Script) -> Result {
    let peer = hearer(script)?;
    let server = announce_to(script, &peer, "20ms")?;
    peer.expect(b"announcement 1")?;
    let own = server.share_udp_socket(server.address())?;
    script.step("it may not broadcast any more, and tells that it fails");
    own.set_broadcast(false)?;
    let failed = || {
        let story = server.story();
        let line = story.iter().find(|it| it.contains("is not sent"))?;
        let number = line.split(' ').nth(1)?.parse::<u64>().ok()?;
        Some((number, line.clone()))
    };
    let (failed, line) =
        wait_for(failed).ok_or_else(|| Stop::broken("it does not tell it"))?;
    let expected = format!("announcement {failed} is not sent: ");
    ensure(
        line.starts_with(&expected) && line.ends_with("(EACCES)"),
        line,
    )?;
    own.set_broadcast(true)?;
    script.step("it may again, and goes on with a later number");
    loop {
        let (bytes, _) = peer.receive()?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let number = text.rsplit(' ').next().and_then(|it| it.parse().ok());
        if number.is_some_and(|it: u64| it > failed) {
            return Ok(());
        }
    }
}

fn keeps_a_crowd(script: &Script) -> Result {
    const MANY: usize = 400;

    let server = serve(script)?;
    let peer = script.datagrams("127.0.0.1:0", "a crowd")?;
    // Node asks for a larger buffer after `bind`, and tells of itself then.
    server.expect_any_story()?;
    server.signal(Signal::Stop)?;
    script.step(format_args!("{MANY} answers come"));
    for number in 0..MANY {
        let text = format!("heard {number}");
        peer.send_quietly(text.as_bytes(), server.address())?;
    }
    server.signal(Signal::Continue)?;
    script.step("it tells all of them");
    let from = peer.address();
    let start = format!("{from} says ");
    let n_told = || {
        let story = server.story();
        story.iter().filter(|it| it.starts_with(&start)).count()
    };
    wait_for(|| (n_told() == MANY).then_some(()))
        .ok_or_else(|| Stop::broken(format_args!("it told {}", n_told())))
}

fn escapes_what_a_peer_sends(script: &Script) -> Result {
    let server = serve(script)?;
    let (client, to) = hear(script)?;
    let peer = announcer(script)?;
    for (program, address) in [(&server, server.address()), (&client, to)] {
        peer.send(EVIL.as_bytes(), address)?;
        let told = || program.stdout().ends_with(b"\n").then_some(());
        wait_for(told).ok_or_else(|| Stop::broken("it prints no line"))?;
        peer.send(b"the last", address)?;
        script.step("it tells of the last");
        let told = || {
            let is_last = |it: &String| it.contains("\"the last\"");
            program.story().iter().any(is_last).then_some(())
        };
        wait_for(told).ok_or_else(|| Stop::broken("it does not"))?;
        end(program)?;
        expect_no_evil(script, program)?;
    }
    Ok(())
}

fn a_closed_stdout_ends_it_quietly(script: &Script) -> Result {
    let flags = ["server", "--listen", "127.0.0.1:0", "--every", "20ms"];
    let mut setup = setup(&flags);
    setup.one_line_reader = true;
    let server = script.start_with(&setup)?;
    server.wait_stdout_closed()?;
    server.expect_status(0)?;
    script.step("stderr stays empty");
    ensure(server.stderr().is_empty(), server.stderr())
}

fn client_ends_in_order_when_asked(script: &Script) -> Result {
    for signal in [Signal::Interrupt, Signal::Terminate] {
        let (client, _) = hear(script)?;
        client.signal(signal)?;
        client.expect_status(0)?;
        ensure(client.stderr().is_empty(), client.stderr())?;
    }
    Ok(())
}
