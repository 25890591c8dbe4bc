//! What vouches for a lock, and each case in which nothing does. The index is that of `tests/data/archive`, whose key
//! expired years ago.

use super::*;
use crate::base::imported::ImportedBase;
use crate::base::lock::LockRequest;
use crate::base::lock::tests::{package, site as site_with};
use crate::error::{Class, Error};
use crate::store::Store;
use handoff::hash::Sha256Digest;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const VERSION: &str = "1:1.0-1+b1";

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/archive").join(name)
}

/// A site, a store that has the index, and the keys that the site trusts.
struct Fixture {
    _folder: TempDir,
    site: Site,
    store: Store,
    trusted: Trusted,
    key: SigningKey,
    index: IndexDigests,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = site_with(&folder.path().join("site"), "", "");
        let store = Store::at(&folder.path().join("store")).unwrap();
        let index = keep_index(&data("InRelease"), &data("Packages"), &store).unwrap();
        let key = SigningKey::generate().unwrap();
        let trusted =
            Trusted { site: site.id.clone(), keys: vec![key.public().clone()], keyring: data("archive.gpg") };
        Self { _folder: folder, site, store, trusted, key, index }
    }

    /// A lock with these packages that names the index.
    fn file(&self, packages: Vec<LockedPackage>) -> LockFile {
        self.file_with(packages, None, vec![self.index.clone()])
    }

    fn file_with(
        &self,
        packages: Vec<LockedPackage>,
        imported: Option<ImportedBase>,
        indexes: Vec<IndexDigests>,
    ) -> LockFile {
        let mut request = LockRequest::of(&self.site);
        if imported.is_some() {
            request.base = "tar:root.tar".parse().unwrap();
        }
        let lock = Lock { request, imported, packages, variants: Vec::new() };
        LockFile::new(&self.site, lock, indexes).unwrap()
    }

    fn signature_path(&self) -> PathBuf {
        self.site.dir.join("site.lock.minisig")
    }

    /// Writes the lock with a signature by this key for that site, and reads it.
    fn written(&self, mut file: LockFile, key: &SigningKey, site: &str) -> LockFile {
        let signature = signature::sign(file.text().as_bytes(), &site.parse().unwrap(), key).unwrap();
        file.set_signature(signature);
        file.write().unwrap();
        self.read()
    }

    fn read(&self) -> LockFile {
        LockFile::read_any(&self.site).unwrap().unwrap()
    }

    fn refused(&self, file: &LockFile) -> String {
        let error = file.vouched(&self.trusted, &self.store).unwrap_err();
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
        let error = Error::from(error);
        assert_eq!(error.class(), Class::BadContent);
        assert!(error.advice().unwrap().contains("psyops lock sign"), "{}", error.report());
        error.to_string().replace(&self.site.dir.display().to_string(), "SITE")
    }

    /// The error about the first package, if the signature is missing.
    fn unlisted(&self, what: &str, index: &str) -> String {
        let signature = "SITE/site.lock.minisig is missing";
        format!(
            "neither the site's signing key ({signature}) nor the archive's index ({}) vouches for {what} in site.lock",
            index.replace("STORE", &self.store.dir().display().to_string())
        )
    }
}

fn busybox() -> LockedPackage {
    package(Part::Base, "busybox-static", VERSION)
}

#[test]
fn an_index_vouches_for_what_it_lists_even_when_its_key_has_expired() {
    let place = Fixture::new();
    let boot = LockedPackage { part: Part::Boot, ..busybox() };
    let packages =
        vec![busybox(), package(Part::Base, "libc6", "1"), package(Part::Base, "libc6", "2"), boot];
    let file = place.file(packages.clone());
    let lock = file.vouched(&place.trusted, &place.store).unwrap();
    assert_eq!(lock.packages, packages);
    assert!(place.file(vec![busybox()]).vouching(&place.trusted, &place.store).is_whole());
}

/// An attack that once worked: the lock's entry of busybox-static pointed at a package of ours.
#[test]
fn a_package_with_another_file_than_the_archives_is_refused() {
    let place = Fixture::new();
    let file = Sha256Digest::of(b"a package of ours");
    let expected = |sha256: Sha256Digest| {
        place.unlisted(
            &format!("busybox-static {VERSION}"),
            &format!("it lists another file for busybox-static {VERSION}: 17 bytes, sha256 {sha256}"),
        )
    };
    let ours = LockedPackage { sha256: file, file: "pool/ours.deb".into(), ..busybox() };
    assert_eq!(place.refused(&place.file(vec![ours])), expected(busybox().sha256));
    let longer = LockedPackage { size: 18, ..busybox() };
    assert_eq!(place.refused(&place.file(vec![longer])), expected(busybox().sha256));
    // If only one of two systems of the site has the package, the lock is still refused.
    let tree = package(Part::Base, "tree", VERSION);
    let ours = LockedPackage { sha256: file, ..package(Part::Base, "libc6", "2") };
    let said = place.refused(&place.file(vec![busybox(), ours, tree]));
    assert!(said.ends_with(" vouches for libc6 2 in site.lock"), "{said}");
}

