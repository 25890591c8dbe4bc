//! When a node gets a new seal, and which stored seals are refused.

use super::{Home, path};
use builder::error::Class;
use builder::secrets::prepare::prepare_one;
use handoff::manifest::Store as FileStore;
use std::fs;

#[test]
fn a_node_gets_keys_and_a_seal_once() {
    let home = Home::new();
    let first = home.prepare();
    assert!(first.keys_made);
    assert_eq!(first.seal.reasons, ["there was none"]);
    assert_eq!(first.seal.opened.header().generation.number(), 1);
    let second = home.prepare();
    assert!(!second.keys_made && second.seal.reasons.is_empty());
    assert_eq!(second.seal.bytes, first.seal.bytes);
    let manifest = second.seal.opened.manifest();
    let names: Vec<&str> = manifest.entries.iter().map(|entry| entry.path.as_str()).collect();
    for name in ["hostname", "machine-id", "node.toml", "ssh/ssh_host_ed25519_key"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert_eq!(second.seal.opened.content(&path("hostname")), Some(&b"demo\n"[..]));
    assert_eq!(manifest.stored_in(FileStore::Memory).count(), 1);
    let settings = second.seal.opened.content(&path("node.toml")).unwrap();
    let settings: toml::Table = toml::from_str(std::str::from_utf8(settings).unwrap()).unwrap();
    assert_eq!(settings["console"]["login"].as_str(), Some("shell"));
    assert_eq!(settings["format"].as_integer(), Some(1));
}

#[test]
fn a_seal_is_made_again_only_for_a_reason() {
    let home = Home::new();
    home.prepare();
    // A change that is not part of a seal.
    home.append("roles/hello/role.toml", "\n# a comment\n");
    assert!(home.prepare().seal.reasons.is_empty());
    fs::write(home.at("site/motd"), "hello\n").unwrap();
    home.append(
        "nodes/demo.toml",
        "\n[[file]]\npath = \"motd\"\nsource = \"motd\"\nmode = \"0644\"\nkind = \"text\"\n",
    );
    let seal = home.prepare().seal;
    assert_eq!(
        (seal.reasons.as_slice(), seal.opened.header().generation.number()),
        (&["motd is new".into()][..], 2)
    );
    fs::write(home.at("site/motd"), "hallo\n").unwrap();
    let seal = home.prepare().seal;
    assert_eq!(seal.reasons, ["motd changed"]);
    home.replace("nodes/demo.toml", "mode = \"0644\"", "mode = \"0600\"");
    let seal = home.prepare().seal;
    assert_eq!(seal.reasons, ["motd has other settings (mode, owner, store or install)"]);
    assert_eq!(seal.opened.header().generation.number(), 4);
    assert!(home.prepare().seal.reasons.is_empty());
}

#[test]
fn another_admin_is_a_reason() {
    let home = Home::new();
    let first = home.prepare();
    let other = keys::issue::identity_file::generate().recipient();
    let mine = first.site.admin_recipients[0].clone();
    home.replace("site.toml", &format!("\"{mine}\""), &format!("\"{mine}\", \"{other}\""));
    let error = prepare_one(home.locked(), "demo", &home.locations()).unwrap_err();
    assert_eq!(error.class(), Class::Refused);
    assert!(error.report().contains(&other.to_string()), "{}", error.report());
    assert_eq!(fs::read(&first.seal.path).unwrap(), first.seal.bytes, "a seal was made");
    home.accept(&[&other.to_string()]);
    let seal = home.prepare().seal;
    assert_eq!(seal.reasons, ["the admins changed"]);
    assert!(home.prepare().seal.reasons.is_empty());
}

#[test]
fn another_signing_key_is_a_reason() {
    let home = Home::new();
    let first = home.prepare();
    let key = keys::issue::signing::SigningKey::generate().unwrap();
    let file = home.at("config/home/signing.key");
    fs::write(&file, key.text().unwrap().as_bytes()).unwrap();
    let error = prepare_one(home.locked(), "demo", &home.locations()).unwrap_err();
    assert_eq!(error.class(), Class::BadContent);
    // First in addition to the old one, then instead of it.
    let old = first.site.signing_keys[0].as_str().to_owned();
    let new = key.public().as_str();
    home.replace("site.toml", &format!("\"{old}\""), &format!("\"{old}\", \"{new}\""));
    let error = prepare_one(home.locked(), "demo", &home.locations()).unwrap_err();
    assert_eq!(error.class(), Class::Refused);
    home.accept(&[new]);
    assert_eq!(home.prepare().seal.reasons, ["the signing key changed"]);
    home.replace("site.toml", &format!("\"{old}\", "), "");
    home.accept(&[&old]);
    assert!(home.prepare().seal.reasons.is_empty());
    let key = keys::issue::signing::SigningKey::generate().unwrap();
    fs::write(&file, key.text().unwrap().as_bytes()).unwrap();
    home.replace("site.toml", new, key.public().as_str());
    home.accept(&[key.public().as_str(), new]);
    let seal = home.prepare().seal;
    assert_eq!(seal.reasons, ["the site no longer has the key that signed it"]);
    assert_eq!(seal.opened.header().generation.number(), 3);
}

#[test]
fn a_damaged_seal_is_not_silently_replaced() {
    let home = Home::new();
    let prepared = home.prepare();
    let mut bytes = prepared.seal.bytes.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&prepared.seal.path, &bytes).unwrap();
    let error = prepare_one(home.locked(), "demo", &home.locations()).unwrap_err();
    assert_eq!(error.class(), Class::BadContent);
    assert!(error.report().contains("changed after signing"), "{}", error.report());
    assert_eq!(fs::read(&prepared.seal.path).unwrap(), bytes);
}
