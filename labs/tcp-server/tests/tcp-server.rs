//! tcp-server keeps its promises, and is clear about its own flags.

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::tcp_server!(env!("CARGO_BIN_EXE_tcp-server"));

#[test]
fn a_backlog_is_a_number_from_one() {
    for backlog in ["0", "-1", "many"] {
        cargo_bin_cmd!("tcp-server")
            .args([&format!("--backlog={backlog}"), "--listen=127.0.0.1:0"])
            .assert()
            .code(2)
            .stdout("")
            .stderr(starts_with("error: ").and(contains("--backlog")));
    }
}

#[test]
fn the_help_tells_the_numbers_of_the_notes() {
    cargo_bin_cmd!("tcp-server")
        .arg("--help")
        .assert()
        .success()
        .stdout(
            contains("[default: 127.0.0.1:8080]")
                .and(contains("[default: 511]")),
        );
}
