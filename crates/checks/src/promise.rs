//! Promises, and the proof that a program keeps them.

use std::env;
use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use crate::outcome::{Result, Stop};
use crate::script::Script;
use crate::subject::Program;
use crate::wait::{PATIENCE, with_patience};

/// One thing a program does, seen from outside.
#[derive(Debug)]
pub struct Promise {
    /// Lab and name, `tcp-server/serves-while-idle`.
    pub id: &'static str,
    /// One sentence: what the program does.
    pub title: &'static str,
    /// Why it matters to the people who use such a program.
    pub why: &'static str,
    /// Tries it out.
    pub check: fn(&Script) -> Result,
}

/// All that one lab promises.
#[derive(Debug)]
pub struct Lab {
    /// The package and program, `tcp-server`.
    pub name: &'static str,
    /// Where it listens, or connects to, when no flag says otherwise.
    pub default_address: SocketAddr,
    /// The flags with which any number of clients may come.
    pub flags_for_many: &'static [&'static str],
    /// In the order in which the chapter tells them.
    pub promises: &'static [Promise],
}

/// What came out when a program was held to a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The program keeps it.
    Kept,
    /// The program does not keep it; the report, several lines.
    Broken(String),
    /// It could not be tried here; what is missing.
    Skipped(String),
}

impl Promise {
    /// The id without the lab, `serves-while-idle`.
    pub fn name(&self) -> &'static str {
        self.id.split_once('/').map_or(self.id, |(_, name)| name)
    }

    /// Holds a program to this promise of `lab`. Whatever the program should
    /// do soon, it must do within `patience`, for which [`PATIENCE`] is right
    /// unless the program is known to be wrong.
    pub fn judge(
        &self,
        lab: &Lab,
        program: &Program,
        patience: Duration,
    ) -> Verdict {
        let script = match Script::new(lab, program) {
            Ok(script) => script,
            Err(stop) => return Verdict::Broken(format!("{stop:?}")),
        };
        match with_patience(patience, || (self.check)(&script)) {
            Ok(()) => Verdict::Kept,
            Err(Stop::Skipped(missing)) => Verdict::Skipped(missing),
            Err(Stop::Broken(seen)) => Verdict::Broken(format!(
                "{self}\n\n{}\n\nWhy it matters: {}",
                script.report(&seen),
                self.why
            )),
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.title)
    }
}

/// Promises that CI may skip, each with its reason. Everything else must run
/// there.
const MAY_BE_SKIPPED: &str = include_str!("../../../.ci/may-be-skipped.txt");

/// Panics unless the program keeps the promise: the body of a `#[test]`.
///
/// What cannot be tried on this machine is told on stderr, by name and reason;
/// where the variable `CI` is set, it is a failure.
pub fn prove(lab: &Lab, id: &str, program: &str) {
    let Some(promise) = lab.promises.iter().find(|p| p.id == id) else {
        panic!("there is no promise {id}");
    };
    match promise.judge(lab, &Program::file(program), PATIENCE) {
        Verdict::Kept => {}
        Verdict::Broken(report) => panic!("broken promise {report}"),
        Verdict::Skipped(missing) => skip(id, &missing),
    }
}

/// Tells that a check was not run, and fails under `CI` unless its name is
/// listed in `.ci/may-be-skipped.txt`.
pub fn skip(name: &str, missing: &str) {
    let listed = MAY_BE_SKIPPED
        .lines()
        .any(|line| line.split(':').next() == Some(name));
    assert!(
        env::var_os("CI").is_none() || listed,
        "{name} was skipped: {missing}"
    );
    // Not `eprintln!`: the test harness would keep that to itself.
    let _ = writeln!(std::io::stderr(), "skipped {name}: {missing}");
}

/// Declares the promises of a lab: `LAB` for programs that run them, and a
/// macro of the lab's name that makes each of them a `#[test]`.
///
/// The `$` in front of the module stands for the dollar sign that the inner
/// macro needs for its own variable.
macro_rules! lab {
    (
        $dollar:tt $module:ident $name:literal
            at ($ip:expr, $port:literal), many $flags:expr;
        $( $check:ident = $id:literal: $title:literal, $why:literal; )+
    ) => {
        /// What the lab promises.
        pub const LAB: $crate::Lab = $crate::Lab {
            name: $name,
            default_address: std::net::SocketAddr::V4(
                std::net::SocketAddrV4::new(
                    std::net::Ipv4Addr::from_octets($ip),
                    $port,
                ),
            ),
            flags_for_many: $flags,
            promises: &[ $( $crate::Promise {
                id: concat!($name, "/", $id),
                title: $title,
                why: $why,
                check: $check,
            } ),+ ],
        };

        /// Makes each promise a `#[test]` of the program file given.
        #[macro_export]
        macro_rules! $module {
            ($dollar program:expr) => {
                $(
                    #[test]
                    fn $check() {
                        $crate::prove(
                            &$crate::labs::$module::LAB,
                            concat!($name, "/", $id),
                            $dollar program,
                        );
                    }
                )+
            };
        }
    };
}
pub(crate) use lab;
