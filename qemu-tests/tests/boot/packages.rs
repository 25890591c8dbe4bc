//! Packages of roles and nodes: locked after a confirmation, built without a network, usable by the role's command.

use anyhow::{Context as _, Result, ensure};
use handoff::report::{Configure, Outcome};
use qemu_tests::build_sandbox::BuildSandbox;
use qemu_tests::command::succeed;
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::stick::Stick;
use serde_json::{Value, json};
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The nodes that are built: one with a role that lists a package, one that lists a package itself.
const NODES: [&str; 2] = ["alpha", "beta"];
/// A node without such packages.
const PLAIN: &str = "killing";
/// The role's script: it runs a program that only its own package has.
const SCRIPT: &str = "#!/bin/sh\necho '{\"said\": [\"by\", \"jq\"]}' | jq -r '.said | join(\" \")'\n";

/// A sandbox in which alpha's role lists jq, and beta lists pv.
fn place() -> Result<BuildSandbox> {
    let place = BuildSandbox::new()?;
    let role = place.site().join("roles/queries");
    fs::create_dir(&role)?;
    let toml = "kind = \"command\"\nstage = \"configure\"\ncommand = [\"./run.sh\"]\npackages = [\"jq\"]\n";
    fs::write(role.join("role.toml"), toml)?;
    fs::write(role.join("run.sh"), SCRIPT)?;
    fs::set_permissions(role.join("run.sh"), fs::Permissions::from_mode(0o755))?;
    want(&place)?;
    Ok(place)
}

/// Gives alpha the role that lists jq, and adds pv to beta.
fn want(place: &BuildSandbox) -> Result<()> {
    place.edit("nodes/alpha.toml", |text| text.replace("roles = [", "roles = [\"queries\", "))?;
    place.edit("nodes/beta.toml", |text| text.replace("roles = [", "packages = [\"pv\"]\nroles = ["))
}

fn build_into(folder: &str) -> Vec<&str> {
    let nodes = NODES.iter().flat_map(|node| ["--node", node]);
    ["build-image", "--site", "site", "-o", folder, "--json"].into_iter().chain(nodes).collect()
}

fn succeed_in_json(command: &mut Command) -> Result<Value> {
    Ok(serde_json::from_slice(&succeed(command)?.stdout)?)
}

fn is_steps(built: &Value, made: bool) -> bool {
    let nodes = built["nodes"].as_array().cloned().unwrap_or_default();
    let steps = nodes.iter().flat_map(|node| node["steps"].as_array().cloned().unwrap_or_default());
    let base_trees: Vec<Value> = steps.filter(|step| step["step"] == "base tree").collect();
    base_trees.len() == NODES.len() && base_trees.iter().all(|step| step["made"] == made)
}

