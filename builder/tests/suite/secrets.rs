//! From a new site to seals and secret partitions, checked with the programs of e2fsprogs.

use builder::engine;
use builder::error::{Class, Error};
use builder::secrets::credentials::{CredentialError, Credentials, Locations, own_keys, secret_store};
use builder::secrets::issue::issue_keys;
use builder::secrets::known_hosts::known_hosts;
use builder::secrets::node_keys;
use builder::secrets::passphrase::Passphrases;
use builder::secrets::prepare::{self, Prepared, prepare_one};
use builder::secrets::raise::{Raise, RaiseRequest, Raised};
use builder::secrets::seal::{SealRequest, UntrustedSeal};
use builder::secrets::store::Secret;
use builder::secrets::trust::{Acceptance, accept_typed};
use builder::site::{InitOptions, LockedSite, Site, add_node, init_site};
use builder::tools::{DEBUGFS, E2FSCK};
use handoff::manifest::{RelativePath, Store as FileStore};
use keys::timestamp::Timestamp;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const MIB: u64 = 1024 * 1024;

struct Home {
    folder: TempDir,
}

impl Home {
    /// A site `home` with a node `demo`, and its private keys beside it.
    fn new() -> Self {
        let home = Self { folder: TempDir::new().unwrap() };
        let keys = issue_keys(
            &home.at("config"),
            &"home".parse().unwrap(),
            Timestamp::from_unix(0),
            &Passphrases::default(),
        )
        .unwrap();
        let options = InitOptions { build_time: 1_700_000_000, open_consoles: true };
        let name = "demo".parse().unwrap();
        init_site(&home.at("site"), &"home".parse().unwrap(), &name, &keys, &options).unwrap();
        home
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn site(&self) -> Site {
        Site::load(&self.at("site")).unwrap()
    }

    fn locations(&self) -> Locations {
        Locations {
            identity: Some(self.at("config/home/admin.age.txt")),
            signing_key: Some(self.at("config/home/signing.key")),
            passphrases: Passphrases::default(),
        }
    }

    fn locked(&self) -> LockedSite {
        LockedSite::load(&self.at("site")).unwrap()
    }

    fn prepare(&self) -> Prepared {
        prepare_one(self.locked(), "demo", &self.locations()).unwrap()
    }

    /// Does what `psyops trust accept` does, with nothing left to accept.
    fn accept(&self, keys: &[&str]) {
        assert!(self.accept_some(keys).remaining.is_empty());
    }

    fn accept_some(&self, keys: &[&str]) -> Acceptance {
        let own = own_keys(&self.site(), &self.locations()).unwrap();
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        accept_typed(&self.site(), &self.locations(), &own, &keys).unwrap()
    }

    fn append(&self, file: &str, text: &str) {
        let path = self.at("site").join(file);
        let old = fs::read_to_string(&path).unwrap();
        fs::write(&path, old + text).unwrap();
    }

    fn replace(&self, file: &str, from: &str, to: &str) {
        let path = self.at("site").join(file);
        let old = fs::read_to_string(&path).unwrap();
        assert!(old.contains(from), "{old}");
        fs::write(&path, old.replace(from, to)).unwrap();
    }
}

fn prepare_all<'n>(
    site: LockedSite,
    nodes: impl IntoIterator<Item = &'n str>,
    at: &Locations,
    request: SealRequest,
) -> Result<Vec<Prepared>, Error> {
    Ok(prepare::prepare(site, nodes, at, request, None)?.0)
}

fn path(text: &str) -> RelativePath {
    RelativePath::new(text).unwrap()
}

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

