//! Overlays of a site over each other and over a base, read from the files of a site.

use super::*;
use crate::site::{GeneratedKeys, InitOptions, Site, SiteError, init_site};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;

/// A site with the overlays `low` and `high`, in that order.
struct Sample(TempDir);

impl Sample {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = GeneratedKeys {
            admin_recipient: format!("age1{}", "q".repeat(58)),
            signing_public: format!("RW{}", "Q".repeat(54)),
        };
        let options =
            InitOptions { build_time: 1_793_491_200, open_consoles: false, ..InitOptions::default() };
        let dir = folder.path();
        init_site(dir, &"lab".parse().unwrap(), &"alpha".parse().unwrap(), &keys, &options).unwrap();
        let text = fs::read_to_string(dir.join("site.toml")).unwrap();
        fs::write(dir.join("site.toml"), text.replace("[\"common\"]", "[\"low\", \"high\"]")).unwrap();
        let sample = Self(folder);
        sample.put("low/etc/motd", "low");
        sample.put("high/etc/issue", "high");
        sample
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.path().join("overlays").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn lay(&self) -> Result<LayeredTree, TreeError> {
        let site = Site::load(self.0.path()).unwrap();
        let mut tree = base();
        site.overlays.iter().try_for_each(|overlay| tree.add_overlay(overlay))?;
        Ok(tree)
    }

    fn error(&self) -> String {
        self.lay().err().unwrap().to_string()
    }
}

fn base() -> LayeredTree {
    let mut tree = LayeredTree::new();
    tree.begin_layer("the base micro");
    tree.insert_file("etc/motd", 0o600, *b"base").unwrap();
    tree.insert_file("etc/conf.d/a", 0o644, *b"a").unwrap();
    tree.insert_file("etc/conf.d/b", 0o644, *b"b").unwrap();
    tree.insert("var/lib/app", What::Directory, Metadata { uid: 101, ..Metadata::root(0o750) }).unwrap();
    tree
}

