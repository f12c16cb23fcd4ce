//! What is an address, and of which kind. No input and no output.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

// ANCHOR: parse
/// The address that `text` is, by the rules of Node's `net.isIP`.
pub(crate) fn parse(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    // `fe80::1%eth0`: the zone says on which link. IPv4 has none, and std
    // takes none.
    let (address, zone) = text.split_once('%')?;
    let address: Ipv6Addr = address.parse().ok()?;
    is_zone(zone).then_some(IpAddr::V6(address))
}

/// Node takes these characters. The kernel would take others, too: an
/// interface may be called `my_link`.
fn is_zone(zone: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".:-".contains(c);
    !zone.is_empty() && zone.chars().all(fits)
}
// ANCHOR_END: parse

// ANCHOR: kind
/// What the address is for, and the RFC that says so.
pub(crate) fn kind(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => kind4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(inner) => format!("{}: {}", kind6(address), kind4(inner)),
            None => kind6(address),
        },
    }
}

fn kind4(address: Ipv4Addr) -> String {
    let is_in = |first: [u8; 4], prefix| {
        let differs = address.to_bits() ^ u32::from_be_bytes(first);
        differs.leading_zeros() >= prefix
    };
    let block = V4.iter().find(|block| is_in(block.0, block.1));
    // The registry lists what is special. The rest is everybody's.
    let (_, _, kind, rfc) = block.unwrap_or(&([0; 4], 0, "global", 6890));
    format!("{kind} (RFC {rfc})")
}

fn kind6(address: Ipv6Addr) -> String {
    let is_in = |first: [u16; 8], prefix| {
        let differs = address.to_bits() ^ Ipv6Addr::from(first).to_bits();
        differs.leading_zeros() >= prefix
    };
    let block = V6.iter().find(|block| is_in(block.0, block.1));
    let (_, _, kind, rfc) = block.unwrap_or(&([0; 8], 0, "unassigned", 4291));
    if address.is_multicast() {
        // ff02 and ff12 differ in a flag, not in how far a packet goes.
        let scope = SCOPES[usize::from(address.segments()[0] & 0xf)];
        return format!("{kind}, {scope} (RFC {rfc})");
    }
    format!("{kind} (RFC {rfc})")
}
// ANCHOR_END: kind

// ANCHOR: blocks
/// First address, length of the prefix, kind, RFC. From the IANA IPv4
/// Special-Purpose Address Registry (RFC 6890) and, from 224.0.0.0 on, the
/// multicast registry (RFC 5771). The first row that fits counts, so a block
/// stands above the one around it.
//
// NOTE: inside 192.0.0.0/24 the registry has single addresses with a meaning
// of their own. A firewall would list them; here they are one block.
#[rustfmt::skip]
const V4: &[([u8; 4], u32, &str, u16)] = &[
    ([0, 0, 0, 0], 32, "unspecified", 1122),
    ([0, 0, 0, 0], 8, "this network", 791),
    ([10, 0, 0, 0], 8, "private", 1918),
    ([100, 64, 0, 0], 10, "shared address space", 6598),
    ([127, 0, 0, 0], 8, "loopback", 1122),
    ([169, 254, 0, 0], 16, "link-local", 3927),
    ([172, 16, 0, 0], 12, "private", 1918),
    ([192, 0, 0, 0], 24, "protocol assignments", 6890),
    ([192, 0, 2, 0], 24, "documentation", 5737),
    ([192, 31, 196, 0], 24, "AS112 name servers", 7535),
    ([192, 52, 193, 0], 24, "multicast tunnels (AMT)", 7450),
    ([192, 88, 99, 0], 24, "6to4 relays, deprecated", 7526),
    ([192, 168, 0, 0], 16, "private", 1918),
    ([192, 175, 48, 0], 24, "AS112 name servers", 7534),
    ([198, 18, 0, 0], 15, "benchmarking", 2544),
    ([198, 51, 100, 0], 24, "documentation", 5737),
    ([203, 0, 113, 0], 24, "documentation", 5737),
    ([224, 0, 0, 0], 24, "multicast, local network control block", 5771),
    ([224, 0, 1, 0], 24, "multicast, internetwork control block", 5771),
    ([224, 0, 0, 0], 16, "multicast, ad-hoc block", 5771),
    ([224, 2, 0, 0], 16, "multicast, session announcements", 5771),
    ([224, 3, 0, 0], 16, "multicast, ad-hoc block", 5771),
    ([224, 4, 0, 0], 16, "multicast, ad-hoc block", 5771),
    ([232, 0, 0, 0], 8, "multicast, source-specific", 4607),
    ([233, 252, 0, 0], 24, "multicast, documentation", 6676),
    ([233, 252, 0, 0], 14, "multicast, ad-hoc block", 5771),
    ([233, 0, 0, 0], 8, "multicast, by AS number (GLOP)", 3180),
    ([234, 0, 0, 0], 8, "multicast, by unicast prefix", 6034),
    ([239, 0, 0, 0], 8, "multicast, administratively scoped", 2365),
    ([224, 0, 0, 0], 4, "multicast, reserved", 5771),
    ([255, 255, 255, 255], 32, "limited broadcast", 919),
    ([240, 0, 0, 0], 4, "reserved", 1112),
];

/// The same for IPv6: the IANA IPv6 Special-Purpose Address Registry, and
/// what RFC 4291 says of the rest.
#[rustfmt::skip]
const V6: &[([u16; 8], u32, &str, u16)] = &[
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified", 4291),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback", 4291),
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped", 4291),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, "IPv4-compatible, deprecated", 4291),
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "IPv4 behind NAT64", 6052),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "NAT64 of one's own", 8215),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard-only", 6666),
    ([0x100, 0, 0, 1, 0, 0, 0, 0], 64, "dummy", 9780),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo", 4380),
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, "benchmarking", 5180),
    ([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, "multicast tunnels (AMT)", 7450),
    ([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, "AS112 name servers", 7535),
    ([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, "ORCHID, deprecated", 4843),
    ([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, "ORCHIDv2", 7343),
    ([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, "drone remote ID", 9374),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "protocol assignments", 2928),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation", 3849),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4", 3056),
    ([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, "AS112 name servers", 7534),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation", 9637),
    ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, "global", 4291),
    ([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing", 9602),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local", 4193),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local", 4291),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local, deprecated", 3879),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast", 7346),
];

/// How far an IPv6 multicast packet goes: the fourth hex digit of the group.
const SCOPES: [&str; 16] = [
    "reserved scope",
    "interface-local",
    "link-local",
    "realm-local",
    "admin-local",
    "site-local",
    "unassigned scope",
    "unassigned scope",
    "organization-local",
    "unassigned scope",
    "unassigned scope",
    "unassigned scope",
    "unassigned scope",
    "unassigned scope",
    "global",
    "reserved scope",
];
// ANCHOR_END: blocks
