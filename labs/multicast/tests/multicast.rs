//! multicast keeps its promises, and is clear about its own flags.

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::multicast!(env!("CARGO_BIN_EXE_multicast"));

#[test]
fn a_ttl_is_a_number_from_0_to_255() {
    expect_misuse("server", "--ttl", &["256", "-1", "far"]);
}

#[test]
fn an_interval_is_a_time_of_10ms_at_least() {
    expect_misuse("server", "--every", &["0s", "9ms", "2", "often"]);
}

#[test]
fn loopback_is_on_or_off() {
    expect_misuse("server", "--loopback", &["yes", "1", ""]);
}

#[test]
fn when_to_leave_is_a_time() {
    expect_misuse("client", "--leave-after", &["5", "-1s", "never"]);
}

#[test]
fn a_group_is_an_address_and_a_port() {
    let values = [
        "239.255.0.100",
        "ff15::100",
        "localhost:8080",
        "[ff12::1%2]:9",
    ];
    for role in ["server", "client"] {
        expect_misuse(role, "--group", &values);
    }
}

fn expect_misuse(role: &str, flag: &str, values: &[&str]) {
    for value in values {
        cargo_bin_cmd!("multicast")
            .args([role, &format!("{flag}={value}")])
            .assert()
            .code(2)
            .stdout("")
            .stderr(starts_with("error: ").and(contains(flag)));
    }
}

#[test]
fn each_role_has_a_help_with_its_defaults() {
    for (role, presets) in [
        ("server", &["239.255.0.100:8080]", "1s]", "on]", "1]"][..]),
        ("client", &["239.255.0.100:8080]"]),
    ] {
        for preset in presets {
            cargo_bin_cmd!("multicast")
                .args([role, "--help"])
                .assert()
                .success()
                .stdout(contains(format!("[default: {preset}")));
        }
    }
}