fn text(tree: &LayeredTree, path: &str) -> Option<String> {
    tree.read(path).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn an_overlay_may_replace_a_file_of_the_base_and_modes_ignore_the_umask() {
    let sample = Sample::new();
    sample.put("high/usr/bin/tool", "#!/bin/sh\n");
    let bits = |path: &str, mode| {
        let path = sample.0.path().join("overlays").join(path);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    bits("low/etc/motd", 0o600);
    bits("high/usr/bin/tool", 0o700);
    let tree = sample.lay().unwrap();
    assert_eq!(text(&tree, "etc/motd").as_deref(), Some("low"));
    assert_eq!(tree.metadata("etc/motd"), Some(&Metadata::root(0o644)));
    assert_eq!(tree.metadata("usr/bin/tool"), Some(&Metadata::root(0o755)));
}

#[test]
fn the_same_file_in_two_overlays_names_both_unless_the_upper_one_replaces_it() {
    let sample = Sample::new();
    sample.put("high/etc/motd", "low");
    let error = sample.lay().err().unwrap();
    assert_eq!(error.to_string(), "/etc/motd is in overlay low and in overlay high");
    let advice = crate::error::Classified::advice(&error).unwrap();
    assert!(advice.contains("replace = [\"etc/motd\"]"), "{advice}");
    sample.put("high/etc/motd", "high");
    sample.put("high.toml", "replace = [\"etc/motd\"]\n");
    assert_eq!(text(&sample.lay().unwrap(), "etc/motd").as_deref(), Some("high"));
    // Nothing is left to replace.
    sample.put("low/etc/.wh.motd", "");
    fs::remove_file(sample.0.path().join("overlays/low/etc/motd")).unwrap();
    let error = sample.error();
    assert!(error.contains("high.toml:1:12: etc/motd replaces nothing"), "{error}");
}

#[test]
fn file_and_folder_name_both_layers() {
    let sample = Sample::new();
    sample.put("high/etc/motd/x", "");
    assert_eq!(sample.error(), "/etc/motd is a file in overlay low and a folder in overlay high");
    let sample = Sample::new();
    sample.put("low/etc/conf.d", "");
    assert_eq!(sample.error(), "/etc/conf.d is a folder in the base micro and a file in overlay low");
    // `replace` is not enough; a whiteout of the lower file is.
    sample.put("low.toml", "replace = [\"etc/conf.d\"]\n");
    assert!(sample.error().contains("a folder in the base micro"), "{}", sample.error());
    fs::remove_file(sample.0.path().join("overlays/low.toml")).unwrap();
    sample.put("low/etc/.wh.conf.d", "");
    assert!(sample.lay().unwrap().is_file("etc/conf.d"));
}

#[test]
fn whiteouts_remove_from_the_base_and_from_lower_overlays() {
    let sample = Sample::new();
    sample.put("low/etc/conf.d/.wh..wh..opq", "");
    sample.put("low/etc/conf.d/c", "c");
    sample.put("high/etc/.wh.motd", "");
    let tree = sample.lay().unwrap();
    let there: Vec<_> = tree.paths().filter(|path| path.starts_with("etc/")).collect();
    assert_eq!(there, ["etc/conf.d", "etc/conf.d/c", "etc/issue"]);
    // Removing and adding the same path is not a conflict.
    sample.put("high/etc/motd", "high");
    assert_eq!(text(&sample.lay().unwrap(), "etc/motd").as_deref(), Some("high"));
}

#[test]
fn a_whiteout_that_removes_nothing_or_is_more_than_a_name_is_an_error() {
    let sample = Sample::new();
    sample.put("high/etc/.wh.modt", "");
    assert_eq!(sample.error(), "overlay high removes /etc/modt, which no lower layer has");
    let sample = Sample::new();
    sample.put("high/srv/.wh..wh..opq", "");
    assert_eq!(sample.error(), "overlay high removes /srv/*, which no lower layer has");
    // A file of only this overlay is not in a lower layer.
    let sample = Sample::new();
    sample.put("high/etc/.wh.issue", "");
    assert_eq!(sample.error(), "overlay high removes /etc/issue, which no lower layer has");
    let sample = Sample::new();
    sample.put("high/etc/.wh.motd", "text");
    assert!(matches!(sample.lay(), Err(TreeError::BadWhiteout { .. })));
    let sample = Sample::new();
    sample.put("high/etc/.wh..wh.opq", "");
    assert!(matches!(sample.lay(), Err(TreeError::BadWhiteout { .. })));
}

#[test]
fn the_manifest_gives_owners_and_modes_by_path_and_pattern() {
    let sample = Sample::new();
    for path in ["high/var/lib/app/a", "high/var/lib/app/deep/b", "high/var/lib/app/.c", "high/etc/shadow"] {
        sample.put(path, "");
    }
    sample.put(
        "high.toml",
        "[paths.\"etc/shadow\"]\nmode = \"0640\"\ngid = 42\n\
         [paths.\"var/lib/app/**\"]\nuid = 101\ngid = 102\n\
         [paths.\"var/lib/app/*/\"]\nmode = \"0700\"\n\
         [paths.\"var/lib/app/deep/b\"]\nmode = \"4755\"\n\
         [paths.\"var/lib/app\"]\ngid = 7\n",
    );
    let tree = sample.lay().unwrap();
    let owned = |uid, gid, mode| Some(Metadata { uid, gid, ..Metadata::root(mode) });
    assert_eq!(tree.metadata("etc/shadow").cloned(), owned(0, 42, 0o640));
    assert_eq!(tree.metadata("var/lib/app/a").cloned(), owned(101, 102, 0o644));
    assert_eq!(tree.metadata("var/lib/app/.c").cloned(), owned(101, 102, 0o644));
    // The path has precedence over the pattern. Patterns match files, or with a slash at the end folders.
    assert_eq!(tree.metadata("var/lib/app/deep/b").cloned(), owned(0, 0, 0o4755));
    assert_eq!(tree.metadata("var/lib/app/deep").cloned(), owned(0, 0, 0o700));
    // A folder of the base keeps the attributes that the rule does not set.
    assert_eq!(tree.metadata("var/lib/app").cloned(), owned(101, 7, 0o750));
}

#[test]
fn a_rule_that_matches_nothing_is_an_error() {
    let sample = Sample::new();
    sample.put("high/etc/issue.net", "");
    std::os::unix::fs::symlink("issue", sample.0.path().join("overlays/high/etc/link")).unwrap();
    for (manifest, says) in [
        (
            "[paths.\"etc/isue\"]\nuid = 1\n",
            ":1:8: \"etc/isue\" is not in the overlay; did you mean \"etc/issue\"?",
        ),
        ("[paths.\"etc/*.conf\"]\nuid = 1\n", "\"etc/*.conf\" matches nothing"),
        ("[paths.\"**/issue/\"]\nuid = 1\n", "matches nothing"),
        ("[paths.\"etc/link\"]\nmode = \"0600\"\n", "symbolic link"),
        (
            "[paths.\"etc/i*\"]\nuid = 1\n[paths.\"etc/*.net\"]\nuid = 2\n",
            "matches etc/issue.net, and so does",
        ),
        ("replace = [\"etc/issue\"]\n", "replaces nothing"),
    ] {
        sample.put("high.toml", manifest);
        assert!(sample.error().contains(says), "{manifest}: {}", sample.error());
    }
    for (manifest, says) in [
        ("[paths.\"/etc/issue\"]\nuid = 1\n", "stay inside the overlay"),
        ("[paths.\"etc/../x\"]\nuid = 1\n", "stay inside the overlay"),
        ("[paths.\"etc/issue\"]\n", "needs a mode, uid or gid"),
        ("[paths.\"etc/issue\"]\nmode = \"rw\"\n", "octal digits"),
        ("[paths.\"etc/issue\"]\nowner = 1\n", "unknown key \"owner\""),
        ("[paths.\"etc/[\"]\nuid = 1\n", "not a valid pattern"),
        ("replace = [\"../x\"]\n", "stay inside the overlay"),
    ] {
        sample.put("high.toml", manifest);
        let error = Site::load(sample.0.path()).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("high.toml:"), "{manifest}: {error}");
    }
    fs::remove_file(sample.0.path().join("overlays/high.toml")).unwrap();
    sample.put("hihg.toml", "");
    let error = Site::load(sample.0.path()).unwrap_err();
    assert!(matches!(error, SiteError::ManifestWithoutOverlay { .. }), "{error}");
    assert!(error.to_string().contains("did you mean \"high\"?"), "{error}");
}

#[test]
fn there_is_one_place_for_owners_and_modes() {
    let sample = Sample::new();
    sample.put("high/.psyops-manifest", "etc/issue uid=1\n");
    assert!(sample.error().contains("NAME.toml beside it"), "{}", sample.error());
}

#[test]
fn links_in_an_overlay_stay_links_and_are_not_read() {
    let sample = Sample::new();
    let secret = sample.0.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let overlay = sample.0.path().join("overlays/low/etc");
    std::os::unix::fs::symlink(&secret, overlay.join("absolute")).unwrap();
    std::os::unix::fs::symlink("../../../secret", overlay.join("relative")).unwrap();
    std::os::unix::fs::symlink("/", overlay.join("folder")).unwrap();
    let tree = sample.lay().unwrap();
    assert_eq!(tree.link_target("etc/absolute"), secret.to_str());
    assert_eq!(tree.link_target("etc/relative"), Some("../../../secret"));
    assert_eq!(tree.link_target("etc/folder"), Some("/"));
    assert!(tree.paths().all(|path| !path.starts_with("etc/folder/")));
}

#[test]
fn a_file_replaced_by_a_link_after_the_check_is_not_read() {
    let sample = Sample::new();
    let tree = sample.lay().unwrap();
    let motd = sample.0.path().join("overlays/low/etc/motd");
    fs::write(sample.0.path().join("key"), "key").unwrap();
    fs::remove_file(&motd).unwrap();
    std::os::unix::fs::symlink(sample.0.path().join("key"), &motd).unwrap();
    let error = tree.read("etc/motd").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot read {}: the path goes through a loop of symbolic links, or through a link that psyops does not follow",
            motd.display()
        )
    );
}
