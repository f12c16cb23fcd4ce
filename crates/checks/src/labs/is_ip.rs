//! is-ip: tells what is an IP address, and of which kind.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::command_line::{expect_end_when_asked_twice, expect_help};
use crate::kernel;
use crate::outcome::{Result, Stop, ensure};
use crate::promise::lab;
use crate::script::Script;
use crate::subject::{Setup, Signal, Stdin, Subject};
use crate::wait::wait_for;

// It listens nowhere and connects to nobody, so it has no address.
every_program! { lab! {
    $ is_ip "is-ip" at ([0, 0, 0, 0], 0), many &[];

    judges_ipv4_as_node_does = "judges-ipv4-as-node-does":
        "IPv4 is four decimal numbers up to 255, with no leading zeros and \
         nothing around them.",
        "Some programs read 010.0.0.1 as 8.0.0.1: two readings of one text \
         are how filters are passed.";
    judges_ipv6_as_node_does = "judges-ipv6-as-node-does":
        "IPv6 is the text of RFC 4291: groups of one to four hex digits, `::` \
         once for at least one group, IPv4 in the last two.",
        "There are many ways to write one address, and many more that only \
         look like it.";
    judges_zones_as_node_does = "judges-zones-as-node-does":
        "`fe80::1%eth0` is a 6. A zone has letters, digits, dots, colons and \
         hyphens, at least one.",
        "A link-local address means nothing without its link.";
    agrees_with_the_rules = "agrees-with-the-rules":
        "Of 10,000 random texts, each is judged by the rules.",
        "A list of examples is as good as whoever wrote it.";
    names_the_kind = "names-the-kind":
        "Of each address it tells the kind, and the RFC that defines it, at \
         both ends of every block.",
        "Whether it is private, multicast or everybody's decides what one may \
         do with it.";
    takes_arguments_or_lines = "takes-arguments-or-lines":
        "It judges its arguments, in order; with none, the lines of stdin.",
        "By hand one gives one address, a script gives a list.";
    a_line_ends_with_lf_or_cr_lf_or_the_input =
        "a-line-ends-with-lf-or-cr-lf-or-the-input":
        "A line ends with LF, CR LF, or the end of stdin, wherever a read may \
         cut it.",
        "The last line of a file often has no end, and Windows has two \
         characters for it.";
    answers_each_line_as_it_comes = "answers-each-line-as-it-comes":
        "Each line is answered when it is complete, in a pipe and on a \
         terminal.",
        "Who types a line wants the answer, and not at the end.";
    bytes_that_are_no_text_are_no_address =
        "bytes-that-are-no-text-are-no-address":
        "A line that is not UTF-8 is a 0, and its bytes are shown as `\\xff`.",
        "One bad line must not end a list of a million.";
    escapes_what_it_is_given = "escapes-what-it-is-given":
        "Control characters and what is not visible never reach its stdout, \
         and a tab never makes a column.",
        "A list from a stranger could rewrite the screen, or forge an answer.";
    limits_a_line = "limits-a-line":
        "A text of more than 4096 bytes is a 0, the answer says why, and the \
         next line is judged for itself.",
        "A limit that is not told looks like a wrong answer.";
    memory_stays_flat = "memory-stays-flat":
        "However much comes, in lines or in one line without end, its memory \
         does not grow.",
        "`is-ip < /dev/zero` must not take the machine down.";
    status_says_whether_all_are_addresses =
        "status-says-whether-all-are-addresses":
        "The status is 0 when every text is an address, and 1 when one is \
         not.",
        "`if is-ip \"$host\"` is what a script would write.";
    ends_in_order_when_asked = "ends-in-order-when-asked":
        "On Ctrl-C and on SIGTERM it exits with status 0.",
        "Somebody who stops it has seen what he wanted.";
} }

/// What was measured with `net.isIP`: the IPv4 part.
const IPV4: &[(u8, &[&str])] = &[
    (
        4,
        &[
            "0.0.0.0",
            "127.0.0.1",
            "255.255.255.255",
            "224.0.1.100",
            "239.255.255.255",
            "169.254.1.1",
            "192.168.1.255",
        ],
    ),
    (
        0,
        &[
            "",
            "256.0.0.1",
            "999.999.999.999",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.",
            ".1.2.3",
            "1..2.3",
            "0.0.0.0.",
            "01.2.3.4",
            "1.2.3.04",
            "00.0.0.0",
            "0.0.0.00",
            "010.0.0.1",
            "0x7f.0.0.1",
            "0x7f000001",
            "2130706433",
            "127.1",
            " 127.0.0.1",
            "127.0.0.1 ",
            "\n127.0.0.1",
            "127.0.0.1\n",
            "\u{0}127.0.0.1",
            "127.0.0.1\0",
            "127.0.0.1:80",
            "1.2.3.4/24",
            "1.2.3.-4",
            "+1.2.3.4",
            "1.2.3.4a",
            "1,2,3,4",
            "1.2.3.1e1",
            "１.2.3.4",
            "localhost",
            "example.com",
            "1.2.3.4%eth0",
            "%eth0",
        ],
    ),
];

