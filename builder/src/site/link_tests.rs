//! Links in a site lead to its own files only.

use super::tests::{NODE, Sample};
use super::*;
use crate::error::{Class, Classified as _};
use std::fs;
use tempfile::TempDir;

/// A link in the site that leads outside, to a key folder beside the site.
fn link_to_keys(sample: &Sample, keys: &TempDir, at: &str) {
    fs::write(keys.path().join("signing.key"), "secret").unwrap();
    let place = sample.0.path().join(at);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    let target =
        if at.starts_with("files/") { keys.path().join("signing.key") } else { keys.path().to_owned() };
    std::os::unix::fs::symlink(target, place).unwrap();
}

/// The error about a link that leads out of the sample.
fn outside(sample: &Sample) -> String {
    format!(
        "a symbolic link in the path leads out of {}; put the file itself there",
        sample.0.path().display()
    )
}

#[test]
fn a_source_that_is_a_link_to_a_key_is_refused() {
    let (sample, keys) = (Sample::new(), tempfile::tempdir().unwrap());
    link_to_keys(&sample, &keys, "files/motd.txt");
    sample.append(NODE, "[[file]]\npath = \"motd\"\nsource = \"files/motd.txt\"\n");
    let error = sample.error();
    assert!(matches!(error, SiteError::UnusableSource { .. }), "{error}");
    let path = sample.0.path().join("files/motd.txt");
    let expected = format!("{} cannot be used: {}", path.display(), outside(&sample));
    assert!(error.to_string().ends_with(&expected), "{error}");
    assert_eq!(error.class(), Class::BadContent);
}

#[test]
fn roles_and_overlays_that_are_links_to_a_key_folder_are_refused() {
    for at in ["roles/keys", "overlays/keys", "nodes/beta.toml", "secrets/nodes"] {
        let (sample, keys) = (Sample::new(), tempfile::tempdir().unwrap());
        link_to_keys(&sample, &keys, at);
        if at.starts_with("secrets") {
            let store = sample.load().unwrap().secrets_dir();
            assert_eq!(store.read("nodes/signing.key").unwrap_err().to_string(), outside(&sample));
            continue;
        }
        let error = sample.error();
        let path = sample.0.path().join(at);
        assert_eq!(error.to_string(), format!("cannot read {}: {}", path.display(), outside(&sample)));
        assert_eq!(error.class(), Class::BadContent);
    }
}

#[test]
fn links_inside_the_site_work() {
    let sample = Sample::new();
    let at = |path: &str| sample.0.path().join(path);
    fs::create_dir_all(at("shared/files")).unwrap();
    fs::write(at("shared/role.toml"), "kind = \"overlay\"").unwrap();
    fs::write(at("shared/motd"), "hello").unwrap();
    std::os::unix::fs::symlink("../shared", at("roles/shared")).unwrap();
    std::os::unix::fs::symlink("shared", at("files")).unwrap();
    sample.append(NODE, "[[file]]\npath = \"motd\"\nsource = \"files/motd\"\n");
    let site = sample.load().unwrap();
    assert!(site.roles.contains_key(&"shared".parse().unwrap()));
    assert_eq!(site.folder.text("files/motd").unwrap(), "hello");
}
