//! Whole images that are current or not: with a site, its seal, and a secret partition that fits the seal.

use super::*;
use crate::cli::{inspect as inspect_command, verify as command};
use crate::image::fixture::{self, Fixture, Recipe};
use crate::site::{GeneratedKeys, InitOptions, init_site};
use handoff::fault::Policy;
use handoff::least_generation::LeastGeneration;
use handoff::manifest::{FileAttributes, FileKind, RelativePath, Required, Store};
use keys::issue::identity_file;
use keys::issue::seal_builder::SealBuilder;
use keys::issue::signing::SigningKey;
use keys::seal::header::{Generation, Header};
use tempfile::TempDir;
use zeroize::Zeroizing;

struct SiteFixture {
    _folder: TempDir,
    site: SiteAndKeys,
    key: SigningKey,
    node: NodeIdentity,
    admin: NodeIdentity,
}

impl SiteFixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (key, admin) = (SigningKey::generate().unwrap(), identity_file::generate());
        let keys = GeneratedKeys {
            admin_recipient: admin.recipient().to_string(),
            signing_public: key.public().as_str().to_owned(),
        };
        let options =
            InitOptions { build_time: 1_793_491_200, open_consoles: false, ..InitOptions::default() };
        init_site(folder.path(), &"site".parse().unwrap(), &"demo".parse().unwrap(), &keys, &options)
            .unwrap();
        let mut site = SiteAndKeys::from(Site::load(folder.path()).unwrap());
        // The epoch of the fixture.
        site.security_epoch = 1;
        Self { _folder: folder, site, key, node: identity_file::generate(), admin }
    }

    /// A seal of the node `demo` with one file.
    fn seal(&self, generation: u64) -> Vec<u8> {
        self.seal_of("demo", generation, b"demo\n")
    }

    fn seal_of(&self, node: &str, generation: u64, hostname: &[u8]) -> Vec<u8> {
        let mut builder = SealBuilder::new(Policy::default(), true);
        let file = FileAttributes {
            mode: 0o600,
            uid: 0,
            gid: 0,
            kind: FileKind::Hostname,
            store: Store::Disk,
            install: None,
            required: Required::Boot,
        };
        let path = RelativePath::new("hostname").unwrap();
        builder.add(path, file, Zeroizing::new(hostname.to_vec())).unwrap();
        let header = Header {
            site: "site".parse().unwrap(),
            node: node.parse().unwrap(),
            recipient: self.node.recipient(),
            generation: Generation::new(generation).unwrap(),
            created: "2026-11-01T00:00:00Z".parse().unwrap(),
            security_epoch: 1,
        };
        builder.build(&header, &[self.admin.recipient()], &self.key).unwrap()
    }

    /// Stores this seal as the site's seal of the node.
    fn keep(&self, seal: &[u8]) {
        let path = self.site.seal_file(&"demo".parse().unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, seal).unwrap();
    }

    /// An image with this seal, and a secret partition with the node's key and this host name.
    fn image(&self, seal: &[u8], release: &str, hostname: &[u8]) -> Fixture {
        let identity = identity_file::text(&self.node, "2026-11-01T00:00:00Z".parse().unwrap());
        fixture::image_of(&Recipe {
            release,
            seal: Some(seal),
            secret: &[("age.key", identity.as_bytes()), ("hostname", hostname)],
            ..Recipe::plain(&self.key)
        })
    }

    fn look(&self, fixture: &Fixture) -> Verification {
        let image = ImageReader::open(&fixture.image.path).unwrap();
        let (site, own_selector) = (Some(&self.site), Some(b"selector".as_slice()));
        verify_for(&image, &Request { site, own_selector, ..Request::default() }).unwrap()
    }

    fn exit_code(&self, fixture: &Fixture) -> u8 {
        let (image, site) = (fixture.image.path.clone(), Some(self.site.dir.clone()));
        let arguments = command::VerifyArgs { image, site, selector: None, identity: None, json: false };
        command::run(&arguments).unwrap().exit_code()
    }
}

