//! What somebody may be called.

use std::fmt;

use precis_profiles::precis_core::profile::PrecisFastInvocation;
use precis_profiles::{UsernameCaseMapped, UsernameCasePreserved};
use unicode_security::confusable_detection::skeleton;

/// The most characters of a name.
const LONGEST: usize = 16;

/// Nobody may seem to speak for the room, or for everybody.
#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "admin", "all", "anonymous", "everybody", "nobody", "room", "root", "server", "system",
    "you",
];

/// A name that nobody can mistake for something else: see [`Name::new`].
#[derive(Debug, Clone)]
pub(crate) struct Name {
    shown: String,
    /// What it looks like, twice: as it is written, and in small letters.
    looks: [String; 2],
}

impl Name {
    /// The name in this line; otherwise, what is wrong with it.
    pub(crate) fn new(line: &str) -> Result<Self, &'static str> {
        let text = line.trim();
        if !(1..=LONGEST).contains(&text.chars().count()) {
            return Err("a name has 1 to 16 characters");
        }
        // RFC 8265: no spaces and nothing invisible; what can be written in
        // two ways is written in one.
        let shown = UsernameCasePreserved::enforce(text).ok();
        let shown = shown.filter(|it| !it.contains([':', '#'])).ok_or(
            "a name has letters, digits and signs, no spaces and no colons",
        )?;
        if !shown.starts_with(char::is_alphanumeric) {
            return Err("a name begins with a letter or a digit");
        }
        if shown.chars().count() > LONGEST {
            return Err("a name has 1 to 16 characters");
        }
        let name = Name {
            looks: looks(&shown),
            shown: shown.into_owned(),
        };
        let is_reserved = |it: &&str| looks(it).iter().any(|l| name.has(l));
        match RESERVED.iter().any(is_reserved) {
            true => Err("nobody may have that name"),
            false => Ok(name),
        }
    }

    /// Who has not said a name. No other name has a `#`.
    pub(crate) fn anonymous(number: u64) -> Self {
        let shown = format!("anonymous#{number}");
        Name {
            looks: looks(&shown),
            shown,
        }
    }

    /// Whether one of them could be taken for the other.
    pub(crate) fn looks_like(&self, other: &Name) -> bool {
        other.looks.iter().any(|look| self.has(look))
    }

    pub(crate) fn folded(&self) -> String {
        folded(&self.shown)
    }

    fn has(&self, look: &String) -> bool {
        self.looks.contains(look)
    }
}

/// A name as it is looked up, whoever has typed it how.
pub(crate) fn folded(name: &str) -> String {
    match UsernameCaseMapped::enforce(name) {
        Ok(small) => small.into_owned(),
        Err(_) => name.to_lowercase(),
    }
}

/// `paypal` written with Cyrillic letters looks the same to everybody but the
/// computer. Unicode has a table of what looks like what (UTS 39), and names
/// that look alike have the same skeleton in it.
fn looks(name: &str) -> [String; 2] {
    let as_written: String = skeleton(name).collect();
    [folded(&as_written), skeleton(&folded(name)).collect()]
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_precis_makes_of_it() {
        for (line, shown) in [
            ("bob", "bob"),
            (" Bob ", "Bob"),
            ("ｂｏｂ", "bob"),
            ("e\u{301}lan", "élan"),
            ("珠峰", "珠峰"),
            ("o'neil", "o'neil"),
            ("1234567890123456", "1234567890123456"),
        ] {
            let name = Name::new(line).map(|name| name.to_string());
            assert_eq!(name.as_deref(), Ok(shown), "{line}");
        }
    }

    #[test]
    fn what_could_deceive_is_no_name() {
        for line in [
            "",
            " ",
            "12345678901234567",
            "a b",
            "a:b",
            "a：b",
            "anonymous#7",
            "anonymous＃7",
            "*bob",
            "-bob",
            "(bob",
            "!bob",
            "a\u{1b}b",
            "a\u{202e}b",
            "a\u{200b}b",
            "a\tb",
            "admin",
            "Admin",
            "ADMIN",
            "аdmin",
            "adrnin",
            "ｒoot",
            "\u{301}a",
            "☃",
            "a\u{3000}b",
        ] {
            assert!(Name::new(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn who_looks_alike_is_alike() {
        for (one, other, alike) in [
            ("bob", "bob", true),
            ("bob", "BOB", true),
            ("bob", "b0b", true),
            ("paypal", "раураl", true),
            ("bill", "bi11", true),
            ("Il", "ll", true),
            ("mark", "rnark", true),
            ("straße", "STRAßE", true),
            ("bob", "rob", false),
            ("alice", "alicia", false),
            ("珠峰", "珠江", false),
        ] {
            let found = Name::new(one)
                .and_then(|one| Ok(one.looks_like(&Name::new(other)?)));
            assert_eq!(found, Ok(alike), "{one} {other}");
        }
    }
}
