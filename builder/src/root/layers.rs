//! The layers of a root, from the bottom: base system, kernel modules, our overlay for the base's init, the agent, the
//! site's roles and overlays as data for the agent, and the site's overlays again, merged into the root itself.
//!
//! The only thing about nodes in it is the choice of packages: all nodes of a site with the same packages share one
//! root.

use super::image::Recipe;
use crate::base::{Init, KernelFolder};
use crate::input::digest_of_file;
use crate::overlays::OVERLAYS;
use crate::site::{Base, Overlay, Role, SiteFolder};
use crate::store::{Inputs, StepName, Store};
use crate::tools::TAR2SQFS;
use crate::tree::{LayeredTree, Metadata, TreeError};
use handoff::hash::Sha256Digest;
use handoff::name::Name;
use handoff::paths;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// The version of the code that makes roots: it changes with that code.
const RECIPE: &str = env!("PSYOPS_RECIPE_ROOT");
/// The folder in the root for documents about the system: SBOM and provenance.
pub const DOCUMENTS: &str = "usr/share/psyops";
/// The link to the agent in a folder of `PATH`.
const AGENT_COMMAND: &str = "usr/bin/psyops-agent";
/// The file of password hashes, and the id of the group that may read it.
const SHADOW: &str = "etc/shadow";
const SHADOW_GROUP: u64 = 42;
/// Files of our overlay for our own bases, which an imported base usually has itself.
const OF_THE_BASE: [&str; 8] = [
    "etc/group",
    "etc/hosts",
    "etc/issue",
    "etc/nsswitch.conf",
    "etc/os-release",
    "etc/passwd",
    SHADOW,
    "etc/shells",
];

/// The inputs of a root.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// The base of the site.
    pub base: &'a Base,
    /// The init of the base.
    pub init: &'a Init,
    /// The tar of the base's tree, without kernel modules.
    pub tree_tar: &'a Path,
    /// The key of the step that made this tree.
    pub tree_key: Sha256Digest,
    /// The kernel's release, as `uname -r` prints it.
    pub kernel_release: &'a str,
    /// The release and the key of the kernel.
    pub kernel_input: &'a str,
    /// The kernel modules: `lib/modules/RELEASE` with the files that depmod made.
    pub modules: &'a Path,
    /// The folder of the store with the unpacked kernel.
    pub kernel: &'a KernelFolder,
    /// The path of the agent.
    pub agent: &'a Path,
    /// Documents about the system: their names in [`DOCUMENTS`], and their texts.
    pub system_documents: &'a [(&'static str, String)],
    /// The roles of the site.
    pub roles: &'a BTreeMap<Name, Role>,
    /// The overlays of the site, the lowest first.
    pub overlays: &'a [Overlay],
    /// The id of the site, from which the hash tree's salt is derived.
    pub site: &'a Name,
    /// The release, from which it is derived as well.
    pub release: &'a Name,
    /// The latest time in the root, in seconds since 1970.
    pub build_time: u64,
}