fn of<'v>(checks: &'v [Check], part: &str) -> &'v Result<String, String> {
    &checks.iter().find(|check| check.part == part).unwrap().result
}

#[test]
fn an_image_is_current_when_the_site_would_make_the_same() {
    let site_fixture = SiteFixture::new();
    let seal = site_fixture.seal(4);
    site_fixture.keep(&seal);
    let fixture = site_fixture.image(&seal, site_fixture.site.release.as_str(), b"demo\n");
    let seen = site_fixture.look(&fixture);
    assert_eq!((seen.is_whole(), seen.is_current()), (true, Some(true)), "{}", to_text(&seen));
    assert_eq!(of(&seen.current, "seal"), &Ok("generation 4 of node demo, as in the site".into()));
    assert_eq!(of(&seen.checks, "slots"), &Ok("as written: release 1 in slot a, slot b is empty".into()));
    assert!(to_text(&seen).ends_with(" is current\n"));
    let json = to_json(&seen);
    assert_eq!((&json["format"], &json["whole"], &json["current"]), (&1.into(), &true.into(), &true.into()));
}

#[test]
fn a_seal_older_than_the_sites_is_not_current_and_has_its_own_exit_code() {
    let site_fixture = SiteFixture::new();
    site_fixture.keep(&site_fixture.seal(6));
    let fixture = site_fixture.image(&site_fixture.seal(4), site_fixture.site.release.as_str(), b"demo\n");
    let seen = site_fixture.look(&fixture);
    assert_eq!((seen.is_whole(), seen.is_current()), (true, Some(false)), "{}", to_text(&seen));
    assert_eq!(
        of(&seen.current, "seal"),
        &Err("older than the site's: generation 4 of node demo, the site has 6".into())
    );
    assert_eq!(site_fixture.exit_code(&fixture), 3);
    // `psyops inspect --site` gives the same result.
    let arguments = |json| inspect_command::InspectArgs {
        image: fixture.image.path.clone(),
        site: Some(site_fixture.site.dir.clone()),
        json,
        svg: false,
        output: None,
    };
    let older = "older than the site's: generation 4 of node demo, the site has 6";
    let text = inspect_command::run(&arguments(false)).unwrap();
    assert!(text.lines().any(|line| line == format!("OLD  seal             {older}")), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&inspect_command::run(&arguments(true)).unwrap()).unwrap();
    assert_eq!((&json["format"], &json["current"]), (&1.into(), &false.into()));
    assert_eq!(json["compared_with_site"][0]["problem"], older);
}

#[test]
fn a_floor_that_the_site_raised_makes_seal_and_system_not_current() {
    let mut site_fixture = SiteFixture::new();
    let seal = site_fixture.seal(4);
    site_fixture.keep(&seal);
    let fixture = site_fixture.image(&seal, site_fixture.site.release.as_str(), b"demo\n");
    site_fixture.site.least_generation = 7;
    let seen = site_fixture.look(&fixture);
    assert_eq!((seen.is_whole(), seen.is_current()), (true, Some(false)), "{}", to_text(&seen));
    let below = "generation 4 of node demo, below the site's least-serial 7";
    assert_eq!(of(&seen.current, "seal"), &Err(below.into()));
    let accepts = "slot a accepts generation 0 or later of node demo; the site has 7";
    assert_eq!(of(&seen.current, "least generation"), &Err(accepts.into()));
    site_fixture.site.least_generation = 0;
    site_fixture.site.security_epoch = 2;
    let seen = site_fixture.look(&fixture);
    let epoch = "generation 4 of node demo needs security epoch 1 or later; the site has 2";
    assert_eq!(of(&seen.current, "seal"), &Err(epoch.into()));
    assert_eq!(
        of(&seen.current, "least generation"),
        &Ok("slot a accepts generation 0 or later of node demo, as in the site".into())
    );
}

