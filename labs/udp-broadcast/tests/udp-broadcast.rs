//! udp-broadcast keeps its promises, and is clear about its own flags.

use std::net::UdpSocket;

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::udp_broadcast!(env!("CARGO_BIN_EXE_udp-broadcast"));

#[test]
fn the_time_between_announcements_is_one_that_others_bear() {
    let values = ["2", "0s", "9ms", "-1s", "often", "25d"];
    expect_misuse("server", "--every", &values);
}

#[test]
fn addresses_are_a_host_and_a_port() {
    let values = ["41235", "::1:41235", "127.255.255.255:65536"];
    expect_misuse("server", "--to", &values);
    expect_misuse("client", "--listen", &values);
}

#[test]
fn an_interface_has_a_name() {
    expect_misuse("server", "--interface", &[""]);
}

fn expect_misuse(role: &str, flag: &str, values: &[&str]) {
    for value in values {
        cargo_bin_cmd!("udp-broadcast")
            .args([role, &format!("{flag}={value}")])
            .assert()
            .code(2)
            .stdout("")
            .stderr(starts_with("error: ").and(contains(flag)));
    }
}

#[test]
fn a_port_that_is_not_shared_is_one_clear_line() {
    let busy = UdpSocket::bind("127.255.255.255:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let what = format!("error: cannot listen on {address}: ");
    cargo_bin_cmd!("udp-broadcast")
        .args(["client", "--listen", &address])
        .assert()
        .code(1)
        .stdout("")
        .stderr(starts_with(what).and(contains("(EADDRINUSE)\nhelp: ")));
}

#[test]
fn each_role_has_a_help_with_its_defaults() {
    for (role, presets) in [
        (
            "server",
            &[
                "[default: 127.0.0.1:41234]",
                "[default: 127.255.255.255:41235]",
                "[default: 2s]",
            ][..],
        ),
        ("client", &["[default: 127.255.255.255:41235]"]),
    ] {
        for preset in presets {
            cargo_bin_cmd!("udp-broadcast")
                .args([role, "--help"])
                .assert()
                .success()
                .stdout(contains(*preset));
        }
    }
}