/// The IPv6 part, without zones.
const IPV6: &[(u8, &[&str])] = &[
    (
        6,
        &[
            "::",
            "::1",
            "::0",
            "0::",
            "A::f",
            "FE80::ABCD",
            "fe80::1",
            "ff02::1",
            "2001:db8::",
            "0:0:0:0:0:0:0:1",
            "0000:0000:0000:0000:0000:0000:0000:0001",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "1::3:4:5:6:7:8",
            "1::2:3:4:5:6:7",
            "::ffff:1.2.3.4",
            "::FFFF:7f00:1",
            "::1.2.3.4",
            "64:ff9b::192.0.2.33",
            "1:2:3:4:5:6:1.2.3.4",
            "a:b:c:d:e:f:1.2.3.4",
            "::a:b:c:d:e:1.2.3.4",
        ],
    ),
    (
        0,
        &[
            ":",
            ":::",
            "::g",
            "12345::",
            "01234::",
            "::00000",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:",
            "1:2:3:4:5:6:7:8:9",
            "1::2::3",
            "1:::2",
            "2001:db8:::1",
            "1:2:3:4:5:6:7:8::",
            "1:2:3:4:5:6:7::8",
            "::1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6::7:8",
            "::1:",
            "[::1]",
            "::1/128",
            " ::1",
            "::1 ",
            "::ffff:01.2.3.4",
            "::ffff:1.2.3",
            "::ffff:256.1.1.1",
            "::ffff:1.2.3.4:5",
            "::1.2.3.4:5",
            "1.2.3.4::",
            "1:2:3:4:5:6:7:1.2.3.4",
            "1:2:3:4:5:1.2.3.4",
            "::a:b:c:d:e:f:1.2.3.4",
        ],
    ),
];

/// The part with zones.
const ZONES: &[(u8, &[&str])] = &[
    (
        6,
        &[
            "fe80::1%eth0",
            "fe80::1%1",
            "::1%lo",
            "::%eth0",
            "fe80::1%25eth0",
            "fe80::1%a.b-c",
            "fe80::1%a:b",
            "fe80::1%-",
            "fe80::1%.",
            "::1.2.3.4%1",
            "::ffff:1.2.3.4%eth0",
        ],
    ),
    (
        0,
        &[
            "fe80::1%",
            "fe80::1%et h0",
            "fe80::1%eth0%x",
            "fe80::1%a_b",
            "fe80::1%éth",
            "fe80::1%eth0 ",
        ],
    ),
];

/// First and last address of each stretch, kind and RFC: the whole of IPv4,
/// without a gap.
#[rustfmt::skip]
const IPV4_KINDS: &[(&str, &str, &str, u16)] = &[
    ("0.0.0.0", "0.0.0.0", "unspecified", 1122),
    ("0.0.0.1", "0.255.255.255", "this network", 791),
    ("1.0.0.0", "9.255.255.255", "global", 6890),
    ("10.0.0.0", "10.255.255.255", "private", 1918),
    ("11.0.0.0", "100.63.255.255", "global", 6890),
    ("100.64.0.0", "100.127.255.255", "shared address space", 6598),
    ("100.128.0.0", "126.255.255.255", "global", 6890),
    ("127.0.0.0", "127.255.255.255", "loopback", 1122),
    ("128.0.0.0", "169.253.255.255", "global", 6890),
    ("169.254.0.0", "169.254.255.255", "link-local", 3927),
    ("169.255.0.0", "172.15.255.255", "global", 6890),
    ("172.16.0.0", "172.31.255.255", "private", 1918),
    ("172.32.0.0", "191.255.255.255", "global", 6890),
    ("192.0.0.0", "192.0.0.255", "protocol assignments", 6890),
    ("192.0.1.0", "192.0.1.255", "global", 6890),
    ("192.0.2.0", "192.0.2.255", "documentation", 5737),
    ("192.0.3.0", "192.31.195.255", "global", 6890),
    ("192.31.196.0", "192.31.196.255", "AS112 name servers", 7535),
    ("192.31.197.0", "192.52.192.255", "global", 6890),
    ("192.52.193.0", "192.52.193.255", "multicast tunnels (AMT)", 7450),
    ("192.52.194.0", "192.88.98.255", "global", 6890),
    ("192.88.99.0", "192.88.99.255", "6to4 relays, deprecated", 7526),
    ("192.88.100.0", "192.167.255.255", "global", 6890),
    ("192.168.0.0", "192.168.255.255", "private", 1918),
    ("192.169.0.0", "192.175.47.255", "global", 6890),
    ("192.175.48.0", "192.175.48.255", "AS112 name servers", 7534),
    ("192.175.49.0", "198.17.255.255", "global", 6890),
    ("198.18.0.0", "198.19.255.255", "benchmarking", 2544),
    ("198.20.0.0", "198.51.99.255", "global", 6890),
    ("198.51.100.0", "198.51.100.255", "documentation", 5737),
    ("198.51.101.0", "203.0.112.255", "global", 6890),
    ("203.0.113.0", "203.0.113.255", "documentation", 5737),
    ("203.0.114.0", "223.255.255.255", "global", 6890),
    ("224.0.0.0", "224.0.0.255", "multicast, local network control block", 5771),
    ("224.0.1.0", "224.0.1.255", "multicast, internetwork control block", 5771),
    ("224.0.2.0", "224.0.255.255", "multicast, ad-hoc block", 5771),
    ("224.1.0.0", "224.1.255.255", "multicast, reserved", 5771),
    ("224.2.0.0", "224.2.255.255", "multicast, session announcements", 5771),
    ("224.3.0.0", "224.4.255.255", "multicast, ad-hoc block", 5771),
    ("224.5.0.0", "231.255.255.255", "multicast, reserved", 5771),
    ("232.0.0.0", "232.255.255.255", "multicast, source-specific", 4607),
    ("233.0.0.0", "233.251.255.255", "multicast, by AS number (GLOP)", 3180),
    ("233.252.0.0", "233.252.0.255", "multicast, documentation", 6676),
    ("233.252.1.0", "233.255.255.255", "multicast, ad-hoc block", 5771),
    ("234.0.0.0", "234.255.255.255", "multicast, by unicast prefix", 6034),
    ("235.0.0.0", "238.255.255.255", "multicast, reserved", 5771),
    ("239.0.0.0", "239.255.255.255", "multicast, administratively scoped", 2365),
    ("240.0.0.0", "255.255.255.254", "reserved", 1112),
    ("255.255.255.255", "255.255.255.255", "limited broadcast", 919),
];

