//! Sites in temporary folders, with private keys beside them.

use super::*;
use crate::error::{Class, Classified as _};
use crate::secrets::credentials::{CredentialError, Credentials, own_keys, trusted_keys};
use crate::secrets::issue::issue_keys;
use crate::secrets::key_file::{ADMIN_IDENTITY_FILE, SIGNING_KEY_FILE};
use crate::secrets::passphrase::Passphrases;
use crate::site::{InitOptions, init_site};
use keys::issue::identity_file;
use keys::timestamp::Timestamp;
use std::fs;
use tempfile::TempDir;

struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { folder: TempDir::new().unwrap() };
        let config = fixture.folder.path().join("config");
        let id = "home".parse().unwrap();
        let keys = issue_keys(&config, &id, Timestamp::from_unix(0), &Passphrases::default()).unwrap();
        let options =
            InitOptions { build_time: 1_700_000_000, open_consoles: false, ..InitOptions::default() };
        let node = "demo".parse().unwrap();
        init_site(&fixture.folder.path().join("site"), &id, &node, &keys, &options).unwrap();
        fixture
    }

    fn site(&self) -> Site {
        Site::load(&self.folder.path().join("site")).unwrap()
    }

    fn at(&self) -> Locations {
        let folder = self.folder.path().join("config/home");
        Locations {
            identity: Some(folder.join(ADMIN_IDENTITY_FILE)),
            signing_key: Some(folder.join(SIGNING_KEY_FILE)),
            passphrases: Passphrases::default(),
        }
    }

    /// As in CI: no private keys, and nothing accepted.
    fn elsewhere(&self) -> Locations {
        let folder = self.folder.path().join("elsewhere");
        Locations {
            identity: Some(folder.join(ADMIN_IDENTITY_FILE)),
            signing_key: Some(folder.join(SIGNING_KEY_FILE)),
            passphrases: Passphrases::default(),
        }
    }

    fn load(&self) -> Result<SiteAndKeys, CredentialError> {
        Credentials::load(self.site(), &self.at(), UntrustedSeal::Refuse).map(|(site, _)| site)
    }

    fn accept(&self, keys: &[&str]) -> Result<Acceptance, TrustError> {
        let own = own_keys(&self.site(), &self.at()).unwrap();
        accept_typed(
            &self.site(),
            &self.at(),
            &own,
            &keys.iter().map(|&key| key.to_owned()).collect::<Vec<_>>(),
        )
    }

    fn publish(&self) {
        let (site, credentials) = Credentials::load(self.site(), &self.at(), UntrustedSeal::Refuse).unwrap();
        unpublished(&site, &credentials.signing).unwrap().unwrap().write(&site).unwrap();
    }

    fn edit(&self, from: &str, to: &str) {
        let path = self.folder.path().join("site/site.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Adds another admin to `site.toml`, after the first.
    fn add_admin(&self) -> String {
        let mine = self.site().admin_recipients[0].clone();
        let other = identity_file::generate().recipient().to_string();
        self.edit(&format!("\"{mine}\""), &format!("\"{mine}\", \"{other}\""));
        other
    }

    /// Adds another signing key to `site.toml`, after the first.
    fn add_signer(&self) -> SigningKey {
        let mine = self.site().signing_keys[0].as_str().to_owned();
        let other = SigningKey::generate().unwrap();
        self.edit(&format!("\"{mine}\""), &format!("\"{mine}\", \"{}\"", other.public().as_str()));
        other
    }
}

fn differences(result: Result<SiteAndKeys, CredentialError>) -> Vec<Difference> {
    match result {
        Err(CredentialError::Trust(error @ (TrustError::Differs { .. } | TrustError::NotOwn { .. }))) => {
            assert_eq!(error.class(), Class::Refused);
            match error {
                TrustError::Differs { differences, .. } | TrustError::NotOwn { differences, .. } => {
                    differences
                }
                _ => unreachable!(),
            }
        }
        other => panic!("{other:?}"),
    }
}

fn key(file: TrustFile, role: Role, key: &str, change: Change) -> Difference {
    Difference::Key { file, role, key: key.to_owned(), change }
}

#[test]
fn a_site_of_ones_own_keys_is_accepted_at_its_first_use_and_remembered() {
    let fixture = Fixture::new();
    assert!(fixture.load().unwrap().accepted().unwrap().is_first_use());
    let site = fixture.load().unwrap();
    let accepted = site.accepted().cloned().unwrap();
    assert!(!accepted.is_first_use());
    assert_eq!(accepted.keys, KeySet::of_site(&site).unwrap());
    let file = fixture.folder.path().join("config/home/home.trust.toml");
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn keys_of_others_are_not_accepted_at_the_first_use() {
    let fixture = Fixture::new();
    let (admin, signer) = (fixture.add_admin(), fixture.add_signer());
    let expected = [
        key(TrustFile::Site, Role::Admin, &admin, Change::Added),
        key(TrustFile::Site, Role::Signer, signer.public().as_str(), Change::Added),
    ];
    for _ in 0..2 {
        // Refused the second time as well, so nothing was stored.
        assert_eq!(differences(fixture.load()), expected);
    }
    let done = fixture.accept(&[&admin]).unwrap();
    assert_eq!(done.remaining, expected[1..]);
    assert!(!done.published);
    assert_eq!(differences(fixture.load()), expected[1..]);
    let done = fixture.accept(&[signer.public().as_str()]).unwrap();
    assert!(done.published && done.remaining.is_empty());
    assert_eq!(fixture.load().unwrap().accepted().unwrap().keys.admins.len(), 2);
}

#[test]
fn a_key_that_was_removed_is_a_difference_too() {
    let fixture = Fixture::new();
    let admin = fixture.add_admin();
    fixture.accept(&[&admin]).unwrap();
    fixture.load().unwrap();
    fixture.edit(&format!(", \"{admin}\""), "");
    let removed = |file| key(file, Role::Admin, &admin, Change::Removed);
    // The signed file still has it, like the accepted set.
    assert_eq!(differences(fixture.load()), [removed(TrustFile::Site)]);
    assert!(fixture.accept(&[&admin]).unwrap().published);
    assert_eq!(fixture.load().unwrap().accepted().unwrap().keys.admins.len(), 1);
}

#[test]
fn keys_signed_by_an_accepted_key_are_not_accepted_by_that() {
    let fixture = Fixture::new();
    fixture.publish();
    // Another admin with the same signing key accepts a key, and commits both files.
    let other = fixture.add_admin();
    let (site, credentials) = {
        let site = fixture.site();
        let own = own_keys(&site, &fixture.at()).unwrap();
        (site, own.signing.unwrap())
    };
    SignedKeys::new(&site, &KeySet::of_site(&site).unwrap(), &credentials).unwrap().write(&site).unwrap();
    let added = |file| key(file, Role::Admin, &other, Change::Added);
    assert_eq!(differences(fixture.load()), [added(TrustFile::Site), added(TrustFile::Signed)]);
    assert!(fixture.accept(&[&other]).unwrap().remaining.is_empty());
    fixture.load().unwrap();
}

#[test]
fn a_trust_file_signed_by_an_unaccepted_key_is_refused() {
    let fixture = Fixture::new();
    fixture.publish();
    let site = fixture.site();
    let stranger = SigningKey::generate().unwrap();
    SignedKeys::new(&site, &KeySet::of_site(&site).unwrap(), &stranger).unwrap().write(&site).unwrap();
    let found = differences(fixture.load());
    assert!(
        matches!(&found[..], [Difference::NotSigned { problem }] if problem.contains("not trusted here")),
        "{found:?}"
    );
    // The solution: the accepted set is signed again.
    assert!(fixture.accept(&[]).unwrap().published);
    fixture.load().unwrap();
    fs::remove_file(site.dir.join(TRUST_SIGNATURE)).unwrap();
    let found = differences(fixture.load());
    assert_eq!(found, [Difference::NotSigned { problem: "it has no signature (trust.toml.minisig)".into() }]);
}

#[test]
fn an_older_trust_file_with_the_older_site_is_refused() {
    let fixture = Fixture::new();
    fixture.publish();
    let old = ["site.toml", TRUST_FILE, TRUST_SIGNATURE]
        .map(|name| (name, fs::read(fixture.site().dir.join(name)).unwrap()));
    let admin = fixture.add_admin();
    fixture.accept(&[&admin]).unwrap();
    for (name, content) in old {
        fs::write(fixture.site().dir.join(name), content).unwrap();
    }
    let removed = |file| key(file, Role::Admin, &admin, Change::Removed);
    assert_eq!(differences(fixture.load()), [removed(TrustFile::Site), removed(TrustFile::Signed)]);
}

#[test]
fn another_site_id_is_a_difference_from_the_signed_file() {
    let fixture = Fixture::new();
    fixture.publish();
    fixture.edit("id = \"home\"", "id = \"other\"");
    let expected = [Difference::SiteId {
        file: TrustFile::Signed,
        accepted: "other".parse().unwrap(),
        found: "home".parse().unwrap(),
    }];
    assert_eq!(differences(check(fixture.site(), &fixture.elsewhere()).map_err(Into::into)), expected);
    // The keys are known as those of the site home. That they are this workstation's own is not enough.
    for site in [fixture.load(), check(fixture.site(), &fixture.at()).map_err(Into::into)] {
        let error = site.unwrap_err();
        assert_eq!(error.class(), Class::Refused);
        let known = match error {
            CredentialError::Trust(TrustError::OtherSite { known, .. }) => known,
            other => panic!("{other}"),
        };
        assert_eq!(known, ["home"]);
    }
    let error = fixture.accept(&[]).unwrap_err();
    assert!(matches!(error, TrustError::OtherSite { .. }), "{error}");
    assert!(fixture.accept(&["other"]).unwrap().published);
    assert_eq!(fixture.load().unwrap().accepted().unwrap().keys.site.as_str(), "other");
}

#[test]
fn only_keys_that_changed_can_be_accepted() {
    let fixture = Fixture::new();
    fixture.load().unwrap();
    let unknown = identity_file::generate().recipient().to_string();
    for text in [unknown.as_str(), "hello", ""] {
        let error = fixture.accept(&[text]).unwrap_err();
        assert!(matches!(&error, TrustError::UnknownKey { key } if key == text), "{error}");
    }
    assert_eq!(fixture.load().unwrap().accepted().unwrap().keys.admins.len(), 1);
}

#[test]
fn a_link_in_the_place_of_the_trust_file_is_not_followed() {
    let fixture = Fixture::new();
    fixture.load().unwrap();
    let target = fixture.folder.path().join("profile");
    std::os::unix::fs::symlink(&target, fixture.site().dir.join(TRUST_FILE)).unwrap();
    let error = fixture.load().unwrap_err();
    assert!(matches!(error, CredentialError::Trust(TrustError::Read { .. })), "{error}");
    let site = fixture.site();
    let key = SigningKey::generate().unwrap();
    SignedKeys::new(&site, &KeySet::of_site(&site).unwrap(), &key).unwrap().write(&site).unwrap_err();
    assert!(!target.exists());
}

#[test]
fn where_nothing_was_accepted_both_files_of_the_site_must_agree() {
    let fixture = Fixture::new();
    fixture.publish();
    let at = fixture.elsewhere();
    let site = check(fixture.site(), &at).unwrap();
    assert!(site.accepted().is_none());
    assert_eq!(trusted_keys(&fixture.load().unwrap()).unwrap().len(), 1);
    let other = fixture.add_admin();
    let error = check(fixture.site(), &at).unwrap_err();
    let TrustError::Differs { differences, .. } = error else { panic!("{error}") };
    assert_eq!(differences, [key(TrustFile::Signed, Role::Admin, &other, Change::Removed)]);
}
