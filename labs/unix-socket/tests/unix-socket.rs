//! unix-socket keeps its promises, and is clear about its own flags.

#![cfg(unix)]

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::unix_socket!(env!("CARGO_BIN_EXE_unix-socket"));

#[test]
fn a_mode_is_an_octal_number_of_permissions() {
    for mode in ["0888", "u=rw", "1777", "-1"] {
        cargo_bin_cmd!("unix-socket")
            .args(["server", &format!("--mode={mode}")])
            .assert()
            .code(2)
            .stdout("")
            .stderr(starts_with("error: ").and(contains("--mode")));
    }
}

#[test]
fn the_help_tells_the_roles_and_where_they_meet() {
    cargo_bin_cmd!("unix-socket")
        .arg("--help")
        .assert()
        .success()
        .stdout(
            contains("[default: lab.sock]")
                .and(contains("server"))
                .and(contains("client")),
        );
}

#[test]
fn the_help_of_the_server_tells_the_mode() {
    cargo_bin_cmd!("unix-socket")
        .args(["server", "--help"])
        .assert()
        .success()
        .stdout(contains("[default: 0600]"));
}
