//! Raising the floors of generations and releases.

use super::{Home, forged, prepare_all};
use builder::engine;
use builder::error::{Class, Error};
use builder::secrets::prepare::{self, prepare_one};
use builder::secrets::raise::{Raise, RaiseRequest, Raised};
use builder::secrets::seal::SealRequest;
use builder::site::add_node;
use std::fs;

/// Raises a floor and makes no seals.
fn raise(home: &Home, nodes: Option<&[String]>, what: Raise) -> Result<Vec<Raised>, Error> {
    let request = RaiseRequest { what, nodes };
    let (_, raised) =
        prepare::prepare(home.locked(), [], &home.locations(), SealRequest::default(), Some(request))?;
    Ok(raised)
}

/// The generations of the nodes' seals afterwards.
fn generations(home: &Home, nodes: &[&str]) -> Vec<u64> {
    let prepared =
        prepare_all(home.locked(), nodes.iter().copied(), &home.locations(), SealRequest::default()).unwrap();
    prepared.iter().map(|node| node.seal.opened.header().generation.number()).collect()
}

#[test]
fn a_raised_floor_is_above_every_seal_and_new_seals_reach_it() {
    let home = Home::new();
    add_node(&home.site(), &"pi2".parse().unwrap(), None).unwrap();
    assert_eq!(generations(&home, &["demo", "pi2"]), [1, 1]);
    home.append("nodes/pi2.toml", "\n[[network]]\nname = \"eth9\"\ndhcp = true\n");
    assert_eq!(generations(&home, &["demo", "pi2"]), [1, 2]);

    let raised = raise(&home, None, Raise::Generation).unwrap();
    assert_eq!(raised.iter().map(|raised| (raised.from, raised.to)).collect::<Vec<_>>(), [(0, 3)]);
    let site = home.site();
    assert_eq!((site.least_generation, site.floors().for_node(&"demo".parse().unwrap())), (3, 3));
    let demo = prepare_one(home.locked(), "demo", &home.locations()).unwrap();
    assert_eq!(demo.seal.reasons, ["its generation 1 is below least-serial 3"]);
    assert_eq!(generations(&home, &["demo", "pi2"]), [3, 3], "what was made is current");

    let raised = raise(&home, Some(&["pi2".to_owned()]), Raise::Generation).unwrap();
    assert_eq!((raised[0].from, raised[0].to), (3, 4));
    let floors = home.site().floors();
    assert_eq!(["demo", "pi2"].map(|node| floors.for_node(&node.parse().unwrap())), [3, 4]);
    assert_eq!(generations(&home, &["demo", "pi2"]), [3, 4]);
}

#[test]
fn a_raised_floor_is_above_seals_that_are_gone_or_were_put_back() {
    let home = Home::new();
    let first = home.prepare().seal;
    let everything = Some(&["demo".to_owned()][..]);
    let raise_floor = || {
        let raised = raise(&home, everything, Raise::Generation).unwrap();
        (raised[0].from, raised[0].to)
    };
    assert_eq!(raise_floor(), (0, 2));
    let seal_again = |card: &str| {
        home.append("nodes/demo.toml", &format!("\n[[network]]\nname = \"{card}\"\ndhcp = true\n"));
        generations(&home, &["demo"])
    };
    // A node may have the seal of generation 3; the stored seal is again the one of generation 1.
    assert_eq!((seal_again("eth8"), seal_again("eth9")), (vec![2], vec![3]));
    fs::write(&first.path, &first.bytes).unwrap();
    assert_eq!(raise_floor(), (2, 4), "put back");
    // The same if no seal is left.
    assert_eq!((seal_again("eth10"), seal_again("eth11")), (vec![4], vec![5]));
    fs::remove_file(&first.path).unwrap();
    assert_eq!(raise_floor(), (4, 6), "gone");
}