#[test]
fn a_package_that_differs_from_the_index_is_refused() {
    let place = Fixture::new();
    let refused = |package: LockedPackage| place.refused(&place.file(vec![package]));
    assert_eq!(
        refused(package(Part::Base, "libc6", "3")),
        place.unlisted("libc6 3", "it lists libc6 as 1 amd64, 2 amd64, not as 3 amd64")
    );
    let other = LockedPackage { architecture: "arm64".into(), ..busybox() };
    let listed = format!("it lists busybox-static as {VERSION} amd64, not as {VERSION} arm64");
    assert_eq!(refused(other), place.unlisted(&format!("busybox-static {VERSION}"), &listed));
    let unknown = package(Part::Base, "backdoor", "1");
    assert_eq!(refused(unknown.clone()), place.unlisted("backdoor 1", "it does not list backdoor"));
    let none_named = place.file_with(vec![busybox(), unknown], None, Vec::new());
    assert_eq!(
        place.refused(&none_named),
        place.unlisted(&format!("busybox-static {VERSION} and 1 more"), "site.lock has none")
    );
}

#[test]
fn an_index_with_a_flipped_byte_vouches_for_nothing() {
    let place = Fixture::new();
    let file = place.file(vec![busybox()]);
    let subject = format!("busybox-static {VERSION}");
    for path in [place.store.index(&place.index.in_release), place.store.packed_index(&place.index.packages)]
    {
        let whole = fs::read(&path).unwrap();
        let shown = path.display().to_string();
        let changed = place.unlisted(&subject, &format!("{shown} in the store was changed"));
        for position in [0, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[position] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert_eq!(place.refused(&file), changed, "byte {position}");
        }
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(place.refused(&file), changed);
        fs::remove_file(&path).unwrap();
        let digest = path.file_stem().unwrap().to_str().unwrap();
        let gone = format!("the archive's index in site.lock ({digest}) is not in this store");
        assert_eq!(place.refused(&file), place.unlisted(&subject, &gone));
        fs::write(&path, &whole).unwrap();
        file.vouched(&place.trusted, &place.store).unwrap();
    }
}

/// An attacker who may write to the store puts a list there that has the right digest, and names it in the lock.
#[test]
fn a_list_that_no_key_of_the_archive_signed_vouches_for_nothing() {
    let place = Fixture::new();
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let ours = LockedPackage { sha256: Sha256Digest::of(b"ours"), ..busybox() };
    let list = fs::read_to_string(data("Packages")).unwrap();
    let list = list.replace(&busybox().sha256.to_string(), &ours.sha256.to_string());
    let list = put("Packages", &list);
    let refused = |in_release: &Path| {
        let index = keep_index(in_release, &list, &place.store).unwrap();
        let path = place.store.index(&index.in_release).display().to_string();
        let said = place.refused(&place.file_with(vec![ours.clone()], None, vec![index]));
        said.split_once("the archive's index (")
            .unwrap()
            .1
            .split_once(") vouches for ")
            .unwrap()
            .0
            .replace(&path, "INRELEASE")
    };
    // The archive's own signature names another list.
    let digest = Sha256Digest::of(&fs::read(&list).unwrap());
    assert_eq!(refused(&data("InRelease")), format!("INRELEASE does not list the file {digest}"));
    // The digest of a changed text does not fit the signature, and a text without a signature has none.
    let signed = fs::read_to_string(data("InRelease")).unwrap();
    let names = Sha256Digest::of(&fs::read(data("Packages")).unwrap());
    let changed = put("changed", &signed.replace(&names.to_string(), &digest.to_string()));
    let keyring = data("archive.gpg").display().to_string();
    assert_eq!(
        refused(&changed),
        format!("INRELEASE: no key of {keyring} signed it (gpgv: the text was changed after it was signed)")
    );
    let text = format!("SHA256:\n {digest} 1 main/binary-amd64/Packages\n");
    assert_eq!(
        refused(&put("unsigned", &text)),
        "INRELEASE: it does not begin with the header of a signed message"
    );
}

#[test]
fn an_index_by_a_key_that_is_not_the_archives_vouches_for_nothing() {
    let mut place = Fixture::new();
    let keyring = place.site.dir.join("empty.gpg");
    fs::write(&keyring, "").unwrap();
    place.trusted.keyring.clone_from(&keyring);
    let said = place.refused(&place.file(vec![busybox()]));
    let problem = "(gpgv: a key that is not in the keyring)) vouches for";
    assert!(said.contains(problem) && said.contains(&place.index.in_release.to_string()), "{said}");
}