/// The same for IPv6, where `2001:db8:*` is the last address that begins so.
#[rustfmt::skip]
const IPV6_KINDS: &[(&str, &str, &str, u16)] = &[
    ("::", "::", "unspecified", 4291),
    ("::1", "::1", "loopback", 4291),
    ("::2", "::255.255.255.255", "IPv4-compatible, deprecated", 4291),
    ("::1:0:0", "::fffe:ffff:ffff", "unassigned", 4291),
    ("::1:0:0:0", "64:ff9a:*", "unassigned", 4291),
    ("64:ff9b::", "64:ff9b::255.255.255.255", "IPv4 behind NAT64", 6052),
    ("64:ff9b::1:0:0", "64:ff9b:0:*", "unassigned", 4291),
    ("64:ff9b:1::", "64:ff9b:1:*", "NAT64 of one's own", 8215),
    ("64:ff9b:2::", "ff:*", "unassigned", 4291),
    ("100::", "100:0:0:0:*", "discard-only", 6666),
    ("100:0:0:1::", "100:0:0:1:*", "dummy", 9780),
    ("100:0:0:2::", "1fff:*", "unassigned", 4291),
    ("2000::", "2000:*", "global", 4291),
    ("2001::", "2001:0:*", "Teredo", 4380),
    ("2001:1::", "2001:1:*", "protocol assignments", 2928),
    ("2001:2::", "2001:2:0:*", "benchmarking", 5180),
    ("2001:2:1::", "2001:2:*", "protocol assignments", 2928),
    ("2001:3::", "2001:3:*", "multicast tunnels (AMT)", 7450),
    ("2001:4::", "2001:4:111:*", "protocol assignments", 2928),
    ("2001:4:112::", "2001:4:112:*", "AS112 name servers", 7535),
    ("2001:4:113::", "2001:f:*", "protocol assignments", 2928),
    ("2001:10::", "2001:1f:*", "ORCHID, deprecated", 4843),
    ("2001:20::", "2001:2f:*", "ORCHIDv2", 7343),
    ("2001:30::", "2001:3f:*", "drone remote ID", 9374),
    ("2001:40::", "2001:1ff:*", "protocol assignments", 2928),
    ("2001:200::", "2001:db7:*", "global", 4291),
    ("2001:db8::", "2001:db8:*", "documentation", 3849),
    ("2001:db9::", "2001:*", "global", 4291),
    ("2002::", "2002:*", "6to4", 3056),
    ("2003::", "2620:4f:7fff:*", "global", 4291),
    ("2620:4f:8000::", "2620:4f:8000:*", "AS112 name servers", 7534),
    ("2620:4f:8001::", "3ffe:*", "global", 4291),
    ("3fff::", "3fff:fff:*", "documentation", 9637),
    ("3fff:1000::", "3fff:*", "global", 4291),
    ("4000::", "5eff:*", "unassigned", 4291),
    ("5f00::", "5f00:*", "segment routing", 9602),
    ("5f01::", "fbff:*", "unassigned", 4291),
    ("fc00::", "fdff:*", "unique local", 4193),
    ("fe00::", "fe7f:*", "unassigned", 4291),
    ("fe80::", "febf:*", "link-local", 4291),
    ("fec0::", "feff:*", "site-local, deprecated", 3879),
    ("ff00::", "fff0:*", "multicast, reserved scope", 7346),
    ("ff01::", "fff1:*", "multicast, interface-local", 7346),
    ("ff02::", "ff12:*", "multicast, link-local", 7346),
    ("ff03::", "ff33:*", "multicast, realm-local", 7346),
    ("ff04::", "ff74:*", "multicast, admin-local", 7346),
    ("ff05::", "ff15:*", "multicast, site-local", 7346),
    ("ff06::", "ff17:*", "multicast, unassigned scope", 7346),
    ("ff08::", "ff18:*", "multicast, organization-local", 7346),
    ("ff09::", "ff1d:*", "multicast, unassigned scope", 7346),
    ("ff0e::", "ff1e:*", "multicast, global", 7346),
    ("ff0f::", "ffff:*", "multicast, reserved scope", 7346),
    ("fe80::1%eth0", "febf::1%eth0", "link-local", 4291),
];

