//! The README's commands are run as they stand: some here, the others by
//! `.ci/run`.

#![allow(clippy::unwrap_used, reason = "a test that cannot look has failed")]

use std::env;
use std::fs;
use std::sync::Mutex;

use checks::labs::tcp_server;
use checks::outcome::{Result, Stop};
use checks::script::Script;
use checks::subject::{Program, Setup, Signal};
use tests::{build, locked, root};

/// The commands of the README's blocks named `console`, a line each.
fn commands() -> Vec<String> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut commands = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if inside => commands.push(line.to_owned()),
            _ => {}
        }
    }
    commands
}

/// Commands that serve until they are ended; the tests below run them.
const SERVERS: [&str; 2] = ["cargo run -p tcp-server", "cargo book serve"];

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn ci_runs_every_command_that_ends_by_itself() {
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    for command in commands() {
        let is_in_ci = ci.lines().any(|line| line.ends_with(&command));
        let is_server = SERVERS.contains(&command.as_str());
        assert!(is_in_ci || is_server, "nothing runs: {command}");
    }
}

#[test]
fn the_first_command_serves_the_first_lab() {
    assert_eq!(commands().first().map(String::as_str), Some(SERVERS[0]));
    let served =
        in_the_repository("tcp-server", SERVERS[0], |script, program| {
            let address = script.reserve_default_port()?;
            let server = script.start_program(program, &Setup::default())?;
            script.wait_listening(&server, address)?;
            let mut client = script.connect(&server, "a client")?;
            client.expect_line()?;
            client.send(b"hello\n")?;
            client.expect(b"hello\n")?;
            server.signal(Signal::Interrupt)?;
            server.expect_status(0)
        });
    served.unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn the_book_is_served() {
    // A reader's own book may be open on its usual port.
    let command = format!("{} --listen 127.0.0.1:0", SERVERS[1]);
    let served = in_the_repository("book", &command, |script, program| {
        let server = script.start_program(program, &Setup::default())?;
        script.wait_listening(&server, ([127, 0, 0, 1], 0).into())?;
        let mut reader = script.connect(&server, "a reader")?;
        reader.send(b"GET /en/tcp-server.html HTTP/1.0\r\n\r\n")?;
        let (page, _) = reader.read_to_end()?;
        let page = String::from_utf8_lossy(&page).into_owned();
        let is_there = page.contains("tcp-server: talk to a server");
        checks::outcome::ensure(is_there, page)
    });
    served.unwrap_or_else(|report| panic!("{report}"));
}

/// What tells cargo where its things are, and that they need not be built anew.
const OF_CARGO: [&str; 5] = [
    "HOME",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "CARGO_TARGET_DIR",
    "CARGO_INCREMENTAL",
];

/// Runs a command of the README at the top of the repository, with the home
/// directory of whoever runs the tests: cargo lives there.
fn in_the_repository(
    package: &str,
    command: &str,
    check: impl Fn(&Script, &Program) -> Result,
) -> std::result::Result<(), String> {
    // A cargo waits for another that builds, longer than any check does.
    let _turn = locked(&ONE_AT_A_TIME);
    // What takes long is the compiler, not the program.
    build(&["-p", package]);
    let mut line = format!("cd '{}' &&", root().display());
    for name in OF_CARGO {
        if let Ok(value) = env::var(name) {
            line.push_str(&format!(" {name}='{value}'"));
        }
    }
    let program =
        Program::command(["sh", "-c", &format!("{line} exec {command}")]);
    let script = Script::new(&tcp_server::LAB, &program).unwrap();
    match check(&script, &program) {
        Ok(()) => Ok(()),
        Err(Stop::Broken(seen)) => Err(script.report(&seen)),
        Err(Stop::Skipped(missing)) => {
            checks::skip("readme", &missing);
            Ok(())
        }
    }
}
