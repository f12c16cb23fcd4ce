//! The checks can have their program on one host of a private network, and its
//! peers on others.

use std::net::IpAddr;

use checks::outcome::{Result, Stop, ensure};
use checks::script::Script;
use checks::subject::Setup;
use checks::wait::wait_for;
use checks::{Lab, Program, labs};

/// Runs a check of a lab on this machine.
fn run(name: &str, lab: &Lab, check: impl FnOnce(&Script<'_>) -> Result) {
    let programs = tests::build(&["--package", lab.name]);
    let path = programs.first().and_then(|it| it.to_str());
    let program = Program::file(path.unwrap_or_default());
    let script = match Script::new(lab, &program) {
        Ok(script) => script,
        Err(stop) => panic!("{stop:?}"),
    };
    match check(&script) {
        Ok(()) => {}
        Err(Stop::Skipped(missing)) => checks::skip(name, &missing),
        Err(Stop::Broken(seen)) => panic!("{}", script.report(&seen)),
    }
}

const LAN: &[&[&str]] = &[&["a", "b", "c"], &["d"]];

#[test]
fn a_lab_serves_clients_on_other_hosts() {
    let name = "lan/a-lab-serves-clients-on-other-hosts";
    run(name, &labs::tcp_server::LAB, |script| {
        let lan = script.network(LAN)?;
        let host = |name| lan.host(name).map_err(Stop::broken);
        let setup = Setup {
            host: Some(host("b")?.clone()),
            ..Setup::default()
        };
        let server = script.serve_on("10.0.1.2:8080", setup)?;
        ensure(
            server.sockets()?.len() == 1,
            "it has more sockets than its listener",
        )?;
        for from in ["a", "b", "c", "d"] {
            let host = host(from)?;
            let mut client = script.connect_from(host, &server, from)?;
            ensure(
                client.address().ip() == host.ipv4(),
                format_args!("it came from {}", client.address()),
            )?;
            let welcome = client.expect_line()?;
            let ip = client.address().ip().to_string();
            ensure(welcome.contains(&ip), welcome)?;
            client.send(b"hello\n")?;
            client.expect(b"hello\n")?;
            client.wait_until_read()?;
            ensure(client.this_end()?.is_some(), "its end is not seen")?;
            ensure(client.other_end()?.is_some(), "its other is not seen")?;
            client.half_close()?;
            client.expect_fin()?;
        }
        Ok(())
    });
}

#[test]
fn a_program_on_a_host_has_no_power() {
    let name = "lan/a-program-on-a-host-has-no-power";
    run(name, &labs::tcp_server::LAB, |script| {
        let lan = script.network(&[&["a"]])?;
        let a = lan.host("a").map_err(Stop::broken)?;
        let flags = ["--listen", "10.0.1.1:80"].map(str::to_owned);
        let setup = Setup {
            flags: flags.into(),
            ..Setup::default()
        };
        let server = script.start_on(a, &setup)?;
        server.expect_status(1)?;
        server.expect_stderr("(EACCES)")
    });
}

#[test]
fn a_lab_connects_to_a_server_on_another_host() {
    let name = "lan/a-lab-connects-to-a-server-on-another-host";
    run(name, &labs::tcp_client::LAB, |script| {
        let lan = script.network(LAN)?;
        let host = |name| lan.host(name).map_err(Stop::broken);
        let server = script.listen_on(host("d")?, "10.0.2.1:8080", 5)?;
        let flags = ["--connect", "10.0.2.1:8080"].map(str::to_owned);
        let setup = Setup {
            flags: flags.into(),
            ..Setup::default()
        };
        let client = script.start_on(host("a")?, &setup)?;
        let mut peer = server.accept("the server")?;
        peer.send(b"hello\n")?;
        peer.wait_until_read()?;
        peer.half_close()?;
        client.expect_status(0)
    });
}

#[test]
fn datagrams_go_where_they_are_sent_and_nowhere_else() {
    let name = "lan/datagrams-go-where-they-are-sent-and-nowhere-else";
    run(name, &labs::udp_unicast::LAB, |script| {
        let lan = script.network(LAN)?;
        let host = |name| lan.host(name).map_err(Stop::broken);
        let flags = ["server", "--listen", "10.0.1.2:41234"];
        let setup = Setup {
            flags: flags.map(str::to_owned).into(),
            ..Setup::default()
        };
        let server = script.start_on(host("b")?, &setup)?;
        let wanted = "10.0.1.2:41234".parse().map_err(Stop::broken)?;
        script.wait_bound(&server, wanted)?;
        ensure(server.udp_sockets()?.len() == 1, "it has more sockets")?;
        let everywhere = "0.0.0.0:7000";
        let peer = script.datagrams_on(host("a")?, everywhere, "who asks")?;
        let other = script.datagrams_on(host("d")?, everywhere, "another")?;
        peer.send(b"hello", wanted)?;
        ensure(peer.expect(b"5")? == wanted, "somebody else answered")?;
        peer.allow_broadcast()?;
        let all = "10.0.1.255:7000".parse().map_err(Stop::broken)?;
        peer.send(b"to all", all)?;
        peer.expect(b"to all")?;
        let to = "10.0.2.1:7000".parse().map_err(Stop::broken)?;
        other.expect_silence(&peer, to)?;
        let groups = server.groups()?;
        let all_hosts: IpAddr = [224, 0, 0, 1].into();
        let has_joined = |interface| {
            groups
                .iter()
                .any(|it| it.interface == interface && it.address == all_hosts)
        };
        ensure(has_joined("eth0"), format_args!("it is in {groups:?}"))
    });
}

/// The one thing that no loopback can show: a client that is gone without a
/// word. Delay, interval and probes make four seconds.
#[test]
fn keepalive_finds_out_that_a_cable_is_cut() {
    let name = "lan/keepalive-finds-out-that-a-cable-is-cut";
    run(name, &labs::keepalive::LAB, |script| {
        let lan = script.network(&[&["a", "b"]])?;
        let host = |name| lan.host(name).map_err(Stop::broken);
        let flags = ["--initial-delay=1s", "--interval=1s", "--probes=3"];
        let setup = Setup {
            flags: flags.map(str::to_owned).into(),
            host: Some(host("b")?.clone()),
            ..Setup::default()
        };
        let server = script.serve_on("10.0.1.2:8080", setup)?;
        let mut stays =
            script.connect_from(host("b")?, &server, "who stays")?;
        stays.expect_exact_line("welcome")?;
        let mut client =
            script.connect_from(host("a")?, &server, "a client")?;
        client.expect_exact_line("welcome")?;
        // Unacknowledged bytes would be sent again, and no probe.
        wait_for(|| (client.other_end().ok()??.send_queue == 0).then_some(()))
            .ok_or_else(|| Stop::broken("the greeting is on its way"))?;
        let peer = client.address();
        script.cut(&lan, "a")?;
        server.expect_story(&format!(
            "{peer} closed with an error: connection timed out (ETIMEDOUT)"
        ))?;
        stays.send(b"hello\n")?;
        stays.expect(b"hello\n")
    });
}
