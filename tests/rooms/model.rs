//! A room on paper: what everybody in it must have heard.
//!
//! Only the room decides in which order two people have spoken. So one who was
//! there all the time, the witness, gives the order, and everybody else must
//! have heard the same from his coming to his going, but for his own words.

use std::collections::HashMap;

/// A line as a client reads it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Joined {
        name: &'a str,
        n_online: usize,
    },
    Left {
        name: &'a str,
        n_online: usize,
    },
    Renamed {
        from: &'a str,
        to: &'a str,
    },
    Said {
        name: &'a str,
        text: &'a str,
    },
    Private {
        name: &'a str,
        text: &'a str,
    },
    /// For one alone: a welcome, an answer, a refusal, a goodbye.
    Personal,
}

pub(crate) fn parse(line: &str) -> Line<'_> {
    if let Some(rest) = line.strip_prefix("* ") {
        return parse_announcement(rest).unwrap_or(Line::Personal);
    }
    if line.starts_with("! ") || line.starts_with("- ") {
        return Line::Personal;
    }
    match line.split_once(": ") {
        Some((name, text)) => match name.strip_prefix("(private) ") {
            Some(name) => Line::Private { name, text },
            None => Line::Said { name, text },
        },
        None => Line::Personal,
    }
}

fn parse_announcement(text: &str) -> Option<Line<'_>> {
    if let Some((from, to)) = text.split_once(" is now ") {
        return Some(Line::Renamed { from, to });
    }
    let (what, count) = text.strip_suffix(" online)")?.rsplit_once(" (")?;
    let n_online = count.parse().ok()?;
    if let Some(name) = what.strip_suffix(" joined") {
        return Some(Line::Joined { name, n_online });
    }
    let name = what.strip_suffix(" left")?;
    Some(Line::Left { name, n_online })
}

/// One client's time in the room, as the witness saw it.
#[derive(Debug)]
pub(crate) struct Stay {
    name: String,
    /// Between these two lines.
    joined: usize,
    left: usize,
    /// What it said: the lines and the words.
    said: Vec<(usize, String)>,
}

/// Reads what the witness heard, from a time when it was alone until it is
/// alone again.
pub(crate) fn stays(
    witness: &str,
    lines: &[String],
) -> Result<Vec<Stay>, String> {
    let mut present: HashMap<&str, Stay> = HashMap::new();
    let mut gone = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let wrong = |what: &str| Err(format!("{what}, line {index}: {line}"));
        match parse(line) {
            Line::Joined { name, n_online } => {
                let stay = Stay {
                    name: name.to_owned(),
                    joined: index,
                    left: usize::MAX,
                    said: Vec::new(),
                };
                if name == witness || present.insert(name, stay).is_some() {
                    return wrong("who joins is there already");
                }
                if n_online != present.len() + 1 {
                    return wrong("that is not how many there are");
                }
            }
            Line::Left { name, n_online } => {
                let Some(stay) = present.remove(name) else {
                    return wrong("who leaves is not there");
                };
                if n_online != present.len() + 1 {
                    return wrong("that is not how many there are");
                }
                gone.push(Stay {
                    left: index,
                    ..stay
                });
            }
            Line::Renamed { from, to } => {
                let Some(stay) = present.remove(from) else {
                    return wrong("who has a new name is not there");
                };
                if to == witness || present.insert(to, stay).is_some() {
                    return wrong("the new name is somebody's");
                }
            }
            Line::Said { name, text } => match present.get_mut(name) {
                Some(stay) => stay.said.push((index, text.to_owned())),
                None => return wrong("who speaks is not there"),
            },
            Line::Private { .. } | Line::Personal => {}
        }
    }
    match present.into_keys().next() {
        Some(name) => Err(format!("nobody was told that {name} has left")),
        None => Ok(gone),
    }
}

/// How a client's time ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It says goodbye, or ends its stream, and reads to the end.
    InOrder,
    /// It breaks the connection off.
    Reset,
    /// It does not read, and the room puts it out.
    PutOut,
}

