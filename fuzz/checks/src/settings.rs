//! `node.toml`, `role.toml` and the rescue network, as the agent and PID 1 read them; and what the builder writes is
//! read.

use handoff::node_settings::NodeSettings;
use handoff::rescue_network::FixedAddress;
use handoff::role_settings::{RoleAction, RoleSettings};

/// Checks one input.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match NodeSettings::decode(text) {
        Ok(node) => {
            let again = NodeSettings::decode(&node.encode()).expect("what is written is read");
            // Not compared with `node`: a number that is not one (`nan`) does not equal itself.
            assert_eq!(again.encode(), node.encode());
            let addresses: Vec<_> = node.network.iter().filter_map(FixedAddress::of).collect();
            let written = FixedAddress::encode_all(addresses.iter().copied());
            let read: Result<Vec<_>, _> = FixedAddress::decode_all(&written).collect();
            assert_eq!(read, Ok(addresses));
        }
        Err(problem) => assert!(!problem.to_string().is_empty()),
    }
    match RoleSettings::decode(text) {
        Ok(role) => {
            if let RoleAction::Command { argv, deadline } = role.action {
                assert!(!argv[0].is_empty() && deadline.is_none_or(|deadline| deadline.get() > 0));
            }
        }
        Err(problem) => {
            assert!(text.get(problem.span()).is_some(), "{problem:?}");
            assert_eq!(problem.in_one_line(text).to_string().lines().count(), 1);
        }
    }
    for address in FixedAddress::decode_all(text).flatten() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
}
