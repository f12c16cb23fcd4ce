//! What the system says, in the words of the labs.

use std::net::ToSocketAddrs;

/// The standard library puts its own words in front of the resolver's, and the
/// help line depends on our knowing them.
#[test]
fn a_failed_look_up_says_so_once() {
    let failed = "nosuch.invalid:80".to_socket_addrs();
    let error = failed.map(drop).unwrap_err();
    assert!(error.to_string().starts_with("failed to lookup address"));
    let reason = text::reason(&error);
    assert!(!reason.contains("lookup"), "{reason}");
}
