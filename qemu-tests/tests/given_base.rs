//! A node whose base is an OCI image: out of a folder that another program wrote, with a whiteout in its second layer,
//! built again without folder and network, and booted to its configuration run.

use anyhow::{Context as _, Result, ensure};
use builder::base::tree::LayeredTree;
use builder::store::Store;
use handoff::hash::Sha256Digest;
use nix::unistd::geteuid;
use qemu_tests::command::succeed;
use qemu_tests::ssh::Ssh;
use qemu_tests::stick::Stick;
use qemu_tests::world::World;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A program of the lower layer that the upper one removes.
const REMOVED: &str = "usr/bin/ssh-keyscan";

/// A copy of the world's site, and a store of its own with the user's packages and nothing else.
struct Workplace {
    world: World,
    folder: TempDir,
}

impl Workplace {
    fn new() -> Result<Self> {
        let place = Self { world: World::micro()?, folder: tempfile::tempdir()? };
        // The first image of the world makes the nodes' keys, and fetches what the user's store does not have.
        drop(place.world.stick("alpha")?);
        succeed(Command::new("cp").arg("-r").arg(place.world.site()).arg(place.path("site")))?;
        let debs = Store::from_environment()?.dir().join("debs");
        fs::create_dir_all(place.path("cache/psyops"))?;
        succeed(Command::new("cp").arg("-r").arg(debs).arg(place.path("cache/psyops")))?;
        Ok(place)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn called(&self, mut command: Command) -> Command {
        command.current_dir(self.folder.path()).env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    fn psyops(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        let mut command = self.called(self.world.psyops());
        Ok(succeed(command.args(arguments))?.stdout)
    }

    fn build(&self) -> Result<Value> {
        let arguments = ["build-image", "--site", "site", "--node", "alpha", "--json"];
        Ok(serde_json::from_slice(&self.psyops(&arguments)?)?)
    }

    /// The same without any network.
    fn build_alone(&self) -> Result<Value> {
        let psyops = self.world.psyops();
        let mut alone = Command::new("unshare");
        alone.arg(if geteuid().is_root() { "-n" } else { "-rn" }).arg(psyops.get_program());
        for (name, value) in psyops.get_envs() {
            alone.env(name, value.context("a variable without value")?);
        }
        alone.args(["build-image", "--site", "site", "--node", "alpha", "--json"]);
        Ok(serde_json::from_slice(&succeed(&mut self.called(alone))?.stdout)?)
    }

    /// The tree of the micro base, which a build of the site as it was has left in the store.
    fn micro_tree(&self) -> Result<Vec<u8>> {
        self.build()?;
        let trees = Store::at(&self.path("cache/psyops"))?.entries("derived")?;
        let is_tree = |path: &PathBuf| {
            let of_micro = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("micro-"));
            of_micro && path.extension().is_some_and(|extension| extension == "tar")
        };
        Ok(fs::read(trees.iter().find(|path| is_tree(path)).context("no tree of the micro base")?)?)
    }
}

fn blob(folder: &Path, kind: &str, bytes: &[u8]) -> Result<Value> {
    let digest = Sha256Digest::of(bytes);
    fs::write(folder.join(format!("blobs/sha256/{digest}")), bytes)?;
    Ok(json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len()}))
}

/// Writes an image of these layers, as skopeo then reads it.
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
    let place = Workplace::new()?;
    let lower = place.micro_tree()?;
    let mut upper = LayeredTree::new();
    let (folder, name) = REMOVED.rsplit_once('/').context("a path")?;
    upper.insert_file(&format!("{folder}/.wh.{name}"), 0o644, *b"")?;
    upper.insert_file("etc/second-layer", 0o644, *b"here\n")?;
    upper.insert_file("etc/os-release", 0o644, *b"ID=somebodys\n")?;
    let mut upper_tar = Vec::new();
    upper.write_tar(&mut upper_tar, 1_700_000_000)?;
    write_layout(&place.path("raw"), &[&lower, &upper_tar])?;
    let copy = ["--insecure-policy", "copy", "--quiet", "oci:raw:raw", "oci:site/layout:micro"];
    succeed(place.called(Command::new("skopeo")).args(copy))?;

    let toml = place.path("site/site.toml");
    let text = fs::read_to_string(&toml)?.replace("base = \"micro\"", "base = \"oci:./layout:micro\"");
    fs::write(&toml, text)?;
    let changes: Value = serde_json::from_slice(&place.psyops(&["lock", "--site", "site", "--json"])?)?;
    assert_eq!(changes["changes"][0]["name"], "oci:./layout:micro", "{changes}");
    let built = place.build()?;
    let digest = fs::read_to_string(place.path("site/site.lock"))?;
    let digest = digest.lines().find_map(|line| line.strip_prefix("manifest = ")).context("no manifest")?;
    let digest = digest.trim_matches('"').to_owned();
    let why = String::from_utf8(place.psyops(&["why", "alpha", "--site", "site", "--inputs"])?)?;
    ensure!(why.contains("layer 001 = ") && why.contains("layer 002 = "), "{why}");
    let papers = place.psyops(&["cat", "alpha.img", "root/usr/share/psyops/sbom.cdx.json"])?;
    let papers: Value = serde_json::from_slice(&papers)?;
    let components = papers["components"].as_array().context("no components")?;
    let image = components.iter().find(|component| component["type"] == "container").context("no image")?;
    assert_eq!(image["hashes"][0]["content"], digest.as_str());

    // Neither the folder nor the network is needed again, nor is anything that was made.
    for gone in ["site/layout", "raw", "cache/psyops/derived", "cache/psyops/roots", "cache/psyops/apt"] {
        fs::remove_dir_all(place.path(gone))?;
    }
    fs::rename(place.path("alpha.img"), place.path("first.img"))?;
    let again = place.build_alone()?;
    assert_eq!(again["node_sha256"], built["node_sha256"]);
    place.psyops(&["verify-build", "first.img", "--site", "site"])?;

    let stick = Stick::copy_of(&place.path("alpha.img"))?;
    let ssh = Ssh::new(&place.world)?;
    let mut booted = stick.boots_well(|setup| setup.ssh = Some(ssh.port()))?;
    assert_eq!(booted.seen.report.node.as_deref(), Some("alpha"));
    let script =
        format!("cat /etc/second-layer /etc/os-release; test -e /{REMOVED} || echo removed; hostname");
    assert_eq!(ssh.run("alpha", &script)?, "here\nID=somebodys\nremoved\nalpha\n");
    booted.power_off()
}