fn code_and_words(output: &Output) -> (Option<i32>, String) {
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// The path of a package's file in the store.
fn deb(place: &BuildSandbox, node: &str, name: &str) -> Result<std::path::PathBuf> {
    let shown = place.json(&["lock", "show", "--site", "site", "--node", node])?;
    let packages = shown["packages"].as_array().context("no packages")?;
    let package = packages.iter().find(|package| package["name"] == name).with_context(|| name.to_owned())?;
    let digest = package["sha256"].as_str().context("no digest")?;
    Ok(place.store().join(format!("debs/{digest}.deb")))
}

#[test]
#[ignore = "minutes: make test-long"]
fn images_with_packages_of_their_own_need_no_network_once_they_are_locked() -> Result<()> {
    let place = place()?;
    succeed(&mut place.psyops(&["lock", "update", "--site", "site", "--yes"]))?;
    let first = succeed_in_json(&mut place.psyops(&build_into("first")))?;
    ensure!(is_steps(&first, true), "each set has a base tree of its own: {first}");
    let nodes = &first["nodes"];
    ensure!(nodes[0]["root_hash"] != nodes[1]["root_hash"], "{first}");
    // Kernel and programs of the initramfs are the same for both nodes.
    let key = |number: usize, name: &str| {
        let steps = nodes[number]["steps"].as_array()?;
        steps.iter().find(|step| step["step"] == name)?["key"].as_str()
    };
    for step in ["kernel", "boot programs", "initramfs"] {
        ensure!(key(0, step).is_some() && key(0, step) == key(1, step), "{step} of {first}");
    }

    place.forget_all_but_packages()?;
    let second = succeed_in_json(&mut place.psyops_without_network(&build_into("second")))?;
    ensure!(is_steps(&second, true), "something was kept: {second}");
    for node in NODES {
        let image = |folder: &str| fs::read(place.path(&format!("{folder}/{node}.img")));
        ensure!(image("first")? == image("second")?, "the image of {node} is another");
    }
    let verify_build = ["verify-build", "second/alpha.img", "--site", "site", "--json"];
    assert_eq!(succeed_in_json(&mut place.psyops_without_network(&verify_build))?["same"], true);

    // Clearing the store keeps what these images are made of.
    succeed(&mut place.psyops(&["store", "gc"]))?;
    let again = succeed_in_json(&mut place.psyops_without_network(&build_into("second")))?;
    ensure!(is_steps(&again, false), "{again}");
    // In the split layout, each system has its own shared part.
    let split = [build_into("split").as_slice(), &["--layout", "split"]].concat();
    let split = succeed_in_json(&mut place.psyops_without_network(&split))?;
    ensure!(is_steps(&split, false), "{split}");
    for node in NODES {
        succeed(&mut place.psyops(&["verify", &format!("split/{node}.qcow2"), "--site", "site"]))?;
    }
    let list = succeed(Command::new("find").arg(place.path("split")).args(["-name", "*.shared"]))?;
    assert_eq!(String::from_utf8(list.stdout)?.lines().count(), NODES.len());
    let jq = deb(&place, "alpha", "jq")?;
    fs::remove_file(&jq).with_context(|| jq.display().to_string())?;
    // A missing network is an error only for a node that needs a missing package.
    let build = |node| place.psyops_without_network(&["build-image", "--site", "site", "--node", node]);
    let (code, said) = code_and_words(&build("alpha").output()?);
    ensure!(code == Some(69) && said.contains("cannot fetch jq "), "{code:?} {said}");
    succeed(&mut build("beta"))?;
    Ok(())
}

#[test]
fn a_role_finds_its_package_and_a_node_without_the_role_does_not_have_it() -> Result<()> {
    let place = place()?;
    succeed(&mut place.psyops(&["lock", "update", "--site", "site", "--yes"]))?;
    // They come in the order of the request, and nodes with the same packages share a system.
    let order = [PLAIN, "alpha", "failing", "beta"];
    let nodes: Vec<&str> = order.iter().flat_map(|node| ["--node", node]).collect();
    let built =
        place.json(&[&["build-image", "--site", "site", "-o", "images"], nodes.as_slice()].concat())?;
    for (number, node) in order.iter().enumerate() {
        assert_eq!(built["nodes"][number]["node"], *node, "{built}");
    }
    let hash = |number: usize| &built["nodes"][number]["root_hash"];
    ensure!(hash(0) == hash(2) && hash(0) != hash(1) && hash(1) != hash(3) && hash(0) != hash(3), "{built}");
    let has = |node: &str, program: &str| -> Result<bool> {
        let listed = place.json(&["ls", &format!("images/{node}.img"), "root/usr/bin"])?;
        let entries = listed["entries"].as_array().context("no list")?;
        ensure!(entries.len() > 100, "{listed}");
        Ok(entries.iter().any(|entry| entry["name"] == program))
    };
    for (node, jq, pv) in [("alpha", true, false), ("beta", false, true), (PLAIN, false, false)] {
        assert_eq!((has(node, "jq")?, has(node, "pv")?), (jq, pv), "{node}");
    }
    let stick = Stick::copy_of(&place.path("images/alpha.img"))?;
    let mut booted = stick.boot()?;
    let report = &booted.seen.report;
    assert_eq!((report.outcome, report.configure), (Outcome::Ok, Configure::Ok), "{report:?}");
    booted.machine.send("\necho lines-$(grep -c 'by jq' /var/log/psyops/configure-configure.log)\n")?;
    booted.machine.wait_for("lines-1", Duration::from_mins(1))?;
    booted.power_off()
}

const UPDATE: [&str; 4] = ["lock", "update", "--site", "site"];

/// The exit code of the update and its output for a user at a terminal who answers after `meanwhile`.
fn on_a_terminal(
    place: &BuildSandbox,
    meanwhile: impl FnOnce() -> Result<()>,
    answer: &str,
) -> Result<(Option<i32>, String)> {
    let psyops = place.psyops(&UPDATE);
    let words: Vec<String> = [psyops.get_program()]
        .into_iter()
        .chain(psyops.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let mut script = Command::new("script");
    script.args(["-qec", &words.join(" "), "/dev/null"]).current_dir(place.path(""));
    for (name, value) in psyops.get_envs() {
        script.env(name, value.unwrap_or_default());
    }
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting script")?;
    let (mut output, mut said) = (child.stdout.take().context("no output")?, Vec::new());
    let mut byte = [0];
    while !said.ends_with(b"[y/N] ") && output.read(&mut byte)? > 0 {
        said.extend_from_slice(&byte);
    }
    meanwhile()?;
    let written = child.stdin.take().context("no input")?.write_all(answer.as_bytes());
    output.read_to_end(&mut said)?;
    let said = String::from_utf8_lossy(&said).into_owned();
    written.with_context(|| said.clone())?;
    Ok((child.wait()?.code(), said))
}

#[test]
fn updating_the_lock_shows_the_changes_and_asks_first() -> Result<()> {
    let place = BuildSandbox::new()?;
    let path = place.site().join("site.lock");
    // The fixture's lock may name an older index.
    fs::remove_file(&path)?;
    succeed(&mut place.psyops(&[&UPDATE[..], &["--yes"]].concat()))?;
    let present = fs::read_to_string(&path)?;
    let (code, said) = code_and_words(&place.psyops(&UPDATE).output()?);
    ensure!(code == Some(0) && said.contains("packages, unchanged"), "{code:?} {said}");
    // An older lock: one package had another version, and another one was missing.
    let (head, packages) = present.split_once("[[package]]").context("a lock without packages")?;
    let mut packages: Vec<String> = packages.split("[[package]]").map(str::to_owned).collect();
    packages.remove(1);
    let first = packages.first_mut().context("a lock without packages")?;
    let line = |key: &str| first.lines().find(|line| line.starts_with(key)).map(str::to_owned);
    let version = line("version = ").context("a package without a version")?;
    let digest = line("sha256 = ").context("a package without a digest")?;
    *first = first
        .replace(&version, "version = \"0-old\"")
        .replace(&digest, &format!("sha256 = \"{}\"", "0".repeat(64)));
    let old = format!("{head}[[package]]{}", packages.join("[[package]]"));
    fs::write(&path, &old)?;
    let planned = place.json(&[&UPDATE[..], &["--dry-run"]].concat())?;
    let changes = planned["changes"].as_array().context("no changes")?;
    assert_eq!((changes.len(), &planned["written"]), (2, &false.into()), "{planned}");
    let upgraded = changes.iter().find(|change| change["kind"] == "upgraded").context("nothing upgraded")?;
    assert_eq!((&upgraded["before"], upgraded["after"].is_string()), (&"0-old".into(), true), "{planned}");
    let added = changes.iter().find(|change| change["kind"] == "added").context("nothing added")?;
    ensure!(added["before"].is_null() && added["size"].as_u64().is_some_and(|size| size > 0), "{planned}");

    // There is no user to ask, and the option `--yes` is not given.
    let (code, said) = code_and_words(&place.psyops(&UPDATE).stdin(Stdio::null()).output()?);
    ensure!(code == Some(77) && said.contains(" 0-old -> ") && said.contains("--yes"), "{code:?} {said}");
    let output = place.psyops(&[&UPDATE[..], &["--json"]].concat()).stdin(Stdio::null()).output()?;
    assert_eq!(output.status.code(), Some(77));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout)?, planned);
    // A user who declines in three ways.
    for answer in ["n\n", "\n", "\u{4}"] {
        let (code, said) = on_a_terminal(&place, || Ok(()), answer)?;
        ensure!(
            code == Some(77) && said.contains(" 0-old -> ") && said.contains("you answered no"),
            "{said}"
        );
        assert_eq!(fs::read_to_string(&path)?, old);
    }
    // A lock that another process has changed is not overwritten.
    let other = old.replace("0-old", "0-other");
    let (code, said) = on_a_terminal(&place, || Ok(fs::write(&path, &other)?), "y\n")?;
    ensure!(
        code == Some(77) && said.contains("site.lock was changed while you were asked"),
        "{code:?} {said}"
    );
    assert_eq!(fs::read_to_string(&path)?, other);
    fs::write(&path, &old)?;
    let (code, said) = on_a_terminal(&place, || Ok(()), "y\n")?;
    ensure!(code == Some(0) && said.contains(" 0-old -> "), "{code:?} {said}");
    assert_eq!(fs::read_to_string(&path)?, present);
    fs::write(&path, &old)?;
    let output = succeed(&mut place.psyops(&[&UPDATE[..], &["--yes"]].concat()))?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(said.contains(" 0-old -> "), "{said}");
    assert_eq!(fs::read_to_string(&path)?, present);
    Ok(())
}

