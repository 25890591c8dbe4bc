//! The build engine with real programs and packages: only what changed is built again, the reason is reported, several
//! nodes share what they can, and an image can be verified by building it again.

use anyhow::{Context as _, Result, ensure};
use builder::parallel;
use builder::run::{Access, Setup};
use qemu_tests::build_sandbox::BuildSandbox;
use qemu_tests::command::succeed;
use qemu_tests::stick::Booted;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The steps of a build that ran, with their reasons.
fn made(built: &Value) -> Vec<(String, String)> {
    let steps = built["steps"].as_array().cloned().unwrap_or_default();
    let ran = steps.iter().filter(|step| step["made"] == true);
    let reasons = |step: &Value| {
        let list = step["last_made"].as_array().cloned().unwrap_or_default();
        list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ")
    };
    ran.map(|step| (step["step"].as_str().unwrap_or_default().to_owned(), reasons(step))).collect()
}

fn names(steps: &[(String, String)]) -> Vec<&str> {
    steps.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn only_changed_steps_run_again_and_why_names_the_change() -> Result<()> {
    let place = BuildSandbox::new()?;
    let all = ["kernel", "boot programs", "base tree", "root", "initramfs", "UKI", "image"];
    let first = place.build("alpha")?;
    assert_eq!(names(&made(&first)), all);
    let again = place.psyops(&["build-image", "--site", "site", "--node", "alpha", "--json"]).output()?;
    for line in String::from_utf8(again.stderr)?.lines() {
        let progress: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        ensure!(progress["progress"].is_string(), "{line}");
    }
    let again: Value = serde_json::from_slice(&again.stdout)?;
    assert_eq!(made(&again), []);
    assert_eq!((&again["written"], &again["node_sha256"]), (&false.into(), &first["node_sha256"]));

    // Another node shares the system.
    let other = place.build("beta")?;
    assert_eq!(names(&made(&other)), ["image"]);
    assert_eq!(other["root_hash"], first["root_hash"]);

    // A file of an overlay changes the root, and everything that has its hash.
    place.edit("overlays/common/etc/profile.d/site.sh", |text| text + "# one more line\n")?;
    let changed = place.build("alpha")?;
    let steps = made(&changed);
    assert_eq!(names(&steps), ["root", "UKI", "image"]);
    assert_eq!(steps.first().map(|(_, why)| why.as_str()), Some("overlay common changed"));
    let why = place.json(&["why", "alpha", "--site", "site"])?;
    assert_eq!(why["steps"][3]["changes"], serde_json::json!(["overlay common changed"]), "{why}");
    let said = succeed(&mut place.psyops(&["why", "alpha.img", "--site", "site"]))?.stdout;
    let said = String::from_utf8(said)?;
    ensure!(said.contains("root           made: overlay common changed\n"), "{said}");

    // A node's variable changes its seal and nothing else.
    place.edit("nodes/alpha.toml", |text| text.replace("greeting = \"", "greeting = \"Well, "))?;
    let steps = made(&place.build("alpha")?);
    assert_eq!(steps, [("image".to_owned(), "seal changed".to_owned())]);

    // Another program writes to the image: it is built again.
    fs::write(place.path("alpha.img"), "something else")?;
    let steps = made(&place.build("alpha")?);
    assert_eq!(steps, [("image".to_owned(), "the result was no longer in the store".to_owned())]);

    // A damaged file in the store is not used as a result.
    succeed(Command::new("sh").current_dir(place.path("cache/psyops")).args([
        "-c",
        "rm -r roots/* && for tar in derived/micro-*.tar; do printf damaged > \"$tar\"; done",
    ]))?;
    let output = place.psyops(&["build-image", "--site", "site", "--node", "alpha"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(74) && said.contains("was damaged in the store"), "{said}");
    assert_eq!(names(&made(&place.build("alpha")?)), ["base tree", "root"]);

    // Changes one byte in the middle of each file that an image is made of.
    let flip = "from=$(( $(stat -c %s \"$file\") / 2 )); \
                old=$(dd if=\"$file\" bs=1 skip=$from count=1 status=none | od -An -tu1); \
                printf \"\\\\$(printf %03o $(( old ^ 1 )))\" | dd of=\"$file\" bs=1 seek=$from conv=notrunc status=none";
    for (file, found) in [
        ("roots/*/root.squashfs", Some("of its data (4 KiB each) does not match the root hash")),
        ("derived/kernel-*/boot/vmlinuz-*", Some("vmlinuz")),
        ("derived/uki-*.efi", None),
        ("derived/busybox-*", None),
    ] {
        let kept = place.build("alpha")?;
        let files = format!("for file in $(ls -d {file} | grep -v sha256); do {flip}; done");
        succeed(Command::new("sh").current_dir(place.path("cache/psyops")).args(["-c", &files]))?;
        if file.contains("kernel") {
            // The kernel is only read when something is made of it.
            succeed(
                Command::new("sh").current_dir(place.path("cache/psyops")).args(["-c", "rm derived/uki-*"]),
            )?;
        }
        fs::remove_file(place.path("alpha.img"))?;
        if let Some(found) = found {
            let output = place.psyops(&["build-image", "--site", "site", "--node", "alpha"]).output()?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.code() == Some(74) && said.contains(found), "{file}: {said}");
        }
        let again = place.build("alpha")?;
        assert_eq!(again["node_sha256"], kept["node_sha256"], "{file}");
    }
    Ok(())
}

#[test]
fn several_nodes_in_one_call_share_the_system_and_clearing_leaves_what_they_need() -> Result<()> {
    let place = BuildSandbox::new()?;
    let built =
        place.json(&["build-image", "--site", "site", "--node", "alpha", "--node", "beta", "-o", "out"])?;
    let built = built["nodes"].as_array().context("not a list")?;
    assert_eq!(built.len(), 2);
    for (node, name) in built.iter().zip(["alpha", "beta"]) {
        assert_eq!((&node["node"], &node["image"]), (&name.into(), &format!("out/{name}.img").into()));
        assert_eq!(node["root_hash"], built[0]["root_hash"]);
        let image = place.path(&format!("out/{name}.img"));
        succeed(place.fixture().psyops().arg("verify").arg(&image).arg("--site").arg(place.site()))?;
        let provenance: Value =
            serde_json::from_slice(&fs::read(image.with_extension("img.provenance.json"))?)?;
        assert_eq!(provenance["subject"][0]["digest"]["sha256"], node["public_sha256"]);
    }
    ensure!(built[0]["node_sha256"] != built[1]["node_sha256"], "two nodes, one digest");
    // Separate calls give the same images.
    let alone = place.build("beta")?;
    assert_eq!(alone["node_sha256"], built[1]["node_sha256"]);

    // Only files that are not needed are removed.
    fs::write(place.path("cache/psyops/derived/kernel-of-long-ago"), vec![0; 4096])?;
    let cleared = place.json(&["store", "gc"])?;
    let removed: Vec<&str> =
        cleared["removed"].as_array().context("no list")?.iter().filter_map(Value::as_str).collect();
    ensure!(removed.iter().any(|path| path.ends_with("kernel-of-long-ago")), "{removed:?}");
    // The records name the last written images, and those are elsewhere: images are written, nothing else is made.
    for expected in [&["image"][..], &[]] {
        let built = place.json(&["build-image", "--site", "site", "--all", "-o", "images"])?;
        let built = built["nodes"].as_array().context("not a list")?;
        ensure!(built.len() > 2, "{built:?}");
        for node in built {
            assert_eq!(names(&made(node)), expected, "{node}");
        }
    }
    Ok(())
}

#[test]
fn an_image_is_checked_by_building_it_again() -> Result<()> {
    let place = BuildSandbox::new()?;
    place.build("alpha")?;
    let verify = |image: &Path| -> Result<(Option<i32>, Value)> {
        let image = image.to_str().context("a path")?;
        // No keys are needed.
        let mut command = place.psyops(&["verify-build", image, "--site", "site", "--json"]);
        let output = command.env("XDG_CONFIG_HOME", place.path("no-keys")).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((output.status.code(), serde_json::from_str(&text).with_context(|| format!("{text}{said}"))?))
    };
    let image = place.path("alpha.img");
    let (code, result) = verify(&image)?;
    assert_eq!((code, &result["same"]), (Some(0), &true.into()), "{result}");
    // The site has another file than the image was built from.
    place.edit("overlays/common/etc/profile.d/site.sh", |text| text + "# not in the image\n")?;
    let (code, result) = verify(&image)?;
    assert_eq!((code, &result["same"]), (Some(1), &false.into()), "{result}");
    let parts = result["parts"].as_array().context("no parts")?;
    let bad: Vec<&str> =
        parts.iter().filter(|part| part["good"] == false).filter_map(|part| part["part"].as_str()).collect();
    // The root's hash is in the UKI and, as GUIDs, in the table.
    assert_eq!(bad, ["table", "uki", "root", "verity"]);
    Ok(())
}

#[test]
fn nodes_share_one_file_in_the_split_layout_and_each_is_a_disk_that_boots() -> Result<()> {
    let place = BuildSandbox::new()?;
    let split = |more: &[&str]| {
        let mut arguments = vec!["build-image", "--site", "site", "-o", "split", "--layout", "split"];
        arguments.extend(more);
        place.json(&arguments)
    };
    let built = split(&["--node", "alpha", "--node", "beta"])?;
    let whole =
        place.json(&["build-image", "--site", "site", "--node", "alpha", "--node", "beta", "-o", "whole"])?;
    let (built, whole) = (&built["nodes"], &whole["nodes"]);
    let shared = PathBuf::from(built[0]["shared"].as_str().context("no shared part")?);
    assert_eq!((&built[0]["shared"], &whole[0]["shared"]), (&built[1]["shared"], &Value::Null));
    let mode = fs::metadata(place.path("split/alpha.qcow2"))?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the node's key is in it");
    for (number, name) in ["alpha", "beta"].into_iter().enumerate() {
        let layer = format!("split/{name}.qcow2");
        let size = fs::metadata(place.path(&layer))?.len();
        ensure!(size < 4 << 20, "{name} alone takes {size} bytes");
        assert_eq!(built[number]["node_sha256"], whole[number]["node_sha256"]);
        succeed(place.psyops(&["verify", &layer, "--site", "site"]).arg("--json"))?;
        // Exported as a file it is the image of the other layout, byte for byte.
        succeed(&mut place.psyops(&["export", &layer, "--form", "raw", "-o", "raw.img"]))?;
        succeed(
            Command::new("cmp").arg(place.path("raw.img")).arg(place.path(&format!("whole/{name}.img"))),
        )?;
    }
    let layer = "split/alpha.qcow2";
    let listed = succeed(&mut place.psyops(&["ls", layer, "root/etc"]))?;
    ensure!(String::from_utf8_lossy(&listed.stdout).contains("os-release"), "{listed:?}");
    let secrets = succeed(&mut place.psyops(&["ls", layer, "secret/"]))?;
    ensure!(!secrets.stdout.is_empty(), "no secrets are listed");
    let diff = place.psyops(&["diff", layer, "whole/alpha.img"]).output()?;
    assert_eq!(diff.status.code(), Some(0), "{diff:?}");
    succeed(&mut place.psyops(&["verify-build", layer, "--site", "site"]))?;

    // Another node needs only its own part; with no change nothing is made.
    let third = ["build-image", "--site", "site", "--node", "failing", "-o", "split/failing.qcow2"];
    let third = || place.json(&[&third[..], &["--layout", "split"]].concat());
    assert_eq!(names(&made(&third()?)), ["image"]);
    assert_eq!(made(&third()?), []);
    // Another program writes to the shared part: it is made again, and the nodes' images over it are valid.
    let before = fs::read(place.path(&shared.to_string_lossy()))?;
    fs::write(place.path(&shared.to_string_lossy()), "something else")?;
    let damaged = place.psyops(&["verify", layer]).output()?;
    ensure!(!damaged.status.success(), "a damaged shared part was not found");
    assert_eq!(names(&made(&third()?)), ["shared part"]);
    ensure!(fs::read(place.path(&shared.to_string_lossy()))? == before, "another shared part");

    // The node's writes go to its own part.
    let mut setup = Setup::with_stick(&place.path(layer));
    for disk in &mut setup.disks {
        disk.access = Access::Write;
    }
    let mut booted = Booted::wait(&setup)?;
    booted.assert_well()?;
    booted.power_off()?;
    ensure!(fs::read(place.path(&shared.to_string_lossy()))? == before, "a node wrote to what it shares");
    let facts = place.json(&["inspect", layer])?;
    assert_eq!(facts["control"]["a"]["state"], "confirmed", "{facts}");
    Ok(())
}

#[test]
fn builders_at_the_same_time_can_share_one_store() -> Result<()> {
    let place = BuildSandbox::new()?;
    let reference = place.build("alpha")?;
    succeed(&mut place.psyops(&["init", "site", "--node", "fresh"]))?;
    for folder in ["derived", "roots"] {
        fs::remove_dir_all(place.store().join(folder))?;
    }
    // All start without any results: two of them build the same image at the same path, two another node that has no
    // keys yet. One process clears the store again and again.
    let spawn = |node: &str, output: &str| {
        let mut psyops =
            place.psyops(&["build-image", "--site", "site", "--node", node, "--json", "-o", output]);
        psyops.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    };
    let builders = [
        spawn("alpha", "one.img")?,
        spawn("alpha", "one.img")?,
        spawn("alpha", "two.img")?,
        spawn("fresh", "fresh-one.img")?,
        spawn("fresh", "fresh-two.img")?,
    ];
    let done = AtomicBool::new(false);
    let clear = || {
        let mut rounds = 0;
        while !done.load(Ordering::Relaxed) {
            succeed(&mut place.psyops(&["store", "gc"]))?;
            rounds += 1;
            thread::sleep(Duration::from_millis(200));
        }
        Ok::<u32, anyhow::Error>(rounds)
    };
    let wait = || {
        let outputs: Vec<_> = builders.into_iter().map(Child::wait_with_output).collect();
        done.store(true, Ordering::Relaxed);
        outputs
    };
    let (rounds, outputs) = parallel::both(clear, wait);
    ensure!(rounds? > 0, "the store was never cleared");
    let mut built = Vec::new();
    for output in outputs {
        let output = output?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        built.push(serde_json::from_slice::<Value>(&output.stdout)?);
    }
    for image in built.iter().take(3) {
        assert_eq!(image["node_sha256"], reference["node_sha256"]);
    }
    assert_eq!(built[3]["root_hash"], reference["root_hash"]);
    assert_eq!(built[3]["node_sha256"], built[4]["node_sha256"], "two sets of keys for one node");
    for image in ["one.img", "two.img", "fresh-one.img", "fresh-two.img"] {
        succeed(&mut place.psyops(&["verify", image, "--site", "site"]))?;
    }
    ensure!(fs::read(place.path("one.img"))? == fs::read(place.path("two.img"))?, "two images of one node");
    Ok(())
}
