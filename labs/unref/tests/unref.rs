//! unref keeps its promises, and is clear about its own flags.

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::unref!(env!("CARGO_BIN_EXE_unref"));

#[test]
fn another_moment_is_misuse_and_the_three_are_named() {
    for when in ["second-end", "Start", ""] {
        cargo_bin_cmd!("unref")
            .args([&format!("--unref-at={when}"), "--listen=127.0.0.1:0"])
            .assert()
            .code(2)
            .stdout("")
            .stderr(starts_with("error: ").and(contains("--unref-at")))
            .stderr(contains("start, first-end, never"));
    }
}