#[test]
fn a_seal_that_its_own_system_would_refuse_is_not_put_into_an_image() {
    let home = Home::new();
    let prepared = home.prepare();
    let site = home.site();
    let mut trust = engine::trust(&site);
    prepared.check_system(&trust).unwrap();
    trust.least_generation.raise("demo".parse().unwrap(), 2);
    let error = prepared.check_system(&trust).unwrap_err();
    assert_eq!(error.class(), Class::Refused);
    assert_eq!(
        error.to_string(),
        "node demo would not start: the seal of node demo has generation 1, this system accepts generation 2 or later: \
         an older seal was put back"
    );
    let mut unreadable = trust.clone();
    unreadable.signing_keys.push("nonsense".into());
    let error = prepared.check_system(&unreadable).unwrap_err();
    assert_eq!(error.class(), Class::BadContent);
    assert_eq!(
        error.to_string(),
        "node demo would not start: its system trusts a key that is not valid: \"nonsense\" is not a minisign public key; \
         expected the second line of a .pub file (RW...)"
    );
    raise(&home, None, Raise::Release).unwrap();
    let asks = home.prepare().check_system(&trust).unwrap_err();
    assert_eq!(
        asks.to_string(),
        "node demo would not start: the seal needs a system of security epoch 1 or later, this one has 0"
    );
}

#[test]
fn a_floor_is_not_raised_above_a_generation_that_jumped() {
    let home = Home::new();
    let first = home.prepare();
    let site_toml = fs::read(home.at("site/site.toml")).unwrap();
    let jumped = 2 + (1 << 32);
    fs::write(&first.seal.path, forged(&home, jumped, &first.credentials.signing)).unwrap();
    let error = raise(&home, None, Raise::Generation).unwrap_err();
    assert_eq!(error.class(), Class::Refused);
    let (path, known) =
        (first.seal.path.display(), "far from the last one of node demo that this workstation knows: 1");
    assert_eq!(error.to_string(), format!("{path} has the generation {jumped}, {known}"));
    assert_eq!(fs::read(home.at("site/site.toml")).unwrap(), site_toml);
}

#[test]
fn the_least_release_is_raised_for_all_nodes_or_for_none() {
    let home = Home::new();
    assert_eq!(home.prepare().seal.opened.header().security_epoch, 0);
    let error = raise(&home, Some(&["demo".to_owned()]), Raise::Release).unwrap_err();
    assert_eq!(error.class(), Class::Refused);
    raise(&home, None, Raise::Release).unwrap();
    let seal = home.prepare().seal;
    assert_eq!((seal.opened.header().security_epoch, seal.opened.header().generation.number()), (1, 2));
    assert_eq!(seal.reasons, ["the security epoch changed"]);
    // An older site.toml is restored. This workstation noted the floor; on another one, the stored seal has it.
    home.replace("site.toml", "security-epoch = 1", "security-epoch = 0");
    let error = raise(&home, None, Raise::Release).unwrap_err();
    assert_eq!(error.class(), Class::Refused);
    let notes = home.locations().signing_key.unwrap().with_file_name("home.nodes.toml");
    fs::remove_file(notes).unwrap();
    let error = raise(&home, None, Raise::Release).unwrap_err();
    assert_eq!(error.class(), Class::Refused);
    // If the user accepts it, seals and releases that nodes may have are still refused.
    home.accept(&["security-epoch=0"]);
    let raised = raise(&home, None, Raise::Release).unwrap();
    assert_eq!((raised[0].from, raised[0].to), (0, 2));
}

#[test]
fn a_floor_far_above_all_generations_is_refused() {
    let home = Home::new();
    let first = home.prepare().seal;
    let text = fs::read_to_string(home.at("site/site.toml")).unwrap();
    let floor = 2 + (1_u64 << 16);
    fs::write(home.at("site/site.toml"), format!("least-serial = {floor}\n{text}")).unwrap();
    let error = prepare_one(home.locked(), "demo", &home.locations()).unwrap_err();
    assert_eq!(error.class(), Class::Refused);
    let expected = format!("site.toml has least-serial {floor}, far above 0, which this workstation used");
    assert!(error.report().contains(&expected));
    assert_eq!(fs::read(&first.path).unwrap(), first.bytes);
    fs::write(home.at("site/site.toml"), format!("least-serial = {}\n{text}", floor - 1)).unwrap();
    assert_eq!(home.prepare().seal.opened.header().generation.number(), floor - 1);
}
