//! timeout keeps its promises, and is clear about its own flags.

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::timeout!(env!("CARGO_BIN_EXE_timeout"));

#[test]
fn a_time_has_a_unit_and_a_limit_and_an_action_is_one_of_four() {
    for flag in ["--idle=5", "--idle=25days", "--then=close"] {
        let (name, _) = flag.split_once('=').unwrap();
        cargo_bin_cmd!("timeout")
            .args([flag, "--listen=127.0.0.1:0"])
            .assert()
            .code(2)
            .stdout("")
            .stderr(starts_with("error: ").and(contains(name)));
    }
}
