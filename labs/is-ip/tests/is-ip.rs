//! is-ip keeps its promises, and is clear about its own arguments.

use std::fs::File;
use std::process::Command;

use assert_cmd::cargo::cargo_bin_cmd;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

checks::is_ip!(env!("CARGO_BIN_EXE_is-ip"));

#[test]
fn arguments_are_judged_and_stdin_is_left_alone() {
    cargo_bin_cmd!("is-ip")
        .args(["127.0.0.1", "127.1"])
        .write_stdin("::1\n")
        .assert()
        .code(1)
        .stdout(
            "4\t127.0.0.1\tloopback (RFC 1122)\n\
             0\t127.1\tnot an address\n",
        )
        .stderr("");
}

#[test]
fn what_looks_like_a_flag_needs_two_hyphens_before_it() {
    cargo_bin_cmd!("is-ip")
        .arg("-1.2.3.4")
        .assert()
        .code(2)
        .stdout("")
        .stderr(starts_with("error: ").and(contains("'-1'")));
    cargo_bin_cmd!("is-ip")
        .args(["--", "-1.2.3.4"])
        .assert()
        .code(1)
        .stdout("0\t-1.2.3.4\tnot an address\n");
}

#[test]
fn help_tells_what_the_status_means() {
    cargo_bin_cmd!("is-ip")
        .arg("--help")
        .assert()
        .code(0)
        .stdout(contains("0 when every text is an address, 1 when one is"));
}

#[test]
fn no_line_at_all_has_none_that_is_no_address() {
    cargo_bin_cmd!("is-ip")
        .assert()
        .code(0)
        .stdout("")
        .stderr("");
}

/// A directory can be opened, and not be read.
#[test]
#[cfg(target_os = "linux")]
fn stdin_that_cannot_be_read_is_one_clear_line() {
    let output = Command::new(env!("CARGO_BIN_EXE_is-ip"))
        .stdin(File::open(".").unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let line = "error: cannot read stdin: is a directory (EISDIR)\n";
    assert!(stderr.starts_with(line), "{stderr}");
}
