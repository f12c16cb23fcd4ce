//! udp-unicast keeps its promises, and is clear about its own flags.

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::udp_unicast!(env!("CARGO_BIN_EXE_udp-unicast"));

#[test]
fn a_ttl_is_a_number_from_1_to_255() {
    expect_misuse("--ttl", &["0", "256", "-1", "many"]);
}

#[test]
fn a_count_is_a_number_of_at_least_1() {
    expect_misuse("--count", &["0", "-1", "100001", "all"]);
}

#[test]
fn a_timeout_is_a_time() {
    expect_misuse("--timeout", &["2", "-1s", "long"]);
}

#[test]
fn the_server_to_ask_is_a_host_and_a_port() {
    expect_misuse("--connect", &["41234", "::1:41234", "127.0.0.1:65536"]);
}

fn expect_misuse(flag: &str, values: &[&str]) {
    for value in values {
        cargo_bin_cmd!("udp-unicast")
            .args(["client", &format!("{flag}={value}")])
            .assert()
            .code(2)
            .stdout("")
            .stderr(starts_with("error: ").and(contains(flag)));
    }
}

#[test]
fn each_role_has_a_help_with_its_defaults() {
    for (role, presets) in [
        ("server", &["[default: 127.0.0.1:41234]"][..]),
        ("client", &["[default: 127.0.0.1:41234]", "[default: 2s]"]),
    ] {
        for preset in presets {
            cargo_bin_cmd!("udp-unicast")
                .args([role, "--help"])
                .assert()
                .success()
                .stdout(contains(*preset));
        }
    }
}
