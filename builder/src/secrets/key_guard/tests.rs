use super::needles::PIECE;
use super::*;
use crate::site::{GeneratedKeys, InitOptions, SiteEdits, init_site};
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use keys::issue::host_key::HostKey;
use keys::issue::locked::{self, Work, lock_identity, lock_signing_key};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;

struct Fixture {
    folder: TempDir,
    site: Site,
    credentials: Credentials,
    node: NodeIdentity,
    host: HostKey,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (identity, signing) = (identity_file::generate(), SigningKey::generate().unwrap());
        let keys = GeneratedKeys {
            admin_recipient: identity.recipient().to_string(),
            signing_public: signing.public().as_str().to_owned(),
        };
        let options =
            InitOptions { build_time: 1_793_491_200, open_consoles: false, ..InitOptions::default() };
        let name = |text: &str| text.parse().unwrap();
        let mut site = init_site(folder.path(), &name("lab"), &name("n1"), &keys, &options).unwrap();
        let (node, host) = (identity_file::generate(), HostKey::generate("root@n1").unwrap());
        let mut edits = SiteEdits::default();
        edits.set_recipient(&mut site, &name("n1"), &node.recipient().to_string()).unwrap();
        edits.write(&site).unwrap();
        let store = Store::without_admins(&site);
        store.write_host_key_public(&name("n1"), &host.public_line().unwrap()).unwrap();
        let admin = [identity.recipient()].to_vec();
        let store = Store::new(site.secrets_dir(), site.id.clone(), admin);
        store.write(&Secret::NodeKey(name("n1")), &text(&node), &identity).unwrap();
        let private = host.private_text().unwrap();
        store.write(&Secret::HostKey(name("n1")), private.as_bytes(), &identity).unwrap();
        Self { folder, site, credentials: Credentials { identity, signing }, node, host }
    }

    /// A guard that knows of no key files.
    fn guard(&self) -> KeyGuard {
        self.guard_with(&Locations {
            identity: Some("/none".into()),
            signing_key: Some("/none".into()),
            ..Locations::default()
        })
    }

    fn guard_with(&self, at: &Locations) -> KeyGuard {
        KeyGuard::new(&self.site, at, &self.credentials)
    }

    /// The key that is found in a file of these bytes.
    fn key_in(guard: &KeyGuard, file: &[u8], origin: FileOrigin) -> Option<String> {
        guard.find(file, origin).unwrap().map(|(_, key)| key)
    }
}

fn text(identity: &NodeIdentity) -> Vec<u8> {
    identity_file::text(identity, Timestamp::from_unix(0)).as_bytes().to_vec()
}

#[test]
fn keys_of_the_site_are_found_in_whatever_form_and_place() {
    let fixture = Fixture::new();
    let guard = fixture.guard();
    let admin = format!("the key of the admin {}", fixture.credentials.identity.recipient());
    let signing = format!("the signing key {}", fixture.credentials.signing.public().as_str());
    let seed = signing_bytes(&fixture.credentials.signing).unwrap();
    let bare = text(&fixture.credentials.identity);
    let bare = std::str::from_utf8(&bare).unwrap().lines().find_map(age_bytes).unwrap();
    assert_eq!((seed.len(), bare.len()), (32, 32));
    let hexadecimal: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    let host = fixture.host.private_text().unwrap().as_bytes().to_vec();
    let bare_node = identity_bytes(&fixture.node).unwrap();
    let bare_host = fixture.host.seed().unwrap();
    for (content, expected) in [
        (text(&fixture.credentials.identity), admin.as_str()),
        (text(&fixture.node), "the key of node n1"),
        (fixture.credentials.signing.text().unwrap().as_bytes().to_vec(), &signing),
        (host, "the SSH host key of node n1"),
        (bare.to_vec(), &admin),
        (seed.to_vec(), &signing),
        (hexadecimal.into_bytes(), &signing),
        (BASE64_STANDARD.encode(&*seed).into_bytes(), &signing),
        (BASE64_STANDARD.encode([&b"a"[..], &seed, b"bc"].concat()).into_bytes(), &signing),
        (BASE64_STANDARD.encode([&b"ab"[..], &seed].concat()).into_bytes(), &signing),
        (BASE64_URL_SAFE_NO_PAD.encode(&*bare).into_bytes(), &admin),
        (bare_node.to_vec(), "the key of node n1"),
        (bare_host.to_vec(), "the SSH host key of node n1"),
    ] {
        for (before, origin) in [
            (0, FileOrigin::Plain),
            (1, FileOrigin::Base),
            (PIECE - 40, FileOrigin::Secret),
            (PIECE + OVERLAP - 1, FileOrigin::Plain),
        ] {
            let file = [vec![b'x'; before], content.clone(), vec![b'\n'; 5]].concat();
            assert_eq!(Fixture::key_in(&guard, &file, origin).as_deref(), Some(expected));
        }
    }
}

