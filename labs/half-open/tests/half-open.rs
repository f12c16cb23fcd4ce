//! half-open keeps its promises, and is clear about its own flags.

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::half_open!(env!("CARGO_BIN_EXE_half-open"));

#[test]
fn a_time_is_neither_none_nor_for_ever() {
    for flag in ["--for", "--every"] {
        for time in ["0s", "3", "soon", "-1s", "2h"] {
            cargo_bin_cmd!("half-open")
                .args([&format!("{flag}={time}"), "--listen=127.0.0.1:0"])
                .assert()
                .code(2)
                .stdout("")
                .stderr(
                    starts_with("error: ")
                        .and(contains(flag))
                        .and(contains("from 1ms to 1h")),
                );
        }
    }
}

#[test]
fn the_help_tells_how_long_and_how_often() {
    cargo_bin_cmd!("half-open")
        .arg("--help")
        .assert()
        .success()
        .stdout(contains("[default: 3s]").and(contains("[default: 1s]")));
}
