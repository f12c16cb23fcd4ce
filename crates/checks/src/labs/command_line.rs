//! What every lab promises of its command line.

use std::rc::Rc;

use crate::outcome::{Result, Stop, ensure};
use crate::script::Script;
use crate::subject::{Exit, Signal, Subject};
use crate::wait::wait_for;

/// `--help` says what, how, and what the flag named is for.
pub(super) fn expect_help(script: &Script, flag: &str) -> Result {
    let help = script.start(&["--help"])?;
    help.expect_status(0)?;
    let text = String::from_utf8_lossy(&help.stdout()).into_owned();
    for part in ["Usage:", "Example:", flag] {
        script.step(format_args!("the help holds {part:?}"));
        ensure(text.contains(part), "it does not")?;
    }
    script.step("stderr stays empty");
    ensure(help.stderr().is_empty(), help.stderr())
}

/// What cannot be is named, with status 2. The flag takes a HOST:PORT.
pub(super) fn expect_misuse(script: &Script, flag: &str) -> Result {
    let misuses: [(&[&str], &str); 3] = [
        (&["--no-such-flag"], "--no-such-flag"),
        (&[flag, "8080"], "HOST:PORT"),
        (&[flag, "127.0.0.1:65536"], "65536"),
    ];
    for (flags, named) in misuses {
        let failed = script.start(flags)?;
        failed.expect_status(2)?;
        let stderr = failed.stderr();
        let first = stderr.lines().next().unwrap_or_default();
        ensure(
            first.starts_with("error: ") && stderr.contains(named),
            format_args!("expected an error about {named}, got {stderr:?}"),
        )?;
    }
    Ok(())
}

/// The last two lines of stderr are an error that begins and ends so, and a line
/// of help.
pub(super) fn expect_error(failed: &Subject, what: &str, code: &str) -> Result {
    let stderr = failed.stderr();
    let lines: Vec<&str> = stderr.lines().collect();
    let [.., error, help] = lines.as_slice() else {
        return Err(Stop::broken(format_args!(
            "expected an error line and a help line, got {stderr:?}"
        )));
    };
    let start = format!("error: {what}");
    ensure(
        error.starts_with(&start) && error.ends_with(code),
        format_args!("expected \"{start}… {code}\", got {error:?}"),
    )?;
    ensure(
        help.starts_with("help: "),
        format_args!("no help: {help:?}"),
    )
}

/// Two signals that arrive together end it with 130. It stands still meanwhile,
/// or it might have ended in order between them. Even so, with several threads
/// one may end it in order before another has taken the second signal: then it
/// is started and asked again.
pub(super) fn expect_end_when_asked_twice<T>(
    start: impl Fn() -> Result<(Rc<Subject>, T)>,
) -> Result {
    const TRIES: usize = 10;

    for _ in 0..TRIES {
        let (program, _peer) = start()?;
        ask_twice(&program)?;
        if wait_for(|| program.exit()) != Some(Exit::Code(0)) {
            return program.expect_status(130);
        }
    }
    Err(Stop::broken(format_args!(
        "it ended with status 0, {TRIES} times of {TRIES}"
    )))
}

fn ask_twice(program: &Subject) -> Result {
    let all_at_once = [
        Signal::Stop,
        Signal::Interrupt,
        Signal::Terminate,
        Signal::Continue,
    ];
    all_at_once
        .into_iter()
        .try_for_each(|signal| program.signal(signal))
}

/// Red, bell, right-to-left, CSI as one character, and a forged line.
pub(super) const EVIL: &str =
    "\u{1b}[31mred\u{7}\u{202e}\u{9b}31m\r\nlistening on evil\r\n";

/// Somebody has sent it [`EVIL`], and no terminal would obey what it printed.
pub(super) fn expect_no_evil(script: &Script, program: &Subject) -> Result {
    script.step("neither output holds a control character or a forged line");
    let mut printed = String::from_utf8_lossy(&program.stdout()).into_owned();
    printed.push_str(&program.stderr());
    let is_evil = |c: &char| {
        c.is_control() && *c != '\n' || ('\u{202a}'..='\u{202e}').contains(c)
    };
    if let Some(evil) = printed.chars().find(is_evil) {
        return Err(Stop::broken(format_args!("it holds {evil:?}")));
    }
    ensure(
        !printed.lines().any(|line| line == "listening on evil"),
        "a sender could write a line of its own",
    )
}