/// Fills the groups for which `*` stands.
fn last_address(text: &str) -> String {
    let Some(start) = text.strip_suffix(":*") else {
        return text.to_owned();
    };
    let missing = 7 - start.matches(':').count();
    format!("{start}{}", ":ffff".repeat(missing))
}

/// One line of the program.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    number: String,
    text: String,
    kind: String,
}

/// The lines of a program that has ended.
fn answers(program: &Subject) -> Result<Vec<Answer>> {
    let stdout = String::from_utf8(program.stdout()).map_err(Stop::broken)?;
    let mut answers = Vec::new();
    // Not `lines`, which would take away a CR.
    for line in stdout.split_terminator('\n') {
        let columns: Vec<&str> = line.split('\t').collect();
        let [number, text, kind] = columns[..] else {
            return Err(Stop::broken(format_args!(
                "this line has not three columns: {line:?}"
            )));
        };
        answers.push(Answer {
            number: number.to_owned(),
            text: text.to_owned(),
            kind: kind.to_owned(),
        });
    }
    Ok(answers)
}

fn start_with_pipe(script: &Script) -> Result<Rc<Subject>> {
    script.start_with(&Setup {
        stdin: Stdin::Pipe,
        ..Setup::default()
    })
}

/// What it answers to these bytes on stdin.
fn judge(script: &Script, stdin: &[u8]) -> Result<Vec<Answer>> {
    let program = start_with_pipe(script)?;
    program.type_in(stdin)?;
    program.end_stdin();
    expect_an_answer(&program)
}

/// It ends with 0 or 1. Which of them is another promise.
fn expect_an_answer(program: &Subject) -> Result<Vec<Answer>> {
    let ended = wait_for(|| program.has_ended().then_some(()));
    ended.ok_or_else(|| Stop::broken("it has not ended"))?;
    let status = program
        .expect_status(0)
        .or_else(|_| program.expect_status(1));
    status.and_then(|()| answers(program))
}

/// What it answers to these lines.
fn judge_lines(script: &Script, lines: &[String]) -> Result<Vec<Answer>> {
    let stdin: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let answers = judge(script, stdin.as_bytes())?;
    script.step("there is one line for each");
    ensure(
        answers.len() == lines.len(),
        format_args!("{} lines for {}", answers.len(), lines.len()),
    )?;
    Ok(answers)
}

/// Every row as a line of stdin, and once more as an argument, where it can be
/// one.
fn expect_numbers(script: &Script, rows: &[(u8, &[&str])]) -> Result {
    let rows = || {
        rows.iter().flat_map(|(number, texts)| {
            texts.iter().map(|text| (number.to_string(), *text))
        })
    };
    let lines: Vec<_> = rows().filter(|(_, t)| !t.contains('\n')).collect();
    let texts: Vec<String> =
        lines.iter().map(|(_, text)| (*text).to_owned()).collect();
    compare(script, &lines, &judge_lines(script, &texts)?)?;

    let arguments: Vec<_> = rows().filter(|(_, t)| !t.contains('\0')).collect();
    let flags: Vec<&str> = arguments.iter().map(|(_, text)| *text).collect();
    let program = script.start(&flags)?;
    compare(script, &arguments, &expect_an_answer(&program)?)
}

fn compare(
    script: &Script,
    rows: &[(String, &str)],
    answers: &[Answer],
) -> Result {
    script.step("each number is that of Node");
    ensure(
        answers.len() == rows.len(),
        format_args!("{} answers to {}", answers.len(), rows.len()),
    )?;
    for ((number, text), answer) in rows.iter().zip(answers) {
        ensure(
            answer.number == *number,
            format_args!("{text:?} is {number}, it says {answer:?}"),
        )?;
    }
    Ok(())
}