#[test]
fn other_keys_are_secrets_like_others_but_not_in_plain_files() {
    let fixture = Fixture::new();
    let guard = fixture.guard();
    let foreign = text(&identity_file::generate());
    assert_eq!(
        Fixture::key_in(&guard, foreign.as_ref(), FileOrigin::Plain).as_deref(),
        Some("an age identity")
    );
    assert_eq!(Fixture::key_in(&guard, foreign.as_ref(), FileOrigin::Secret), None);
    let foreign = SigningKey::generate().unwrap().text().unwrap();
    let found = Fixture::key_in(&guard, foreign.as_ref(), FileOrigin::Plain);
    assert_eq!(found.as_deref(), Some("a minisign secret key"));
    let host = HostKey::generate("x").unwrap().private_text().unwrap();
    assert_eq!(Fixture::key_in(&guard, host.as_ref(), FileOrigin::Plain), None);
    let harmless = b"AGE-SECRET-KEY-1 RWQAAEIy -----BEGIN OPENSSH PRIVATE KEY----- age1";
    assert_eq!(Fixture::key_in(&guard, harmless.as_ref(), FileOrigin::Plain), None);
}

#[test]
fn a_key_in_a_role_or_overlay_is_named() {
    let fixture = Fixture::new();
    fixture.guard().check_site(&fixture.site).unwrap();
    for place in ["roles/example/files/backup", "overlays/common/etc/backup"] {
        let path = fixture.folder.path().join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text(&fixture.node)).unwrap();
        let error = fixture.guard().check_site(&fixture.site).unwrap_err();
        let expected =
            format!("{} contains the key of node n1, which must not be in an image", path.display());
        assert_eq!((error.to_string(), error.class()), (expected, Class::Refused));
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn copies_of_locked_key_files_are_found() {
    let fixture = Fixture::new();
    let admin = format!("the key of the admin {}", fixture.credentials.identity.recipient());
    let signing = format!("the signing key {}", fixture.credentials.signing.public().as_str());
    let work = Work::LEAST;
    let identity =
        lock_identity(&fixture.credentials.identity, Timestamp::from_unix(0), "open", work).unwrap();
    let key = lock_signing_key(&fixture.credentials.signing, "open", work).unwrap();
    let place = |name: &str| Some(fixture.folder.path().join(name));
    let at = Locations {
        identity: place("admin.age.txt"),
        signing_key: place("signing.key"),
        ..Locations::default()
    };
    for (path, text) in [(&at.identity, identity.as_str()), (&at.signing_key, &key)] {
        let path = path.as_ref().unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }
    let bare = locked::without_armor(identity.as_bytes()).unwrap();
    let one_line: String = identity.lines().filter(|line| !line.starts_with('-')).collect();
    let (unlocked, guard) = (fixture.guard(), fixture.guard_with(&at));
    let foreign = "an age file protected by a passphrase, as a locked identity is";
    for (file, expected, without_files) in [
        (identity.as_bytes(), &admin, foreign),
        (&bare, &admin, foreign),
        (one_line.as_bytes(), &admin, foreign),
        (key.as_bytes(), &signing, "a minisign secret key"),
    ] {
        for origin in [FileOrigin::Plain, FileOrigin::Secret, FileOrigin::Base] {
            assert_eq!(Fixture::key_in(&guard, file, origin).as_ref(), Some(expected));
        }
        assert_eq!(Fixture::key_in(&unlocked, file, FileOrigin::Plain).as_deref(), Some(without_files));
        assert_eq!(Fixture::key_in(&unlocked, file, FileOrigin::Secret), None);
    }
    // The second half of a locked file, without its start.
    assert_eq!(Fixture::key_in(&guard, &bare[48..], FileOrigin::Base), Some(admin));
}

#[test]
fn a_key_in_a_base_is_named_by_its_path_in_the_root() {
    let fixture = Fixture::new();
    let path = fixture.folder.path().join("base.tar");
    let make = |key: &[u8]| {
        let mut archive = tar::Builder::new(fs::File::create(&path).unwrap());
        let foreign = text(&identity_file::generate());
        for (name, content) in
            [("etc/motd", b"hello\n".as_slice()), ("usr/share/age/test", &foreign), ("etc/backup", key)]
        {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_cksum();
            archive.append_data(&mut header, name, content).unwrap();
        }
        archive.into_inner().unwrap();
    };
    make(b"nothing");
    fixture.guard().check_base(&path).unwrap();
    make(&[vec![0; PIECE], text(&fixture.node)].concat());
    let error = fixture.guard().check_base(&path).unwrap_err();
    assert_eq!(error.to_string(), "/etc/backup contains the key of node n1, which must not be in an image");
    assert_eq!(error.class(), Class::Refused);
}

#[test]
fn a_key_in_the_sites_settings_is_named() {
    let fixture = Fixture::new();
    let path = fixture.folder.path().join("site.toml");
    let before = fs::read(&path).unwrap();
    fs::write(&path, [before, b"# ".to_vec(), text(&fixture.node)].concat()).unwrap();
    let error = fixture.guard().check_site(&fixture.site).unwrap_err();
    let expected = format!("{} contains the key of node n1, which must not be in an image", path.display());
    assert_eq!(error.to_string(), expected);
}