/// As in a fresh clone on another workstation: the clone has the signature, but not the index.
#[test]
fn a_signature_is_enough_without_any_index() {
    let place = Fixture::new();
    let empty = Store::at(&place.site.dir.join("other-store")).unwrap();
    let unknown = package(Part::Base, "of-our-own", "1");
    let unsigned = place.file(vec![busybox(), unknown]);
    unsigned.write().unwrap();
    let said = place.read().vouched(&place.trusted, &empty).unwrap_err().to_string();
    assert!(
        said.contains(&format!(" vouches for busybox-static {VERSION} and 1 more in site.lock"))
            && said.contains("is not in this store"),
        "{said}"
    );
    let signed = place.written(unsigned, &place.key, "lab");
    assert_eq!(signed.vouched(&place.trusted, &empty).unwrap().packages.len(), 2);
    assert_eq!(signed.signer(&place.trusted).unwrap(), place.key.public().id());
}

#[test]
fn each_invalid_signature_has_its_reason() {
    let place = Fixture::new();
    let ours = LockedPackage { sha256: Sha256Digest::of(b"ours"), ..busybox() };
    let file = || place.file(vec![ours.clone()]);
    let refused = |file: &LockFile| {
        let said = place.refused(file);
        let (_, rest) = said.split_once("signing key (").unwrap();
        rest.split_once(") nor the archive's index").unwrap().0.to_owned()
    };
    let (mine, other) = (place.key.public().id(), SigningKey::generate().unwrap());
    assert_eq!(
        refused(&place.written(file(), &other, "lab")),
        format!(
            "SITE/site.lock.minisig: it is signed by key {}, which is not trusted here (trusted: {mine})",
            other.public().id()
        )
    );
    // Another site of the same admin, with the same key.
    assert_eq!(
        refused(&place.written(file(), &place.key, "garden")),
        "SITE/site.lock.minisig is the signature of \"site.lock of site garden\" instead of \"site.lock of site lab\""
    );
    // The lock was changed after it was signed: no byte of it may differ.
    let signed = place.written(place.file(vec![busybox()]), &place.key, "lab");
    let changed = "its signature by key KEY does not match its content, which was changed after signing"
        .replace("KEY", &mine.to_string());
    let changed = format!("SITE/site.lock.minisig: {changed}");
    fs::write(signed.path(), file().text()).unwrap();
    assert_eq!(refused(&place.read()), changed);
    // The same if only the comment, which names the site, is different.
    let garden = place.written(file(), &place.key, "garden");
    let text = fs::read_to_string(place.signature_path()).unwrap();
    fs::write(place.signature_path(), text.replace("site garden", "site lab")).unwrap();
    assert_eq!(refused(&garden), changed);
    // Another signature by the key for this site.
    let receipt = place.key.sign(file().text().as_bytes(), "receipt of site lab node a stick b").unwrap();
    fs::write(place.signature_path(), receipt).unwrap();
    assert_eq!(
        refused(&place.read()),
        "SITE/site.lock.minisig is the signature of \"receipt of site lab node a stick b\" instead of \"site.lock of site lab\""
    );
    fs::write(place.signature_path(), "x".repeat(5000)).unwrap();
    assert_eq!(refused(&place.read()), "cannot read SITE/site.lock.minisig: it is longer than 4096 bytes");
}

#[test]
fn a_base_that_is_a_tar_counts_only_with_a_signature() {
    let place = Fixture::new();
    let imported = |text: &str| ImportedBase::Tar { sha256: Sha256Digest::of(text.as_bytes()), size: 4 };
    let file = |text: &str| place.file_with(vec![busybox()], Some(imported(text)), vec![place.index.clone()]);
    let swapped = Sha256Digest::of(b"swapped");
    assert_eq!(
        place.refused(&file("swapped")),
        place.unlisted(&format!("the base (sha256 {swapped})"), "no archive lists a tar or an image")
    );
    let signed = place.written(file("root"), &place.key, "lab");
    assert_eq!(signed.vouched(&place.trusted, &place.store).unwrap().imported, Some(imported("root")));
    let text = fs::read_to_string(signed.path()).unwrap();
    let root = Sha256Digest::of(b"root").to_string();
    fs::write(signed.path(), text.replace(&root, &swapped.to_string())).unwrap();
    let said = place.refused(&place.read());
    let expected = format!(
        "neither the site's signing key (SITE/site.lock.minisig: its signature by key {} does not match its content, which was changed after signing) nor the archive's index ",
        place.key.public().id()
    );
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn writing_a_lock_that_is_not_signed_takes_the_old_signature_away() {
    let place = Fixture::new();
    place.written(place.file(vec![busybox()]), &place.key, "lab");
    assert!(place.signature_path().is_file());
    place.file(vec![busybox()]).write().unwrap();
    assert!(!place.signature_path().exists());
    assert_eq!(place.read().vouched(&place.trusted, &place.store).unwrap().packages, [busybox()]);
}
