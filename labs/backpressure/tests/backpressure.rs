//! backpressure keeps its promises, and is clear about its own flags.

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::backpressure!(env!("CARGO_BIN_EXE_backpressure"));

#[test]
fn a_size_has_a_form_and_a_limit() {
    let bad = [
        ("--size", "lots"),
        ("--size", "2TB"),
        ("--size", "-1"),
        ("--chunk", "0B"),
        ("--chunk", "17MiB"),
        ("--high-water-mark", "0B"),
        ("--send-buffer", "1GB"),
    ];
    for (flag, size) in bad {
        cargo_bin_cmd!("backpressure")
            .args([&format!("{flag}={size}"), "--listen=127.0.0.1:0"])
            .assert()
            .code(2)
            .stdout("")
            .stderr(
                starts_with("error: ")
                    .and(contains(flag))
                    .and(contains(size)),
            );
    }
}

#[test]
fn a_file_has_a_size_of_its_own() {
    cargo_bin_cmd!("backpressure")
        .args(["--file=some.txt", "--size=1MB"])
        .assert()
        .code(2)
        .stderr(starts_with("error: ").and(contains("cannot be used with")));
}

/// A device has no size, and a pipe waits for a writer when it is opened.
#[cfg(unix)]
#[test]
fn what_is_no_ordinary_file_is_not_sent() {
    cargo_bin_cmd!("backpressure")
        .args(["--file=/dev/null", "--listen=127.0.0.1:0"])
        .assert()
        .code(1)
        .stdout("")
        .stderr("error: cannot send /dev/null: it is not an ordinary file\n");
}
