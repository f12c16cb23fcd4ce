//! chat-v2 keeps its promises, and is clear about its own flags.

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::chat_v2!(env!("CARGO_BIN_EXE_chat-v2"));

#[test]
fn a_number_or_a_time_has_a_form_and_a_limit() {
    let bad = [
        ("--rate", "0"),
        ("--rate", "many"),
        ("--rate", "1000001"),
        ("--gone-after", "50"),
        ("--gone-after", "99ms"),
        ("--gone-after", "2h"),
        ("--grace", "0s"),
        ("--grace", "soon"),
    ];
    for (flag, value) in bad {
        cargo_bin_cmd!("chat-v2")
            .args([&format!("{flag}={value}"), "--listen=127.0.0.1:0"])
            .assert()
            .code(2)
            .stdout("")
            .stderr(
                starts_with("error: ")
                    .and(contains(flag))
                    .and(contains(value)),
            );
    }
}

#[test]
fn the_help_names_its_own_port_and_its_limit() {
    let defaults = ["127.0.0.1:8088", "10", "50s", "5s"]
        .map(|value| format!("[default: {value}]"));
    let [listen, rate, gone_after, grace] = defaults;
    cargo_bin_cmd!("chat-v2")
        .arg("--help")
        .assert()
        .success()
        .stdout(contains(listen).and(contains(rate)))
        .stdout(contains(gone_after).and(contains(grace)))
        .stdout(contains("64 KiB").and(contains("c:NAME:TEXT")));
}
