//! Adding a site's overlay to the tree: first its whiteouts apply, then its files are added, then their owners are set.
//!
//! An overlay may replace a file of the base, the kernel or the builder: that is its purpose. Replacing a file of a
//! lower overlay is an error unless the manifest lists the file. A rule of a manifest that matches nothing is an error
//! too, so that a mistyped name is noticed.

use super::disk::{self, Found};
use super::whiteout::Whiteout;
use super::{Layer, LayeredTree, Metadata, TreeError, What};
use crate::site::{Known, Overlay, OverlayManifest, OverlayRule, Which};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The file in which an overlay once had owners and modes. It is refused, so that no user expects it to have an effect.
const OLD_MANIFEST: &str = ".psyops-manifest";

impl LayeredTree {
    /// Adds an overlay of the site as a layer.
    pub fn add_overlay(&mut self, overlay: &Overlay) -> Result<(), TreeError> {
        let old = overlay.dir.path_of(OLD_MANIFEST);
        let there = overlay.dir.kind(OLD_MANIFEST);
        if there.map_err(|source| TreeError::Read { path: old.clone(), source })?.is_some() {
            let problem = "owners and modes of an overlay are in the file NAME.toml beside it";
            return Err(TreeError::NotLayable { path: old, problem });
        }
        self.layer = Arc::new(Layer { name: format!("overlay {}", overlay.name), is_overlay: true });
        let mut files = Vec::new();
        for found in disk::found_in(&overlay.dir)? {
            match Whiteout::of(&found.path)? {
                Some(whiteout) => self.remove_for_overlay(&found, &whiteout)?,
                None => files.push(found),
            }
        }
        check_rules(&overlay.manifest, &files)?;
        let mut unused: BTreeSet<&str> =
            overlay.manifest.replace.iter().map(|(path, _)| path.as_str()).collect();
        for found in files {
            if self.is_in_lower_overlay(&found)? && !unused.remove(found.path.as_str()) {
                return Err(self.twice(&found.path));
            }
            if let Some(metadata) = self.metadata_for(&found, rule_for(&overlay.manifest, &found)?)? {
                self.insert(&found.path, found.what, metadata)?;
            }
        }
        match overlay.manifest.replace.iter().find(|(path, _)| unused.contains(path.as_str())) {
            Some((path, at)) => {
                let problem =
                    format!("{path} replaces nothing: no lower overlay has it, or this overlay does not");
                Err(TreeError::BadRule { at: Box::new(at.clone()), problem })
            }
            None => Ok(()),
        }
    }

    fn remove_for_overlay(&mut self, found: &Found, whiteout: &Whiteout) -> Result<(), TreeError> {
        let is_empty = match &found.what {
            What::File(content) => content.length() == 0,
            _ => false,
        };
        if !is_empty {
            let problem = "it has the name of a whiteout, but is not an empty file";
            return Err(TreeError::BadWhiteout { path: found.on_disk.display().to_string(), problem });
        }
        let path = match whiteout {
            Whiteout::Path(path) => path.clone(),
            Whiteout::Content(folder) => format!("{folder}/*"),
            Whiteout::Reserved => {
                let problem = "names of this form are reserved";
                return Err(TreeError::BadWhiteout { path: found.on_disk.display().to_string(), problem });
            }
        };
        if self.remove_whiteout(whiteout)? {
            return Ok(());
        }
        Err(TreeError::RemovesNothing { path, layer: self.layer.name.clone() })
    }

    /// Whether this is a file, and a lower overlay has another one at its path.
    fn is_in_lower_overlay(&self, found: &Found) -> Result<bool, TreeError> {
        let place = self.locate(&found.path)?;
        Ok(self.inode(&place).is_some_and(|lower| {
            let folders = matches!(lower.what, What::Directory) || matches!(found.what, What::Directory);
            lower.layer.is_overlay && !folders
        }))
    }

    fn twice(&self, path: &str) -> TreeError {
        let lower = self.locate(path).ok().and_then(|place| self.inode(&place).cloned());
        TreeError::Twice {
            path: path.to_owned(),
            lower_layer: lower.map(|lower| lower.layer.name.clone()).unwrap_or_default(),
            upper_layer: self.layer.name.clone(),
        }
    }

    /// Owner and mode of an entry; `None` for a folder that a lower layer has and that stays unchanged.
    fn metadata_for(&self, found: &Found, rule: Option<&OverlayRule>) -> Result<Option<Metadata>, TreeError> {
        let lower = match found.what {
            What::Directory if self.is_directory(&found.path) => self.metadata(&self.follow(&found.path)?),
            _ => None,
        };
        let Some(rule) = rule else { return Ok(lower.is_none().then(|| Metadata::root(found.mode))) };
        let mut metadata = lower.cloned().unwrap_or_else(|| Metadata::root(found.mode));
        metadata.mode = rule.mode.unwrap_or(metadata.mode);
        metadata.uid = rule.uid.map_or(metadata.uid, u64::from);
        metadata.gid = rule.gid.map_or(metadata.gid, u64::from);
        Ok(Some(metadata))
    }
}

/// The only rule for a file: the one with its path, or else the only pattern that matches.
fn rule_for<'a>(manifest: &'a OverlayManifest, found: &Found) -> Result<Option<&'a OverlayRule>, TreeError> {
    let is_this = |rule: &&OverlayRule| rule.which == Which::Path && rule.pattern == found.path;
    if let Some(rule) = manifest.rules.iter().find(is_this) {
        return Ok(Some(rule));
    }
    let mut matching = manifest.rules.iter().filter(|rule| matches(rule, found));
    let first = matching.next();
    if let (Some(first), Some(second)) = (first, matching.next()) {
        let problem = format!("{:?} matches {}, and so does {:?}", second.pattern, found.path, first.pattern);
        return Err(TreeError::BadRule { at: Box::new(second.at.clone()), problem });
    }
    Ok(first)
}

fn matches(rule: &OverlayRule, found: &Found) -> bool {
    let (is_file, is_folder) = (matches!(found.what, What::File(_)), matches!(found.what, What::Directory));
    rule.matches(&found.path, is_file, is_folder)
}

/// Refuses rules that match nothing.
fn check_rules(manifest: &OverlayManifest, files: &[Found]) -> Result<(), TreeError> {
    for rule in &manifest.rules {
        let bad = |problem: String| TreeError::BadRule { at: Box::new(rule.at.clone()), problem };
        if rule.which != Which::Path {
            if !files.iter().any(|found| matches(rule, found)) {
                return Err(bad(format!("{:?} matches nothing in the overlay", rule.pattern)));
            }
            continue;
        }
        let Some(found) = files.iter().find(|found| found.path == rule.pattern) else {
            let known = Known::near(&rule.pattern, files.iter().map(|found| found.path.as_str()));
            let nearest = known.nearest.map(|path| format!("; did you mean {path:?}?")).unwrap_or_default();
            return Err(bad(format!("{:?} is not in the overlay{nearest}", rule.pattern)));
        };
        if rule.mode.is_some() && matches!(found.what, What::Symlink(_)) {
            return Err(bad(format!("{:?} is a symbolic link, which has no mode", rule.pattern)));
        }
    }
    Ok(())
}
