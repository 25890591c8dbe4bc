//! Packages, archives and bases of a site.

use super::tests::{NODE, Sample};
use super::*;
use crate::error::{Class, Classified as _};
use std::fs;

/// apt has methods that log in by SSH, or read files that another program prepared.
#[test]
fn an_archive_is_reached_only_by_ways_that_fetch_bytes() {
    let load = |key: &str, address: &str| {
        let sample = Sample::new();
        sample.append("site.toml", &format!("\n[packages]\n{key} = \"{address}\"\n")).load()
    };
    for good in ["http://a/debian", "https://a/debian", "file:/srv/debian", "tor+https://a/debian"] {
        assert_eq!(load("mirror", good).unwrap().packages.mirror, good);
        assert_eq!(load("security-mirror", good).unwrap().packages.security_mirror, good);
    }
    assert_eq!(load("security-mirror", "").unwrap().packages.security_mirror, "");
    for bad in ["ssh://a/debian", "rsh://a/debian", "mirror+file:/srv/list", "cdrom:x", "/srv/debian", ""] {
        let error = load("mirror", bad).unwrap_err().to_string();
        let problem = "the address of an archive must begin with one of: http, https, ftp, file, copy, tor+http, tor+https";
        assert!(error.contains("site.toml:") && error.ends_with(problem), "{error}");
    }
}

#[test]
fn a_node_has_the_packages_of_the_site_of_its_roles_and_its_own() {
    let sample = Sample::new();
    add_node(&sample.load().unwrap(), &"beta".parse().unwrap(), None).unwrap();
    sample.edit("nodes/beta.toml", "roles = []", "roles = [\"hello\", \"example\"]");
    let site = sample.load().unwrap();
    assert!(site.other_sets().is_empty() && site.packages.extra == PackageSet::default());
    sample.append("site.toml", "[packages]\nextra = [\"tree\"]\n");
    sample.append("roles/example/role.toml", "packages = [\"jq=1.6-2.1\", \"tree\"]\n");
    sample.edit(NODE, "roles =", "packages = [\"pv\"]\nroles =");
    let site = sample.load().unwrap();
    assert_eq!(site.packages.extra.words(), ["tree"]);
    assert_eq!(site.node("alpha").unwrap().packages.words(), ["jq=1.6-2.1", "pv", "tree"]);
    let sets: Vec<_> = site.other_sets().into_iter().map(|(set, nodes)| (set.words(), nodes.len())).collect();
    let expected = [vec!["jq=1.6-2.1", "pv", "tree"], vec!["jq=1.6-2.1", "tree"]];
    assert_eq!(sets, expected.map(|words| (words.into_iter().map(str::to_owned).collect(), 1)));
    // Without the role, the node has the packages of every node.
    sample.edit("nodes/beta.toml", "\"hello\", \"example\"", "\"hello\"");
    let site = sample.load().unwrap();
    assert_eq!(site.node("beta").unwrap().packages, site.packages.extra);
}

#[test]
fn each_wrong_package_is_refused_with_its_place() {
    for (file, from, to, place) in [
        ("site.toml", "[rescue]", "[packages]\nextra = [\"tree\", \"Tree\"]\n[rescue]", "extra = \"Tree\""),
        (NODE, "roles =", "packages = [\"jq/sid\"]\nroles =", "3:13: packages = \"jq/sid\""),
        (NODE, "roles =", "packages = [\"jq-\"]\nroles =", "3:13: packages = \"jq-\""),
        ("roles/example/role.toml", "stage =", "packages = [\"jq=\"]\nstage =", "3:13: packages = \"jq=\""),
        (
            "roles/example/role.toml",
            "stage =",
            "packages = [\"jq=1*\"]\nstage =",
            "3:13: packages = \"jq=1*\"",
        ),
    ] {
        let sample = Sample::new();
        sample.edit(file, from, to);
        let error = sample.error();
        assert!(matches!(error, SiteError::WrongValue { .. }), "{error}");
        assert!(
            error.to_string().contains(&format!("{file}:")) && error.to_string().contains(place),
            "{error}"
        );
    }
    let sample = Sample::new();
    sample.append("roles/example/role.toml", "packages = [\"jq=1\"]\n");
    sample.edit(NODE, "roles =", "packages = [\"jq=2\"]\nroles =");
    let error = sample.error();
    let at = |file: &str| sample.0.path().join(file).display().to_string();
    let (node, role) = (at(NODE), at("roles/example/role.toml"));
    let expected = format!(
        "{node}:3:13: node alpha would get both jq=2 and jq=1, which {role}:6:13 lists; list one version only"
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.class(), Class::BadContent);
    // Another node with only the role would be right: the conflict is within one system.
    sample.edit(NODE, "\"hello\", \"example\"", "\"hello\"");
    sample.load().unwrap();
}

#[test]
fn an_imported_base_cannot_have_packages() {
    let sample = Sample::new();
    sample.edit("site.toml", "base = \"micro\"", "base = \"oci:registry.example/base:1\"");
    assert_eq!(sample.load().unwrap().base.to_string(), "oci:registry.example/base:1");
    sample.append("site.toml", "\n[packages]\nextra = [\"tree\"]\n");
    let error = sample.error();
    assert!(matches!(&error, SiteError::WrongValue { key: "extra", .. }), "{error}");
    assert!(error.to_string().contains("the builder cannot install packages in an imported base"), "{error}");
    sample.edit("site.toml", "extra = [\"tree\"]", "");
    sample.load().unwrap();
    let nodes: Vec<_> = sample.load().unwrap().nodes().map(|node| node.name.to_string()).collect();
    let file = format!("nodes/{}.toml", nodes[0]);
    let text = fs::read_to_string(sample.0.path().join(&file)).unwrap();
    fs::write(sample.0.path().join(&file), format!("packages = [\"tree\"]\n{text}")).unwrap();
    let error = sample.error();
    assert!(matches!(&error, SiteError::WrongValue { key: "packages", .. }), "{error}");
}

#[test]
fn an_ambiguous_base_is_reported_with_its_place() {
    let sample = Sample::new();
    sample.edit("site.toml", "base = \"micro\"", "base = \"oci:library/debian:12\"");
    let error = sample.error();
    assert!(
        matches!(&error, SiteError::WrongValue { key: "base", at: Location { line, .. }, .. } if *line > 1),
        "{error}"
    );
}
