use super::*;
use crate::hardening::{Modules, Who};
use alloc::string::{String, ToString as _};

use proptest::prelude::*;

const FULL: &str = include_str!("sample.toml");

#[test]
fn all_keys_are_read() {
    let node = NodeSettings::decode(FULL).unwrap();
    assert_eq!((node.site.as_str(), node.name.as_str(), node.base), ("lab", "node-1", BaseKind::Micro));
    assert_eq!(node.login.hash().unwrap().as_str(), "$6$salt$0123456789abcdef");
    assert_eq!(node.configure, ConfigureLimits { deadline: NonZeroU32::new(7).unwrap(), retries: 1 });
    let hardening = Hardening { user_namespaces: Who::All, modules: Modules::Closed, ..Hardening::default() };
    assert_eq!(node.hardening, hardening);
    let card = &node.network[0];
    assert_eq!(card.mac.unwrap().to_string(), "52:54:00:ab:cd:ef");
    assert_eq!(card.addresses[1].to_string(), "2001:db8::1/64");
}

#[test]
fn defaults_apply_if_the_site_sets_nothing() {
    let node = NodeSettings::decode("format = 1\nsite = 'a'\nnode = 'b'\nbase = 'debian'").unwrap();
    assert_eq!((&node.login, node.configure), (&ConsoleLogin::Off, ConfigureLimits::default()));
    assert_eq!((node.configure.deadline.get(), node.configure.retries), (600, 3));
    assert_eq!(node.hardening, Hardening::default());
    assert!(node.roles.is_empty() && node.network.is_empty());
}

#[test]
fn each_wrong_value_is_named() {
    for (from, to, wanted) in [
        ("format = 1", "format = 2", "format"),
        ("\"lab\"", "\"La b\"", "site"),
        ("\"micro\"", "\"tiny\"", "base"),
        ("[\"hello\"]", "[\"../x\"]", "roles"),
        ("greeting", "node", "variables"),
        ("lan0", "a-very-long-card-name", "network.name"),
        ("AB:cd:ef", "AB:cd", "network.mac"),
        ("10/24", "10/33", "network.addresses"),
        ("\"192.0.2.1\"", "\"lan\"", "network.gateway"),
        ("192.0.2.53", "192.0.2.53/24", "network.dns"),
        ("\"password\"", "\"shell\"", "console.login"),
        ("\"password\"", "\"open\"", "console.login"),
        ("$6$", "", "console.password-hash"),
        ("deadline = 7", "deadline = 0", "configure.deadline"),
        ("\"all\"", "\"some\"", "hardening"),
        ("modules =", "modulus =", "hardening"),
    ] {
        assert!(FULL.contains(from), "{from}");
        match NodeSettings::decode(&FULL.replace(from, to)) {
            Err(BadNodeSettings::Value { key, .. }) => assert_eq!(key, wanted),
            other => panic!("{wanted}: {other:?}"),
        }
    }
}

#[test]
fn a_password_hash_is_not_repeated() {
    let error = NodeSettings::decode(&FULL.replace("$6$", "hunter2")).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn an_unknown_key_is_an_error() {
    let error = NodeSettings::decode(&FULL.replace("retries", "retrys")).unwrap_err();
    assert!(matches!(error, BadNodeSettings::Syntax(_)), "{error}");
}

fn settings() -> impl Strategy<Value = NodeSettings> {
    let name = "[a-z][a-z0-9]{0,8}";
    let value = prop_oneof![
        any::<String>().prop_map(toml::Value::String),
        any::<i64>().prop_map(toml::Value::Integer),
        any::<bool>().prop_map(toml::Value::Boolean),
    ];
    let value = value.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(toml::Value::Array),
            proptest::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|table| toml::Value::Table(table.into_iter().collect())),
        ]
    });
    let variables = proptest::collection::btree_map("[^/]{0,6}x", value, 0..4);
    let logins = prop_oneof![
        Just(ConsoleLogin::Off),
        Just(ConsoleLogin::Shell),
        "[$][!#-9;-\\[\\]-~]{12,40}".prop_map(|hash| ConsoleLogin::Password(hash.parse().unwrap())),
    ];
    let words = (0..2_usize, 0..3_usize, 0..4_usize, 0..3_usize, 0..2_usize, 0..2_usize);
    (
        (name, name, 0..4_usize),
        proptest::collection::vec(name, 0..4),
        variables,
        proptest::collection::vec(card(), 0..3),
        logins,
        (1..=u32::MAX, any::<u32>()),
        words,
    )
        .prop_map(
            |((site, node, base), roles, variables, network, login, (deadline, retries), words)| {
                NodeSettings {
                    site: site.parse().unwrap(),
                    name: node.parse().unwrap(),
                    base: BaseKind::ALL[base],
                    roles: roles.iter().map(|role| role.parse().unwrap()).collect(),
                    variables: variables.into_iter().collect(),
                    network,
                    login,
                    configure: ConfigureLimits { deadline: NonZeroU32::new(deadline).unwrap(), retries },
                    hardening: Hardening {
                        kernel_log: Who::WORDS[words.0].1,
                        kernel_addresses: Who::WORDS[words.1].1,
                        trace: crate::hardening::Trace::WORDS[words.2].1,
                        user_namespaces: Who::WORDS[words.3].1,
                        bpf: Who::WORDS[words.4].1,
                        modules: Modules::WORDS[words.5].1,
                    },
                }
            },
        )
}

fn card() -> impl Strategy<Value = Card> {
    let mac = proptest::option::of(any::<[u8; 6]>());
    let ip = any::<core::net::IpAddr>();
    let address = (ip, 0..=32_u8).prop_map(|(ip, prefix)| alloc::format!("{ip}/{prefix}").parse().unwrap());
    let gateway = proptest::option::of(any::<core::net::IpAddr>());
    let dns = proptest::collection::vec(any::<core::net::IpAddr>(), 0..3);
    ("[a-z0-9_-]{1,15}", mac, any::<bool>(), proptest::collection::vec(address, 0..3), gateway, dns).prop_map(
        |(name, mac, dhcp, addresses, gateway, dns)| Card {
            name: name.parse().unwrap(),
            mac: mac
                .map(|octets| octets.map(|octet| alloc::format!("{octet:02X}")).join(":").parse().unwrap()),
            dhcp,
            addresses,
            gateway,
            dns,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]
    #[test]
    fn a_written_value_is_read_back(node in settings()) {
        let text = node.encode();
        prop_assert_eq!(NodeSettings::decode(&text), Ok(node), "{}", text);
    }
}

#[test]
fn the_text_is_the_same_each_time() {
    let node = NodeSettings::decode(FULL).unwrap();
    let text = node.encode();
    assert!(text.starts_with("# Made by the site lab for the node node-1; a copy in memory.\n"), "{text}");
    assert_eq!(NodeSettings::decode(&text).unwrap().encode(), text);
}