#[test]
fn a_newer_seal_and_another_seal_with_the_same_generation_are_not_current() {
    let site_fixture = SiteFixture::new();
    let fixture = site_fixture.image(&site_fixture.seal(4), site_fixture.site.release.as_str(), b"demo\n");
    site_fixture.keep(&site_fixture.seal(3));
    let newer = "generation 4 of node demo, newer than the site's generation 3: this checkout of the site is out of date";
    assert_eq!(of(&site_fixture.look(&fixture).current, "seal"), &Err(newer.into()));
    site_fixture.keep(&site_fixture.seal(4));
    let other = "generation 4 of node demo, but not the site's seal with this generation";
    assert_eq!(of(&site_fixture.look(&fixture).current, "seal"), &Err(other.into()));
}

#[test]
fn another_release_and_another_selector_are_not_current() {
    let site_fixture = SiteFixture::new();
    let seal = site_fixture.seal(4);
    site_fixture.keep(&seal);
    let fixture = site_fixture.image(&seal, "0.9", b"demo\n");
    let image = ImageReader::open(&fixture.image.path).unwrap();
    let (site, own_selector) = (Some(&site_fixture.site), Some(b"another".as_slice()));
    let seen = verify_for(&image, &Request { site, own_selector, ..Request::default() }).unwrap();
    assert!(seen.is_whole(), "{}", to_text(&seen));
    let expected = "slot a has release 0.9, security epoch 1; the site has release 1, security epoch 1";
    assert_eq!(of(&seen.current, "release"), &Err(expected.into()));
    let digests = [Sha256Digest::of(b"selector"), Sha256Digest::of(b"another")];
    let expected = format!("SHA-256 {}; this builder has the one with SHA-256 {}", digests[0], digests[1]);
    assert_eq!(of(&seen.current, "selector"), &Err(expected));
}

#[test]
fn the_secret_partition_is_compared_with_the_seal() {
    let site_fixture = SiteFixture::new();
    let seal = site_fixture.seal(4);
    site_fixture.keep(&seal);
    let release = site_fixture.site.release.as_str();
    let seen = site_fixture.look(&site_fixture.image(&seal, release, b"demo\n"));
    let expected = "1 files match seal 4, opened with the node's own key";
    assert_eq!(of(&seen.checks, "secret files"), &Ok(expected.into()));
    let other = site_fixture.image(&seal, release, b"evil\n");
    let seen = site_fixture.look(&other);
    let differs = |by: &str| {
        format!("1 of 1 files do not match seal 4, opened with {by}: \"hostname\" has different content")
    };
    assert_eq!(of(&seen.checks, "secret files"), &Err(differs("the node's own key")));
    assert!(!seen.is_whole());
    assert_eq!(site_fixture.exit_code(&other), 1);
    let image = ImageReader::open(&other.image.path).unwrap();
    let (site, identity) = (Some(&site_fixture.site), Some(&site_fixture.admin));
    let seen = verify_for(&image, &Request { site, identity, ..Request::default() }).unwrap();
    assert_eq!(of(&seen.checks, "secret files"), &Err(differs("the identity from --identity")));
}

