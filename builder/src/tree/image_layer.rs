//! Layers of container images (OCI image specification, layer.md), and tars from elsewhere: nothing in them is trusted.
//!
//! As in every container engine, a layer's whiteouts apply before its files, a file may replace a folder, and a folder
//! may replace a link. Names that lead out of the tree, or through a link of the same layer, are errors: no tool makes
//! them, and their meaning depends on the program that unpacks them. Links of lower layers are followed, within the
//! tree.

use super::tar_reader::{Body, Entry, each_entry};
use super::whiteout::Whiteout;
use super::{LayeredTree, TreeError, What};
use std::fs::File;
use std::path::Path;

impl LayeredTree {
    /// Adds an open tar as a layer, without the paths for which `keep` returns false; `name` is for messages.
    pub fn add_image_layer(
        &mut self,
        file: File,
        name: &Path,
        keep: &dyn Fn(&str) -> bool,
    ) -> Result<(), TreeError> {
        self.begin_layer(name.display().to_string());
        let bad = |entry: &Entry, problem| {
            let (path, entry) = (name.to_owned(), entry.path.clone());
            TreeError::BadTar { path, entry, problem }
        };
        let (mut entries, mut whiteouts) = (Vec::new(), Vec::new());
        each_entry(file, name, &mut |mut entry| {
            let path = inside(&entry.path).map_err(|problem| bad(&entry, problem))?.to_owned();
            if let Body::HardLink(target) = &entry.body {
                let target = inside(target)
                    .map_err(|_| bad(&entry, "a hard link to a path outside of the layer"))?
                    .to_owned();
                entry.body = Body::HardLink(target);
            }
            if let Body::What(What::Symlink(target)) = &entry.body
                && target.contains('\0')
            {
                return Err(bad(&entry, "the link has a zero byte"));
            }
            entry.path = path;
            match Whiteout::of(&entry.path)? {
                Some(whiteout) => whiteouts.push(whiteout),
                None if entry.path.is_empty() || !keep(&entry.path) => {}
                None => entries.push(entry),
            }
            Ok(())
        })?;
        for whiteout in whiteouts {
            // Container engines do not report a whiteout of a path that does not exist, either.
            self.remove_whiteout(&whiteout)?;
        }
        entries.into_iter().try_for_each(|entry| self.lay_untrusted(entry, name))
    }

    fn lay_untrusted(&mut self, entry: Entry, name: &Path) -> Result<(), TreeError> {
        let place = self.locate_untrusted(&entry.path)?;
        match entry.body {
            Body::HardLink(target) => {
                let existing = self.locate_untrusted(&target)?;
                if self.inode(&existing).is_some_and(|inode| matches!(inode.what, What::Directory)) {
                    let (path, problem) = (name.to_owned(), "a hard link to a folder");
                    return Err(TreeError::BadTar { path, entry: place, problem });
                }
                if existing != place {
                    self.remove(&place);
                    self.insert_hard_link(&place, &existing)?;
                }
                Ok(())
            }
            // The entries of a folder stay when the folder occurs again.
            Body::What(What::Directory) => self.put(place, What::Directory, entry.metadata),
            Body::What(what) => {
                self.remove(&place);
                self.put(place, what, entry.metadata)
            }
        }
    }

    fn locate_untrusted(&self, path: &str) -> Result<String, TreeError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if let Some(link) = self.own_link_on(folder) {
            return Err(TreeError::ThroughLink { path: path.to_owned(), link });
        }
        let folder = self.follow(folder)?;
        Ok(if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") })
    }
}

/// The name of an entry without redundant parts, if it stays in the tree.
fn inside(path: &str) -> Result<&str, &'static str> {
    if path.starts_with('/') {
        return Err("the name is absolute");
    }
    if path.split('/').any(|part| part == "..") {
        return Err("the name leads out of the layer");
    }
    if path.contains('\0') {
        return Err("the name has a zero byte");
    }
    let path = path.trim_end_matches('/');
    let path = path.strip_prefix("./").unwrap_or(path);
    if path.split('/').any(|part| part == "." || part.is_empty()) && !matches!(path, "" | ".") {
        return Err("the name has empty parts or '.'");
    }
    Ok(if path == "." { "" } else { path })
}
