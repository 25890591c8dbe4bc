//! The generation of a new seal is above every one that its node may have seen.

use super::{Home, forged, prepare_all};
use builder::error::{Class, Error};
use builder::secrets::prepare::{Prepared, prepare_one};
use builder::secrets::seal::{SealRequest, UntrustedSeal};
use std::fs;

fn replace_seal(home: &Home, above: Option<u64>) -> Result<Prepared, Error> {
    let above = above.map(|generation| keys::seal::header::Generation::new(generation).unwrap());
    let mut all = prepare_all(
        home.locked(),
        ["demo"],
        &home.locations(),
        SealRequest { untrusted: UntrustedSeal::Replace, above },
    )?;
    Ok(all.pop().unwrap())
}

#[test]
fn the_generation_of_an_unknown_signer_is_not_used() {
    let home = Home::new();
    let path = home.prepare().seal.path;
    fs::write(&path, forged(&home, u64::MAX - 1, &keys::issue::signing::SigningKey::generate().unwrap()))
        .unwrap();
    let error = prepare_one(home.locked(), "demo", &home.locations()).unwrap_err();
    assert_eq!(error.class(), Class::BadContent);
    assert!(error.to_string().contains("is not a valid seal of node demo"), "{error}");
    assert!(error.advice().unwrap().contains("psyops seal --node demo --replace"), "{error}");
    let seal = replace_seal(&home, None).unwrap().seal;
    assert_eq!(seal.opened.header().generation.number(), 2);
    assert_eq!(seal.reasons, ["the stored one was not valid"]);
    assert!(home.prepare().seal.reasons.is_empty());
}

#[test]
fn a_jump_of_the_generation_is_refused_even_under_the_right_signature() {
    let home = Home::new();
    let first = home.prepare();
    let highest = 1 + (1 << 32);
    fs::write(&first.seal.path, forged(&home, highest + 1, &first.credentials.signing)).unwrap();
    let error = prepare_one(home.locked(), "demo", &home.locations()).unwrap_err();
    assert_eq!(error.class(), Class::Refused);
    assert_eq!(
        error.to_string(),
        format!(
            "{} has the generation {}, far from the last one of node demo that this workstation knows: 1",
            first.seal.path.display(),
            highest + 1
        )
    );
    assert_eq!(replace_seal(&home, None).unwrap().seal.opened.header().generation.number(), 2);
    // One lower is the highest generation that is accepted, as it is the largest step.
    fs::write(&first.seal.path, forged(&home, highest + 1, &first.credentials.signing)).unwrap();
    assert_eq!(home.prepare().seal.opened.header().generation.number(), highest + 2);
}

#[test]
fn a_seal_that_was_removed_or_put_back_does_not_lower_the_generation() {
    let home = Home::new();
    let first = home.prepare().seal;
    home.append("nodes/demo.toml", "\n[[file]]\npath = \"motd\"\nsource = \"motd\"\n");
    fs::write(home.at("site/motd"), "hello\n").unwrap();
    assert_eq!(home.prepare().seal.opened.header().generation.number(), 2);
    fs::write(&first.path, &first.bytes).unwrap();
    assert_eq!(home.prepare().seal.opened.header().generation.number(), 3);
    fs::remove_file(&first.path).unwrap();
    assert_eq!(home.prepare().seal.opened.header().generation.number(), 4);
}

#[test]
fn without_a_known_generation_a_seal_is_replaced_only_above_a_named_one() {
    let home = Home::new();
    let path = home.prepare().seal.path;
    fs::write(&path, "garbage").unwrap();
    fs::remove_file(home.at("config/home/home.nodes.toml")).unwrap();
    let key = home.site().node("demo").unwrap().recipient.clone().unwrap();
    let host_key = fs::read_to_string(home.at("site/secrets/nodes/demo/ssh_host_ed25519_key.pub")).unwrap();
    // The seal that cannot be read remains, and is not accepted.
    let remaining = home.accept_some(&[&key, host_key.split(' ').nth(1).unwrap()]).remaining;
    assert_eq!(
        remaining.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "seals/demo.seal cannot be used, and nothing else here says what is right: this is not a seal: it does not begin \
             with \"psyops-seal 1\""
        ]
    );
    let error = replace_seal(&home, None).unwrap_err();
    assert_eq!(error.class(), Class::MissingInput);
    assert!(error.advice().unwrap().contains("--above GENERATION"), "{error}");
    assert_eq!(replace_seal(&home, Some(7)).unwrap().seal.opened.header().generation.number(), 8);
}

#[test]
fn a_seal_goes_above_what_its_node_has_seen() {
    let home = Home::new();
    home.prepare();
    let above = |generation| {
        let request = SealRequest {
            above: Some(keys::seal::header::Generation::new(generation).unwrap()),
            ..SealRequest::default()
        };
        let all = prepare_all(home.locked(), ["demo"], &home.locations(), request);
        all.map(|mut all| all.pop().unwrap().seal)
    };
    let seal = above(9).unwrap();
    assert_eq!(seal.opened.header().generation.number(), 10);
    assert_eq!(seal.reasons, ["its generation 1 is not above 9"]);
    assert!(above(9).unwrap().reasons.is_empty(), "it is above now");
    assert!(home.prepare().seal.reasons.is_empty());
    let far = 11 + (1_u64 << 32);
    let error = above(far).unwrap_err();
    assert_eq!(error.class(), Class::Refused);
    assert_eq!(
        error.to_string(),
        format!(
            "--above {far} is far above the last generation of node demo that this workstation knows: 10"
        )
    );
    assert_eq!(home.prepare().seal.opened.header().generation.number(), 10, "nothing was made");
}