fn judges_ipv4_as_node_does(script: &Script) -> Result {
    expect_numbers(script, IPV4)
}

fn judges_ipv6_as_node_does(script: &Script) -> Result {
    expect_numbers(script, IPV6)
}

fn judges_zones_as_node_does(script: &Script) -> Result {
    expect_numbers(script, ZONES)
}

/// What `net.isIP` returns, by the rules that reproduce all that was measured:
/// written from the grammar, and not from any parser.
pub fn number_by_the_rules(text: &str) -> u8 {
    if is_ipv4(text) {
        return 4;
    }
    let (address, zone_fits) = match text.find('%') {
        Some(at) => (&text[..at], is_zone(&text[at + 1..])),
        None => (text, true),
    };
    if zone_fits && is_ipv6(address) { 6 } else { 0 }
}

fn is_zone(text: &str) -> bool {
    let fits = |byte| {
        matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
            || matches!(byte, b'.' | b':' | b'-')
    };
    !text.is_empty() && text.bytes().all(fits)
}

fn is_ipv4(text: &str) -> bool {
    let octets: Vec<&str> = text.split('.').collect();
    octets.len() == 4
        && octets.iter().all(|octet| {
            matches!(
                octet.as_bytes(),
                [b'0'..=b'9']
                    | [b'1'..=b'9', b'0'..=b'9']
                    | [b'1', b'0'..=b'9', b'0'..=b'9']
                    | [b'2', b'0'..=b'4', b'0'..=b'9']
                    | [b'2', b'5', b'0'..=b'5']
            )
        })
}

fn is_ipv6(text: &str) -> bool {
    let parts: Vec<&str> = text.split("::").collect();
    let n_groups: Option<usize> = parts
        .iter()
        .enumerate()
        .map(|(index, part)| n_groups(part, index + 1 == parts.len()))
        .sum();
    match (parts.len(), n_groups) {
        (1, Some(n_groups)) => n_groups == 8,
        (2, Some(n_groups)) => n_groups <= 7,
        _ => false,
    }
}

/// How many groups stand here; at the end of the address the last two may be
/// written as IPv4.
fn n_groups(part: &str, is_end: bool) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    let groups: Vec<&str> = part.split(':').collect();
    let is_hex = |group: &&str| {
        (1..=4).contains(&group.len())
            && group.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    match groups.split_last() {
        Some((last, others)) if is_end && is_ipv4(last) => {
            others.iter().all(is_hex).then_some(others.len() + 2)
        }
        _ => groups.iter().all(is_hex).then_some(groups.len()),
    }
}

/// What an answer shows of a text without line ends, as the escapes of Rust.
fn shown(text: &str) -> String {
    let escape = |c: char| match c {
        '\'' | '"' => c.to_string(),
        _ => c.escape_debug().to_string(),
    };
    text.chars().map(escape).collect()
}

/// Texts most of which are nearly an address.
fn random_texts(random: &mut fastrand::Rng, n: usize) -> Vec<String> {
    const ALPHABET: &str =
        "0000111122223456789abcdefABCDEF::::....%%g_-/ x\t\u{1b}é１\u{202e}'\\";
    let alphabet: Vec<char> = ALPHABET.chars().collect();
    let known: Vec<&str> = [IPV4, IPV6, ZONES]
        .iter()
        .flat_map(|rows| rows.iter().flat_map(|(_, texts)| *texts))
        .copied()
        .filter(|text| !text.contains('\n'))
        .collect();
    let mut texts = Vec::with_capacity(n);
    for _ in 0..n {
        let mut text: Vec<char> = match random.u8(0..10) {
            0 => Vec::new(),
            1..=3 => {
                let octets = [(); 4].map(|()| random.u16(0..300).to_string());
                octets.join(".").chars().collect()
            }
            4..=5 => {
                let groups: Vec<String> = (0..random.usize(6..10))
                    .map(|_| format!("{:x}", random.u32(0..0x1_1000)))
                    .collect();
                let gap = random.usize(0..groups.len());
                let with_gap = |(i, group): (usize, &String)| match i == gap {
                    true => String::new(),
                    false => group.clone(),
                };
                let groups: Vec<_> =
                    groups.iter().enumerate().map(with_gap).collect();
                groups.join(":").chars().collect()
            }
            _ => known[random.usize(..known.len())].chars().collect(),
        };
        for _ in 0..random.usize(0..4) {
            let at = random.usize(0..=text.len());
            let character = alphabet[random.usize(..alphabet.len())];
            match random.u8(0..3) {
                0 => text.insert(at, character),
                1 if at < text.len() => text[at] = character,
                _ if at < text.len() => drop(text.remove(at)),
                _ => text.push(character),
            }
        }
        texts.push(text.into_iter().collect());
    }
    texts
}

