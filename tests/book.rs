//! What a chapter shows happens: every transcript is run, in real terminals.

#![allow(clippy::unwrap_used, reason = "a test that cannot look has failed")]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use book::transcript::{self, Event, Key, Step};
use checks::outcome::{Result, Stop};
use checks::script::Script;
use checks::subject::{Program, Setup, Stdin, Subject};
use checks::wait::wait_for;
use tests::{build, root};

#[test]
fn every_transcript_happens_as_it_is_written() {
    let mut n_transcripts = 0;
    for chapter in chapters() {
        let text = fs::read_to_string(&chapter).unwrap();
        let name = chapter.file_stem().unwrap().to_string_lossy().into_owned();
        for (line, source) in transcripts(&text) {
            n_transcripts += 1;
            let place = format!("{name}.md:{line}");
            let parsed = transcript::parse(&source)
                .unwrap_or_else(|error| panic!("{place}: {error}"));
            let steps: Vec<&Step> = parsed.steps().collect();
            if let Some(missing) = missing_program(&steps) {
                let why = format!("the program {missing} is not installed");
                checks::skip(&format!("book/{name}"), &why);
                continue;
            }
            if let Err(report) = perform(&steps) {
                panic!("{place}: the transcript does not happen\n\n{report}");
            }
        }
    }
    assert!(n_transcripts > 0, "no chapter has a transcript");
}

fn chapters() -> Vec<PathBuf> {
    let pages = fs::read_dir(root().join("book/en")).unwrap();
    let mut pages: Vec<_> = pages.map(|page| page.unwrap().path()).collect();
    pages.retain(|page| page.extension().is_some_and(|ext| ext == "md"));
    pages.sort();
    pages
}

/// Line and text of each block that is a transcript.
fn transcripts(chapter: &str) -> Vec<(usize, String)> {
    let mut blocks: Vec<(usize, String)> = Vec::new();
    let mut inside = false;
    for (index, line) in chapter.lines().enumerate() {
        match line {
            "```transcript" => {
                inside = true;
                blocks.push((index + 1, String::new()));
            }
            "```" => inside = false,
            _ if inside => {
                if let Some((_, block)) = blocks.last_mut() {
                    block.push_str(line);
                    block.push('\n');
                }
            }
            _ => {}
        }
    }
    blocks
}

/// The first program of the transcript that this machine does not have.
fn missing_program(steps: &[&Step]) -> Option<String> {
    let commands = steps.iter().filter_map(|step| match &step.event {
        Event::Start(command) => command.split(' ').next(),
        _ => None,
    });
    let is_missing = |program: &&str| {
        let mut look = Command::new("sh");
        look.args(["-c", "command -v \"$0\"", program]);
        !look.output().is_ok_and(|output| output.status.success())
    };
    commands.into_iter().find(is_missing).map(str::to_owned)
}

/// Does one step after the other. An error is the report of the one that did
/// not happen.
fn perform(steps: &[&Step]) -> std::result::Result<(), String> {
    let nothing = Program::file("");
    let script = Script::new(&checks::labs::tcp_server::LAB, &nothing)
        .map_err(|stop| format!("{stop:?}"))?;
    let mut stage = Stage {
        script: &script,
        terminals: HashMap::new(),
        ports: HashMap::new(),
    };
    // Where the labs listen when no flag says otherwise.
    let _datagrams = script
        .wait_for_turn("udp-port-41234")
        .map_err(|stop| format!("{stop:?}"))?;
    let _chat = script
        .wait_for_turn("port-8088")
        .map_err(|stop| format!("{stop:?}"))?;
    let result = script
        .reserve_default_port()
        .and_then(|_| steps.iter().try_for_each(|step| stage.perform(step)));
    match result {
        Ok(()) => Ok(()),
        Err(Stop::Skipped(missing)) => {
            checks::skip("book", &missing);
            Ok(())
        }
        Err(Stop::Broken(seen)) => Err(script.report(&seen)),
    }
}

/// The terminals in which a transcript happens.
struct Stage<'a> {
    script: &'a Script<'a>,
    terminals: HashMap<String, Terminal>,
    /// The kernel chooses other ephemeral ports and process ids each time:
    /// those of the page, and what they are now.
    ports: HashMap<String, String>,
}

/// What runs in a terminal, and how many of its lines have been read.
struct Terminal {
    program: Rc<Subject>,
    n_stdout: usize,
    n_stderr: usize,
}

