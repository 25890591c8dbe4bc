//! Locks are written and read, each mistake has its message, and other requests are noticed.

use super::*;
use crate::base::imported::LockedLayer;
use crate::base::locked_package::Archive;
use crate::error::{Class, Classified as _};
use crate::site::{GeneratedKeys, InitOptions, init_site};
use handoff::hash::Sha256Digest;
use handoff::shown::must_be_escaped;
use std::fs;

fn lock() -> Lock {
    let request = LockRequest {
        architecture: &handoff::architecture::X86_64,
        base: Base::Micro,
        suite: "bookworm".into(),
        kernel: "linux-image-amd64".into(),
        extra: vec!["tree".into()],
        rescue_ssh: true,
    };
    let version = "1:1.0-1+b1";
    let packages =
        vec![package(Part::Base, "tree", version), package(Part::Boot, "systemd-boot-efi", version)];
    Lock { request, imported: None, packages, variants: Vec::new() }
}

/// A package of this version with a unique digest.
pub(in crate::base) fn package(part: Part, name: &str, version: &str) -> LockedPackage {
    LockedPackage {
        part,
        name: name.into(),
        version: version.into(),
        architecture: "amd64".into(),
        sha256: Sha256Digest::of(format!("{name} {version}").as_bytes()),
        size: 17,
        archive: Archive::Main,
        file: format!("pool/main/{name}_{}_amd64.deb", version.replace(':', "%3a")),
    }
}

/// The same lock with a node that also has `jq`, and another libc6.
fn lock_with_variant() -> Lock {
    let mut lock = lock();
    lock.packages.insert(0, package(Part::Base, "libc6", "1"));
    let packages = vec![package(Part::Base, "jq", "1"), package(Part::Base, "libc6", "2")];
    lock.variants.push(Variant { wanted: vec!["jq".into()], without: vec!["tree".into()], packages });
    lock
}

fn decoded(text: &str) -> Lock {
    let (lock, indexes) = Lock::decode(Path::new("x"), text).unwrap();
    assert_eq!(indexes, []);
    lock
}

