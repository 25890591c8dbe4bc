//! The keys of nodes and of the user, and where no key is.

use super::{Home, path};
use builder::error::{Class, Error};
use builder::secrets::credentials::{CredentialError, Credentials, Locations, secret_store};
use builder::secrets::known_hosts::known_hosts;
use builder::secrets::node_keys;
use builder::secrets::prepare::prepare_one;
use builder::secrets::seal::UntrustedSeal;
use builder::secrets::store::Secret;
use builder::site::add_node;
use keys::timestamp::Timestamp;
use std::fs;

#[test]
fn a_planted_key_in_the_store_is_not_a_nodes_key() {
    let home = Home::new();
    home.prepare();
    add_node(&home.site(), &"evil".parse().unwrap(), None).unwrap();
    // Anyone with the admins' public keys can encrypt to them, and name the value as psyops does.
    let mine = keys::issue::identity_file::generate();
    let text = keys::issue::identity_file::text(&mine, Timestamp::from_unix(0));
    let plain = format!("psyops-secret 1 home nodes/evil/age.key\n{}", *text);
    let admins = [home.site().admin_recipients[0].parse().unwrap()];
    let file = keys::issue::encryption::encrypt_armored(&admins, plain.as_bytes()).unwrap();
    fs::create_dir_all(home.at("site/secrets/nodes/evil")).unwrap();
    fs::write(home.at("site/secrets/nodes/evil/age.key.age"), file).unwrap();
    for _ in 0..2 {
        let error = prepare_one(home.locked(), "evil", &home.locations()).unwrap_err();
        assert_eq!(error.class(), Class::Refused, "{error}");
        assert!(error.report().contains(&mine.recipient().to_string()), "{}", error.report());
        assert!(!home.at("site/seals/evil.seal").exists());
    }
}

#[test]
fn the_stored_seal_vouches_for_a_nodes_key_if_there_is_no_note() {
    let home = Home::new();
    let first = home.prepare().seal;
    let notes = home.at("config/home/home.nodes.toml");
    fs::remove_file(&notes).unwrap();
    assert!(home.prepare().seal.reasons.is_empty());
    fs::remove_file(&notes).unwrap();
    fs::remove_file(&first.path).unwrap();
    let error = prepare_one(home.locked(), "demo", &home.locations()).unwrap_err();
    assert_eq!(error.class(), Class::Refused, "{error}");
}

#[test]
fn foreign_credentials_are_refused_by_name() {
    let (home, other) = (Home::new(), Home::new());
    home.prepare();
    let error = Credentials::load(home.site(), &other.locations(), UntrustedSeal::Refuse).unwrap_err();
    assert!(matches!(error, CredentialError::NotAnAdmin { .. }), "{error}");
    let mixed = Locations { identity: home.locations().identity, ..other.locations() };
    let error = Credentials::load(home.site(), &mixed, UntrustedSeal::Refuse).unwrap_err();
    assert!(matches!(error, CredentialError::NotASigner { .. }), "{error}");
    let error = prepare_one(home.locked(), "dema", &home.locations()).unwrap_err();
    assert!(error.to_string().contains("did you mean \"demo\"?"), "{error}");
}

#[test]
fn the_key_of_another_node_is_named() {
    let home = Home::new();
    home.prepare();
    add_node(&home.site(), &"attic".parse().unwrap(), None).unwrap();
    let attic = prepare_one(home.locked(), "attic", &home.locations()).unwrap();
    let store = secret_store(&attic.site).unwrap();
    let secret = Secret::NodeKey("attic".parse().unwrap());
    let key = store.read(&secret, &attic.credentials.identity).unwrap();
    let file = home.at("key");
    fs::write(&file, &*key).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&file, mode).unwrap();
    let demo = prepare_one(home.locked(), "demo", &home.locations()).unwrap();
    let error = demo.identity(Some(&file)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the key in {} is not that of node demo: its public key is {} of node attic, the site has {}",
            file.display(),
            node_keys::recipient(&attic.site, &attic.node).unwrap(),
            node_keys::recipient(&demo.site, &demo.node).unwrap()
        )
    );
    let own = node_keys::identity(&store, &attic.site, &attic.node, &attic.credentials.identity, Some(&file))
        .unwrap();
    assert_eq!(own.recipient(), node_keys::recipient(&attic.site, &attic.node).unwrap());
    let hosts = known_hosts(&attic.site).unwrap();
    let lines: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    assert!(
        lines[0].starts_with("attic ssh-ed25519 ") && lines[1].starts_with("demo ssh-ed25519 "),
        "{lines:?}"
    );
}

#[test]
fn nothing_private_is_in_the_site() {
    let home = Home::new();
    home.prepare();
    let mut folders = vec![home.at("site")];
    while let Some(folder) = folders.pop() {
        #[allow(clippy::disallowed_methods, reason = "the order of looking does not matter")]
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            assert!(!text.contains("AGE-SECRET-KEY-"), "{}", path.display());
            assert!(!text.contains("PRIVATE KEY"), "{}", path.display());
        }
    }
}

#[test]
fn a_missing_secret_is_named() {
    let home = Home::new();
    home.append("nodes/demo.toml", "\n[[file]]\npath = \"wifi\"\nsecret = \"wifi\"\n");
    let error: Error = prepare_one(home.locked(), "demo", &home.locations()).unwrap_err();
    assert_eq!(error.class(), Class::MissingInput);
    assert!(error.to_string().contains("the site has no secret wifi"), "{error}");
    let (site, credentials) =
        Credentials::load(home.site(), &home.locations(), UntrustedSeal::Refuse).unwrap();
    let store = secret_store(&site).unwrap();
    store.write(&Secret::Value("wifi".parse().unwrap()), b"hunter2", &credentials.identity).unwrap();
    let seal = home.prepare().seal;
    assert_eq!(seal.opened.content(&path("wifi")), Some(&b"hunter2"[..]));
}