impl Stage<'_> {
    fn perform(&mut self, step: &Step) -> Result {
        let name = &step.terminal;
        if let Event::Start(command) = &step.event {
            let setup = Setup {
                stdin: Stdin::Terminal,
                ..Setup::default()
            };
            let program =
                Program::command(["sh", "-c", &self.real_command(command)?]);
            let program = self.script.start_program(&program, &setup)?;
            let terminal = Terminal {
                program,
                n_stdout: 0,
                n_stderr: 0,
            };
            self.terminals.insert(name.clone(), terminal);
            return Ok(());
        }
        let Some(terminal) = self.terminals.get_mut(name) else {
            return Err(Stop::broken(format_args!("nothing runs in {name}")));
        };
        match &step.event {
            Event::Start(_) => Ok(()),
            Event::Output(line) => {
                self.script.step(format_args!("{name} shows: {line}"));
                terminal.expect(line, &mut self.ports)
            }
            Event::Input(line) => {
                terminal.program.type_in(format!("{line}\n").as_bytes())?;
                // The terminal shows what is typed.
                terminal.expect(line, &mut self.ports)
            }
            Event::Key(Key::CtrlC) => terminal.program.type_in(b"\x03"),
            Event::Key(Key::CtrlD) => terminal.program.type_in(b"\x04"),
            Event::End(status) => terminal.program.expect_status(*status),
        }
    }

    /// The command with the program that cargo has built in place of `cargo
    /// run`, and with the process to which `kill` sends as it is now. A process
    /// that no line has told would be somebody else's.
    fn real_command(&self, command: &str) -> Result<String> {
        if let Some(("kill", rest)) = command.split_once(' ') {
            let (signal, id) = rest.split_once(' ').unwrap_or(("", rest));
            let now = self.ports.get(&format!("process {id}"));
            let Some(now) = now.and_then(|it| it.strip_prefix("process "))
            else {
                return Err(Stop::broken("no line tells this process"));
            };
            return Ok(format!("kill {signal} {now}"));
        }
        let Some(rest) = command.strip_prefix("cargo run -p ") else {
            return Ok(format!("exec {command}"));
        };
        let (lab, flags) = rest.split_once(" -- ").unwrap_or((rest, ""));
        let built = build(&["-p", lab]);
        let program = built.iter().find(|path| path.ends_with(lab));
        let program = program.map_or(Path::new(lab), PathBuf::as_path);
        Ok(format!("exec {} {flags}", program.display()))
    }
}

impl Terminal {
    /// The next line, on stdout or on stderr, is this one.
    fn expect(
        &mut self,
        expected: &str,
        ports: &mut HashMap<String, String>,
    ) -> Result {
        let mut seen = [None, None];
        let found = wait_for(|| {
            let stdout = self.program.stdout();
            let stderr = self.program.stderr();
            seen = [
                nth_line(&String::from_utf8_lossy(&stdout), self.n_stdout),
                nth_line(&stderr, self.n_stderr),
            ];
            let is_it = |line: &Option<String>| {
                line.as_ref()
                    .is_some_and(|line| same(expected, line, ports))
            };
            let found = seen.iter().position(is_it);
            // Both have something else: waiting will not help.
            let is_over = seen.iter().all(Option::is_some);
            (found.is_some() || is_over).then_some(found)
        });
        match found.flatten() {
            Some(0) => self.n_stdout += 1,
            Some(_) => self.n_stderr += 1,
            None => {
                let [stdout, stderr] = seen;
                return Err(Stop::broken(format_args!(
                    "the next line is {stdout:?} on stdout, {stderr:?} on stderr"
                )));
            }
        }
        Ok(())
    }
}

/// A finished line of what a terminal got.
fn nth_line(text: &str, n: usize) -> Option<String> {
    let (finished, _) = text.rsplit_once('\n')?;
    let line = finished.split('\n').nth(n)?;
    let line = line.trim_end_matches('\r');
    // How a terminal shows the key that ended the program before it.
    Some(line.trim_start_matches("^C").to_owned())
}

/// Whether two lines are the same but for ephemeral ports, processes and users,
/// and those are the same throughout the transcript.
fn same(
    expected: &str,
    seen: &str,
    ports: &mut HashMap<String, String>,
) -> bool {
    let numbers = |text| {
        let (text, mut numbers) = without_ports(text);
        let (text, ids) = without_ids(&text);
        numbers.extend(ids);
        (text, numbers)
    };
    let (expected, on_page) = numbers(expected);
    let (seen, now) = numbers(seen);
    if expected != seen || on_page.len() != now.len() {
        return false;
    }
    on_page.into_iter().zip(now).all(|(on_page, now)| {
        *ports.entry(on_page).or_insert_with(|| now.clone()) == now
    })
}

/// The text with `PORT` for each ephemeral port, and the ports.
fn without_ports(text: &str) -> (String, Vec<String>) {
    // `net.ipv4.ip_local_port_range` of Linux.
    const EPHEMERAL: std::ops::RangeInclusive<u32> = 32768..=60999;
    let mut ports = Vec::new();
    let mut parts = text.split(':');
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let n_digits = part.chars().take_while(char::is_ascii_digit).count();
        let (digits, rest) = part.split_at(n_digits);
        match digits.parse() {
            Ok(port) if EPHEMERAL.contains(&port) => {
                ports.push(digits.to_owned());
                shown.push_str(":PORT");
                shown.push_str(rest);
            }
            _ => {
                shown.push(':');
                shown.push_str(part);
            }
        }
    }
    (shown, ports)
}

/// The text with `ID` for the number after `process` and `user`, and both.
fn without_ids(text: &str) -> (String, Vec<String>) {
    let mut ids = Vec::new();
    let mut words: Vec<&str> = text.split(' ').collect();
    for index in 1..words.len() {
        let (what, number) = (words[index - 1], words[index]);
        if ["process", "user"].contains(&what) && number.parse::<u32>().is_ok()
        {
            ids.push(format!("{what} {number}"));
            words[index] = "ID";
        }
    }
    (words.join(" "), ids)
}

#[test]
fn numbers_are_the_kernels_and_stay_the_same() {
    let mut ports = HashMap::new();
    let line = "127.0.0.1:40000 connected to 127.0.0.1:8080";
    assert!(same(line, &line.replace("40000", "51111"), &mut ports));
    assert!(!same(line, &line.replace("40000", "51112"), &mut ports));
    assert!(!same(line, &line.replace("8080", "8081"), &mut ports));
    assert!(same("你好: x", "你好: x", &mut ports));
    let line = "client 1 is process 4711 of user 1000";
    assert!(same(line, &line.replace("4711", "5"), &mut ports));
    assert!(!same(line, &line.replace("4711", "6"), &mut ports));
    assert!(!same(
        line,
        &line.replace("client 1", "client 2"),
        &mut ports
    ));
}