#[test]
fn packages_of_roles_and_nodes_are_added_to_the_lock_and_removed_again() -> Result<()> {
    let place = place()?;
    let path = place.site().join("site.lock");
    for (file, role) in [("nodes/alpha.toml", "\"queries\", "), ("nodes/beta.toml", "packages = [\"pv\"]\n")]
    {
        place.edit(file, |text| text.replace(role, ""))?;
    }
    // The fixture's lock may name an older index.
    fs::remove_file(&path)?;
    succeed(&mut place.psyops(&[&UPDATE[..], &["--yes"]].concat()))?;
    let present = fs::read_to_string(&path)?;
    want(&place)?;
    // The lock does not have the package yet, which is an error before anything is built; other nodes are built as
    // usual.
    let built = place.psyops(&["build-image", "--site", "site", "--node", "alpha"]).output()?;
    let (code, said) = code_and_words(&built);
    ensure!(
        code == Some(65) && said.contains("node alpha now wants jq (site/roles/queries/role.toml:4:13)"),
        "{said}"
    );
    ensure!(said.contains("psyops lock update"), "{said}");
    place.build(PLAIN)?;
    let (code, said) =
        code_and_words(&place.psyops(&["lock", "show", "--site", "site", "--node", "beta"]).output()?);
    ensure!(code == Some(65) && said.contains("pv (site/nodes/beta.toml:"), "{code:?} {said}");

    let planned = place.json(&[&UPDATE[..], &["--dry-run"]].concat())?;
    assert_eq!(planned["changes"], json!([]));
    let variants = planned["variants"].as_array().context("no variants")?;
    let told = |key: &str| variants.iter().map(|variant| variant[key].clone()).collect::<Vec<_>>();
    assert_eq!(told("wanted"), [json!(["jq"]), json!(["pv"])]);
    assert_eq!(told("nodes"), [json!(["alpha"]), json!(["beta"])]);
    assert_eq!(told("state"), ["new", "new"]);
    let pv = &variants[1]["changes"];
    ensure!(pv.as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "pv")), "{planned}");
    succeed(&mut place.psyops(&[&UPDATE[..], &["--yes"]].concat()))?;
    let with_both = fs::read_to_string(&path)?;
    ensure!(with_both.starts_with(&present), "what all nodes have has changed:\n{with_both}");
    let shown = String::from_utf8(succeed(&mut place.psyops(&["lock", "show", "--site", "site"]))?.stdout)?;
    ensure!(shown.contains("\nwith jq (alpha):\n") && shown.contains("\n  base   pv "), "{shown}");

    // Pinned versions are installed. Pinning a package of the base adds nothing. A version that does not exist is an
    // error that names the role or node.
    let version = |start: &str| shown.lines().find_map(|line| line.strip_prefix(start)?.split(' ').next());
    let pv = version("  base   pv ").context("no pv")?;
    let server = version("base   openssh-server ").context("no openssh-server")?;
    let pins = format!("\"openssh-server={server}\", \"pv={pv}\"");
    place.edit("nodes/beta.toml", |text| text.replace("\"pv\"", &pins))?;
    succeed(&mut place.psyops(&[&UPDATE[..], &["--yes"]].concat()))?;
    let pinned = with_both.replace("wanted = [\"pv\"]", &format!("wanted = [{pins}]"));
    assert_eq!(fs::read_to_string(&path)?, pinned);
    place.edit("nodes/beta.toml", |text| text.replace(pv, "0.0.1"))?;
    let (code, said) = code_and_words(&place.psyops(&[&UPDATE[..], &["--yes"]].concat()).output()?);
    ensure!(
        code == Some(69) && said.contains("for node beta: ") && said.contains("0.0.1"),
        "{code:?} {said}"
    );

    // A package that is not used any more is not an error, and is removed with the next update.
    let line = format!("packages = [{}]\n", pins.replace(pv, "0.0.1"));
    place.edit("nodes/beta.toml", |text| text.replace(&line, ""))?;
    place.edit("nodes/alpha.toml", |text| text.replace("\"queries\", ", ""))?;
    place.build("beta")?;
    assert_eq!(fs::read_to_string(&path)?, pinned);
    let (_, said) = code_and_words(&place.psyops(&[&UPDATE[..], &["--yes"]].concat()).output()?);
    ensure!(said.contains("gone: with jq, which no node lists any more"), "{said}");
    assert_eq!(fs::read_to_string(&path)?, present);
    Ok(())
}