fn agrees_with_the_rules(script: &Script) -> Result {
    let seed = script.seed();
    script.step(format_args!("CHECKS_SEED={seed} makes these texts again"));
    let texts = random_texts(&mut fastrand::Rng::with_seed(seed), 10_000);
    let answers = judge_lines(script, &texts)?;
    script.step("each answer has the number and the text that the rules give");
    let mut of_each: BTreeMap<u8, usize> = BTreeMap::new();
    for (text, answer) in texts.iter().zip(&answers) {
        let number = number_by_the_rules(text);
        *of_each.entry(number).or_default() += 1;
        ensure(
            answer.number == number.to_string() && answer.text == shown(text),
            format_args!("{text:?} is {number}, it says {answer:?}"),
        )?;
    }
    script.step("there were some of each");
    let enough = of_each.len() == 3 && of_each.values().all(|n| *n > 500);
    ensure(enough, format_args!("there were {of_each:?}"))
}

fn names_the_kind(script: &Script) -> Result {
    let mut expected = Vec::new();
    for (first, last, kind, rfc) in IPV4_KINDS {
        for text in [first, last] {
            let kind = format!("{kind} (RFC {rfc})");
            let mapped = format!("IPv4-mapped (RFC 4291): {kind}");
            expected.push((format!("::ffff:{text}"), mapped));
            expected.push(((*text).to_owned(), kind));
        }
    }
    for (first, last, kind, rfc) in IPV6_KINDS {
        for text in [(*first).to_owned(), last_address(last)] {
            expected.push((text, format!("{kind} (RFC {rfc})")));
        }
    }
    expected.push(("localhost".to_owned(), "not an address".to_owned()));
    let texts: Vec<String> =
        expected.iter().map(|(text, _)| text.clone()).collect();
    let answers = judge_lines(script, &texts)?;
    script.step("each kind is right");
    for ((text, kind), answer) in expected.iter().zip(answers) {
        ensure(
            answer.kind == *kind,
            format_args!("{text} is {kind}, it says {answer:?}"),
        )?;
    }
    Ok(())
}

fn takes_arguments_or_lines(script: &Script) -> Result {
    let texts = ["fe80::1%eth0", "127.1", "127.0.0.1"];
    let expected = "6\tfe80::1%eth0\tlink-local (RFC 4291)\n\
        0\t127.1\tnot an address\n\
        4\t127.0.0.1\tloopback (RFC 1122)\n";
    script.step("its stdin stays open, which must not matter");
    let program = script.start_with(&Setup {
        flags: texts.map(str::to_owned).to_vec(),
        stdin: Stdin::Pipe,
        ..Setup::default()
    })?;
    expect_an_answer(&program)?;
    program.expect_stdout(expected.as_bytes())?;

    let program = start_with_pipe(script)?;
    program.type_in(format!("{}\n", texts.join("\n")).as_bytes())?;
    program.end_stdin();
    expect_an_answer(&program)?;
    program.expect_stdout(expected.as_bytes())
}

fn a_line_ends_with_lf_or_cr_lf_or_the_input(script: &Script) -> Result {
    let texts = |answers: Vec<Answer>| {
        let columns = answers.into_iter().map(|a| (a.number, a.text));
        columns.map(|(n, text)| format!("{n} {text}")).collect()
    };
    let cases: [(&[u8], &[&str]); 6] = [
        (b"::1\n127.0.0.1", &["6 ::1", "4 127.0.0.1"]),
        (b"::1\r\n127.0.0.1\r\n", &["6 ::1", "4 127.0.0.1"]),
        (b"\n\r\n::1\n", &["0 ", "0 ", "6 ::1"]),
        (b"::1\r127.0.0.1\n", &["0 ::1\\r127.0.0.1"]),
        (b"::1\r\r\n::1\r", &["0 ::1\\r", "0 ::1\\r"]),
        (b"", &[]),
    ];
    for (stdin, expected) in cases {
        let seen: Vec<String> = texts(judge(script, stdin)?);
        ensure(
            seen == expected,
            format_args!("expected {expected:?}, got {seen:?}"),
        )?;
    }
    // Cut where it hurts: inside an address, and between CR and LF.
    let program = start_with_pipe(script)?;
    program.type_in(b"::1\n127.0")?;
    program.expect_stdout(b"6\t::1\tloopback (RFC 4291)\n")?;
    program.type_in(b".0.1\r")?;
    program.type_in(b"\n")?;
    program.end_stdin();
    let seen: Vec<String> = texts(expect_an_answer(&program)?);
    ensure(
        seen == ["6 ::1", "4 127.0.0.1"],
        format_args!("it got {seen:?}"),
    )
}

