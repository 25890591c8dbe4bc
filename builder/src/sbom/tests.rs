use super::*;
use crate::base::lock::LockRequest;
use crate::base::locked_package::{Archive, LockedPackage};
use crate::site::Base;
use handoff::hash::Sha256Digest;
use serde_json::Value;

fn lock() -> Lock {
    let request = LockRequest {
        architecture: &handoff::architecture::X86_64,
        base: Base::Micro,
        suite: "bookworm".into(),
        kernel: "linux-image-amd64".into(),
        extra: Vec::new(),
        rescue_ssh: false,
    };
    let package = |part, name: &str, version: &str| LockedPackage {
        part,
        name: name.into(),
        version: version.into(),
        architecture: "amd64".into(),
        sha256: Sha256Digest::of(name.as_bytes()),
        size: 17,
        archive: Archive::Main,
        file: "pool/x.deb".into(),
    };
    let packages = vec![
        package(Part::Base, "busybox-static", "1:1.35.0-4+b7"),
        package(Part::Boot, "busybox-static", "1:1.35.0-4+b7"),
        package(Part::Base, "libstdc++6", "12.2.0-14"),
    ];
    Lock { request, imported: None, packages, variants: Vec::new() }
}

fn documents() -> (Value, Value) {
    documents_of(&lock())
}

fn documents_of(lock: &Lock) -> (Value, Value) {
    let components = components(lock);
    let id = uuid::Uuid::from_u128(7);
    let subject = Subject { name: "lab-1.0".into(), id, time: 1_793_491_200 };
    let parse = |text: String| serde_json::from_str(&text).unwrap();
    (parse(spdx::document(&subject, &components)), parse(cyclonedx::document(&subject, &components)))
}

#[test]
fn every_package_is_in_both_documents_once() {
    let (spdx, cyclonedx) = documents();
    let purl = "pkg:deb/debian/busybox-static@1%3A1.35.0-4%2Bb7?arch=amd64";
    let in_spdx = |package: &&Value| package["externalRefs"][0]["referenceLocator"] == purl;
    assert_eq!(spdx["packages"].as_array().unwrap().iter().filter(in_spdx).count(), 1);
    let in_cyclonedx = |component: &&Value| component["purl"] == purl;
    assert_eq!(cyclonedx["components"].as_array().unwrap().iter().filter(in_cyclonedx).count(), 1);
    assert!(spdx.to_string().contains("pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64"));
}

#[test]
fn the_nodes_programs_and_crates_are_listed_and_the_workstations_are_not() {
    let (spdx, _) = documents();
    let names: Vec<&str> =
        spdx["packages"].as_array().unwrap().iter().filter_map(|package| package["name"].as_str()).collect();
    for name in ["agent", "initloader", "selector", "handoff", "nix", "uefi"] {
        assert!(names.contains(&name), "{name}");
    }
    for name in ["builder", "clap_mangen", "gpt"] {
        assert!(!names.contains(&name), "{name}");
    }
}

/// What the specifications require of every document (SPDX 2.3, clauses 6 to 7 and 11; CycloneDX 1.5).
#[test]
fn ids_are_unique_and_every_relationship_leads_somewhere() {
    let (spdx, cyclonedx) = documents();
    let packages = spdx["packages"].as_array().unwrap();
    let ids: std::collections::BTreeSet<&str> =
        packages.iter().map(|package| package["SPDXID"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), packages.len());
    for package in packages {
        for key in ["name", "downloadLocation"] {
            assert!(package[key].is_string(), "{package}");
        }
        let id = package["SPDXID"].as_str().unwrap().strip_prefix("SPDXRef-").unwrap();
        assert!(id.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)), "{id}");
    }
    for relationship in spdx["relationships"].as_array().unwrap() {
        assert!(ids.contains(relationship["relatedSpdxElement"].as_str().unwrap()), "{relationship}");
    }
    assert_eq!(spdx["creationInfo"]["created"], "2026-11-01T00:00:00Z");
    let components = cyclonedx["components"].as_array().unwrap();
    let ids: std::collections::BTreeSet<&str> =
        components.iter().map(|component| component["bom-ref"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), components.len());
    assert!(cyclonedx["serialNumber"].as_str().unwrap().starts_with("urn:uuid:"));
}

#[test]
fn an_imported_base_is_in_both_documents_with_its_digest() {
    let digest = Sha256Digest::of(b"base");
    let image = ImportedBase::Image { manifest: digest, layers: Vec::new() };
    let tar = ImportedBase::Tar { sha256: digest, size: 1 };
    for (base, imported, kind, purl) in [
        (
            "oci:registry.example:5000/lab/base:1",
            &image,
            "container",
            format!(
                "pkg:oci/base@sha256%3A{digest}?arch=amd64&repository_url=registry.example%3A5000%2Flab%2Fbase"
            ),
        ),
        ("oci:./Images:1", &image, "container", format!("pkg:oci/images@sha256%3A{digest}?arch=amd64")),
        ("tar:base/root.tar.zst", &tar, "file", format!("pkg:generic/root.tar.zst@sha256%3A{digest}")),
    ] {
        let mut lock = lock();
        lock.request.base = base.parse().unwrap();
        lock.imported = Some(imported.clone());
        let (spdx, cyclonedx) = documents_of(&lock);
        let components = cyclonedx["components"].as_array().unwrap();
        let found = components.iter().find(|component| component["purl"] == purl.as_str());
        let found = found.unwrap_or_else(|| panic!("no {purl}"));
        assert_eq!(
            (&found["type"], &found["hashes"][0]["content"]),
            (&kind.into(), &digest.to_string().into())
        );
        assert!(spdx.to_string().contains(&purl), "{purl}");
    }
}
