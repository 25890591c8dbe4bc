//! Changes of a site's text files that were decided and are not written yet.
//!
//! Each change is made in the loaded site and in the text of its file, so that the rest of a command sees the site as it
//! will be, and nothing is written if that command fails. The rest of a file stays as the user typed it.

use super::edit::with_key;
use super::{SITE_FILE, Site, SiteError, SiteNumber};
use crate::atomic::AtomicError;
use handoff::name::Name;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The new texts of files of a site, by their names in its folder.
#[derive(Debug, Default)]
pub struct SiteEdits {
    texts: BTreeMap<PathBuf, String>,
}

impl SiteEdits {
    /// Gives a node this public key, in place of an old one.
    pub fn set_recipient(&mut self, site: &mut Site, name: &Name, recipient: &str) -> Result<(), SiteError> {
        site.node(name.as_str())?;
        self.set(site, &Site::node_name(name), "recipient", &recipient.into())?;
        if let Some(node) = site.nodes.get_mut(name) {
            node.recipient = Some(recipient.to_owned());
        }
        Ok(())
    }

    /// Sets the lowest generation of seals (see [`handoff::least_generation`]): for one node, or for all.
    pub fn set_least_generation(
        &mut self,
        site: &mut Site,
        name: Option<&Name>,
        least: SiteNumber,
    ) -> Result<(), SiteError> {
        const KEY: &str = "least-serial";
        match name {
            None => {
                self.set(site, Path::new(SITE_FILE), KEY, &least.into())?;
                site.least_generation = least.number();
            }
            Some(name) => {
                self.set(site, &Site::node_name(name), KEY, &least.into())?;
                if let Some(node) = site.nodes.get_mut(name) {
                    node.least_generation = least.number();
                }
            }
        }
        Ok(())
    }

    /// Sets the site's `security-epoch`, the lowest epoch of systems that accept its seals.
    pub fn set_security_epoch(&mut self, site: &mut Site, epoch: u32) -> Result<(), SiteError> {
        self.set(site, Path::new(SITE_FILE), "security-epoch", &i64::from(epoch).into())?;
        site.security_epoch = epoch;
        Ok(())
    }

    /// Writes the files, each in one step.
    pub fn write(&self, site: &Site) -> Result<(), AtomicError> {
        self.texts.iter().try_for_each(|(file, text)| site.folder.write(file, text.as_bytes(), 0o644))
    }

    fn set(
        &mut self,
        site: &Site,
        file: &Path,
        key: &'static str,
        value: &toml::Value,
    ) -> Result<(), SiteError> {
        let path = || site.folder.path_of(file);
        let old = match self.texts.get(file) {
            Some(text) => text.clone(),
            None => site.folder.text(file).map_err(|source| SiteError::Read { path: path(), source })?,
        };
        let new = with_key(&old, key, &value.to_string());
        // The file is edited line by line, which an unusual layout of it can defeat.
        let is_set = new.parse::<toml::Table>().is_ok_and(|table| table.get(key) == Some(value));
        if !is_set {
            return Err(SiteError::NotEditable { path: path(), line: format!("{key} = {value}") });
        }
        self.texts.insert(file.to_owned(), new);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::{GeneratedKeys, InitOptions, init_site};
    use std::fs;

    /// A new site in the folder, and the name of its node.
    fn new_site(folder: &Path) -> (Site, Name) {
        let (id, node): (Name, Name) = ("lab".parse().unwrap(), "pi1".parse().unwrap());
        let keys = GeneratedKeys {
            admin_recipient: keys::issue::identity_file::generate().recipient().to_string(),
            signing_public: format!("RW{}", "Q".repeat(54)),
        };
        let options =
            InitOptions { build_time: 1_793_491_200, open_consoles: false, ..InitOptions::default() };
        (init_site(folder, &id, &node, &keys, &options).unwrap(), node)
    }

    #[test]
    fn a_layout_that_cannot_be_edited_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (mut site, node) = new_site(folder.path());
        let path = site.node_file(&node);
        // The first line of the file is in the middle of a value: a key cannot come before it.
        let text = "roles = [\n  \"hello\",\nrecipient = 1\n]\n";
        fs::write(&path, text).unwrap();
        let mut edits = SiteEdits::default();
        let error = edits.set_recipient(&mut site, &node, "age1x").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot set a key in {}: write this line at its top: recipient = \"age1x\"",
                path.display()
            )
        );
        assert_eq!(site.node("pi1").unwrap().recipient, None);
        edits.write(&site).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), text);
    }

    #[test]
    fn two_changes_of_one_file_are_both_kept_and_written_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (mut site, node) = new_site(folder.path());
        let before = fs::read(site.node_file(&node)).unwrap();
        let recipient = keys::issue::identity_file::generate().recipient().to_string();
        let mut edits = SiteEdits::default();
        edits.set_recipient(&mut site, &node, &recipient).unwrap();
        edits.set_least_generation(&mut site, Some(&node), SiteNumber::new(7).unwrap()).unwrap();
        edits.set_least_generation(&mut site, None, SiteNumber::new(3).unwrap()).unwrap();
        edits.set_security_epoch(&mut site, 2).unwrap();
        assert_eq!(fs::read(site.node_file(&node)).unwrap(), before, "nothing is written yet");
        edits.write(&site).unwrap();
        assert_eq!(Site::load(folder.path()).unwrap(), site, "the loaded site was changed like its files");
        assert_eq!((site.security_epoch, site.floors().for_node(&node)), (2, 7));
    }
}
