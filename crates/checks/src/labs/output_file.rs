//! What a server promises that writes what it receives to `--file`.

use std::fs;
use std::path::Path;

use super::command_line::expect_error;
use super::every_server::welcomed;
use crate::outcome::{Result, Stop, ensure};
use crate::script::Script;

pub(super) fn a_bad_file_is_one_clear_line(script: &Script) -> Result {
    let read_only = script.home().join("read-only");
    fs::write(&read_only, "")?;
    let mut permissions = fs::metadata(&read_only)?.permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&read_only, permissions)?;

    let files = [
        (".", "(EISDIR)"),
        ("nowhere/msg.txt", "(ENOENT)"),
        ("read-only", "(EACCES)"),
    ];
    for (file, code) in files {
        let flags = ["--listen", "127.0.0.1:0", "--file", file];
        let failed = script.start(&flags)?;
        failed.expect_status(1)?;
        expect_error(&failed, &format!("cannot write to {file}: "), code)?;
        ensure(failed.stdout().is_empty(), "it had listened already")?;
    }
    Ok(())
}

/// Started with these flags, it writes to a disk that is full, tells so, and
/// ends with its clients.
pub(super) fn expect_full_disk_told(script: &Script, flags: &[&str]) -> Result {
    const FULL: &str = "/dev/full";

    if !Path::new(FULL).exists() {
        return Err(Stop::skipped("this system has no /dev/full"));
    }
    let server = script.serve_with(&[flags, &["--file", FULL]].concat())?;
    let mut client = welcomed(script, &server, "a client")?;
    client.send(b"hello\n")?;
    client.expect_fin()?;
    server.expect_status(1)?;
    expect_error(&server, &format!("cannot write to {FULL}: "), "(ENOSPC)")
}
