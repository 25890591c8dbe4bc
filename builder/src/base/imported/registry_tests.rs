//! Images from a registry: Debian's docker-registry on this machine, filled by skopeo.

use super::http::Patience;
use super::tests::{Fixture, system, tar, text};
use super::*;
use crate::error::{Class, Classified as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// A registry process that is stopped when this is dropped.
struct RunningRegistry {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl RunningRegistry {
    fn start() -> Self {
        Self::start_with("", tempfile::tempdir().unwrap())
    }

    /// Starts with certificates that openssl makes: `ca.pem` is the one to trust.
    fn start_with_tls() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = "key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
            openssl req -x509 $key -days 2 -subj /CN=ca -keyout ca.key -out ca.pem
            openssl req $key -subj /CN=registry -addext subjectAltName=IP:0.0.0.0 -keyout key.pem -out request.pem
            openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \\
                -copy_extensions copy -out cert.pem";
        let output = Command::new("sh").args(["-ec", script]).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let file = |name: &str| folder.path().join(name).display().to_string();
        let tls = format!("  tls:\n    certificate: {}\n    key: {}\n", file("cert.pem"), file("key.pem"));
        Self::start_with(&tls, folder)
    }

    fn start_with(tls: &str, folder: TempDir) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let configuration = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{tls}",
            folder.path().join("data").display()
        );
        let file = folder.path().join("config.yml");
        fs::write(&file, configuration).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is needed: install docker-registry");
        let registry = Self { child, port, folder };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return registry;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("the registry does not answer");
    }

    /// Copies the image with this tag from the layout folder of a fixture into the registry.
    fn push(&self, place: &Fixture, tag: &str) {
        let from = format!("oci:{}:{tag}", place.site.dir.join("layout").display());
        let to = format!("docker://127.0.0.1:{}/lab/base:stable", self.port);
        let output = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", &from, &to])
            .output()
            .expect("skopeo is needed: install skopeo");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Where the registry itself stores a blob.
    fn blob(&self, digest: &handoff::hash::Sha256Digest) -> PathBuf {
        let (text, data) =
            (digest.to_string(), self.folder.path().join("data/docker/registry/v2/blobs/sha256"));
        data.join(&text[..2]).join(&text).join("data")
    }
}

impl Drop for RunningRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A site whose base is the image that `tag` of the registry refers to, with images `one` and `two` to push.
fn place(registry: &RunningRegistry, reference: &str) -> Fixture {
    let place = Fixture::new(&format!("oci:127.0.0.1:{}/lab/base{reference}", registry.port));
    let mut second = LayeredTree::new();
    second.insert_file("etc/.wh.motd", 0o644, *b"").unwrap();
    let layers = [tar(&system()), tar(&second)];
    let (one, two) = (place.image(&layers[..1], "amd64", "one"), place.image(&layers, "amd64", "two"));
    place.index(&[one, two]);
    place
}

#[test]
fn a_tag_is_pulled_once_and_the_lock_holds_when_it_moves_and_when_the_registry_is_gone() {
    let registry = RunningRegistry::start();
    let place = place(&registry, ":stable");
    let absent = place.resolve().unwrap_err();
    assert_eq!(absent.class(), Class::MissingInput, "{absent}");
    registry.push(&place, "one");
    let locked = place.resolve().unwrap();
    registry.push(&place, "two");
    // The tag has moved; the locked image is still what is fetched.
    let moved = place.resolve().unwrap();
    assert_ne!(moved.digest(), locked.digest());
    let (tree, _) = place.make(&locked).unwrap();
    assert_eq!(text(&tree, "etc/motd").as_deref(), Some("base\n"));
    let (tree, _) = place.make(&moved).unwrap();
    assert!(!tree.contains("etc/motd"));
    drop(registry);
    let gone = place.resolve().unwrap_err();
    assert_eq!(gone.class(), Class::Unavailable, "{gone}");
    place.make(&locked).unwrap();
    place.make(&moved).unwrap();
    // Without the layers in the store, the registry is needed again.
    fs::remove_dir_all(place.store.dir().join("blobs")).unwrap();
    fs::create_dir(place.store.dir().join("blobs")).unwrap();
    let error = place.make(&locked).err().unwrap();
    assert_eq!(error.class(), Class::Unavailable, "{error}");
}

#[test]
fn a_digest_is_pulled_whatever_the_tag_says() {
    let registry = RunningRegistry::start();
    let by_tag = place(&registry, ":stable");
    registry.push(&by_tag, "one");
    let one = by_tag.resolve().unwrap();
    registry.push(&by_tag, "two");
    let by_digest = place(&registry, &format!("@sha256:{}", one.digest()));
    assert_eq!(by_digest.resolve().unwrap(), one);
    let (tree, _) = by_digest.make(&one).unwrap();
    assert!(tree.contains("etc/motd"));
    let nobodys = place(&registry, &format!("@sha256:{}", "0".repeat(64)));
    let error = nobodys.resolve().unwrap_err();
    assert_eq!(error.class(), Class::MissingInput, "{error}");
}

