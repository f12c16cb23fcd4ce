//! pause-resume keeps its promises, and is clear about its own flags.

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::pause_resume!(env!("CARGO_BIN_EXE_pause-resume"));

#[test]
fn a_pause_is_neither_none_nor_for_ever() {
    for time in ["0s", "3", "soon", "-1s", "2h"] {
        cargo_bin_cmd!("pause-resume")
            .args([&format!("--pause={time}"), "--listen=127.0.0.1:0"])
            .assert()
            .code(2)
            .stdout("")
            .stderr(
                starts_with("error: ")
                    .and(contains("--pause"))
                    .and(contains("from 1ms to 1h")),
            );
    }
}

#[test]
fn the_help_tells_how_long_and_where() {
    cargo_bin_cmd!("pause-resume")
        .arg("--help")
        .assert()
        .success()
        .stdout(contains("[default: 10s]").and(contains("msg.txt")));
}