#[test]
fn the_seal_that_counts_is_one_that_the_system_of_the_image_accepts() {
    let site_fixture = SiteFixture::new();
    let (below, accepted) = (site_fixture.seal(5), site_fixture.seal_of("other", 3, b"other\n"));
    let identity = identity_file::text(&site_fixture.node, "2026-11-01T00:00:00Z".parse().unwrap());
    let mut least_generation = LeastGeneration::default();
    least_generation.raise("demo".parse().unwrap(), 6);
    let fixture = fixture::image_of(&Recipe {
        seal: Some(&below),
        secret: &[("age.key", identity.as_bytes()), ("hostname", b"other\n")],
        least_generation,
        ..Recipe::plain(&site_fixture.key)
    });
    let seen = site_fixture.look(&fixture);
    let none = "there is no seal that the node would use";
    assert_eq!(of(&seen.checks, "secret files"), &Ok(none.into()));
    let refused = "the image has no seal that its node would use: seal-a: the seal of node demo has generation 5, this \
                   system accepts generation 6 or later: an older seal was put back; seal-b: ";
    let found = of(&seen.current, "seal").as_ref().unwrap_err();
    assert!(found.starts_with(refused), "{found}");
    let accepts = "slot a accepts generation 6 or later of node demo; the site has 0";
    assert_eq!(of(&seen.current, "least generation"), &Err(accepts.into()));

    // The node starts with a seal of a lower generation, because the floor is that of another node.
    let at = fixture.image.plan.partition(Role::Seal(Slot::B)).unwrap().offset.0;
    let file = std::fs::File::options().write(true).open(&fixture.image.path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &accepted, at).unwrap();
    let seen = site_fixture.look(&fixture);
    let expected = "1 files match seal 3, opened with the node's own key";
    assert_eq!(of(&seen.checks, "secret files"), &Ok(expected.into()));
    let missing = site_fixture.site.seal_file(&"other".parse().unwrap());
    let missing = format!("cannot read {}: No such file or directory (os error 2)", missing.display());
    assert_eq!(of(&seen.current, "seal"), &Err(missing));
}

#[test]
fn an_identity_that_does_not_open_the_seal_is_not_damage() {
    let site_fixture = SiteFixture::new();
    let seal = site_fixture.seal(4);
    site_fixture.keep(&seal);
    let fixture = site_fixture.image(&seal, site_fixture.site.release.as_str(), b"demo\n");
    let stranger = identity_file::generate();
    let image = ImageReader::open(&fixture.image.path).unwrap();
    let request = Request { site: Some(&site_fixture.site), identity: Some(&stranger), ..Request::default() };
    let seen = verify_for(&image, &request).unwrap();
    assert!(seen.is_whole(), "{}", to_text(&seen));
    let problem = format!(
        "{} does not open seal 4: it is neither the key of node demo nor an admin's",
        stranger.recipient()
    );
    assert_eq!(seen.wrong_identity, Some(problem.clone()));
    assert_eq!(to_json(&seen)["identity_problem"], problem);
    let expected = "1 files match seal 4, opened with the node's own key";
    assert_eq!(of(&seen.checks, "secret files"), &Ok(expected.into()));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stranger.age");
    let text = identity_file::text(&stranger, "2026-11-01T00:00:00Z".parse().unwrap());
    crate::atomic::write_file_with_mode(&file, text.as_bytes(), 0o600).unwrap();
    let code = |fixture: &Fixture| {
        let (image, identity) = (fixture.image.path.clone(), Some(file.clone()));
        let arguments = command::VerifyArgs { image, site: None, selector: None, identity, json: false };
        let output = command::run(&arguments).unwrap();
        assert!(output.to_string().contains("this identity does not open the seal"), "{output}");
        output.exit_code()
    };
    assert_eq!(code(&fixture), 65);
    // Damage has precedence.
    assert_eq!(code(&site_fixture.image(&seal, site_fixture.site.release.as_str(), b"evil\n")), 1);
}

#[test]
fn unchecked_parts_are_listed() {
    let fixture = fixture::image();
    let image = ImageReader::open(&fixture.image.path).unwrap();
    let seen = verify(&image, None, None).unwrap();
    assert_eq!(seen.is_current(), None);
    let expected = "--   secret files     not checked: nothing opens the seal: the partition has no age.key, and \
                    --identity is not given";
    assert!(to_text(&seen).lines().any(|line| line == expected), "{}", to_text(&seen));
    assert_eq!(to_json(&seen)["current"], serde_json::Value::Null);
}
