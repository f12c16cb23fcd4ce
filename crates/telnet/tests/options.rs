//! What is said to a client that negotiates.

use proptest::prelude::*;
use telnet_codec::Verb::{Do, Dont, Will, Wont};
use telnet_codec::{Options, Verb, option};

const ACCEPTED: &[u8] = &[option::NAWS];

#[test]
fn all_is_refused_but_what_is_accepted_and_a_timing_mark() {
    for option in 0..=255 {
        let mut options = Options::new(ACCEPTED);
        let is_accepted = option == option::NAWS;
        let verb = if is_accepted { Do } else { Dont };
        assert_eq!(options.answer(Will, option), Some((verb, option)));
        assert_eq!(options.is_on(option), is_accepted);
        let is_mark = option == option::TIMING_MARK;
        let verb = if is_mark { Will } else { Wont };
        for _ in 0..3 {
            assert_eq!(options.answer(Do, option), Some((verb, option)));
        }
    }
}

#[test]
fn an_order_is_three_bytes() {
    assert_eq!(Will.of(option::TIMING_MARK), [0xff, 0xfb, 0x06]);
    assert_eq!(Wont.of(option::ECHO), [0xff, 0xfc, 0x01]);
    assert_eq!(Do.of(option::BINARY), [0xff, 0xfd, 0x00]);
    assert_eq!(Dont.of(option::SGA), [0xff, 0xfe, 0x03]);
}

#[test]
fn what_changes_nothing_is_not_answered() {
    let mut options = Options::new(ACCEPTED);
    assert_eq!(options.answer(Wont, option::NAWS), None);
    assert_eq!(options.answer(Dont, option::ECHO), None);
    assert_eq!(options.ask(option::NAWS), Some((Do, option::NAWS)));
    assert_eq!(options.ask(option::NAWS), None);
    // This answers us.
    assert_eq!(options.answer(Will, option::NAWS), None);
    assert_eq!(options.answer(Will, option::NAWS), None);
    assert_eq!(options.ask(option::NAWS), None);
    assert_eq!(
        options.answer(Wont, option::NAWS),
        Some((Dont, option::NAWS))
    );
    assert_eq!(options.answer(Wont, option::NAWS), None);
    // It may change its mind, but is not asked again.
    assert_eq!(options.ask(option::NAWS), None);
    assert_eq!(options.answer(Will, option::NAWS), Some((Do, option::NAWS)));
    assert_eq!(options.ask(option::ECHO), None);
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![Just(Will), Just(Wont), Just(Do), Just(Dont)]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Two servers of ours that were connected to each other, and a client
    /// that sends back whatever it gets, fall silent.
    #[test]
    fn no_answer_goes_round_for_ever(
        start in verb(),
        option in any::<u8>(),
        is_mirror in any::<bool>(),
    ) {
        let mut sides = [Options::new(ACCEPTED), Options::new(ACCEPTED)];
        let mut word = Some((start, option));
        let mut n_answers = 0;
        while let Some((verb, option)) = word {
            let side = if is_mirror { 0 } else { n_answers % 2 };
            word = sides[side].answer(verb, option);
            n_answers += 1;
            prop_assert!(n_answers < 6);
        }
    }
}