/// A copy of the stored seal with another generation in its header, signed by `key`.
fn forged(home: &Home, generation: u64, key: &keys::issue::signing::SigningKey) -> Vec<u8> {
    let site = home.site();
    let header = keys::seal::header::Header {
        site: site.id.clone(),
        node: "demo".parse().unwrap(),
        recipient: site.node("demo").unwrap().recipient.as_deref().unwrap().parse().unwrap(),
        generation: keys::seal::header::Generation::new(generation).unwrap(),
        created: Timestamp::from_unix(site.build_time),
        security_epoch: 0,
    };
    let admins = [site.admin_recipients[0].parse().unwrap()];
    let builder = keys::issue::seal_builder::SealBuilder::new(handoff::fault::Policy::default(), false);
    builder.build(&header, &admins, key).unwrap()
}

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

/// The output of debugfs, which did not take part in checking it, for a path.
fn stat(image: &Path, path: &str) -> String {
    let mut command = DEBUGFS.command().unwrap();
    let output = command.args(["-R", &format!("stat \"{path}\"")]).arg(image).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_partition_is_whole_and_equal_from_run_to_run() {
    let home = Home::new();
    fs::write(home.at("site/big"), vec![7; 700_000]).unwrap();
    home.append(
        "nodes/demo.toml",
        "\n[[file]]\npath = \"a b/big\"\nsource = \"big\"\nmode = \"0640\"\nuid = 12\ngid = 34\n",
    );
    let prepared = home.prepare();
    let images = [home.at("one.img"), home.at("two.img")];
    for image in &images {
        prepared.write_partition(&prepared.identity(None).unwrap(), 16 * MIB, image).unwrap();
        // Long enough for the clock to change.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    assert!(fs::read(&images[0]).unwrap() == fs::read(&images[1]).unwrap(), "two runs differ");
    let mut check = E2FSCK.command().unwrap();
    let output = check.arg("-fn").arg(&images[0]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let key = stat(&images[0], "/age.key");
    assert!(key.contains("Mode:  0600") && key.contains("User:     0   Group:     0"), "{key}");
    let big = stat(&images[0], "/a b/big");
    assert!(big.contains("Mode:  0640") && big.contains("User:    12   Group:    34"), "{big}");
    for time in ["ctime", "atime", "mtime", "crtime"] {
        assert!(big.contains(&format!("{time}: 0x{:x}", 1_700_000_000)), "{big}");
    }
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&images[0]).unwrap());
    assert_eq!(mode & 0o777, 0o600, "an image with secrets is private");
    let blkid = Command::new("/sbin/blkid").arg("-p").arg(&images[0]).output().unwrap();
    assert!(String::from_utf8_lossy(&blkid.stdout).contains("LABEL=\"psyops-secret\""));
}

#[test]
fn secrets_that_do_not_fit_are_refused_with_sizes() {
    let home = Home::new();
    fs::write(home.at("site/big"), vec![7; 3_000_000]).unwrap();
    home.append("nodes/demo.toml", "\n[[file]]\npath = \"big\"\nsource = \"big\"\n");
    let prepared = home.prepare();
    let image = home.at("image");
    let error = prepared.write_partition(&prepared.identity(None).unwrap(), 4 * MIB, &image).unwrap_err();
    assert_eq!(error.class(), Class::BadContent);
    assert!(error.to_string().contains("the secrets do not fit"), "{error}");
    assert!(error.to_string().contains("4194304"), "{error}");
    assert!(!image.exists());
    let error = prepared.write_partition(&prepared.identity(None).unwrap(), MIB, &image).unwrap_err();
    assert!(error.to_string().contains("too small"), "{error}");
    prepared.write_partition(&prepared.identity(None).unwrap(), 16 * MIB, &image).unwrap();
}

#[test]
fn sizes_from_the_least_to_large_ones_work() {
    let home = Home::new();
    let prepared = home.prepare();
    for mib in [4, 5, 64, 512] {
        let image = home.at("image");
        prepared.write_partition(&prepared.identity(None).unwrap(), mib * MIB, &image).unwrap();
        let output = E2FSCK.command().unwrap().arg("-fn").arg(&image).output().unwrap();
        assert!(output.status.success(), "{mib} MiB: {}", String::from_utf8_lossy(&output.stdout));
    }
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