fn answers_each_line_as_it_comes(script: &Script) -> Result {
    for stdin in [Stdin::Pipe, Stdin::Terminal] {
        let program = script.start_with(&Setup {
            stdin,
            ..Setup::default()
        })?;
        for (line, answer) in [
            ("::1", "6\t::1\tloopback (RFC 4291)"),
            ("127.1", "0\t127.1\tnot an address"),
        ] {
            program.type_in(format!("{line}\n").as_bytes())?;
            program.expect_story(answer)?;
        }
        // Ctrl-D on an empty line.
        match stdin {
            Stdin::Terminal => program.type_in(b"\x04")?,
            _ => program.end_stdin(),
        }
        program.expect_status(1)?;
    }
    Ok(())
}

/// These bytes as lines give these texts, and none is an address.
fn expect_zeros(script: &Script, cases: &[(&[u8], &str)]) -> Result {
    let lines: Vec<&[u8]> = cases.iter().map(|(bytes, _)| *bytes).collect();
    let mut stdin = lines.join(&b'\n');
    stdin.extend(b"\n::1\n");
    let answers = judge(script, &stdin)?;
    script.step("each is a 0, shown so that one can see it");
    let columns = |answer: &Answer| {
        (
            answer.number.clone(),
            answer.text.clone(),
            answer.kind.clone(),
        )
    };
    let seen: Vec<_> = answers.iter().map(columns).collect();
    let row = |number: &str, text: &str, kind: &str| {
        (number.to_owned(), text.to_owned(), kind.to_owned())
    };
    let mut expected: Vec<_> = cases
        .iter()
        .map(|(_, text)| row("0", text, "not an address"))
        .collect();
    expected.push(row("6", "::1", "loopback (RFC 4291)"));
    ensure(
        seen == expected,
        format_args!("expected {expected:?}, got {seen:?}"),
    )
}

fn bytes_that_are_no_text_are_no_address(script: &Script) -> Result {
    expect_zeros(
        script,
        &[
            (b"\xff\xfe", "\\xff\\xfe"),
            (b"127.0.0.1\xff", "127.0.0.1\\xff"),
            (b"fe80::1%\xe9th", "fe80::1%\\xe9th"),
            // A character that is cut off, and one that is too long.
            (b"::1\xe7\x8f", "::1\\xe7\\x8f"),
            (b"\xc0\xb1.2.3.4", "\\xc0\\xb1.2.3.4"),
            // A real U+FFFD is text, and stays.
            (b"\xef\xbf\xbd", "\u{fffd}"),
        ],
    )
}

fn escapes_what_it_is_given(script: &Script) -> Result {
    expect_zeros(
        script,
        &[
            (
                b"\x1b[2J\x1b]0;title\x07",
                "\\u{1b}[2J\\u{1b}]0;title\\u{7}",
            ),
            (b"::1\tloopback", "::1\\tloopback"),
            (b"::1\r4\t1.2.3.4", "::1\\r4\\t1.2.3.4"),
            (b"\0\x7f\xc2\x9b", "\\0\\u{7f}\\u{9b}"),
            ("\u{202e}1.2.3.4".as_bytes(), "\\u{202e}1.2.3.4"),
            ("\u{feff}::1".as_bytes(), "\\u{feff}::1"),
            (b"\\u{1b}", "\\\\u{1b}"),
            ("'珠' \"é\"".as_bytes(), "'珠' \"é\""),
        ],
    )
}

/// The longest text that is looked at.
const LONGEST: usize = 4096;

fn limits_a_line(script: &Script) -> Result {
    let start = "fe80::1%";
    let of = |length: usize| format!("{start}{}", "a".repeat(length - 8));
    let cut = format!("{start}{} …", "a".repeat(1000 - 8));
    let too_long = format!("longer than {LONGEST} bytes");
    let link_local = "link-local (RFC 4291)";
    let cases = [
        (of(LONGEST), "6", link_local),
        (of(LONGEST + 1), "0", too_long.as_str()),
        (format!("{}\r", of(LONGEST)), "6", link_local),
        (format!("{}\r", of(LONGEST + 1)), "0", &too_long),
        (of(5_000_000), "0", &too_long),
    ];
    // After each, one that is short: what is too long ends with its line.
    let mut stdin = String::new();
    for (text, _, _) in &cases {
        stdin.push_str(&format!("{text}\n::1\n"));
    }
    let answers = judge(script, stdin.as_bytes())?;
    script.step("each is judged, the long ones are cut, and told to be long");
    ensure(answers.len() == 10, format_args!("{} lines", answers.len()))?;
    for (pair, (_, number, kind)) in answers.chunks(2).zip(&cases) {
        let fits = |answer: &Answer, number: &str, text: &str, kind: &str| {
            ensure(
                answer.number == number
                    && answer.text == text
                    && answer.kind == kind,
                format_args!("expected {number} {kind}, got {answer:?}"),
            )
        };
        fits(&pair[0], number, &cut, kind)?;
        fits(&pair[1], "6", "::1", "loopback (RFC 4291)")?;
    }
    script.step("an argument has the same limit");
    let (longest, longer) = (of(LONGEST), of(LONGEST + 1));
    let program = script.start(&[&longest, &longer])?;
    let answers = expect_an_answer(&program)?;
    let numbers: Vec<&str> = answers.iter().map(|a| &*a.number).collect();
    ensure(numbers == ["6", "0"], format_args!("it says {numbers:?}"))
}