fn problem(text: &str) -> String {
    match Lock::decode(Path::new("site.lock"), text).unwrap_err() {
        BaseError::BadLock { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

#[test]
fn a_written_value_is_read_back() {
    let text = lock().encode(&[]).unwrap();
    assert_eq!(decoded(&text), lock(), "{text}");
    assert!(!text.contains("variant"), "a site with one system has the lock that it always had: {text}");
    let text = lock_with_variant().encode(&[]).unwrap();
    assert_eq!(decoded(&text), lock_with_variant(), "{text}");
    let difference = "\n[[variant]]\nwanted = [\"jq\"]\nwithout = [\"tree\"]\n\n[[variant.package]]\n";
    assert!(text.contains(difference), "{text}");
}

/// A lock that was written before there were variants.
#[test]
fn an_old_lock_is_read() {
    let package =
        "[[package]]\npart = \"base\"\nname = \"tree\"\nversion = \"2\"\narchitecture = \"amd64\"\n";
    let sha256 = Sha256Digest::of(b"tree 2");
    let text = format!(
        "format = 1\nbase = \"micro\"\nsuite = \"bookworm\"\nkernel = \"k\"\nextra = [\"tree\"]\n\n{package}\
         sha256 = \"{sha256}\"\nsize = 17\narchive = \"main\"\nfile = \"pool/main/tree_2_amd64.deb\"\n"
    );
    let lock = decoded(&text);
    assert_eq!(lock.packages, [self::package(Part::Base, "tree", "2")]);
    assert_eq!(lock.encode(&[]).unwrap(), format!("{HEADER}{text}"));
}

#[test]
fn each_mistake_has_its_message() {
    let text = lock().encode(&[]).unwrap();
    assert!(problem(&text.replace("format = 1", "format = 2")).starts_with("format 2 is not supported"));
    assert_eq!(problem(&text.replace("\"micro\"", "\"nano\"")), "unknown base \"nano\"");
    assert!(problem(&text.replace("sha256 = \"", "sha256 = \"x")).contains("not a SHA-256 digest"));
    assert!(problem(&text.replace("pool/main", "../pool")).contains("is not a path in an archive"));
    assert!(problem(&text.replace("size = 17", "colour = 17")).contains("unknown field"));
    let text = lock_with_variant().encode(&[]).unwrap();
    let (site, variant) = text.split_once("[[variant]]").unwrap();
    let twice = format!("{text}\n[[variant]]{variant}");
    assert_eq!(problem(&twice), "variant [jq] is listed twice");
    let without = format!("{site}[[variant]]{}", variant.replace("[\"tree\"]", "[\"systemd-boot-efi\"]"));
    assert!(
        problem(&without).contains("leaves out systemd-boot-efi, which is not among the site's packages")
    );
    let boot = format!("{site}[[variant]]{}", variant.replacen("\"base\"", "\"boot\"", 1));
    assert_eq!(problem(&boot), "variant [jq]: package jq is not a package of the root");
    let outside = format!("{site}[[variant]]{}", variant.replacen("pool/main", "../pool", 1));
    assert!(
        problem(&outside).starts_with("variant [jq]: package jq: ")
            && problem(&outside).contains("is not a path")
    );
}

#[test]
fn nothing_that_a_terminal_would_obey_gets_out_of_a_lock() {
    let text = lock().encode(&[]).unwrap();
    let wrong = |from: &str, to: &str| problem(&text.replacen(from, to, 1));
    let not_debians = "which is not valid in Debian";
    assert_eq!(
        wrong("name = \"tree\"", "name = \"tr\\u001bee\""),
        format!("a package has the name \"tr\\u{{1b}}ee\", {not_debians}")
    );
    assert_eq!(
        wrong("version = \"1:", "version = \"--help"),
        format!("package tree: a package has the version \"--help1.0-1+b1\", {not_debians}")
    );
    assert_eq!(
        wrong("\"amd64\"", "\"../x\""),
        format!("package tree: a package has the architecture \"../x\", {not_debians}")
    );
    assert_eq!(
        wrong("size = 17", "size = 9223372036854775807"),
        "package tree: its size cannot be 9223372036854775807 bytes"
    );
    assert_eq!(wrong("\"bookworm\"", "\"b\\u0007\""), "\"b\\u{7}\" has a control character");
    let raw = problem(&text.replacen("suite = ", "suite\u{1b}[2J = ", 1));
    assert!(raw.starts_with("line ") && !raw.chars().any(must_be_escaped), "{raw:?}");
    let key = problem(&text.replacen("suite = ", "\"suite\\u001b[2J\\nerror: \" = 1\nsuite = ", 1));
    assert!(key.contains("unknown field `suite\\u001b[2J\\nerror: `"), "{key:?}");
}

#[test]
fn indexes_are_written_and_read() {
    let digests = |name: &str| IndexDigests {
        in_release: Sha256Digest::of(name.as_bytes()),
        packages: Sha256Digest::of(format!("{name} packages").as_bytes()),
    };
    let indexes = [digests("main"), digests("security")];
    let text = lock().encode(&indexes).unwrap();
    assert_eq!(Lock::decode(Path::new("x"), &text).unwrap(), (lock(), indexes.to_vec()), "{text}");
    assert!(problem(&text.replace("packages = \"", "packages = \"x")).starts_with("index: "));
    let many = vec![digests("x"); MOST_INDEXES + 1];
    assert_eq!(problem(&lock().encode(&many).unwrap()), "it has 9 indexes, more than 8");
}

#[test]
fn a_lock_for_another_request_is_out_of_date() {
    let other = LockRequest { base: Base::Debian, ..lock().request };
    let error = lock().answers(Path::new("site.lock"), &other).unwrap_err();
    assert_eq!(
        error.to_string(),
        "site.lock is out of date: it was made for base = micro, but the site has debian"
    );
    assert!(matches!(error, BaseError::OutdatedLock { key: "base", .. }));
    lock().answers(Path::new("site.lock"), &lock().request).unwrap();
}

#[test]
fn an_imported_base_is_written_and_read() {
    let digest = |text: &str| Sha256Digest::of(text.as_bytes());
    let layers = ["one", "two"].map(|text| LockedLayer { sha256: digest(text), size: 5 }).to_vec();
    for (base, imported) in [
        ("tar:root.tar", ImportedBase::Tar { sha256: digest("tar"), size: 9 }),
        ("oci:./images:stable", ImportedBase::Image { manifest: digest("manifest"), layers }),
    ] {
        let request = LockRequest { base: base.parse().unwrap(), ..lock().request };
        let lock = Lock { request, imported: Some(imported), ..lock() };
        let text = lock.encode(&[]).unwrap();
        assert_eq!(decoded(&text), lock, "{text}");
        assert!(problem(&text.replace("sha256 = \"", "sha256 = \"x")).contains("not a SHA-256 digest"));
        for other in ["micro", "tar:x", "oci:./x"] {
            let text = text.replace(&format!("{base:?}"), &format!("{other:?}"));
            let read = Lock::decode(Path::new("x"), &text);
            assert_eq!(read.is_ok(), other.get(..4) == base.get(..4), "{text}");
        }
        let none = Lock { imported: None, ..lock.clone() };
        assert_ne!(none.digest(), lock.digest());
    }
}

#[test]
fn the_key_follows_the_packages_of_its_part() {
    let (one, mut other) = (lock(), lock());
    other.packages[0].sha256 = Sha256Digest::of(b"changed");
    let key = |lock: &Lock, step, part| lock.inputs(step, part).key();
    assert_ne!(key(&one, StepName::Kernel, Part::Base), key(&other, StepName::Kernel, Part::Base));
    assert_eq!(key(&one, StepName::Kernel, Part::Boot), key(&other, StepName::Kernel, Part::Boot));
    assert_ne!(key(&one, StepName::Kernel, Part::Boot), key(&one, StepName::Root, Part::Boot));
}

/// A site with node alpha; the lines about packages in its two files.
pub(in crate::base) fn site(folder: &Path, site_lines: &str, node_lines: &str) -> Site {
    let keys = GeneratedKeys {
        admin_recipient: format!("age1{}", "q".repeat(58)),
        signing_public: format!("RW{}", "Q".repeat(54)),
    };
    let options = InitOptions { build_time: 1_793_491_200, open_consoles: false, ..InitOptions::default() };
    init_site(folder, &"lab".parse().unwrap(), &"alpha".parse().unwrap(), &keys, &options).unwrap();
    let put = |file: &str, change: &dyn Fn(String) -> String| {
        let path = folder.join(file);
        fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
    };
    put("site.toml", &|text| format!("{text}\n[packages]\n{site_lines}\n"));
    put("nodes/alpha.toml", &|text| format!("{node_lines}\n{text}"));
    Site::load(folder).unwrap()
}

#[test]
fn each_set_has_its_packages() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path(), "extra = [\"tree\"]", "packages = [\"jq\"]");
    let (lock, node) = (lock_with_variant(), site.node("alpha").unwrap());
    let of_site = lock.of(&site, &site.packages.extra).unwrap();
    assert_eq!((of_site.packages, of_site.variants), (lock.packages.clone(), Vec::new()));
    let of_node = lock.of(&site, &node.packages).unwrap();
    assert_eq!(
        (of_node.request.extra.as_slice(), of_node.variants.len()),
        (["jq".into(), "tree".into()].as_slice(), 0)
    );
    let versions: Vec<_> =
        of_node.packages.iter().map(|package| (&*package.name, &*package.version)).collect();
    assert_eq!(versions, [("jq", "1"), ("libc6", "2"), ("systemd-boot-efi", "1:1.0-1+b1")]);
}

#[test]
fn a_node_with_a_changed_request_is_reported_with_its_packages() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path(), "extra = [\"tree\"]", "packages = [\"jq\", \"pv=1.6\"]");
    let error = lock_with_variant().of(&site, &site.node("alpha").unwrap().packages).unwrap_err();
    let (lock, node) = (folder.path().join("site.lock"), folder.path().join("nodes/alpha.toml"));
    let expected = format!(
        "{} is out of date: node alpha now wants jq ({1}:1:13), pv=1.6 ({1}:1:19) besides the site's packages",
        lock.display(),
        node.display()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.class(), Class::BadContent);
    assert!(error.advice().unwrap().contains("psyops lock update"));
}
