//! Searches files that a script could have left.

use super::*;

fn tree_with(path: &str, content: &[u8]) -> LayeredTree {
    let mut tree = LayeredTree::new();
    tree.insert_file(path, 0o644, content.to_vec()).unwrap();
    tree
}

fn found(content: &[u8]) -> Option<Find> {
    let tree = tree_with("etc/somewhere/else", content);
    let found = search_tree(&tree, &BTreeSet::new(), &Machine::default(), None).unwrap();
    assert!(found.iter().all(|leftover| leftover.path == "etc/somewhere/else"));
    found.into_iter().next().map(|leftover| leftover.find)
}

/// Bytes like those of a random seed, the same in every run.
fn random(length: usize) -> Vec<u8> {
    (0..length.div_ceil(32))
        .flat_map(|block| *Sha256Digest::of(format!("{block}").as_bytes()).as_bytes())
        .take(length)
        .collect()
}

#[test]
fn keys_ids_and_seeds_are_found_wherever_they_are() {
    for (content, find) in [
        ("x\n-----BEGIN OPENSSH PRIVATE KEY-----\n", Find::Key("a private key (PEM, OpenSSH)")),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", Find::Key("a private key (PEM, OpenSSH)")),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n", Find::Key("a private key (OpenPGP)")),
        ("(11:private-key(3:rsa", Find::Key("a private key (GnuPG)")),
        ("# created\nAGE-SECRET-KEY-1QQ\n", Find::Key("a private key (age)")),
        ("untrusted comment: minisign encrypted secret key\n", Find::Key("a private key (minisign)")),
        ("key \"rndc-key\" {\n\tsecret \"abc=\";\n};\n", Find::Key("a shared secret (TSIG)")),
        ("0123456789abcdef0123456789abcdef\n", Find::Id),
        ("4f2c1d3e-0000-4000-8000-0123456789ab", Find::Id),
    ] {
        assert_eq!(found(content.as_bytes()), Some(find), "{content}");
    }
    assert_eq!(found(&random(512)), Some(Find::Random));
    assert_eq!(found(&random(32)), Some(Find::Random));
    let der =
        [b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec(), vec![7; 32]].concat();
    assert_eq!(found(&der), Some(Find::Key("a private key (DER)")));
}

#[test]
fn harmless_files_of_scripts_are_not_taken_for_secrets() {
    let table: Vec<u8> = (0..4096_u32).flat_map(|n| (n / 16).to_le_bytes()).take(4096).collect();
    for content in [
        b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".as_slice(),
        b"00000000000000000000000000000000\n",
        b"d41d8cd98f00b204e9800998ecf8427e  file\n",
        b"root:x:0:0:root:/root:/bin/bash\n",
        &[&b"\x1f\x8b\x08"[..], &random(900)].concat(),
        &table,
        b"",
    ] {
        assert_eq!(found(content), None, "{}", String::from_utf8_lossy(content));
    }
}

#[test]
fn the_name_and_id_of_the_machine_are_found_as_words() {
    let id = "00112233445566778899aabbccddeeff";
    let machine = Machine::for_tests("deskpro7", id, "mail.desk.example");
    let find = |content: &str| {
        search_tree(&tree_with("etc/x", content.as_bytes()), &BTreeSet::new(), &machine, None).unwrap()
    };
    let of = |find| vec![Leftover { path: "etc/x".into(), find, makers: Vec::new() }];
    assert_eq!(find("myhostname = DeskPro7.example.org\n"), of(Find::Name("deskpro7".into())));
    assert_eq!(find("mydeskpro7 deskpro77 deskpro7-x\n"), []);
    assert_eq!(find(&format!("id={id};\n")), of(Find::ThisMachineId));
    assert_eq!(find("relay for mail.desk.example only\n"), of(Find::MailName("mail.desk.example".into())));
    assert_eq!(find("webmail.desk.example\n"), []);
    let mut tree = LayeredTree::new();
    tree.insert_symlink("etc/mail", "/var/deskpro7/mail").unwrap();
    assert_eq!(
        search_tree(&tree, &BTreeSet::new(), &machine, None).unwrap()[0].find,
        Find::Name("deskpro7".into())
    );
}

#[test]
fn files_of_the_package_itself_are_not_searched() {
    let key = b"-----BEGIN PRIVATE KEY-----\n";
    let known = BTreeSet::from([Sha256Digest::of(key)]);
    let tree = tree_with("usr/share/doc/test.key", key);
    assert_eq!(search_tree(&tree, &known, &Machine::default(), None).unwrap(), []);
}

#[test]
fn passwords_and_the_time_of_the_build_are_found() {
    let span = Span { from: 1_795_933_059, to: 1_795_933_200, build_time: 1_793_491_200 };
    let find = |content: &str| {
        let tree = tree_with("etc/x", content.as_bytes());
        let found = search_tree(&tree, &BTreeSet::new(), &Machine::default(), Some(span)).unwrap();
        found.into_iter().next().map(|leftover| leftover.find.to_string())
    };
    let hash = format!("$6$abcdefgh${}", "d".repeat(86));
    assert_eq!(find(&format!("root:{hash}:20000::::::\n")).unwrap(), "a password hash (crypt)");
    assert_eq!(find("password = x7GhQ2mm\n").unwrap(), "a password");
    assert_eq!(find("# made on 2026-11-29\n").unwrap(), "the time of this build, 2026-11-29");
    assert_eq!(find("# made on 2026-11-01, password: none\n"), None);
}
