//! A node whose base is an OCI image: from a folder that another program wrote, with a whiteout in its second layer,
//! built again without folder and network, and booted to its configuration run.

use anyhow::{Context as _, Result, ensure};
use builder::store::Store;
use builder::tree::LayeredTree;
use handoff::hash::Sha256Digest;
use qemu_tests::build_sandbox::BuildSandbox;
use qemu_tests::command::succeed;
use qemu_tests::stick::Stick;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A program of the lower layer that the upper one removes.
const REMOVED: &str = "usr/bin/ssh-keyscan";

/// The tree of the micro base, which the first build of the site leaves in the store.
fn micro_tree(place: &BuildSandbox) -> Result<Vec<u8>> {
    place.build("alpha")?;
    let trees = Store::at(&place.store())?.entries("derived")?;
    let is_tree = |path: &&PathBuf| {
        let of_micro = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("micro-"));
        of_micro && path.extension().is_some_and(|extension| extension == "tar")
    };
    Ok(fs::read(trees.iter().find(is_tree).context("no tree of the micro base")?)?)
}

fn blob(folder: &Path, kind: &str, bytes: &[u8]) -> Result<Value> {
    let digest = Sha256Digest::of(bytes);
    fs::write(folder.join(format!("blobs/sha256/{digest}")), bytes)?;
    Ok(json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len()}))
}

/// Writes an image with these layers in the form that skopeo reads.
fn write_layout(folder: &Path, layers: &[&[u8]]) -> Result<()> {
    fs::create_dir_all(folder.join("blobs/sha256"))?;
    fs::write(folder.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}")?;
    let ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", Sha256Digest::of(layer))).collect();
    let config =
        json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": ids}})
            .to_string();
    let mut descriptors = Vec::new();
    for layer in layers {
        descriptors.push(blob(folder, "application/vnd.oci.image.layer.v1.tar", layer)?);
    }
    let config = blob(folder, "application/vnd.oci.image.config.v1+json", config.as_bytes())?;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": descriptors});
    let mut entry = blob(folder, kind, manifest.to_string().as_bytes())?;
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "raw"});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    Ok(fs::write(folder.join("index.json"), index.to_string())?)
}

#[test]
fn a_node_boots_from_an_image_and_is_built_again_from_lock_and_store() -> Result<()> {
    let place = BuildSandbox::new()?;
    let lower = micro_tree(&place)?;
    let mut upper = LayeredTree::new();
    let (folder, name) = REMOVED.rsplit_once('/').context("a path")?;
    upper.insert_file(&format!("{folder}/.wh.{name}"), 0o644, *b"")?;
    upper.insert_file("etc/second-layer", 0o644, *b"here\n")?;
    upper.insert_file("etc/os-release", 0o644, *b"ID=somebodys\n")?;
    let mut upper_tar = Vec::new();
    upper.write_tar(&mut upper_tar, 1_700_000_000)?;
    write_layout(&place.path("raw"), &[&lower, &upper_tar])?;
    let copy = ["--insecure-policy", "copy", "--quiet", "oci:raw:raw", "oci:site/layout:micro"];
    succeed(Command::new("skopeo").args(copy).current_dir(place.path("")))?;

    place.edit("site.toml", |text| text.replace("base = \"micro\"", "base = \"oci:./layout:micro\""))?;
    let updated = place.json(&["lock", "update", "--yes", "--site", "site"])?;
    assert_eq!(updated["base"]["name"], "oci:./layout:micro", "{updated}");
    assert_eq!(updated["base"]["before"], Value::Null, "{updated}");
    let built = place.build("alpha")?;
    let digest = fs::read_to_string(place.path("site/site.lock"))?;
    let digest = digest.lines().find_map(|line| line.strip_prefix("manifest = ")).context("no manifest")?;
    let digest = digest.trim_matches('"').to_owned();
    let why = succeed(&mut place.psyops(&["why", "alpha", "--site", "site", "--inputs"]))?.stdout;
    let why = String::from_utf8(why)?;
    ensure!(why.contains("layer 001 = ") && why.contains("layer 002 = "), "{why}");
    let shown = place.json(&["lock", "show", "--site", "site"])?;
    assert_eq!(shown["base"], "oci:./layout:micro", "{shown}");
    let sbom = succeed(&mut place.psyops(&["cat", "alpha.img", "root/usr/share/psyops/sbom.cdx.json"]))?;
    let sbom: Value = serde_json::from_slice(&sbom.stdout)?;
    let components = sbom["components"].as_array().context("no components")?;
    let image = components.iter().find(|component| component["type"] == "container").context("no image")?;
    assert_eq!(image["hashes"][0]["content"], digest.as_str());

    // Neither the folder nor the network is needed again, and no earlier result.
    for gone in ["site/layout", "raw"] {
        fs::remove_dir_all(place.path(gone))?;
    }
    place.forget_all_but_packages()?;
    fs::rename(place.path("alpha.img"), place.path("first.img"))?;
    let command = ["build-image", "--site", "site", "--node", "alpha", "--json"];
    let again: Value = serde_json::from_slice(&succeed(&mut place.psyops_without_network(&command))?.stdout)?;
    assert_eq!(again["node_sha256"], built["node_sha256"]);
    succeed(&mut place.psyops(&["verify-build", "first.img", "--site", "site"]))?;

    let stick = Stick::copy_of(&place.path("alpha.img"))?;
    let mut booted = stick.boots_well_cold(|_| ())?;
    assert_eq!(booted.seen.report.node.as_deref(), Some("alpha"));
    let script = format!(
        "\necho $(cat /etc/second-layer /etc/os-release; test -e /{REMOVED} || echo removed; hostname)-$((40+2))\n"
    );
    booted.machine.send(&script)?;
    booted.machine.wait_for("here ID=somebodys removed alpha-42", Duration::from_mins(1))?;
    booted.power_off()
}
