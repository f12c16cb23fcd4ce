//! telnet keeps its promises, and is clear about its own flags.

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::telnet!(env!("CARGO_BIN_EXE_telnet"));

#[test]
fn to_ask_is_to_ask_for_all() {
    cargo_bin_cmd!("telnet")
        .args(["--ask=window", "--listen=127.0.0.1:0"])
        .assert()
        .code(2)
        .stdout("")
        .stderr(starts_with("error: ").and(contains("--ask")));
}

#[test]
fn the_help_warns_of_what_nc_shows() {
    cargo_bin_cmd!("telnet")
        .arg("--help")
        .assert()
        .success()
        .stdout(contains("[default: 127.0.0.1:8080]").and(contains("rubbish")));
}
