//! The rules of the reference, tried on random strings.

use std::net::{IpAddr, Ipv6Addr};

use checks::labs::is_ip::number_by_the_rules;
use proptest::prelude::*;

use crate::address::{kind, parse};

fn number(text: &str) -> u8 {
    match parse(text) {
        Some(IpAddr::V4(_)) => 4,
        Some(IpAddr::V6(_)) => 6,
        None => 0,
    }
}

/// Up to nine groups or octets, with what may stand between and behind them.
/// Most of it is nearly an address.
const NEARLY: &str = concat!(
    "(::)?([0-9]{1,3}[.]|[0-9a-fA-F]{0,5}:){0,9}",
    "[0-9a-f]{0,4}(%[a-z0-9:._-]{0,4})?",
);

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_nearly_an_address_follows_the_rules(text in NEARLY) {
        prop_assert_eq!(number(&text), number_by_the_rules(&text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_text_follows_the_rules(text in any::<String>()) {
        prop_assert_eq!(number(&text), number_by_the_rules(&text));
    }

    #[test]
    fn every_way_to_write_an_ipv6_address_is_a_6(
        bits in any::<u128>(),
        at in 0..8_usize,
        zone in "(%[a-zA-Z0-9.:-]{1,20})?",
    ) {
        let address = Ipv6Addr::from_bits(bits);
        let mut segments = address.segments();
        let groups = segments.map(|segment| format!("{segment:04x}"));
        prop_assert_eq!(number(&(groups.join(":") + &zone)), 6);
        // The two colons in every place, for one group.
        segments[at] = 0;
        let shown = |part: &[u16]| {
            let groups = part.iter().map(|group| format!("{group:X}"));
            groups.collect::<Vec<_>>().join(":")
        };
        let (before, after) = (&segments[..at], &segments[at + 1..]);
        let text = format!("{}::{}", shown(before), shown(after));
        prop_assert_eq!(parse(&text), Some(Ipv6Addr::from(segments).into()));
    }

    #[test]
    fn std_agrees_where_it_has_an_opinion(bits in any::<u32>()) {
        let address = std::net::Ipv4Addr::from_bits(bits);
        let kind = kind(address.into());
        let holds = |said: &str, is_so: bool| kind.starts_with(said) == is_so;
        prop_assert!(holds("private", address.is_private()));
        prop_assert!(holds("loopback", address.is_loopback()));
        prop_assert!(holds("link-local", address.is_link_local()));
        prop_assert!(holds("documentation", address.is_documentation()));
        prop_assert!(holds("multicast,", address.is_multicast()));
    }
}