impl Recipe for Layers<'_> {
    fn inputs(&self) -> Result<Inputs, TreeError> {
        let mut inputs = Inputs::new(StepName::Root, RECIPE)
            .with("base", self.base.kind())
            .with("base tree", self.tree_key)
            .with("kernel", self.kernel_input)
            .with("agent", digest_of(self.agent)?)
            .with("build time", self.build_time)
            .with("site", self.site)
            .with("release", self.release);
        let tool = TAR2SQFS;
        inputs.add(tool.name, tool.digest().map_err(TreeError::Tool)?);
        let mut own = LayeredTree::new();
        if let Some(overlay) = OVERLAYS.get_dir(self.init.overlay()) {
            own.add_embedded(overlay, &|path, metadata| Some(owned(path, metadata)))?;
        }
        inputs.add("the builder's overlay", digest(&own, self.build_time)?);
        let folder = |dir: &SiteFolder| {
            let mut tree = LayeredTree::new();
            tree.add_folder(dir, "")?;
            digest(&tree, self.build_time)
        };
        for (name, text) in self.system_documents {
            inputs.add(*name, Sha256Digest::of(text.as_bytes()));
        }
        for (name, role) in self.roles {
            inputs.add(format!("role {name}"), folder(&role.dir)?);
        }
        for overlay in self.overlays {
            let (files, manifest) = (folder(&overlay.dir)?, overlay.manifest.text.as_bytes());
            let both = Sha256Digest::of_parts(&[files.to_string().as_bytes(), manifest]);
            inputs.add(format!("overlay {}", overlay.name), if manifest.is_empty() { files } else { both });
        }
        let order: Vec<&str> = self.overlays.iter().map(|overlay| overlay.name.as_str()).collect();
        inputs.add("order of overlays", order.join(","));
        Ok(inputs)
    }

    fn tree(&self) -> Result<LayeredTree, TreeError> {
        if !Store::holds(self.tree_tar) {
            return Err(damaged(self.tree_tar));
        }
        self.kernel.check()?;
        let mut tree = LayeredTree::new();
        tree.begin_layer(format!("the base {}", self.base));
        tree.add_tar(self.tree_tar, &|_| true)?;
        tree.begin_layer("the kernel's modules");
        tree.add_directory(self.modules, &format!("{}/{}", modules_folder(&tree), self.kernel_release))?;
        tree.begin_layer("the builder's overlay");
        add_own(&mut tree, self.base, self.init)?;
        let kind = format!("{}\n", self.init.kind).into_bytes();
        tree.insert_file(paths::INIT_KIND.trim_start_matches('/'), 0o644, kind)?;
        tree.insert_file_from(paths::AGENT.trim_start_matches('/'), 0o755, self.agent)?;
        // Users type this name.
        tree.insert_symlink(AGENT_COMMAND, paths::AGENT)?;
        let site = paths::SITE.trim_start_matches('/');
        for (name, text) in self.system_documents {
            tree.insert_file(&format!("{DOCUMENTS}/{name}"), 0o644, text.clone().into_bytes())?;
        }
        tree.begin_layer("the site's roles and overlays");
        self.add_site(&mut tree, site)?;
        let revision = paths::SITE_REVISION.trim_start_matches('/');
        tree.insert_file(revision, 0o644, format!("{}\n", self.revision()?).into_bytes())?;
        for overlay in self.overlays {
            tree.add_overlay(overlay)?;
        }
        Ok(tree)
    }
}

/// The folder in which the kernel looks for modules: a base need not have `lib` as a link to `usr/lib`.
fn modules_folder(tree: &LayeredTree) -> &'static str {
    if tree.is_directory("lib") && tree.link_target("lib").is_none() {
        "lib/modules"
    } else {
        "usr/lib/modules"
    }
}

/// Adds our overlay for the base's init. An imported base keeps its own accounts and names.
fn add_own(tree: &mut LayeredTree, base: &Base, init: &Init) -> Result<(), TreeError> {
    let Some(overlay) = OVERLAYS.get_dir(init.overlay()) else { return Ok(()) };
    let has: Vec<&str> = OF_THE_BASE.into_iter().filter(|path| tree.contains(path)).collect();
    tree.add_embedded(overlay, &|path, metadata| {
        let is_laid = base.is_of_packages() || !has.contains(&path);
        is_laid.then(|| owned(path, metadata))
    })
}

/// Mode and group of a file of our overlays: git stores neither, and only one file needs them.
fn owned(path: &str, metadata: Metadata) -> Metadata {
    if path == SHADOW { Metadata { gid: SHADOW_GROUP, ..Metadata::root(0o640) } } else { metadata }
}