fn memory_stays_flat(script: &Script) -> Result {
    const BLOCK: usize = 2 << 20;
    const MOST: u64 = 8 << 20;

    let endless = vec![b'a'; BLOCK];
    let lines = format!("{}\n", "a".repeat(4000)).repeat(BLOCK / 4000);
    for block in [endless.as_slice(), lines.as_bytes()] {
        let program = start_with_pipe(script)?;
        // What it needs for any input, it has after the first block.
        program.type_in(block)?;
        let before = memory(&program)?;
        for _ in 0..8 {
            program.type_in(block)?;
        }
        let grown = memory(&program)?.saturating_sub(before);
        script.step(format_args!("its memory grew by less than {MOST} bytes"));
        ensure(grown < MOST, format_args!("it grew by {grown}"))?;
    }
    Ok(())
}

fn memory(program: &Subject) -> Result<u64> {
    ensure(!program.has_ended(), "it has ended")?;
    kernel::memory(program.pid())
        .ok_or_else(|| Stop::skipped("only Linux shows its memory"))
}

fn status_says_whether_all_are_addresses(script: &Script) -> Result {
    let cases: [(&[&str], i32); 5] = [
        (&["127.0.0.1"], 0),
        (&["127.0.0.1", "::1"], 0),
        (&["127.1"], 1),
        (&["127.1", "127.0.0.1"], 1),
        (&["127.0.0.1", "127.1"], 1),
    ];
    for (texts, status) in cases {
        script.start(texts)?.expect_status(status)?;
        let program = start_with_pipe(script)?;
        program.type_in(format!("{}\n", texts.join("\n")).as_bytes())?;
        program.end_stdin();
        program.expect_status(status)?;
    }
    script.step("stderr stays empty");
    let program = script.start(&["127.1"])?;
    program.expect_status(1)?;
    ensure(program.stderr().is_empty(), program.stderr())
}

fn help_says_what_and_how(script: &Script) -> Result {
    expect_help(script, "TEXT")
}

fn bad_flags_are_misuse(script: &Script) -> Result {
    for flag in ["--no-such-flag", "-x"] {
        let failed = script.start(&[flag, "::1"])?;
        failed.expect_status(2)?;
        let stderr = failed.stderr();
        ensure(
            stderr.starts_with("error: ") && stderr.contains(flag),
            format_args!("expected an error about {flag}, got {stderr:?}"),
        )?;
    }
    Ok(())
}

/// It has answered a line, so it runs, and waits for the next.
fn waiting(script: &Script) -> Result<Rc<Subject>> {
    let program = start_with_pipe(script)?;
    program.type_in(b"127.1\n")?;
    program.expect_stdout(b"0\t127.1\tnot an address\n")?;
    Ok(program)
}

fn ends_in_order_when_asked(script: &Script) -> Result {
    for signal in [Signal::Interrupt, Signal::Terminate] {
        let program = waiting(script)?;
        program.signal(signal)?;
        program.expect_status(0)?;
    }
    Ok(())
}

fn ends_at_once_when_asked_twice(script: &Script) -> Result {
    expect_end_when_asked_twice(|| Ok((waiting(script)?, ())))
}

fn a_closed_stdout_ends_it_quietly(script: &Script) -> Result {
    let program = script.start_with(&Setup {
        stdin: Stdin::Pipe,
        one_line_reader: true,
        ..Setup::default()
    })?;
    program.type_in(b"127.1\n")?;
    program.wait_stdout_closed()?;
    script.step("more lines come, and it ends");
    let ended = || {
        let typed = program.type_in(b"127.1\n");
        (typed.is_err() || program.has_ended()).then_some(())
    };
    wait_for(ended).ok_or_else(|| Stop::broken("it has not ended"))?;
    program.expect_status(0)?;
    script.step("it says nothing about it");
    ensure(program.stderr().is_empty(), program.stderr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_reproduce_all_that_was_measured() {
        let mut n_rows = 0;
        for rows in [IPV4, IPV6, ZONES] {
            for (number, texts) in rows {
                n_rows += texts.len();
                for text in *texts {
                    assert_eq!(number_by_the_rules(text), *number, "{text:?}");
                }
            }
        }
        assert_eq!(n_rows, 113);
    }

    #[test]
    fn the_stretches_of_ipv4_leave_no_gap() {
        use std::net::Ipv4Addr;
        let mut next = Some(0);
        for (first, last, _, _) in IPV4_KINDS {
            let first: Ipv4Addr = first.parse().unwrap();
            let last: Ipv4Addr = last.parse().unwrap();
            assert_eq!(Some(first.to_bits()), next, "{first}");
            next = last.to_bits().checked_add(1);
        }
        assert_eq!(next, None);
    }
}