/// A package of this test with the name of busybox: its program would print that it ran.
fn package_of_ours(place: &BuildSandbox, version: &str) -> Result<(std::path::PathBuf, std::path::PathBuf)> {
    let (tree, ran) = (place.path("ours"), place.path("ran"));
    fs::create_dir_all(tree.join("usr/bin"))?;
    fs::create_dir_all(tree.join("DEBIAN"))?;
    let program = tree.join("usr/bin/busybox");
    fs::write(&program, format!("#!/bin/sh\ntouch {}\necho usr/bin/sh\n", ran.display()))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let control = format!(
        "Package: busybox-static\nVersion: {version}\nArchitecture: amd64\nMaintainer: x <x@example.org>\nDescription: x\n"
    );
    fs::write(tree.join("DEBIAN/control"), control)?;
    let deb = place.path("ours.deb");
    succeed(Command::new("dpkg-deb").args(["--build", "--root-owner-group"]).arg(&tree).arg(&deb))?;
    Ok((deb, ran))
}

/// An attacker who may push to the site changes the entry of busybox-static to his package, and the mirror to his
/// server.
#[test]
fn a_package_that_only_a_commit_vouches_for_never_runs() -> Result<()> {
    let place = BuildSandbox::new()?;
    let path = place.site().join("site.lock");
    let (lock, signature) = (fs::read_to_string(&path)?, place.site().join("site.lock.minisig"));
    let shown = place.json(&["lock", "show", "--site", "site"])?;
    let key = shown["vouched"]["key"].as_str().context("the lock is not signed")?.to_owned();
    let entry = lock
        .split("[[package]]")
        .find(|entry| entry.contains("name = \"busybox-static\"") && entry.contains("part = \"base\""));
    let entry = entry.context("no busybox in the lock")?;
    let line = |key: &str| {
        let line = entry.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split(" = ").nth(1))
            .map(|value| value.trim_matches('"'))
            .context(key.to_owned())
    };
    let (version, digest, size) = (line("version")?, line("sha256")?, line("size")?);
    let (deb, ran) = package_of_ours(&place, version)?;
    let bytes = fs::read(&deb)?;
    let ours = handoff::hash::Sha256Digest::of(&bytes).to_string();
    let changed = entry
        .replace(digest, &ours)
        .replace(&format!("size = {size}"), &format!("size = {}", bytes.len()))
        .replace(line("file")?, "ours.deb");
    fs::write(&path, lock.replace(entry, &changed))?;
    // Both ways to the builder: from a mirror, and from the store, where an earlier fetch left it.
    let mirror = std::net::TcpListener::bind("127.0.0.1:0")?;
    mirror.set_nonblocking(true)?;
    let address = mirror.local_addr()?;
    place.edit("site.toml", |text| {
        format!("{text}\n[packages]\nmirror = \"http://{address}\"\nsecurity-mirror = \"\"\n")
    })?;

    let build = ["build-image", "--site", "site", "--node", "alpha"];
    let (code, said) = code_and_words(&place.psyops(&build).output()?);
    let changed_since = format!(
        "site/site.lock.minisig: its signature by key {key} does not match its content, which was changed after signing"
    );
    let expected = |problem: &str| {
        format!(
            "error: neither the site's signing key ({problem}) nor the archive's index (it lists another file for busybox-static {version}: {size} bytes, sha256 {digest}) vouches for busybox-static {version} in site.lock\n  to take the packages that the archive has now: psyops lock update --site site; or, if the packages in this lock are right, sign it: psyops lock sign --site site\n"
        )
    };
    ensure!(code == Some(65) && said.ends_with(&expected(&changed_since)), "{code:?} {said}");
    // Of the site that this one is a copy of.
    let image = SiteFixture::light()?.image("alpha")?.display().to_string();
    let (code, said) = code_and_words(&place.psyops(&["verify-build", &image, "--site", "site"]).output()?);
    ensure!(code == Some(65) && said.ends_with(&expected(&changed_since)), "{code:?} {said}");
    ensure!(!ran.exists(), "the program of the package ran");

    fs::copy(&deb, place.store().join(format!("debs/{ours}.deb")))?;
    fs::remove_file(&signature)?;
    let (code, said) = code_and_words(&place.psyops(&build).output()?);
    ensure!(
        code == Some(65) && said.ends_with(&expected("site/site.lock.minisig is missing")),
        "{code:?} {said}"
    );
    ensure!(!ran.exists(), "the program of the package ran");
    let asked = mirror.accept().map_err(|error| error.kind());
    ensure!(matches!(asked, Err(ErrorKind::WouldBlock)), "the mirror was asked: {asked:?}");

    // The user who would sign it first sees that package, and without a terminal it is not signed.
    let (code, said) =
        code_and_words(&place.psyops(&["lock", "sign", "--site", "site"]).stdin(Stdio::null()).output()?);
    let first =
        format!("the archive's index in this store does not vouch for:\n busybox-static {version}: it lists");
    ensure!(code == Some(77) && said.starts_with(&first) && !signature.exists(), "{code:?} {said}");
    let shown = place.json(&["lock", "show", "--site", "site"])?;
    assert_eq!(shown["vouched"]["by"], Value::Null, "{shown}");
    let what = format!("busybox-static {version}");
    assert_eq!(shown["vouched"]["unlisted"][0]["what"], what.as_str(), "{shown}");

    // The old lock is accepted again: with the archive's index alone, and with a signature alone, without a private
    // key.
    fs::write(&path, &lock)?;
    let shown = place.json(&["lock", "show", "--site", "site"])?;
    assert_eq!(
        (&shown["vouched"]["by"], &shown["vouched"]["unlisted"]),
        (&"index".into(), &json!([])),
        "{shown}"
    );
    let signed = place.json(&["lock", "sign", "--site", "site", "--yes"])?;
    assert_eq!((&signed["written"], &signed["signed_by"]), (&true.into(), &key.as_str().into()), "{signed}");
    fs::remove_dir_all(place.store().join("indexes"))?;
    let shown = place.json(&["lock", "show", "--site", "site"])?;
    assert_eq!(
        (&shown["vouched"]["by"], &shown["vouched"]["key"]),
        (&"key".into(), &key.as_str().into()),
        "{shown}"
    );
    let again = place.psyops(&["lock", "sign", "--site", "site"]).stdin(Stdio::null()).output()?;
    let (code, said) = code_and_words(&again);
    ensure!(
        code == Some(0) && said == format!("site/site.lock.minisig: signed by key {key}, unchanged\n"),
        "{said}"
    );
    Ok(())
}