impl Layers<'_> {
    fn add_site(&self, tree: &mut LayeredTree, prefix: &str) -> Result<(), TreeError> {
        for folder in ["roles", "overlays"] {
            tree.insert_directory(&format!("{prefix}/{folder}"), 0o755)?;
        }
        for (name, role) in self.roles {
            tree.add_folder(&role.dir, &format!("{prefix}/roles/{name}"))?;
        }
        for overlay in self.overlays {
            let place = format!("{prefix}/overlays/{}", overlay.name);
            tree.add_folder(&overlay.dir, &place)?;
            if !overlay.manifest.text.is_empty() {
                let text = overlay.manifest.text.clone().into_bytes();
                tree.insert_file(&format!("{place}.toml"), 0o644, text)?;
            }
        }
        Ok(())
    }

    /// The digest of the roles and overlays of a root: commands of the site get it as `PSYOPS_SITE_REV`.
    fn revision(&self) -> Result<String, TreeError> {
        let mut tree = LayeredTree::new();
        self.add_site(&mut tree, "")?;
        let text = digest(&tree, self.build_time)?.to_string();
        Ok(text.get(..16).unwrap_or(&text).to_owned())
    }
}

/// Removes a damaged base tree from the store, so that the next build makes it again.
fn damaged(tar: &Path) -> TreeError {
    // If it cannot be removed, the next build reports the same error.
    let _ = fs::remove_file(tar);
    TreeError::Damaged { path: tar.to_owned() }
}

fn digest_of(path: &Path) -> Result<Sha256Digest, TreeError> {
    digest_of_file(path).map_err(|source| TreeError::Read { path: path.to_owned(), source })
}

/// The digest of a tree: that of the tar in which it would be written.
pub fn digest(tree: &LayeredTree, build_time: u64) -> Result<Sha256Digest, TreeError> {
    let mut hasher = io::BufWriter::with_capacity(1 << 16, Hasher(Sha256::new()));
    tree.write_tar(&mut hasher, build_time)?;
    // Writing to a hasher never fails.
    let hasher = hasher.into_inner().map_err(io::IntoInnerError::into_error);
    Ok(hasher.map_or(Sha256Digest::of(b""), |hasher| Sha256Digest::from_bytes(hasher.0.finalize().into())))
}