#[test]
fn wrong_content_from_a_registry_is_refused() {
    let registry = RunningRegistry::start();
    let place = place(&registry, ":stable");
    registry.push(&place, "one");
    let locked = place.resolve().unwrap();
    let ImportedBase::Image { manifest, layers } = &locked else { panic!("{locked:?}") };
    let (layer, blob) = (&layers[0], registry.blob(&layers[0].sha256));
    let mut bytes = fs::read(&blob).unwrap();
    bytes[100] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    let refused = |says: &str| {
        let error = place.make(&locked).err().unwrap();
        assert_eq!(error.class(), Class::BadContent, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(!place.store.blob(&layer.sha256).exists());
    };
    refused("has the SHA-256");
    bytes[100] ^= 1;
    bytes.push(0);
    fs::write(&blob, &bytes).unwrap();
    refused("more bytes");
    bytes.truncate(200);
    fs::write(&blob, &bytes).unwrap();
    refused("has the SHA-256");
    // A registry that mistakes one manifest for another.
    let other = registry.blob(manifest);
    registry.push(&place, "two");
    let two = place.resolve().unwrap();
    fs::copy(registry.blob(&two.digest()), other).unwrap();
    let by_digest = super::registry_tests::place(&registry, &format!("@sha256:{}", locked.digest()));
    let error = by_digest.resolve().unwrap_err();
    assert_eq!(error.class(), Class::BadContent, "{error}");
}

/// The environment variable with which a test starts itself again: its value is the reference to resolve.
const REFERENCE: &str = "PSYOPS_TEST_REFERENCE";

/// Resolves an image in a process of its own, which trusts only this certificate; returns what it printed.
fn resolve_elsewhere(reference: &str, trusted: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "base::imported::registry_tests::resolves", "--ignored", "--nocapture"])
        .env(REFERENCE, reference)
        .env("SSL_CERT_FILE", trusted)
        .output()
        .unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
#[ignore = "runs inside a process that the other tests make"]
fn resolves() {
    let reference = std::env::var(REFERENCE).expect("started by another test");
    let resolved = Fixture::new(&format!("oci:{reference}")).resolve();
    let class = resolved.as_ref().err().map(|error| (error.class(), error.to_string()));
    assert!(resolved.is_ok(), "not resolved: {class:?}");
}

/// 0.0.0.0 reaches this machine as well, but does not count as local.
#[test]
fn another_machines_registry_is_asked_over_tls_and_must_be_trusted() {
    let registry = RunningRegistry::start_with_tls();
    let place = place(&registry, ":stable");
    registry.push(&place, "one");
    let reference = format!("0.0.0.0:{}/lab/base:stable", registry.port);
    let said = resolve_elsewhere(&reference, &registry.folder.path().join("ca.pem"));
    assert!(said.contains("1 passed"), "{said}");
    let stranger = RunningRegistry::start_with_tls();
    let said = resolve_elsewhere(&reference, &stranger.folder.path().join("ca.pem"));
    assert!(said.contains("not resolved: Some((Unavailable"), "{said}");
}

#[test]
fn another_machines_registry_is_never_asked_without_tls() {
    let registry = RunningRegistry::start();
    let place = place(&registry, ":stable");
    registry.push(&place, "one");
    let other = Fixture::new(&format!("oci:0.0.0.0:{}/lab/base:stable", registry.port));
    let error = other.resolve().unwrap_err();
    assert_eq!(error.class(), Class::Unavailable, "{error}");
    place.resolve().unwrap();
}

/// A server that sends a byte now and then would stay within a limit on silence.
#[test]
fn a_registry_that_is_slow_without_end_is_not_waited_for() {
    let host = super::hostile_server::serve(|path, to| {
        let length = if path == "/v2/" { 0 } else { 1 << 20 };
        super::hostile_server::head(to, "200 OK", &format!("Content-Length: {length}\r\n"))?;
        loop {
            std::io::Write::write_all(to, b" ")?;
            thread::sleep(Duration::from_millis(20));
        }
    });
    let reference = format!("{host}/lab/base:stable").parse().unwrap();
    let patience = Patience { answer: Duration::from_secs(1), rate: 1 << 20 };
    let registry = Registry::patient(&reference, patience).unwrap();
    let slow = |what: &str, seconds: u32| {
        format!("cannot get {what} of {reference}: there was no complete answer within {seconds} s")
    };
    let error = manifest::resolve(&registry, &handoff::architecture::X86_64).unwrap_err();
    assert_eq!((error.class(), error.to_string()), (Class::Unavailable, slow("the manifest", 1)));
    let layer = LockedLayer { sha256: handoff::hash::Sha256Digest::of(b""), size: 1 << 20 };
    let folder = tempfile::tempdir().unwrap();
    let error = registry.download(&layer, &folder.path().join("layer")).unwrap_err();
    assert_eq!(error.to_string(), slow(&format!("the layer {}", layer.sha256), 2));
}