/// One client's time in the room, as it saw it itself.
#[derive(Debug)]
pub(crate) struct Life {
    /// What it said begins with this, each time.
    pub(crate) id: String,
    /// Its first name.
    pub(crate) name: String,
    /// What it said to all.
    pub(crate) said: Vec<String>,
    /// All it heard after its coming was announced.
    pub(crate) heard: Vec<String>,
    pub(crate) end: End,
}

/// What each has heard and said is what the witness has heard.
pub(crate) fn compare(
    witness: &str,
    lines: &[String],
    lives: &[Life],
) -> Result<(), String> {
    let mut stays = stays(witness, lines)?;
    let mut unspoken = Vec::new();
    for life in lives {
        let is_its = |stay: &Stay| {
            let first = stay.said.first();
            first.is_some_and(|(_, text)| {
                text.strip_prefix(&life.id)
                    .is_some_and(|it| it.starts_with(' '))
            })
        };
        match stays.iter().position(is_its) {
            Some(index) => one(lines, &stays.swap_remove(index), life)?,
            None => unspoken.push(life),
        }
    }
    // Of a reset nothing may be left but coming and going.
    for life in unspoken {
        let mut why = format!("{} of {} was never there", life.name, life.id);
        let mut fitting = None;
        for (index, stay) in stays.iter().enumerate() {
            if stay.name == life.name {
                match one(lines, stay, life) {
                    Ok(()) => fitting = Some(index),
                    Err(wrong) => why = wrong,
                }
            }
        }
        stays.swap_remove(fitting.ok_or(why)?);
    }
    match stays.first() {
        Some(stay) => Err(format!("nobody was {stay:?}")),
        None => Ok(()),
    }
}

fn one(lines: &[String], stay: &Stay, life: &Life) -> Result<(), String> {
    let in_full = life.end == End::InOrder;
    let is_own =
        |index: usize| stay.said.iter().any(|(line, _)| *line == index);
    let expected = (stay.joined + 1..stay.left)
        .filter(|index| !is_own(*index))
        .map(|index| lines[index].as_str())
        .filter(|line| is_public(line));
    let heard = life.heard.iter().map(String::as_str);
    same(
        "heard",
        life,
        expected,
        heard.filter(|it| is_public(it)),
        in_full,
    )?;

    let said = life.said.iter().map(String::as_str);
    let arrived = stay.said.iter().map(|(_, text)| text.as_str());
    same("said", life, said, arrived, in_full)?;

    let last = life.heard.last().map(String::as_str).unwrap_or_default();
    if life.end == End::PutOut && !last.starts_with("! ") {
        return Err(format!("{} was put out without a notice", life.id));
    }
    Ok(())
}

fn is_public(line: &str) -> bool {
    !matches!(parse(line), Line::Private { .. } | Line::Personal)
}

/// The second is the first, or, if that was not to be had in full, its
/// beginning.
fn same<'a>(
    what: &str,
    life: &Life,
    expected: impl Iterator<Item = &'a str>,
    found: impl Iterator<Item = &'a str>,
    in_full: bool,
) -> Result<(), String> {
    let expected: Vec<&str> = expected.collect();
    let found: Vec<&str> = found.collect();
    let is_right = match in_full {
        true => found == expected,
        false => expected.starts_with(&found),
    };
    if is_right {
        return Ok(());
    }
    let pairs = expected.iter().zip(&found);
    let at = pairs.take_while(|(a, b)| a == b).count();
    let Life { id, name, end, .. } = life;
    Err(format!(
        "{name} of {id}, {end:?}, {what}: of {} lines the first {at} are right; \
         {:?} was expected, {:?} found",
        expected.len(),
        expected.get(at),
        found.get(at),
    ))
}