struct Hasher(Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::OverlayManifest;
    use handoff::init::InitKind;
    use std::fs;

    #[test]
    fn layers_are_merged_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("base/etc/motd", "base");
        put("modules/modules.dep", "");
        put("agent", "agent");
        put("role/role.toml", "kind = \"overlay\"");
        put("overlay/etc/motd", "site");
        let mut base = LayeredTree::new();
        base.add_directory(&folder.path().join("base"), "").unwrap();
        for path in ["usr/lib", "usr/bin", "usr/sbin", "root", "var/log"] {
            base.insert_directory(path, 0o755).unwrap();
        }
        base.insert_symlink("lib", "usr/lib").unwrap();
        let tar = folder.path().join("base.tar");
        base.write_tar(fs::File::create(&tar).unwrap(), 1000).unwrap();
        Store::remember(&tar).unwrap();
        let modules = folder.path().join("modules");
        Store::remember_folder(&modules, &modules).unwrap();
        let name = |text: &str| text.parse::<handoff::name::Name>().unwrap();
        let role = Role {
            name: name("hello"),
            dir: SiteFolder::open(folder.path()).unwrap().folder("role"),
            action: handoff::role_settings::RoleAction::Overlay,
            stage: handoff::role_settings::Stage::Configure,
            packages: Vec::new(),
        };
        let roles = BTreeMap::from([(name("hello"), role)]);
        let overlays = [Overlay {
            name: name("motd"),
            dir: SiteFolder::open(folder.path()).unwrap().folder("overlay"),
            manifest: OverlayManifest::default(),
        }];
        let layers = Layers {
            base: &Base::Micro,
            init: &Init { kind: InitKind::Busybox, path: "/usr/sbin/linuxrc".into() },
            tree_tar: &tar,
            tree_key: Sha256Digest::of(b"tree"),
            kernel_release: "6.1.0-x",
            kernel_input: "6.1.0-x key",
            modules: &folder.path().join("modules"),
            kernel: &KernelFolder::at(folder.path().join("modules")),
            agent: &folder.path().join("agent"),
            system_documents: &[("provenance.json", "{}".to_owned())],
            roles: &roles,
            overlays: &overlays,
            site: &name("lab"),
            release: &name("1"),
            build_time: 1000,
        };
        let tree = layers.tree().unwrap();
        let read = |path: &str| tree.read(path).unwrap().map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(read("etc/motd").as_deref(), Some("site"));
        assert_eq!(read("usr/lib/psyops/psyops-agent").as_deref(), Some("agent"));
        assert_eq!(read("usr/share/psyops/provenance.json").as_deref(), Some("{}"));
        assert_eq!(read("usr/share/psyops/init").as_deref(), Some("busybox\n"));
        assert!(read("usr/share/psyops/site/roles/hello/role.toml").is_some());
        assert!(read("usr/share/psyops/site/overlays/motd/etc/motd").is_some());
        assert!(read("usr/lib/modules/6.1.0-x/modules.dep").is_some());
        assert_eq!(read("usr/share/psyops/site/revision").unwrap().trim().len(), 16);
        let first = digest(&tree, 1000).unwrap();
        assert_eq!(digest(&layers.tree().unwrap(), 1000).unwrap(), first);
        let inputs = layers.inputs().unwrap();
        put("overlay/etc/motd", "other");
        assert_ne!(digest(&layers.tree().unwrap(), 1000).unwrap(), first);
        assert_eq!(layers.inputs().unwrap().changes_since(&inputs), ["overlay motd changed"]);
        put("modules/modules.dep", "damaged");
        assert!(layers.tree().is_ok(), "a build reads it once");
        let kernel = KernelFolder::at(modules.clone());
        let layers = Layers { kernel: &kernel, ..layers };
        assert!(
            matches!(layers.tree().unwrap_err(), TreeError::Damaged { path } if path.ends_with("modules.dep"))
        );
        assert!(!modules.exists(), "the next build unpacks it again");
        put("modules/modules.dep", "");
        Store::remember_folder(&modules, &modules).unwrap();
        fs::write(&tar, "damaged").unwrap();
        assert!(matches!(layers.tree().unwrap_err(), TreeError::Damaged { .. }));
        assert!(!tar.exists());
    }

    #[test]
    fn an_imported_base_keeps_its_accounts_and_its_lib() {
        let given = |base: &str| {
            let mut tree = LayeredTree::new();
            for path in ["etc/passwd", "etc/shadow", "etc/inittab", "lib/ld.so"] {
                tree.insert_file(path, 0o644, *b"the base's").unwrap();
            }
            let init = Init { kind: InitKind::Busybox, path: "/sbin/init".into() };
            add_own(&mut tree, &base.parse().unwrap(), &init).unwrap();
            tree
        };
        let own = |tree: &LayeredTree, path: &str| tree.read(path).unwrap().unwrap() != b"the base's";
        let tree = given("tar:x.tar");
        assert!(!own(&tree, "etc/passwd") && own(&tree, "etc/inittab") && own(&tree, "etc/group"));
        assert_eq!(tree.metadata(SHADOW), Some(&Metadata::root(0o644)), "the base's own");
        assert_eq!(modules_folder(&tree), "lib/modules");
        let mut tree = given("micro");
        assert!(own(&tree, "etc/passwd"));
        assert_eq!(tree.metadata(SHADOW), Some(&Metadata { gid: 42, ..Metadata::root(0o640) }));
        tree.remove("lib");
        tree.insert_symlink("lib", "usr/lib").unwrap();
        assert_eq!(modules_folder(&tree), "usr/lib/modules");
    }
}
