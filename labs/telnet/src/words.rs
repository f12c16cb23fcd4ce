//! The words for the numbers that Telnet sends.

use telnet_codec::{Verb, command};

pub(crate) fn verb_name(verb: Verb) -> &'static str {
    match verb {
        Verb::Will => "WILL",
        Verb::Wont => "WONT",
        Verb::Do => "DO",
        Verb::Dont => "DONT",
    }
}

/// The name that the option's RFC has for it, or its number.
pub(crate) fn option_name(option: u8) -> String {
    let name = match option {
        0 => "BINARY",
        1 => "ECHO",
        3 => "SUPPRESS-GO-AHEAD",
        5 => "STATUS",
        6 => "TIMING-MARK",
        24 => "TERMINAL-TYPE",
        31 => "NAWS",
        32 => "TERMINAL-SPEED",
        33 => "TOGGLE-FLOW-CONTROL",
        34 => "LINEMODE",
        35 => "X-DISPLAY-LOCATION",
        36 => "ENVIRON",
        37 => "AUTHENTICATION",
        38 => "ENCRYPT",
        39 => "NEW-ENVIRON",
        _ => return format!("option {option}"),
    };
    name.to_owned()
}

pub(crate) fn command_name(byte: u8) -> String {
    let name = match byte {
        command::EOF => "EOF",
        command::SUSP => "SUSP",
        command::ABORT => "ABORT",
        command::SE => "SE",
        command::NOP => "NOP",
        command::DM => "DM",
        command::BRK => "BRK",
        command::IP => "IP",
        command::AO => "AO",
        command::AYT => "AYT",
        command::EC => "EC",
        command::EL => "EL",
        command::GA => "GA",
        _ => return format!("command {byte}"),
    };
    name.to_owned()
}