/// Whatever one has heard from another comes in the order in which it was said,
/// privately or to all. Words end in `#` and their number.
pub(crate) fn order_is_kept(life: &Life) -> Result<(), String> {
    let mut last: HashMap<&str, u64> = HashMap::new();
    for line in &life.heard {
        let (Line::Said { text, .. } | Line::Private { text, .. }) =
            parse(line)
        else {
            continue;
        };
        let id = text.split(' ').next().unwrap_or_default();
        let number = text.rsplit_once('#').and_then(|(_, it)| it.parse().ok());
        let Some(number) = number else { continue };
        if last
            .insert(id, number)
            .is_some_and(|before| before >= number)
        {
            return Err(format!(
                "{} heard too late, or twice: {line}",
                life.id
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITNESSED: &[&str] = &[
        "* ann joined (2 online)",
        "ann: a hello",
        "* bob joined (3 online)",
        "bob: b hello",
        "ann: a one",
        "* bob is now rob",
        "* rob left (2 online)",
        "* ann left (1 online)",
    ];

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    fn ann() -> Life {
        Life {
            id: "a".into(),
            name: "ann".into(),
            said: lines(&["a hello", "a one"]),
            heard: lines(&[
                "* bob joined (3 online)",
                "bob: b hello",
                "* bob is now rob",
                "* rob left (2 online)",
                "* bye",
            ]),
            end: End::InOrder,
        }
    }

    fn bob() -> Life {
        Life {
            id: "b".into(),
            name: "bob".into(),
            said: lines(&["b hello"]),
            heard: lines(&["ann: a one", "* bob is now rob"]),
            end: End::InOrder,
        }
    }

    fn judge(witnessed: &[&str], lives: &[Life]) -> Result<(), String> {
        compare("witness", &lines(witnessed), lives)
    }

    fn without(line: &str) -> Vec<&'static str> {
        WITNESSED.iter().copied().filter(|it| *it != line).collect()
    }

    #[test]
    fn what_happened_is_right() {
        assert_eq!(judge(WITNESSED, &[ann(), bob()]), Ok(()));
    }

    #[test]
    fn a_line_lost_to_one_is_seen() {
        let mut ann = ann();
        ann.heard.remove(1);
        judge(WITNESSED, &[ann, bob()]).unwrap_err();
    }

    #[test]
    fn a_line_lost_to_all_is_seen() {
        let mut bob = bob();
        bob.heard.remove(0);
        judge(&without("ann: a one"), &[ann(), bob]).unwrap_err();
    }

    #[test]
    fn a_line_told_twice_is_seen() {
        let mut bob = bob();
        bob.heard.insert(0, "ann: a one".into());
        judge(WITNESSED, &[ann(), bob]).unwrap_err();
    }

    #[test]
    fn ones_own_words_are_not_for_oneself() {
        let mut bob = bob();
        bob.heard.insert(0, "bob: b hello".into());
        judge(WITNESSED, &[ann(), bob]).unwrap_err();
    }

    #[test]
    fn a_leave_that_was_forgotten_is_seen() {
        let without = without("* rob left (2 online)");
        judge(&without, &[ann(), bob()]).unwrap_err();
        stays("witness", &lines(&without)).unwrap_err();
    }

    #[test]
    fn a_leave_told_twice_is_seen() {
        let mut twice = lines(WITNESSED);
        twice.push("* ann left (1 online)".into());
        stays("witness", &twice).unwrap_err();
    }

    #[test]
    fn a_wrong_number_is_seen() {
        let wrong = lines(&["* ann joined (3 online)"]);
        stays("witness", &wrong).unwrap_err();
    }

    #[test]
    fn after_a_reset_the_rest_may_be_missing() {
        let mut ann = ann();
        ann.end = End::Reset;
        ann.heard.truncate(2);
        ann.said.push("a line that was lost".into());
        assert_eq!(judge(WITNESSED, &[ann, bob()]), Ok(()));
    }

    #[test]
    fn after_a_reset_the_middle_may_not_be_missing() {
        let mut ann = ann();
        ann.end = End::Reset;
        ann.heard.remove(1);
        judge(WITNESSED, &[ann, bob()]).unwrap_err();
    }

    #[test]
    fn who_is_put_out_must_be_told() {
        let mut ann = ann();
        ann.end = End::PutOut;
        judge(WITNESSED, &[ann, bob()]).unwrap_err();
    }

    #[test]
    fn nobody_may_be_made_up() {
        judge(WITNESSED, &[ann()]).unwrap_err();
    }

    #[test]
    fn the_order_of_one_speaker_is_kept() {
        let mut bob = bob();
        bob.heard = lines(&["ann: a x #1", "(private) ann: a y #2"]);
        assert_eq!(order_is_kept(&bob), Ok(()));
        bob.heard.swap(0, 1);
        order_is_kept(&bob).unwrap_err();
    }
}
